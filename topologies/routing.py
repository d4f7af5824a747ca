"""Routing on the whole network: start it everywhere, know when it is ready, and how long it took.

Ready means what a packet meets: every prefix in the kernel's table of every router (told by the
kernel as it happens), every adjacency, BGP and BFD session up (asked of FRR).
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv6Network
from pathlib import Path

from topologies.frr import NodeRouting, RoutingError, start_all
from topologies.frr_config import RoutingOptions
from topologies.netlink import Netlink, RouteMonitor, overrun
from topologies.nodes import SixNode
from topologies.plan import Plan, Protocol, Role

DEFAULT = IPv6Network("::/0")
POLL = 0.02  # seconds between two questions about sessions, of which FRR does not tell by itself

Record = Callable[[str], None]


def expected_prefixes(plan: Plan, name: str) -> set[IPv6Network]:
    """Return what a router's kernel table holds once routing has settled, before any agent."""
    node = plan.nodes[name]
    own = {
        end.link.prefix
        for end in plan.ends_of(name)
        if end.link.up or end.link.protocol is Protocol.ACCESS
    }
    foreign = {p for asn, ps in plan.originate.items() if asn != node.asn for p in ps}
    interior = {
        link.prefix
        for link in plan.links
        if link.protocol in (Protocol.OSPF, Protocol.STUB) and plan.nodes[link.a].asn == node.asn
    }
    if plan.speaks(name, Protocol.OSPF):
        outside = foreign if plan.speaks(name, Protocol.BGP) else {DEFAULT}
        return own | interior | outside
    return own | foreign


def home_prefixes(plan: Plan, name: str) -> set[IPv6Network]:
    """Return what a router's table holds of home networks while home agents serve them.

    In an AS that has one, its /64; of the others' the aggregate, unless a default route says it.
    """
    asn = plan.nodes[name].asn
    outside = plan.speaks(name, Protocol.BGP)
    return {home.prefix for home in plan.homes if asn in home.ases} | {
        home.aggregate for home in plan.homes if asn not in home.ases and outside
    }


class FibWatch:
    """The kernel's IPv6 tables of several nodes, kept current by the kernel's notifications."""

    def __init__(self, nodes: Mapping[str, SixNode]) -> None:
        self._selector = selectors.DefaultSelector()
        self._tables: dict[str, set[IPv6Network]] = {}
        self._requests: dict[str, Netlink] = {}
        for name, node in nodes.items():
            monitor = RouteMonitor(node.pid)
            self._selector.register(monitor, selectors.EVENT_READ, (name, monitor))
            self._requests[name] = Netlink(node.pid)
            self._dump(name)

    def _dump(self, name: str) -> None:
        self._tables[name] = {route.destination for route in self._requests[name].routes()}

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
                self._tables[name].update(change.route.destination for change in changes)

    def missing(self, expected: Mapping[str, set[IPv6Network]]) -> dict[str, set[IPv6Network]]:
        """Return, for each node that lacks some, the prefixes that it lacks."""
        found = {name: wanted - self._tables[name] for name, wanted in expected.items()}
        return {name: lacking for name, lacking in found.items() if lacking}

    def close(self) -> None:
        """Close all sockets."""
        for key in list(self._selector.get_map().values()):
            key.data[1].close()
        for request in self._requests.values():
            request.close()
        self._selector.close()


