"""The mobile node: registers its care-of address, and tunnels between its host and the HA address.

No sockets, no clock, no randomness: whole IPv6 packets and times come in, packets, events and the
next timer go out. Who decides what: `binding_update_list` when a Binding Update is due,
`mobile_senders` which replay window a packet meets, `mobile_associations` which SA is sent on,
`mobile_key_management` how SAs come about, this module what a packet is.
"""

import struct
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from agents.config import MobileNodeConfig, Mode, RouteOptimisation
from agents.core import mobile_status
from agents.core.binding_update_list import Acknowledgement, HomeRegistration, Update
from agents.core.correspondent_map import HeldMap
from agents.core.counters import Counters, Dropped
from agents.core.esp_processing import EgressRecord, EspProcessor
from agents.core.events import Event
from agents.core.mobile_associations import MobileAssociations
from agents.core.mobile_events import (
    CorrespondentMapInstalled,
    Moved,
    Multihomed,
    OriginChanged,
    SidTableInstalled,
)
from agents.core.mobile_key_management import MobileKeyManagement
from agents.core.mobile_registration import State
from agents.core.outer_header import OuterHeader
from agents.core.rate_limit import RateLimit
from agents.core.security_associations import SaState, SecurityAssociation
from agents.core.timers import TimerQueue
from agents.core.wishes import Wish
from agents.keys import KeyedAssociation, SaMode
from agents.wire import addresses, icmpv6, ipv6
from agents.wire.destination_options import HomeAddress, serialize_destination_options
from agents.wire.errors import WireError
from agents.wire.inter_ha import Revocations, parse_inter_ha
from agents.wire.mobility import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    ExperimentalMessage,
    MobilityMessage,
    parse_mobility,
    serialize_mobility,
)
from agents.wire.mobility_options import (
    AlternateCareOfAddress,
    BindingRefreshAdvice,
    MobilityOption,
    MultiSenderCapable,
    Priority,
    join_sid_tables,
)
from agents.wire.status import BindingErrorStatus

if TYPE_CHECKING:  # reading X.509 takes its time to import, and not everybody needs it
    from agents.core.ike.credentials import Credentials

QUIET = 1.0
"""Seconds of silence after which a sender's next packet is reported as `origin-changed`."""

ERRORS_PER_SECOND = 10
"""ICMPv6 errors sent at most (RFC 4443 §2.4 (f))."""

UNANSWERED_UPDATES = 4
"""With this transmission, after 7 s without an answer, the SAs are believed to be lost (rule 8)."""

_OUTER = struct.Struct("!BxxxHB")
"""Version and the like, payload length, next header of an IPv6 header."""

_SPI = struct.Struct("!I")
_HEADER = ipv6.HEADER_LENGTH
_ORIGIN_HEADER = bytes((ipv6.ESP, 2, 1, 2, 0, 0, 0x1E, 16))
"""How a Destination Options header with ORIGIN_IP alone, in front of ESP, always begins."""

_ORIGIN = slice(_HEADER + 8, _HEADER + 24)
_AFTER_ORIGIN = _HEADER + 24


