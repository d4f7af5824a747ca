"""The home agent's engine: packets and time in, packets and events out, no I/O.

Its parts, each in a file of its own: `registration` decides on Binding Updates, `tunnel` carries
payload, `synchronisation` and `table_transfer` keep peers equal, `membership` knows who is there,
`signalling` builds and reads what travels between mobile node and home agent. This file leads each
packet to the part that it is for, and holds what concerns several of them: takeover and floors.
"""

from collections.abc import Callable, Hashable, Iterable
from ipaddress import IPv6Address

from agents.config import ConfigError, HomeAgentConfig
from agents.core import status as status_report
from agents.core.binding_cache import Binding, BindingEvent, BindingState
from agents.core.context import Context
from agents.core.counters import Counters, Dropped
from agents.core.esp_processing import EgressRecord
from agents.core.events import (
    BindingAccepted,
    BindingRefused,
    BindingRemoved,
    Event,
    Notice,
    PrimaryChanged,
    TableReceived,
    TrafficBegan,
)
from agents.core.held_packets import HeldPackets
from agents.core.membership import Membership
from agents.core.peers import Peer, PeerState
from agents.core.registration import Answer, Registration
from agents.core.replay_floors import FloorReporter
from agents.core.replay_window import SidWindows, SingleWindow
from agents.core.security_associations import SaEvent, SecurityAssociation
from agents.core.signalling import Signalling
from agents.core.synchronisation import Synchronisation
from agents.core.table_transfer import TableTransfer
from agents.core.tunnel import Tunnel
from agents.keys import KeyedAssociation, SaMode
from agents.wire import icmpv6, inter_ha, ipv6, mobility
from agents.wire.addresses import address
from agents.wire.errors import WireError

TAKEOVER_JUMP = 2**20
"""How far above the old primary's last known number a new one begins, where the mobile node has
but one window (design §10, rule 7)."""

_ESP_HEADER = 8
_SPI = slice(0, 4)


