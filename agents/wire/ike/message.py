"""Whole IKE messages: the header and the chain of payloads (RFC 7296 §3.1, §3.2)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agents.wire.errors import Reason, WireError
from agents.wire.ike import header
from agents.wire.ike.header import Header, parse_header
from agents.wire.ike.numbers import PayloadType
from agents.wire.ike.payloads import (
    Encrypted,
    EncryptedFragment,
    OpaquePayload,
    Payload,
    parse_fragment,
    parse_payload,
    serialize_payload,
)

GENERIC = struct.Struct("!BBH")
"""Next payload, critical bit and reserved bits, length with these four octets (§3.2)."""
_CRITICAL = 0x80


@dataclass(frozen=True, slots=True)
class Message:
    """A header and its payloads; in a protected message the last of them is protected."""

    header: Header
    payloads: tuple[Payload, ...]

    @property
    def encrypted(self) -> Encrypted | None:
        """The SK payload, if there is one."""
        last = self.payloads[-1] if self.payloads else None
        return last if isinstance(last, Encrypted) else None

    @property
    def fragment(self) -> EncryptedFragment | None:
        """The SKF payload, if there is one."""
        last = self.payloads[-1] if self.payloads else None
        return last if isinstance(last, EncryptedFragment) else None


def parse_message(data: bytes) -> Message:
    """Return the message in a datagram's payload, without any non-ESP marker.

    Raises:
        WireError: `truncated`, `bad-version`, `bad-field-value`.
    """
    parsed = parse_header(data)
    return Message(parsed, parse_chain(parsed.next_payload, data[header.LENGTH :]))


def parse_chain(kind: int, data: bytes) -> tuple[Payload, ...]:
    """Return the payloads of a chain that begins with one of type `kind` (0: an empty one).

    Raises:
        WireError: `truncated`, `bad-field-value`.
    """
    payloads: list[Payload] = []
    offset = 0
    while kind != PayloadType.NONE:
        if len(data) - offset < GENERIC.size:
            raise WireError(Reason.TRUNCATED, "a payload is cut")
        following, flags, length = GENERIC.unpack_from(data, offset)
        if length < GENERIC.size or offset + length > len(data):
            raise WireError(Reason.TRUNCATED, f"a payload of {length} octets")
        body = data[offset + GENERIC.size : offset + length]
        offset += length
        if kind == PayloadType.SK:
            payloads.append(Encrypted(following, body))
            break
        if kind == PayloadType.SKF:
            payloads.append(parse_fragment(following, body))
            break
        payloads.append(parse_payload(kind, bool(flags & _CRITICAL), body))
        kind = following
    if offset != len(data):
        raise WireError(Reason.FIELD_VALUE, "octets behind the last payload")
    return tuple(payloads)


def serialize_chain(payloads: Sequence[Payload]) -> tuple[int, bytes]:
    """Return the type of the first payload (0 for none) and the octets of the chain.

    Raises:
        ValueError: a payload of more than 65,531 octets.
    """
    made = [serialize_payload(payload) for payload in payloads]
    kinds = [kind for kind, _ in made] + [PayloadType.NONE]
    parts: list[bytes] = []
    for payload, (_, body), after in zip(payloads, made, kinds[1:], strict=True):
        length = GENERIC.size + len(body)
        if length > 0xFFFF:
            raise ValueError(f"a payload of {length} octets")
        last = payload.first if isinstance(payload, Encrypted | EncryptedFragment) else after
        critical = isinstance(payload, OpaquePayload) and payload.critical
        parts += (GENERIC.pack(last, _CRITICAL * critical, length), body)
    return kinds[0], b"".join(parts)


def serialize_message(head: Header, payloads: Sequence[Payload]) -> bytes:
    """Return the octets of a message; the header's next payload follows from `payloads`."""
    first, chain = serialize_chain(payloads)
    return replace(head, next_payload=first).serialize(header.LENGTH + len(chain)) + chain
