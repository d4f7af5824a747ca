"""Who is isolated outlives the agent that isolated it (design §10, rule 13)."""

from pathlib import Path

import pytest
from world import World

from agents.config import ConfigError
from agents.runtime.isolated import read_isolated, write_isolated


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "isolated"
    assert read_isolated(path) == {}
    assert write_isolated(path, {3: 7, 12: 1})
    assert read_isolated(path) == {3: 7, 12: 1}
    assert write_isolated(path, {})
    assert read_isolated(path) == {}


@pytest.mark.parametrize("nonsense", ["", "[]", '{"x": 1}', '{"3": null}', "\xff"])
def test_a_file_that_cannot_be_read_lets_nobody_in(tmp_path: Path, nonsense: str) -> None:
    path = tmp_path / "isolated"
    path.write_text(nonsense)
    with pytest.raises(ConfigError, match="remove it if nobody is isolated"):
        read_isolated(path)


def test_where_nothing_can_be_written_that_is_said(tmp_path: Path) -> None:
    assert not write_isolated(tmp_path / "nowhere" / "isolated", {3: 7})


def test_a_restarted_home_agent_remembers_whom_it_put_out() -> None:
    world = World(3, ike=True)
    world.start_all()
    world.isolate(1, at=[2])
    world.kill(2)
    world.start_ha(2)
    world.run(1.0)
    assert "HA1" not in world.has[2].status()["peers"]  # type: ignore[operator]
    assert world.has[2].isolated == {1: 1}
    assert world.has[2].counters["dropped.inter-ha-from-stranger"] > 0
