"""What a delay line does on this machine: packets a second, TCP, added delay; in under a second.

Two namespaces, one link between them, the sockets at both ends in this one process: what is
measured is the line, and the kernel's way to it and from it. Standard library alone; `make doctor`
runs it.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from topologies.delay import DelayLine
from topologies.namespaces import call_in
from topologies.netlink import Netlink, open_monitor

NAMES, INDEX = ("one", "two"), 900  # its index: far from those of a network in the same sandbox
PORT = 9
SO_TIMESTAMPNS = 35
PACKETS, FLOOD_SECONDS, TCP_SECONDS = 150, 0.1, 0.15
HEADERS = 48  # IPv6 and UDP
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Packets a second by octets of the IPv6 packet, TCP goodput, added one-way delay."""

    packets_s: dict[int, float]
    tcp_mbit_s: float
    median_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Place:
    """A node: the process that holds its network namespace, and its address."""

    pid: int
    address: str

    def udp(self) -> socket.socket:
        """Return a UDP socket with the kernel's arrival times and room for many packets."""

        def opened() -> socket.socket:
            made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            made.bind((self.address, PORT))
            made.settimeout(PATIENCE)
            return made

        return call_in(self.pid, opened)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two places with a way from the first to the second."""

    source: Place
    target: Place

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[socket.socket, socket.socket]]:
        """Yield UDP sockets that have met: neighbours are resolved, whatever loss there is."""
        with self.source.udp() as sender, self.target.udp() as receiver:
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                self.send(sender, b"")
                if select.select([receiver], [], [], 0.2)[0]:
                    receiver.recv(1)
                    yield sender, receiver
                    return
        raise TimeoutError(f"nothing arrives at {self.target.address}")

    def send(self, sender: socket.socket, payload: bytes) -> None:
        """Send one packet."""
        sender.sendto(payload, (self.target.address, PORT))

    def one_way(self, count: int, rate: float = 1000.0, size: int = 100) -> list[float]:
        """Return one-way delays in ms of ``count`` packets at ``rate`` a second, in order.

        From the moment before the system call to the kernel's arrival time, so that this
        process's own pauses are not in it. What is lost is not among them.
        """
        sent: list[int] = []
        padding = bytes(size - HEADERS - 4)
        with self.open() as (sender, receiver):
            begin = time.monotonic_ns()
            for n in range(count):
                pause = begin + n * 1e9 / rate - time.monotonic_ns()
                if pause > 100_000:
                    time.sleep(pause / 1e9)
                sent.append(time.time_ns())
                self.send(sender, struct.pack("=I", n) + padding)
            return list(_delays(receiver, sent))

    def flood(self, size: int, seconds: float) -> int:
        """Send packets of ``size`` octets (with IPv6) as fast as this process can; how many."""
        payload, count = bytes(size - HEADERS), 0
        with self.open() as (sender, _):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                for _ in range(16):
                    self.send(sender, payload)
                count += 16
        return count

    def tcp(self, seconds: float = TCP_SECONDS) -> float:
        """Return the goodput of one TCP flow in Mbit/s."""
        there = (self.target.address, PORT)
        listener = call_in(
            self.target.pid, lambda: socket.create_server(there, family=socket.AF_INET6)
        )
        sender = call_in(self.source.pid, lambda: socket.create_connection(there, PATIENCE))
        receiver, _ = listener.accept()
        ending = time.monotonic() + seconds

        def send() -> None:
            with contextlib.suppress(OSError), sender:
                while time.monotonic() < ending:
                    sender.sendall(bytes(1 << 17))

        thread = threading.Thread(target=send)
        thread.start()
        buffer, octets, begin = bytearray(1 << 18), 0, time.monotonic()
        with listener, receiver:
            while (received := receiver.recv_into(buffer)) and time.monotonic() < ending:
                octets += received
            took = time.monotonic() - begin
        thread.join()
        return octets * 8 / took / 1e6


def _delays(receiver: socket.socket, sent: Sequence[int]) -> Iterator[float]:
    receiver.settimeout(0.3)
    while True:
        try:
            data, ancillary, _, _ = receiver.recvmsg(2048, socket.CMSG_SPACE(16))
        except TimeoutError:
            return
        if not data:  # another of those by which the two met
            continue
        (number,) = struct.unpack_from("=I", data)
        seconds, rest = struct.unpack("=qq", ancillary[0][2])
        yield (seconds * 10**9 + rest - sent[number]) / 1e6
        if number == len(sent) - 1:
            return


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Yield processes, each in a network namespace of its own; they end with the block."""
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(count):
            process = subprocess.Popen(
                ["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )  # fmt: skip
            stack.callback(process.communicate)  # closes its input
            assert process.stdout is not None
            process.stdout.readline()
            held.append(process)
        yield held


def configure(place: Place, interface: str) -> None:
    """Give an interface its address and set it up."""
    lines = [f"addr add {place.address}/64 dev {interface} nodad", f"link set {interface} up"]
    words = ["nsenter", f"--net=/proc/{place.pid}/ns/net", "ip", "-6", "-batch", "-"]
    subprocess.run(words, input="\n".join([*lines, ""]).encode(), check=True, capture_output=True)


def await_link(
    pid: int, interface: str, *, running: bool | None, seconds: float = PATIENCE
) -> None:
    """Wait until an interface has carrier, or has none, or (None) is gone; raises TimeoutError."""
    monitor, request = open_monitor(pid), Netlink(pid)
    until = time.monotonic() + seconds
    with monitor, contextlib.closing(request):
        while True:
            link = request.links().get(interface)
            if (link.running if link else None) is running:
                return
            left = until - time.monotonic()
            if left <= 0 or not select.select([monitor], [], [], left)[0]:
                raise TimeoutError(f"{interface} is {link} after {seconds:.0f} s")
            monitor.recv(1 << 16)


@contextlib.contextmanager
def joined(delay_ms: float, loss: float = 0.0) -> Iterator[tuple[DelayLine, Pair]]:
    """Yield a delay line with one link, `one` to `two`, and the places at its ends."""
    line = DelayLine()
    with namespaces(2) as held:
        try:
            one, two = (Place(p.pid, f"fd00::{n}") for n, p in enumerate(held, start=1))
            ends = ((NAMES[0], INDEX, one.pid), (NAMES[1], INDEX + 1, two.pid))
            line.add("one-two", ends, delay_ms, loss)
            for place, name in zip((one, two), NAMES, strict=True):
                configure(place, name)
            await_link(one.pid, NAMES[0], running=True)
            yield line, Pair(one, two)
        finally:
            line.stop()


def packets_per_second(line: DelayLine, pair: Pair, size: int) -> float:
    """Return how many packets of ``size`` octets pass a second while more are sent."""
    before, begin = line.counters()[NAMES[0]]["passed"], time.monotonic()
    pair.flood(size, FLOOD_SECONDS)
    passed = line.counters()[NAMES[0]]["passed"] - before
    return passed / (time.monotonic() - begin)


def measure(delay_ms: float = 2.0) -> Ceiling:
    """Measure a line of this machine. Raises OSError, DelayLineError, CalledProcessError."""
    with joined(delay_ms) as (line, pair):
        delays = sorted(pair.one_way(PACKETS))
        median, high = (delays[len(delays) * share // 100] - delay_ms for share in (50, 99))
        packets = {size: packets_per_second(line, pair, size) for size in (100, 1400)}
        return Ceiling(packets, pair.tcp(), median, high)


if __name__ == "__main__":
    print(measure())
