"""IKE of mobile nodes and home agents: whole packets <-> datagrams, SAs <-> children.

IKE runs between the care-of address and the home agent address (RFC 4877 §4); what it protects has
the home address as its selector (RFC 3776 §4.2). Home agents use their own addresses for both.
"""

from collections.abc import Iterable
from ipaddress import IPv6Address

from agents.config import IkeGroup
from agents.core.counters import Dropped
from agents.core.ike.child_sa import ChildSa
from agents.core.ike.config import ChildRequest
from agents.core.ike.endpoint import Datagram
from agents.keys import KeyedAssociation
from agents.wire import ipv6
from agents.wire.errors import WireError
from agents.wire.ike.header import parse_header
from agents.wire.ike.numbers import IKE_PORT, NAT_PORT, NON_ESP_MARKER, Group
from agents.wire.ike.selectors import TrafficSelector
from agents.wire.transforms import Mode as SaMode
from agents.wire.transforms import Transform
from agents.wire.udp import parse_udp, serialize_udp

SIGNALLING = "signalling"
"""Name of the Child SA for Binding Updates and Acknowledgements."""

PAYLOAD = "payload"
"""Name of the Child SA of the bidirectional tunnel."""

PEER = "peer"
"""Name of the Child SA between two home agents."""

_ANYWHERE = TrafficSelector(0, IPv6Address(0), IPv6Address(2**128 - 1))


_GROUPS = {
    IkeGroup.X25519: Group.X25519,
    IkeGroup.P256: Group.P256,
    IkeGroup.MODP_2048: Group.MODP_2048,
}


def groups(configured: Iterable[IkeGroup]) -> tuple[Group, ...]:
    """Return the numbers of what a configuration names."""
    return tuple(_GROUPS[each] for each in configured)


def mobile_children(
    home_address: IPv6Address, home_agent_address: IPv6Address, transform: Transform
) -> tuple[ChildRequest, ChildRequest]:
    """Return what a mobile node and its home agents protect, seen from the mobile node."""
    return (
        ChildRequest(
            SIGNALLING,
            (TrafficSelector.of(home_address, ipv6.MOBILITY),),
            (TrafficSelector.of(home_agent_address, ipv6.MOBILITY),),
            SaMode.TRANSPORT,
            transform,
        ),
        ChildRequest(
            PAYLOAD, (TrafficSelector.of(home_address),), (_ANYWHERE,), SaMode.TUNNEL, transform
        ),
    )


def peer_child(own: IPv6Address, other: IPv6Address) -> ChildRequest:
    """Return what two home agents protect, seen from `own`: their messages, and what they relay."""
    local, remote = (
        (TrafficSelector.of(end, ipv6.MOBILITY), TrafficSelector.of(end, ipv6.IPV6))
        for end in (own, other)
    )
    return ChildRequest(PEER, local, remote, SaMode.TRANSPORT, Transform.AES_128_GCM)


def mirrored(request: ChildRequest) -> ChildRequest:
    """Return the same, seen from the other end."""
    return ChildRequest(
        request.name, request.remote, request.local, request.mode, request.transform
    )


def keyed(child: ChildSa, own: IPv6Address, other: IPv6Address) -> tuple[KeyedAssociation, ...]:
    """Return both directions of a Child SA, `own` and `other` being the ends' selectors."""
    return (
        KeyedAssociation(
            child.inbound_spi, other, own, child.mode, child.transform, child.inbound_key
        ),
        KeyedAssociation(
            child.outbound_spi, own, other, child.mode, child.transform, child.outbound_key
        ),
    )


def to_datagram(packet: ipv6.Packet) -> Datagram:
    """Return the IKE datagram in a packet; raises `Dropped`: malformed, or another port."""
    try:
        source_port, port, payload = parse_udp(packet.payload, packet.source, packet.destination)
    except WireError as error:
        raise Dropped(str(error.reason)) from error
    if port not in (IKE_PORT, NAT_PORT):
        raise Dropped("not-ike")
    return Datagram(packet.source, source_port, packet.destination, port, payload)


def to_packet(datagram: Datagram) -> bytes:
    """Return the whole packet of an IKE datagram."""
    udp = serialize_udp(
        datagram.source,
        datagram.source_port,
        datagram.destination,
        datagram.destination_port,
        datagram.payload,
    )
    return ipv6.build(datagram.source, datagram.destination, ipv6.UDP, udp)


def receivers_spi(datagram: Datagram) -> int:
    """Return the receiver's own IKE SPI; 0 if it has chosen none yet, or if this is no IKE."""
    octets = datagram.payload
    if datagram.destination_port == NAT_PORT:
        octets = octets.removeprefix(NON_ESP_MARKER)
    try:
        head = parse_header(octets)
    except WireError:
        return 0
    return head.spi_responder if head.initiator else head.spi_initiator
