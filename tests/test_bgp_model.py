"""The model of BGP and of forwarding, against what Figure 2 and Figure 1 are built to do."""

from dataclasses import replace
from ipaddress import IPv6Network

import pytest

from topologies import bgp_model
from topologies.bgp_model import (
    Announcement,
    BgpModel,
    Origin,
    announced_by,
    best_path,
    home_announcements,
)
from topologies.figure_1 import figure_1
from topologies.figure_2 import Shape, multi_as, multi_hoa
from topologies.path_model import NoWay, PathModel, delay_ms, own_address
from topologies.plan import Plan, Role

HOME = multi_as().homes[0].home_agent_address
SHAPES = [
    Shape(),
    Shape(ases=1, has=1, cns=1),
    Shape(ases=3, has=3, cns=3, mns=2, transit="ring"),
    Shape(ases=4, has=4, cns=4, transit="star", hijacker=True),
]


def cut(plan: Plan, *names: str) -> Plan:
    """The same plan with these links down."""
    links = tuple(replace(link, up=link.up and link.name not in names) for link in plan.links)
    assert {link.name for link in plan.links} >= set(names)
    return replace(plan, links=links)


def way(plan: Plan, source: str, **options: object) -> str:
    return " ".join(PathModel(plan, **options).path(source, HOME))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "nodes", "as_path"),
    [
        ("cn1", "cn1 c1 t1 br11 HA11", (101, 1)),
        ("cn2", "cn2 c2 t2 br21 HA21", (102, 2)),
        ("v1", "v1 t3 br12 HA12", (103, 1)),  # br22 is as near; br12's router id is lower
        ("v2", "v2 t1 br11 HA11", (101, 1)),
        ("v3", "v3 t2 br21 HA21", (102, 2)),
    ],
)
def test_who_serves_whom_in_figure_2(source: str, nodes: str, as_path: tuple[int, ...]) -> None:
    model = PathModel(multi_as())
    assert " ".join(model.path(source, HOME)) == nodes
    assert model.as_path(nodes.split(), HOME) == as_path


@pytest.mark.parametrize(
    ("source", "nodes"),
    [
        ("cn1", "cn1 t1 br r1 HA1"),
        ("cn2", "cn2 r2 HA2"),
        ("cn3", "cn3 r3 HA3"),
        ("v1", "v1 t1 br r1 HA1"),
    ],
)
def test_who_serves_whom_in_figure_1(source: str, nodes: str) -> None:
    model = PathModel(figure_1())
    assert " ".join(model.path(source, HOME)) == nodes
    inside = source in ("cn2", "cn3")
    expected = () if inside else (1,) if source == "cn1" else (100, 1)
    assert model.as_path(nodes.split(), HOME) == expected


def test_each_home_network_of_section_4_2_leads_into_its_own_as() -> None:
    plan = multi_hoa()
    model = PathModel(plan)
    first, second = (home.home_agent_address for home in plan.homes)
    assert model.path("cn2", first) == ("cn2", "c2", "t3", "br12", "HA12")
    assert model.path("cn2", second) == ("cn2", "c2", "t2", "br21", "HA21")
    assert model.path("v1", second) == ("v1", "t3", "br22", "HA22")


def test_failures_move_the_catchment() -> None:
    plan = multi_as()
    everyone = {node.name for node in plan.of_role(Role.HOME_AGENT)}
    assert way(plan, "v1", home_agents=everyone - {"HA12"}) == "v1 t3 br12 br11 HA11"
    assert way(plan, "cn1", home_agents={"HA21", "HA22"}) == "cn1 c1 t3 br22 HA22"
    assert way(cut(plan, "t1-c1"), "cn1") == "cn1 c1 t3 br12 HA12"
    assert way(cut(plan, "t1-br11"), "cn1") == "cn1 c1 t3 br12 HA12"
    assert way(cut(plan, "t1-br11", "t3-br12"), "v1") == "v1 t3 br22 HA22"
    with pytest.raises(NoWay):
        way(plan, "cn1", home_agents=())


def test_a_silent_transit_is_gone_around() -> None:
    plan = bgp_model.without(multi_as(), {"t1"})
    assert way(plan, "cn1") == "cn1 c1 t3 br12 HA12"
    with pytest.raises(NoWay):
        way(plan, "v2")


def test_the_same_prefix_from_every_speaker_of_an_as() -> None:
    (home,) = multi_as().homes
    made = announced_by(multi_as(), 2, home.aggregate)
    assert [each.node for each in made] == ["br21", "br22"]
    route = best_path(multi_as(), "v2", HOME, made)
    assert route is not None
    assert route.as_path == (101, 102, 2)


