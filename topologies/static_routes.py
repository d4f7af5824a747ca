"""Shortest-path routes worked out from a plan, for plain Mininet where no FRR runs."""

from __future__ import annotations

import heapq
from ipaddress import IPv6Address, IPv6Network

from topologies.plan import End, Plan

DEFAULT = IPv6Network("::/0")
StaticRoute = tuple[IPv6Network, IPv6Address]


def distances(plan: Plan, start: str) -> dict[str, tuple[int, End | None]]:
    """Return, for each node, its distance from ``start`` and the first link end on the way.

    Hosts are reached but not passed through. Of two equal paths the one that comes first in the
    plan is taken.
    """
    best: dict[str, tuple[int, End | None]] = {}
    queue: list[tuple[int, int, str, End | None]] = [(0, 0, start, None)]
    order = 0
    while queue:
        cost, _, name, first = heapq.heappop(queue)
        if name in best:
            continue
        best[name] = (cost, first)
        if plan.nodes[name].role.is_host and name != start:
            continue
        for end in plan.ends_of(name):
            if end.link.up and end.neighbour not in best:
                order += 1
                heapq.heappush(queue, (cost + end.link.cost, order, end.neighbour, first or end))
    return best


def static_routes(plan: Plan, name: str) -> list[StaticRoute]:
    """Return (prefix, gateway) for every link of the plan that ``name`` is not on itself.

    A host gets its default route alone.
    """
    if plan.nodes[name].role.is_host:
        return [(DEFAULT, next(plan.ends_of(name)).neighbour_address)]
    reached = distances(plan, name)
    own = {end.link.prefix for end in plan.ends_of(name) if end.link.up}
    routes: dict[IPv6Network, StaticRoute] = {}
    for link in plan.links:
        if link.prefix in own or not link.up:
            continue
        near = min((link.a, link.b), key=lambda node: reached[node][0] if node in reached else 1e9)
        first = reached[near][1] if near in reached else None
        if first is not None:
            routes[link.prefix] = (link.prefix, first.neighbour_address)
    return list(routes.values())
