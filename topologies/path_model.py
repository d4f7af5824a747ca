"""Which way packets go, worked out on a plan: BGP between ASes, OSPFv3 inside, hosts at the ends.

Where the running network is asked hop by hop (``topologies/fib_walk.py``), this says what it should
answer; distances come from the plan's delays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv6Address
from itertools import pairwise

from topologies.bgp_model import (
    Accepts,
    Announcement,
    AsPath,
    BgpModel,
    fixed_announcements,
    home_announcements,
)
from topologies.frr_config import home_metric
from topologies.plan import End, NodePlan, Plan, Protocol, Role
from topologies.static_routes import distances

DEFAULT = 0
Hop = tuple[int, int, str]
"""A candidate for the next hop: prefix length, administrative distance, neighbour."""

CONNECTED, EXTERIOR, OSPF, INTERIOR = 0, 20, 110, 200  # FRR's distances


class NoWay(Exception):  # noqa: N818  (an answer of the model, not an error of the program)
    """The model has no way, or a loop; the message names the node and the address."""


class PathModel:
    """Forwarding on a plan.

    ``home_agents``: those that live (None: all); ``announcements`` besides what ASes announce at
    all times: None for the home networks that these home agents serve; ``accepts``: see
    `BgpModel`; ``places``: the access router at which each mobile node is (by name; all the others
    are where the plan's links are up).
    """

    def __init__(
        self, plan: Plan, home_agents: Collection[str] | None = None,
        announcements: Iterable[Announcement] | None = None, accepts: Accepts | None = None,
        places: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.places = plan, dict(places or {})
        everyone = [node.name for node in plan.of_role(Role.HOME_AGENT)]
        self.home_agents = set(everyone if home_agents is None else home_agents)
        if announcements is None:
            announcements = home_announcements(plan, self.home_agents)
        self.bgp = BgpModel(plan, [*fixed_announcements(plan), *announcements], accepts)
        self._ends = {name: tuple(plan.ends_of(name)) for name in plan.nodes}
        interior = tuple(each for each in plan.links if each.protocol is Protocol.OSPF)
        self._interior = replace(plan, links=interior)
        self._reached: dict[str, dict[str, tuple[int, End | None]]] = {}

    def path(self, source: str, destination: IPv6Address) -> tuple[str, ...]:
        """Return the nodes from ``source`` to whoever takes the packet; NoWay if nobody does."""
        nodes = [source]
        while not self._is_at(nodes[-1], destination):
            following = self._next(nodes[-1], destination)
            if following is None or following in nodes:
                why = "no way" if following is None else "a loop"
                raise NoWay(f"{why} to {destination} at {nodes[-1]}")
            nodes.append(following)
        return tuple(nodes)

    def as_path(self, nodes: Sequence[str], destination: IPv6Address) -> AsPath:
        """Return the AS path that the first BGP speaker of a path has; empty inside an AS."""
        speaker = first_speaker(self.plan, nodes)
        route = self.bgp.route(speaker, destination) if speaker else None
        return route.as_path if route else ()

    def round_trip_ms(self, source: str, home_agent: str, destination: IPv6Address) -> float:
        """Return what the plan's delays make of a packet's way there and the answer's back.

        ``destination`` is an address that ``home_agent`` takes; it answers from its own.
        """
        there = self.path(source, destination)
        if there[-1] != home_agent:
            raise NoWay(f"{destination} leads from {source} to {there[-1]}, not to {home_agent}")
        return delay_ms(self.plan, there) + delay_ms(
            self.plan, self.path(home_agent, own_address(self.plan, source))
        )

    def _is_at(self, name: str, address: IPv6Address) -> bool:
        if name in self.home_agents and address in self.plan.home_of(name).prefix:
            return True
        return self._draws(name, address) or any(end.address == address for end in self._ends[name])

    def _draws(self, name: str, address: IPv6Address) -> bool:
        """Whether this is a hijacker that has announced the address, and so takes the packet."""
        if self.plan.nodes[name].role is not Role.HIJACKER:
            return False
        route = self.bgp.route(name, address)
        return route is not None and route.own

    def _next(self, name: str, address: IPv6Address) -> str | None:
        node = self.plan.nodes[name]
        if node.role in (Role.CORRESPONDENT, Role.STRANGER):
            return self._ends[name][0].neighbour
        if node.role is Role.MOBILE:
            return self._place(name)
        candidates = [*self._connected(name, address), *self._by_bgp(name, address)]
        if self.plan.speaks(name, Protocol.OSPF):
            candidates += self._by_ospf(node, address)
        best = max(candidates, key=lambda hop: (hop[0], -hop[1]), default=None)
        return best[2] if best else None

    def _place(self, mobile_node: str) -> str:
        up = [end.neighbour for end in self._ends[mobile_node] if end.link.up]
        return self.places.get(mobile_node) or up[0]

    def _connected(self, name: str, address: IPv6Address) -> list[Hop]:
        """Links of this router; on a visited network's bridge only who has the address is one."""
        return [
            (end.link.prefix.prefixlen, CONNECTED, end.neighbour)
            for end in self._ends[name]
            if address in end.link.prefix and _is_there(end, address)
        ]

    def _by_bgp(self, name: str, address: IPv6Address) -> list[Hop]:
        route = self.bgp.route(name, address)
        if route is None or route.own:  # its own prefix is no route of the kernel's
            return []
        distance = INTERIOR if route.interior else EXTERIOR
        return [(route.prefix.prefixlen, distance, route.nodes[1])]

    def _by_ospf(self, node: NodePlan, address: IPv6Address) -> list[Hop]:
        """Home network, links and default route of the AS, by the first hop towards them."""
        reached = self._distances(node.name)
        same_as = [each for each in self.plan.nodes.values() if each.asn == node.asn]
        found: list[tuple[int, dict[str, int]]] = []  # prefix length, cost of each who has it
        agents = [each for each in same_as if each.name in self.home_agents]
        if any(address in self.plan.home_of(each.name).prefix for each in agents):
            length = self.plan.home_of(agents[0].name).prefix.prefixlen
            found.append((length, {each.name: home_metric(each) for each in agents}))
        for link in self.plan.links:
            ours = link.protocol in (Protocol.OSPF, Protocol.STUB)
            if ours and address in link.prefix and self.plan.nodes[link.a].asn == node.asn:
                ends = [end for end in (link.a, link.b) if end in reached]
                found.append((link.prefix.prefixlen, dict.fromkeys(ends, link.cost)))
        borders = [each.name for each in same_as if each.role is Role.BORDER]
        if borders and node.role is not Role.BORDER:
            found.append((DEFAULT, dict.fromkeys(borders, 1)))
        return [
            (length, OSPF, first.neighbour)
            for length, holders in found
            if (first := _first_hop(reached, holders)) is not None
        ]

    def _distances(self, name: str) -> dict[str, tuple[int, End | None]]:
        if name not in self._reached:
            self._reached[name] = distances(self._interior, name)
        return self._reached[name]


def _is_there(end: End, address: IPv6Address) -> bool:
    if end.link.protocol is Protocol.ACCESS:
        return end.neighbour_address == address
    return end.link.up


def _first_hop(
    reached: Mapping[str, tuple[int, End | None]], holders: Mapping[str, int]
) -> End | None:
    """Return the end towards the nearest of those that have a prefix, each at a cost."""
    costs = {name: reached[name][0] + cost for name, cost in holders.items() if name in reached}
    if not costs:
        return None
    return reached[min(costs, key=costs.__getitem__)][1]


def first_speaker(plan: Plan, nodes: Sequence[str]) -> str | None:
    """Return the first node of a path that speaks BGP."""
    return next((name for name in nodes if plan.speaks(name, Protocol.BGP)), None)


def own_address(plan: Plan, name: str) -> IPv6Address:
    """Return the address that a source sends from: an access router's is the visited network's."""
    for end in plan.ends_of(name):
        if end.link.protocol is Protocol.ACCESS and plan.nodes[name].role is Role.ACCESS:
            return end.address
    return plan.address_of(name)


def delay_ms(plan: Plan, nodes: Sequence[str]) -> float:
    """Return the sum of the plan's delays along a path, one way."""
    return sum(plan.link_between(a, b).delay_ms for a, b in pairwise(nodes))
