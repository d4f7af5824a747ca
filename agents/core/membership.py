"""Who is there, and when this home agent may advertise (draft §3.3.3; design §10, rule 10).

A failure detector finds peers and misses them. A found peer's table is fetched; when the tables
are here, and not before, the home prefix is advertised.
"""

from collections.abc import Callable

from agents.core.context import Context
from agents.core.counters import Dropped
from agents.core.events import AdvertisePrefix, HeldDown, Notice, PeerChanged, WithdrawPrefix
from agents.core.failure_detection import INTRODUCTIONS, make_detector
from agents.core.hold_down import Advertised, HoldDown
from agents.core.metric import MetricControl
from agents.core.peers import Peer, PeerEvent, PeerState
from agents.core.table_transfer import TableTransfer
from agents.core.timers import Timer
from agents.wire import inter_ha

FIRST_PEER_INTERVALS = 3
"""Detection intervals for which a starting HA waits for a first peer."""


MEETING_TIME = 1.0
"""Seconds for which a starting HA waits for those that it knows from the tables of others alone.

One that joins waits so long for those that it is told of.
"""


class Membership:
    """Signs of life, peer states, and readiness."""

    def __init__(
        self,
        context: Context,
        table: TableTransfer,
        may_advertise: Callable[[], str | None],
        metric: MetricControl,
        last_advertised: Advertised | None = None,
    ) -> None:
        """`may_advertise` names an obstacle, or None; `metric` speaks before the prefix does.

        `last_advertised` is of an earlier life of this HA.
        """
        self._context = context
        self._table = table
        self._may_advertise = may_advertise
        self._metric = metric
        self._interval = context.config.detection_interval
        self._detector = make_detector(context, self._send_hello, self._missed)
        self._sequence = 0
        self.hold_down = HoldDown(context.config.timers, last_advertised)
        self._hold: Timer | None = None
        self._first_peer: Timer | None = None
        self._waited = False
        self._may_be_alone = last_advertised is not None or not context.config.joins
        """Whether it may serve though no peer answers (rule 10)."""
        self._cut_off = False
        self._started = False
        self._leaving = False
        self._awaited: set[int] = set()
        """Members that are to be met before this HA advertises."""
        self._met_enough = False
        self.advertising = False
        self.lost: Callable[[Peer, float], None] = lambda peer, now: None
        """Told of a peer that is gone, or that was started anew."""
        self.met: Callable[[Peer, float], None] = lambda peer, now: None
        """Told of a peer that is there, or there again."""
        context.exchanges.gave_up = self._unanswered

    def start(self, now: float) -> None:
        """Begin to speak to the peers, and to wait for them."""
        self._started = True
        self._wait_for_peers(now)
        if not self._may_be_alone:
            for peer in self._context.peers:
                self.await_member(peer.index, now)
        self._detector.start(now)

    def introduce(self, peer: Peer, now: float) -> None:
        """There is an SA with `peer` that was not there before: a HELLO need not wait."""
        if self._started:
            self._send_hello(peer)

    def joined(self, peer: Peer, now: float) -> None:
        """`peer` is reckoned with from now on."""
        if self._started:
            self._detector.watch(peer, now)
            self._send_hello(peer)

    def await_member(self, index: int, now: float) -> None:
        """A peer's table lists one that is to be met first: before that its own is not here."""
        if self.advertising or self._met_enough:
            return
        if not self._awaited:
            self._context.timers.schedule(now + MEETING_TIME, self._stop_meeting)
        self._awaited.add(index)

    def not_met(self, index: int, now: float) -> None:
        """It is waited for no longer."""
        if index in self._awaited:
            self._awaited.discard(index)
            self.check_ready(now)

    def _stop_meeting(self, now: float) -> None:
        """However many a table lists, and however often: nobody is held up for longer."""
        self._met_enough = True
        self._awaited.clear()
        self.check_ready(now)

    def dismissed(self, peer: Peer, now: float) -> None:
        """`peer` is none any more: expect nothing of it, and wait for no answer."""
        self._lose(peer, now)
        self._context.exchanges.abandon(peer.index, now)
        self.lost(peer, now)
        self.check_ready(now)

    def stay(self, now: float) -> None:
        """Advertise again: nobody could take over."""
        self._leaving = False
        self.check_ready(now)

    def leave(self, now: float) -> None:
        """Withdraw the prefix, and advertise it no more; peers hear of it at once."""
        self._leaving = True
        self._withdraw("leaving")
        for peer in self._context.peers:
            self._send_hello(peer)

    def resynchronise(self, reason: str, now: float) -> None:
        """Believe nothing of the peers any more: get their tables before advertising again."""
        self._withdraw(reason)
        for peer in self._context.peers:
            self._lose(peer, now)
            peer.state = PeerState.UNKNOWN
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

    # What peers say.

    def hello(self, peer: Peer, hello: inter_ha.Hello, now: float) -> None:
        """An authentic HELLO of `peer` arrived."""
        if hello.incarnation < peer.incarnation:
            raise Dropped("old-incarnation")
        restarted = hello.incarnation > peer.incarnation
        if restarted:
            self._context.exchanges.abandon(peer.index, now)
            peer.fetching = False
            peer.incarnation = hello.incarnation
            self.lost(peer, now)
        if hello.receiver_incarnation != self._context.incarnation:
            # It does not know this incarnation yet, or is a recording: no proof of life.
            self._send_hello(peer)
            return
        peer.ready = hello.ready
        if self._detector.introduced(peer):
            self._alive(peer, PeerEvent.RESTARTED if restarted else PeerEvent.HEARD, now)
        self.check_ready(now)

    def keepalive(self, peer: Peer, message: inter_ha.Keepalive, now: float) -> None:
        """A question is answered whatever detector is used here."""
        if not message.response:
            answer = inter_ha.Keepalive(response=True, identifier=message.identifier)
            self._context.send_to_peer(peer, answer)
            alive = self._detector.questioned(peer)
        elif self._detector.answered(peer, message.identifier):
            alive = True
        else:
            raise Dropped("keepalive-unexpected")
        if alive:
            self._alive(peer, PeerEvent.HEARD, now)

    def table_requested(self, peer: Peer, mutual: bool, now: float) -> None:
        """`peer` fetches the table here: from now on it is told of every change.

        With `mutual` it held this HA invalid, and told it nothing meanwhile.
        """
        peer.untold = False
        self._detector.fetched(peer)
        self._alive(peer, PeerEvent.ASKED_BACK if mutual else PeerEvent.HEARD, now)

    def table_complete(self, peer: Peer, now: float) -> None:
        """The whole table of `peer` is here."""
        peer.fetching = False
        self._awaited.discard(peer.index)
        self._move(peer, PeerEvent.TABLE)
        self.check_ready(now)

    def _alive(self, peer: Peer, event: PeerEvent, now: float) -> None:
        self._detector.watch(peer, now)
        changed = self._move(peer, event)
        asked_back = event is PeerEvent.ASKED_BACK
        if peer.state is PeerState.RESYNC and (asked_back or not peer.fetching):
            peer.fetching = True
            if changed:
                self._send_hello(peer)
                self.met(peer, now)
            self._table.fetch(peer, now)

    # What peers do not say.

    def _missed(self, peer: Peer, event: PeerEvent, now: float) -> None:
        if event is PeerEvent.MISSED_OUT:
            self._lose(peer, now)
            self._context.exchanges.abandon(peer.index, now)
        if self._move(peer, event) and event is PeerEvent.MISSED_OUT:
            self.lost(peer, now)
            self.check_ready(now)

    def _unanswered(self, index: int, now: float) -> None:
        """A peer left a message without an answer to the last repetition: it is not told."""
        peer = self._context.peers.by_index(index)
        if peer is not None and peer.valid:
            self._missed(peer, PeerEvent.MISSED_OUT, now)

    def _lose(self, peer: Peer, now: float) -> None:
        """Expect nothing of `peer`, and remember that it is told of nothing."""
        self._detector.forget(peer)
        self._table.forget(peer, now)
        peer.ready = peer.fetching = False
        peer.untold = True

    # Readiness.

    def check_ready(self, now: float) -> None:
        """Advertise as soon as every table that can be had is here."""
        if self.advertising or self._leaving or not self._started or self._cut_off:
            return
        if any(peer.state is PeerState.RESYNC for peer in self._context.peers) or self._awaited:
            return
        found = any(peer.valid and peer.ready for peer in self._context.peers)
        if not (found or (self._waited and self._may_be_alone)):
            return
        obstacle = self._may_advertise()
        if obstacle is not None:
            self._context.report(Notice(f"not advertising: {obstacle}"))
            return
        if found and self._held_down(now):
            return
        if not found and len(self._context.peers):
            self._context.report(Notice("no peer answered: advertising with what is here"))
        self._end_hold()
        self._may_be_alone = True
        self.hold_down.advertised(now)
        self.advertising = True
        self._metric.before_advertising(now)
        self._context.report(AdvertisePrefix(self._context.config.home_prefix))
        for peer in self._context.peers:
            peer.introductions = INTRODUCTIONS
            self._send_hello(peer)

    def _held_down(self, now: float) -> bool:
        """Tell whether this HA came back too often to serve at once, since another one serves."""
        if not self._context.config.hold_down:
            return False
        until = self.hold_down.until(now)
        if now >= until:
            return False
        if self._hold is None:
            self._context.report(HeldDown(until - now, self.hold_down.returns))
            self._hold = self._context.timers.schedule(until, self._hold_over)
        return True

    def _hold_over(self, now: float) -> None:
        self._hold = None
        self.check_ready(now)

    def _end_hold(self) -> None:
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None

    def _withdraw(self, reason: str) -> None:
        if self.advertising:
            self.advertising = False
            self._metric.withdrawn()
            for peer in self._context.peers:
                peer.introductions = INTRODUCTIONS
            self._context.report(WithdrawPrefix(self._context.config.home_prefix, reason))

    def _wait_for_peers(self, now: float) -> None:
        self._waited = not len(self._context.peers)
        if self._first_peer is not None:
            self._first_peer.cancel()
        wait = 0.0 if self._waited else FIRST_PEER_INTERVALS * self._interval
        self._first_peer = self._context.timers.schedule(now + wait, self._stop_waiting)
        for peer in self._context.peers:
            self._detector.watch(peer, now)

    def _stop_waiting(self, now: float) -> None:
        self._waited = True
        if not self._may_be_alone and not self.advertising:
            self._context.report(Notice("not advertising: no home agent has let this one in"))
        self.check_ready(now)

    def _send_hello(self, peer: Peer) -> None:
        self._sequence = self._sequence % 0xFFFF + 1
        message = inter_ha.Hello(
            incarnation=self._context.incarnation,
            interval_ms=round(self._interval * 1000),
            ready=self.advertising,
            identifier=self._sequence,
        )
        self._context.send_to_peer(peer, message)

    def _move(self, peer: Peer, event: PeerEvent) -> bool:
        changed = peer.handle(event)
        if changed:
            self._context.report(PeerChanged(peer.name, str(peer.state), peer.incarnation))
        return changed
