"""Messages that are repeated until they are answered: draft §3.2, with bounds that it leaves out.

An exchange ends when the answer with its identifier comes from its peer, when the peer is no
longer there, or after `limit` sendings.
"""

from collections.abc import Callable
from dataclasses import dataclass

from agents.core.timers import Timer, TimerQueue

Outcome = Callable[[bool, float], None]
"""Told whether the exchange was answered, and when."""


@dataclass(slots=True)
class Exchange:
    """One message to one peer, waiting for its answer."""

    peer: int
    identifier: int
    send: Callable[[float], None]
    outcome: Outcome | None
    sent: int = 0
    timer: Timer | None = None


class Exchanges:
    """All open exchanges of a home agent, by (peer index, identifier)."""

    def __init__(
        self,
        timers: TimerQueue,
        random_bytes: Callable[[int], bytes],
        interval: float,
        limit: int,
    ) -> None:
        """`interval` seconds before the first repetition, doubled each time; `limit` sendings."""
        self._timers = timers
        self._random_bytes = random_bytes
        self._interval = interval
        self._limit = limit
        self._open: dict[tuple[int, int], Exchange] = {}
        self._answered: dict[int, int] = {}
        """By peer, the identifier of what it answered last."""
        self.gave_up: Callable[[int, float], None] = lambda peer, now: None
        """Told of a peer that did not answer the last repetition, and when."""

    def __len__(self) -> int:
        return len(self._open)

    def new_identifier(self, peer: int) -> int:
        """Return a random identifier: 16 bits, not zero (draft §3.2.2), not in use with `peer`."""
        while True:
            identifier = int.from_bytes(self._random_bytes(2))
            if identifier and (peer, identifier) not in self._open:
                return identifier

    def begin(
        self,
        peer: int,
        identifier: int,
        send: Callable[[float], None],
        now: float,
        outcome: Outcome | None = None,
    ) -> None:
        """Send now, and again until `answered`; then, or on giving up, call `outcome`."""
        previous = self._open.pop((peer, identifier), None)
        if previous is not None and previous.timer is not None:
            previous.timer.cancel()
        exchange = Exchange(peer, identifier, send, outcome)
        self._open[peer, identifier] = exchange
        self._send(exchange, now)

    def answered(self, peer: int, identifier: int, now: float) -> bool:
        """Close the exchange; return False if there is none (late, repeated or forged answer)."""
        if (peer, identifier) in self._open:
            self._answered[peer] = identifier
        return self._close(peer, identifier, now, answered=True)

    def awaits(self, peer: int, identifier: int) -> bool:
        """Whether `peer` was asked in a message of that identifier; an answer may have parts."""
        if (peer, identifier) in self._open:
            return True
        return self._answered.get(peer) == identifier

    def abandon(self, peer: int, now: float) -> None:
        """Give up every exchange with `peer`."""
        for index, identifier in tuple(self._open):
            if index == peer:
                self._close(index, identifier, now, answered=False)

    def _send(self, exchange: Exchange, now: float) -> None:
        if exchange.sent >= self._limit:
            self._close(exchange.peer, exchange.identifier, now, answered=False)
            self.gave_up(exchange.peer, now)
            return
        delay = self._interval * 2**exchange.sent
        exchange.sent += 1
        exchange.timer = self._timers.schedule(now + delay, lambda then: self._send(exchange, then))
        exchange.send(now)

    def _close(self, peer: int, identifier: int, now: float, *, answered: bool) -> bool:
        exchange = self._open.pop((peer, identifier), None)
        if exchange is None:
            return False
        if exchange.timer is not None:
            exchange.timer.cancel()
        if exchange.outcome is not None:
            exchange.outcome(answered, now)
        return True
