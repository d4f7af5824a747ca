"""The payloads of IKEv2 (RFC 7296 §3.3 to §3.14), each as a dataclass.

Certificates, configuration and EAP are carried as octets. The critical bit counts for types
that are not in RFC 7296 alone (§2.5).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from agents.wire.errors import Reason, WireError
from agents.wire.ike.identity import Identity, parse_identity
from agents.wire.ike.numbers import PayloadType
from agents.wire.ike.proposals import Proposal, parse_proposals, serialize_proposals
from agents.wire.ike.selectors import Selector, parse_selectors, serialize_selectors

SHORTEST_NONCE = 16
LONGEST_NONCE = 256


@dataclass(frozen=True, slots=True)
class SecurityAssociationPayload:
    """Proposals, or the one that was chosen (§3.3)."""

    proposals: tuple[Proposal, ...]


@dataclass(frozen=True, slots=True)
class KeyExchange:
    """A public value of one group (§3.4)."""

    group: int
    data: bytes


@dataclass(frozen=True, slots=True)
class IdentityInitiator:
    """IDi (§3.5)."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class IdentityResponder:
    """IDr (§3.5)."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class Certificate:
    """CERT (§3.6), not interpreted."""

    encoding: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """CERTREQ (§3.7), not interpreted."""

    encoding: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Authentication:
    """AUTH (§3.8)."""

    method: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Nonce:
    """Ni or Nr (§3.9): 16 to 256 octets."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Notify:
    """An error or a status (§3.10), about the SA `spi` of `protocol` or about none."""

    kind: int
    data: bytes = b""
    protocol: int = 0
    spi: bytes = b""


