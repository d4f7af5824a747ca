"""A few datagrams from one node to another, one after the other, each awaited.

What they pass on the way can be counted exactly while nothing else runs, and each tells its one-way
delay: all nodes share one clock.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from ipaddress import IPv6Address

from experiments.probe import PACKET, PADDING
from topologies.namespaces import call_in

PORT = 7100
TIMEOUT, ATTEMPTS = 1.0, 4
"""A busy agent may drop a packet; what is asked is by whom packets come."""


class KnockError(RuntimeError):
    """Nothing arrives."""


class Knocker:
    """Sockets in two nodes, bound to the addresses between which the datagrams go."""

    def __init__(self, pid: int, address: IPv6Address, other_pid: int, other: IPv6Address) -> None:
        """Raise OSError when an address is not its node's."""
        self._from, self._to = _open(pid, address), _open(other_pid, other)
        self._target = (str(other), PORT)

    def __enter__(self) -> Knocker:
        return self

    def __exit__(self, *_: object) -> None:
        self._from.close()
        self._to.close()

    def delays_ns(self, count: int) -> Sequence[int]:
        """Get so many across, each after the one before; return their one-way delays.

        Raises KnockError when one does not arrive however often it is sent, OSError for no route.
        """
        return [self._one(sequence) for sequence in range(count)]

    def _one(self, sequence: int) -> int:
        for _ in range(ATTEMPTS):
            delay = self._try(sequence)
            if delay is not None:
                return delay
        raise KnockError(f"no datagram arrived at {self._target[0]} in {ATTEMPTS} attempts")

    def _try(self, sequence: int) -> int | None:
        sent = time.monotonic_ns()
        packet = PACKET.pack(sequence, 0, 0, sent) + PADDING
        self._from.sendto(packet, self._target)
        until = time.monotonic() + TIMEOUT
        while (left := until - time.monotonic()) > 0:
            if select.select((self._to,), (), (), left)[0]:
                arrived = time.monotonic_ns()
                if self._to.recv(2048) == packet:
                    return arrived - sent
        return None


def _open(pid: int, address: IPv6Address) -> socket.socket:
    opened = call_in(pid, lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    try:
        opened.bind((str(address), PORT))
    except OSError:
        opened.close()
        raise
    return opened
