"""The attacker: a station on the visited link that hears the mobile node, and speaks when it likes.

It holds no key. It records ESP packets in both directions as any radio would, makes copies of them
with scapy, altered where ESP authenticates nothing (in front of the SPI) or where it does, and
sends them from its own port on the access router's bridge. It lives in the sandbox's namespaces and
sends at most `MOST_INJECTED` packets in its life.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from agents.wire.destination_options import ORIGIN_IP
from topologies.namespaces import call_in
from topologies.nodes import SixNode

ETH_P_ALL = 3
ETHERNET = 14
IPV6, ESP, DESTINATION_OPTIONS = b"\x86\xdd", 50, 60
MOST_INJECTED = 20_000
PACKET_OUTGOING = 4
SOL_PACKET, PACKET_STATISTICS = 263, 6
_HEADER = 40
_ORIGIN_TYPE = _HEADER + 6  # where the one option stands in front of a tunnel packet
_RECEIVE_BUFFER = 4 << 20


@dataclass(frozen=True, slots=True)
class Heard:
    """One ESP tunnel packet on the link: the frame, and whether it goes to the mobile node."""

    frame: bytes
    down: bool
    esp: int
    """Where the SPI stands in `octets`."""

    @property
    def octets(self) -> bytes:
        """The IPv6 packet."""
        return self.frame[ETHERNET:]

    @property
    def spi(self) -> int:
        """The SPI."""
        return int.from_bytes(self.octets[self.esp : self.esp + 4])

    @property
    def number(self) -> int:
        """The sequence number."""
        return int.from_bytes(self.octets[self.esp + 4 : self.esp + 8])

    @property
    def origin(self) -> IPv6Address | None:
        """What ORIGIN_IP holds."""
        if self.esp == _HEADER:
            return None
        return IPv6Address(self.octets[_ORIGIN_TYPE + 2 : _ORIGIN_TYPE + 18])

    def iv(self, length: int) -> bytes:
        """Return the IV: 8 octets for AES-GCM, 16 for AES-CBC."""
        return self.octets[self.esp + 8 : self.esp + 8 + length]


def hear(frame: bytes, down: bool) -> Heard | None:
    """Return the tunnel packet in a frame, None for anything else (signalling, neighbours …).

    A tunnel packet is ESP at once, or behind one Destination Options header with ORIGIN_IP.
    """
    packet = frame[ETHERNET:]
    if frame[12:ETHERNET] != IPV6 or len(packet) < _HEADER + 24:
        return None
    if packet[6] == ESP:
        return Heard(frame, down, _HEADER)
    if packet[6] != DESTINATION_OPTIONS or packet[_HEADER] != ESP:
        return None
    after = _HEADER + 8 * (packet[_HEADER + 1] + 1)
    if packet[_ORIGIN_TYPE] != ORIGIN_IP or len(packet) < after + 8:
        return None
    return Heard(frame, down, after)


def relabelled(heard: Heard, origin: IPv6Address, sid: bytes = b"") -> bytes:
    """Return a copy that says it comes from `origin`; `sid` overwrites the IV's first octets.

    The same origin and no SID give the packet as it was.
    """
    load_scapy()
    from scapy.layers.inet6 import HBHOptUnknown, IPv6, IPv6ExtHdrDestOpt, PadN
    from scapy.packet import Raw

    was: Any = IPv6(heard.octets)
    esp = bytearray(heard.octets[heard.esp : _HEADER + was.plen])
    esp[8 : 8 + len(sid)] = sid
    label = HBHOptUnknown(otype=ORIGIN_IP, optlen=len(origin.packed), optdata=origin.packed)
    options = IPv6ExtHdrDestOpt(nh=ESP, autopad=0, options=[PadN(optdata=bytes(2)), label])
    header = IPv6(src=was.src, dst=was.dst, hlim=was.hlim, nh=DESTINATION_OPTIONS)
    return bytes(header / options / Raw(bytes(esp)))


def framed(packet: bytes, destination: bytes, source: bytes) -> bytes:
    """Return the Ethernet frame around a packet; MAC addresses have 6 octets."""
    load_scapy()
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw

    header: Any = Ether(dst=destination.hex(":"), src=source.hex(":"), type=0x86DD)
    return bytes(header / Raw(packet))


@functools.cache
def load_scapy() -> None:
    """Import scapy (0.8 s, so only when it is needed) without its files in the user's home."""
    names = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, os.path.join(os.devnull, "scapy")))  # cannot be made
    try:
        importlib.import_module("scapy.layers.inet6")
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Attacker:
    """Hears one port of the visited link and speaks at another; `recording` says when it notes."""

    def __init__(self, node: SixNode, mobile_port: str, own_port: str) -> None:
        """Open both ports in the access router's namespace; raises OSError."""
        self._ear = call_in(node.pid, lambda: open_port(mobile_port))
        self._mouth = call_in(node.pid, lambda: open_port(own_port, listen=False))
        self._own = self._mouth.getsockname()[4]
        self.recording = False
        self.heard: list[Heard] = []
        self.injected = 0

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._ear.fileno()

    def read(self) -> None:
        """Take in what waits; it is forgotten unless it is to be recorded."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, (_, _, kind, *_) = self._ear.recvfrom(2048)
                if self.recording:
                    packet = hear(frame, down=kind == PACKET_OUTGOING)
                    if packet is not None:
                        self.heard.append(packet)

    def missed(self) -> int:
        """Return how many packets the kernel had no room for since this was asked last."""
        statistics = self._ear.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return int(struct.unpack("=II", statistics)[1])

    def frame(self, packet: bytes, like: Heard) -> bytes:
        """Return the frame that brings a packet to the station that `like` went to."""
        return framed(packet, like.frame[:6], self._own)

    def inject(self, frame: bytes) -> None:
        """Send a frame; RuntimeError beyond the limit."""
        self.injected += 1
        if self.injected > MOST_INJECTED:
            raise RuntimeError(f"the attacker was to send more than {MOST_INJECTED} packets")
        self._mouth.send(frame)

    def close(self) -> None:
        """Close both ports."""
        self._ear.close()
        self._mouth.close()


def open_port(interface: str, *, listen: bool = True) -> socket.socket:
    """Open a port that sees everything on an interface of this namespace, or only speaks there."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    opened.bind((interface, ETH_P_ALL if listen else 0))
    return opened
