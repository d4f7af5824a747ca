"""Figure 2 as an ordinary user: what each router's tables say, and by whom packets come and go."""

import pytest

from tests.figure_1.inside import inside
from tests.figure_1.lab import HOME_ADDRESS, HOME_PREFIX
from tests.figure_2.lab import CORRESPONDENTS, SERVING, Figure2
from tests.readiness import check_steps
from topologies import addressing
from topologies.bgp_model import BgpModel, as_text
from topologies.plan import Protocol, Role

pytestmark = pytest.mark.emulation

HOME_AGGREGATE = str(addressing.HOME_AGGREGATE)


# Tables, hop by hop.


@inside
def test_every_step_to_readiness_is_recorded(figure_2: Figure2) -> None:
    figure_2.wait_settled()
    check_steps(figure_2.network.timings)


@inside
def test_every_router_chooses_as_the_plan_predicts(figure_2: Figure2) -> None:
    """AS path and next hop in bgpd, interface in the kernel, for every prefix on every router."""
    figure_2.wait_settled()
    plan, compared = figure_2.plan, 0
    tables = {
        name: figure_2.bgp(name, "show bgp ipv6 unicast")["routes"]
        for name in figure_2.bgp_speakers()
    }
    for network, chosen in BgpModel(plan).tables.items():
        prefix = str(network)
        assert {name for name, table in tables.items() if prefix in table} == set(chosen)
        for name, route in chosen.items():
            (best,) = [each for each in tables[name][prefix] if each.get("bestpath")]
            assert best["path"] == as_text(route.as_path), (name, prefix)
            if route.end is None:
                continue
            hops = {hop["ip"] for hop in best["nexthops"] if hop["scope"] == "global"}
            # Between border routers of an AS too it is who told it (next-hop-self).
            assert hops == {str(route.end.neighbour_address)}, (name, prefix)
            assert figure_2.way_of(name, network) == route.end.interface, (name, prefix)
            compared += 1
    assert compared > 100


@inside
def test_no_path_leads_through_a_stub(figure_2: Figure2) -> None:
    figure_2.wait_settled()
    transits = {node.asn for node in figure_2.plan.of_role(Role.TRANSIT)}
    seen = set()
    for name in figure_2.bgp_speakers():
        for paths in figure_2.bgp(name, "show bgp ipv6 unicast")["routes"].values():
            for each in paths:
                path = tuple(map(int, each["path"].split()))
                seen.add(path)
                passed = set(path) - set(path[-1:])  # a backup link repeats the last one
                assert passed <= transits, (name, each)
    assert max(map(len, seen)) >= 3


@inside
def test_stubs_tell_their_neighbours_of_their_own_prefixes_alone(figure_2: Figure2) -> None:
    figure_2.wait_settled()
    plan = figure_2.plan
    for name in figure_2.bgp_speakers():
        if plan.is_transit(name):
            continue
        own = {str(prefix) for prefix in plan.originate[plan.nodes[name].asn]}
        if plan.has_home(name):
            own.add(HOME_AGGREGATE)  # and not the /64 of which it is made
        for end in plan.ends_of(name):
            if end.link.protocol is Protocol.BGP:
                command = "show bgp ipv6 unicast neighbors {} advertised-routes"
                answer = figure_2.bgp(name, command.format(end.neighbour_address))
                assert set(answer["advertisedRoutes"]) == own, (name, end.neighbour)


@inside
def test_inside_an_as_the_nearest_home_agent_is_chosen_by_ospf(figure_2: Figure2) -> None:
    figure_2.wait_settled()
    for border, agent in (("br11", "HA11"), ("br12", "HA12"), ("br21", "HA21"), ("br22", "HA22")):
        zebra = figure_2.network.routing.on[border].daemons["zebra"]
        (entries,) = zebra.ask_json(f"show ipv6 route {HOME_PREFIX}").values()
        (chosen,) = [each for each in entries if each.get("selected")]
        assert chosen["protocol"] == "ospf6"
        ways = [hop["interfaceName"] for hop in chosen["nexthops"] if hop["fib"]]
        assert ways == [f"{border}-{agent}"]
        # The home agent's way out is that border router's default.
        zebra = figure_2.network.routing.on[agent].daemons["zebra"]
        (entries,) = zebra.ask_json("show ipv6 route ::/0").values()
        (chosen,) = [each for each in entries if each.get("selected")]
        assert (chosen["protocol"], chosen["nexthops"][0]["interfaceName"]) == (
            "ospf6", f"{agent}-{border}",
        )  # fmt: skip
        assert figure_2.has_own_home_route(agent)


# Packets.


@pytest.mark.parametrize("correspondent", CORRESPONDENTS)
@inside
def test_packets_come_by_the_nearest_home_agent_and_leave_by_that_of_the_mobile_node(
    figure_2: Figure2, correspondent: str
) -> None:
    figure_2.wait_settled()
    before = {name: figure_2.counters(name) for name in figure_2.home_agents}
    figure_2.pings(correspondent, HOME_ADDRESS, 7)
    counted = {
        name: [
            figure_2.count(name, f"tunnel.{way}") - before[name].get(f"tunnel.{way}", 0)
            for way in ("sent", "received")
        ]
        for name in before
    }
    nearest = CORRESPONDENTS[correspondent]
    assert counted == {
        name: [7 * (name == nearest), 7 * (name == SERVING)] for name in figure_2.home_agents
    }


@pytest.mark.parametrize(("access", "home_agent"), [("v2", "HA11"), ("v3", "HA21"), ("v1", "HA12")])
@inside
def test_a_move_across_the_map_changes_the_primary(
    figure_2: Figure2, access: str, home_agent: str
) -> None:
    """v2 is near AS 1, v3 near AS 2; v1 comes last, where all the other tests expect it."""
    care_of = str(addressing.care_of_address(int(access[1:])))
    figure_2.network.faults.move("mn", access)
    figure_2.wait("one primary", lambda: figure_2.primaries() == {home_agent})
    figure_2.wait("one binding", lambda: figure_2.care_of_addresses() == {care_of})
    for correspondent in CORRESPONDENTS:
        figure_2.pings(correspondent, HOME_ADDRESS, 3)
