"""Where a home agent that joins a network has its place: its number, its router, its link's cost.

Names are read as the figures have them: HA4 is Figure 1's fourth, HA13 the third of Figure 2's
AS 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Network

from topologies import addressing
from topologies.figure_1 import HOME_LINK_COST, ROUTER_HOST
from topologies.frr_config import home_metric
from topologies.plan import LinkPlan, NodePlan, Plan, Protocol, Role
from topologies.static_routes import distances

MOST_COST = 1000


class MembershipError(ValueError):
    """A home agent that cannot come, go or be put out; the message is one line for a person."""


def home_agent_costs(plan: Plan, router: str) -> dict[str, int]:
    """Return what OSPFv3 compares at a router, for each home agent of its AS.

    That is the way there plus the metric of the home network, of type 1.
    """
    interior = tuple(link for link in plan.links if link.protocol is Protocol.OSPF)
    reached = distances(replace(plan, links=interior), router)
    return {
        node.name: reached[node.name][0] + home_metric(node)
        for node in plan.of_role(Role.HOME_AGENT)
        if node.name in reached
    }


def newcomer(
    plan: Plan, name: str, at: str | None, known: Iterable[NodePlan]
) -> tuple[NodePlan, LinkPlan]:
    """Return the node and the link of a home agent that may be added to the plan.

    ``at``: its router; by default the one with the fewest home agents, of several the one that is
    farthest from the border, so that the newcomer draws no packets of others. ``known`` are all
    nodes that the network ever had: one that comes again has its numbers again. The cost of the
    link is the least with which no router has equal ways to this home agent and to another one.
    Raises MembershipError.
    """
    asn, place = _read(plan, name)
    node = _node(plan, name, asn, place, {each.name: each for each in known})
    router = _router(plan, asn, at)
    prefix = addressing.link_prefix(asn, str(place))
    if any(prefix == link.prefix for link in plan.links):
        raise MembershipError(f"{name}: its link would have the prefix {prefix} of another one")
    return node, _link(plan, node, router, prefix, place)


def picture_place(plan: Plan, router: str) -> tuple[float, float] | None:
    """Return where a picture has a newcomer: above all that is above its router.

    None where the plan leaves places to the picture.
    """
    if router not in plan.places:
        return None
    column, row = plan.places[router]
    above = [y for x, y in plan.places.values() if x == column and y <= row]
    return column, min(above) - 1.0


def _read(plan: Plan, name: str) -> tuple[int, int]:
    """Return a home agent's AS and its number in it."""
    ases = [asn for home in plan.homes for asn in home.ases]
    whole = plan.name == "single_as"
    digits = name.removeprefix("HA")
    for asn in ases:
        rest = digits if whole else digits.removeprefix(str(asn))
        if re.fullmatch("[1-9][0-9]?", rest) and (whole or rest != digits):
            return asn, int(rest)
    known = "HA and a number" if whole else "HA, the number of a home AS, and a number"
    raise MembershipError(
        f"{name!r} cannot be a home agent here: its name is {known}, as in the figure"
    )


def _node(plan: Plan, name: str, asn: int, place: int, known: dict[str, NodePlan]) -> NodePlan:
    if name in plan.nodes:
        raise MembershipError(f"{name} is there already")
    if name in known:
        return known[name]
    agents = [node.index for node in known.values() if node.role is Role.HOME_AGENT]
    index = place if plan.name == "single_as" else 1 + max(agents)
    if index > addressing.MAX_HOME_AGENTS:
        raise MembershipError(
            f"{name}: a network has at most {addressing.MAX_HOME_AGENTS} home agents"
        )
    number = 1 + max(node.number for node in known.values())
    return NodePlan(name, Role.HOME_AGENT, asn, number, index)


def _router(plan: Plan, asn: int, at: str | None) -> str:
    inside = [node for node in plan.nodes.values() if node.asn == asn]
    possible = [n.name for n in inside if n.role in (Role.ROUTER, Role.BORDER)]
    if at is not None:
        if at not in possible:
            raise MembershipError(f"no home agent of AS {asn} at {at!r}: at {', '.join(possible)}")
        return at
    borders = [node.name for node in inside if node.role is Role.BORDER]
    routers = [name for name in possible if name not in borders] or borders
    way = {name: distances(plan, name) for name in routers}

    def rank(name: str) -> tuple[int, int]:
        agents = sum(
            plan.nodes[end.neighbour].role is Role.HOME_AGENT for end in plan.ends_of(name)
        )
        return agents, -min(way[name][border][0] for border in borders)

    return min(routers, key=rank)


def _link(plan: Plan, node: NodePlan, router: str, prefix: IPv6Network, place: int) -> LinkPlan:
    rates = [
        end.link.rate_mbit
        for each in plan.of_role(Role.HOME_AGENT)
        for end in plan.ends_of(each.name)
    ]
    for cost in range(HOME_LINK_COST, MOST_COST):
        link = LinkPlan(
            node.name, router, Protocol.OSPF, prefix, place, ROUTER_HOST, cost,
            rate_mbit=rates[0] if rates else None,
        )  # fmt: skip
        if _distinct(plan, node, link):
            return link
    raise MembershipError(
        f"{node.name} at {router}: every cost makes equal ways to two home agents"
    )


def _distinct(plan: Plan, node: NodePlan, link: LinkPlan) -> bool:
    """Return whether every router of the AS has one home agent as near as this one: itself."""
    grown = replace(plan, nodes={**plan.nodes, node.name: node}, links=(*plan.links, link))
    for each in plan.nodes.values():
        if each.asn == node.asn and not each.role.is_host:
            costs = home_agent_costs(grown, each.name)
            if list(costs.values()).count(costs[node.name]) > 1:
                return False
    return True
