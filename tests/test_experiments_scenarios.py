"""The scenarios of the failover experiment agree with the plans, of every size that SET can ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from experiments import failover, parameters, targets
from experiments.data import EventName
from experiments.parameters import ParameterError
from experiments.phases import phases
from experiments.scenarios import Case, Scenario, Way, multi_as, single_as
from experiments.watch import Observation
from topologies import addressing
from topologies.bgp_model import BgpModel, home_announcements
from topologies.figure_1 import figure_1
from topologies.figure_2 import Shape, TransitGraph
from topologies.figure_2 import multi_as as figure_2
from topologies.plan import Plan, Role

SHAPES = [
    Shape(),
    Shape(has=4, cns=3),
    Shape(ases=3, has=3, cns=2, mns=2, transit=TransitGraph.RING),
    Shape(ases=4, has=2, cns=4, transit=TransitGraph.STAR),
]
AGGREGATE, HOME = str(addressing.HOME_AGGREGATE), str(addressing.HOME_PREFIX)


def everything(plan: Plan, scenario: Scenario) -> Iterator[tuple[str, Case, Way]]:
    for name, case in scenario.cases.items():
        for way in (*case.withdrawn, *case.moves):
            yield name, case, way


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_scenario_names_is_there(shape: Shape) -> None:
    plan = figure_2(shape)
    scenario = multi_as(plan)
    interfaces = {interface for link in plan.links for _, interface, _ in link.ends()}
    for name, case, way in everything(plan, scenario):
        assert way.interfaces <= interfaces, name
        assert case.fault.sessions <= interfaces, name
        assert all(plan.link_between(*link) for link in case.fault.cut), name
        assert set(case.fault.made_at) <= set(plan.nodes), name
    assert set(scenario.cases) == {*failover.FAULTS, *failover.AS_FAULTS}
    for case in scenario.cases.values():
        ends = {node for flow in case.flows for node in (flow.sender, flow.receiver)}
        assert ends <= set(scenario.addresses)
        assert case.affected <= {flow.number for flow in case.flows}


def end_of(model: BgpModel, way: Way) -> str:
    route = model.best(way.router, way.prefix)
    assert route is not None
    assert route.end is not None
    return route.end.interface


@pytest.mark.parametrize("shape", SHAPES)
def test_routes_that_move_are_those_that_bgp_chooses(shape: Shape) -> None:
    """Before the fault they go as the scenario says; without what fails they go elsewhere."""
    plan = figure_2(shape)
    scenario = multi_as(plan)
    rest = [node.name for node in plan.of_role(Role.HOME_AGENT) if node.asn != 1]
    model, without = BgpModel(plan), BgpModel(plan, home_announcements(plan, rest))
    checked = 0
    for name in ("as-loss", "as-cut", "transit-loss"):
        for way in scenario.cases[name].moves:
            assert {end_of(model, way)} == way.interfaces, (name, way)
            if str(way.prefix) == AGGREGATE and name != "transit-loss":
                assert end_of(without, way) not in way.interfaces
            checked += 1
    assert checked == 6


def test_figure_1_is_told_as_ever() -> None:
    scenario = single_as(figure_1())
    (way,) = scenario.ways
    assert (way.router, str(way.prefix), set(way.interfaces)) == ("br", HOME, {"br-r1"})
    assert scenario.watched() == {name: {addressing.HOME_PREFIX} for name in ("br", "r1")} | {
        "HA1": set()
    }
    case = scenario.cases["link-cut"]
    assert [case.role(flow) for flow in case.flows] == ["affected", "affected", "bystander"]


CASES = multi_as(figure_2()).cases


def route(time: int, node: str, interface: str, prefix: str, change: str = "add") -> Observation:
    fields = {"node": node, "destination": prefix, "interface": interface, "change": change}
    return Observation(time, EventName.ROUTE, fields)


def invalid(time: int, node: str, peer: str) -> Observation:
    fields = {"node": node, "peer": peer, "kind": "peer-changed", "state": "invalid"}
    return Observation(time, EventName.AGENT, fields)


def bfd(time: int, node: str, interface: str) -> Observation:
    fields = {"node": node, "interface": interface, "state": "Down", "outgoing": True}
    return Observation(time, EventName.BFD, fields)


AS_LOST = [
    bfd(1, "t3", "t3-v1"),  # nobody's whose neighbour fell silent
    bfd(2, "br12", "br12-HA12"),
    route(3, "br12", "br12-br11", HOME),  # to the neighbour that is silent too
    route(5, "br12", "br12-br11", HOME, "delete"),
    route(6, "br11", "br11-HA11", HOME, "delete"),
    route(7, "t3", "t3-t1", AGGREGATE),
    route(8, "t1", "t1-t2", AGGREGATE),
    route(9, "t3", "t3-br22", AGGREGATE),
    *(invalid(300 + i, node, peer) for i, (node, peer) in
      enumerate([("HA21", "HA11"), ("HA22", "HA11"), ("HA21", "HA12"), ("HA22", "HA12")])),
]  # fmt: skip


def test_phases_of_the_loss_of_an_as() -> None:
    """All borders withdraw, all transits switch, one of them by way of another; all peers know."""
    assert phases(AS_LOST, CASES["as-loss"], ["HA21", "HA22"], 12) == {
        "detected": 2,
        "withdrawn": 6,
        "fib-changed": 8,
        "fib-settled": 9,
        "first-packet": 12,
        "peers-in-sync": 303,
    }


def test_a_phase_of_which_a_part_is_missing_is_absent() -> None:
    without = [o for o in AS_LOST if o.fields["node"] not in ("t1", "br11", "HA22")]
    assert set(phases(without, CASES["as-loss"], [], 12)) == {"detected", "first-packet"}


def test_a_partition_moves_nothing_and_is_noticed_on_both_sides() -> None:
    pairs = [(a, b) for a in ("HA11", "HA12") for b in ("HA21", "HA22")]
    seen = [invalid(i, *pair) for i, pair in enumerate(pairs, start=1)]
    assert phases(seen, CASES["ha-partition"], [], 9) == {"detected": 1}
    seen += [invalid(10 + i, b, a) for i, (a, b) in enumerate(pairs)]
    assert phases(seen, CASES["ha-partition"], [], 9) == {"detected": 1, "peers-in-sync": 13}


def test_the_slow_setting_runs_only_when_it_is_named() -> None:
    known = failover.KNOWN
    chosen = parameters.parse(known, ["TOPO=multi_as"], {}).chosen
    assert chosen["DETECTION"] == ("bfd-50x3",)
    assert chosen["FAULT"] == (*failover.FAULTS, *failover.AS_FAULTS)
    asked = parameters.parse(known, ["TOPO=multi_as", "DETECTION=bgp-default,bfd-10x3"], {})
    assert asked.chosen["DETECTION"] == ("bfd-10x3", "bgp-default")
    for wrong in ("DETECTION=bgp-default", "FAULT=as-loss"):
        with pytest.raises(ParameterError, match="unknown"):
            parameters.parse(known, [wrong], {})  # Figure 1 has neither


def test_the_loss_of_an_as_is_held_against_400_ms() -> None:
    assert targets.outage_target("multi_as", "as-loss", "bfd-50x3") == 400
    assert targets.outage_target("multi_as", "as-loss", "bfd-10x3") is None
    assert targets.outage_target("multi_as", "agent-kill", "bfd-50x3") is None
    assert targets.is_headline("multi_as", "as-loss", "bfd-50x3")
    assert targets.is_headline("single_as", "agent-hang", "bfd-10x3")
    assert not targets.is_headline("single_as", "agent-hang", "bfd-50x3")