class HomeAgent:
    """One home agent. Times are seconds of one monotonic clock."""

    def __init__(
        self,
        config: HomeAgentConfig,
        incarnation: int | None,
        random_bytes: Callable[[int], bytes],
        peer_keys: dict[int, tuple[KeyedAssociation, ...]],
        record: EgressRecord | None = None,
    ) -> None:
        """Make an idle engine; `start` sets it going.

        `incarnation` counts the starts of this HA from 1; None if the count is lost: then
        numbers on every old SA might repeat, and the engine stays silent (design §10, rule 3).
        `peer_keys` are the two associations with each peer, by index. `record` is told of every
        packet sealed. Raises `ConfigError` for a peer without keys.
        """
        self.incarnation = incarnation
        peers = [_make_peer(config, each.index, peer_keys) for each in config.peers]
        self._context = context = Context(
            config, incarnation or 0, random_bytes, peers, self._expired, record
        )
        self._anycast = config.home_agent_address.packed
        self._registration = Registration(config, context.cache, self._ended)
        self._tunnel = Tunnel(context)
        self._signalling = Signalling(context, self._tunnel)
        self._synchronisation = Synchronisation(context, self._released)
        self._table = TableTransfer(
            context,
            self._make_table,
            self._synchronisation.learn_table,
            self._table_complete,
        )
        self._membership = Membership(context, self._table.fetch, self._obstacle)
        timers = config.timers
        self._held = HeldPackets(
            context.timers, timers.hold_packets, timers.hold_time, self._unreachable
        )
        self._floors = FloorReporter(
            context.timers, timers.floor_interval, timers.floor_packets, self._send_floors
        )
        self._now = 0.0

    # The surface: packets, time, events.

    @property
    def counters(self) -> Counters:
        """Counts by name; `dropped.<reason>` for every packet dropped."""
        return self._context.counters

    def receive(self, packet: bytes, now: float) -> None:
        """Take one whole packet: from a CN, a mobile node or a peer. Never raises."""
        self._now = now
        try:
            destination = packet[24:40]
            if destination == self._anycast:
                if packet[6] == ipv6.ESP:
                    self._receive_esp(packet, now)
                else:
                    self._receive_other(packet, now)
                return
            binding = self._context.cache.by_octets(destination)
            if binding is not None and packet[0] >> 4 == 6:
                self._to_mobile_node(binding, packet, now)
            else:
                self._receive_other(packet, now)
        except Dropped as dropped:
            self.counters.drop(dropped.reason)
        except WireError as error:
            self._answer_malformed(packet, error, now)

    def packets_to_send(self, now: float) -> list[bytes]:
        """Return the whole packets that are due for the network."""
        packets, self._context.to_send = self._context.to_send, []
        return packets

    def packets_to_deliver(self) -> list[bytes]:
        """Return the mobile nodes' packets, decapsulated, to be forwarded."""
        packets, self._context.to_deliver = self._context.to_deliver, []
        return packets

    def next_timer(self) -> float | None:
        """Return when `handle_timer` is due."""
        return self._context.timers.next_time()

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._now = now
        self._context.timers.run(now)

    def next_event(self) -> Event | None:
        """Return the next event for the journal, or None."""
        return self._context.events.popleft() if self._context.events else None

    # Verbs.

    def start(self, now: float) -> None:
        """Begin to look for peers."""
        self._now = now
        if self.incarnation is None:
            self._context.report(
                Notice("the incarnation counter cannot be read: no old SA may be used, staying out")
            )
            return
        self._membership.start(now)

    def connectivity(self, reachable: bool, now: float) -> None:
        """Tell whether any route to the peers is left."""
        self._now = now
        if self.incarnation is not None:
            self._membership.connectivity(reachable, now)

    def resynchronise(self, now: float) -> None:
        """This agent was stopped for a while, and its route taken away: begin again."""
        self._now = now
        if self.incarnation is not None:
            self._membership.resynchronise("was-stopped", now)

    def load_keys(self, keyed: Iterable[KeyedAssociation], now: float) -> None:
        """Take a mobile node's SAs from its key file, in place of those held, and tell the peers.

        Only in the first incarnation may SAs of a file that was there before be used (rule 10):
        that is for the caller to know. Raises `ConfigError` for an SPI out of range (rule 4).
        """
        self._now = now
        own = self._context.config
        fresh = [_from_key(each, own) for each in keyed]
        if not fresh:
            return
        home_address = fresh[0].home_address
        generation = self._context.associations.generation(home_address) + 1
        old = list(self._context.associations.of(home_address))
        for each in old:
            each.handle(SaEvent.DELETED)
            self._context.associations.remove(each)
        for each in fresh:
            each.generation = generation
            self._context.associations.add(each, inbound=each.inbound)
        self._synchronisation.forget_tunnel(home_address)
        self._synchronisation.announce_associations([*old, *fresh], now)

    def bindings(self) -> list[dict[str, object]]:
        """Return the binding cache, ready for JSON."""
        return status_report.bindings(self._context, self._now)

    def sas(self) -> list[dict[str, object]]:
        """Return the SAs without their keys, ready for JSON."""
        return status_report.associations(self._context)

    def peers(self) -> list[dict[str, object]]:
        """Return the peers, ready for JSON."""
        return status_report.peers(self._context)

    def status(self) -> dict[str, object]:
        """Return the whole in a few numbers, ready for JSON."""
        return {
            **status_report.status(self._context),
            "advertising": self._membership.advertising,
        }

    # From the correspondent node.

    def _to_mobile_node(self, binding: Binding, packet: bytes, now: float) -> None:
        if not binding.bound:
            self._unreachable(packet, now)
            return
        association = self._tunnel.send(binding, packet)
        if association is not None and not binding.multi_sender:
            self._floors.moved(association, now)

    def _unknown_home_address(self, packet: bytes, now: float) -> None:
        """Ask the peers about an HoA that is not known here (rule 10)."""
        home_address = address(packet[24:40])
        if home_address not in self._context.config.home_prefix:
            raise Dropped("not-for-this-home-network")
        if not self._context.peers.valid():
            self._unreachable(packet, now)
        elif self._held.hold(home_address, packet, now):
            self._synchronisation.ask_binding(home_address, now)

    def _unreachable(self, packet: bytes, now: float) -> None:
        self.counters.drop("no-binding")
        error = icmpv6.destination_unreachable(self._context.config.address, packet)
        if error is not None and self._context.error_limit.allow(now):
            self._context.to_send.append(error)

    def _released(self, key: Hashable, now: float) -> None:
        """Something that packets waited for is known now, or will not be."""
        for packet in self._held.release(key):
            if isinstance(key, IPv6Address):
                binding = self._context.cache.get(key)
                if binding is None or not binding.bound:
                    self._unreachable(packet, now)
                    continue
            elif isinstance(key, int) and self._context.associations.by_spi(key) is None:
                self.counters.drop("unknown-spi")
                continue
            self.receive(packet, now)

    # From the mobile node.

    def _receive_esp(self, packet: bytes, now: float) -> None:
        """ESP to the HA address without extension headers: payload in tunnel mode."""
        end = ipv6.HEADER_LENGTH + int.from_bytes(packet[4:6])
        sealed = packet[ipv6.HEADER_LENGTH : end]
        association = self._association(sealed, packet, now)
        if association is None:
            return
        payload, next_header, _ = self._context.mobile_esp.open(association, sealed)
        if association.mode is not SaMode.TUNNEL:
            raise Dropped("no-home-address-option")
        if next_header == ipv6.NO_NEXT_HEADER:
            raise Dropped("dummy")
        if next_header != ipv6.IPV6 or len(payload) < ipv6.HEADER_LENGTH:
            raise Dropped("not-ipv6-in-tunnel")
        if payload[8:24] != association.home_octets:
            raise Dropped("inner-source-not-home-address")
        binding = self._authenticated(association, now)
        if payload[24:40] == self._anycast:
            self._receive_inner(association, address(packet[8:24]), payload, now)
            return
        if binding is None or not binding.bound:
            raise Dropped("no-binding-for-reverse-tunnel")
        self._context.to_deliver.append(payload)
        self._context.counters["tunnel.received"] += 1

    def _association(self, sealed: bytes, packet: bytes, now: float) -> SecurityAssociation | None:
        """Return the SA of an ESP packet; None if the packet waits for a peer's answer."""
        if len(sealed) < _ESP_HEADER:
            raise Dropped("esp-truncated")
        spi = int.from_bytes(sealed[_SPI])
        association = self._context.associations.by_spi(spi)
        if association is not None:
            return association
        peer = self._context.peers.by_index(spi >> 24)
        if peer is None or not self._context.peers.valid():
            raise Dropped("unknown-spi")
        if self._held.hold(spi, packet, now):
            self._synchronisation.ask_association(spi, now)
        return None

    def _receive_inner(
        self, association: SecurityAssociation, source: IPv6Address, inner: bytes, now: float
    ) -> None:
        """The mobile node speaks to the HA itself through the tunnel (RFC 4877 §3)."""
        packet = ipv6.parse(inner)
        if packet.next_header != ipv6.MOBILITY:
            raise Dropped("not-for-home-agent")
        message = _parse_protected(packet.payload, packet.source, packet.destination)
        self._mobility(association, source, message, now, in_tunnel=True)

    def _receive_other(self, packet: bytes, now: float) -> None:
        """Everything with extension headers, from peers, malformed, or for nobody known."""
        parsed = ipv6.parse(packet)
        if parsed.destination == self._context.config.address:
            self._receive_from_peer(parsed, now)
        elif parsed.destination != self._context.config.home_agent_address:
            self._unknown_home_address(packet, now)
        elif parsed.next_header == ipv6.ESP:
            self._receive_transport(parsed, packet, now)
        else:
            self._signalling.unprotected(parsed, now)

    def _receive_transport(self, parsed: ipv6.Packet, packet: bytes, now: float) -> None:
        """ESP transport with a Home Address option: a Binding Update, as a rule."""
        association = self._association(parsed.payload, packet, now)
        if association is None:
            return
        home_address = parsed.home_address
        if home_address is None and association.mode is SaMode.TRANSPORT:
            raise Dropped("no-home-address-option")
        if home_address is not None and home_address != association.home_address:
            raise Dropped("home-address-not-of-this-sa")
        payload, next_header, _ = self._context.mobile_esp.open(association, parsed.payload)
        if association.mode is not SaMode.TRANSPORT or next_header != ipv6.MOBILITY:
            raise Dropped("not-mobility-in-transport")
        message = _parse_protected(
            payload, association.home_address, self._context.config.home_agent_address
        )
        self._authenticated(association, now)
        self._mobility(association, parsed.source, message, now, in_tunnel=False)

    def _mobility(
        self,
        association: SecurityAssociation,
        source: IPv6Address,
        message: mobility.MobilityMessage,
        now: float,
        *,
        in_tunnel: bool,
    ) -> None:
        """A Mobility Header message under the mobile node's SA."""
        home_address = association.home_address
        if not isinstance(message, mobility.BindingUpdate):
            self._signalling.not_an_update(message, home_address, source, in_tunnel)
            return
        self.counters["received.binding-update"] += 1
        held = self._context.cache.get(home_address)
        was_primary = held is not None and held.primary == self._context.config.index
        answer = self._registration.update(
            message, home_address, source, association.generation, now
        )
        if answer.binding is None:
            self._context.report(BindingRefused(home_address, int(answer.status)))
            self._signalling.acknowledge(home_address, answer, in_tunnel)
            return
        if not was_primary:
            binding = answer.binding
            self._context.report(PrimaryChanged(home_address, binding.primary, binding.epoch, "bu"))
        self._accepted(answer, in_tunnel, now)

    def _accepted(self, answer: Answer, in_tunnel: bool, now: float) -> None:
        """Acknowledge at once, or when duplicate address detection is over (RFC 6275 §10.3.1)."""
        binding = answer.binding
        assert binding is not None
        delay = self._context.config.duplicate_detection
        if binding.state is BindingState.PROBING:
            if delay:
                self._context.timers.schedule(
                    now + delay, lambda then: self._probe_done(answer, in_tunnel, then)
                )
                return
            binding.handle(BindingEvent.PROBE_DONE)
        self._acknowledge(answer, in_tunnel, now)

    def _probe_done(self, answer: Answer, in_tunnel: bool, now: float) -> None:
        binding = answer.binding
        assert binding is not None
        if self._context.cache.get(binding.home_address) is not binding:
            return  # a newer Binding Update came meanwhile, and has a probe of its own
        if binding.state is BindingState.PROBING:
            binding.handle(BindingEvent.PROBE_DONE)
            self._acknowledge(answer, in_tunnel, now)

    def _acknowledge(self, answer: Answer, in_tunnel: bool, now: float) -> None:
        binding = answer.binding
        assert binding is not None
        if binding.bound:
            self._context.report(
                BindingAccepted(
                    binding.home_address, binding.care_of_address, answer.sequence, answer.lifetime
                )
            )
        self._signalling.acknowledge(binding.home_address, answer, in_tunnel)
        self._synchronisation.announce_binding(binding, now)
        self._released(binding.home_address, now)

    def _authenticated(self, association: SecurityAssociation, now: float) -> Binding | None:
        """An authentic packet of the mobile node arrived: rules 1 (b) and 5. Return its binding."""
        if not association.served:
            self._begin_to_serve(association)
        self._floors.moved(association, now)
        binding = self._context.cache.by_octets(association.home_octets)
        if binding is not None and binding.primary != self._context.config.index:
            self._consider_takeover(binding, now)
        return binding

    def _begin_to_serve(self, association: SecurityAssociation) -> None:
        """Open the window at the higher of floor and first number, lower bits set (rule 5)."""
        association.served = True
        assert isinstance(association.windows, SingleWindow)
        window = association.windows.window
        self._context.report(
            TrafficBegan(association.home_address, window.highest, association.inbound_floor)
        )
        window.raise_floor(window.highest)

    # The primary role.

    def _consider_takeover(self, binding: Binding, now: float) -> None:
        """Draft §3.3.3: primary invalid, traffic here, and (draft mode) renewal due (rule 1)."""
        primary = self._context.peers.by_index(binding.primary)
        if not binding.bound or primary is None or primary.state is not PeerState.INVALID:
            return
        if not (self._context.hardened or not binding.multi_sender or self._renewal_due(binding)):
            return
        binding.epoch, binding.primary = binding.epoch + 1, self._context.config.index
        if not binding.multi_sender:
            self._jump(binding)
        self._context.report(
            PrimaryChanged(binding.home_address, binding.primary, binding.epoch, "takeover")
        )
        self._synchronisation.announce_primary(binding, now)

    def _renewal_due(self, binding: Binding) -> bool:
        return any(each.renewal_due for each in self._context.associations.of(binding.home_address))

    def _jump(self, binding: Binding) -> None:
        """Continue above the old primary's numbers: the mobile node has one window (rule 7)."""
        for each in self._context.associations.of(binding.home_address):
            if not each.inbound:
                each.counter = max(each.counter, each.outbound_floor + TAKEOVER_JUMP)

    # Ends of bindings.

    def _expired(self, binding: Binding, now: float) -> None:
        self._context.report(BindingRemoved(binding.home_address, "expired"))

    def _ended(self, binding: Binding, reason: str) -> None:
        self._context.report(BindingRemoved(binding.home_address, reason))

    # From and to peers.

    def _receive_from_peer(self, parsed: ipv6.Packet, now: float) -> None:
        peer = self._context.peers.by_address(parsed.source)
        if peer is None:
            raise Dropped("inter-ha-from-stranger")
        if parsed.next_header != ipv6.ESP:
            raise Dropped("inter-ha-in-the-clear")
        if int.from_bytes(parsed.payload[_SPI]) != peer.inbound.spi:
            raise Dropped("unknown-spi")
        payload, next_header, sender = self._context.peer_esp.open(peer.inbound, parsed.payload)
        if next_header == ipv6.IPV6:
            self._receive_relayed(payload, now)
            return
        if next_header != ipv6.MOBILITY:
            raise Dropped("not-inter-ha")
        try:
            message = inter_ha.parse_inter_ha(payload, parsed.source, parsed.destination)
        except WireError as error:
            raise Dropped(str(error.reason)) from error
        self.counters[f"received.{type(message).__name__}"] += 1
        if not isinstance(message, inter_ha.Hello):
            if message.receiver_incarnation != self._context.incarnation:
                raise Dropped("stale-receiver-incarnation")
        elif not isinstance(sender, int) or message.incarnation != sender & 0x3FF:
            raise Dropped("incarnation-not-that-of-sid")
        self._dispatch(peer, message, now)

    def _receive_relayed(self, payload: bytes, now: float) -> None:
        binding = self._context.cache.by_octets(payload[24:40])
        association = self._tunnel.relayed(binding, payload)
        if association is not None and binding is not None and not binding.multi_sender:
            self._floors.moved(association, now)

    def _dispatch(self, peer: Peer, message: inter_ha.InterHaMessage, now: float) -> None:
        synchronisation = self._synchronisation
        match message:
            case inter_ha.Hello():
                self._membership.hello(peer, message, now)
            case inter_ha.Keepalive(response=False):
                self._context.send_to_peer(
                    peer, inter_ha.Keepalive(response=True, identifier=message.identifier)
                )
            case inter_ha.BindingInformationRequest():
                synchronisation.binding_request(peer, message, now)
            case inter_ha.BindingInformationUpdate():
                synchronisation.binding_update(peer, message, now)
            case inter_ha.SaInformationRequest():
                synchronisation.association_request(peer, message, now)
            case inter_ha.SaInformationUpdate():
                synchronisation.association_update(peer, message, now)
            case (
                inter_ha.BindingInformationAcknowledgement()
                | inter_ha.SaInformationAcknowledgement()
                | inter_ha.PrimaryHaSwitchAcknowledgement()
            ):
                synchronisation.acknowledgement(peer, message, now)
            case inter_ha.PrimaryHaSwitch():
                synchronisation.primary_switch(peer, message, now)
            case inter_ha.ReplayFloor():
                self._receive_floors(message)
            case inter_ha.TableRequest():
                self._table.request(peer, message, now)
            case inter_ha.TableSegment():
                self._table.segment(peer, message, now)
            case inter_ha.TableEnd():
                self._table.end(peer, message, now)
            case _:
                raise Dropped(f"unexpected-{type(message).__name__.lower()}")

    def _make_table(self) -> list[inter_ha.BindingEntry | inter_ha.SaEntry]:
        return self._synchronisation.table(self._now)

    def _table_complete(self, peer: Peer, entries: int, now: float) -> None:
        self._context.report(TableReceived(peer.name, entries))
        self._membership.table_complete(peer, now)

    def _obstacle(self) -> str | None:
        """Name what forbids to advertise: an HA that cannot send would be a black hole."""
        if any(each.silent for each in self._context.associations):
            return "restarted in draft mode, silent until the SAs are renewed"
        return None

    def _send_floors(self, moved: list[SecurityAssociation], now: float) -> None:
        """Tell every valid peer how far numbers have come (rule 5)."""
        entries = [floor for each in moved if (floor := self._floor(each)) is not None]
        for part in inter_ha.fit(entries):
            for peer in self._context.peers.valid():
                identifier = self._context.exchanges.new_identifier(peer.index)
                self._context.send_to_peer(
                    peer, inter_ha.ReplayFloor(entries=part, identifier=identifier)
                )

    def _floor(self, association: SecurityAssociation) -> inter_ha.FloorEntry | None:
        if association.inbound:
            assert isinstance(association.windows, SingleWindow)
            return inter_ha.FloorEntry(association.spi, 0, association.windows.window.highest)
        # Mobile nodes choose the SPIs that they receive on, so two may choose the same: the SA
        # is named by that of its twin towards the home agents.
        twin = self._twin(association, inbound=True)
        if twin is None:
            return None
        return inter_ha.FloorEntry(twin.spi, 0, association.counter, outbound=True)

    def _receive_floors(self, message: inter_ha.ReplayFloor) -> None:
        for entry in message.entries:
            association = self._context.associations.by_spi(entry.spi)
            if association is None:
                self.counters["floor-for-unknown-spi"] += 1
            elif entry.outbound:
                twin = self._twin(association, inbound=False)
                if twin is not None:
                    twin.outbound_floor = max(twin.outbound_floor, entry.number)
            else:
                assert isinstance(association.windows, SingleWindow)
                window = association.windows.window
                if entry.number > window.highest:
                    association.served = False
                association.inbound_floor = max(association.inbound_floor, entry.number)
                window.raise_floor(entry.number)

    def _twin(
        self, association: SecurityAssociation, *, inbound: bool
    ) -> SecurityAssociation | None:
        wanted = (association.mode, association.generation, inbound)
        for each in self._context.associations.of(association.home_address):
            if (each.mode, each.generation, each.inbound) == wanted:
                return each
        return None

    def _answer_malformed(self, packet: bytes, error: WireError, now: float) -> None:
        """Count it, and answer as far as the RFCs want an answer."""
        self.counters.drop(str(error.reason))
        if error.pointer is None or not self._context.error_limit.allow(now):
            return
        answer = icmpv6.parameter_problem(
            self._context.config.address, packet, error.code, error.pointer
        )
        if answer is not None:
            self._context.to_send.append(answer)


