"""The sockets around the tunnel: inbound ESP of a mobile node and of a home agent, outbound.

A mobile node could take ESP from a raw protocol-50 socket with IPV6_RECVDSTOPTS, but it needs a
packet socket for type 2 routing headers anyway (its kernel would answer them with an error). One
packet socket for both gives whole packets in one queue, so a Binding Acknowledgement and the
payload behind it stay in order, and the engine sees the same octets that a capture shows.
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Final

_ETH_P_IPV6: Final = 0x86DD
_SO_ATTACH_FILTER: Final = 26
_SOL_PACKET: Final = 263
_PACKET_IGNORE_OUTGOING: Final = 23
_RECEIVE_BUFFER: Final = 8 << 20
_SO_RCVBUFFORCE: Final = 33

_ESP: Final = 50
_ECHO_REPLY: Final = 129
_ICMPV6_FILTER: Final = 1
_IPV6_PACKET: Final = struct.Struct("!IHBB16s16s")

INBOUND_NEXT_HEADERS: Final = (43, 50, 60, 135)
"""Routing, ESP, Destination Options, Mobility Header: what the agent reads and the stack must not
see, since a kernel without Mobile IPv6 answers each of them with an ICMPv6 error."""


IKE_PORT: Final = 500
"""UDP to this port is IKE (RFC 7296 §2), which the mobile node's engine answers itself."""


_UNREACHABLE: Final = 1
"""The type of ICMPv6 Destination Unreachable: a hint to who has another home (rule 14)."""

_LOAD_BYTE: Final = 0x30
_LOAD_HALF: Final = 0x28
_JUMP_EQUAL: Final = 0x15
_RETURN: Final = 0x06


def _inbound_filter(errors: bool = False) -> list[tuple[int, int, int, int]]:
    """Return classic BPF: packets to this host whose first next header is one of ours, and IKE.

    With `errors` also Destination Unreachable. The stack sees these two kinds as well.
    """
    packet_type = 0xFFFFF000 + 4  # SKF_AD_OFF + SKF_AD_PKTTYPE
    following = "", ""  # no jump: the next instruction
    program: list[tuple[int, tuple[str, str], int]] = [
        (_LOAD_HALF, following, packet_type),
        (_JUMP_EQUAL, ("", "none"), 0),  # PACKET_HOST
        (_LOAD_BYTE, following, 6),  # the next header
        *((_JUMP_EQUAL, ("all", ""), number) for number in INBOUND_NEXT_HEADERS),
        (_JUMP_EQUAL, ("", "error"), socket.IPPROTO_UDP),
        (_LOAD_HALF, following, 42),  # the UDP destination port
        (_JUMP_EQUAL, ("all", "none"), IKE_PORT),
    ]
    places = {"error": len(program)}
    if errors:
        program += [
            (_JUMP_EQUAL, ("", "none"), socket.IPPROTO_ICMPV6),
            (_LOAD_BYTE, following, 40),  # the ICMPv6 type
            (_JUMP_EQUAL, ("all", "none"), _UNREACHABLE),
        ]
    places |= {"none": len(program), "all": len(program) + 1}
    program += [(_RETURN, following, 0), (_RETURN, following, 0x40000)]

    def jump(target: str, at: int) -> int:
        return places[target] - at - 1 if target else 0

    return [
        (code, jump(targets[0], at), jump(targets[1], at), operand)
        for at, (code, targets, operand) in enumerate(program)
    ]


class InboundSocket:
    """Whole IPv6 packets of the tunnel that arrive on one interface of a mobile node."""

    def __init__(self, interface: str, errors: bool = False) -> None:
        """Open it; with `errors` it reads Destination Unreachable too. Raises `OSError`."""
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_PACKET, kind, 0)
        program = b"".join(struct.pack("=HBBI", *each) for each in _inbound_filter(errors))
        buffer = ctypes.create_string_buffer(program)
        self._socket.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("HL", len(program) // 8, ctypes.addressof(buffer)),
        )
        self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        _enlarge(self._socket)
        self._socket.bind((interface, _ETH_P_IPV6))

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def read(self) -> bytes | None:
        """Return one packet, None when there is none."""
        try:
            return self._socket.recv(65535)
        except OSError:
            # Nothing there; or, told once, the interface went down: packets come again after it.
            return None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class PeerSocket:
    """ESP to a home agent's own address: from peers, and, by a map, from mobile nodes.

    The kernel strips the IPv6 header; it is put back. An open raw socket also keeps the kernel from
    answering ESP with Parameter Problem.
    """

    def __init__(self, address: IPv6Address, protocol: int = _ESP) -> None:
        """Open it; raises `OSError`, with EADDRNOTAVAIL if the host lacks `address`."""
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._address = address.packed
        self._protocol = protocol
        self._socket = socket.socket(socket.AF_INET6, kind, protocol)
        _enlarge(self._socket)
        try:
            self._socket.bind((str(address), 0))
        except OSError as error:
            raise OSError(
                error.errno,
                f"address {address}: {error.strerror}; give it to an interface of this node first",
            ) from error
        self._sources: dict[str, bytes] = {}

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def read(self) -> bytes | None:
        """Return one packet as it was on the wire, but for its hop limit; None for nothing."""
        try:
            payload, sender = self._socket.recvfrom(65535)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR):
                return None
            return b""  # an ICMPv6 error about an earlier packet: nothing to read, go on
        source = self._sources.get(sender[0])
        if source is None:
            if len(self._sources) >= 256:  # senders are whoever likes to send
                self._sources.clear()
            source = IPv6Address(sender[0]).packed
            self._sources[sender[0]] = source
        header = _IPV6_PACKET.pack(6 << 28, len(payload), self._protocol, 64, source, self._address)
        return header + payload

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class EchoSocket(PeerSocket):
    """ICMPv6 Echo Replies to a home agent's own address; the kernel has checked their checksum."""

    def __init__(self, address: IPv6Address) -> None:
        """Open it; raises `OSError`."""
        super().__init__(address, socket.IPPROTO_ICMPV6)
        # RFC 3542 §3.2: one bit for each type; those that are set stay out.
        passed = bytearray(b"\xff" * 32)
        struct.pack_into("=L", passed, _ECHO_REPLY // 32 * 4, 0xFFFFFFFF ^ 1 << _ECHO_REPLY % 32)
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, passed)


class OutboundSocket:
    """Sends whole IPv6 packets whose headers are already there, routed by an optional mark."""

    def __init__(self, mark: int = 0) -> None:
        """Open it; raises `OSError`."""
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_INET6, kind, socket.IPPROTO_RAW)
        if mark:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self._destinations: dict[bytes, tuple[str, int]] = {}
        self.refused = 0
        """Packets that the kernel would not send: no route, too big, no buffer."""

    def send(self, packets: Sequence[bytes]) -> None:
        """Send packets in order; what the kernel refuses is counted and lost, as on any wire."""
        for packet in packets:
            destination = self._destinations.get(packet[24:40])
            if destination is None:
                destination = self._remember(packet[24:40])
            try:
                self._socket.sendto(packet, destination)
            except OSError:
                self.refused += 1

    def _remember(self, packed: bytes) -> tuple[str, int]:
        if len(self._destinations) >= 1024:
            self._destinations.clear()
        destination = (socket.inet_ntop(socket.AF_INET6, packed), 0)
        self._destinations[packed] = destination
        return destination

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _enlarge(opened: socket.socket) -> None:
    """Ask for a receive buffer that outlasts a scheduling pause; take what is granted."""
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except OSError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
