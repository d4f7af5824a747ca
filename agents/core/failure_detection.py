"""Two ways to notice that another home agent is gone, one of them configured (draft §3.3.3).

HELLO: each HA tells every other one that it lives, and missing HELLOs count. Keepalive: each HA
asks every other one, and questions without an answer count; HELLOs then only introduce (who is
there, in which incarnation, ready or not), and what counts as a sign of life is an answer alone:
it shows both directions of the path. Both count to `detection_misses`, one every interval.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Protocol

from agents.config import Detector, HomeAgentConfig
from agents.core.context import Context
from agents.core.peers import Peer, PeerEvent
from agents.wire import inter_ha

INTRODUCTIONS = 3
"""HELLOs after a change that a keepalive cannot tell: all lost, the change is not known."""

SayHello = Callable[[Peer], None]
"""Sends one HELLO to a peer."""

Missed = Callable[[Peer, PeerEvent, float], None]
"""Told of each miss, and of the last: `MISSED` and `MISSED_OUT`."""


def detection_bound(config: HomeAgentConfig) -> float:
    """Return the seconds within which a peer that falls silent is invalid."""
    misses = config.detection_misses
    # A HELLO is missed half an interval after it was due; the first keepalive without an answer
    # goes out up to one interval after the silence began, and is missed another one later.
    late = 0.5 if config.detector is Detector.HELLO else 1.0
    return (misses + late) * config.detection_interval


def agreement_bound(config: HomeAgentConfig, round_trip: float) -> float:
    """Return the seconds after a heal within which all HAs agree (invariant I3).

    For paths that lose nothing from then on, and tables of one window of segments; each further
    window takes one more round trip.
    """
    repetition = detection_bound(config) + config.timers.retransmit_interval
    return repetition + config.detection_interval + 3 * round_trip


class FailureDetector(Protocol):
    """What membership asks of a detector."""

    def start(self, now: float) -> None:
        """Begin to send, at once and then every interval."""

    def watch(self, peer: Peer, now: float) -> None:
        """Count the misses of `peer` from now on."""

    def forget(self, peer: Peer) -> None:
        """Count nothing of `peer` until `watch`, or until it is heard."""

    def introduced(self, peer: Peer) -> bool:
        """A HELLO came that knows this HA; return whether it proves that `peer` lives."""

    def questioned(self, peer: Peer) -> bool:
        """A keepalive's question came; return whether it proves that `peer` lives."""

    def answered(self, peer: Peer, identifier: int) -> bool:
        """A keepalive's answer came; return whether it proves that `peer` lives."""

    def fetched(self, peer: Peer) -> None:
        """`peer` begins to fetch the table here: it may have forgotten whether this HA is ready."""


class HelloDetector:
    """Counts intervals without a HELLO: the n-th when n and a half intervals have passed."""

    def __init__(self, context: Context, say_hello: SayHello, missed: Missed) -> None:
        self._context = context
        self._say_hello = say_hello
        self._missed = missed
        self._interval = context.config.detection_interval

    def start(self, now: float) -> None:
        """Send the first HELLOs."""
        for peer in self._context.peers:
            self._say_hello(peer)
        self._context.timers.schedule(now + self._interval, self.start)

    def watch(self, peer: Peer, now: float) -> None:
        """Expect the next HELLO."""
        self.forget(peer)
        self._expect(peer, now + 1.5 * self._interval)

    def forget(self, peer: Peer) -> None:
        """Expect nothing."""
        peer.misses = 0
        if peer.deadline is not None:
            peer.deadline.cancel()
            peer.deadline = None

    def introduced(self, peer: Peer) -> bool:
        """Every HELLO is a sign of life."""
        return True

    def questioned(self, peer: Peer) -> bool:
        """It tells what a HELLO tells: a peer may use the other detector."""
        return True

    def answered(self, peer: Peer, identifier: int) -> bool:
        """This HA asked nothing."""
        return False

    def fetched(self, peer: Peer) -> None:
        """The next HELLO tells."""

    def _expect(self, peer: Peer, when: float) -> None:
        peer.deadline = self._context.timers.schedule(when, lambda now: self._miss(peer, now))

    def _miss(self, peer: Peer, now: float) -> None:
        peer.misses += 1
        if peer.misses < self._context.config.detection_misses:
            self._missed(peer, PeerEvent.MISSED, now)
            self._expect(peer, now + self._interval)
        else:
            peer.deadline = None
            self._missed(peer, PeerEvent.MISSED_OUT, now)


class KeepaliveDetector:
    """Counts questions without an answer; a HELLO to a peer not yet known is a question too."""

    def __init__(self, context: Context, say_hello: SayHello, missed: Missed) -> None:
        self._context = context
        self._say_hello = say_hello
        self._missed = missed
        self._interval = context.config.detection_interval
        self._identifier = 0
        kept = context.config.detection_misses + 1
        self._open: defaultdict[int, deque[int]] = defaultdict(lambda: deque(maxlen=kept))
        self._watched: set[int] = set()

    def start(self, now: float) -> None:
        """Ask for the first time."""
        for peer in self._context.peers:
            self._count(peer, now)
            self._introduce(peer)
            self._ask(peer)
        self._context.timers.schedule(now + self._interval, self.start)

    def watch(self, peer: Peer, now: float) -> None:
        """Count from zero."""
        peer.misses = 0
        self._watched.add(peer.index)

    def forget(self, peer: Peer) -> None:
        """Take no answer to what was asked so far."""
        peer.misses = 0
        self._open[peer.index].clear()
        self._watched.discard(peer.index)

    def introduced(self, peer: Peer) -> bool:
        """A peer that was not there is asked at once, unless it has been asked already."""
        if not peer.valid and not any(self._open[peer.index]):
            self._ask(peer)
        return False

    def questioned(self, peer: Peer) -> bool:
        """It shows one direction of the path."""
        return False

    def answered(self, peer: Peer, identifier: int) -> bool:
        """An answer counts once; questions before it are of no more interest."""
        asked = self._open[peer.index]
        if identifier not in asked:
            return False
        while asked.popleft() != identifier:
            pass
        return True

    def fetched(self, peer: Peer) -> None:
        """Say it anew: no HELLO is due otherwise."""
        peer.introductions = INTRODUCTIONS
        self._say_hello(peer)

    def _count(self, peer: Peer, now: float) -> None:
        if peer.index not in self._watched or not self._open[peer.index]:
            return
        peer.misses += 1
        out = peer.misses >= self._context.config.detection_misses
        self._missed(peer, PeerEvent.MISSED_OUT if out else PeerEvent.MISSED, now)

    def _introduce(self, peer: Peer) -> None:
        if not peer.valid:
            peer.introductions = INTRODUCTIONS
        if peer.introductions:
            peer.introductions -= 1
            self._say_hello(peer)
            if not peer.incarnation:
                self._open[peer.index].append(0)

    def _ask(self, peer: Peer) -> None:
        if peer.incarnation:
            self._identifier = self._identifier % 0xFFFF + 1
            self._open[peer.index].append(self._identifier)
            question = inter_ha.Keepalive(identifier=self._identifier)
            self._context.send_to_peer(peer, question)


def make_detector(context: Context, say_hello: SayHello, missed: Missed) -> FailureDetector:
    """Return the configured one."""
    if context.config.detector is Detector.HELLO:
        return HelloDetector(context, say_hello, missed)
    return KeepaliveDetector(context, say_hello, missed)
