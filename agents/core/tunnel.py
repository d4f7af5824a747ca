"""Payload between correspondent nodes and mobile nodes (draft §2, §3.1; RFC 6275 §10.4).

Every home agent tunnels straight to the care-of address, on the shared SA, and names itself in
ORIGIN_IP. A mobile node that does not know ORIGIN_IP is served by its primary alone: the other
HAs relay to that one (design §10, rule 7). So does an HA that the mobile node's SID table does not
have yet (rule 6).
"""

from ipaddress import IPv6Address
from typing import NoReturn

from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.counters import Dropped
from agents.core.outer_header import OuterHeader
from agents.core.peers import Peer
from agents.core.security_associations import SecurityAssociation
from agents.core.sid_tables import SidTables
from agents.wire import icmpv6, ipv6
from agents.wire.destination_options import OriginIp, serialize_destination_options
from agents.wire.transforms import Mode as SaMode


class Tunnel:
    """Encapsulates packets for mobile nodes."""

    def __init__(self, context: Context, tables: SidTables) -> None:
        self._context = context
        self._tables = tables
        self._index = context.config.index
        self._limits = context.inner_limits
        self._origin = b""
        self.handed_over = False
        """Whether this HA leaves, and its roles are another's (rule 6)."""
        self.members_changed()

    def members_changed(self) -> None:
        """Home agents have come or gone: one that is alone need not name itself."""
        config, origin = self._context.config, b""
        if config.origin_option and len(self._context.peers):
            origin = serialize_destination_options(ipv6.ESP, [OriginIp(config.address)])
        if origin != self._origin:
            self._origin = origin
            for binding in self._context.cache:
                binding.header = None

    def send(self, binding: Binding, packet: bytes, now: float) -> SecurityAssociation | None:
        """Tunnel `packet` to the mobile node, or relay it; return the SA used.

        Raises `Dropped` when neither can be done.
        """
        if not binding.bound:
            raise Dropped("no-binding")
        if not binding.multi_sender and binding.primary != self._index:
            primary = self._context.peers.by_index(binding.primary)
            if primary is None or not primary.valid:
                raise Dropped("primary-invalid")
            self._relay(primary, packet)
            return None
        if binding.multi_sender and not self._tables.may_send(binding):
            other = self._tables.relay_for(binding)
            if other is not None:
                self._relay(other, packet)
                return None
        return self._send(binding, packet, now)

    def _send(self, binding: Binding, packet: bytes, now: float) -> SecurityAssociation:
        """Tunnel `packet` to the mobile node; return the SA used."""
        if self._limits and len(packet) > self._limits.get(binding.care_of_address, len(packet)):
            self._refuse(packet, self._limits[binding.care_of_address], now)
        association = binding.tunnel
        if association is None:
            association = self._find(binding)
        header = binding.header
        if header is None:
            header = binding.header = self.outer(binding.care_of_address, binding.multi_sender)
        try:
            sealed = self._context.mobile_esp.seal(association, packet, ipv6.IPV6)
        except Dropped:
            exhausted, association = association, self._find(binding)
            if association is exhausted:
                raise
            sealed = self._context.mobile_esp.seal(association, packet, ipv6.IPV6)
        self._context.to_send.append(header.wrap(sealed))
        self._context.counters["tunnel.sent"] += 1
        return association

    def relayed(
        self, binding: Binding | None, packet: bytes, now: float
    ) -> SecurityAssociation | None:
        """A peer relayed `packet` to the primary, or to an HA that the mobile node knows.

        It is tunnelled, but never relayed again; unless this HA was primary until just now.
        """
        if binding is None or not binding.bound:
            raise Dropped("no-binding")
        known = binding.multi_sender and self._tables.may_send(binding)
        if binding.primary != self._index and not known:
            primary = self._context.peers.by_index(binding.primary)
            if self.handed_over and primary is not None and primary.valid:
                self._relay(primary, packet)
                return None
            raise Dropped("relayed-to-non-primary")
        return self._send(binding, packet, now)

    def outer(self, care_of_address: IPv6Address, multi_sender: bool) -> OuterHeader:
        """Return the outer header of tunnel packets: ORIGIN_IP before ESP (draft §3.1)."""
        extension = self._origin if multi_sender else b""
        return OuterHeader(
            self._context.config.home_agent_address,
            care_of_address,
            ipv6.DESTINATION_OPTIONS if extension else ipv6.ESP,
            extension,
        )

    def origin_extension(self, multi_sender: bool) -> bytes:
        """Return the Destination Options header with ORIGIN_IP, or nothing."""
        return self._origin if multi_sender else b""

    def _refuse(self, packet: bytes, limit: int, now: float) -> NoReturn:
        """Tell the correspondent node how much passes (RFC 2473 §7.1 (a))."""
        answer = icmpv6.packet_too_big(self._context.config.address, packet, limit)
        if answer is not None and self._context.error_limit.allow(now):
            self._context.to_send.append(answer)
        elif answer is not None:
            self._context.counters["errors-suppressed"] += 1
        raise Dropped("too-big-for-path")

    def _find(self, binding: Binding) -> SecurityAssociation:
        found = self._context.associations.outbound(binding.home_address, SaMode.TUNNEL)
        if found is None:
            raise Dropped("no-sa")
        binding.tunnel = found
        return found

    def _relay(self, other: Peer, packet: bytes) -> None:
        self._context.send_sealed(other, packet, ipv6.IPV6)
        self._context.counters["relayed-to-primary"] += 1
