"""One end of the probe streams: sends UDP packets at 1 kHz, or `--rate`; records what arrives.

`python -m experiments.probe --name mn --records DIR --bind ADDRESS --port 7000 --send 1:ADDR:PORT`

Starts in a node, prints `ready`, and obeys lines on its standard input: `wait TOKEN FLOW AFTER
COUNT` (answered by `reached TOKEN TIME` once COUNT consecutive packets of FLOW have arrived that
were sent at AFTER ns or later) and `drain` (send no more). The end of its input ends it: it writes
its records (see `experiments/streams.py`). Standard library only: it shall start quickly and leave
the CPU to what it measures.
"""

from __future__ import annotations

import argparse
import gc
import os
import select
import socket
import struct
import sys
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path

from topologies.scheduling import hurry

PERIOD_NS = 1_000_000
PACKET = struct.Struct("!IHHQ")  # sequence, flow, zero, send time (CLOCK_MONOTONIC, ns)
PADDING = bytes(48)
RECORD = struct.Struct("<HHIQQ")  # flow, zero, sequence, send time, arrival time
BACKLOG_NS = 100_000_000
"""A sender further behind than this does not catch up. Its trial is void anyway."""


@dataclass(slots=True)
class Wait:
    """A question of the runner: since when does this flow run again."""

    token: str
    flow: int
    after_ns: int
    count: int
    seen: int = 0
    last: int = -2

    def take(self, sequence: int, sent_ns: int) -> bool:
        """Count one arrival; True once there are enough consecutive ones."""
        if sent_ns < self.after_ns:
            return False
        self.seen = self.seen + 1 if sequence == self.last + 1 else 1
        self.last = sequence
        return self.seen >= self.count


@dataclass(slots=True)
class Flow:
    """An outgoing stream: where to, and the send time of each sequence number."""

    number: int
    destination: tuple[str, int]
    sent: array[int] = field(default_factory=lambda: array("Q"))


class Probe:
    """Sends all outgoing flows at each tick and records every arrival."""

    def __init__(
        self, bind: tuple[str, int], flows: list[Flow], period_ns: int = PERIOD_NS
    ) -> None:
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(bind)
        self.socket.setblocking(False)
        self.flows, self._period_ns = flows, period_ns
        self.received = bytearray()
        self._waits: list[Wait] = []
        self._commands = b""
        self.drained: list[Flow] = []
        self._running = True

    def run(self) -> None:
        """Send and record until told to stop; deadlines are absolute, so pace does not drift."""
        data, commands = sources = self.socket.fileno(), 0
        period = self._period_ns
        deadline = time.monotonic_ns() + period
        print("ready", flush=True)
        while self._running:
            now = time.monotonic_ns()
            if now >= deadline:
                self._send()
                late = now - deadline
                deadline += period if late < BACKLOG_NS else late
                continue
            # select, not poll: its timeout has microseconds.
            readable, _, _ = select.select(sources, (), (), (deadline - now) / 1e9)
            if data in readable:
                self._receive()
            if commands in readable:
                self._obey()

    def _send(self) -> None:
        for flow in self.flows:
            sequence = len(flow.sent)
            now = time.monotonic_ns()
            flow.sent.append(now)
            try:
                self.socket.sendto(
                    PACKET.pack(sequence, flow.number, 0, now) + PADDING, flow.destination
                )
            except OSError:
                continue  # no route or no buffer: a packet that was lost at its first hop

    def _receive(self) -> None:
        while True:
            try:
                packet = self.socket.recv(2048)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMPv6 error that waited on the socket
            now = time.monotonic_ns()
            if len(packet) != PACKET.size + len(PADDING):
                continue
            sequence, flow, _, sent = PACKET.unpack_from(packet)
            self.received += RECORD.pack(flow, 0, sequence, sent, now)
            if self._waits:
                self._answer(flow, sequence, sent, now)

    def _answer(self, flow: int, sequence: int, sent: int, now: int) -> None:
        for wait in [wait for wait in self._waits if wait.flow == flow]:
            if wait.take(sequence, sent):
                self._waits.remove(wait)
                print("reached", wait.token, now, flush=True)

    def _obey(self) -> None:
        data = os.read(0, 4096)
        self._running = bool(data)
        *lines, self._commands = (self._commands + data).split(b"\n")
        for line in lines:
            verb, *words = line.decode().split()
            if verb == "wait":
                token, *numbers = words
                self._waits.append(Wait(token, *map(int, numbers)))
            elif verb == "drain":
                self.flows, self.drained = [], self.flows

    def write(self, records: Path, name: str) -> None:
        """Write `<name>.received` and `<name>.<flow>.sent`."""
        (records / f"{name}.received").write_bytes(self.received)
        for flow in (*self.flows, *self.drained):
            (records / f"{name}.{flow.number}.sent").write_bytes(flow.sent.tobytes())


def _flow(text: str) -> Flow:
    number, rest = text.split(":", 1)
    address, port = rest.rsplit(":", 1)
    return Flow(int(number), (address, int(port)))


def main() -> int:
    """Run one probe."""
    parser = argparse.ArgumentParser(description="one end of the probe streams")
    parser.add_argument("--name", required=True)
    parser.add_argument("--records", required=True, type=Path)
    parser.add_argument("--bind", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--send", action="append", default=[], type=_flow)
    parser.add_argument("--rate", type=int, default=1000, help="packets a second of each flow")
    options = parser.parse_args()
    probe = Probe((options.bind, options.port), options.send, 1_000_000_000 // options.rate)
    gc.disable()  # nothing here is cyclic, and a collection is a pause
    hurry()
    try:
        probe.run()
    except KeyboardInterrupt:
        pass
    finally:
        probe.write(options.records, options.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
