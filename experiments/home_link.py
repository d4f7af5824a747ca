"""Binding Updates and Acknowledgements on a home agent's link, with the kernel's own time stamps.

Both are ESP behind an extension header of RFC 6275 (a Home Address option towards the home agent,
a type 2 routing header from it), which nothing else on that link has: payload is ESP right behind
the IPv6 header. So the header says which is which, and no key is needed.

The kernel begins to stamp packets a while after the first socket asked for it, and gives those
before the time of their reading instead. So open it well before what is to be timed, and `forget`.
"""

from __future__ import annotations

import contextlib
import socket
import struct

from experiments.watch import ETH_P_ALL, PACKET_OUTGOING, attach
from topologies.namespaces import call_in

SO_TIMESTAMPNS = 35
_NEXT_HEADER = 14 + 6  # Ethernet, then RFC 8200 §3
_DESTINATION_OPTIONS, _ROUTING = 60, 43
_EXTENDED = (
    (0x30, 0, 0, _NEXT_HEADER),
    (0x15, 1, 0, _DESTINATION_OPTIONS),
    (0x15, 0, 1, _ROUTING),
    (0x06, 0, 0, 256),
    (0x06, 0, 0, 0),
)
"""Packets with one of the two extension headers, as a classic BPF program."""


class HomeLink:
    """Watches one interface of a home agent from its construction to `close`."""

    def __init__(self, pid: int, interface: str) -> None:
        """Open a packet socket in the namespace of process `pid`; raises `OSError`."""
        self._socket = call_in(
            pid,
            lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)),
        )
        call_in(pid, lambda: self._socket.bind((interface, ETH_P_ALL)))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)
        attach(self._socket, _EXTENDED)
        self.forget()  # what came before the filter stood

    def forget(self) -> None:
        """Drop what has passed so far."""
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(256):
                pass

    def turnaround_ns(self) -> int | None:
        """Return the time from the first Binding Update to the first acknowledgement after it.

        None if no such pair has passed.
        """
        updated: int | None = None
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, address = self._socket.recvmsg(256, 256)
                outgoing = address[2] == PACKET_OUTGOING
                when = _time_ns(ancillary)
                if data[_NEXT_HEADER] == _DESTINATION_OPTIONS and not outgoing and updated is None:
                    updated = when
                elif data[_NEXT_HEADER] == _ROUTING and outgoing and updated is not None:
                    return when - updated
        return None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _time_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Return the kernel's time stamp of a packet (CLOCK_REALTIME, ns)."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("qq", data[:16])
            return int(seconds * 1_000_000_000 + nanoseconds)
    raise OSError("the kernel gave no time stamp")
