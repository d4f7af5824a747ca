"""The metric experiment on the real topology: routing and the primary follow a wish."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from experiments import data
from tests.finished_run import Run, finished

pytestmark = [pytest.mark.emulation, pytest.mark.timeout(300)]


def last(run: Run, part: str, column: str, **wanted: object) -> list[object]:
    """Return a column of the last trial of a part, step by step."""
    rows = run.table(data.MOVES, part=part, direction="up", **wanted)
    trial = max(row["trial"] for row in rows)
    return [row[column] for row in rows if row["trial"] == trial]


@pytest.fixture(scope="module")
def run(no_sandbox_because: str) -> Iterator[Run]:
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    with finished("metric", "TRIALS=1", "SET=part=move", timeout=250) as found:
        yield found


@pytest.fixture(scope="module")
def conflict(no_sandbox_because: str) -> Iterator[Run]:
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    with finished("metric", "TRIALS=1", "SET=part=conflict", timeout=250) as found:
        yield found


def test_a_mobile_node_moves_its_primary(run: Run) -> None:
    assert last(run, "move", "served_by", mobile="mn") == ["HA3", "HA2", "HA1"]
    assert last(run, "move", "primary", mobile="mn") == ["HA3", "HA2", "HA2"]
    # The other one wished for nothing: it is served along, and its role stays.
    assert last(run, "move", "primary", mobile="mn2") == ["HA1", "HA1", "HA1"]


@pytest.mark.long
def test_two_that_disagree_move_together(conflict: Run) -> None:
    """At length: test_metric.py has what their wishes come to, this file that routes follow."""
    for mobile in ("mn", "mn2"):
        served = last(conflict, "conflict", "served_by", mobile=mobile)
        assert served == ["HA2", "HA2", "HA3", "HA2", "HA1"]
    assert last(conflict, "conflict", "primary", mobile="mn") == ["HA2"] * 5
    assert "conflict" in conflict.output


def test_the_border_never_loses_the_route(run: Run) -> None:
    """Changing the metric of what is redistributed replaces routes, and deletes none."""
    with (run.folder / "events.jsonl").open() as lines:
        events = [json.loads(line) for line in lines]
    changes = [each["change"] for each in events if each["event"] == "route"]
    assert changes
    assert set(changes) == {"add"}
    told = [each for each in events if each.get("kind") == "metric-told"]
    assert told
    assert {each["exit_code"] for each in told} == {0}


def test_who_serves_whom_is_recorded(run: Run) -> None:
    rows = run.table(data.SERVING)
    routes = [row["home_agent"] for row in rows if row["role"] == "route" and row["trial"] == 1]
    assert routes[0] == "HA1"
    assert routes[-1] == "HA1"
    for role in ("up", "down"):
        for mobile in ("mn", "mn2"):
            mine = [
                row["home_agent"]
                for row in rows
                if (row["role"], row["mobile"], row["trial"]) == (role, mobile, 1)
            ]
            # On its way from one to another a route may lead to the third for a moment.
            assert set(mine) == {"HA1", "HA2", "HA3"}
            assert (mine[0], mine[-1]) == ("HA1", "HA1")


def test_figure_and_summary(run: Run) -> None:
    assert (run.folder / "plots" / "serving.png").stat().st_size > 10_000
    metrics = {row["metric"] for row in data.read_summary(run.folder)}
    assert {"route", "primary"} <= metrics
    assert "move" in run.output
