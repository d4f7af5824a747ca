"""Where a home agent that joins a running network has its place."""

import pytest

from topologies.figure_1 import figure_1
from topologies.figure_2 import Shape, multi_as, multi_hoa
from topologies.graph import draw
from topologies.newcomers import MembershipError, home_agent_costs, newcomer, picture_place
from topologies.plan import NodePlan, Plan, Role

FIGURES = {"single_as": figure_1, "multi_as": multi_as, "multi_hoa": multi_hoa}


def joined(plan: Plan, name: str, at: str | None = None) -> NodePlan:
    """Add a home agent to a plan as a network does."""
    node, link = newcomer(plan, name, at, plan.nodes.values())
    place = picture_place(plan, link.b)
    plan.add(node, [link])
    if place is not None:
        plan.places[name] = place
    return node


def test_the_fourth_of_figure_1_draws_no_packets() -> None:
    plan = figure_1()
    nearest = {
        router.name: min(costs, key=costs.__getitem__)
        for router in plan.of_role(Role.ROUTER)
        if (costs := home_agent_costs(plan, router.name))
    }
    node = joined(plan, "HA4")
    assert (node.index, str(plan.address_of("HA4"))) == (4, "fd00:1:4::4")
    assert plan.link_between("HA4", "r3").cost == 10
    for router, before in nearest.items():
        costs = home_agent_costs(plan, router)
        assert min(costs, key=costs.__getitem__) == before


def test_at_the_border_it_is_the_nearest_of_all() -> None:
    plan = figure_1()
    joined(plan, "HA4", "br")
    costs = home_agent_costs(plan, "br")
    assert min(costs, key=costs.__getitem__) == "HA4"


def test_a_router_without_home_agents_comes_first() -> None:
    plan = figure_1()
    plan.remove("HA2")
    joined(plan, "HA2")
    assert plan.link_between("HA2", "r2").cost == 10


@pytest.mark.parametrize(
    ("figure", "name", "router", "index"),
    [
        ("multi_as", "HA13", "br11", 5),
        ("multi_as", "HA23", "br21", 5),
        ("multi_hoa", "HA23", "br21", 5),
    ],
)
def test_in_figure_2_the_name_tells_the_as(figure: str, name: str, router: str, index: int) -> None:
    plan = FIGURES[figure]()
    node = joined(plan, name)
    assert (node.asn, node.index) == (int(name[2]), index)
    assert plan.link_between(name, router)


@pytest.mark.parametrize("figure", FIGURES)
def test_no_router_gets_equal_ways_to_a_newcomer(figure: str) -> None:
    """Whichever router it hangs on, and however many there are already."""
    as_one = figure == "single_as"
    first = FIGURES[figure]()
    inside = [n.name for n in first.nodes.values() if n.asn == 1]
    for at in (n for n in inside if first.nodes[n].role in (Role.ROUTER, Role.BORDER)):
        plan = FIGURES[figure]()
        for place in (4, 5, 6):
            name = f"HA{place}" if as_one else f"HA1{place}"
            joined(plan, name, at)
            for router in inside:
                if not plan.nodes[router].role.is_host:
                    costs = list(home_agent_costs(plan, router).values())
                    assert len(set(costs)) == len(costs), f"{name} at {at}: {router} {costs}"


@pytest.mark.parametrize("figure", FIGURES)
def test_all_numbers_and_addresses_stay_unique(figure: str) -> None:
    plan = FIGURES[figure]()
    names = ["HA4", "HA5"] if figure == "single_as" else ["HA13", "HA14", "HA23"]
    for name in names:
        joined(plan, name)
    assert len({node.number for node in plan.nodes.values()}) == len(plan.nodes)
    indexes = [node.index for node in plan.of_role(Role.HOME_AGENT)]
    assert len(set(indexes)) == len(indexes)
    prefixes = [link.prefix for link in plan.links if link.protocol != "access"]
    assert len(set(prefixes)) == len(prefixes)
    assert all(len(i) <= 15 for link in plan.links for _, i, _ in link.ends())


def test_who_comes_again_has_its_numbers_again() -> None:
    plan = multi_as()
    known = dict(plan.nodes)
    known["HA13"] = joined(plan, "HA13")
    plan.remove("HA13")
    known["HA23"], _ = newcomer(plan, "HA23", None, known.values())
    assert known["HA23"].index == known["HA13"].index + 1
    assert newcomer(plan, "HA13", None, known.values())[0] == known["HA13"]


@pytest.mark.parametrize(
    ("name", "at", "why"),
    [
        ("HA1", None, "there already"),
        ("HA64", None, "at most 63"),
        ("HA04", None, "its name is HA and a number"),
        ("cn9", None, "its name is HA and a number"),
        ("HA4", "t1", "at r1, r2, r3, br"),
        ("HA4", "HA1", "at r1, r2, r3, br"),
    ],
)
def test_what_has_no_place_is_refused(name: str, at: str | None, why: str) -> None:
    with pytest.raises(MembershipError, match=why):
        joined(figure_1(), name, at)


def test_an_as_without_a_home_network_takes_none() -> None:
    with pytest.raises(MembershipError, match="number of a home AS"):
        joined(multi_as(), "HA33")


@pytest.mark.parametrize("figure", FIGURES)
def test_the_picture_has_a_place_of_its_own_for_it(figure: str) -> None:
    plan = FIGURES[figure](Shape(ases=3)) if figure == "multi_as" else FIGURES[figure]()
    for name in ["HA4"] if figure == "single_as" else ["HA13", "HA14", "HA15"]:
        joined(plan, name)
    assert all(f">{name}<" in draw(plan) for name in plan.nodes)
    assert len(set(plan.places.values())) == len(plan.places)


def test_a_plan_forgets_whoever_leaves() -> None:
    before, plan = multi_as(), multi_as()
    joined(plan, "HA13")
    assert plan != before
    plan.remove("HA13")
    assert plan == before
