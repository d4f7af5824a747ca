"""Our end of the data path: ESP in UDP (RFC 3948) with the keys that the engine hands over."""

import struct
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address

from agents.core.ike.child_sa import ChildSa
from agents.wire import checksum, ipv6
from agents.wire.esp import Cipher, make_cipher, peek
from tests.strongswan.network import INNER_OURS

ICMPV6, IPV6_IN = 58, 41
ECHO_REQUEST, ECHO_REPLY = 128, 129


class Tunnel:
    """Every Child SA that was agreed on; echo requests are answered on the one they came on."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._inbound: dict[int, tuple[ChildSa, Cipher]] = {}
        self._sequence: Counter[int] = Counter()
        self.unknown = 0
        self.received: list[tuple[int, bytes]] = []
        """(our inbound SPI, inner packet) of each authentic ESP packet."""

    def add(self, child: ChildSa) -> None:
        """Take a Child SA into use."""
        cipher = make_cipher(child.transform, child.inbound_key)
        self._inbound[child.inbound_spi] = (child, cipher)

    def receive(self, packet: bytes) -> None:
        """Take one ESP packet; raises `WireError` for one that is not authentic."""
        spi, _, _ = peek(packet)
        if spi not in self._inbound:
            self.unknown += 1
            return
        child, cipher = self._inbound[spi]
        inner, next_header = cipher.open(packet)
        assert next_header == IPV6_IN
        self.received.append((spi, inner))
        if inner[6] == ICMPV6 and inner[40] == ECHO_REQUEST:
            self.send(child, echo(ECHO_REPLY, IPv6Address(inner[8:24]), inner[44:]))

    def send(self, child: ChildSa, inner: bytes) -> None:
        """Send one inner packet on a Child SA."""
        self._sequence[child.outbound_spi] += 1
        number = self._sequence[child.outbound_spi]
        cipher = make_cipher(child.transform, child.outbound_key)
        iv = number.to_bytes(child.transform.iv_length)
        self._send(cipher.seal(child.outbound_spi, number, iv, inner, IPV6_IN))

    def replies(self, child: ChildSa) -> list[bytes]:
        """Return identifier, sequence number and data of the echo replies on a Child SA."""
        return [
            inner[44:]
            for spi, inner in self.received
            if spi == child.inbound_spi and inner[6] == ICMPV6 and inner[40] == ECHO_REPLY
        ]


def echo(kind: int, destination: IPv6Address, rest: bytes) -> bytes:
    """Return an inner ICMPv6 echo from INNER_OURS (RFC 4443 §4)."""
    blank = struct.pack("!BBH", kind, 0, 0) + rest
    total = checksum.pseudo_header_checksum(INNER_OURS, destination, ICMPV6, blank)
    message = struct.pack("!BBH", kind, 0, total) + rest
    return ipv6.build(INNER_OURS, destination, ICMPV6, message)
