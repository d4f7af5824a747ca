"""How long a home agent that comes and goes waits before it advertises again.

Each of its returns moves routes, and with them the mobile nodes' packets. Where another home agent
serves, one that has come back often may wait (RFC 4786 §4.4.1 wants a hold-down). So routers that
punish what flaps (RFC 2439; RFC 4786 §4.4.4) see less of it. See DECISIONS.md, "Flapping".
"""

from typing import NamedTuple

from agents.config import HomeAgentTimers

_MOST_DOUBLINGS = 20


class Advertised(NamedTuple):
    """When an HA last began to advertise, and how many quick returns in a row that was.

    `since` is seconds of CLOCK_MONOTONIC, which all lives of an agent between two boots share.
    """

    since: float
    returns: int


class HoldDown:
    """Counts returns within `stable_time` of each other, and says until when to wait."""

    def __init__(self, timers: HomeAgentTimers, last: Advertised | None = None) -> None:
        """`last` is of an earlier life of the agent."""
        self._timers = timers
        self.last = last
        self.returns = 0
        self._until: float | None = None

    def until(self, now: float) -> float:
        """Return when the HA, which is ready, may advertise; the same until it does.

        The first `free_returns` in a row do not wait; the next waits `hold_first`, and each further
        one twice as long, up to `hold_most`.
        """
        if self._until is None:
            self.returns = self._counted(now)
            self._until = now + self._delay()
        return self._until

    def advertised(self, now: float) -> None:
        """The HA begins to advertise."""
        if self._until is None:
            self.returns = self._counted(now)
        self.last = Advertised(now, self.returns)
        self._until = None

    def _counted(self, now: float) -> int:
        """Return how many quick returns in a row this one makes; a clock set back begins anew."""
        if self.last is None or not 0 <= now - self.last.since < self._timers.stable_time:
            return 0
        return self.last.returns + 1

    def _delay(self) -> float:
        surplus = self.returns - self._timers.free_returns
        if surplus <= 0:
            return 0.0
        doubled = self._timers.hold_first * 2 ** min(surplus - 1, _MOST_DOUBLINGS)
        return float(min(doubled, self._timers.hold_most))
