"""Trace the way of real packets: UDP with growing hop limits, and who says Time Exceeded.

It works towards an anycast address too: a home agent is a router that forwards into its TUN, so
the packet that dies there is answered by the home agent itself, from its own address (RFC 4443
§3.3), and never comes to the agent. No tool and no privilege is needed: the kernel hands the errors
over on the socket's error queue (IPV6_RECVERR).
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address

from topologies.namespaces import call_in

IPV6_RECVERR = 25
SO_EE_ORIGIN_ICMP6 = 3
TIME_EXCEEDED = 3
PORT = 33434  # traceroute's
MAX_HOPS = 20
ATTEMPTS = 4
"""Kernels send so and so many ICMPv6 errors a second: a hop that is silent is asked again."""
TIMEOUT = 0.5
_ERROR = struct.Struct("=IBBBxII")  # struct sock_extended_err, then the offender's address
_OFFENDER = slice(_ERROR.size + 8, _ERROR.size + 24)


class TraceError(Exception):
    """A hop does not answer, or nothing can be sent; the message says where."""


@dataclass(frozen=True, slots=True)
class TracedHop:
    """Who answered to a hop limit, and after how long."""

    address: IPv6Address
    round_trip_ns: int


class Tracer:
    """Traces from one node. ``source`` is the address to send from."""

    def __init__(self, pid: int, source: IPv6Address, destination: IPv6Address) -> None:
        self._socket = call_in(pid, lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        self._socket.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        self._socket.setblocking(False)
        self._socket.bind((str(source), 0))
        self._socket.connect((str(destination), PORT))
        self.destination = destination

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> Tracer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hops(self, is_end: Callable[[IPv6Address], bool]) -> list[TracedHop]:
        """Return the hops up to the first whose address ``is_end``. Raises TraceError."""
        found: list[TracedHop] = []
        while not found or not is_end(found[-1].address):
            if len(found) == MAX_HOPS:
                raise TraceError(f"{self.destination} is not reached in {MAX_HOPS} hops")
            hop = self.probe(len(found) + 1)
            if hop is None:
                last = found[-1].address if found else "the first router"
                raise TraceError(f"no answer behind {last} on the way to {self.destination}")
            found.append(hop)
        return found

    def probe(self, hop_limit: int) -> TracedHop | None:
        """Let a packet die after so many hops; return who says so, None if nobody ever does.

        Raises TraceError where this node has no way.
        """
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hop_limit)
        for _ in range(ATTEMPTS):
            if (hop := self._ask()) is not None:
                return hop
        return None

    def _ask(self) -> TracedHop | None:
        poll = select.poll()
        poll.register(self._socket, select.POLLERR)
        begin = time.monotonic_ns()
        self._send()
        until = begin + round(TIMEOUT * 1e9)
        while (left := until - time.monotonic_ns()) > 0:
            if poll.poll(left / 1e6):
                now = time.monotonic_ns()
                if (offender := self._offender()) is not None:
                    return TracedHop(offender, now - begin)
        return None

    def _send(self) -> None:
        """Send one datagram; a late error of an earlier one may be told instead, once."""
        for last in (False, True):
            try:
                self._socket.send(b"manyhomes")
                return
            except OSError as error:
                if last:
                    raise TraceError(f"no way to {self.destination}: {error.strerror}") from error
                while self._offender() is not None:
                    pass

    def _offender(self) -> IPv6Address | None:
        """Take one error from the queue; return who sent it if it is Time Exceeded."""
        try:
            _, ancillary, _, _ = self._socket.recvmsg(0, 512, socket.MSG_ERRQUEUE)
        except BlockingIOError:
            return None
        for level, kind, data in ancillary:
            if (level, kind) == (socket.IPPROTO_IPV6, IPV6_RECVERR):
                _, origin, icmp_type, _, _, _ = _ERROR.unpack_from(data)
                if (origin, icmp_type) == (SO_EE_ORIGIN_ICMP6, TIME_EXCEEDED):
                    return IPv6Address(data[_OFFENDER])
        return None
