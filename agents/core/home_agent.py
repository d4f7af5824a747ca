"""The home agent's engine: packets and time in, packets and events out, no I/O.

Its parts, each in a file of its own: `mobility_receiver` and `registration` act on Binding Updates,
`signalling` answers them, `tunnel` carries payload, `inter_ha_receiver` takes what peers send,
`synchronisation` and `table_transfer` keep peers equal, `membership` knows who is there,
`primary_role` takes over, `replay_floors` tells how far numbers have come, `renew_requests` and
`renewal` replace SAs that end, `metric` heeds what mobile nodes wish for, `path_mtu` what routers
say of sizes, `route_optimisation` cuts detours short, `isolation` puts out a home agent that lies.
This file leads each packet to the part that it is for.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from agents.config import HomeAgentConfig, PeerConfig, RouteOptimisation
from agents.core import status as status_report
from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.counters import Counters, Dropped
from agents.core.esp_processing import EgressRecord
from agents.core.events import Event, Notice, TableReceived
from agents.core.exposed_associations import ExposedAssociations
from agents.core.generations import LARVAL_TIME, Generations
from agents.core.held_packets import HeldPackets
from agents.core.hold_down import Advertised
from agents.core.home_agent_list import HomeAgentList
from agents.core.inter_ha_receiver import InterHaReceiver
from agents.core.isolation import Isolation
from agents.core.key_exchange import KeyExchange, KeyExchangeUser
from agents.core.key_loading import make_peer, mobile_association
from agents.core.key_management import KeyManagement
from agents.core.leaving import Leaving, Stage
from agents.core.membership import Membership
from agents.core.metric import MetricControl
from agents.core.misconduct import Testimony
from agents.core.mobility_receiver import MobilityReceiver, parse_protected
from agents.core.operators_word import OperatorsWord
from agents.core.path_mtu import PathMtu
from agents.core.peer_key_management import PeerKeyManagement
from agents.core.peers import Peer
from agents.core.primary_role import PrimaryRole
from agents.core.rate_limit import RateLimit
from agents.core.renew_requests import RenewRequests
from agents.core.renewal import Renewal
from agents.core.replay_floors import Floors
from agents.core.replay_window import INCARNATION_MASK, MeantWindows, SingleWindow, sender_id
from agents.core.route_optimisation import Optimiser
from agents.core.security_associations import SaState, SecurityAssociation
from agents.core.sid_tables import SidTables
from agents.core.signalling import Signalling
from agents.core.synchronisation import Synchronisation
from agents.core.table_transfer import TableEntry, TableTransfer
from agents.core.tunnel import Tunnel
from agents.keys import KeyedAssociation, SaMode
from agents.wire import icmpv6, ipv6
from agents.wire.addresses import address
from agents.wire.errors import WireError

if TYPE_CHECKING:  # reading X.509 takes its time to import, and not everybody needs it
    from agents.core.ike.credentials import Credentials

QUESTIONS_PER_SECOND = 50
"""Questions to the peers about SPIs, and as many about home addresses, that packets lead to: what
stands in a packet that nothing has authenticated costs its sender nothing, and every peer work."""

_ESP_HEADER = 8
_SPI = slice(0, 4)
_SID = slice(8, 10)
_ANY_HOME_AGENT = b"\0\0"
"""The SID that stands for the HA address."""


class HomeAgent:
    """One home agent. Times are seconds of one monotonic clock."""

    def __init__(
        self,
        config: HomeAgentConfig,
        incarnation: int | None,
        random_bytes: Callable[[int], bytes],
        peer_keys: dict[int, tuple[KeyedAssociation, ...]],
        record: EgressRecord | None = None,
        key_exchange: KeyExchange | None = None,
        secrets: Mapping[IPv6Address, bytes] | None = None,
        credentials: "Credentials | None" = None,
        last_advertised: Advertised | None = None,
        isolated: Mapping[int, int] | None = None,
    ) -> None:
        """Make an idle engine; `start` sets it going.

        `incarnation` counts the starts of this HA from 1; None if the count is lost: then
        numbers on every old SA might repeat, and the engine stays silent (design §10, rule 3).
        `peer_keys` are the two associations with each peer, by index. `record` is told of every
        packet sealed. With `secrets`, pre-shared keys by home address, or `credentials` IKEv2 is
        the source of keys; without, and without another `key_exchange`, SAs cannot be renewed.
        With `credentials` it is so with peers, too, unless they are in `peer_keys`.
        `last_advertised` and `isolated` are what an earlier life of this HA left. Raises
        `ConfigError` for a peer without either.
        """
        # Beyond its ten bits a SID would be another one's (rule 3).
        if incarnation is not None and incarnation > INCARNATION_MASK:
            incarnation = None
        self.incarnation = incarnation
        peers = [
            Peer(each.name, each.index, each.address)
            if credentials is not None and each.index not in peer_keys
            else make_peer(config, each, peer_keys.get(each.index, ()))
            for each in config.peers
            if each.index not in (isolated or {})
        ]
        self._context = context = Context(
            config, incarnation or 0, random_bytes, peers, self._expired, record
        )
        context.isolated.update(isolated or {})
        self._anycast = config.home_agent_address.packed
        self._own = config.address.packed
        self._maps = False
        """Whether mobile nodes may send to this HA's own address (rule 11)."""
        self._tables = SidTables(context, lambda binding: self._signalling.ask_for_update(binding))
        self._tunnel = Tunnel(context, self._tables)
        self._signalling = Signalling(context, self._tunnel, self._tables)
        self._generations = Generations(
            context.associations,
            context.timers,
            self._associations_changed,
            LARVAL_TIME,
            self._association_held,
            lambda association: not self._renewal.moved_on(association),
        )
        self._testimony = Testimony(context)
        self._synchronisation = Synchronisation(
            context,
            self._generations,
            self._released,
            self._role_moved,
            lambda entry, now: self._list.told_of(entry, now),
            self._testimony,
        )
        self._table = TableTransfer(
            context,
            self._make_table,
            self._synchronisation.learn_table,
            self._table_complete,
            self._table_requested,
        )
        self._metric = MetricControl(context, self._signalling.ask_for_update)
        self._membership = Membership(
            context, self._table, self._obstacle, self._metric, last_advertised
        )
        timers = config.timers
        self._held = HeldPackets(
            context.timers, timers.hold_packets, timers.hold_time, self._unreachable
        )
        self._spi_questions = RateLimit(QUESTIONS_PER_SECOND)
        self._home_questions = RateLimit(QUESTIONS_PER_SECOND)
        self._floors = Floors(context)
        self._keys: KeyManagement | None = None
        if secrets is not None or credentials is not None:
            self._keys = KeyManagement(
                context, secrets or {}, credentials, self._revocations_by_ike
            )
        provoke = partial(self._signalling.ask_for_update, kept_back=0)
        self._renewal = Renewal(
            context,
            self._generations,
            self._synchronisation,
            key_exchange or self._keys,
            provoke,
        )
        if self._keys is not None:
            self._keys.report_to(self._renewal)
        self._requests = RenewRequests(context, self._renewal, self._synchronisation, provoke)
        self._role = PrimaryRole(context, self._took_over, self._succeeded)
        self._list = HomeAgentList(
            context, self._membership, self._role, self._tables, self._members_changed
        )
        self._peer_keys: PeerKeyManagement | None = None
        if credentials is not None:
            by_ike = [each for each in peers if each.index not in peer_keys]
            self._peer_keys = self._list.keys = PeerKeyManagement(
                context,
                by_ike,
                credentials,
                self._membership.introduce,
                self._revocations_by_ike,
                self._list,
            )
        self._exposed = ExposedAssociations(
            context,
            self._renewal,
            lambda binding, now: self._word.tell_mobile_node(binding, now),
            self._isolated,
        )
        self._isolation = Isolation(context, self._list, self._role, self._exposed)
        self._word = OperatorsWord(context, credentials, self._isolation, self._signalling)
        self._membership.met = self._word.met
        self._optimiser: Optimiser | None = None
        if config.route_optimisation is not RouteOptimisation.OFF:
            self._optimise()
        self._mobility = MobilityReceiver(
            context,
            self._signalling,
            self._synchronisation,
            self._released,
            self._became_primary,
            self._tables,
            lambda: self._leaving.stage is not Stage.TELLING,
            moves_keys=self._keys is not None,
        )
        self._path_mtu = PathMtu(context)
        self._inter_ha = InterHaReceiver(
            context,
            self._membership,
            self._synchronisation,
            self._table,
            self._floors,
            self._tunnel,
            self._path_mtu,
            self._requests,
            self._keys,
            self._peer_keys,
            self._optimiser,
            self._list,
            self._testimony,
            self._isolation,
            self._word,
        )
        self._leaving = Leaving(
            context,
            self._membership.leave,
            self._membership.stay,
            lambda: self._drawn,
            self._hand_over,
        )
        self._now = 0.0
        self._drawn = 0.0
        """When a packet last came by the home prefix."""

    def _optimise(self) -> None:
        """Measure paths, and do what the configured arm does about detours (rule 11)."""
        self._optimiser = optimiser = Optimiser(
            self._context,
            self._signalling.ask_for_update,
            lambda binding, now: self._role.take(binding, "switch", now),
        )
        self._membership.lost = optimiser.peer_changed
        self._signalling.advice = optimiser.options
        self._maps = optimiser.maps

    # The surface: packets, time, events.

    @property
    def counters(self) -> Counters:
        """Counts by name; `dropped.<reason>` for every packet dropped."""
        return self._context.counters

    def receive(self, packet: bytes, now: float) -> None:
        """Take one whole packet: from a CN, a mobile node or a peer. Never raises."""
        self._now = now
        if self._leaving.stage is Stage.GONE:
            self.counters.drop("left")
            return
        try:
            destination = packet[24:40]
            if destination == self._anycast:
                self._drawn = now
                if packet[6] == ipv6.ESP:
                    self._receive_esp(packet, now)
                else:
                    self._receive_other(packet, now)
            elif destination == self._own:
                self._receive_own(packet, now)
            else:
                binding = self._context.cache.by_octets(destination)
                if binding is not None and packet[0] >> 4 == 6:
                    self._drawn = now
                    self._to_mobile_node(binding, packet, now)
                else:
                    self._receive_other(packet, now)
        except Dropped as dropped:
            self.counters.drop(dropped.reason)
        except WireError as error:
            self._answer_malformed(packet, error, now)
        if self._context.due:
            self._requests.consider(now)

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
        return None if self._leaving.stage is Stage.GONE else self._context.timers.next_time()

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._now = now
        self._context.timers.run(now)
        if self._keys is not None:
            self._keys.pump(now)
        if self._peer_keys is not None:
            self._peer_keys.pump(now)
        if self._context.due:
            self._requests.consider(now)

    def next_event(self) -> Event | None:
        """Return the next event for the journal, or None."""
        return self._context.events.popleft() if self._context.events else None

    # Verbs.

    def start(self, now: float) -> None:
        """Begin to look for peers."""
        self._now = now
        if self.incarnation is None:
            self._context.report(
                Notice(
                    "the incarnation counter cannot be read, or is at its end: "
                    "no old SA may be used, staying out"
                )
            )
            return
        if self._peer_keys is not None:
            self._peer_keys.start(now)
        self._membership.start(now)
        if self._optimiser is not None:
            self._optimiser.start(now)

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
        held = tuple(keyed)
        if held:
            home_address = mobile_association(held[0], self._context.config).home_address
            self._renewal.replaced(home_address, held, now)

    def renew(self, home_address: IPv6Address, now: float) -> None:
        """Renew a mobile node's SAs, make before break; raises `RenewalImpossible`."""
        self._now = now
        self._renewal.request(home_address, "verb", now, grace=True)

    def revoke(self, home_address: IPv6Address, now: float) -> None:
        """Renew a mobile node's SAs and end the old ones at once; raises `RenewalImpossible`."""
        self._now = now
        self._renewal.request(home_address, "revoked", now, grace=False)

    def introduce_peer(self, peer: Peer, now: float) -> None:
        """Take another home agent in; `ValueError` where its index or address is taken (rule 6)."""
        self._now = now
        # Whoever introduces it answers for the certificate that it has (rule 13).
        self._context.spent_certificates.pop(peer.index, None)
        self._list.introduce(peer, now)

    def add_peer(self, peer: PeerConfig, keys: Sequence[KeyedAssociation], now: float) -> None:
        """Take another home agent in, with SAs from a file or, without `keys`, by certificate.

        Raises:
            ValueError: that cannot be.
        """
        if keys or self._peer_keys is None:
            self.introduce_peer(make_peer(self._context.config, peer, keys), now)
        else:
            known = Peer(peer.name, peer.index, peer.address)
            self.introduce_peer(known, now)
            self._peer_keys.meet(known, now)

    def dismiss(self, index: int, reason: str, now: float) -> None:
        """Reckon with a peer no more: it left, or is put out; `ValueError` for none (rule 6)."""
        self._now = now
        self._list.dismiss(index, reason, now)

    def leave(self, now: float) -> None:
        """Go for good, and lose no packet; the event `left` says when it is done (rule 6).

        Raises `LeaveImpossible` where no other home agent serves.
        """
        self._now = now
        self._leaving.begin(now)

    def isolate(self, index: int, cause: str, now: float) -> bool:
        """Put a home agent out for good (draft §5, rule 13); return whether that is news.

        Raises `ValueError` for this one.
        """
        self._now = now
        return self._isolation.isolate(index, cause, now)

    def learn_revocations(self, octets: bytes, now: float) -> bool:
        """Take a signed revocation list in DER, and isolate whom it lists; whether it is news.

        It goes to the peers too. Raises `ValueError` for one that is not to be believed.
        """
        self._now = now
        return self._word.learn(octets, now)

    def load_secrets(self, secrets: Mapping[IPv6Address, bytes], now: float) -> None:
        """Know mobile nodes by these pre-shared keys alone; `ValueError` without IKE."""
        self._now = now
        if self._keys is None:
            raise ValueError("keys come from files here: there are no secrets to replace")
        self._keys.load_secrets(secrets)

    def readmit(self, index: int, now: float) -> None:
        """Let one that is isolated join again, in a later incarnation; raises `ValueError`."""
        self._now = now
        self._isolation.readmit(index, now)

    @property
    def isolated(self) -> Mapping[int, int]:
        """Who is isolated, index → incarnation: for the next life of this HA."""
        return self._context.isolated

    @property
    def key_exchange_user(self) -> KeyExchangeUser:
        """What a `key_exchange` of the caller's reports to."""
        return self._renewal

    @property
    def last_advertised(self) -> Advertised | None:
        """When this HA last began to advertise: for its next life (see `hold_down`)."""
        return self._membership.hold_down.last

    def key_counters(self) -> dict[str, int]:
        """Return the counters of key management."""
        managed = (self._keys, self._peer_keys)
        return {
            name: value
            for each in managed
            if each is not None
            for name, value in each.counters().items()
        }

    @property
    def associations_revision(self) -> tuple[int, ...]:
        """Another one whenever SAs or peers came or went: `inbound_spis` may be others."""
        peers = self._context.peers
        held = [each.associations.revision for each in peers]
        return self._context.associations.revision, *held

    def inbound_spis(self) -> set[int]:
        """Return the SPIs of all SAs, those with peers too, on which packets may arrive here."""
        found = set(self._context.associations.inbound_spis())
        for peer in self._context.peers:
            found.update(each.inbound.spi for each in peer.associations)
        return found

    def care_of_addresses(self) -> set[IPv6Address]:
        """Return where the mobile nodes are that are bound."""
        return {each.care_of_address for each in self._context.cache if each.bound}

    def peer_addresses(self) -> set[IPv6Address]:
        """Return the own addresses of the peers."""
        return {each.address for each in self._context.peers}

    def bindings(self) -> list[dict[str, object]]:
        """Return the binding cache, ready for JSON."""
        return status_report.bindings(self._context, self._now)

    def sas(self) -> list[dict[str, object]]:
        """Return the SAs without their keys, ready for JSON."""
        return status_report.associations(self._context)

    def keyed(self) -> list[KeyedAssociation]:
        """Return the SAs with their keys, those with peers too: for captures, on request."""
        held = [*self._context.associations]
        for peer in self._context.peers:
            for pair in peer.associations:
                held += [pair.outbound, pair.inbound]
        return [each.keyed() for each in held]

    def peers(self) -> list[dict[str, object]]:
        """Return the peers, ready for JSON."""
        return status_report.peers(self._context)

    def paths(self) -> list[dict[str, object]]:
        """Return the paths to correspondents that this primary knows, ready for JSON."""
        return [] if self._optimiser is None else self._optimiser.paths(self._now)

    def status(self) -> dict[str, object]:
        """Return the whole in a few numbers, ready for JSON."""
        return {
            **status_report.status(self._context),
            "advertising": self._membership.advertising,
            "metric": self._metric.metric,
            "held_questions": len(self._held),
            "ike_sas": 0 if self._keys is None else self._keys.ike_sas,
            "isolated": sorted(self._context.isolated),
            "leaving": str(self._leaving.stage),
        }

    # From the correspondent node.

    def _to_mobile_node(self, binding: Binding, packet: bytes, now: float) -> None:
        if not binding.bound:
            self._unreachable(packet, now)
            return
        if self._optimiser is not None:
            self._optimiser.seen(packet[24:40], packet[8:24], len(packet))
        association = self._tunnel.send(binding, packet, now)
        if association is not None and not binding.multi_sender:
            self._floors.sent(association, now)

    def _unknown_home_address(self, packet: bytes, now: float) -> None:
        """Ask the peers about an HoA that is not known here (rule 10)."""
        home_address = address(packet[24:40])
        if home_address not in self._context.config.home_prefix:
            raise Dropped("not-for-this-home-network")
        if not self._context.peers.valid():
            self._unreachable(packet, now)
        elif home_address not in self._held and not self._home_questions.allow(now):
            raise Dropped("binding-question-limit")
        elif self._held.hold(home_address, packet, now):
            self._synchronisation.ask_binding(home_address, now)

    def _unreachable(self, packet: bytes, now: float) -> None:
        self.counters.drop("no-binding")
        error = icmpv6.destination_unreachable(self._context.config.address, packet)
        if error is not None and self._context.error_limit.allow(now):
            self._context.to_send.append(error)

    def _released(self, key: Hashable, now: float) -> None:
        """Something that packets waited for is known now, or will not be."""
        self._follow(key, now)
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

    def _follow(self, key: Hashable, now: float) -> None:
        """A binding may have another care-of address: so has key management."""
        binding = self._context.cache.get(key) if isinstance(key, IPv6Address) else None
        if self._keys is not None and binding is not None and binding.bound:
            self._keys.follow(binding, now)

    # From the mobile node.

    def _receive_esp(self, packet: bytes, now: float, *, at_own: bool = False) -> None:
        """ESP without extension headers, to the HA address or `at_own`: payload in tunnel mode."""
        end = ipv6.HEADER_LENGTH + int.from_bytes(packet[4:6])
        sealed = packet[ipv6.HEADER_LENGTH : end]
        association = self._association(sealed, packet, now)
        if association is None:
            return
        if at_own and self._context.hardened and sealed[_SID] == _ANY_HOME_AGENT:
            raise Dropped("meant-for-home-agent-address")
        payload, next_header, _ = self._context.mobile_esp.open(association, sealed)
        if association.mode is not SaMode.TUNNEL:
            raise Dropped("no-home-address-option")
        if next_header == ipv6.NO_NEXT_HEADER:
            raise Dropped("dummy")
        if next_header != ipv6.IPV6 or len(payload) < ipv6.HEADER_LENGTH:
            raise Dropped("not-ipv6-in-tunnel")
        if payload[8:24] != association.home_octets:
            raise Dropped("inner-source-not-home-address")
        if at_own:
            binding = self._authenticated_here(association, now)
        else:
            binding = self._authenticated(association, now)
        if payload[24:40] == self._anycast:
            if at_own:
                raise Dropped("signalling-at-own-address")
            self._receive_inner(association, address(packet[8:24]), payload, now)
            return
        if binding is None or not binding.bound:
            raise Dropped("no-binding-for-reverse-tunnel")
        if self._optimiser is not None:
            self._optimiser.seen(association.home_octets, payload[24:40], len(payload))
            if not at_own and self._optimiser.relay(binding, payload):
                return
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
        peers, maker = self._context.peers, spi >> 24
        if not (peers.by_index(maker) or peers.is_gone(maker)) or not peers.valid():
            raise Dropped("unknown-spi")
        if spi not in self._held and not self._spi_questions.allow(now):
            raise Dropped("spi-question-limit")
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
        message = parse_protected(packet.payload, packet.source, packet.destination)
        self._mobility.receive(association, source, message, now, in_tunnel=True)

    def _receive_own(self, packet: bytes, now: float) -> None:
        """To the own address: from peers, or, by the CN → HA map, from mobile nodes (rule 11)."""
        from_peer = self._context.peers.by_octets(packet[8:24]) is not None
        if self._maps and not from_peer and packet[6] == ipv6.ESP:
            self._receive_esp(packet, now, at_own=True)
            return
        parsed = ipv6.parse(packet)
        if parsed.next_header == ipv6.ICMPV6 and self._optimiser is not None:
            self._optimiser.echo(parsed, now)
        else:
            self._inter_ha.receive(parsed, now)

    def _receive_other(self, packet: bytes, now: float) -> None:
        """Everything with extension headers, malformed, or for nobody known."""
        parsed = ipv6.parse(packet)
        if parsed.destination != self._context.config.home_agent_address:
            self._unknown_home_address(packet, now)
        elif parsed.next_header == ipv6.ESP:
            self._receive_transport(parsed, packet, now)
        elif parsed.next_header == ipv6.UDP and self._keys is not None:
            self._keys.receive(parsed, packet, now, relayed=False)
        elif icmpv6.is_packet_too_big(parsed):
            self._path_mtu.receive(parsed, packet, now, relayed=False)
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
        message = parse_protected(
            payload, association.home_address, self._context.config.home_agent_address
        )
        self._authenticated(association, now)
        self._mobility.receive(association, parsed.source, message, now, in_tunnel=False)

    def _authenticated(self, association: SecurityAssociation, now: float) -> Binding | None:
        """An authentic packet of the mobile node arrived: rules 1 (b) and 5. Return its binding."""
        self._floors.received(association, now)
        if association.state is not SaState.MATURE:
            self._generations.used(association, now)
        self._watch_numbers(association)
        binding = self._context.cache.by_octets(association.home_octets)
        if binding is not None and binding.primary != self._context.config.index:
            self._role.consider_takeover(binding, now)
            self._metric.traffic(binding, now)
        return binding

    def _authenticated_here(self, association: SecurityAssociation, now: float) -> Binding | None:
        """An authentic packet came to the own address (rule 11): it moves no role.

        In hardened mode its numbers concern nobody else; in draft mode they are everybody's.
        """
        if not self._context.hardened:
            self._floors.received(association, now)
        if association.state is not SaState.MATURE:
            self._generations.used(association, now)
        self._watch_numbers(association)
        binding = self._context.cache.by_octets(association.home_octets)
        if binding is not None and binding.primary != self._context.config.index:
            primary = self._context.peers.by_index(binding.primary)
            if self._optimiser is not None and (primary is None or not primary.valid):
                self._optimiser.arrived_here(binding, now)
        return binding

    def _watch_numbers(self, association: SecurityAssociation) -> None:
        """The mobile node's numbers may come to their end."""
        assert isinstance(association.windows, SingleWindow)
        if association.windows.highest >= association.soft_limit:
            self._context.due.setdefault(association)

    # The primary role, and SAs that change.

    def _took_over(self, binding: Binding, previous: int, now: float) -> None:
        self._synchronisation.announce_primary(binding, previous, now)
        self._became_primary(binding, now)
        self._tables.consider(binding, now)

    def _succeeded(self, bindings: Sequence[Binding], now: float) -> None:
        """All these have another primary, in place of one that is gone for good."""
        if bindings[0].primary != self._context.config.index:
            for binding in bindings:
                self._role_moved(binding, now)
            return
        self._synchronisation.announce_bindings(bindings, now)
        for binding in bindings:
            self._became_primary(binding, now)

    def _hand_over(self, holder: int, successor: int, now: float) -> None:
        """This HA leaves. How far numbers have come is told first."""
        self._floors.settle(now)
        self._tunnel.handed_over = True
        self._role.regard_as_passed(holder, successor, "left")

    def _became_primary(self, binding: Binding, now: float) -> None:
        """Another HA was primary: it may have left a renewal unfinished, or one may be due."""
        self._renewal.adopt(binding, now)
        due = [each for each in self._generations.newest(binding.home_address) if each.renewal_due]
        self._context.due.update(dict.fromkeys(due))
        self._exposed.replace_one(binding.home_address, now)

    def _role_moved(self, binding: Binding, now: float) -> None:
        """A peer is primary now: tell it of a renewal that its predecessor left unfinished."""
        self._renewal.hand_over(binding, now)

    def _association_held(self, association: SecurityAssociation, now: float) -> None:
        if self._maps and self._context.hardened and association.inbound:
            assert isinstance(association.windows, SingleWindow)
            own = sender_id(self._context.config.index, self._context.incarnation)
            association.windows = MeantWindows(association.windows.window, own)
        self._testimony.made(association)
        self._requests.watch_lifetime(association, now)
        made_elsewhere = association.spi >> 24 != self._context.config.index
        if not association.inbound or not made_elsewhere:
            return
        if self._keys is not None:
            self._keys.superseded(association.home_address, now)
        binding = self._context.cache.get(association.home_address)
        if binding is not None and binding.primary == self._context.config.index:
            # When all of its generation are here: nobody else may be left to finish with it.
            self._context.timers.schedule(now, lambda then: self._renewal.adopt(binding, then))

    def _associations_changed(self, home_address: IPv6Address, now: float) -> None:
        """Another SA may be the one to send on; silence may be over (rule 3)."""
        self._synchronisation.forget_tunnel(home_address)
        self._membership.check_ready(now)
        self._exposed.changed(home_address, now)

    def _members_changed(self, now: float) -> None:
        """Home agents have come or gone."""
        self._tunnel.members_changed()
        self._metric.members_changed()
        self._tables.members_changed(now)

    def _isolated(self, renewed: int, now: float) -> None:
        self._isolation.complete(renewed, now)

    def _revocations_by_ike(self, now: float) -> None:
        self._word.heed("ike", None, now)

    # Tables and malformed packets.

    def _expired(self, binding: Binding, now: float) -> None:
        self._mobility.expired(binding, now)

    def _make_table(self) -> list[TableEntry]:
        return self._synchronisation.table(self._now)

    def _table_requested(self, peer: Peer, mutual: bool, now: float) -> None:
        self._membership.table_requested(peer, mutual, now)

    def _table_complete(self, peer: Peer, entries: int, now: float) -> None:
        self._context.report(TableReceived(peer.name, entries))
        silent = [each for each in self._context.associations if each.silent]
        self._context.due.update(dict.fromkeys(silent))
        self._membership.table_complete(peer, now)

    def _obstacle(self) -> str | None:
        """Name what forbids to advertise: an HA that cannot send would be a black hole."""
        held = self._context.associations
        silent = {(each.home_address, each.mode) for each in held if each.silent}
        if any((each := held.outbound(*key)) is not None and each.silent for key in silent):
            return "restarted in draft mode, silent until the SAs are renewed"
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
