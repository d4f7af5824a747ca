"""Catchments on the real topology: the model against failures, and the experiment as a user."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from experiments import data
from experiments.data_catchment import CATCHMENTS, PLACES
from tests.finished_run import Run, finished

pytestmark = [pytest.mark.emulation, pytest.mark.timeout(300)]


def test_the_plan_predicts_what_failures_do(sandbox: Callable[..., Any]) -> None:
    done = sandbox([sys.executable, "-m", "tests.multi_as_catchment"], timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def run(no_sandbox_because: str) -> Iterator[Run]:
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    with finished("catchment", "QUICK=1", timeout=250) as found:
        yield found


def test_everything_agrees_on_who_serves_whom(run: Run) -> None:
    rows = data.read_table(run.folder, CATCHMENTS)
    assert {row["source"]: row["home_agent"] for row in rows} == {
        "cn1": "HA11", "cn2": "HA21", "v1": "HA12", "v2": "HA11", "v3": "HA21",
    }  # fmt: skip
    assert all(row["agree"] for row in rows)
    assert {row["as_path"] for row in rows} == {"101 1", "102 2", "103 1"}


def test_the_primary_follows_the_mobile_node(run: Run) -> None:
    tour = [row for row in data.read_table(run.folder, PLACES) if row["trial"] == 1]
    assert all(row["agree"] for row in tour)
    for direction, expected in (
        ("up", ["HA12", "HA11", "HA21", "HA12"]),
        ("down", ["HA11", "HA11", "HA11", "HA11"]),
    ):
        mine = [r for r in tour if (r["direction"], r["correspondent"]) == (direction, "cn1")]
        assert [row["place"] for row in mine] == ["v1", "v2", "v3", "v1"]
        assert [row["home_agent"] for row in mine] == expected
        assert [row["primary"] for row in mine] == ["HA12", "HA11", "HA21", "HA12"]
    moves = [row for row in tour if row["step"]]
    assert all(row["lost_packets"] > 0 and row["outage_ms"] > 0 for row in moves), "break, make"
    assert all(row["moved_ms"] < row["bound_ms"] for row in moves)


def test_summary_and_figures(run: Run) -> None:
    summary = data.read_summary(run.folder)
    assert [row["met"] for row in summary if row["metric"] == "disagreements"] == [True, True]
    assert {"rtt", "delay", "handover", "outage", "lost"} <= {row["metric"] for row in summary}
    for name in ("map", "tour"):
        assert (run.folder / "plots" / f"{name}.png").stat().st_size > 10_000
    assert "c1 t1 br11" in run.output