class MobileNode:
    """The engine of one mobile node; the surface is that of design §7.

    `random_bytes(n)` gives n random octets; `record` is told of each packet sealed (invariant I1).
    With `secret`, the pre-shared key, or `credentials` IKEv2 is the source of keys; else
    `load_keys` is.
    """

    def __init__(
        self,
        config: MobileNodeConfig,
        random_bytes: Callable[[int], bytes],
        record: EgressRecord | None = None,
        secret: bytes | None = None,
        credentials: "Credentials | None" = None,
    ) -> None:
        self.config = config
        self._priority = Wish(config.wished_home_agent, config.wish_weight).to_octet()
        self.counters = Counters()
        self._timers = TimerQueue()
        self._events: deque[Event] = deque()
        self._to_send: list[bytes] = []
        self._to_deliver: list[bytes] = []
        self._home = config.home_address.packed
        self._home_agent = config.home_agent_address.packed
        self._addresses: dict[IPv6Address, str] = {}  # care-of address → interface, oldest first
        self._care_of: frozenset[bytes] = frozenset()
        self._upstream: OuterHeader | None = None
        self._upstream_source: IPv6Address | None = None
        self._keys: MobileKeyManagement | None = None
        self._held = MobileAssociations(
            config,
            self._timers,
            self._events.append,
            None if secret is None and credentials is None else self._begin_without_keys,
        )
        self._associations, self._senders = self._held.database, self._held.senders
        hardened = config.mode is Mode.HARDENED
        # SID 0 stands for the HA address (design §10, rule 11).
        self._esp = EspProcessor(random_bytes, 0 if hardened else None, record)
        self._map = HeldMap(hardened=hardened)
        self._last_sender: Hashable = self  # nobody yet
        self._last_heard: dict[Hashable, float] = {}
        self._error_limit = RateLimit(ERRORS_PER_SECOND)
        self.registration = HomeRegistration(
            config.lifetime,
            config.timers,
            self._timers,
            int.from_bytes(random_bytes(2), "big"),
            self._send_update,
            self._events.append,
        )
        self.acknowledged_by = ""
        """Own address of the home agent that accepted last, if anything names it: it is primary
        until another one takes over (draft §2)."""
        self._wanted = False
        if secret is not None or credentials is not None:
            self._keys = MobileKeyManagement(
                config,
                secret,
                credentials,
                self._timers,
                random_bytes,
                self,
                lambda packet: self._to_send.append(packet),
                self._events.append,
            )

    # Verbs

    def load_keys(self, associations: Iterable[KeyedAssociation], now: float) -> None:
        """Hold these SAs in place of any held before; raise `ConfigError` for one that misfits."""
        self._held.load(associations, now)
        self._associations, self._senders = self._held.database, self._held.senders
        self._last_sender, self._last_heard = self, {}

    def renew_keys(self, associations: Iterable[KeyedAssociation], now: float) -> None:
        """Hold a fresh set of SAs beside the old one; raise `ConfigError` for one that misfits.

        They are received on at once, and sent on when a packet has come on them, or when the old
        ones are deleted (design §10, rule 9).
        """
        self._held.renew(associations, now)
        if self._wanted and self.registration.state is State.NONE:
            self.registration.start(now)
            self._set_path()

    def replace_keys(self, associations: Iterable[KeyedAssociation], now: float) -> None:
        """Hold a fresh set that this node asked for, and send on it at once."""
        registered = self.registration.state is not State.NONE
        self.renew_keys(associations, now)
        self._held.activate(now)
        if registered:
            self.registration.refresh(now)

    def use_only(self, associations: Iterable[KeyedAssociation], now: float) -> None:
        """Hold a fresh set, send on it, and drop all others at once: somebody knows them.

        The Binding Update that follows brings the SID table as it is now (rule 13).
        """
        self.replace_keys(associations, now)
        self._held.drop_older(now)

    def held_keys(self) -> Collection[int]:
        """Return the inbound SPIs of all SAs that are held."""
        home = self.config.home_address
        return {each.spi for each in self._associations if each.destination == home}

    def load_secret(self, secret: bytes, now: float) -> None:
        """Use another pre-shared key from now on (rule 13); `ValueError` without IKE."""
        if self._keys is None:
            raise ValueError("keys come from files here: there is no secret to replace")
        self._keys.load_secret(secret)

    def delete_keys(self, spis: Collection[int], now: float) -> None:
        """Delete the SAs with these inbound SPIs, each with its twin (RFC 7296 §1.4.1)."""
        self._held.delete(spis, now)

    def start(self, now: float) -> None:
        """Register as soon as there is a care-of address, and, with IKE, an SA."""
        self._wanted = True
        if self._keys is None or self._held.complete:
            self.registration.start(now)
        else:
            self._keys.begin(now)
        self._set_path()

    def deregister(self, now: float) -> None:
        """End the registration (lifetime 0); `start` begins another."""
        self._wanted = False
        self.registration.deregister(now)
        self._set_path()

    def refresh(self, now: float) -> None:
        """Send a Binding Update now, where the node is registered (MAX_UPDATE_RATE holds)."""
        self.registration.refresh(now)
        self._set_path()

    def wish(self, wish: Wish, now: float) -> None:
        """Wish to be served by a home agent, and tell at once where there is a binding.

        ValueError for a wish out of range.
        """
        self._priority = wish.to_octet()
        self.registration.refresh(now)
        self._set_path()

    def probe(self, now: float) -> None:
        """Find out by a Binding Update whether a home agent answers (rule 14)."""
        self.registration.probe(now)
        self._set_path()

    def care_of_address_added(self, address: IPv6Address, interface: str, now: float) -> None:
        """Take `address` as the active care-of address and register it at once."""
        if not addresses.is_unicast_routable(address) or address in self.config.home_prefix:
            self.counters["addresses-ignored"] += 1
            return
        known = address in self._addresses
        self._addresses[address] = interface
        if not known:
            self._move(now)

    def care_of_address_removed(self, address: IPv6Address, now: float) -> None:
        """Forget `address`; the newest one left takes over; without one nothing is sent."""
        if self._addresses.pop(address, None) is not None:
            self._move(now)

    # What comes in

    def receive(self, packet: bytes, now: float) -> None:
        """Process one whole IPv6 packet from the network. Never raises; drops are counted."""
        try:
            self._receive(packet, now)
        except Dropped as dropped:
            self.counters.drop(dropped.reason)
        except WireError as error:
            self.counters.drop(error.reason)
            self._answer_error(packet, error, now)

    def encapsulate(self, packet: bytes, now: float) -> None:
        """Tunnel one inner packet from the host to the home agent. Never raises."""
        if len(packet) < _HEADER or packet[0] >> 4 != 6:
            self.counters.drop("inner-malformed")
        elif packet[8:24] != self._home:
            self.counters.drop("inner-source")
        elif packet[24] == 0xFF or (packet[24] == 0xFE and packet[25] & 0xC0 == 0x80):
            # RFC 6275 §10.4.2: nothing of link scope goes through a tunnel.
            self.counters.drop("inner-destination")
        elif self._upstream is None:
            self.counters.drop("not-bound")
        elif self._held.tunnel is None:
            self.counters.drop("no-sa")
        else:
            route = self._map.routes.get(packet[24:40]) if self._map.routes else None
            if route is not None and self._send_by_map(*route, packet):
                return
            try:
                sealed = self._seal(self._held.tunnel, packet, now)
            except Dropped as dropped:
                self.counters.drop(dropped.reason)
                return
            self._to_send.append(self._upstream.wrap(sealed))
            self.counters["tunnel.sent"] += 1

    def _send_by_map(self, sid: int, header: OuterHeader, packet: bytes) -> bool:
        """Send to the home agent that the map names; return False if the SA has no number left."""
        tunnel = self._held.tunnel
        assert tunnel is not None
        try:
            if sid:
                sealed = self._esp.seal_for(tunnel, sid, packet, ipv6.IPV6)
            else:
                sealed = self._esp.seal(tunnel, packet, ipv6.IPV6, 0)
        except Dropped:
            return False
        self._to_send.append(header.wrap(sealed))
        self.counters["tunnel.sent"] += 1
        self.counters["tunnel.sent-by-map"] += 1
        return True

    def _seal(self, association: SecurityAssociation, packet: bytes, now: float) -> bytes:
        try:
            return self._esp.seal(association, packet, ipv6.IPV6, 0)
        except Dropped:
            # Out of numbers: a fresh SA that nothing has come on yet is better than none.
            self._held.look_again(now)
            other = self._held.tunnel
            if other is None or other is association:
                raise
            return self._esp.seal(other, packet, ipv6.IPV6, 0)

    # What goes out

    def packets_to_send(self, now: float) -> list[bytes]:
        """Return and forget the packets for the network."""
        packets, self._to_send = self._to_send, []
        return packets

    def packets_to_deliver(self) -> list[bytes]:
        """Return and forget the inner packets for the host."""
        packets, self._to_deliver = self._to_deliver, []
        return packets

    def next_timer(self) -> float | None:
        """Return when `handle_timer` is due, in seconds on the caller's clock."""
        return self._timers.next_time()

    def handle_timer(self, now: float) -> None:
        """Run what is due."""
        self._timers.run(now)
        if self._keys is not None:
            self._keys.pump(now)
        self._set_path()

    def next_event(self) -> Event | None:
        """Return and forget the oldest event."""
        return self._events.popleft() if self._events else None

    def key_counters(self) -> dict[str, int]:
        """Return the counters of key management."""
        return self._keys.counters() if self._keys is not None else {}

    # What a person may ask

    def home(self, number: int) -> "MobileNode":
        """Return this engine for number 1, as those with more homes do; ValueError for others."""
        if number != 1:
            raise ValueError(f"no home {number!r}; there is one")
        return self

    def status(self) -> dict[str, object]:
        """Return the state of the registration, ready for JSON; times on the engine's clock."""
        return {
            **mobile_status.status(self.config, self.registration, self._addresses, self._senders),
            "correspondents": {
                str(each.correspondent): str(each.address) for each in self._map.entries
            },
        }

    def bindings(self) -> list[dict[str, object]]:
        """Return the Binding Update List, ready for JSON."""
        return mobile_status.bindings(self.config, self.registration)

    def sas(self) -> list[dict[str, object]]:
        """Return the security associations without their keys, ready for JSON."""
        return mobile_status.associations(self._associations)

    def keyed(self) -> list[KeyedAssociation]:
        """Return the SAs with their keys: for captures, on request."""
        return [each.keyed() for each in self._associations]

    def peers(self) -> list[dict[str, object]]:
        """Return the home agents that may send, as the SID table lists them, ready for JSON."""
        return mobile_status.senders(self._senders)

    # Receiving

    def _receive(self, packet: bytes, now: float) -> None:
        """Take the short way for tunnel packets in their usual forms, the long one for the rest."""
        if len(packet) < _AFTER_ORIGIN:
            return self._receive_other(packet, now)
        first, length, next_header = _OUTER.unpack_from(packet)
        if next_header == ipv6.ESP:
            origin, offset = None, _HEADER
        elif next_header == ipv6.DESTINATION_OPTIONS and packet.startswith(_ORIGIN_HEADER, _HEADER):
            origin, offset = packet[_ORIGIN], _AFTER_ORIGIN
        else:
            return self._receive_other(packet, now)
        end = _HEADER + length
        if first >> 4 != 6 or not offset + 4 <= end <= len(packet):
            return self._receive_other(packet, now)
        self._check_outer(packet[8:24], packet[24:40])
        association = self._find(packet, offset)
        if association.mode is not SaMode.TUNNEL:
            return self._receive_other(packet, now)
        return self._receive_tunnelled(association, packet[offset:end], origin, now)

    def _receive_other(self, packet: bytes, now: float) -> None:
        parsed = ipv6.parse(packet)
        self._check_outer(parsed.source.packed, parsed.destination.packed)
        if parsed.routing is not None and parsed.routing.home_address != self.config.home_address:
            raise Dropped("routing-header-not-ours")  # RFC 6275 §6.4.2
        if parsed.next_header == ipv6.UDP and self._keys is not None:
            self._keys.receive(parsed, now)
            return
        if parsed.next_header == ipv6.MOBILITY:
            self._receive_unprotected(parsed.payload, parsed.routing is not None)
            return
        if parsed.next_header != ipv6.ESP or len(parsed.payload) < _SPI.size:
            raise Dropped("unprotected")
        association = self._find(parsed.payload, 0)
        origin = parsed.origin.packed if parsed.origin is not None else None
        if association.mode is SaMode.TUNNEL:
            if parsed.routing is not None:
                raise Dropped("routing-header-on-tunnel")
            self._receive_tunnelled(association, parsed.payload, origin, now)
            return
        # The type 2 routing header makes the home address the selector (RFC 3776 §4.2).
        if parsed.routing is None:
            raise Dropped("routing-header-missing")
        self._receive_signalling(association, parsed.payload, origin, now)

    def _check_outer(self, source: bytes, destination: bytes) -> None:
        if source != self._home_agent:
            raise Dropped("outer-source")
        if destination not in self._care_of:
            raise Dropped("outer-destination")

    def _find(self, packet: bytes, offset: int) -> SecurityAssociation:
        association = self._associations.by_spi(_SPI.unpack_from(packet, offset)[0])
        if association is None:
            raise Dropped("unknown-spi")
        return association

    def _receive_tunnelled(
        self, association: SecurityAssociation, esp: bytes, origin: bytes | None, now: float
    ) -> None:
        hint = self._senders.identify(origin, esp)
        inner, next_header, sender = self._esp.open(association, esp, hint)
        if association.state is not SaState.MATURE:
            self._held.generations.used(association, now)
        if next_header != ipv6.IPV6:
            dummy = next_header == ipv6.NO_NEXT_HEADER  # RFC 4303 §2.6: discarded, no error
            raise Dropped("dummy" if dummy else "inner-protocol")
        if inner[0] >> 4 != 6:
            raise Dropped("inner-malformed")
        if inner[24:40] != self._home:
            raise Dropped("inner-destination")
        if sender != self._last_sender:
            self._note_sender(sender, now)
        self._to_deliver.append(inner)
        self.counters["tunnel.received"] += 1

    def _note_sender(self, sender: Hashable, now: float) -> None:
        """Report a sender that was silent; senders that alternate are reported once."""
        last, self._last_sender = self._last_sender, sender
        self._last_heard[last] = now
        heard = self._last_heard.get(sender)
        if heard is None or now - heard >= QUIET:
            origin, incarnation = self._senders.describe(sender)
            previous = "" if last is self else self._senders.describe(last)[0]
            self._events.append(OriginChanged(origin, incarnation, previous))

    # Signalling

    def _receive_signalling(
        self, association: SecurityAssociation, esp: bytes, origin: bytes | None, now: float
    ) -> None:
        hint = self._senders.identify(origin, esp)
        payload, next_header, sender = self._esp.open(association, esp, hint)
        if association.state is not SaState.MATURE:
            self._held.generations.used(association, now)
        if next_header == ipv6.NO_NEXT_HEADER:
            raise Dropped("dummy")
        if next_header != ipv6.MOBILITY:
            raise Dropped("inner-protocol")
        try:
            message = parse_mobility(
                payload, self.config.home_agent_address, self.config.home_address
            )
            self._handle_message(message, sender, now)
        except WireError as error:
            # A pointer into what ESP covers means nothing to whoever sent the packet.
            raise Dropped(error.reason) from error
        self._set_path()

    def _handle_message(self, message: MobilityMessage, sender: Hashable, now: float) -> None:
        self.counters[f"received.{type(message).__name__}"] += 1
        match message:
            case BindingAcknowledgement():
                self._handle_acknowledgement(message, sender, now)
            case BindingRefreshRequest():
                self._senders.vouch(sender, None)
                self.registration.refresh(now)
            case BindingError():
                self._handle_binding_error(message)
            case ExperimentalMessage() if self._keys is not None:
                self._learn_revocations(message, now)
            case _:
                self._refuse_type(message, now)

    def _learn_revocations(self, message: ExperimentalMessage, now: float) -> None:
        """A home agent says which home agent is none any more (rule 13); raises `Dropped`."""
        own, home = self.config.home_agent_address, self.config.home_address
        found = parse_inter_ha(serialize_mobility(message, own, home), own, home)
        if self._keys is None or not isinstance(found, Revocations):
            self._refuse_type(message, now)
            return
        self._keys.learn_revocations(found, now)

    def _refuse_type(self, message: MobilityMessage, now: float) -> None:
        """Answer a type that is not known with a Binding Error (RFC 6275 §9.2)."""
        care_of = self.registration.care_of_address
        if isinstance(message, BindingUpdate) or care_of is None:
            raise Dropped("unexpected-message-type")
        if self._error_limit.allow(now):
            unknown = BindingErrorStatus.UNRECOGNIZED_MESSAGE_TYPE
            self._signal(BindingError(unknown, IPv6Address(0)), care_of)
        else:
            self.counters["errors-suppressed"] += 1
        raise Dropped("unknown-message-type")

    def _handle_acknowledgement(
        self, message: BindingAcknowledgement, sender: Hashable, now: float
    ) -> None:
        joined = join_sid_tables(message.options)
        version, entries = joined if joined is not None else (0, ())
        table = {each.index: each.address for each in entries} if joined is not None else None
        self._senders.vouch(sender, table)
        advice = _refresh_advice(message.options)
        accepted = self.registration.acknowledge(
            Acknowledgement(message.status, message.sequence, message.lifetime, advice), now
        )
        if accepted is None or accepted.lifetime == 0:
            return
        if self._keys is not None:
            self._keys.moved(message.key_management and self.config.key_management, now)
        before, held = self._senders.multihomed, self._senders.version
        if self._senders.learn(message.multihomed, version, table):
            assert table is not None
            listed = {index: str(own) for index, own in table.items()}
            self._events.append(SidTableInstalled(version, listed))
            if held:
                # Home agents that are new in it wait until this is confirmed (rule 6).
                self.registration.refresh(now)
        self.acknowledged_by = self._senders.describe(sender)[0]
        if before is not message.multihomed:
            self._events.append(Multihomed(message.multihomed))
        if self.config.route_optimisation is RouteOptimisation.MAP:
            self._take_map(message)

    def _take_map(self, message: BindingAcknowledgement) -> None:
        """Where packets to some correspondents go from now on (design §10, rule 11)."""
        options = message.options if message.multihomed else ()
        if self._map.install(options, self._senders.table):
            entries = self._map.entries
            listed = {str(each.correspondent): str(each.address) for each in entries}
            self._events.append(CorrespondentMapInstalled(listed))
        if self._map.refused:
            self.counters["map-entries-refused"] = self._map.refused

    def _receive_unprotected(self, payload: bytes, routed: bool) -> None:
        """Take nothing but a Binding Error, which nobody can protect, and believe none of it."""
        home, care_of = self.config.home_address, self.registration.care_of_address
        if care_of is None:
            raise Dropped("unprotected")
        message = parse_mobility(
            payload, self.config.home_agent_address, home if routed else care_of
        )
        if not isinstance(message, BindingError):
            raise Dropped("unprotected")
        self._handle_binding_error(message)

    def _handle_binding_error(self, message: BindingError) -> None:
        """Count it: anybody can send one, so it ends no home registration (RFC 6275 §11.3.6).

        The section lets a mobile node ignore it where there are other signs of progress; here the
        protected acknowledgement, or its absence, is that sign.
        """
        if self.registration.state is State.NONE:
            raise Dropped("binding-error-unexpected")
        self.counters[f"binding-error.{int(message.status)}"] += 1

    def _send_update(self, update: Update) -> None:
        """Send `IPv6(CoA→HA) / DestOpt[HAO] / ESP transport / BU` (RFC 6275 §11.7.1)."""
        options: list[MobilityOption] = [AlternateCareOfAddress(update.care_of_address)]
        if self.config.multi_sender:
            options.append(MultiSenderCapable(self._senders.version))
        if self._priority:
            options.append(Priority(self._priority))
        message = BindingUpdate(
            sequence=update.sequence,
            lifetime=update.lifetime,
            key_management=self.config.key_management,
            options=tuple(options),
        )
        self._signal(message, update.care_of_address)
        if self._keys is not None and self.registration.attempt == UNANSWERED_UPDATES:
            self._keys.begin(update.sent)

    def _signal(self, message: MobilityMessage, care_of: IPv6Address) -> None:
        """Send `message` under the signalling SA, the home address in the option for it."""
        home, home_agent = self.config.home_address, self.config.home_agent_address
        association = self._associations.outbound(home, SaMode.TRANSPORT)
        if association is None:
            self.counters.drop("no-sa")
            return
        try:
            header = serialize_mobility(message, home, home_agent)
            sealed = self._esp.seal(association, header, ipv6.MOBILITY, 0)
        except Dropped as dropped:
            self.counters.drop(dropped.reason)
            return
        options = serialize_destination_options(ipv6.ESP, (HomeAddress(home),))
        self._to_send.append(
            ipv6.build(care_of, home_agent, ipv6.DESTINATION_OPTIONS, options + sealed)
        )
        self.counters[f"sent.{type(message).__name__}"] += 1

    def _answer_error(self, packet: bytes, error: WireError, now: float) -> None:
        """Send the Parameter Problem that RFC 8200 or RFC 6275 prescribe, if one is due to us."""
        if error.pointer is None or packet[24:40] not in self._care_of:
            return
        if not self._error_limit.allow(now):
            self.counters["errors-suppressed"] += 1
            return
        answer = icmpv6.parameter_problem(
            addresses.address(packet[24:40]), packet, error.code, error.pointer
        )
        if answer is not None:
            self._to_send.append(answer)
            self.counters["sent.parameter-problem"] += 1

    # Movement

    def _move(self, now: float) -> None:
        """Make the newest care-of address the active one (draft §1.2, assumption 2: one only)."""
        self._care_of = frozenset(each.packed for each in self._addresses)
        previous = self.registration.care_of_address
        active = next(reversed(self._addresses), None)
        if active != previous:
            interface = "" if active is None else self._addresses[active]
            self._events.append(Moved(active, previous, interface))
            if active is None:
                self.registration.detach(now)
            else:
                self.registration.attach(active, now)
            if self._keys is not None:
                self._keys.attach(active, now)
        self._set_path()

    def _set_path(self) -> None:
        """Prepare the outer header for payload, or none where payload may not go."""
        care_of = self.registration.care_of_address
        if care_of is None or not self.registration.bound:
            self._upstream = None
        elif self._upstream is None or self._upstream_source != care_of:
            self._upstream = OuterHeader(care_of, self.config.home_agent_address, ipv6.ESP)
            self._upstream_source = care_of
            self._map.attach(care_of)

    def _begin_without_keys(self, now: float) -> None:
        """The mobile node begins when it has no SA (design §10, rule 8)."""
        if self._keys is not None and self._wanted:
            self._keys.begin(now)


def _refresh_advice(options: Iterable[MobilityOption]) -> int | None:
    for option in options:
        if isinstance(option, BindingRefreshAdvice):
            return option.interval
    return None
