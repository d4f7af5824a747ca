"""What the parts of a home agent share: configuration, tables, queues, and the way to a peer."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address

from agents.config import HomeAgentConfig, Mode
from agents.core.binding_cache import Binding, BindingCache
from agents.core.counters import Counters, Dropped
from agents.core.esp_processing import EgressRecord, EspProcessor
from agents.core.events import Event
from agents.core.exchanges import Exchanges
from agents.core.peers import Peer, Peers
from agents.core.rate_limit import RateLimit
from agents.core.registration import GENERATION_STEP, LAST_GENERATION
from agents.core.replay_window import sender_id
from agents.core.security_associations import SecurityAssociation, SecurityAssociationDatabase
from agents.core.timers import TimerQueue
from agents.wire import inter_ha, ipv6

ERRORS_PER_SECOND = 20
"""ICMPv6 errors and Binding Errors sent at most (RFC 4443 §2.4 (f))."""


class Context:
    """One home agent's state. `incarnation` counts its starts, from 1 (design §10, rule 3)."""

    def __init__(
        self,
        config: HomeAgentConfig,
        incarnation: int,
        random_bytes: Callable[[int], bytes],
        peers: list[Peer],
        on_expiry: Callable[[Binding, float], None],
        record: EgressRecord | None = None,
    ) -> None:
        sid = sender_id(config.index, incarnation)
        self.config = config
        self.incarnation = incarnation
        self.random_bytes = random_bytes
        self.counters = Counters()
        self.timers = TimerQueue()
        self.events: deque[Event] = deque()
        self.to_send: list[bytes] = []
        self.to_deliver: list[bytes] = []
        self.cache = BindingCache(self.timers, on_expiry)
        self.associations = SecurityAssociationDatabase()
        self.peers = Peers(peers)
        hardened = config.mode is Mode.HARDENED
        self.isolated: dict[int, int] = {}
        """Home agents that are put out for good: index → incarnation (rule 13)."""
        self.readmitted: dict[int, int] = {}
        """Those that may come back: index → the incarnation in which they were put out."""
        self.spent_certificates: dict[int, int] = {}
        """By index the serial number of the certificate with which an HA was put out."""
        self.due: dict[SecurityAssociation, None] = {}
        """SAs that are to be looked at: their numbers, or their time, come to an end."""
        self.mobile_esp = EspProcessor(
            random_bytes, sid if hardened else None, record, self.due.setdefault
        )
        self.peer_esp = EspProcessor(random_bytes, sid, record)
        self.exchanges = Exchanges(
            self.timers,
            random_bytes,
            config.timers.retransmit_interval,
            config.timers.retransmit_limit,
        )
        self.error_limit = RateLimit(ERRORS_PER_SECOND)
        self.inner_limits: dict[IPv6Address, int] = {}
        """By care-of address, the octets of the largest inner packet: where less passes than is
        configured. See `path_mtu`."""

    @property
    def hardened(self) -> bool:
        """Whether the SID in the IV tells senders apart (design §1)."""
        return self.config.mode is Mode.HARDENED

    def next_generation(self, home_address: IPv6Address) -> int:
        """Return the number of a mobile node's next SA generation: above all that ever were.

        Also where its SAs are all gone: a registration instance begins with it (rule 2).
        """
        binding = self.cache.get(home_address)
        registered = 0 if binding is None else binding.registration // GENERATION_STEP
        newest = max(self.associations.generation(home_address), registered)
        return min(newest + 1, LAST_GENERATION)

    def report(self, event: Event) -> None:
        """Queue `event` for the journal."""
        self.events.append(event)

    def send_packet(
        self, source: IPv6Address, destination: IPv6Address, next_header: int, payload: bytes
    ) -> None:
        """Queue one whole packet for the network."""
        self.to_send.append(ipv6.build(source, destination, next_header, payload))

    def send_error(
        self,
        source: IPv6Address,
        destination: IPv6Address,
        next_header: int,
        payload: bytes,
        now: float,
    ) -> None:
        """Queue an error message, within the limit of their rate."""
        if self.error_limit.allow(now):
            self.send_packet(source, destination, next_header, payload)
        else:
            self.counters["errors-suppressed"] += 1

    def send_to_peer(self, peer: Peer, message: inter_ha.InterHaMessage) -> None:
        """Send `message` in ESP transport between the HAs' own addresses (draft §3.2, §5).

        Without an SA to send on it is dropped and counted: who needs an answer asks again.
        """
        message = replace(message, receiver_incarnation=peer.incarnation)
        own = self.config.address
        header = inter_ha.serialize_inter_ha(message, own, peer.address)
        try:
            self.send_sealed(peer, header, ipv6.MOBILITY)
        except Dropped as dropped:
            self.counters.drop(dropped.reason)
            return
        self.counters[f"sent.{type(message).__name__}"] += 1
        self.counters["sent.inter-ha-octets"] += len(self.to_send[-1])

    def send_sealed(self, peer: Peer, payload: bytes, next_header: int) -> None:
        """Send `payload` on the SA with `peer`; raises `Dropped` without one, or at its end."""
        association = peer.associations.sending
        if association is None:
            raise Dropped("no-peer-sa")
        sealed = self.peer_esp.seal(association.outbound, payload, next_header)
        self.send_packet(self.config.address, peer.address, ipv6.ESP, sealed)

    def exchange(
        self,
        peer: Peer,
        message: inter_ha.InterHaMessage,
        now: float,
        outcome: Callable[[bool, float], None] | None = None,
    ) -> None:
        """Send `message` to `peer` until its answer comes; identifier as in the message."""

        def send(_: float) -> None:
            self.send_to_peer(peer, message)

        self.exchanges.begin(peer.index, message.identifier, send, now, outcome)
