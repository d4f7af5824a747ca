"""Which home agent serves whom: for every correspondent node and every visited network.

Three opinions that must agree: the plan's (`predicted`), routing's (`routed`: each kernel and bgpd
is asked) and the packets' (`traced`). ``show catchment`` in the lab prints the last two.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from topologies.bgp_model import AsPath
from topologies.fib_walk import WalkError, as_path, fib_walk
from topologies.network import Network
from topologies.path_model import PathModel, own_address
from topologies.plan import HomeNetwork, Plan, Role
from topologies.trace import TraceError, Tracer

NS_PER_MS = 1_000_000
NOT_AN_ANSWER = "?"


@dataclass(frozen=True, slots=True)
class Way:
    """A way from a source to a home network; its last node is the home agent that serves it."""

    source: str
    home: HomeNetwork
    nodes: tuple[str, ...]
    as_path: AsPath

    @property
    def home_agent(self) -> str:
        """The home agent at its end."""
        return self.nodes[-1]


@dataclass(frozen=True, slots=True)
class Trace:
    """What traced packets met: their nodes, and round-trip times to the home agent, in ms."""

    nodes: tuple[str, ...]
    round_trips_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """The median round-trip time."""
        return statistics.median(self.round_trips_ms)


def sources(plan: Plan) -> list[str]:
    """Return correspondent nodes and access routers: from where packets come."""
    return [node.name for role in (Role.CORRESPONDENT, Role.ACCESS) for node in plan.of_role(role)]


def predicted(model: PathModel, source: str, home: HomeNetwork) -> Way:
    """Return the way that the plan calls for; raises `NoWay`."""
    nodes = model.path(source, home.home_agent_address)
    return Way(source, home, nodes, model.as_path(nodes, home.home_agent_address))


def routed(network: Network, source: str, home: HomeNetwork) -> Way:
    """Return the way that the kernels' routes make; raises WalkError."""
    destination = home.home_agent_address
    nodes = fib_walk(network.plan, network.nodes, source, destination)
    seen = as_path(network.plan, network.routing.on, nodes, destination)
    return Way(source, home, nodes, seen)


def traced(network: Network, source: str, home: HomeNetwork, count: int = 1) -> Trace:
    """Trace packets to the HA address, then time ``count`` more to its home agent.

    Raises TraceError.
    """
    plan = network.plan
    agents = {node.name for node in plan.of_role(Role.HOME_AGENT)}
    owners = address_owners(plan)

    def is_agent(address: IPv6Address) -> bool:
        return owners.get(address) in agents

    start = own_address(plan, source)
    with Tracer(network.nodes[source].pid, start, home.home_agent_address) as tracer:
        hops = tracer.hops(is_agent)
        times = []
        for _ in range(count):
            hop = tracer.probe(len(hops))
            if hop is None or hop.address != hops[-1].address:
                raise TraceError(f"{hops[-1].address} answered once, and not again")
            times.append(hop.round_trip_ns / NS_PER_MS)
    names = [owners.get(hop.address, str(hop.address)) for hop in hops]
    return Trace((source, *names), tuple(times))


def differences(network: Network, model: PathModel) -> list[str]:
    """Return in words on what kernels, FRR, packets and plan disagree; nothing if they agree."""
    found = []
    for home in network.plan.homes:
        for source in sources(network.plan):
            planned = predicted(model, source, home)
            try:
                way, trace = routed(network, source, home), traced(network, source, home)
            except (WalkError, TraceError) as error:
                found.append(f"{source}: {error}")
                continue
            if way != planned:
                found.append(
                    f"{source}: {' '.join(way.nodes)} (AS {as_text(way.as_path)}); by the plan "
                    f"{' '.join(planned.nodes)} (AS {as_text(planned.as_path)})"
                )
            if trace.nodes != way.nodes:
                found.append(f"{source}: {' '.join(way.nodes)}; packets: {' '.join(trace.nodes)}")
    return found


def address_owners(plan: Plan) -> dict[IPv6Address, str]:
    """Return the node of every address that the plan gives."""
    return {address: node for link in plan.links for node, _, address in link.ends()}


def table_rows(network: Network, of: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row a source and home network, for the lab's prompt."""
    homes = network.plan.homes
    rows = []
    for home in homes:
        for source in of:
            row: dict[str, Any] = {"from": source}
            if len(homes) > 1:
                row["home_network"] = str(home.prefix)
            rows.append(row | _look(network, source, home))
    return rows


def _look(network: Network, source: str, home: HomeNetwork) -> dict[str, Any]:
    try:
        way = routed(network, source, home)
    except WalkError as error:
        return {"home_agent": NOT_AN_ANSWER, "by": str(error)}
    row = {
        "home_agent": way.home_agent,
        "by": " ".join(way.nodes[1:-1]),
        "as_path": as_text(way.as_path) or "-",
    }
    try:
        trace = traced(network, source, home)
    except TraceError as error:
        return row | {"packets": str(error)}
    same = trace.nodes == way.nodes
    return row | {
        "packets": "the same way" if same else " ".join(trace.nodes[1:]),
        "rtt_ms": trace.median_ms,
    }


def as_text(path: Sequence[int]) -> str:
    """Return an AS path as routers print it."""
    return " ".join(map(str, path))
