"""Routing on the whole network: start it everywhere, know when it is ready, and how long it took.

Ready means what a packet meets: every prefix in the kernel's table of every router (told by the
kernel as it happens), every adjacency, BGP and BFD session up (asked of FRR).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from ipaddress import IPv6Network
from pathlib import Path

from topologies.fib_watch import FibWatch
from topologies.frr import NodeRouting, RoutingError, start_all
from topologies.frr_config import RoutingOptions, leave_interface, ospf6_interface
from topologies.nodes import SixNode
from topologies.plan import Plan, Protocol, Role

DEFAULT = IPv6Network("::/0")
FULL = "Full"
"""OSPFv3's word for an adjacency over which everything has been told (RFC 2328 §10.1)."""
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


class Routing:
    """FRR on every router of a network."""

    def __init__(
        self, plan: Plan, nodes: Mapping[str, SixNode], options: RoutingOptions, runtime: Path,
        logs: Path,
    ) -> None:  # fmt: skip
        self.plan, self.options = plan, options
        self._runtime, self._logs = runtime, logs
        self._nodes: dict[str, SixNode] = {}
        self.on: dict[str, NodeRouting] = {}
        for name, node in nodes.items():
            if not plan.nodes[name].role.is_host:
                self._prepare(node)

    def _prepare(self, node: SixNode) -> NodeRouting:
        name = node.name
        self._nodes[name] = node
        self.on[name] = NodeRouting.prepare(
            self.plan, node, self.options, self._runtime / name, self._logs / name
        )
        return self.on[name]

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
                "prefixes everywhere": lambda: _in_words(fib.missing(expected)),
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

    def _missing_adjacencies(self, only: Collection[str] | None = None) -> list[str]:
        return self._missing(
            "ospf6d", "OSPFv3 neighbour", FULL, Protocol.OSPF, NodeRouting.ospf_neighbours, only
        )

    def _missing_bgp(self) -> list[str]:
        return self._missing("bgpd", "BGP peer", "Established", Protocol.BGP, NodeRouting.bgp_peers)

    def _missing_bfd(self, only: Collection[str] | None = None) -> list[str]:
        return self._missing("bfdd", "BFD peer", "up", None, NodeRouting.bfd_peers, only)

    def _missing(
        self, daemon: str, what: str, good: str, protocol: Protocol | None,
        ask: Callable[[NodeRouting], dict[str, str]], only: Collection[str] | None = None,
    ) -> list[str]:  # fmt: skip
        lacking = []
        for name, routing in self.on.items():
            if daemon not in routing.daemons or (only is not None and name not in only):
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

    def join(self, node: SixNode, deadline: float = 20.0) -> None:
        """Start FRR on a node that has come to the plan, whose links are up; tell its neighbours.

        Returns when it has every route that its neighbours have, the routers of its AS have the
        way to it, and faults will be noticed. What was broken before need not be whole for that.
        """
        name, only = node.name, {node.name}
        start_all([self._prepare(node)])
        for end in self.plan.ends_of(name):
            ospf6d = self.on[end.neighbour].daemons["ospf6d"]
            ospf6d.configure(ospf6_interface(end.other_end(name), self.options))
        adjacencies = {"adjacencies full": lambda: self._missing_adjacencies(only)}
        self._wait(adjacencies, time.sleep, _unrecorded, deadline)
        self._wait_ways(name, deadline)
        bfd = {"BFD up": lambda: self._missing_bfd(only)}
        self._wait(bfd, time.sleep, _unrecorded, deadline)

    def _wait_ways(self, name: str, deadline: float) -> None:
        """Wait until a node and the other routers of its AS know the ways to one another."""
        ends = list(self.plan.ends_of(name))
        others = self._adjacent(self.plan.nodes[name].asn) - {name}
        fib = FibWatch({each: self._nodes[each] for each in (name, *others)})
        try:
            expected = {each: {end.link.prefix for end in ends} for each in others}
            near = set().union(*(fib.tables[each] for each in others))
            expected[name] = expected_prefixes(self.plan, name) & {*near, DEFAULT}
            ways = {"ways": lambda: _in_words(fib.missing(expected))}
            self._wait(ways, fib.wait, _unrecorded, deadline)
        finally:
            fib.close()

    def _adjacent(self, asn: int) -> set[str]:
        """Return the routers of an AS that have an OSPFv3 neighbour now."""
        return {
            name
            for name, routing in self.on.items()
            if self.plan.nodes[name].asn == asn
            and "ospf6d" in routing.daemons
            and FULL in (state.split("/")[0] for state in routing.ospf_neighbours().values())
        }

    def part(self, name: str) -> None:
        """Let the neighbours of a node forget it, then end its daemons.

        An adjacency that ends by a router's own word is no failure that anybody has to notice.
        """
        for end in self.plan.ends_of(name):
            ospf6d = self.on[end.neighbour].daemons["ospf6d"]
            ospf6d.configure(leave_interface(end.other_end(name)))
        self.on.pop(name).stop()
        del self._nodes[name]

    def stop(self) -> None:
        """End all daemons."""
        for routing in self.on.values():
            routing.stop()


def _in_words(missing: Mapping[str, set[IPv6Network]]) -> list[str]:
    return [
        f"{name} has no route to {', '.join(map(str, sorted(lacking)))}"
        for name, lacking in missing.items()
    ]


def _unrecorded(_step: str) -> None:
    """Steps of a network's start are recorded, those of a change are not."""
