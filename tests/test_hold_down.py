"""A home agent that comes and goes waits before it advertises again, while another one serves."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.config import HomeAgentTimers
from agents.core.events import AdvertisePrefix, HeldDown
from agents.core.hold_down import Advertised, HoldDown
from agents.runtime.returns import read_returns, write_returns
from tests.world import World

TIMERS = HomeAgentTimers()
LIFE = 2.0
"""Seconds for which the HA serves each time: long enough to be found, short of stable."""


def waits(lives: list[float]) -> list[float]:
    """Return how long each return of an HA waits that serves so long each time."""
    hold_down, now, found = HoldDown(TIMERS), 1000.0, []
    for life in lives:
        until = hold_down.until(now)
        assert hold_down.until(now + 0.5 * (until - now)) == until
        found.append(until - now)
        hold_down.advertised(until)
        now = until + life
    return found


def test_the_first_returns_do_not_wait_and_then_each_waits_twice_as_long() -> None:
    assert waits([1.0] * 12) == [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_stable_time_forgets_all() -> None:
    assert waits([1.0, 1.0, 1.0, 1.0, 59.0, 60.0, 1.0]) == [0, 0, 0, 1, 2, 4, 0]


@given(lives=st.lists(st.floats(0, 200), max_size=60))
def test_bounds(lives: list[float]) -> None:
    for number, wait in enumerate(waits(lives)):
        assert 0 <= wait <= TIMERS.hold_most
        if number <= TIMERS.free_returns or lives[number - 1] >= TIMERS.stable_time:
            assert wait == 0


def test_a_clock_that_began_anew_is_no_history() -> None:
    hold_down = HoldDown(TIMERS, Advertised(since=5000.0, returns=9))
    assert hold_down.until(10.0) == 10.0


def flap(world: World, index: int = 1) -> float:
    """Kill an HA that serves and start it at once; return how long it was away."""
    world.kill(index)
    gone = world.now
    world.run(0.5)
    world.start_ha(index)
    while index not in world.advertising:
        world.run(0.01)
        assert world.now - gone < 100
    away = world.now - gone
    world.run(LIFE)
    return away


def test_a_home_agent_that_restarts_again_and_again() -> None:
    """The others serve meanwhile: nothing is lost but what each death itself costs."""
    world = World()
    world.start_all()
    world.start_mn()
    world.run(LIFE)
    away = [flap(world) for _ in range(6)]
    first = away[0]
    assert first < 1.0
    assert away[1] == pytest.approx(first, abs=0.05)
    for number, extra in enumerate((1, 2, 4, 8), start=2):
        assert away[number] == pytest.approx(first + extra, abs=0.1)
    assert [each.returns for each in world.found(1, HeldDown)] == [3, 4, 5, 6]  # type: ignore[attr-defined]
    world.run(TIMERS.stable_time)
    assert flap(world) == pytest.approx(first, abs=0.05)


def test_traffic_goes_by_another_during_the_hold() -> None:
    world = World()
    world.start_all()
    world.start_mn()
    for _ in range(3):
        flap(world)
    world.kill(1)
    world.start_ha(1)
    world.run(1.0)
    assert world.found(1, HeldDown)
    assert world.nearest() == 2
    world.up(b"by HA2")
    world.run(0.1)
    assert world.at_correspondent[-1][0] == 2
    # It holds all there is to know, and tells its peers that it does not serve.
    assert world.binding(1) is not None
    assert not world.has[1].status()["advertising"]
    world.run(4.0)
    assert world.nearest() == 1


def test_the_only_one_that_serves_does_not_wait() -> None:
    """The others die during the hold, or are gone already."""
    world = World()
    world.start_all()
    world.start_mn()
    for _ in range(5):
        flap(world)
    world.kill(1)
    world.start_ha(1)
    world.run(1.0)
    assert world.nearest() == 2
    world.kill(2)
    world.kill(3)
    died = world.now
    while 1 not in world.advertising:
        world.run(0.01)
    assert world.now - died < 0.5  # as long as it takes to miss them
    for _ in range(3):
        assert flap(world) < 1.5


def test_an_agent_that_is_stopped_again_and_again() -> None:
    """A watchdog's trips count like restarts: each takes the route away and brings it back."""
    world = World()
    world.start_all()
    world.start_mn()
    for _ in range(4):
        world.run(LIFE)
        world.stop(1)
        world.run(0.2)
        world.wake(1)
        world.run(3.0)
    assert len(world.found(1, HeldDown)) == 2
    assert len(world.found(1, AdvertisePrefix)) == 5


def test_a_link_that_flaps() -> None:
    """So does each loss of all routes to the peers."""
    world = World()
    world.start_all()
    world.start_mn()
    for _ in range(4):
        world.run(LIFE)
        world.cut = {frozenset((1, other)) for other in (2, 3)}
        world.has[1].connectivity(False, world.now)
        world.run(0.5)
        assert 1 not in world.advertising
        world.cut = set()
        world.has[1].connectivity(True, world.now)
        world.run(3.0)
    assert [round(each.seconds, 1) for each in world.found(1, HeldDown)] == [1.0, 2.0]  # type: ignore[attr-defined]
    assert 1 in world.advertising


def test_without_hold_down_every_return_is_at_once() -> None:
    world = World(hold_down=False)
    world.start_all()
    away = [flap(world) for _ in range(6)]
    assert max(away) < 1.0


def test_what_a_life_leaves_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "returns"
    assert read_returns(path) is None
    assert write_returns(path, Advertised(123.456, 7))
    assert read_returns(path) == Advertised(123.456, 7)
    for nonsense in ("", "1", "a b", "1 2 3", "1.0 -1", "\xff"):
        path.write_text(nonsense, encoding="utf-8")
        assert read_returns(path) is None
    assert not write_returns(tmp_path / "nowhere" / "returns", Advertised(1.0, 1))
