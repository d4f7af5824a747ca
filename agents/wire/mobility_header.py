"""What all Mobility Header messages have in common (RFC 6275 §6.1.1)."""

import struct
from collections.abc import Mapping
from ipaddress import IPv6Address

from agents.wire.checksum import is_valid, pseudo_header_checksum
from agents.wire.errors import Reason, WireError
from agents.wire.ipv6 import MOBILITY, NO_NEXT_HEADER

HEAD = 6  # payload proto, header length, type, reserved, checksum
LONGEST = 2048

_HEAD = struct.Struct("!BBBBH")
_CHECKSUM = struct.Struct("!H")
_PAYLOAD_PROTO_FIELD = 0
_HEADER_LENGTH_FIELD = 1


def open_header(
    data: bytes,
    source: IPv6Address,
    destination: IPv6Address,
    smallest: Mapping[int, int],
) -> tuple[int, bytes]:
    """Return (type, whole header) after the checks of RFC 6275 §9.2, in their order.

    `smallest` holds the least length in octets of each known type; of another type only the
    checksum is checked. Octets behind the header are ignored (RFC 8200 §4.7).

    Raises:
        WireError: with a pointer where §9.2 wants a Parameter Problem.
    """
    if len(data) < 8:
        raise WireError(Reason.TRUNCATED, f"a Mobility Header of {len(data)} octets")
    payload_proto, units, kind, _, _ = _HEAD.unpack_from(data)
    length = (units + 1) * 8
    if length > len(data):
        raise WireError(Reason.TRUNCATED, f"a Mobility Header of {length} octets in {len(data)}")
    header = bytes(data[:length])
    if not is_valid(source, destination, MOBILITY, header):
        raise WireError(Reason.CHECKSUM, "the Mobility Header's checksum is wrong")
    if kind not in smallest:
        return kind, header
    if payload_proto != NO_NEXT_HEADER:
        raise WireError(
            Reason.PAYLOAD_PROTO, f"payload proto {payload_proto}, not 59", _PAYLOAD_PROTO_FIELD
        )
    if length < smallest[kind]:
        raise WireError(
            Reason.HEADER_LENGTH, f"type {kind} with {length} octets", _HEADER_LENGTH_FIELD
        )
    return kind, header


def seal_header(kind: int, header: bytes, source: IPv6Address, destination: IPv6Address) -> bytes:
    """Fill in the first six octets of `header` and make it a multiple of 8 octets by zeroes.

    Raises:
        ValueError: the header is longer than 2048 octets.
    """
    length = len(header) + -len(header) % 8
    if length > LONGEST:
        raise ValueError(f"a Mobility Header of {length} octets, at most {LONGEST} fit")
    whole = bytearray(length)
    whole[: len(header)] = header
    _HEAD.pack_into(whole, 0, NO_NEXT_HEADER, length // 8 - 1, kind, 0, 0)
    checksum = pseudo_header_checksum(source, destination, MOBILITY, bytes(whole))
    _CHECKSUM.pack_into(whole, 4, checksum)
    return bytes(whole)