class Routing:
    """FRR on every router of a network."""

    def __init__(
        self, plan: Plan, nodes: Mapping[str, SixNode], options: RoutingOptions, runtime: Path,
        logs: Path,
    ) -> None:  # fmt: skip
        self.plan, self.options = plan, options
        self._nodes = {
            name: node for name, node in nodes.items() if not plan.nodes[name].role.is_host
        }
        self.on: dict[str, NodeRouting] = {
            name: NodeRouting.prepare(plan, node, options, runtime / name, logs / name)
            for name, node in self._nodes.items()
        }

    def start(self, record: Record, deadline: float = 30.0) -> None:
        """Start all daemons and wait until every router has every route.

        ``record`` is told of each step. BFD sessions start slowly by design (one packet a second
        until both ends are up, RFC 5880 §6.8.3) and nothing but a fault needs them: they are
        awaited by :meth:`wait_detection`, while the agents start.
        """
        fib = FibWatch(self._nodes)
        try:
            start_all(list(self.on.values()))
            record("daemons started")
            expected = {name: expected_prefixes(self.plan, name) for name in self._nodes}
            steps: dict[str, Callable[[], list[str]]] = {
                "adjacencies full": self._missing_adjacencies,
                "BGP established": self._missing_bgp,
                "prefixes everywhere": lambda: [
                    f"{name} has no route to {', '.join(map(str, sorted(lacking)))}"
                    for name, lacking in fib.missing(expected).items()
                ],
            }
            self._wait(steps, fib.wait, record, deadline)
        finally:
            fib.close()

    def wait_detection(self, record: Record, deadline: float = 15.0) -> None:
        """Wait until every BFD session is up; without BFD there is nothing to wait for."""
        self._wait({"BFD up": self._missing_bfd}, time.sleep, record, deadline)

    def _wait(
        self, pending: dict[str, Callable[[], list[str]]], pause: Callable[[float], None],
        record: Record, deadline: float,
    ) -> None:  # fmt: skip
        until = time.monotonic() + deadline
        while pending:
            said: list[str] = []
            for step, missing in list(pending.items()):
                lacking = missing()
                if lacking:
                    said += lacking
                else:
                    record(step)
                    del pending[step]
            if time.monotonic() > until:
                raise RoutingError(
                    f"routing was not ready after {deadline:.0f} s: " + "; ".join(said)
                )
            if pending:
                for routing in self.on.values():
                    routing.check_alive()
                pause(POLL)

    def _missing_adjacencies(self) -> list[str]:
        return self._missing(
            "ospf6d", "OSPFv3 neighbour", "Full", Protocol.OSPF, NodeRouting.ospf_neighbours
        )

    def _missing_bgp(self) -> list[str]:
        return self._missing("bgpd", "BGP peer", "Established", Protocol.BGP, NodeRouting.bgp_peers)

    def _missing_bfd(self) -> list[str]:
        return self._missing("bfdd", "BFD peer", "up", None, NodeRouting.bfd_peers)

    def _missing(
        self, daemon: str, what: str, good: str, protocol: Protocol | None,
        ask: Callable[[NodeRouting], dict[str, str]],
    ) -> list[str]:  # fmt: skip
        lacking = []
        for name, routing in self.on.items():
            if daemon not in routing.daemons:
                continue
            protocols = (protocol,) if protocol else (Protocol.OSPF, Protocol.BGP)
            wanted = sum(e.link.protocol in protocols for e in self.plan.ends_of(name))
            if Protocol.BGP in protocols:
                wanted += len(self.plan.interior_peers(name))
            try:
                states = ask(routing)
            except OSError:  # its socket is not there yet
                states = {}
            have = sum(state.split("/")[0] == good for state in states.values())
            if have < wanted:
                lacking.append(f"{name} has {have} of {wanted} {what}s {good.lower()}")
        return lacking

    def wait_home_prefix(self, home_agents: set[str], timeout: float = 10.0) -> None:
        """Wait until every other router has a route to every home network (or its aggregate).

        Raises RoutingError naming those that do not.
        """
        expected = {
            name: home_prefixes(self.plan, name)
            for name in self._nodes
            if self.plan.nodes[name].role is not Role.HOME_AGENT or name in home_agents
        }
        fib = FibWatch({name: self._nodes[name] for name in expected})
        until = time.monotonic() + timeout
        try:
            while lacking := fib.missing(expected):
                left = until - time.monotonic()
                if left <= 0:
                    raise RoutingError(
                        f"no route to the home network after {timeout:.0f} s on "
                        + ", ".join(sorted(lacking))
                    )
                fib.wait(left)
        finally:
            fib.close()

    def stop(self) -> None:
        """End all daemons."""
        for routing in self.on.values():
            routing.stop()
