"""The plan of Figure 1 and what is derived from it: costs, routes, FRR's files, the picture."""

from ipaddress import IPv6Address, IPv6Network
from xml.etree import ElementTree

import pytest

from topologies import addressing
from topologies.figure_1 import figure_1
from topologies.frr_config import DETECTIONS, RoutingOptions, daemons, render
from topologies.frr_programs import rejected_lines
from topologies.graph import draw
from topologies.graph import main as graph_main
from topologies.newcomers import home_agent_costs
from topologies.plan import MultipathHash, Protocol, Role
from topologies.routing import expected_prefixes
from topologies.static_routes import static_routes
from topologies.tables import table


@pytest.mark.parametrize("has", range(1, 10))
def test_no_router_has_two_equal_ways_to_home_agents(has: int) -> None:
    plan = figure_1(has=has)
    for node in plan.nodes.values():
        if node.role in (Role.ROUTER, Role.BORDER, Role.HOME_AGENT):
            costs = home_agent_costs(plan, node.name)
            assert len(set(costs.values())) == has, f"{node.name}: {costs}"


@pytest.mark.parametrize("has", [2, 3, 9])
def test_equal_ways_are_made_at_the_border_alone(has: int) -> None:
    plan = figure_1(has=has, ecmp=MultipathHash.L4)
    costs = home_agent_costs(plan, "br")
    assert costs["HA1"] == costs["HA2"] == min(costs.values())
    assert len(set(costs.values())) == has - 1
    for node in plan.of_role(Role.ROUTER):
        ordered = sorted(home_agent_costs(plan, node.name).values())
        assert ordered[0] < ordered[1]


def test_kernels_know_the_hashes_by_number() -> None:
    assert [each.policy for each in map(MultipathHash, ("l3", "l4", "inner"))] == [0, 1, 2]


def test_equal_ways_need_two_home_agents() -> None:
    with pytest.raises(ValueError, match="ecmp"):
        figure_1(has=1, ecmp=MultipathHash.L3)


def test_distances_are_those_of_the_figure() -> None:
    plan = figure_1()
    assert sorted(home_agent_costs(plan, "br"), key=home_agent_costs(plan, "br").get) == [
        "HA1",
        "HA2",
        "HA3",
    ]
    for router, nearest in (("r1", "HA1"), ("r2", "HA2"), ("r3", "HA3")):
        costs = home_agent_costs(plan, router)
        assert min(costs, key=lambda name: costs[name]) == nearest


def test_addresses_keep_the_digits_of_the_figures() -> None:
    plan = figure_1(mns=2)
    assert str(addressing.HOME_AGENT_ADDRESS) == "fd00:192:168:1::254"
    assert str(addressing.home_address()) == "fd00:192:168:1::100"
    assert str(addressing.home_address(2)) == "fd00:192:168:1::101"
    assert str(addressing.care_of_address(1)) == "fd00:10:10:10::100"
    assert str(addressing.care_of_address(2, 2)) == "fd00:10:10:20::101"
    assert [str(plan.address_of(f"HA{i}")) for i in (1, 2, 3)] == [
        "fd00:1:1::1",
        "fd00:1:2::2",
        "fd00:1:3::3",
    ]


@pytest.mark.parametrize("has", [1, 3, 9])
def test_every_address_is_used_once(has: int) -> None:
    plan = figure_1(has=has)
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


