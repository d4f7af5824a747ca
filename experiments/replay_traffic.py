"""Traffic that is counted to the packet: numbered datagrams, sent when a schedule says so.

One process holds a socket in every node concerned, so that it alone decides who sends before whom;
between two packets it takes in what has arrived.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Protocol

from topologies.namespaces import call_in
from topologies.nodes import SixNode

PORT = 7100
PACKET = struct.Struct("!8sI")  # this traffic's own mark, sequence number
PADDING = bytes(52)
POLL_S = 0.005
_BUFFER = 1 << 20


class Source(Protocol):
    """Something that is read while packets are sent."""

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        ...

    def read(self) -> None:
        """Take in what waits."""
        ...


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do, `after` seconds from the beginning of its schedule."""

    after: float
    act: Callable[[], None]


def run_schedule(actions: Iterable[Action], sources: Sequence[Source]) -> None:
    """Do everything in its time, in order; read the sources meanwhile."""
    begin = time.monotonic()
    for action in sorted(actions, key=lambda each: each.after):
        while (left := begin + action.after - time.monotonic()) > 0:
            read_some(sources, left)
        action.act()


def read_some(sources: Sequence[Source], timeout: float) -> None:
    """Wait up to `timeout` seconds for something to read, and read it."""
    for source in select.select(sources, (), (), timeout)[0]:
        source.read()


def read_until(condition: Callable[[], bool], sources: Sequence[Source], seconds: float) -> bool:
    """Wait until a condition holds, and read what arrives; False after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        read_some(sources, POLL_S)
    return True


def times(rate: float, count: int, chance: random.Random | None = None) -> list[float]:
    """Return when to send `count` packets at `rate` a second; `chance` draws the first one's."""
    first = chance.random() / rate if chance is not None else 0.0
    return [first + number / rate for number in range(count)]


class End:
    """One node's socket: sends numbered datagrams to one peer, notes what arrives."""

    def __init__(
        self, node: SixNode, own: IPv6Address, peer: IPv6Address, *, only_peer: bool = False
    ) -> None:
        """Open it in the node's namespace; raises OSError. `only_peer`: take from nobody else."""
        self._mark = secrets.token_bytes(8)
        self._peer = (str(peer), PORT)
        self.sent = 0
        self.refused = 0
        self.arrived: Counter[tuple[bytes, int]] = Counter()
        self._socket = call_in(node.pid, lambda: _open(str(own)))
        if only_peer:
            self._socket.connect(self._peer)

    @property
    def mark(self) -> bytes:
        """What its packets begin with."""
        return self._mark

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def send(self) -> None:
        """Send the next datagram; one that the kernel refuses counts as sent, and as lost."""
        self.sent += 1
        try:
            self._socket.sendto(PACKET.pack(self._mark, self.sent) + PADDING, self._peer)
        except OSError:
            self.refused += 1

    def read(self) -> None:
        """Note what has arrived."""
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    packet = self._socket.recv(2048)
                except BlockingIOError:
                    raise
                except OSError:
                    continue  # an ICMPv6 error about an earlier packet
                if len(packet) == PACKET.size + len(PADDING):
                    self.arrived[PACKET.unpack_from(packet)] += 1

    def total(self) -> int:
        """Return how many datagrams have arrived, repetitions counted."""
        return sum(self.arrived.values())

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def _open(own: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    opened.bind((own, PORT))
    opened.setblocking(False)
    return opened


class Traffic:
    """The mobile node and its correspondents, each with a socket; closes them as a context."""

    def __init__(
        self,
        nodes: Mapping[str, SixNode],
        addresses: Mapping[str, IPv6Address],
        mobile: str,
        correspondents: Sequence[str],
        *,
        only_peer: bool = False,
    ) -> None:
        """`addresses`: where each node is reached. The MN sends to the first correspondent.

        `only_peer`: the correspondents take nothing but what comes from the mobile node's address.
        """
        self.mobile = End(nodes[mobile], addresses[mobile], addresses[correspondents[0]])
        self.correspondents = {
            name: End(nodes[name], addresses[name], addresses[mobile], only_peer=only_peer)
            for name in correspondents
        }
        self.first = self.correspondents[correspondents[0]]

    def __enter__(self) -> Traffic:
        return self

    def __exit__(self, *_: object) -> None:
        for end in self.ends():
            end.close()

    def ends(self) -> list[End]:
        """Return all sockets."""
        return [self.mobile, *self.correspondents.values()]

    def delivered(self, correspondent: str) -> int:
        """Return how many different packets of a correspondent the mobile node has."""
        return _distinct(self.mobile, self.correspondents[correspondent])

    def delivered_up(self) -> int:
        """Return how many different packets of the mobile node its correspondent has."""
        return _distinct(self.first, self.mobile)


def _distinct(receiver: End, sender: End) -> int:
    return sum(mark == sender.mark for mark, _ in receiver.arrived)
