"""Figure 2 of the draft as a plan: home agents in several ASes, transits, stubs; and its §4.2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Network
from itertools import pairwise

from topologies import addressing
from topologies.figure_1 import ROUTER_HOST, access_link, visited_as
from topologies.plan import HomeNetwork, LinkPlan, NodePlan, Plan, Protocol, Role

VISITED = 3
BORDER_COST = 5
BLOCK = 3.0  # columns of a picture that one home AS takes
HOME_LINK_COST, NEXT_HOME_LINK_COST = 10, 7

# One-way delays, in ms. The last transit lies between the others, nearer to the first of them.
MIDDLE_MS = (10.0, 12.0, 14.0, 16.0)
ACROSS_MS = 20.0
UPLINK_MS = 1.0


class TransitGraph(StrEnum):
    """How the transit ASes are linked."""

    MESH = "mesh"
    RING = "ring"
    STAR = "star"  # all by the last one


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of Figure 2.

    ``ases`` home ASes (1 to 4) have ``has`` home agents (1 to 4) each; ``cns`` correspondent nodes
    (1 to 4) sit in stub ASes, the n-th near the n-th home AS; ``delays``: links have the delays of
    a continent, else none. Raises ValueError for a number out of range.
    """

    ases: int = 2
    has: int = 2
    cns: int = 2
    mns: int = 1
    transit: str = TransitGraph.MESH
    delays: bool = True
    hijacker: bool = False
    rate_mbit: float | None = None

    def __post_init__(self) -> None:
        for name, most in (("ases", 4), ("has", 4), ("cns", 4), ("mns", 9)):
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise ValueError(f"{name}={value}: Figure 2 takes 1 to {most}")
        if self.transit not in tuple(TransitGraph):
            known = ", ".join(TransitGraph)
            raise ValueError(f"transit={self.transit}: unknown; known: {known}")

    @property
    def transits(self) -> int:
        """One transit AS for each home AS or correspondent node, one in the middle."""
        return max(self.ases, self.cns, 2) + 1

    @property
    def home_ases(self) -> tuple[int, ...]:
        """The numbers of the home ASes."""
        return addressing.HOME_ASES[: self.ases]


def multi_as(shape: Shape | None = None) -> Plan:
    """Return Figure 2: several ASes have the same home network (draft §4.1)."""
    shape = shape or Shape()
    home = HomeNetwork(1, addressing.HOME_PREFIX, addressing.HOME_AGGREGATE, shape.home_ases)
    return _plan("multi_as", "Figure 2", shape, (home,))


def multi_hoa(shape: Shape | None = None) -> Plan:
    """Return §4.2's network: each AS has a home network, an HA address and HoAs of its own."""
    shape = shape or Shape()
    homes = tuple(
        HomeNetwork(n, addressing.home_prefix(n), addressing.home_aggregate(n), (asn,))
        for n, asn in enumerate(shape.home_ases, start=1)
    )
    return _plan("multi_hoa", "Figure 2 with a home address for each AS", shape, homes)


def _plan(name: str, title: str, shape: Shape, homes: tuple[HomeNetwork, ...]) -> Plan:
    originate: dict[int, tuple[IPv6Network, ...]] = {
        asn: (addressing.as_prefix(asn),)
        for asn in (*shape.home_ases, *map(_transit_as, range(1, shape.transits + 1)))
    }
    originate |= {_cn_as(n): (addressing.as_prefix(_cn_as(n)),) for n in _count(shape.cns)}
    originate |= {visited_as(n): (addressing.visited_prefix(n),) for n in _count(VISITED)}
    if shape.hijacker:
        asn = addressing.HIJACKER_AS
        originate[asn] = (addressing.as_prefix(asn),)
    links = (*_home_links(shape), *_transit_links(shape), *_stub_links(shape))
    return Plan(name, title, _nodes(shape), links, homes, originate, _places(shape))


def _nodes(shape: Shape) -> dict[str, NodePlan]:
    """Return the nodes; where BGP finds two ways equal, the lower number wins."""
    names: list[tuple[str, Role, int, int]] = []
    borders = ((asn, side) for asn in shape.home_ases for side in (1, 2))
    names += [(f"br{asn}{side}", Role.BORDER, asn, side) for asn, side in borders]
    agents = ((asn, i) for asn in shape.home_ases for i in _count(shape.has))
    names += [
        (f"HA{asn}{i}", Role.HOME_AGENT, asn, index)
        for index, (asn, i) in enumerate(agents, start=1)
    ]
    names += [(f"t{n}", Role.TRANSIT, _transit_as(n), n) for n in _count(shape.transits)]
    names += [(f"v{n}", Role.ACCESS, visited_as(n), n) for n in _count(VISITED)]
    names += [(f"c{n}", Role.ROUTER, _cn_as(n), n) for n in _count(shape.cns)]
    if shape.hijacker:
        names.append(("h3", Role.HIJACKER, addressing.HIJACKER_AS, 1))
    names += [(_mobile(m), Role.MOBILE, visited_as(1), m) for m in _count(shape.mns)]
    names += [(f"cn{n}", Role.CORRESPONDENT, _cn_as(n), n) for n in _count(shape.cns)]
    return {
        name: NodePlan(name, role, asn, number, index)
        for number, (name, role, asn, index) in enumerate(names, start=1)
    }


