"""The delay line: a process that moves frames between pairs of TAP devices, each after its delay.

Stands in for netem where the kernel has none; ``topologies/delay.py`` starts it and talks to it:
a JSON object a line on standard input, one on standard output for each. One process serves all
links of a network: on two processors, several would only take turns. Standard library alone.

Carrier is mirrored as on a veth pair: both ends have it while both are administratively up.
"""

from __future__ import annotations

import errno
import gc
import heapq
import itertools
import json
import os
import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from topologies.delay_queue import DelayQueue
from topologies.namespace_links import Change, NamespaceLinks, NamespaceMonitor
from topologies.netlink import overrun
from topologies.sandbox_launcher import die_with_parent
from topologies.scheduling import hurry, wake_on_time
from topologies.tap import FRAME_OCTETS, TapError, open_tap, set_carrier

BATCH = 16
"""Frames that are read from one device before others have their turn."""

EARLY_NS = 20_000
"""A frame due that soon goes now: another sleep would cost more."""

QUEUE_PACKETS = 1000
"""txqueuelen, as a veth has it: what a device holds until it is read here."""


@dataclass(slots=True)
class End:
    """One end of a link: its TAP and where it is."""

    name: str
    index: int
    namespace: int
    tap: int
    up: bool = False


class Direction:
    """Frames from one end to the other."""

    def __init__(self, number: int, source: End, target: End, queue: DelayQueue) -> None:
        """``number`` is unique: it breaks ties in the heap of the next arrivals."""
        self.number, self.source, self.target, self.queue = number, source, target, queue


class Link:
    """Two ends and both directions between them."""

    def __init__(self, ends: tuple[End, End], directions: tuple[Direction, Direction]) -> None:
        self.ends, self.directions = ends, directions
        self.carrier = False


