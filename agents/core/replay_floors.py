"""Replay floors: what an HA tells the others of numbers that it has seen (design §10, rule 5).

A dead primary hands nothing over, so floors travel while numbers move: every `interval`, or after
`packets` on one SA. The first is not sent at once but `interval` after the first packet: packets
sent before a change of route, still on their way to the previous HA, shall not meet a floor
that their successors raised.
"""

from collections.abc import Callable

from agents.core.security_associations import SecurityAssociation
from agents.core.timers import TimerQueue

Send = Callable[[list[SecurityAssociation], float], None]


class FloorReporter:
    """Collects the SAs whose numbers moved, and reports them in time."""

    def __init__(self, timers: TimerQueue, interval: float, packets: int, send: Send) -> None:
        self._timers = timers
        self._interval = interval
        self._packets = packets
        self._send = send
        self._moved: dict[int, SecurityAssociation] = {}
        self._scheduled = False

    def moved(self, association: SecurityAssociation, now: float) -> None:
        """A packet was received (or sent) on `association`."""
        association.unreported += 1
        if association.unreported == 1:
            self._moved[id(association)] = association
            if not self._scheduled:
                self._scheduled = True
                self._timers.schedule(now + self._interval, self._report_all)
        elif association.unreported >= self._packets:
            self._moved.pop(id(association), None)
            association.unreported = 0
            self._send([association], now)

    def _report_all(self, now: float) -> None:
        self._scheduled = False
        moved, self._moved = list(self._moved.values()), {}
        for association in moved:
            association.unreported = 0
        if moved:
            self._send(moved, now)
