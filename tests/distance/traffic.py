"""What is sent over the links of tests/distance/lab.py, and what is seen of it."""

import socket
import struct
import threading

from topologies.delay_bench import Pair
from topologies.namespaces import call_in

ETHERTYPE = 0x88B5  # IEEE 802: for experiments
SOL_PACKET, PACKET_AUXDATA = 263, 8
CHECKSUM_NOT_READY = 1 << 3


def sniffer(pid: int, interface: str, ethertype: int) -> socket.socket:
    def opened() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
        made.bind((interface, ethertype))
        made.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        made.settimeout(5)
        return made

    return call_in(pid, opened)


def checksum_holds(packet: bytes) -> bool:
    """Whether the UDP checksum of an IPv6 packet is right (RFC 8200 §8.1)."""
    payload = packet[40:]
    text = packet[8:40] + len(payload).to_bytes(4, "big") + b"\0\0\0\x11" + payload
    total = sum(struct.unpack(f"!{(len(text) + 1) // 2}H", text + bytes(len(text) % 2)))
    return total % 0xFFFF == 0


def routing_protocol(frame: bytes) -> str | None:
    """Which routing protocol an IPv6 frame is of."""
    header, ports = frame[20], {int.from_bytes(frame[at : at + 2], "big") for at in (54, 56)}
    if header == 89:
        return "OSPFv3"
    if header == 17 and 3784 in ports:
        return "BFD"
    return "BGP" if header == 6 and 179 in ports else None


class Load:
    """UDP between pairs from threads, until ended; `mbit` for each pair."""

    def __init__(self, pairs: list[Pair], size: int, mbit: float) -> None:
        self._ending = threading.Event()
        self._pause = size * 8 / (mbit * 1e6)
        self._threads = [threading.Thread(target=self._send, args=(p, size)) for p in pairs]
        for thread in self._threads:
            thread.start()

    def _send(self, pair: Pair, size: int) -> None:
        payload = bytes(size - 48)
        with pair.source.udp() as sender:
            while not self._ending.wait(4 * self._pause):
                for _ in range(4):
                    pair.send(sender, payload)

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()
