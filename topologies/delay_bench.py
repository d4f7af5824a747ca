"""What a delay line does on this machine: packets a second, TCP, added delay; in about a second.

Two namespaces, one link between them, sockets in both of this one process: what is measured is
the line and the kernel's way to it and from it. Standard library alone; `make doctor` runs it.
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
from typing import Any

from topologies.delay import DelayLine
from topologies.namespaces import call_in
from topologies.netlink import Netlink, open_monitor

INDEX = 900  # of the first interface; far from those of a network in the same sandbox
ADDRESSES = ("fd00::1", "fd00::2")
PORT = 9
TARGET = (ADDRESSES[1], PORT)
SO_TIMESTAMPNS = 35
PACKETS, FLOOD_SECONDS, TCP_SECONDS = 150, 0.1, 0.15
HEADERS = 48  # IPv6 and UDP
PERIOD_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Packets a second by octets of the IPv6 packet, TCP goodput, added delay."""

    packets_s: dict[int, float]
    tcp_mbit_s: float
    added_ms: tuple[float, float]
    """Median and 99th percentile, one way."""


def ends_at(nodes: Sequence[int], names: Sequence[str], index: int) -> Any:
    """Return two ends of a link as DelayLine.add takes them."""
    a, b = ((name, index + n, pid) for n, (name, pid) in enumerate(zip(names, nodes, strict=True)))
    return a, b


@contextlib.contextmanager
def namespaces(count: int = 2) -> Iterator[list[int]]:
    """Yield process ids, each in a network namespace of its own; they end with the block."""
    with contextlib.ExitStack() as stack:
        pids = []
        for _ in range(count):
            held = subprocess.Popen(
                ["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )  # fmt: skip
            stack.callback(held.communicate)  # closes its input
            assert held.stdout is not None
            held.stdout.readline()
            pids.append(held.pid)
        yield pids


def configure(pid: int, interface: str, address: str) -> None:
    """Give an interface an address and set it up."""
    lines = (
        f"addr add {address}/64 dev {interface} nodad\nlink set {interface} up\nlink set lo up\n"
    )
    words = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-6", "-batch", "-"]
    subprocess.run(words, input=lines, text=True, check=True, capture_output=True)


@contextlib.contextmanager
def joined(delay_ms: float, loss: float = 0.0, seed: int = 0) -> Iterator[tuple[DelayLine, Any]]:
    """Yield a delay line with one link, `one` to `two`, and the two process ids at its ends."""
    line = DelayLine(seed)
    with namespaces() as nodes:
        try:
            line.add("one-two", ends_at(nodes, ("one", "two"), INDEX), delay_ms, loss)
            for pid, name, address in zip(nodes, ("one", "two"), ADDRESSES, strict=True):
                configure(pid, name, address)
            await_carrier(nodes[0], "one")
            yield line, nodes
        finally:
            line.stop()


def await_carrier(pid: int, interface: str, seconds: float = 5.0) -> None:
    """Wait until an interface has carrier; raises TimeoutError."""
    monitor, request = open_monitor(pid), Netlink(pid)
    until = time.monotonic() + seconds
    with monitor, contextlib.closing(request):
        while not request.links()[interface].running:
            if not select.select([monitor], [], [], until - time.monotonic())[0]:
                raise TimeoutError(f"{interface} has no carrier after {seconds:.0f} s")
            monitor.recv(1 << 16)


def udp(pid: int, own: str) -> socket.socket:
    """Return a UDP socket in a namespace, with kernel time stamps and room for much."""

    def opened() -> socket.socket:
        made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        made.bind((own, PORT))
        return made

    return call_in(pid, opened)


def one_way(nodes: Sequence[int], count: int, size: int = 100) -> list[float]:
    """Return the one-way delays in ms of UDP packets sent at 1 kHz, by the kernel's arrival times.

    What is lost is not among them.
    """
    with udp(nodes[0], ADDRESSES[0]) as sender, udp(nodes[1], ADDRESSES[1]) as target:
        meet(sender, target)
        deadline, sent = time.monotonic_ns(), []
        padding = bytes(size - HEADERS - 4)
        for n in range(count):
            deadline += PERIOD_NS
            if (pause := deadline - time.monotonic_ns()) > 0:
                time.sleep(pause / 1e9)
            sent.append(time.time_ns())
            sender.sendto(struct.pack("=I", n) + padding, TARGET)
        return list(_delays(target, sent))


def meet(sender: socket.socket, target: socket.socket) -> None:
    """Send one packet and await it: the neighbour is resolved with this one."""
    target.settimeout(5.0)
    sender.sendto(b"", TARGET)
    target.recv(2048)


def _delays(target: socket.socket, sent: list[int]) -> Iterator[float]:
    target.settimeout(0.3)
    while True:
        try:
            data, ancillary, _, _ = target.recvmsg(2048, socket.CMSG_SPACE(16))
        except TimeoutError:
            return
        (number,) = struct.unpack_from("=I", data)
        seconds, rest = struct.unpack("=qq", ancillary[0][2])
        yield (seconds * 10**9 + rest - sent[number]) / 1e6
        if number == len(sent) - 1:
            return


def flood(
    line: DelayLine, nodes: Sequence[int], size: int, seconds: float = FLOOD_SECONDS
) -> float:
    """Return the packets a second that arrive while more are sent; ``size`` in octets with IPv6."""
    with udp(nodes[0], ADDRESSES[0]) as sender, udp(nodes[1], ADDRESSES[1]) as target:
        payload = bytes(size - HEADERS)
        meet(sender, target)
        begin, before = time.monotonic(), line.counters()["one"]["passed"]
        while time.monotonic() < begin + seconds:
            for _ in range(16):
                sender.sendto(payload, TARGET)
        passed = line.counters()["one"]["passed"] - before
        return passed / (time.monotonic() - begin)


def tcp(nodes: Sequence[int], seconds: float = TCP_SECONDS) -> float:
    """Return the goodput of one TCP flow in Mbit/s."""
    listener = call_in(
        nodes[1], lambda: socket.create_server((ADDRESSES[1], PORT), family=socket.AF_INET6)
    )
    sender = call_in(nodes[0], lambda: socket.create_connection((ADDRESSES[1], PORT), timeout=5))
    receiver, _ = listener.accept()
    ending = time.monotonic() + seconds

    def send() -> None:
        chunk = bytes(1 << 17)
        with contextlib.suppress(OSError):
            while time.monotonic() < ending:
                sender.sendall(chunk)
        sender.close()

    thread = threading.Thread(target=send)
    thread.start()
    buffer, octets, begin = bytearray(1 << 18), 0, time.monotonic()
    while (received := receiver.recv_into(buffer)) and time.monotonic() < ending:
        octets += received
    took = time.monotonic() - begin
    receiver.close()
    listener.close()
    thread.join()
    return octets * 8 / took / 1e6


def measure(delay_ms: float = 2.0) -> Ceiling:
    """Measure a line; raises OSError, DelayLineError."""
    with joined(delay_ms) as (line, nodes):
        delays = sorted(one_way(nodes, PACKETS))
        added = [delays[len(delays) * share // 100] - delay_ms for share in (50, 99)]
        packets = {size: flood(line, nodes, size) for size in (100, 1400)}
        return Ceiling(packets, tcp(nodes), (added[0], added[1]))


if __name__ == "__main__":
    print(measure())
