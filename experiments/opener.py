"""New flows, one after another: which source address does each get, and is it answered?

`python -m experiments.opener --target ADDRESS --records FILE` opens a flow every 20 ms: a UDP
socket that is connected without a source address, and one packet. `--echo` instead of a target
answers at the other end. Prints `ready`; the end of its input ends it. A record a flow: see RECORD.
Standard library only, as `experiments.probe`.
"""

from __future__ import annotations

import argparse
import gc
import ipaddress
import selectors
import socket
import struct
import sys
import time
from collections import deque
from pathlib import Path

from topologies.scheduling import hurry

PORT = 7001
PERIOD_NS = 20_000_000
PATIENCE_NS = 1_000_000_000
"""How long a flow waits for its answer."""

RECORD = struct.Struct("<QQ16s")
"""When it began, when it was answered (0: never), CLOCK_MONOTONIC in ns; its source address, zero
where the kernel had none to give."""

NO_SOURCE = bytes(16)


class Flow:
    """One flow, and its record to be."""

    __slots__ = ("answered", "opened", "socket", "source")

    def __init__(self, target: str, now: int) -> None:
        self.opened, self.answered, self.source = now, 0, NO_SOURCE
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self.socket.connect((target, PORT))
            self.source = ipaddress.IPv6Address(self.socket.getsockname()[0]).packed
            self.socket.send(b"new flow")
        except OSError:
            return  # no route, or no buffer: as good as a packet that was lost

    def read(self, now: int) -> None:
        """Take the answer, or the error that stands for none."""
        try:
            if self.socket.recv(64):
                self.answered = now
        except OSError:
            return

    @property
    def record(self) -> bytes:
        """What is written of it."""
        return RECORD.pack(self.opened, self.answered, self.source)


class Opener:
    """Opens flows until its input ends."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._selector = selectors.DefaultSelector()
        self._selector.register(sys.stdin, selectors.EVENT_READ, None)
        self._waiting: deque[Flow] = deque()
        self.records = bytearray()

    def run(self) -> None:
        """Open and read; deadlines are absolute, so the pace does not drift."""
        deadline = time.monotonic_ns()
        print("ready", flush=True)
        open_more = True
        while open_more or self._waiting:
            now = time.monotonic_ns()
            if open_more and now >= deadline:
                self._open(now)
                deadline = max(deadline + PERIOD_NS, now)
            self._end_old(now)
            for key, _ in self._selector.select(max(deadline - now, 1_000_000) / 1e9):
                if key.data is None:
                    open_more = False
                    self._selector.unregister(sys.stdin)
                else:
                    key.data.read(time.monotonic_ns())

    def _open(self, now: int) -> None:
        flow = Flow(self._target, now)
        self._waiting.append(flow)
        self._selector.register(flow.socket, selectors.EVENT_READ, flow)

    def _end_old(self, now: int) -> None:
        while self._waiting and now - self._waiting[0].opened > PATIENCE_NS:
            flow = self._waiting.popleft()
            self._selector.unregister(flow.socket)
            flow.socket.close()
            self.records += flow.record


def echo() -> None:
    """Send every packet back, until the input ends."""
    selector = selectors.DefaultSelector()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as service:
        service.bind(("::", PORT))
        service.setblocking(False)
        selector.register(service, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)
        while all(key.fileobj is service for key, _ in selector.select()):
            try:
                data, sender = service.recvfrom(64)
                service.sendto(data, sender)
            except OSError:
                continue  # an error about an earlier answer


def main() -> int:
    """Run one end."""
    parser = argparse.ArgumentParser(description="new flows, or what answers them")
    parser.add_argument("--echo", action="store_true")
    parser.add_argument("--target")
    parser.add_argument("--records", type=Path)
    options = parser.parse_args()
    gc.disable()
    hurry()
    if options.echo:
        echo()
        return 0
    opener = Opener(options.target)
    opener.run()
    options.records.write_bytes(opener.records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