class DelayLine:
    """All delayed links of a network."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._requests = NamespaceLinks()
        self._monitor = NamespaceMonitor()
        self._links: list[Link] = []
        self._by_end: dict[tuple[int, int], tuple[Link, End]] = {}
        self._next: list[tuple[int, int, Direction]] = []
        """Heap: no later than the first arrival of each direction that has frames in flight."""
        self._numbers = itertools.count()
        self._commands = b""
        self._running = True
        self._watch(self._monitor.fileno(), self._watch_links)
        self._watch(sys.stdin.fileno(), self._obey)

    def _watch(self, descriptor: int, handler: Callable[[], None]) -> None:
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, select.EPOLLIN)

    def run(self) -> None:
        """Move frames until the input ends."""
        handlers, epoll, sources = self._handlers, self._epoll, (self._epoll.fileno(),)
        while self._running:
            pause = None
            if self._next:
                pause = max(0, self._next[0][0] - time.monotonic_ns()) / 1e9
            # select on the epoll's descriptor: its timeout has microseconds, epoll's milliseconds.
            if select.select(sources, (), (), pause)[0]:
                for descriptor, _ in epoll.poll(0):
                    if handler := handlers.get(descriptor):
                        handler()
            if self._next:
                self._deliver()

    def _deliver(self) -> None:
        """Write out every frame that is due."""
        heap, now = self._next, time.monotonic_ns() + EARLY_NS
        while heap and heap[0][0] <= now:
            direction = heapq.heappop(heap)[2]
            queue, target = direction.queue, direction.target.tap
            for frame in queue.arrived(now):
                try:
                    os.write(target, frame)
                except OSError:
                    queue.counts.refused += 1
                else:
                    queue.counts.passed += 1
            if (due := queue.due) is not None:
                heapq.heappush(heap, (due, direction.number, direction))

    def _receive(self, link: Link, direction: Direction) -> None:
        source, put = direction.source.tap, direction.queue.put
        for _ in range(BATCH):
            try:
                frame = os.read(source, FRAME_OCTETS)
            except BlockingIOError:
                return
            except OSError:  # EBADFD: the device was deleted, or its namespace has ended
                self._remove(link)
                return
            if put(frame, time.monotonic_ns()):
                due = direction.queue.due or 0
                heapq.heappush(self._next, (due, direction.number, direction))

    def _remove(self, link: Link) -> None:
        """A link one of whose ends is gone goes as a whole, as a veth pair does."""
        if link not in self._links:
            return
        self._links.remove(link)
        for end in link.ends:
            del self._by_end[end.namespace, end.index]
            del self._handlers[end.tap]
            self._epoll.unregister(end.tap)
            os.close(end.tap)
        for direction in link.directions:
            direction.queue.clear()

    def _watch_links(self) -> None:
        try:
            for change in self._monitor.changes():
                self._changed(change)
        except OSError as error:
            if not overrun(error):
                raise
            for link in list(self._links):
                self._look(link)

    def _changed(self, change: Change) -> None:
        found = self._by_end.get((change.namespace, change.link.index))
        if found is None or found[1].name != change.link.name:
            return
        link, end = found
        if not change.there:
            self._remove(link)
        elif end.up != change.link.up:
            end.up = change.link.up
            self._mirror(link)

    def _look(self, link: Link) -> None:
        """Ask for both ends' states."""
        for end in link.ends:
            state = self._requests.settle(end.namespace, end.index)
            if state is None:
                self._remove(link)
                return
            end.up = state.up
        self._mirror(link)

    def _mirror(self, link: Link) -> None:
        """Give both ends carrier if both are up, else take it from both."""
        carrier = all(end.up for end in link.ends)
        if carrier == link.carrier:
            return
        link.carrier = carrier
        if not carrier:
            for direction in link.directions:
                direction.queue.clear()
        try:
            for end in link.ends:
                set_carrier(end.tap, on=carrier)
            for end in link.ends:
                self._requests.settle(end.namespace, end.index)
        except OSError as error:
            if error.errno != errno.EBADFD:
                raise
            self._remove(link)

    def _obey(self) -> None:
        data = os.read(sys.stdin.fileno(), 1 << 16)
        self._running = bool(data)
        *lines, self._commands = (self._commands + data).split(b"\n")
        for line in lines:
            command = json.loads(line)
            try:
                answer = self.add(**command) if command else self.status()
            except (OSError, TapError) as error:
                answer = {"error": str(error)}
            print(json.dumps(answer), flush=True)

    def add(self, ends: list[dict[str, Any]], delay_ns: int, loss: float, seed: str) -> Any:
        """Make a link. Each end: ``name``, ``index``, and ``pid`` of its node."""
        made: list[End] = []
        try:
            for each in ends:
                made.append(self._open(**each, merged=not loss))
        except BaseException:
            for end in made:
                os.close(end.tap)
            raise
        first, second = made
        queues = [DelayQueue(delay_ns, loss, f"{seed} {end.name}") for end in made]
        there = Direction(next(self._numbers), first, second, queues[0])
        back = Direction(next(self._numbers), second, first, queues[1])
        link = Link((first, second), (there, back))
        self._links.append(link)
        for end, direction in ((first, there), (second, back)):
            self._by_end[end.namespace, end.index] = (link, end)
            self._watch(end.tap, partial(self._receive, link, direction))
        self._look(link)
        return {}

    def _open(self, name: str, index: int, pid: int, *, merged: bool) -> End:
        namespace = self._requests.number(pid)
        tap = open_tap(name, index, merged=merged)
        try:
            self._requests.give(index, pid, QUEUE_PACKETS)
        except OSError as error:
            os.close(tap)
            raise TapError(f"{name} into its node: {error.strerror}") from error
        return End(name, index, namespace, tap)

    def status(self) -> dict[str, dict[str, int]]:
        """Return the counters of each direction, by the interface that frames come from."""
        return {
            direction.source.name: direction.queue.counts.as_dict()
            for link in self._links
            for direction in link.directions
        }


def main() -> None:
    """Serve until standard input ends, or the thread that started this."""
    die_with_parent()
    gc.disable()  # nothing here is cyclic, and a collection is a pause
    hurry(os.SCHED_RR)
    wake_on_time()
    DelayLine().run()


if __name__ == "__main__":
    main()
