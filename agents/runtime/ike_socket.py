"""IKE of a home agent with other home agents: UDP port 500 of its own address."""

import errno
import socket
from ipaddress import IPv6Address

from agents.runtime.sockets import IKE_PORT
from agents.wire import ipv6
from agents.wire.udp import serialize_udp


class IkeSocket:
    """IKE to a home agent's own address. What the kernel strips off is put back.

    IKE to the home agent address does not come here: it is on no interface, and goes into the TUN.
    """

    def __init__(self, address: IPv6Address) -> None:
        """Open it; raises `OSError`, with EADDRINUSE if another IKE daemon has the port."""
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._address = address
        self._socket = socket.socket(socket.AF_INET6, kind)
        try:
            self._socket.bind((str(address), IKE_PORT))
        except OSError as error:
            raise OSError(
                error.errno,
                f"address {address}, UDP port {IKE_PORT}: {error.strerror}; IKE between home "
                "agents needs it",
            ) from error

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
        source = IPv6Address(sender[0].partition("%")[0])
        udp = serialize_udp(source, sender[1], self._address, IKE_PORT, payload)
        return ipv6.build(source, self._address, ipv6.UDP, udp)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
