"""The Internet checksum over an IPv6 pseudo-header (RFC 8200 §8.1)."""

import struct
from ipaddress import IPv6Address

_PSEUDO_HEADER_TAIL = struct.Struct("!LxxxB")


def _sum(source: IPv6Address, destination: IPv6Address, next_header: int, data: bytes) -> int:
    """Return the one's complement sum, as a residue modulo 65535 (RFC 1071)."""
    tail = _PSEUDO_HEADER_TAIL.pack(len(data), next_header)
    padding = b"\0" if len(data) % 2 else b""
    whole = b"".join((source.packed, destination.packed, tail, data, padding))
    return int.from_bytes(whole, "big") % 0xFFFF


def pseudo_header_checksum(
    source: IPv6Address, destination: IPv6Address, next_header: int, data: bytes
) -> int:
    """Return the 16-bit checksum of `data`, whose own checksum field must be zero.

    With a Home Address option the home address stands for the source, with a type 2 routing
    header for the destination (RFC 6275 §6.1.1): the caller passes these.
    """
    # The sum is never all zero bits, since the pseudo-header is not: residue 0 means 0xFFFF.
    return (0xFFFF - _sum(source, destination, next_header, data)) % 0xFFFF


def is_valid(source: IPv6Address, destination: IPv6Address, next_header: int, data: bytes) -> bool:
    """Tell whether `data`, its checksum field included, sums up to all ones."""
    return _sum(source, destination, next_header, data) == 0
