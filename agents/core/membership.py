"""Who is there, and when this home agent may advertise (draft §3.3.3; design §10, rule 10).

HELLOs find peers and miss them. A found peer's table is fetched; when the tables are here, and
not before, the home prefix is advertised.
"""

from collections.abc import Callable

from agents.core.context import Context
from agents.core.counters import Dropped
from agents.core.events import AdvertisePrefix, Notice, PeerChanged, WithdrawPrefix
from agents.core.peers import Peer, PeerEvent, PeerState
from agents.core.timers import Timer
from agents.wire import inter_ha

FIRST_PEER_INTERVALS = 3
"""HELLO intervals for which a starting HA waits for a first peer."""


class Membership:
    """HELLOs, peer states, and readiness."""

    def __init__(
        self,
        context: Context,
        fetch: Callable[[Peer, float], None],
        may_advertise: Callable[[], str | None],
    ) -> None:
        """`fetch` begins to get a peer's table; `may_advertise` names an obstacle, or None."""
        self._context = context
        self._fetch = fetch
        self._may_advertise = may_advertise
        self._interval = context.config.timers.hello_interval
        self._sequence = 0
        self._first_peer: Timer | None = None
        self._waited = False
        self._cut_off = False
        self._started = False
        self.advertising = False

    def start(self, now: float) -> None:
        """Begin to send HELLOs, and to wait for peers."""
        self._started = True
        self._wait_for_peers(now)
        self._say_hello(now)

    def resynchronise(self, reason: str, now: float) -> None:
        """Believe nothing of the peers any more: get their tables before advertising again."""
        self._withdraw(reason)
        for peer in self._context.peers:
            self._forget(peer)
        self._wait_for_peers(now)
        for peer in self._context.peers:
            self._send_hello(peer)

    def connectivity(self, reachable: bool, now: float) -> None:
        """Routes to the peers are there, or all are gone: then it is this HA that is cut off."""
        if reachable == (not self._cut_off):
            return
        self._cut_off = not reachable
        if not self._started:
            return
        if self._cut_off:
            self._withdraw("cut-off")
        else:
            self.resynchronise("was-cut-off", now)

    def table_complete(self, peer: Peer, now: float) -> None:
        """The whole table of `peer` is here."""
        peer.fetching = False
        self._move(peer, PeerEvent.TABLE)
        self.check_ready()

    def hello(self, peer: Peer, hello: inter_ha.Hello, now: float) -> None:
        """An authentic HELLO of `peer` arrived."""
        if hello.incarnation < peer.incarnation:
            raise Dropped("old-incarnation")
        restarted = hello.incarnation > peer.incarnation
        if restarted:
            self._context.exchanges.abandon(peer.index, now)
            peer.fetching = False
            peer.incarnation = hello.incarnation
        if hello.receiver_incarnation != self._context.incarnation:
            # It does not know this incarnation yet, or is a recording: no proof of life.
            self._send_hello(peer)
            return
        peer.ready = hello.ready
        self._expect_next(peer, now)
        changed = self._move(peer, PeerEvent.RESTARTED if restarted else PeerEvent.HELLO)
        if peer.state is PeerState.RESYNC and not peer.fetching:
            peer.fetching = True
            if changed:
                self._send_hello(peer)
            self._fetch(peer, now)
        self.check_ready()

    def check_ready(self) -> None:
        """Advertise as soon as every table that can be had is here."""
        if self.advertising or not self._started or self._cut_off:
            return
        if any(peer.state is PeerState.RESYNC for peer in self._context.peers):
            return
        found = any(peer.valid and peer.ready for peer in self._context.peers)
        if not (found or self._waited):
            return
        obstacle = self._may_advertise()
        if obstacle is not None:
            self._context.report(Notice(f"not advertising: {obstacle}"))
            return
        if not found and len(self._context.peers):
            self._context.report(Notice("no peer answered: advertising with what is here"))
        self.advertising = True
        self._context.report(AdvertisePrefix(self._context.config.home_prefix))
        for peer in self._context.peers:
            self._send_hello(peer)

    def _withdraw(self, reason: str) -> None:
        if self.advertising:
            self.advertising = False
            self._context.report(WithdrawPrefix(self._context.config.home_prefix, reason))

    def _wait_for_peers(self, now: float) -> None:
        self._waited = not len(self._context.peers)
        if self._first_peer is not None:
            self._first_peer.cancel()
        wait = 0.0 if self._waited else FIRST_PEER_INTERVALS * self._interval
        self._first_peer = self._context.timers.schedule(now + wait, self._stop_waiting)
        for peer in self._context.peers:
            self._expect_next(peer, now)

    def _stop_waiting(self, now: float) -> None:
        self._waited = True
        self.check_ready()

    def _say_hello(self, now: float) -> None:
        for peer in self._context.peers:
            self._send_hello(peer)
        self._context.timers.schedule(now + self._interval, self._say_hello)

    def _send_hello(self, peer: Peer) -> None:
        self._sequence = self._sequence % 0xFFFF + 1
        message = inter_ha.Hello(
            incarnation=self._context.incarnation,
            interval_ms=round(self._interval * 1000),
            ready=self.advertising,
            identifier=self._sequence,
        )
        self._context.send_to_peer(peer, message)

    def _expect_next(self, peer: Peer, now: float) -> None:
        """Count misses from now on: the n-th when n and a half intervals have passed."""
        peer.misses = 0
        if peer.deadline is not None:
            peer.deadline.cancel()
        peer.deadline = self._context.timers.schedule(
            now + 1.5 * self._interval, lambda then: self._missed(peer, then)
        )

    def _missed(self, peer: Peer, now: float) -> None:
        peer.misses += 1
        if peer.misses < self._context.config.timers.hello_misses:
            self._move(peer, PeerEvent.MISSED)
            peer.deadline = self._context.timers.schedule(
                now + self._interval, lambda then: self._missed(peer, then)
            )
            return
        peer.deadline = None
        peer.ready = peer.fetching = False
        self._context.exchanges.abandon(peer.index, now)
        self._move(peer, PeerEvent.MISSED_OUT)
        self.check_ready()

    def _forget(self, peer: Peer) -> None:
        if peer.deadline is not None:
            peer.deadline.cancel()
            peer.deadline = None
        peer.misses = 0
        peer.ready = peer.fetching = False
        peer.state = PeerState.UNKNOWN

    def _move(self, peer: Peer, event: PeerEvent) -> bool:
        changed = peer.handle(event)
        if changed:
            self._context.report(PeerChanged(peer.name, str(peer.state), peer.incarnation))
        return changed
