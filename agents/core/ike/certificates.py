"""X.509 certificates as this project takes them (RFC 5280, RFC 3779): read once, whole, or refused.

Keys and signatures are ECDSA, keys on P-256. What a certificate marks critical and is not known
here makes it unusable (RFC 5280 §4.2).
"""

import warnings
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv6Address
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, NameOID

from agents.core.ike.not_authorised import NotAuthorised
from agents.wire import address_blocks
from agents.wire.address_blocks import AddressRange, parse_address_blocks
from agents.wire.ike.identity import Identity
from agents.wire.ike.numbers import IdType

MOST_OCTETS = 8192
"""A certificate of more is refused unread."""

_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_BLOCKS = x509.ObjectIdentifier(address_blocks.EXTENSION)
E = TypeVar("E", bound=x509.ExtensionType)
_UNDERSTOOD = frozenset(
    (
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        _BLOCKS,
    )
)


@dataclass(frozen=True, slots=True)
class Blocks:
    """IP address blocks; `ranges` None: those of the issuer."""

    ranges: tuple[AddressRange, ...] | None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate, its extensions read; nothing of it is verified yet.

    `path_length` counts the authorities that may stand between it and the last one (RFC 5280
    §4.2.1.9), None: any number. A key usage that is absent allows all (§4.2.1.3).
    """

    octets: bytes = field(repr=False)
    whole: x509.Certificate
    subject: bytes
    issuer: bytes
    key: ec.EllipticCurvePublicKey = field(repr=False)
    not_before: datetime
    not_after: datetime
    authority: bool
    path_length: int | None
    signs_certificates: bool
    signs_lists: bool
    proves: bool
    identities: frozenset[Identity]
    common_name: str
    subject_number: str
    """The subject's serialNumber, a name; empty if there is none, or more than one."""
    blocks: Blocks | None

    @property
    def serial(self) -> int:
        """The number that its issuer gave it."""
        return self.whole.serial_number

    def __str__(self) -> str:
        return self.whole.subject.rfc4514_string()

    def issued_by(self, issuer: "Certificate") -> bool:
        """Whether `issuer` has its issuer's name and made its signature."""
        if self.issuer != issuer.subject:
            return False
        try:
            self.whole.verify_directly_issued_by(issuer.whole)
        except Exception:  # hostile octets: whatever goes wrong, it is not proven
            return False
        return True

    def check_validity(self, at: datetime) -> None:
        """Raise `NotAuthorised` (`expired`, `not-yet-valid`) outside of its time."""
        if at < self.not_before:
            raise NotAuthorised("not-yet-valid", f"{self} begins {self.not_before}")
        if at > self.not_after:
            raise NotAuthorised("expired", f"{self} ended {self.not_after}")


def read_certificate(octets: bytes) -> Certificate:
    """Return the certificate in DER.

    Raises:
        NotAuthorised: `bad-certificate`, `unsupported-algorithm`, `unknown-critical-extension`.
    """
    if len(octets) > MOST_OCTETS:
        raise NotAuthorised("bad-certificate", f"{len(octets)} octets")
    try:
        with warnings.catch_warnings():  # of what RFC 5280 forbids and the library still takes
            warnings.simplefilter("error")
            return _read(octets, x509.load_der_x509_certificate(octets))
    except NotAuthorised:
        raise
    except UnsupportedAlgorithm as error:
        raise NotAuthorised("unsupported-algorithm", str(error)) from None
    except Exception as error:  # whatever hostile octets make of the library
        raise NotAuthorised("bad-certificate", str(error)) from None


def _read(octets: bytes, whole: x509.Certificate) -> Certificate:
    key = whole.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise NotAuthorised("unsupported-algorithm", "the key is not of P-256")
    if not isinstance(whole.signature_hash_algorithm, _HASHES):
        raise NotAuthorised("unsupported-algorithm", "the signature's hash function")
    extensions = {each.oid: each for each in whole.extensions}
    for each in extensions.values():
        if each.critical and each.oid not in _UNDERSTOOD:
            raise NotAuthorised("unknown-critical-extension", each.oid.dotted_string)
    constraints = _value(extensions, ExtensionOID.BASIC_CONSTRAINTS, x509.BasicConstraints)
    usage = _value(extensions, ExtensionOID.KEY_USAGE, x509.KeyUsage)
    names = _value(extensions, ExtensionOID.SUBJECT_ALTERNATIVE_NAME, x509.SubjectAlternativeName)
    blocks = _value(extensions, _BLOCKS, x509.UnrecognizedExtension)
    return Certificate(
        octets,
        whole,
        whole.subject.public_bytes(),
        whole.issuer.public_bytes(),
        key,
        whole.not_valid_before_utc,
        whole.not_valid_after_utc,
        constraints is not None and constraints.ca,
        None if constraints is None else constraints.path_length,
        usage is None or usage.key_cert_sign,
        usage is None or usage.crl_sign,
        usage is None or usage.digital_signature,
        _identities(whole.subject, names),
        _attribute(whole.subject, NameOID.COMMON_NAME),
        _attribute(whole.subject, NameOID.SERIAL_NUMBER),
        None if blocks is None else Blocks(parse_address_blocks(blocks.value)),
    )


def _value(
    extensions: dict[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]],
    oid: x509.ObjectIdentifier,
    kind: type[E],
) -> E | None:
    found = extensions.get(oid)
    return None if found is None else found.value if isinstance(found.value, kind) else None


def _identities(
    subject: x509.Name, names: x509.SubjectAlternativeName | None
) -> frozenset[Identity]:
    """Return who the holder is, as IKE names it (RFC 7296 §3.5, RFC 4945 §3.1)."""
    found = {Identity(IdType.DER_ASN1_DN, subject.public_bytes())}
    for name in names or ():
        match name:
            case x509.IPAddress(value=IPv6Address() as address):
                found.add(Identity(IdType.IPV6_ADDR, address.packed))
            case x509.DNSName(value=text):
                found.add(Identity(IdType.FQDN, text.encode("ascii")))
            case x509.RFC822Name(value=text):
                found.add(Identity(IdType.RFC822_ADDR, text.encode("ascii")))
    return frozenset(found)


def _attribute(subject: x509.Name, oid: x509.ObjectIdentifier) -> str:
    found = subject.get_attributes_for_oid(oid)
    value = found[0].value if len(found) == 1 else ""
    return value if isinstance(value, str) else ""


def key_hash(certificate: Certificate) -> bytes:
    """Return SHA-1 of the public key's information: how CERTREQ names an anchor (§3.7)."""
    made = hashes.Hash(hashes.SHA1())  # a name, not a proof
    made.update(certificate.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return made.finalize()
