"""The plans of Figure 2 and of §4.2: sizes, costs, who carries whose packets, the picture."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from topologies.figure_2 import Shape, TransitGraph, multi_as, multi_hoa
from topologies.frr_config import RoutingOptions, render
from topologies.graph import draw
from topologies.plan import Plan, Protocol, Role
from topologies.routing import expected_prefixes, home_prefixes
from topologies.static_routes import distances

SHAPES = [
    Shape(),
    Shape(ases=1, has=1, cns=1),
    Shape(ases=3, has=3, cns=2, mns=2, transit=TransitGraph.RING),
    Shape(ases=4, has=4, cns=4, mns=9, transit=TransitGraph.STAR, hijacker=True),
]


def costs_in_as(plan: Plan, router: str) -> list[int]:
    """What OSPFv3 compares at a router: the way to each home agent of its AS, and its metric."""
    interior = replace(
        plan, links=tuple(link for link in plan.links if link.protocol is Protocol.OSPF)
    )
    reached = distances(interior, router)
    here = plan.nodes[router].asn
    agents = [node for node in plan.of_role(Role.HOME_AGENT) if node.asn == here]
    return [reached[agent.name][0] + agent.index for agent in agents]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_router_has_two_equal_ways_to_home_agents(shape: Shape) -> None:
    plan = multi_as(shape)
    routers = [*plan.of_role(Role.BORDER), *plan.of_role(Role.HOME_AGENT)]
    assert routers
    for node in routers:
        costs = costs_in_as(plan, node.name)
        assert len(set(costs)) == shape.has, f"{node.name}: {costs}"


@pytest.mark.parametrize("make", [multi_as, multi_hoa])
@pytest.mark.parametrize("shape", SHAPES)
def test_addresses_are_used_once_and_names_fit(shape: Shape, make: object) -> None:
    plan = multi_as(shape) if make is multi_as else multi_hoa(shape)
    addresses = [
        address
        for link in plan.links
        if link.protocol is not Protocol.ACCESS
        for _, _, address in link.ends()
    ]
    assert len(addresses) == len(set(addresses))
    prefixes = {link.prefix for link in plan.links}
    assert not any(a != b and a.overlaps(b) for a in prefixes for b in prefixes)
    assert all(len(interface) <= 15 for link in plan.links for _, interface, _ in link.ends())
    indexes = [node.index for node in plan.of_role(Role.HOME_AGENT)]
    assert indexes == list(range(1, shape.ases * shape.has + 1))


def test_the_digits_are_those_of_the_figure() -> None:
    plan = multi_as()
    own = {name: str(plan.address_of(name)) for name in ("HA11", "HA12", "HA21", "HA22")}
    assert own == {
        "HA11": "fd00:1:1::1",
        "HA12": "fd00:1:2::2",
        "HA21": "fd00:2:1::1",
        "HA22": "fd00:2:2::2",
    }
    (home,) = plan.homes
    assert (str(home.prefix), home.ases) == ("fd00:192:168:1::/64", (1, 2))


def test_each_as_has_its_own_home_network_in_section_4_2() -> None:
    first, second = multi_hoa().homes
    assert str(first.home_address(1)) == "fd00:192:168:1::100"
    assert str(second.home_address(1)) == "fd00:192:169:1::100"
    assert str(second.home_agent_address) == "fd00:192:169:1::254"
    plan = multi_hoa()
    assert [node.name for node in plan.home_agents(second)] == ["HA21", "HA22"]
    assert plan.home_of("br22") == second
    assert home_prefixes(plan, "br11") == {first.prefix, second.aggregate}
    assert home_prefixes(plan, "HA21") == {second.prefix}


@pytest.mark.parametrize(
    ("field", "value"),
    [("ases", 0), ("ases", 5), ("has", 5), ("cns", 0), ("mns", 10), ("transit", "tree")],
)
def test_sizes_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field}={value}"):
        Shape(**{field: value})  # type: ignore[arg-type]


def bgpd(plan: Plan, name: str) -> list[str]:
    return [
        line.strip()
        for line in render(plan, plan.nodes[name], "bgpd", RoutingOptions()).splitlines()
    ]


@pytest.mark.parametrize("make", [multi_as, multi_hoa])
def test_stubs_announce_their_own_prefixes_alone(make: object) -> None:
    plan = multi_as(Shape(hijacker=True)) if make is multi_as else multi_hoa()
    for node in plan.nodes.values():
        if not plan.speaks(node.name, Protocol.BGP):
            continue
        lines = bgpd(plan, node.name)
        outward = [end for end in plan.ends_of(node.name) if end.link.protocol is Protocol.BGP]
        filtered = [
            any(
                line.startswith(f"neighbor {end.neighbour_address} route-map OWN-")
                for line in lines
            )
            for end in outward
        ]
        assert filtered == [node.role is not Role.TRANSIT] * len(outward), node.name


def test_a_backup_link_looks_longer() -> None:
    lines = bgpd(multi_as(), "c1")
    assert "set as-path prepend 11 11" in lines
    mapped = [line for line in lines if "route-map" in line and line.startswith("neighbor")]
    assert [line.split()[-2] for line in mapped] == ["OWN-PREFIXES", "OWN-PREFIXES-BACKUP"]


def test_border_routers_of_an_as_are_peers_of_one_another() -> None:
    lines = bgpd(multi_as(), "br12")
    assert "neighbor fd00:1:101::1 remote-as 1" in lines
    assert "neighbor fd00:1:101::1 next-hop-self" in lines
    assert not any(line.startswith("network fd00:192") for line in lines)


def test_what_routers_are_expected_to_reach() -> None:
    plan = multi_as()
    reached = {str(prefix) for prefix in expected_prefixes(plan, "br11")}
    assert {"fd00:2::/32", "fd00:11::/32", "fd00:10:10:30::/64", "fd00:1:2::/64"} <= reached
    assert "::/0" in {str(prefix) for prefix in expected_prefixes(plan, "HA11")}


def test_delays_can_be_left_out() -> None:
    assert any(link.delay_ms for link in multi_as().links)
    assert not any(link.delay_ms for link in multi_as(Shape(delays=False)).links)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_picture_shows_every_node_once(shape: Shape) -> None:
    plan = multi_hoa(shape)
    tree = ElementTree.fromstring(draw(plan))
    texts = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert set(plan.nodes) <= set(texts)
    circles = [
        (float(element.get("cx", 0)), float(element.get("cy", 0)))
        for element in tree.iter("{http://www.w3.org/2000/svg}circle")
    ]
    assert len(circles) == len(plan.nodes)
    apart = [
        abs(a[0] - b[0]) + abs(a[1] - b[1]) for i, a in enumerate(circles) for b in circles[:i]
    ]
    assert min(apart) >= 48, "two circles overlap"
