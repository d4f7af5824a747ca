"""Who this end is, by certificate, and whom it believes (RFC 7296 §2.15, §3.6; RFC 5280)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from agents.core.ike.certificates import Certificate, key_hash, read_certificate
from agents.core.ike.chains import Verified, verify_chain
from agents.core.ike.not_authorised import NotAuthorised
from agents.core.ike.revocations import RevocationList, Revocations
from agents.wire.ike.identity import Identity

__all__ = ["Credentials", "NotAuthorised", "RevocationList", "Revocations", "Verified"]


@dataclass(frozen=True, slots=True, eq=False)
class Credentials:
    """`chain` in DER, the own certificate first, the anchor left out.

    Without `private_key` this end proves itself otherwise, and checks certificates all the same;
    then `chain` has certificates of authorities alone, if any.
    `wall_time` returns the time of day, with its time zone: validity is a matter of dates.
    """

    chain: tuple[bytes, ...]
    private_key: EllipticCurvePrivateKey | None = field(repr=False)
    anchors: tuple[Certificate, ...]
    revocations: Revocations
    wall_time: Callable[[], datetime]

    @classmethod
    def of(
        cls,
        chain: Sequence[bytes],
        private_key: EllipticCurvePrivateKey | None,
        anchors: Iterable[bytes],
        wall_time: Callable[[], datetime],
        *,
        strict: bool = False,
    ) -> "Credentials":
        """Read all certificates.

        Raises:
            NotAuthorised: for one that cannot be used.
            ValueError: for a key that is not that of the first.
        """
        trusted = tuple(map(read_certificate, anchors))
        own = tuple(map(read_certificate, chain))
        if private_key is not None and (not own or own[0].key != private_key.public_key()):
            raise ValueError("the private key is not that of the first certificate")
        authorities = own if private_key is None else own[1:]
        revocations = Revocations(trusted, authorities, wall_time, strict=strict)
        return cls(tuple(chain), private_key, trusted, revocations, wall_time)

    def anchor_hashes(self) -> bytes:
        """Return what CERTREQ says of X.509 certificates: whose we believe (§3.7)."""
        return b"".join(map(key_hash, self.anchors))

    def verify(self, chain: Sequence[Certificate], identity: Identity) -> Verified:
        """Return what the certificates of another end, its own first, prove about `identity`.

        Raises:
            NotAuthorised: as `verify_chain`; `no-certificate`, `wrong-usage`, `revoked`,
                `revocation-unknown`, `wrong-identity`.
        """
        if not chain:
            raise NotAuthorised("no-certificate")
        leaf = chain[0]
        verified = verify_chain(leaf, chain[1:], self.anchors, self.wall_time())
        for each in verified.chain[:-1]:
            self.revocations.check(each, end=each is leaf)
        if leaf.authority or not leaf.proves:
            raise NotAuthorised("wrong-usage", str(leaf))
        if identity not in leaf.identities:
            raise NotAuthorised("wrong-identity", f"{leaf} is not {identity}")
        return verified
