"""One queue of timers an engine: a heap, so that cost does not grow with the number of bindings."""

import heapq
import itertools
from collections.abc import Callable

Callback = Callable[[float], None]


class Timer:
    """A handle on one scheduled callback."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callback) -> None:
        self.when = when
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Make sure that the callback does not run (again)."""
        self.callback = None


class TimerQueue:
    """Timers in order of time; cancelled ones are forgotten when they come up."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def schedule(self, when: float, callback: Callback) -> Timer:
        """Run `callback(now)` at the first `run` whose `now` has reached `when` (seconds)."""
        timer = Timer(when, callback)
        heapq.heappush(self._heap, (when, next(self._order), timer))
        return timer

    def next_time(self) -> float | None:
        """Return when the next timer is due, or None."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run(self, now: float) -> None:
        """Run all timers that are due; those that they set for `now` wait for the next call."""
        due: list[Timer] = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        for timer in due:
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback(now)