def _home_links(shape: Shape) -> Iterator[LinkPlan]:
    """Home agents hang on the two border routers of their AS in turn, at different costs."""
    for place, asn in enumerate(shape.home_ases, start=1):
        for i in _count(shape.has):
            side, row = 2 - i % 2, (i - 1) // 2
            cost = HOME_LINK_COST + row * NEXT_HOME_LINK_COST
            prefix = addressing.link_prefix(asn, str(i))
            yield LinkPlan(
                f"HA{asn}{i}", f"br{asn}{side}", Protocol.OSPF, prefix, i, ROUTER_HOST, cost
            )
        between = addressing.link_prefix(asn, "101")
        delay = UPLINK_MS if shape.delays else 0.0
        yield LinkPlan(
            f"br{asn}1", f"br{asn}2", Protocol.OSPF, between, 1, 2, BORDER_COST, delay_ms=delay
        )
        yield _uplink(shape, place, f"br{asn}1", f"4{asn}1", UPLINK_MS)
        yield _uplink(shape, shape.transits, f"br{asn}2", f"4{asn}2", MIDDLE_MS[place - 1])


def _transit_links(shape: Shape) -> Iterator[LinkPlan]:
    last, others = shape.transits, range(1, shape.transits)
    pairs = [(n, last) for n in others]
    if shape.transit == TransitGraph.MESH:
        pairs += [(a, b) for a in others for b in others if a < b]
    elif shape.transit == TransitGraph.RING:
        pairs = [*pairwise(range(1, last + 1)), (1, last)]
    for a, b in sorted(pairs):
        prefix = addressing.link_prefix(_transit_as(a), f"1{b}")
        middle = b == last
        delay = MIDDLE_MS[a - 1] if middle else ACROSS_MS
        yield LinkPlan(
            f"t{a}", f"t{b}", Protocol.BGP, prefix, 1, 2, rate_mbit=shape.rate_mbit,
            delay_ms=delay if shape.delays else 0.0,
        )  # fmt: skip


def _stub_links(shape: Shape) -> Iterator[LinkPlan]:
    for n in _count(shape.cns):
        prefix = addressing.link_prefix(_cn_as(n), "301")
        yield LinkPlan(f"cn{n}", f"c{n}", Protocol.STUB, prefix, n, ROUTER_HOST)
        yield _uplink(shape, n, f"c{n}", f"5{n}1", 0.0)
        yield _uplink(shape, shape.transits, f"c{n}", f"5{n}2", MIDDLE_MS[n - 1], backup=True)
    for n, place in zip(_count(VISITED), (shape.transits, 1, 2), strict=True):
        yield _uplink(shape, place, f"v{n}", f"6{n}", 0.0)
    if shape.hijacker:
        yield _uplink(shape, shape.transits, "h3", "7", 0.0)
    for m in _count(shape.mns):
        for n in _count(VISITED):
            yield access_link(_mobile(m), n, m)


def _uplink(
    shape: Shape, transit: int, node: str, link: str, delay_ms: float, *, backup: bool = False
) -> LinkPlan:
    """Return a link between a transit AS, which numbers it, and a customer."""
    prefix = addressing.link_prefix(_transit_as(transit), link)
    return LinkPlan(
        f"t{transit}", node, Protocol.BGP, prefix, 1, 2, rate_mbit=shape.rate_mbit,
        delay_ms=delay_ms if shape.delays else 0.0, backup=backup,
    )  # fmt: skip


def _places(shape: Shape) -> dict[str, tuple[float, float]]:
    """Home ASes above, as the draft has them, each over its transit; visited networks below."""
    found: dict[str, tuple[float, float]] = {}
    for block, asn in enumerate(shape.home_ases):
        left = block * BLOCK
        for i in _count(shape.has):
            found[f"HA{asn}{i}"] = (left + (i - 1) % 2, 1.0 - (i - 1) // 2)
        found[f"br{asn}1"], found[f"br{asn}2"] = (left, 2.2), (left + 1, 2.2)
    for n in _count(shape.cns):
        right = (n - 1) * BLOCK + 2
        found[f"cn{n}"], found[f"c{n}"] = (right, 2.2), (right, 3.4)
    for n in range(1, shape.transits):
        found[f"t{n}"] = ((n - 1) * BLOCK, 4.6)
    middle = BLOCK / 2
    found[f"t{shape.transits}"] = (middle, 6.6)
    found["v1"], found["v2"], found["v3"] = (middle, 7.8), (0.0, 6.2), (BLOCK, 6.2)
    for m in _count(shape.mns):
        found[_mobile(m)] = (middle + 0.8 * (m - 1), 9.0)
    if shape.hijacker:
        found["h3"] = (middle + 0.9, 7.8)
    return found


def _count(number: int) -> range:
    return range(1, number + 1)


def _transit_as(n: int) -> int:
    return addressing.TRANSIT_AS + n


def _cn_as(n: int) -> int:
    return 10 + n


def _mobile(m: int) -> str:
    return "mn" if m == 1 else f"mn{m}"
