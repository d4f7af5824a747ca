"""Wishes and the metric of the home prefix (rule 12), in memory."""

import pytest
from world import COA, World

from agents.core.events import AdvertisePrefix, Event, MetricChanged, PrimaryChanged
from agents.core.wishes import Wish, Wishes, from_octet

PENALTY = 100


def wished_world(has: int = 3, penalty: int = PENALTY) -> World:
    world = World(has, metric_penalty=penalty)
    for index in world.indexes:
        world.start_ha(index, metric=index)
    world.run(1.0)
    world.start_mn()
    return world


def second(world: World) -> None:
    world.start_mn(number=2, at=COA + 1)


def wish(world: World, home_agent: int, weight: int = 1, number: int = 1) -> None:
    engine = world.mobiles[number].engine
    assert engine is not None
    engine.wish(Wish(home_agent, weight), world.now)
    world.run(0.1)


def metrics(world: World) -> list[object]:
    return [world.has[index].status()["metric"] for index in sorted(world.has)]


def told(world: World, index: int) -> list[int]:
    return [event.metric for event in world.found(index, MetricChanged)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("octet", range(256))
def test_every_octet_is_a_wish(octet: int) -> None:
    found = from_octet(octet)
    assert (found.to_octet() == octet) is (found.home_agent != 0 or octet == 0)


@pytest.mark.parametrize("wrong", [Wish(64), Wish(-1), Wish(1, 0), Wish(1, 5)])
def test_wishes_out_of_range(wrong: Wish) -> None:
    with pytest.raises(ValueError, match="no wish for"):
        wrong.to_octet()


def test_favourite() -> None:
    wishes = Wishes({1, 2, 3})
    assert wishes.favourite is None
    wishes.replace(0, Wish(3).to_octet())
    assert wishes.favourite == 3
    wishes.replace(0, Wish(2).to_octet())
    assert wishes.favourite == 2  # of equals the lowest
    wishes.replace(0, Wish(3, 2).to_octet())
    assert wishes.favourite == 3
    wishes.replace(0, Wish(9, 4).to_octet())  # a stranger
    assert wishes.favourite == 3
    wishes.replace(Wish(3).to_octet(), Wish(2).to_octet())
    assert wishes.favourite == 2
    for gone in (Wish(2), Wish(2), Wish(3, 2), Wish(9, 4)):
        wishes.replace(gone.to_octet(), 0)
    assert wishes.favourite is None


def test_static_metric_is_told_before_the_prefix() -> None:
    world = wished_world()
    for index in (1, 2, 3):
        kinds: list[type[Event]] = [type(each) for each in world.events[index]]
        assert kinds.index(MetricChanged) < kinds.index(AdvertisePrefix)
        assert told(world, index) == [index]


def test_without_a_penalty_nothing_is_told() -> None:
    world = wished_world(penalty=0)
    wish(world, 3)
    world.run(2.0)
    assert metrics(world) == [1, 2, 3]
    assert [told(world, index) for index in (1, 2, 3)] == [[], [], []]


def test_a_wish_moves_the_primary() -> None:
    """The others stand back; routing follows; the first packet there makes it primary."""
    world = wished_world()
    wish(world, 3)
    assert metrics(world) == [101, 102, 3]
    assert [told(world, index) for index in (1, 2, 3)] == [[1, 101], [2, 102], [3]]
    assert world.primaries() == {"HA1"}
    world.order = [3, 1, 2]  # what routing makes of these metrics
    world.up()
    world.run(0.1)
    assert world.primaries() == {"HA3"}
    cause = world.found(3, PrimaryChanged)[-1].fields()
    assert (cause["cause"], cause["epoch"]) == ("bu", 2)


def test_an_unfulfilled_wish_asks_once_a_second() -> None:
    """Updates that do not come: the mobile node is not flooded with requests."""
    world = wished_world()
    wish(world, 3)
    world.order = [3, 1, 2]
    sent = world.has[3].counters
    world.trouble = lambda packet: [] if packet[6] == 60 else [packet]  # no Binding Update arrives
    for _ in range(300):
        world.up()
        world.run(0.01)
    assert 3 <= sent["sent.BindingRefreshRequest"] <= 4


def test_who_did_not_wish_is_not_asked_to_register() -> None:
    world = wished_world()
    second(world)
    wish(world, 3)
    world.order = [3, 1, 2]
    world.up(number=2)
    world.run(0.5)
    assert world.primaries(2) == {"HA1"}  # served by HA3 all the same: the SA is shared
    assert world.has[3].counters["sent.BindingRefreshRequest"] == 0


def test_two_mobile_nodes_disagree() -> None:
    """One metric for both: the greater weight wins and moves both, of equals the lower index."""
    world = wished_world()
    second(world)
    wish(world, 3)
    world.run(1.0)
    wish(world, 2, number=2)
    world.run(1.0)
    assert metrics(world) == [101, 2, 103]
    wish(world, 3, weight=2)
    world.run(1.0)
    assert metrics(world) == [101, 102, 3]
    wish(world, 0)
    world.run(1.0)
    assert metrics(world) == [101, 2, 103]
    wish(world, 0, number=2)
    world.run(1.0)
    assert metrics(world) == [1, 2, 3]


def test_changes_wait_for_the_hold_time() -> None:
    """No mobile node makes routing flap: at most one change a second."""
    world = wished_world()
    for number in range(20):
        wish(world, 2 + number % 2)
        world.run(0.25)
    assert len(told(world, 2)) <= 1 + 8
    world.run(2.0)
    assert metrics(world) == [101, 102, 3]
    assert [told(world, index)[-1] for index in (1, 2, 3)] == [101, 102, 3]


def test_a_wish_ends_with_its_binding() -> None:
    world = wished_world()
    wish(world, 3)
    assert metrics(world) == [101, 102, 3]
    assert world.mn is not None
    world.mn.deregister(world.now)
    world.run(1.5)
    assert metrics(world) == [1, 2, 3]


def test_a_wish_ends_with_its_lifetime() -> None:
    world = wished_world()
    wish(world, 3)
    world.mn = None
    world.run(421.0)
    assert metrics(world) == [1, 2, 3]


def test_a_restarted_home_agent_knows_the_wishes_before_it_advertises() -> None:
    world = wished_world()
    wish(world, 3)
    world.kill(1)
    world.run(1.0)
    events = len(world.events[1])
    world.start_ha(1, metric=1)
    world.run(1.0)
    fresh = [e for e in world.events[1][events:] if isinstance(e, MetricChanged | AdvertisePrefix)]
    assert [each.kind for each in fresh] == ["metric-changed", "advertise-prefix"]
    assert fresh[0].fields()["metric"] == 101


def test_home_agents_cut_off_from_one_another_agree_afterwards() -> None:
    world = wished_world()
    world.cut = {frozenset((1, 2)), frozenset((1, 3))}
    world.run(1.0)
    wish(world, 3)
    assert metrics(world) == [101, 2, 3]
    world.cut = set()
    world.run(1.5)
    assert metrics(world) == [101, 102, 3]


def test_wish_from_the_configuration() -> None:
    world = World(3, metric_penalty=PENALTY)
    for index in world.indexes:
        world.start_ha(index, metric=index)
    world.run(1.0)
    world.start_mn(wished_home_agent=2, wish_weight=3)
    assert metrics(world) == [101, 2, 103]
    binding = world.binding(3)
    assert binding is not None
    assert from_octet(int(str(binding["priority"]))) == Wish(2, 3)
