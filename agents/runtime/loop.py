"""A small epoll loop: descriptors, one engine timer, one heartbeat.

asyncio would cost 60 ms of start time and a future per packet; nothing here needs it.
"""

import select
import time
from collections.abc import Callable

Clock = Callable[[], float]
Callback = Callable[[float], None]

IDLE_LIMIT = 1.0
"""Longest sleep in seconds when nothing is due: a lost timer heals within this time."""

RETRY_PAUSE = 0.01
"""Seconds until a timer that was handled and is still due is tried again (a failing handler)."""


class Loop:
    """Calls back for readable descriptors, due timers and after every round.

    Callbacks take the round's time (seconds, CLOCK_MONOTONIC) and must do a bounded batch of work:
    epoll is level-triggered, so what they leave is offered again in the next round.
    """

    def __init__(
        self,
        clock: Clock = time.monotonic,
        on_fault: Callable[[Exception], None] | None = None,
    ) -> None:
        """`on_fault` is told of a callback's exception; without one it ends `run`."""
        self._clock = clock
        self._on_fault = on_fault
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self._urgent: set[int] = set()
        self._running = False
        self._timers: list[tuple[Callable[[], float | None], Callback]] = []
        self._rounds: list[Callback] = []

    def add_reader(self, descriptor: int, callback: Callback, urgent: bool = False) -> None:
        """Call `callback` when `descriptor` is readable or broken; urgent ones come first."""
        self._callbacks[descriptor] = callback
        if urgent:
            self._urgent.add(descriptor)
        self._epoll.register(descriptor, select.EPOLLIN)

    def watch_writing(self, descriptor: int, wanted: bool) -> None:
        """Also call back (or no longer) when `descriptor` takes more output."""
        self._epoll.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def remove_reader(self, descriptor: int) -> None:
        """Forget `descriptor`, before it is closed."""
        del self._callbacks[descriptor]
        self._urgent.discard(descriptor)
        self._epoll.unregister(descriptor)

    def add_timer(self, deadline: Callable[[], float | None], callback: Callback) -> None:
        """Call `callback` when the time that `deadline()` names has come; asked every round."""
        self._timers.append((deadline, callback))

    def add_round(self, callback: Callback) -> None:
        """Call `callback` at the end of every round."""
        self._rounds.append(callback)

    def stop(self) -> None:
        """Return from `run` at the end of this round."""
        self._running = False

    def run(self) -> None:
        """Work until `stop`."""
        self._running = True
        while self._running:
            self.run_once()

    def run_once(self) -> None:
        """Wait for something to do, at most `IDLE_LIMIT`, and do one round of it."""
        events = self._epoll.poll(self._sleep())
        now = self._clock()
        if len(events) > 1 and self._urgent:
            events.sort(key=lambda event: event[0] not in self._urgent)
        for descriptor, _ in events:
            callback = self._callbacks.get(descriptor)
            if callback is not None:
                self._call(callback, now)
        for deadline, callback in self._timers:
            due = deadline()
            if due is not None and due <= now:
                self._call(callback, now)
        for callback in self._rounds:
            self._call(callback, now)

    def _call(self, callback: Callback, now: float) -> None:
        try:
            callback(now)
        except Exception as error:
            if self._on_fault is None:
                raise
            self._on_fault(error)

    def _sleep(self) -> float:
        """Seconds until the next timer."""
        now = self._clock()
        sleep = IDLE_LIMIT
        for deadline, _ in self._timers:
            due = deadline()
            if due is not None and due - now < sleep:
                sleep = due - now
        return sleep if sleep > 0.0 else 0.0

    def close(self) -> None:
        """Release the epoll descriptor."""
        self._epoll.close()
