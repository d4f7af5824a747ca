"""Whole IPv6 packets: the fixed header and the extension headers in front of ESP (RFC 8200)."""

import struct
from ipaddress import IPv6Address
from typing import NamedTuple

from agents.wire.addresses import address
from agents.wire.destination_options import HomeAddress, Option, OriginIp, parse_options
from agents.wire.errors import Reason, WireError
from agents.wire.routing import RoutingType2, parse_routing

HEADER_LENGTH = 40
MINIMUM_MTU = 1280

HOP_BY_HOP = 0
TCP = 6
UDP = 17
IPV6 = 41
ROUTING = 43
FRAGMENT = 44
ESP = 50
ICMPV6 = 58
NO_NEXT_HEADER = 59
DESTINATION_OPTIONS = 60
MOBILITY = 135

_HEADER = struct.Struct("!LHBB16s16s")
_FRAGMENT_OFFSET = struct.Struct("!H")
_EXTENSIONS = frozenset((HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS))
_NEXT_HEADER_FIELD = 6


class Packet(NamedTuple):
    """A parsed packet; `payload` begins with the upper-layer header (ESP counts as one).

    `destination_options` are those in front of that header; an unknown one is kept only if it
    asks to be skipped. `payload_offset` and `next_header_offset` (where the value of
    `next_header` stands) are octets from the packet's start, for Parameter Problem pointers.
    """

    source: IPv6Address
    destination: IPv6Address
    next_header: int
    payload: bytes
    payload_offset: int
    next_header_offset: int
    destination_options: tuple[Option, ...]
    routing: RoutingType2 | None
    hop_limit: int
    traffic_class: int

    @property
    def home_address(self) -> IPv6Address | None:
        """The address in the Home Address option."""
        return self._option_address(HomeAddress)

    @property
    def origin(self) -> IPv6Address | None:
        """The address in the ORIGIN_IP option."""
        return self._option_address(OriginIp)

    def _option_address(self, kind: type[HomeAddress] | type[OriginIp]) -> IPv6Address | None:
        for option in self.destination_options:
            if isinstance(option, kind):
                return option.address
        return None


def build(
    source: IPv6Address,
    destination: IPv6Address,
    next_header: int,
    payload: bytes,
    hop_limit: int = 64,
    traffic_class: int = 0,
) -> bytes:
    """Return a whole packet; `payload` includes extension headers, which `next_header` names.

    Raises:
        ValueError: the payload is longer than 65535 octets.
    """
    if len(payload) > 0xFFFF:
        raise ValueError(f"a payload of {len(payload)} octets, at most 65535 fit")
    return (
        _HEADER.pack(
            6 << 28 | traffic_class << 20,
            len(payload),
            next_header,
            hop_limit,
            source.packed,
            destination.packed,
        )
        + payload
    )


def parse(packet: bytes) -> Packet:
    """Return the packet's parts; its destination, or the agent in its place, is the reader.

    Octets beyond the payload length are link padding, and ignored.

    Raises:
        WireError: `pointer` and `code` say which Parameter Problem is due, if one is.
    """
    if len(packet) < HEADER_LENGTH:
        raise WireError(Reason.TRUNCATED, f"a packet of {len(packet)} octets")
    first, length, next_header, hop_limit, source, destination = _HEADER.unpack_from(packet)
    if first >> 28 != 6:
        raise WireError(Reason.VERSION, f"IP version {first >> 28}")
    end = HEADER_LENGTH + length
    if end > len(packet):
        raise WireError(Reason.TRUNCATED, f"{end} octets announced, {len(packet)} there")
    chain = _NO_EXTENSIONS
    if next_header in _EXTENSIONS:
        chain = _walk(packet, next_header, end, destination[0] == 0xFF)
        next_header = chain.next_header
    return Packet(
        address(source),
        address(destination),
        next_header,
        bytes(packet[chain.offset : end]),
        chain.offset,
        chain.field,
        chain.options,
        chain.routing,
        hop_limit,
        first >> 20 & 0xFF,
    )


class _Chain(NamedTuple):
    """What a walk over the extension headers has found; `field` names `next_header`'s place."""

    next_header: int
    offset: int
    field: int
    options: tuple[Option, ...]
    routing: RoutingType2 | None


_NO_EXTENSIONS = _Chain(NO_NEXT_HEADER, HEADER_LENGTH, _NEXT_HEADER_FIELD, (), None)


def _walk(packet: bytes, next_header: int, end: int, multicast: bool) -> _Chain:
    """Read extension headers in the order in which they stand (RFC 8200 §4)."""
    chain = _NO_EXTENSIONS._replace(next_header=next_header)
    while chain.next_header in _EXTENSIONS:
        header = _extension_header(packet, chain, end)
        try:
            chain = _read(chain, header, multicast)
        except WireError as error:
            if error.pointer is not None:
                error.pointer += chain.offset
            raise
    return chain


def _extension_header(packet: bytes, chain: _Chain, end: int) -> bytes:
    """Return the octets of the extension header at `chain.offset`."""
    offset = chain.offset
    if chain.next_header == HOP_BY_HOP and offset != HEADER_LENGTH:
        raise WireError(
            Reason.NEXT_HEADER, "Hop-by-Hop Options not in first place", chain.field, code=1
        )
    if end - offset < 8:
        raise WireError(Reason.TRUNCATED, "an extension header reaches beyond the packet")
    length = 8 if chain.next_header == FRAGMENT else (packet[offset + 1] + 1) * 8
    if offset + length > end:
        raise WireError(Reason.TRUNCATED, "an extension header reaches beyond the packet")
    return bytes(packet[offset : offset + length])


def _read(chain: _Chain, header: bytes, multicast: bool) -> _Chain:
    """Return the chain with one more header in it; pointers count from that header's start."""
    options, routing = chain.options, chain.routing
    if chain.next_header == FRAGMENT:
        _refuse_fragment(header)
    elif chain.next_header == ROUTING:
        routing = _add_routing(chain, header)
    elif chain.next_header == HOP_BY_HOP:
        parse_options(header, hop_by_hop=True, multicast=multicast)
    else:
        options = _add_options(options, parse_options(header, multicast=multicast))
    return _Chain(header[0], chain.offset + len(header), chain.offset, options, routing)


def _refuse_fragment(header: bytes) -> None:
    """Let only an atomic fragment pass (RFC 6946): nothing here reassembles."""
    if _FRAGMENT_OFFSET.unpack_from(header, 2)[0] & 0xFFF9:
        raise WireError(Reason.FRAGMENT, "a fragment; fragments are not reassembled")


def _add_routing(chain: _Chain, header: bytes) -> RoutingType2 | None:
    routing = parse_routing(header)
    if routing is None:
        return chain.routing
    if chain.routing is not None:
        raise WireError(Reason.ROUTING_HEADER, "a second type 2 routing header")
    if any(isinstance(option, HomeAddress | OriginIp) for option in chain.options):
        # RFC 6275 §6.3: behind a routing header. In front, each hop would have to read it.
        raise WireError(Reason.OPTION_PLACE, "an address option in front of a routing header")
    return routing


def _add_options(known: tuple[Option, ...], new: tuple[Option, ...]) -> tuple[Option, ...]:
    """Join the options of two headers; RFC 6275 §6.3 allows one Home Address option in all."""
    for option in new:
        if not isinstance(option, HomeAddress | OriginIp):
            continue
        if any(isinstance(other, type(option)) for other in known):
            raise WireError(Reason.OPTION_TWICE, f"{type(option).__name__} twice")
    return known + new