def _parse_protected(
    payload: bytes, source: IPv6Address, destination: IPv6Address
) -> mobility.MobilityMessage:
    """Read a message that came in ESP; no pointer into it can be told to its sender."""
    try:
        return mobility.parse_mobility(payload, source, destination)
    except WireError as error:
        raise Dropped(str(error.reason)) from error


def _make_peer(
    config: HomeAgentConfig, index: int, keys: dict[int, tuple[KeyedAssociation, ...]]
) -> Peer:
    peer = next(each for each in config.peers if each.index == index)
    outbound = inbound = None
    for each in keys.get(index, ()):
        if (each.source, each.destination) == (config.address, peer.address):
            outbound = each
        elif (each.source, each.destination) == (peer.address, config.address):
            inbound = each
    if outbound is None or inbound is None:
        raise ConfigError(
            f"{peer.key_file}: no security association between {config.address} and "
            f"{peer.address} in both directions; add them"
        )
    made = []
    for keyed in (outbound, inbound):
        if keyed.transform != "aes-128-gcm":
            raise ConfigError(f"{peer.key_file}: transform: home agents use aes-128-gcm")
        made.append(
            SecurityAssociation(
                spi=keyed.spi,
                home_address=IPv6Address(0),
                source=keyed.source,
                destination=keyed.destination,
                mode=keyed.mode,
                transform=keyed.transform,
                key=keyed.key,
                windows=SidWindows(),
            )
        )
    return Peer(peer.name, index, peer.address, made[0], made[1])


def _from_key(keyed: KeyedAssociation, config: HomeAgentConfig) -> SecurityAssociation:
    inbound = keyed.destination == config.home_agent_address
    home_address = keyed.source if inbound else keyed.destination
    if not inbound and keyed.source != config.home_agent_address:
        raise ConfigError(
            f"key file: {keyed.source} → {keyed.destination}: neither end is the home agent "
            f"address {config.home_agent_address}; correct the selectors"
        )
    if inbound and keyed.spi >> 24 != config.index:
        raise ConfigError(
            f"key file: spi: {keyed.spi:#010x} is not of {config.name}'s range; its top octet "
            f"must be {config.index:#04x}"
        )
    if keyed.transform != config.mode.transform:
        raise ConfigError(
            f"key file: transform: {keyed.transform}, but mode {config.mode} uses "
            f"{config.mode.transform}; use the same mode everywhere"
        )
    return SecurityAssociation(
        spi=keyed.spi,
        home_address=home_address,
        source=keyed.source,
        destination=keyed.destination,
        mode=keyed.mode,
        transform=keyed.transform,
        key=keyed.key,
    )
