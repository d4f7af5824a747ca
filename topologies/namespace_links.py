"""Links of other network namespaces, watched and changed without holding those namespaces.

A socket made in a namespace keeps it alive, and a link's far end then never learns that its node
has died. One socket here, in this process's own namespace, sees them all instead: the kernel
numbers each other namespace on request (RTM_NEWNSID) and tells of all that have a number
(NETLINK_LISTEN_ALL_NSID).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from topologies import netlink
from topologies.netlink import LinkState, Netlink

SOL_NETLINK, NETLINK_LISTEN_ALL_NSID = 270, 8
RTM_NEWNSID, RTM_GETNSID = 88, 90
NETNSA_NSID, NETNSA_PID = 1, 2
IFLA_TXQLEN, IFLA_NET_NS_PID, IFLA_TARGET_NETNSID = 13, 19, 46
ANY_NUMBER = -1


@dataclass(frozen=True, slots=True)
class Change:
    """A link of namespace number ``namespace`` came, changed or (``there`` False) went."""

    namespace: int
    there: bool
    link: LinkState


class NamespaceLinks(Netlink):
    """Requests about links of other namespaces. Needs CAP_NET_ADMIN over them (the sandbox)."""

    def __init__(self) -> None:
        super().__init__(os.getpid())

    def number(self, pid: int) -> int:
        """Return the kernel's number for the network namespace of process ``pid``, given now."""
        here = netlink.pack_attribute(NETNSA_PID, struct.pack("=I", pid))
        body = bytes(4) + here + netlink.pack_attribute(NETNSA_NSID, struct.pack("=i", ANY_NUMBER))
        try:
            self.request(RTM_NEWNSID, body, netlink.NLM_F_ACK)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
        found = self.request(RTM_GETNSID, bytes(4) + here, netlink.NLM_F_ACK)
        numbers = [
            struct.unpack("=i", data)[0]
            for _, answer in found
            for kind, data in netlink.attributes(answer[4:])
            if kind == NETNSA_NSID
        ]
        return int(numbers[0])

    def give(self, index: int, pid: int, queue: int) -> None:
        """Move an interface of this namespace, down, into that of ``pid``; its index stays.

        ``queue`` is its txqueuelen in packets. Raises OSError.
        """
        body = netlink.LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
        body += netlink.pack_attribute(IFLA_TXQLEN, struct.pack("=I", queue))
        body += netlink.pack_attribute(IFLA_NET_NS_PID, struct.pack("=I", pid))
        self.request(netlink.RTM_NEWLINK, body, netlink.NLM_F_ACK)

    def settle(self, namespace: int, index: int) -> LinkState | None:
        """Make the kernel tell of a carrier that has just changed; return the link, if it is there.

        Linux tells of a lost carrier up to 1 s late (``linkwatch_urgent_event`` is false for a
        TAP), unless somebody asks for the link (``linkwatch_sync_dev`` in ``rtnl_getlink``, since
        6.8; those before 6.8 are in distributions whose kernels have netem).
        """
        body = netlink.LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
        body += netlink.pack_attribute(IFLA_TARGET_NETNSID, struct.pack("=i", namespace))
        try:
            found = self.request(netlink.RTM_GETLINK, body, netlink.NLM_F_ACK)
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.EINVAL):  # the link, the namespace is gone
                return None
            raise
        return next((link for _, answer in found if (link := netlink.parse_link(answer))), None)


class NamespaceMonitor:
    """Tells of link changes in every numbered namespace. ``fileno`` makes it fit for selectors."""

    def __init__(self) -> None:
        self._socket = netlink.open_socket(netlink.RTMGRP_LINK)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 1)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def changes(self) -> Iterator[Change]:
        """Yield what was told since the last call; changes of this namespace itself are left out.

        Raises OSError (ENOBUFS) when the kernel had to drop some.
        """
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(1 << 16, socket.CMSG_SPACE(4))
            except BlockingIOError:
                return
            for level, kind, number in ancillary:
                if (level, kind) == (SOL_NETLINK, NETLINK_LISTEN_ALL_NSID):
                    (namespace,) = struct.unpack("=i", number)
                    for there, link in netlink.decode(data):
                        if isinstance(link, LinkState):
                            yield Change(namespace, there, link)
