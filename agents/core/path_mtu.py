"""Packet Too Big about tunnel packets: which home agent it is for, and whether to believe it.

A router answers a tunnel packet's source, the HA address, so that its Packet Too Big reaches the HA
that is nearest to the router: maybe not the one that sent. It is not authentic either. So the HA
that gets it looks whom the quoted ORIGIN_IP names and relays it there, over the SA between the two;
and only the sender can tell, by its own numbers, that such a packet was sent lately (RFC 8201 §4
and §6, RFC 4301 §8.2.1; DECISIONS.md, "Packet Too Big").
"""

from ipaddress import IPv6Address
from typing import Final

from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.counters import Dropped
from agents.core.events import PathMtuEnded, PathMtuLowered
from agents.core.mtu import inner_mtu
from agents.core.rate_limit import RateLimit
from agents.core.security_associations import SecurityAssociation
from agents.core.timers import Timer
from agents.wire import icmpv6, ipv6
from agents.wire.errors import WireError

LASTING: Final = 600.0
"""Seconds after which the configured size is tried again (RFC 8201 §4 recommends ten minutes)."""

RECENT: Final = 1 << 16
"""A quoted packet must be among so many last ones: all that a fast flow sends in a round trip, and
a guess that one stranger in 65,536 gets right, who must know the SPI besides."""

HEEDED_PER_SECOND: Final = 50
"""Packets Too Big relayed or adopted at most; one is enough for each path."""


class PathMtu:
    """The paths to care-of addresses on which less passes than is configured."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._limits = context.inner_limits
        self._ends: dict[IPv6Address, Timer] = {}
        self._rate = RateLimit(HEEDED_PER_SECOND)

    def receive(self, packet: ipv6.Packet, whole: bytes, now: float, *, relayed: bool) -> None:
        """Take a Packet Too Big that came to the HA address; raises `Dropped`."""
        counters = self._context.counters
        counters["packet-too-big.relayed-here" if relayed else "packet-too-big.received"] += 1
        try:
            report = icmpv6.parse_packet_too_big(packet)
        except WireError as error:
            raise Dropped("packet-too-big-malformed") from error
        binding, association, number = self._quoted(report.quoted)
        # After what strangers cannot pass, so that they cannot use it up; peers keep to theirs.
        if not relayed and not self._rate.allow(now):
            raise Dropped("packet-too-big-limit")
        origin = report.quoted.origin
        own = self._context.config
        if origin is None:  # such packets come from the primary alone (rule 7)
            sender = binding.primary
        elif origin == own.address:
            sender = own.index
        else:
            peer = self._context.peers.by_address(origin)
            if peer is None:
                raise Dropped("packet-too-big-unknown")
            sender = peer.index
        if sender != own.index:
            self._relay(sender, whole, relayed=relayed)
        elif not 0 <= association.counter - number < RECENT:
            raise Dropped("packet-too-big-not-sent")
        else:
            self._adopt(report, binding, now)

    def _quoted(self, quoted: ipv6.Packet) -> tuple[Binding, SecurityAssociation, int]:
        """Return binding, SA and number of a packet that some HA may have sent."""
        own = self._context.config.home_agent_address
        if quoted.source != own or quoted.next_header != ipv6.ESP or len(quoted.payload) < 8:
            raise Dropped("packet-too-big-unknown")
        binding = self._context.cache.by_care_of(quoted.destination)
        if binding is None or not binding.bound:
            raise Dropped("packet-too-big-unknown")
        spi = int.from_bytes(quoted.payload[:4])
        association = self._context.associations.find(spi, own, binding.home_address)
        if association is None:
            raise Dropped("packet-too-big-unknown")
        return binding, association, int.from_bytes(quoted.payload[4:8])

    def _relay(self, index: int, whole: bytes, *, relayed: bool) -> None:
        """Hand it to the HA that sent; what was relayed once is not relayed again."""
        peer = self._context.peers.by_index(index)
        if relayed or peer is None or not peer.valid:
            raise Dropped("packet-too-big-of-another")
        self._context.send_sealed(peer, whole, ipv6.IPV6)
        self._context.counters["packet-too-big.relayed"] += 1

    def _adopt(self, report: icmpv6.PacketTooBig, binding: Binding, now: float) -> None:
        """Take less than was known, never more, and never below what IPv6 promises inside.

        RFC 8201 §4: an MTU below 1280 is a mistake or an attack, and changes nothing.
        """
        config = self._context.config
        if not ipv6.MINIMUM_MTU <= report.mtu < config.path_mtu:
            raise Dropped("packet-too-big-size")
        limit = max(ipv6.MINIMUM_MTU, inner_mtu(report.mtu, config.mode))
        care_of = binding.care_of_address
        if limit >= self._limits.get(care_of, inner_mtu(config.path_mtu, config.mode)):
            raise Dropped("packet-too-big-known")
        self._limits[care_of] = limit
        self._context.counters["packet-too-big.adopted"] += 1
        self._context.report(PathMtuLowered(care_of, report.mtu, limit, report.router))
        if care_of in self._ends:
            self._ends[care_of].cancel()
        timers = self._context.timers
        self._ends[care_of] = timers.schedule(now + LASTING, lambda _: self._end(care_of))

    def _end(self, care_of: IPv6Address) -> None:
        del self._limits[care_of], self._ends[care_of]
        self._context.report(PathMtuEnded(care_of))