@dataclass(frozen=True, slots=True)
class Delete:
    """The sender's inbound SPIs that end (§3.11); none for the IKE SA itself."""

    protocol: int
    spis: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class VendorId:
    """§3.12; ignored."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SelectorsInitiator:
    """TSi (§3.13)."""

    selectors: tuple[Selector, ...]


@dataclass(frozen=True, slots=True)
class SelectorsResponder:
    """TSr (§3.13)."""

    selectors: tuple[Selector, ...]


@dataclass(frozen=True, slots=True)
class Encrypted:
    """SK (§3.14): the type of the first payload inside, and IV to ICV as octets. Always last."""

    first: int
    data: bytes


@dataclass(frozen=True, slots=True)
class EncryptedFragment:
    """SKF (RFC 7383 §2.5): fragment `number` of `total`, from 1, and IV to ICV as octets.

    Always last. `first` is the type of the first payload of the whole in fragment 1, 0 in others.
    """

    first: int
    number: int
    total: int
    data: bytes


@dataclass(frozen=True, slots=True)
class OpaquePayload:
    """A payload that is not interpreted."""

    kind: int
    data: bytes
    critical: bool = False

    @property
    def must_be_understood(self) -> bool:
        """Whether the message has to be refused (§2.5): marked critical, and not in RFC 7296."""
        return self.critical and not PayloadType.SA <= self.kind <= PayloadType.EAP


Payload = (
    SecurityAssociationPayload
    | KeyExchange
    | IdentityInitiator
    | IdentityResponder
    | Certificate
    | CertificateRequest
    | Authentication
    | Nonce
    | Notify
    | Delete
    | VendorId
    | SelectorsInitiator
    | SelectorsResponder
    | Encrypted
    | EncryptedFragment
    | OpaquePayload
)

_NOTIFY = struct.Struct("!BBH")
_DELETE = struct.Struct("!BBH")
_KE = struct.Struct("!HH")
_FRAGMENT = struct.Struct("!HH")


def _need(body: bytes, length: int, what: str) -> None:
    if len(body) < length:
        raise WireError(Reason.TRUNCATED, f"{what} of {len(body)} octets")


def _parse_key_exchange(body: bytes) -> KeyExchange:
    _need(body, 4, "a key exchange payload")
    return KeyExchange(_KE.unpack_from(body)[0], body[4:])


def _parse_authentication(body: bytes) -> Authentication:
    _need(body, 4, "an authentication payload")
    return Authentication(body[0], body[4:])


def _parse_nonce(body: bytes) -> Nonce:
    if not SHORTEST_NONCE <= len(body) <= LONGEST_NONCE:
        raise WireError(Reason.FIELD_VALUE, f"a nonce of {len(body)} octets")
    return Nonce(body)


def _parse_notify(body: bytes) -> Notify:
    _need(body, 4, "a notification")
    protocol, spi_length, kind = _NOTIFY.unpack_from(body)
    end = 4 + spi_length
    _need(body, end, "a notification")
    return Notify(kind, body[end:], protocol, body[4:end])


def _parse_delete(body: bytes) -> Delete:
    _need(body, 4, "a delete payload")
    protocol, spi_length, count = _DELETE.unpack_from(body)
    if len(body) != 4 + spi_length * count or (count and not spi_length):
        raise WireError(
            Reason.FIELD_VALUE, f"{count} SPIs of {spi_length} octets in {len(body) - 4} octets"
        )
    spis = (body[start : start + spi_length] for start in range(4, len(body), spi_length or 1))
    return Delete(protocol, tuple(spis))


def _parse_certificate(body: bytes) -> Certificate:
    _need(body, 1, "a certificate payload")
    return Certificate(body[0], body[1:])


def _parse_certificate_request(body: bytes) -> CertificateRequest:
    _need(body, 1, "a certificate request payload")
    return CertificateRequest(body[0], body[1:])


def parse_fragment(first: int, body: bytes) -> EncryptedFragment:
    """Return the SKF payload with this body; `first` is its next payload field.

    Raises:
        WireError: `truncated`, `bad-field-value` (a number of 0, or above the total).
    """
    _need(body, _FRAGMENT.size, "an encrypted fragment")
    number, total = _FRAGMENT.unpack_from(body)
    if not 1 <= number <= total:
        raise WireError(Reason.FIELD_VALUE, f"fragment {number} of {total}")
    return EncryptedFragment(first, number, total, body[_FRAGMENT.size :])


_PARSERS: dict[int, Callable[[bytes], Payload]] = {
    PayloadType.SA: lambda body: SecurityAssociationPayload(parse_proposals(body)),
    PayloadType.KE: _parse_key_exchange,
    PayloadType.ID_I: lambda body: IdentityInitiator(parse_identity(body)),
    PayloadType.ID_R: lambda body: IdentityResponder(parse_identity(body)),
    PayloadType.CERT: _parse_certificate,
    PayloadType.CERTREQ: _parse_certificate_request,
    PayloadType.AUTH: _parse_authentication,
    PayloadType.NONCE: _parse_nonce,
    PayloadType.NOTIFY: _parse_notify,
    PayloadType.DELETE: _parse_delete,
    PayloadType.VENDOR_ID: VendorId,
    PayloadType.TS_I: lambda body: SelectorsInitiator(parse_selectors(body)),
    PayloadType.TS_R: lambda body: SelectorsResponder(parse_selectors(body)),
}


def parse_payload(kind: int, critical: bool, body: bytes) -> Payload:
    """Return the payload with this body (all but SK and SKF, which `message` handles).

    Raises:
        WireError: `truncated`, `bad-field-value`.
    """
    parser = _PARSERS.get(kind)
    return OpaquePayload(kind, body, critical) if parser is None else parser(body)


def serialize_payload(payload: Payload) -> tuple[int, bytes]:
    """Return the type and the body of a payload."""
    match payload:
        case SecurityAssociationPayload(proposals):
            return PayloadType.SA, serialize_proposals(proposals)
        case KeyExchange(group, data):
            return PayloadType.KE, _KE.pack(group, 0) + data
        case IdentityInitiator(identity):
            return PayloadType.ID_I, identity.serialize()
        case IdentityResponder(identity):
            return PayloadType.ID_R, identity.serialize()
        case Certificate(encoding, data):
            return PayloadType.CERT, bytes((encoding,)) + data
        case CertificateRequest(encoding, data):
            return PayloadType.CERTREQ, bytes((encoding,)) + data
        case Authentication(method, data):
            return PayloadType.AUTH, bytes((method, 0, 0, 0)) + data
        case Nonce(data):
            return PayloadType.NONCE, data
        case Notify(kind, data, protocol, spi):
            return PayloadType.NOTIFY, _NOTIFY.pack(protocol, len(spi), kind) + spi + data
        case Delete(protocol, spis):
            length = len(spis[0]) if spis else 0
            return PayloadType.DELETE, _DELETE.pack(protocol, length, len(spis)) + b"".join(spis)
        case VendorId(data):
            return PayloadType.VENDOR_ID, data
        case SelectorsInitiator(selectors):
            return PayloadType.TS_I, serialize_selectors(selectors)
        case SelectorsResponder(selectors):
            return PayloadType.TS_R, serialize_selectors(selectors)
        case Encrypted(_, data):
            return PayloadType.SK, data
        case EncryptedFragment(_, number, total, data):
            return PayloadType.SKF, _FRAGMENT.pack(number, total) + data
        case OpaquePayload(kind, data):
            return kind, data
