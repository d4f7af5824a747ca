"""Captures of a node's interface: the kernel writes into a ring that this process has mapped.

Nothing has to run while packets pass, so nothing is missed by a busy machine; what did not fit is
counted by the kernel, and told. See packet_mmap(7), TPACKET_V2.
"""

import mmap
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType

from agents.wire import ipv6
from agents.wire.errors import WireError
from topologies.namespaces import call_in
from topologies.nodes import SixNode

ETH_P_ALL, ETH_P_IPV6 = 3, 0x86DD
SOL_PACKET, PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION = 263, 5, 6, 10
TPACKET_V2, TP_STATUS_USER, PACKET_OUTGOING = 1, 1, 4
FRAME, BLOCK = 2048, 1 << 16  # an outer packet has at most 1500 octets
RAW_IP = 101
_HEADER = struct.Struct("=IIIHHII")  # status, length, kept, link header, IP header, s, ns
_PACKET_TYPE = 32 + 10  # in the sockaddr_ll behind the header


@dataclass(frozen=True)
class Captured:
    """One IPv6 packet: when (CLOCK_MONOTONIC, ns), whether it left the node, its octets."""

    time_ns: int
    outgoing: bool
    octets: bytes
    length: int

    @cached_property
    def parsed(self) -> ipv6.Packet | None:
        """The headers, None where they are not well-formed."""
        try:
            return ipv6.parse(self.octets)
        except WireError:
            return None

    @property
    def source(self) -> bytes:
        return self.octets[8:24]

    @property
    def destination(self) -> bytes:
        return self.octets[24:40]

    @property
    def spi(self) -> int | None:
        """The SPI where this is ESP."""
        if self.parsed is None or self.parsed.next_header != ipv6.ESP:
            return None
        return int.from_bytes(self.parsed.payload[:4])

    @property
    def number(self) -> int | None:
        """The ESP sequence number where this is ESP."""
        if self.parsed is None or self.parsed.next_header != ipv6.ESP:
            return None
        return int.from_bytes(self.parsed.payload[4:8])

    @property
    def signalling(self) -> bool:
        """A Binding Update (Home Address option) or an Acknowledgement (type 2 routing header)."""
        packet = self.parsed
        return packet is not None and bool(packet.home_address or packet.routing)

    @property
    def origin(self) -> str | None:
        """The address in ORIGIN_IP."""
        return str(self.parsed.origin) if self.parsed and self.parsed.origin else None


class Capture:
    """What passes one interface, from now on, in both directions."""

    def __init__(self, node: SixNode, interface: str, frames: int = 8192) -> None:
        self._frames = frames
        self._next = 0
        self._found: list[Captured] = []
        self._lost = 0
        self._epoch = time.time_ns() - time.monotonic_ns()
        self._socket = call_in(
            node.pid, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        )
        self._socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
        request = struct.pack("=IIII", BLOCK, frames * FRAME // BLOCK, FRAME, frames)
        self._socket.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
        self._ring = mmap.mmap(self._socket.fileno(), frames * FRAME)
        self._socket.bind((interface, ETH_P_ALL))

    def __enter__(self) -> "Capture":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        self._ring.close()
        self._socket.close()

    def packets(self, since_ns: int = 0) -> list[Captured]:
        """Return the IPv6 packets so far, from a moment on; AssertionError if any was missed."""
        self._drain()
        statistics = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        self._lost += struct.unpack("=II", statistics)[1]
        assert self._lost == 0, f"the capture missed {self._lost} packets"
        return [each for each in self._found if each.time_ns >= since_ns]

    def _drain(self) -> None:
        while True:
            start = self._next * FRAME
            status, length, kept, link, network, seconds, nanoseconds = _HEADER.unpack_from(
                self._ring, start
            )
            if not status & TP_STATUS_USER:
                return
            if int.from_bytes(self._ring[start + network - 2 : start + network]) == ETH_P_IPV6:
                self._found.append(
                    Captured(
                        seconds * 1_000_000_000 + nanoseconds - self._epoch,
                        self._ring[start + _PACKET_TYPE] == PACKET_OUTGOING,
                        self._ring[start + network : start + link + kept],
                        length - (network - link),
                    )
                )
            struct.pack_into("=I", self._ring, start, 0)
            self._next = (self._next + 1) % self._frames


def write_pcap(path: Path, packets: Iterable[Captured]) -> None:
    """Write packets as a pcap file of raw IPv6."""
    octets = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, RAW_IP)
    for each in packets:
        seconds, nanoseconds = divmod(each.time_ns, 1_000_000_000)
        sizes = (len(each.octets), each.length)
        octets += struct.pack("<IIII", seconds, nanoseconds // 1000, *sizes) + each.octets
    path.write_bytes(octets)
