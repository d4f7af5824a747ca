"""The type 2 routing header (RFC 6275 §6.4): a packet for a home address, sent to a care-of one."""

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

from agents.wire.addresses import unicast_address
from agents.wire.errors import Reason, WireError

TYPE_2 = 2
LENGTH = 24
_HEAD = struct.Struct("!BBBB4x")


@dataclass(frozen=True, slots=True)
class RoutingType2:
    """The home address that is this packet's final destination."""

    home_address: IPv6Address


def parse_routing(header: bytes) -> RoutingType2 | None:
    """Return the content of one whole routing header; None for one that has nothing left to do.

    Raises:
        WireError: silent for a type 2 header that breaks a rule of RFC 6275 §11.3.3, or of which
            a part is missing; with the pointer of RFC 8200 §4.4 (from the start of the header)
            for another type.
    """
    if len(header) < _HEAD.size:
        raise WireError(Reason.TRUNCATED, f"a routing header of {len(header)} octets")
    _, extension_length, kind, segments_left = _HEAD.unpack_from(header)
    if kind != TYPE_2:
        if segments_left == 0:
            return None
        raise WireError(Reason.ROUTING_HEADER, f"routing header of type {kind}", pointer=2)
    if extension_length != 2 or segments_left != 1:
        raise WireError(
            Reason.ROUTING_HEADER,
            f"type 2 routing header: length {extension_length}, segments left {segments_left}",
        )
    if len(header) < LENGTH:
        raise WireError(Reason.TRUNCATED, f"a type 2 routing header of {len(header)} octets")
    return RoutingType2(unicast_address(header[8:LENGTH], "home address"))


def serialize_routing(next_header: int, routing: RoutingType2) -> bytes:
    """Return the 24 octets of a type 2 routing header."""
    return _HEAD.pack(next_header, 2, TYPE_2, 1) + routing.home_address.packed
