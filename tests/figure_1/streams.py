"""Streams of numbered UDP packets between nodes, and what became of each packet.

One thread holds a socket in every node that takes part: no process has to start.
"""

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from topologies.namespaces import call_in
from topologies.nodes import SixNode

MAGIC = b"manyhomes probe "
PACKET = struct.Struct("=16sHxxxxxxI")  # magic, stream, number
PORT = 7100
PERIOD = 0.004
"""Seconds between two packets of a stream. Slow, so that a busy machine's queues hold them."""


@dataclass
class Stream:
    """One direction between two nodes; times are CLOCK_MONOTONIC ns."""

    number: int
    sender: str
    receiver: str
    sent: list[int] = field(default_factory=list)
    arrived: dict[int, int] = field(default_factory=dict)
    repeated: list[int] = field(default_factory=list)
    """The numbers of packets that arrived once more."""

    @property
    def name(self) -> str:
        return f"{self.sender} to {self.receiver}"

    def lost(self, since_ns: int = 0, until_ns: int | None = None) -> list[int]:
        """Return the numbers of the packets sent in [since, until) that did not arrive."""
        return [
            number
            for number, sent in enumerate(self.sent)
            if since_ns <= sent < (until_ns or 1 << 63) and number not in self.arrived
        ]

    def runs(self, since_ns: int, count: int) -> bool:
        """Have `count` packets in a row arrived, all sent since then?"""
        row = 0
        for number in range(len(self.sent) - 1, -1, -1):
            if self.sent[number] < since_ns:
                return False
            row = row + 1 if number in self.arrived else 0
            if row == count:
                return True
        return False


class Streams:
    """All streams of a test: between the mobile node and each correspondent, both ways."""

    def __init__(
        self, nodes: Mapping[str, SixNode], addresses: Mapping[str, str], mobile: str,
        period: float = PERIOD,
    ) -> None:  # fmt: skip
        self._period = period
        others = [name for name in addresses if name != mobile]
        pairs = [(a, b) for other in others for a, b in ((mobile, other), (other, mobile))]
        self.all = [Stream(number, a, b) for number, (a, b) in enumerate(pairs)]
        self._addresses = addresses
        self._sockets = {
            name: call_in(nodes[name].pid, _opener(address)) for name, address in addresses.items()
        }
        self._selector = selectors.DefaultSelector()
        for each in self._sockets.values():
            self._selector.register(each, selectors.EVENT_READ)
        self._sending, self._ending = True, False
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._guarded, name="streams", daemon=True)

    def __enter__(self) -> "Streams":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sending, self._ending = False, True
        self._thread.join(10)
        for each in self._sockets.values():
            each.close()
        self._selector.close()

    def between(self, sender: str, receiver: str) -> Stream:
        """Return one stream."""
        return next(s for s in self.all if (s.sender, s.receiver) == (sender, receiver))

    def await_running(
        self, since_ns: int, streams: Iterable[Stream] | None = None, count: int = 20,
        seconds: float = 30.0,
    ) -> None:  # fmt: skip
        """Wait until `count` packets in a row of each stream arrived that were sent since then."""
        chosen = list(self.all if streams is None else streams)
        self._await(
            lambda: all(each.runs(since_ns, count) for each in chosen),
            seconds,
            lambda: (
                "no packets in a row: "
                + ", ".join(each.name for each in chosen if not each.runs(since_ns, count))
            ),
        )

    def finish(self, expected: Iterable[Stream] = (), since_ns: int = 0) -> None:
        """Send no more; wait until what is on its way has arrived, or until nothing comes."""
        with self._changed:
            self._sending = False
        chosen = list(expected or self.all)
        with contextlib.suppress(TimeoutError):
            self._await(lambda: not any(each.lost(since_ns) for each in chosen), 1.0, str)

    def _await(
        self, condition: Callable[[], bool], seconds: float, complaint: Callable[[], str]
    ) -> None:
        with self._changed:
            held = self._changed.wait_for(lambda: self._error is not None or condition(), seconds)
            if self._error is not None:
                raise self._error
            if not held:
                raise TimeoutError(f"after {seconds:.0f} s {complaint()}")

    def _guarded(self) -> None:
        try:
            self._run()
        except Exception as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ending:
            left = due - time.monotonic()
            if left > 0 and (ready := self._selector.select(left)):
                with self._changed:
                    for key, _ in ready:
                        self._receive(key.fileobj)  # type: ignore[arg-type]
                continue
            due = max(due + self._period, time.monotonic() - 10 * self._period)
            with self._changed:
                if self._sending:
                    self._send()
                self._changed.notify_all()

    def _send(self) -> None:
        for each in self.all:
            packet = PACKET.pack(MAGIC, each.number, len(each.sent))
            each.sent.append(time.monotonic_ns())
            # An error here is a packet lost at its first hop: no route, no address just now.
            with contextlib.suppress(OSError):
                target = (self._addresses[each.receiver], PORT)
                self._sockets[each.sender].sendto(packet, target)

    def _receive(self, receiver: socket.socket) -> None:
        while True:
            try:
                packet = receiver.recv(2048)
            except BlockingIOError:
                return
            _, stream, number = PACKET.unpack(packet)
            if number in self.all[stream].arrived:
                self.all[stream].repeated.append(number)
            self.all[stream].arrived.setdefault(number, time.monotonic_ns())


def _opener(address: str) -> Callable[[], socket.socket]:
    def opened() -> socket.socket:
        each = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        each.bind((address, PORT))
        return each

    return opened