@pytest.mark.parametrize(("key", "value"), [("has", 0), ("has", 10), ("mns", 0), ("mns", 10)])
def test_numbers_out_of_range_are_refused(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{key}={value}"):
        figure_1(**{key: value})


def test_static_routes_reach_every_link_without_loops() -> None:
    plan = figure_1()
    owner = {address: node for link in plan.links for node, _, address in link.ends()}
    tables = {name: dict(static_routes(plan, name)) for name in plan.nodes}
    for start in plan.nodes:
        for target in plan.links:
            if not target.up:
                continue
            here, hops = start, 0
            while here not in (target.a, target.b):
                gateway = _lookup(tables[here], target.prefix)
                here, hops = owner[gateway], hops + 1
                assert hops < len(plan.nodes), f"{start} to {target.name} goes in circles"


def _lookup(routes: dict[IPv6Network, IPv6Address], prefix: IPv6Network) -> IPv6Address:
    return routes.get(prefix) or routes[IPv6Network("::/0")]


def test_which_daemons_run_where() -> None:
    plan, options = figure_1(), RoutingOptions()
    expected = {
        "HA1": ["zebra", "bfdd", "ospf6d"],
        "r2": ["zebra", "bfdd", "ospf6d"],
        "br": ["zebra", "bfdd", "ospf6d", "bgpd"],
        "v1": ["zebra", "bfdd", "bgpd"],
        "mn": [],
    }
    for name, wanted in expected.items():
        assert daemons(plan, plan.nodes[name], options) == wanted
    without = RoutingOptions(detection=DETECTIONS["ospf-1-4"])
    assert daemons(plan, plan.nodes["br"], without) == ["zebra", "ospf6d", "bgpd"]


HA2_OSPF6D = """\
hostname HA2
ipv6 prefix-list HOME seq 5 permit fd00:192:168:1::/64
route-map FROM-AGENT permit 10
 match ipv6 address prefix-list HOME
exit
interface HA2-r2
 ipv6 ospf6 area 0.0.0.0
 ipv6 ospf6 network point-to-point
 ipv6 ospf6 cost 10
 ipv6 ospf6 hello-interval 1
 ipv6 ospf6 dead-interval 4
 ipv6 ospf6 retransmit-interval 1
 ipv6 ospf6 bfd profile interior
exit
router ospf6
 ospf6 router-id 10.0.0.2
 log-adjacency-changes
 timers throttle spf 0 10 50
 timers lsa min-arrival 0
 redistribute kernel metric 2 metric-type 1 route-map FROM-AGENT
exit
"""

BR_BGPD = """\
hostname br
ipv6 prefix-list HOME seq 5 permit fd00:192:168:1::/64
route-map HOME-ONLY permit 10
 match ipv6 address prefix-list HOME
exit
bgp as-path access-list OWN permit ^$
route-map OWN-PREFIXES permit 10
 match as-path OWN
exit
route-map OWN-PREFIXES-BACKUP permit 10
 match as-path OWN
 set as-path prepend 1 1
exit
router bgp 1
 bgp router-id 10.0.0.7
 bgp log-neighbor-changes
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 no bgp network import-check
 coalesce-time 0
 bgp bestpath compare-routerid
 neighbor fd00:100:1::1 remote-as 100
 neighbor fd00:100:1::1 timers 1 4
 neighbor fd00:100:1::1 timers connect 1
 neighbor fd00:100:1::1 advertisement-interval 0
 address-family ipv6 unicast
  maximum-paths 1
  maximum-paths ibgp 1
  network fd00:1::/32
  redistribute ospf6 route-map HOME-ONLY
  aggregate-address fd00:192:168::/48 summary-only
  neighbor fd00:100:1::1 activate
  neighbor fd00:100:1::1 route-map OWN-PREFIXES out
 exit-address-family
exit
"""

BR_BFDD = """\
hostname br
bfd
 profile interior
  detect-multiplier 3
  receive-interval 10
  transmit-interval 10
 exit
 profile exterior
  detect-multiplier 3
  receive-interval 50
  transmit-interval 50
 exit
exit
"""


@pytest.mark.parametrize(
    ("node", "daemon", "detection", "wanted"),
    [
        ("HA2", "ospf6d", "bfd-10x3", HA2_OSPF6D),
        ("br", "bgpd", "ospf-1-4", BR_BGPD),
        ("br", "bfdd", "bfd-10x3", BR_BFDD),
    ],
)
def test_configurations_as_agreed(node: str, daemon: str, detection: str, wanted: str) -> None:
    plan = figure_1()
    options = RoutingOptions(detection=DETECTIONS[detection])
    assert render(plan, plan.nodes[node], daemon, options) == wanted


def test_the_home_network_is_announced_for_living_home_agents_alone() -> None:
    plan = figure_1()
    text = render(plan, plan.nodes["br"], "bgpd", RoutingOptions())
    assert not any("network fd00:192:168" in line for line in text.splitlines())


def test_zebra_is_told_nothing_of_interfaces() -> None:
    plan = figure_1()
    for node in plan.nodes.values():
        text = render(plan, node, "zebra", RoutingOptions())
        assert "interface" not in text
        assert "ipv6" not in text


def test_what_a_router_is_expected_to_reach() -> None:
    plan = figure_1()
    assert IPv6Network("::/0") in expected_prefixes(plan, "HA1")
    assert IPv6Network("fd00:10:10:20::/64") in expected_prefixes(plan, "br")
    assert IPv6Network("fd00:1::/32") in expected_prefixes(plan, "v1")
    assert IPv6Network("fd00:10:10:20::/64") in expected_prefixes(plan, "v1")
    assert IPv6Network("fd00:10:10:20::/64") in expected_prefixes(plan, "v2")


def test_complaints_of_a_dry_run_are_found() -> None:
    said = (
        "2026/11/24 WARN\nline 3: % Unknown command[4]: bogus\nNo such command on config line 3\n"
    )
    assert len(rejected_lines(said)) == 2
    assert rejected_lines("[BFD] all well\n") == []


@pytest.mark.parametrize("has", [1, 3, 9])
def test_the_picture_shows_every_node_and_link(has: int) -> None:
    plan = figure_1(has=has)
    tree = ElementTree.fromstring(draw(plan))
    texts = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert set(plan.nodes) <= set(texts)
    titles = [element.text or "" for element in tree.iter("{http://www.w3.org/2000/svg}title")]
    for link in plan.links:
        assert any(title.startswith(f"{link.name}:") for title in titles)
    circles = [
        (element.get("cx"), element.get("cy"))
        for element in tree.iter("{http://www.w3.org/2000/svg}circle")
    ]
    assert len(set(circles)) == len(plan.nodes)


def test_an_unknown_topology_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOPO", "triangle")
    assert graph_main() == 2
    assert "triangle" in capsys.readouterr().err


def test_tables_line_up() -> None:
    text = table([{"node": "HA1", "up": True}, {"node": "cn1", "peers": ["a", "b"]}])
    assert text.splitlines() == ["node  up   peers", "HA1   yes  -", "cn1   -    a, b"]
    assert table([]) == "none"
