"""Just enough rtnetlink: take links down and up, dump and watch the IPv6 routes of a node.

Written on plain sockets because the moment matters: a request here is one system call, and a
route change is time-stamped as soon as the kernel tells of it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from topologies.namespaces import call_in

NETLINK_ROUTE = 0
RTMGRP_LINK = 1
RTMGRP_IPV6_ROUTE = 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
RTM_F_FIB_MATCH = 0x2000
"""Answer a question about an address with the route of the table that it matches."""
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_MULTIPATH, RTA_TABLE = 1, 4, 5, 6, 9, 15
IFLA_IFNAME = 3
IFF_UP, IFF_RUNNING = 1, 0x40
TABLE_MAIN = 254
RTN_UNICAST, RTN_BLACKHOLE, RTN_UNREACHABLE = 1, 6, 7

_HEADER = struct.Struct("=IHHII")
LINK = struct.Struct("=BxHiII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class Route:
    """One IPv6 route of a table. ``gateway`` is None for a connected or multipath one."""

    destination: IPv6Network
    gateway: IPv6Address | None
    interface: int
    metric: int
    protocol: int
    table: int
    kind: int
    paths: int


@dataclass(frozen=True, slots=True)
class RouteChange:
    """A route came or went; ``time_ns`` is CLOCK_MONOTONIC when this process was told."""

    time_ns: int
    added: bool
    route: Route


@dataclass(frozen=True, slots=True)
class LinkState:
    """An interface: administratively up, and with carrier."""

    index: int
    name: str
    up: bool
    running: bool


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (kind, value) of each attribute; stops at one that is malformed."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def pack_attribute(kind: int, data: bytes) -> bytes:
    """Return one attribute, padded to 4 octets."""
    return _ATTRIBUTE.pack(4 + len(data), kind) + data + bytes(-len(data) % 4)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind, _flags, _sequence, _pid = _HEADER.unpack_from(data, offset)
        yield kind, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _parse_route(body: bytes) -> Route | None:
    family, length, _src, _tos, table, protocol, _scope, kind, flags = _ROUTE.unpack_from(body)
    if family != socket.AF_INET6 or flags & 0x200:  # RTM_F_CLONED: a cache entry
        return None
    destination, gateway, interface, metric, paths = b"", None, 0, 0, 1
    for attribute, data in attributes(body[_ROUTE.size :]):
        if attribute == RTA_DST:
            destination = data
        elif attribute == RTA_GATEWAY:
            gateway = IPv6Address(data)
        elif attribute == RTA_OIF:
            (interface,) = struct.unpack("=I", data)
        elif attribute == RTA_PRIORITY:
            (metric,) = struct.unpack("=I", data)
        elif attribute == RTA_TABLE:
            (table,) = struct.unpack("=I", data)
        elif attribute == RTA_MULTIPATH:
            paths = sum(1 for _ in _hops(data))
    prefix = IPv6Network((destination.ljust(16, b"\0"), length))
    return Route(prefix, gateway, interface, metric, protocol, table, kind, paths)


def _hops(data: bytes) -> Iterator[bytes]:
    offset = 0
    while offset + 8 <= len(data):
        (length,) = struct.unpack_from("=H", data, offset)
        if length < 8:
            return
        yield data[offset : offset + length]
        offset += (length + 3) & ~3


def parse_link(body: bytes) -> LinkState | None:
    """Return the link that a RTM_NEWLINK message describes; None if it has no name."""
    _family, _type, index, flags, _change = LINK.unpack_from(body)
    for attribute, data in attributes(body[LINK.size :]):
        if attribute == IFLA_IFNAME:
            name = data.rstrip(b"\0").decode()
            return LinkState(index, name, bool(flags & IFF_UP), bool(flags & IFF_RUNNING))
    return None


class Netlink:
    """A request socket in the network namespace of process ``pid``. Not for several threads."""

    def __init__(self, pid: int) -> None:
        self._socket = call_in(pid, lambda: open_socket(0))
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def set_link(self, index: int, *, up: bool) -> None:
        """Set an interface administratively up or down. Raises OSError."""
        flags = IFF_UP if up else 0
        body = LINK.pack(socket.AF_UNSPEC, 0, index, flags, IFF_UP)
        self.request(RTM_NEWLINK, body, NLM_F_ACK)

    def links(self) -> dict[str, LinkState]:
        """Return the interfaces by name."""
        found = self.request(RTM_GETLINK, LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0), NLM_F_DUMP)
        states = (parse_link(body) for kind, body in found if kind == RTM_NEWLINK)
        return {state.name: state for state in states if state is not None}

    def routes(self, table: int = TABLE_MAIN) -> list[Route]:
        """Return the IPv6 routes of one table."""
        body = _ROUTE.pack(socket.AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0)
        found = self.request(RTM_GETROUTE, body, NLM_F_DUMP)
        routes = (_parse_route(body) for kind, body in found if kind == RTM_NEWROUTE)
        return [route for route in routes if route is not None and route.table == table]

    def route_to(self, destination: IPv6Address) -> Route:
        """Return the route by which a packet from here to this address goes.

        Raises OSError (ENETUNREACH, EHOSTUNREACH) where there is none.
        """
        body = _ROUTE.pack(socket.AF_INET6, 128, 0, 0, 0, 0, 0, 0, RTM_F_FIB_MATCH)
        body += pack_attribute(RTA_DST, destination.packed)
        for kind, answer in self.request(RTM_GETROUTE, body, NLM_F_ACK):
            if kind == RTM_NEWROUTE and (route := _parse_route(answer)) is not None:
                return route
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    def request(self, kind: int, body: bytes, flags: int) -> list[tuple[int, bytes]]:
        """Send one request (flags with ACK or DUMP) and return the answers. Raises OSError."""
        self._sequence += 1
        header = _HEADER.pack(16 + len(body), kind, NLM_F_REQUEST | flags, self._sequence, 0)
        self._socket.send(header + body)
        found: list[tuple[int, bytes]] = []
        while True:
            for answer, data in _messages(self._socket.recv(1 << 16)):
                if answer == NLMSG_DONE:
                    return found
                if answer == NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", data)
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    return found
                found.append((answer, data))


class RouteMonitor:
    """Tells of every change of a node's IPv6 routes. ``fileno`` makes it fit for selectors."""

    def __init__(self, pid: int, table: int = TABLE_MAIN) -> None:
        self._socket = call_in(pid, lambda: open_socket(RTMGRP_IPV6_ROUTE))
        self._socket.setblocking(False)
        self._table = table

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def changes(self) -> list[RouteChange]:
        """Return what was told since the last call; does not wait.

        Raises OSError (ENOBUFS) when the kernel had to drop some: dump the routes again then.
        """
        found: list[RouteChange] = []
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return found
            now = time.monotonic_ns()
            for kind, body in _messages(data):
                if kind not in (RTM_NEWROUTE, RTM_DELROUTE):
                    continue
                route = _parse_route(body)
                if route is not None and route.table == self._table:
                    found.append(RouteChange(now, kind == RTM_NEWROUTE, route))


def open_monitor(pid: int) -> socket.socket:
    """Return a non-blocking socket that tells of link and IPv6 route changes of a node."""
    opened = call_in(pid, lambda: open_socket(RTMGRP_LINK | RTMGRP_IPV6_ROUTE))
    opened.setblocking(False)
    return opened


def decode(data: bytes) -> Iterator[tuple[bool, Route | LinkState]]:
    """Yield what one read of a monitor's socket tells: is it there (not gone), and what."""
    for kind, body in _messages(data):
        if kind in (RTM_NEWROUTE, RTM_DELROUTE):
            found: Route | LinkState | None = _parse_route(body)
        elif kind in (RTM_NEWLINK, RTM_DELLINK):
            found = parse_link(body)
        else:
            continue
        if found is not None:
            yield kind in (RTM_NEWROUTE, RTM_NEWLINK), found


def overrun(error: OSError) -> bool:
    """Return whether this error only says that notifications were lost."""
    return error.errno == errno.ENOBUFS


def open_socket(groups: int) -> socket.socket:
    """Return an rtnetlink socket of the calling thread's namespace, a member of these groups."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    opened.bind((0, groups))
    return opened
