"""The kernel's routes on several nodes at once, followed as they change."""

from __future__ import annotations

import selectors
from collections.abc import Mapping
from ipaddress import IPv6Network

from topologies.netlink import Netlink, RouteMonitor, overrun
from topologies.nodes import SixNode


class FibWatch:
    """The kernel's IPv6 tables of several nodes, kept current by the kernel's notifications."""

    def __init__(self, nodes: Mapping[str, SixNode]) -> None:
        self._selector = selectors.DefaultSelector()
        self.tables: dict[str, set[IPv6Network]] = {}
        self._requests: dict[str, Netlink] = {}
        for name, node in nodes.items():
            monitor = RouteMonitor(node.pid)
            self._selector.register(monitor, selectors.EVENT_READ, (name, monitor))
            self._requests[name] = Netlink(node.pid)
            self._dump(name)

    def _dump(self, name: str) -> None:
        self.tables[name] = {route.destination for route in self._requests[name].routes()}

    def wait(self, timeout: float) -> None:
        """Wait until something changed, at most ``timeout`` seconds."""
        for key, _ in self._selector.select(timeout):
            name, monitor = key.data
            try:
                changes = monitor.changes()
            except OSError as error:
                if not overrun(error):
                    raise
                self._dump(name)
                continue
            if any(not change.added for change in changes):
                self._dump(name)  # the same prefix may still stand there by another route
            else:
                self.tables[name].update(change.route.destination for change in changes)

    def missing(self, expected: Mapping[str, set[IPv6Network]]) -> dict[str, set[IPv6Network]]:
        """Return, for each node that lacks some, the prefixes that it lacks."""
        found = {name: wanted - self.tables[name] for name, wanted in expected.items()}
        return {name: lacking for name, lacking in found.items() if lacking}

    def close(self) -> None:
        """Close all sockets."""
        for key in list(self._selector.get_map().values()):
            key.data[1].close()
        for request in self._requests.values():
            request.close()
        self._selector.close()
