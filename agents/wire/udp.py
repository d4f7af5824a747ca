"""UDP over IPv6 (RFC 768; RFC 8200 §8.1: the checksum is a must)."""

import struct
from ipaddress import IPv6Address

from agents.wire.checksum import is_valid, pseudo_header_checksum
from agents.wire.errors import Reason, WireError
from agents.wire.ipv6 import UDP

_HEADER = struct.Struct("!HHHH")


def serialize_udp(
    source: IPv6Address,
    source_port: int,
    destination: IPv6Address,
    destination_port: int,
    payload: bytes,
) -> bytes:
    """Return the datagram with its header and checksum."""
    length = _HEADER.size + len(payload)
    unsigned = _HEADER.pack(source_port, destination_port, length, 0) + payload
    checksum = pseudo_header_checksum(source, destination, UDP, unsigned) or 0xFFFF
    return _HEADER.pack(source_port, destination_port, length, checksum) + payload


def parse_udp(data: bytes, source: IPv6Address, destination: IPv6Address) -> tuple[int, int, bytes]:
    """Return source port, destination port and payload of a datagram.

    Raises:
        WireError: `truncated`, or `bad-checksum`, which no checksum is too.
    """
    if len(data) < _HEADER.size:
        raise WireError(Reason.TRUNCATED, f"a UDP datagram of {len(data)} octets")
    source_port, destination_port, length, checksum = _HEADER.unpack_from(data)
    if not _HEADER.size <= length <= len(data):
        raise WireError(Reason.TRUNCATED, f"a UDP length of {length} in {len(data)} octets")
    if not checksum or not is_valid(source, destination, UDP, data[:length]):
        raise WireError(Reason.CHECKSUM, "UDP")
    return source_port, destination_port, data[_HEADER.size : length]
