"""A home agent goes for good, and no flow loses a packet (design §10, rule 6).

withdraw the prefix → serve what still arrives, until routing has moved → tell the successor →
tell the others, who dismiss this HA → linger → gone
"""

from collections.abc import Callable
from enum import StrEnum

from agents.core.context import Context
from agents.core.events import Left, Notice
from agents.core.peers import Peer
from agents.wire import inter_ha

LINGER_TIME = 0.5
"""Seconds for which packets that a peer relayed, or sent before it was told, may still arrive."""


class LeaveImpossible(ValueError):  # noqa: N818 - an answer to a person, not a fault
    """This HA cannot go; the message says why, for a person."""


class Stage(StrEnum):
    """How far it has come."""

    HERE = "here"
    DRAINING = "draining"
    TELLING = "telling"
    GONE = "gone"


class Leaving:
    """One home agent's farewell."""

    def __init__(
        self,
        context: Context,
        withdraw: Callable[[float], None],
        stay: Callable[[float], None],
        last_drawn: Callable[[], float],
        hand_over: Callable[[int, int, float], None],
    ) -> None:
        """`withdraw(now)` takes the prefix away for ever, unless `stay(now)` undoes it.

        `last_drawn()` is when a packet last came by the home prefix. `hand_over(holder, successor,
        now)`, by index, has this HA regard the roles of `holder` as its successor's.
        """
        self._context = context
        self._withdraw = withdraw
        self._stay = stay
        self._last_drawn = last_drawn
        self._hand_over = hand_over
        self._began = 0.0
        self.stage = Stage.HERE

    def begin(self, now: float) -> None:
        """Withdraw, and go on serving; raise `LeaveImpossible` where nobody else serves."""
        if self.stage is not Stage.HERE:
            raise LeaveImpossible(f"already {self.stage}")
        if not self._candidates():
            raise LeaveImpossible("no other home agent serves: nobody could take over")
        self.stage = Stage.DRAINING
        self._began = now
        self._withdraw(now)
        self._context.timers.schedule(now + self._context.config.timers.leave_least, self._look)

    def _candidates(self) -> list[Peer]:
        return [each for each in self._context.peers.valid() if each.ready]

    def _look(self, now: float) -> None:
        """Routing has moved when nothing has come for a while; it is not waited for for ever."""
        timers = self._context.config.timers
        quiet_at = min(self._last_drawn() + timers.leave_quiet, self._began + timers.leave_most)
        if now < quiet_at:
            self._context.timers.schedule(quiet_at, self._look)
            return
        self.stage = Stage.TELLING
        self._tell_successor(self._context.config.index, self._candidates(), now)

    def _tell_successor(self, holder: int, candidates: list[Peer], now: float) -> None:
        """The one that has the roles next has to know before the others refer to it.

        `holder` is the HA that has them now, as seen here. From the moment that the message leaves
        nothing is sent from here to a mobile node with one window (rule 7): the successor's numbers
        are higher.
        """
        if not candidates and holder == self._context.config.index:
            self.stage = Stage.HERE
            self._context.report(Notice("staying: no other home agent serves any more"))
            self._stay(now)
            return
        if not candidates:  # one of them may have heard it, and taken over
            self._context.report(Notice("leaving, though no other home agent answers"))
            self._linger(now)
            return
        successor, *others = sorted(candidates, key=lambda each: each.index)

        def outcome(answered: bool, then: float) -> None:
            if answered:
                self._tell_others(successor, then)
            else:
                self._tell_successor(successor.index, [each for each in others if each.valid], then)

        self._hand_over(holder, successor.index, now)
        self._tell(successor, successor, now, outcome)

    def _tell_others(self, successor: Peer, now: float) -> None:
        others = [each for each in self._context.peers.valid() if each is not successor]
        waiting = {each.index for each in others}
        if not waiting:
            self._linger(now)

        def outcome_of(peer: Peer) -> Callable[[bool, float], None]:
            def outcome(_: bool, then: float) -> None:
                waiting.discard(peer.index)
                if not waiting:
                    self._linger(then)

            return outcome

        for peer in others:
            self._tell(peer, successor, now, outcome_of(peer))

    def _tell(
        self, peer: Peer, successor: Peer, now: float, outcome: Callable[[bool, float], None]
    ) -> None:
        identifier = self._context.exchanges.new_identifier(peer.index)
        message = inter_ha.Leave(successor=successor.index, identifier=identifier)
        self._context.exchange(peer, message, now, outcome)

    def _linger(self, now: float) -> None:
        self._context.timers.schedule(now + LINGER_TIME, self._end)

    def _end(self, now: float) -> None:
        self.stage = Stage.GONE
        self._context.report(Left(now - self._began))
