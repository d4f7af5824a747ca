"""What the parts of an IKE endpoint share: configuration, SAs, queues, and the ways in and out."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address

from agents.core.counters import Counters
from agents.core.ike.child_sa import Child, ChildSa
from agents.core.ike.config import IkeConfig
from agents.core.ike.cookies import Cookies
from agents.core.ike.events import (
    ChildDeleted,
    IkeDeleted,
    IkeEstablished,
    IkeEvent,
    IkeFailed,
    IkeRekeyed,
)
from agents.core.ike.fragmentation import Reassembly
from agents.core.ike.half_open import HalfOpen
from agents.core.ike.key_exchange import MakePrivateKey
from agents.core.ike.sa import IkeSa, Route
from agents.core.ike.states import LARVAL, ChildTrigger, IkeState, IkeTrigger
from agents.core.rate_limit import RateLimit
from agents.core.timers import TimerQueue
from agents.wire.esp import LOWEST_SPI
from agents.wire.ike.identity import Identity
from agents.wire.ike.numbers import NAT_PORT, NON_ESP_MARKER

UNPROTECTED_PER_SECOND = 20
"""Unprotected error messages sent at most (RFC 7296 §2.21.4)."""


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram without its UDP header."""

    source: IPv6Address
    source_port: int
    destination: IPv6Address
    destination_port: int
    payload: bytes


class IkeContext:
    """One endpoint's state."""

    def __init__(
        self,
        config: IkeConfig,
        timers: TimerQueue,
        random_bytes: Callable[[int], bytes],
        new_spi: Callable[[], int],
        private_key: MakePrivateKey,
    ) -> None:
        self.config = config
        self.timers = timers
        self.random_bytes = random_bytes
        self.private_key = private_key
        self.counters = Counters()
        self.events: deque[IkeEvent] = deque()
        self.to_send: list[Datagram] = []
        self.sas: dict[int, IkeSa] = {}
        """By our own SPI; ended ones stay a while to answer repeated requests."""
        self.by_peer: dict[Identity, list[IkeSa]] = {}
        """The established ones, old ones first."""
        self.child_spis: set[int] = set()
        """Inbound SPIs of the Child SAs under all of them."""
        self.half_open = HalfOpen()
        self.inits: dict[bytes, IkeSa] = {}
        """By the IKE_SA_INIT request that began it, so that a repeated one is known."""
        self.cookies = Cookies(random_bytes, config.timers.cookie_lifetime)
        self.reassembly = Reassembly(timers, config.timers.reassembly_timeout)
        self.error_limit = RateLimit(UNPROTECTED_PER_SECOND)
        self._new_spi = new_spi

    def report(self, event: IkeEvent) -> None:
        """Queue `event` for the host."""
        self.events.append(event)

    def send(self, octets: bytes, route: Route) -> None:
        """Queue a message, on port 4500 behind the non-ESP marker (RFC 3948 §2.2)."""
        marker = NON_ESP_MARKER if route.local_port == NAT_PORT else b""
        self.to_send.append(
            Datagram(
                route.local, route.local_port, route.remote, route.remote_port, marker + octets
            )
        )

    def new_ike_spi(self) -> int:
        """Return an SPI for an IKE SA: 64 bits, all or all but 8 random, not 0, not in use here."""
        prefix = self.config.spi_prefix
        while True:
            spi = int.from_bytes(self.random_bytes(8))
            if prefix is not None:
                spi = prefix << 56 | spi & (1 << 56) - 1
            if spi and spi not in self.sas:
                return spi

    def new_child_spi(self) -> int:
        """Return an inbound SPI of the host's choice that no Child SA here has."""
        while True:
            spi = self._new_spi()
            if spi >= LOWEST_SPI and spi not in self.child_spis:
                return spi

    def establish(self, sa: IkeSa) -> None:
        """Both ends have proven who they are."""
        sa.handle(IkeTrigger.AUTHENTICATED)
        self.half_open.discard(sa.local_spi)
        if sa.peer is not None:
            self.by_peer.setdefault(sa.peer, []).append(sa)
        self.report(IkeEstablished(sa, sa.peer, sa.initiator))

    def succeed(self, sa: IkeSa, successor: IkeSa) -> None:
        """`successor`, which is held already, takes an IKE SA's place, Child SAs and requests."""
        sa.successor, sa.contender = successor, None
        successor.rival_of, successor.silent = None, False
        successor.children_by_spi, sa.children_by_spi = sa.children_by_spi, {}
        successor.queue, sa.queue = sa.queue, deque()
        sa.stop_watch()
        if sa.peer is not None:
            self.by_peer.setdefault(sa.peer, []).append(successor)
        self.report(IkeRekeyed(sa, sa.peer, successor, successor.initiator))

    def remove_child(self, sa: IkeSa, child: Child, reason: str) -> None:
        """A Child SA is over."""
        child.handle(ChildTrigger.DELETED)
        del sa.children_by_spi[child.sa.inbound_spi]
        self.child_spis.discard(child.sa.inbound_spi)
        if child.reported:
            self.report(ChildDeleted(sa, sa.peer, child.sa.inbound_spi, reason))

    def add_child(self, sa: IkeSa, made: ChildSa) -> Child:
        """Hold a Child SA under `sa`."""
        child = Child(made)
        sa.children_by_spi[made.inbound_spi] = child
        self.child_spis.add(made.inbound_spi)
        return child

    def end(self, sa: IkeSa, reason: str, now: float) -> None:
        """An IKE SA is over; it stays a while to answer repeated requests."""
        if sa.state is IkeState.DEAD:
            return
        self.close(sa, reason if sa.successor is None else "rekeyed")
        sa.timer = self.timers.schedule(
            now + self.config.timers.half_open_timeout, lambda _: self.drop(sa)
        )

    def close(self, sa: IkeSa, reason: str) -> None:
        """Nothing is sent on an IKE SA any more.

        Its Child SAs are not deleted: home agents share them, and they outlive it (rule 8).
        """
        before = sa.state
        sa.handle(IkeTrigger.ENDED)
        if sa.peer is not None and sa in (same := self.by_peer.get(sa.peer, [])):
            same.remove(sa)
            if not same:
                del self.by_peer[sa.peer]
        sa.stop_timer()
        sa.stop_watch()
        waiting = ([sa.current] if sa.current else []) + list(sa.queue)
        sa.current, sa.outstanding = None, ()
        sa.queue.clear()
        for request in waiting:
            request.abandoned(sa)
        if sa.rival_of is not None:
            sa.rival_of.contender, sa.rival_of = None, None
        if sa.contender is not None:
            _, rival = sa.contender
            self.close(rival, reason)
            self.drop(rival)
        if not sa.silent:
            kind = IkeFailed if before in LARVAL else IkeDeleted
            self.report(kind(sa, sa.peer, reason, sa.detail))

    def drop(self, sa: IkeSa) -> None:
        """Nothing of an IKE SA is left."""
        sa.stop_timer()
        self.half_open.discard(sa.local_spi)
        self.child_spis.difference_update(sa.children_by_spi)
        for response in (False, True):
            self.reassembly.forget((sa.local_spi, response))
        if not sa.initiator:
            self.inits.pop(sa.init_remote, None)
        if self.sas.get(sa.local_spi) is sa:
            del self.sas[sa.local_spi]
