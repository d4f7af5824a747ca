"""What arrives from other home agents: checked, opened, and led to the part that it is for.

Draft §3.2 and §5 want all of it authenticated and encrypted. A message that names another
incarnation of this HA than the present one was meant for an earlier life, or is a recording.
"""

from agents.core.context import Context
from agents.core.counters import Dropped
from agents.core.home_agent_list import HomeAgentList
from agents.core.isolation import Isolation
from agents.core.key_management import KeyManagement
from agents.core.membership import Membership
from agents.core.misconduct import Proven, Testimony
from agents.core.operators_word import OperatorsWord
from agents.core.path_mtu import PathMtu
from agents.core.peer_key_management import PeerKeyManagement
from agents.core.peers import Peer
from agents.core.renew_requests import RenewRequests
from agents.core.replay_floors import Floors
from agents.core.replay_window import INCARNATION_MASK
from agents.core.route_optimisation import Optimiser
from agents.core.synchronisation import Synchronisation
from agents.core.table_transfer import TableTransfer
from agents.core.tunnel import Tunnel
from agents.wire import icmpv6, inter_ha, ipv6
from agents.wire.errors import WireError

_SPI = slice(0, 4)


class InterHaReceiver:
    """Takes packets to this HA's own address."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        synchronisation: Synchronisation,
        table: TableTransfer,
        floors: Floors,
        tunnel: Tunnel,
        path_mtu: PathMtu,
        renew_requests: RenewRequests,
        keys: KeyManagement | None,
        peer_keys: PeerKeyManagement | None,
        optimiser: Optimiser | None,
        home_agents: HomeAgentList,
        testimony: Testimony,
        isolation: Isolation,
        word: OperatorsWord,
    ) -> None:
        self._word = word
        self._testimony = testimony
        self._isolation = isolation
        self._list = home_agents
        self._optimiser = optimiser
        self._keys = keys
        self._peer_keys = peer_keys
        self._renew_requests = renew_requests
        self._context = context
        self._membership = membership
        self._synchronisation = synchronisation
        self._table = table
        self._floors = floors
        self._tunnel = tunnel
        self._path_mtu = path_mtu

    def receive(self, parsed: ipv6.Packet, now: float) -> None:
        """Take one packet; raise `Dropped` if it is not one of a peer's.

        IKE is for everybody: who one is shows there (draft §5).
        """
        if parsed.next_header == ipv6.UDP and self._peer_keys is not None:
            self._peer_keys.receive(parsed, now)
            return
        peers = self._context.peers
        peer = peers.by_address(parsed.source) or peers.leaver(parsed.source)
        if peer is None:
            raise Dropped("inter-ha-from-stranger")
        if parsed.next_header != ipv6.ESP:
            raise Dropped("inter-ha-in-the-clear")
        held = peer.associations
        association = held.find(int.from_bytes(parsed.payload[_SPI]))
        if association is None:
            raise Dropped("unknown-spi")
        payload, next_header, sender = self._context.peer_esp.open(
            association.inbound, parsed.payload
        )
        assert isinstance(sender, int)
        try:
            self._testimony.examine_sender(peer, sender)
            if sender & INCARNATION_MASK <= self._context.readmitted.get(peer.index, -1):
                raise Dropped("isolated-incarnation")
            held.heard(association, sender, now, follow=peer.index < self._context.config.index)
            self._receive_opened(peer, parsed, payload, next_header, sender, now)
        except Proven as proven:
            self._isolation.caught(peer, proven, now)
            raise Dropped(f"misconduct-{proven.misconduct.slug}") from proven

    def _receive_opened(
        self,
        peer: Peer,
        parsed: ipv6.Packet,
        payload: bytes,
        next_header: int,
        sender: int,
        now: float,
    ) -> None:
        """What `peer` has sealed with its own SID; raises `Proven` besides `Dropped`."""
        if next_header == ipv6.IPV6:
            self._receive_relayed(payload, now)
            return
        if next_header != ipv6.MOBILITY:
            raise Dropped("not-inter-ha")
        try:
            message = inter_ha.parse_inter_ha(payload, parsed.source, parsed.destination)
        except WireError as error:
            raise Dropped(str(error.reason)) from error
        self._context.counters[f"received.{type(message).__name__}"] += 1
        stale = message.receiver_incarnation != self._context.incarnation
        if stale and not isinstance(message, inter_ha.Hello):
            raise Dropped("stale-receiver-incarnation")
        here = self._context.peers.by_index(peer.index) is peer
        if not here and not isinstance(message, inter_ha.Leave):
            raise Dropped("inter-ha-from-stranger")
        self._testimony.examine(peer, message, sender, now)
        if isinstance(message, inter_ha.BindingInformationAcknowledgement):
            self._testimony.acknowledged(peer, message, sender, now)
        self._dispatch(peer, message, now)

    def _receive_relayed(self, payload: bytes, now: float) -> None:
        if payload[24:40] == self._context.config.home_agent_address.packed:
            self._receive_relayed_control(payload, now)
            return
        if self._optimiser is not None and self._optimiser.relayed(payload):
            return
        binding = self._context.cache.by_octets(payload[24:40])
        association = self._tunnel.relayed(binding, payload, now)
        if association is not None and binding is not None and not binding.multi_sender:
            self._floors.sent(association, now)

    def _receive_relayed_control(self, payload: bytes, now: float) -> None:
        """What came to the HA address, reached a peer, and is for this HA.

        IKE on an IKE SA of its own, or a Packet Too Big about a packet that it sent.
        """
        try:
            packet = ipv6.parse(payload)
        except WireError as error:
            raise Dropped(str(error.reason)) from error
        if icmpv6.is_packet_too_big(packet):
            self._path_mtu.receive(packet, payload, now, relayed=True)
            return
        if packet.next_header != ipv6.UDP or self._keys is None:
            raise Dropped("relayed-to-home-agent")
        self._keys.receive(packet, payload, now, relayed=True)

    def _dispatch(self, peer: Peer, message: inter_ha.InterHaMessage, now: float) -> None:
        synchronisation = self._synchronisation
        match message:
            case inter_ha.Hello():
                self._membership.hello(peer, message, now)
            case inter_ha.Keepalive():
                self._membership.keepalive(peer, message, now)
            case inter_ha.BindingInformationRequest():
                synchronisation.binding_request(peer, message, now)
            case inter_ha.BindingInformationUpdate():
                synchronisation.binding_update(peer, message, now)
            case inter_ha.SaInformationRequest():
                synchronisation.association_request(peer, message, now)
            case inter_ha.SaInformationUpdate():
                synchronisation.association_update(peer, message, now)
            case inter_ha.SaInformationRenewRequest():
                self._renew_requests.receive(peer, message, now)
            case (
                inter_ha.BindingInformationAcknowledgement()
                | inter_ha.SaInformationAcknowledgement()
                | inter_ha.PrimaryHaSwitchAcknowledgement()
            ):
                synchronisation.acknowledgement(peer, message, now)
            case inter_ha.PrimaryHaSwitch():
                synchronisation.primary_switch(peer, message, now)
            case inter_ha.ReplayFloor():
                self._floors.receive(message)
            case inter_ha.TableRequest():
                self._table.request(peer, message, now)
            case inter_ha.TableSegment():
                self._table.segment(peer, message, now)
            case inter_ha.TableEnd():
                self._table.end(peer, message, now)
            case inter_ha.Leave():
                self._list.left(peer, message, now)
            case inter_ha.LeaveAcknowledgement():
                self._context.exchanges.answered(peer.index, message.identifier, now)
            case inter_ha.PathCosts() if self._optimiser is not None:
                self._optimiser.receive(peer, message, now)
            case inter_ha.Accusation():
                self._isolation.accusation(peer, message, now)
            case inter_ha.Revocations():
                self._word.receive(peer, message, now)
            case inter_ha.IsolationAcknowledgement():
                synchronisation.acknowledgement(peer, message, now)
            case _:
                raise Dropped(f"unexpected-{type(message).__name__.lower()}")