def test_a_backup_link_is_for_bad_times_only() -> None:
    plan = multi_as()
    c1 = own_address(plan, "cn1")
    # t3 hears 11 11 11 from c1 and 101 11 from t1.
    assert PathModel(plan).path("v1", c1)[:3] == ("v1", "t3", "t1")
    assert PathModel(cut(plan, "t1-c1")).path("v1", c1) == ("v1", "t3", "c1", "cn1")


@pytest.mark.parametrize("shape", SHAPES)
def test_no_way_leads_through_a_stub(shape: Shape) -> None:
    plan = multi_as(shape)
    model = BgpModel(plan)
    transits = {node.asn for node in plan.of_role(Role.TRANSIT)}
    for table in model.tables.values():
        for route in table.values():
            between = set(route.as_path) - set(route.as_path[-1:])  # prepending repeats the last
            assert between <= transits, route


@pytest.mark.parametrize("shape", SHAPES)
def test_everybody_reaches_everybody(shape: Shape) -> None:
    plan = multi_as(shape)
    model = PathModel(plan)
    names = [node.name for node in plan.nodes.values()]
    for source in names:
        for target in names:
            if plan.nodes[target].role is not Role.MOBILE:
                nodes = model.path(source, own_address(plan, target))
                assert nodes[-1] == target
                assert delay_ms(plan, nodes) >= 0


def test_an_own_prefix_is_preferred_to_what_is_heard() -> None:
    plan = multi_as()
    for border in ("br11", "br12", "br21", "br22"):
        route = best_path(plan, border, HOME)
        assert route is not None
        assert route.own


def test_filters_and_forged_origins() -> None:
    plan = multi_as(Shape(hijacker=True))
    (home,) = plan.homes
    honest = home_announcements(plan)
    hijack = Announcement(home.aggregate, "h3")
    seen = best_path(plan, "v1", HOME, [*honest, hijack])
    assert seen is not None
    assert seen.as_path == (103, 3)  # as long as (103, 1), and its origin code is lower

    def origin_is_known(_node: str, _prefix: IPv6Network, as_path: tuple[int, ...]) -> bool:
        return as_path[-1:] in ((), (1,), (2,))

    valid = best_path(plan, "v1", HOME, [*honest, hijack], origin_is_known)
    assert valid is not None
    assert valid.as_path == (103, 1)
    # Its own AS before the one that it names: longer, and past the filter.
    forged = replace(hijack, as_path=(1,))
    route = best_path(plan, "v1", HOME, [*honest, forged], origin_is_known)
    assert route is not None
    assert route.as_path == (103, 1)
    lonely = best_path(plan, "v1", HOME, [forged], origin_is_known)
    assert lonely is not None
    assert lonely.as_path == (103, 3, 1)
    assert BgpModel(plan, [forged]).route("br11", HOME) is None, "its own AS number is in the path"


def test_the_longest_prefix_wins_whoever_announces_it() -> None:
    plan = multi_as(Shape(hijacker=True))
    (home,) = plan.homes
    more_specific = Announcement(home.prefix, "h3")
    route = best_path(plan, "c1", HOME, [*home_announcements(plan), more_specific])
    assert route is not None
    assert route.nodes[-1] == "h3"
    assert route.prefix == home.prefix


def test_borders_tell_each_other_and_nobody_else_by_ibgp() -> None:
    plan = cut(multi_as(), "t1-br11")
    route = best_path(plan, "br11", own_address(plan, "cn1"))
    assert route is not None
    assert (route.interior, route.nodes) == (True, ("br11", "br12", "t3", "t1", "c1"))


def test_distances_are_the_plan_s() -> None:
    plan = multi_as()
    model = PathModel(plan)
    assert model.round_trip_ms("v1", "HA12", HOME) == 20.0
    assert model.round_trip_ms("cn1", "HA11", HOME) == 2.0
    with pytest.raises(NoWay):
        model.round_trip_ms("cn1", "HA12", HOME)


def test_where_a_mobile_node_is_decides_its_way() -> None:
    plan = multi_as()
    assert PathModel(plan).path("mn", HOME)[1] == "v1"
    assert PathModel(plan, places={"mn": "v3"}).path("mn", HOME)[1:] == ("v3", "t2", "br21", "HA21")


def test_a_dispute_without_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bgp_model, "ROUNDS", 1)
    with pytest.raises(RuntimeError, match="does not settle"):
        BgpModel(multi_as())


def test_origin_codes_are_the_rfc_s() -> None:
    assert Origin.IGP < Origin.INCOMPLETE
