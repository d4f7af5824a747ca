"""Figure 1 of the draft as a plan: one AS, its home agents, a transit, visited networks."""

from __future__ import annotations

from topologies import addressing
from topologies.plan import (
    HomeNetwork,
    LinkPlan,
    MultipathHash,
    NodePlan,
    Plan,
    Protocol,
    Role,
)

HOME_LINK_COST = 10
ECMP_COSTS = {1: 11, 2: 10}
"""From the border to r1 and r2: with the home agents' metrics, 1 and 2, the sums are equal."""

ROUTER_HOST = 0xFE  # host part of the router's address on a link to a host or a home agent


STRANGER = "stranger"
STRANGER_HOST = 0x500


def _nodes(has: int, mns: int, *, stranger: bool) -> dict[str, NodePlan]:
    names: list[tuple[str, Role, int, int]] = []
    names += [(f"HA{i}", Role.HOME_AGENT, addressing.HOME_AS, i) for i in range(1, has + 1)]
    names += [(f"r{i}", Role.ROUTER, addressing.HOME_AS, i) for i in range(1, has + 1)]
    names += [("br", Role.BORDER, addressing.HOME_AS, 1)]
    names += [("t1", Role.TRANSIT, addressing.TRANSIT_AS, 1)]
    names += [(f"v{i}", Role.ACCESS, visited_as(i), i) for i in (1, 2)]
    names += [
        ("mn" if i == 1 else f"mn{i}", Role.MOBILE, visited_as(1), i) for i in range(1, mns + 1)
    ]
    names += [("cn1", Role.CORRESPONDENT, addressing.TRANSIT_AS, 1)]
    names += [
        (f"cn{i}", Role.CORRESPONDENT, addressing.HOME_AS, i) for i in range(2, min(has, 3) + 1)
    ]
    if stranger:
        names.append((STRANGER, Role.STRANGER, visited_as(1), 1))
    return {
        name: NodePlan(name, role, asn, number, index)
        for number, (name, role, asn, index) in enumerate(names, start=1)
    }


def visited_as(network: int) -> int:
    """Return the AS number of the n-th visited network: 10, 20."""
    return 10 * network


def figure_1(
    *, has: int = 3, mns: int = 1, home_link_mbit: float | None = None,
    ecmp: str | None = None, stranger_mbit: float | None = None,
) -> Plan:  # fmt: skip
    """Return the plan of Figure 1.

    ``has`` home agents (1 to 9) hang on as many interior routers at growing distance from the
    border; ``mns`` mobile nodes each reach both visited networks; ``home_link_mbit`` caps the
    links of the home agents. Costs are such that no router has two equal paths to two home
    agents (a test computes it): equal paths would split one mobile node's packets over both.
    ``ecmp`` is that fault: HA1 and HA2 are equally near to the border, whose kernel hashes so.
    ``stranger_mbit`` puts a stranger on the first visited network, by a link of that rate.
    """
    if not 1 <= has <= 9:
        raise ValueError(f"has={has}: Figure 1 takes 1 to 9 home agents")
    hashed = MultipathHash(ecmp) if ecmp is not None else None
    if hashed is not None and has < 2:
        raise ValueError(f"ecmp={ecmp}: equal paths need two home agents, has={has}")
    if not 1 <= mns <= 9:
        raise ValueError(f"mns={mns}: Figure 1 takes 1 to 9 mobile nodes")
    home_as, transit = addressing.HOME_AS, addressing.TRANSIT_AS
    links: list[LinkPlan] = []
    for i in range(1, has + 1):
        prefix = addressing.link_prefix(home_as, str(i))
        links.append(
            LinkPlan(f"HA{i}", f"r{i}", Protocol.OSPF, prefix, i, ROUTER_HOST, HOME_LINK_COST,
                     home_link_mbit)
        )  # fmt: skip
    for i in range(1, has + 1):
        prefix = addressing.link_prefix(home_as, f"10{i}")
        cost = ECMP_COSTS.get(i, 10 * i) if ecmp is not None else 10 * i
        links.append(LinkPlan("br", f"r{i}", Protocol.OSPF, prefix, 1, 2, cost))
    for i in range(1, has):
        prefix = addressing.link_prefix(home_as, f"20{i}")
        links.append(LinkPlan(f"r{i}", f"r{i + 1}", Protocol.OSPF, prefix, 1, 2, 15))
    for i in range(2, min(has, 3) + 1):
        prefix = addressing.link_prefix(home_as, f"30{i}")
        links.append(LinkPlan(f"cn{i}", f"r{i}", Protocol.STUB, prefix, i, ROUTER_HOST))
    links.append(LinkPlan("t1", "br", Protocol.BGP, addressing.link_prefix(transit, "1"), 1, 2))
    links.append(
        LinkPlan("cn1", "t1", Protocol.STUB, addressing.link_prefix(transit, "301"), 1, ROUTER_HOST)
    )
    for i in (1, 2):
        prefix = addressing.link_prefix(transit, f"1{i}")
        links.append(LinkPlan("t1", f"v{i}", Protocol.BGP, prefix, 1, 2))
    for m in range(1, mns + 1):
        name = "mn" if m == 1 else f"mn{m}"
        for i in (1, 2):
            links.append(access_link(name, i, m))
    if stranger_mbit is not None:
        links.append(
            LinkPlan(STRANGER, "v1", Protocol.ACCESS, addressing.visited_prefix(1),
                     STRANGER_HOST, ROUTER_HOST, rate_mbit=stranger_mbit)
        )  # fmt: skip
    originate = {
        home_as: (addressing.as_prefix(home_as),),
        transit: (addressing.as_prefix(transit),),
        visited_as(1): (addressing.visited_prefix(1),),
        visited_as(2): (addressing.visited_prefix(2),),
    }
    nodes = _nodes(has, mns, stranger=stranger_mbit is not None)
    home = HomeNetwork(1, addressing.HOME_PREFIX, addressing.HOME_AGGREGATE, (home_as,))
    return Plan("single_as", "Figure 1", nodes, tuple(links), (home,), originate, ecmp=hashed)


def access_link(mobile_node: str, network: int, index: int) -> LinkPlan:
    """Each mobile node has its own radio link, and so its own /64, in each visited network."""
    return LinkPlan(
        mobile_node, f"v{network}", Protocol.ACCESS, addressing.visited_prefix(network),
        0x100 + index - 1, ROUTER_HOST, up=network == 1,
    )  # fmt: skip
