"""Certificate revocation lists (RFC 5280 §5): the newest of each issuer, by its number.

Whoever knows the anchors can check a list, so anybody may hand one on and nobody can forge it.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtensionOID

from agents.core.ike.certificates import Certificate
from agents.core.ike.chains import MOST_AUTHORITIES, verify_chain
from agents.core.ike.not_authorised import NotAuthorised

MOST_OCTETS = 1 << 16
"""A list of more is refused unread: some 1,700 entries."""

_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_UNDERSTOOD = frozenset((ExtensionOID.CRL_NUMBER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER))


@dataclass(frozen=True, slots=True)
class RevocationList:
    """One list whose signature holds; `issuer` is its name in DER."""

    octets: bytes = field(repr=False)
    issuer: bytes
    number: int
    next_update: datetime
    serials: frozenset[int]


class Revocations:
    """What is known to be revoked. It grows by `learn`, and forgets nothing."""

    def __init__(
        self,
        anchors: Sequence[Certificate],
        authorities: Iterable[Certificate],
        wall_time: Callable[[], datetime],
        *,
        strict: bool = False,
    ) -> None:
        """`authorities` stand between anchors and others, and sign lists too.

        `strict`: the certificate of an end is taken only with a list of its issuer that is not out
        of date.
        """
        self._anchors = tuple(anchors)
        self._authorities = tuple(authorities)
        self._wall_time = wall_time
        self._strict = strict
        self._lists: dict[bytes, RevocationList] = {}

    def learn(self, octets: bytes, presented: Iterable[Certificate] = ()) -> bool:
        """Take a list in DER, and return whether it is news; `presented` may hold its issuer.

        Its dates do not matter: what its issuer has revoked is revoked, whatever clock is wrong and
        whether the next list is late.

        Raises:
            NotAuthorised: `bad-revocation-list`, `unknown-issuer`, or what is wrong with its
                issuer's chain.
        """
        for each in self._lists.values():
            if each.octets == octets:
                return False
        made, fresh = _read(octets)
        held = self._lists.get(fresh.issuer)
        if held is not None and fresh.number <= held.number:
            return False
        known = (*self._anchors, *self._authorities, *presented)
        self._check_issuer(made, fresh.issuer, known, self._wall_time())
        if held is not None:
            # Nothing is put on hold here: revoked is for ever.
            fresh = replace(fresh, serials=fresh.serials | held.serials)
        self._lists[fresh.issuer] = fresh
        return True

    def check(self, certificate: Certificate, *, end: bool) -> None:
        """Raise `NotAuthorised` for one that is not to be believed.

        `revoked`, or, if strict, `revocation-unknown`: of an `end`, not of an authority.
        """
        held = self._lists.get(certificate.issuer)
        if held is not None and certificate.serial in held.serials:
            raise NotAuthorised("revoked", str(certificate))
        if end and self._strict and (held is None or self._wall_time() > held.next_update):
            raise NotAuthorised("revocation-unknown", str(certificate))

    def revoked(self, serial: int, issuer: bytes | None = None) -> bool:
        """Whether a list of `issuer` (its name in DER; None: any) has this serial number."""
        return any(serial in each.serials for each in self.lists() if issuer in (None, each.issuer))

    def lists(self) -> tuple[RevocationList, ...]:
        """Return the newest list of each issuer."""
        return tuple(self._lists.values())

    def _check_issuer(
        self,
        made: x509.CertificateRevocationList,
        issuer: bytes,
        known: Sequence[Certificate],
        now: datetime,
    ) -> None:
        """Raise `NotAuthorised` unless an authority that is trusted has signed it."""
        tried = 0
        for each in known:
            if each.subject != issuer or not (each.authority and each.signs_lists):
                continue
            tried += 1
            if tried > MOST_AUTHORITIES:
                break
            try:
                signed = made.is_signature_valid(each.key)
            except Exception:  # hostile octets: whatever goes wrong, it is not signed
                signed = False
            if not signed:
                continue
            verified = verify_chain(each, known, self._anchors, now)
            for link in verified.chain[:-1]:
                if (held := self._lists.get(link.issuer)) and link.serial in held.serials:
                    raise NotAuthorised("revoked", str(link))
            return
        raise NotAuthorised("unknown-issuer", "of a revocation list")


def _read(octets: bytes) -> tuple[x509.CertificateRevocationList, RevocationList]:
    """Return a list, all of it read; raises `NotAuthorised` (`bad-revocation-list`)."""
    if len(octets) > MOST_OCTETS:
        raise NotAuthorised("bad-revocation-list", f"{len(octets)} octets")
    try:
        with warnings.catch_warnings():  # of what RFC 5280 forbids and the library still takes
            warnings.simplefilter("error")
            made = x509.load_der_x509_crl(octets)
            return made, _whole(octets, made)
    except Exception as error:  # whatever hostile octets make of the library
        raise NotAuthorised("bad-revocation-list", str(error)) from None


def _whole(octets: bytes, made: x509.CertificateRevocationList) -> RevocationList:
    for each in made.extensions:
        if each.critical and each.oid not in _UNDERSTOOD:
            raise ValueError(f"critical extension {each.oid.dotted_string}")
    if not isinstance(made.signature_hash_algorithm, _HASHES):
        raise ValueError("the signature's hash function")
    if made.next_update_utc is None:
        raise ValueError("it does not say when the next one is due")
    return RevocationList(
        octets,
        made.issuer.public_bytes(),
        made.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number,
        made.next_update_utc,
        frozenset(each.serial_number for each in made),
    )
