"""The multi-hoa experiment on the real network: AS 1 is cut off, and comes back (draft §4.2)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from people import Person, ordinary_user

from experiments import data
from experiments.data_multi_hoa import HOME_FLOWS, NEW_FLOWS
from experiments.multi_hoa_summary import works_target

pytestmark = [pytest.mark.emulation, pytest.mark.timeout(200)]

RUN = [sys.executable, "-m", "experiments.multi_hoa", "TRIALS=1", "SCHEME=two-hoas",
       "FAULT=as-cut", "SET=hold=1 delays=off"]  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path

    def table(self, table: data.Table) -> list[dict[str, Any]]:
        return data.read_table(self.folder, table)

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Return the agents' events of a kind."""
        with (self.folder / "events.jsonl").open() as lines:
            return [each for each in map(json.loads, lines) if each.get("kind") == kind]


@pytest.fixture(scope="module")
def somebody() -> Iterator[Person]:
    with ordinary_user() as person:
        yield person


@pytest.fixture(scope="module")
def run(somebody: Person, no_sandbox_because: str) -> Run:
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    results = somebody.home / "results"
    done = somebody.run(RUN, timeout=180, env={"MANYHOMES_RESULTS": str(results)})
    assert done.returncode == 0, done.stdout + done.stderr
    return Run((results / "latest-multi_hoa").resolve())


def test_flows_on_home_1_stop_and_those_on_home_2_do_not(run: Run) -> None:
    rows = {(row["home"], row["direction"]): row for row in run.table(HOME_FLOWS)}
    assert [rows[1, direction]["stopped"] for direction in ("up", "down")] == [True, True]
    for direction in ("up", "down"):
        assert not rows[2, direction]["stopped"]
        assert rows[2, direction]["lost_packets"] == 0


def test_new_flows_get_home_2_within_the_bound_and_home_1_again(run: Run) -> None:
    [row] = run.table(NEW_FLOWS)
    assert 0 < row["works_ms"] < works_target("multi_hoa") + 200  # the scheduler's share
    assert row["unanswered_flows"] > 0
    assert row["chosen_ms"] < works_target("multi_hoa") + 200
    assert row["back_heard_ms"] + 1000 - 20 <= row["back_chosen_ms"]  # told when they are written


def test_the_mobile_node_tells_why(run: Run) -> None:
    standings = [each["standing"] for each in run.told("home-standing") if each["home"] == 1]
    assert standings == ["failed", "recovering", "working"]
    assert [each["home"] for each in run.told("home-chosen")] == [2, 1]
    # Nothing happened to home 2 meanwhile: no registration, no key exchange (I8).
    sent = [each for each in run.told("registration-sent") if each["home"] == 2]
    assert sent == []
