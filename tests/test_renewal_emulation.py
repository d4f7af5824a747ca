"""The renewal experiment on the real topology: IKE, renewals under traffic, takeover."""

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
from experiments.renewal_trial import REGISTRATIONS

pytestmark = [pytest.mark.emulation, pytest.mark.timeout(200)]

RUN = [sys.executable, "-m", "experiments.renewal", "TRIALS=1", "SET=mode=hardened part=keys"]


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    output: str

    def table(self, table: data.Table) -> list[dict[str, Any]]:
        return data.read_table(self.folder, table)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return the agents' events of a kind, in the order of the journal."""
        with (self.folder / "events.jsonl").open() as lines:
            records = [json.loads(line) for line in lines]
        return [each for each in records if each.get("kind") == kind]


@pytest.fixture(scope="module")
def somebody() -> Iterator[Person]:
    with ordinary_user() as person:
        yield person


@pytest.fixture(scope="module")
def run(somebody: Person, no_sandbox_because: str) -> Run:
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    results = somebody.home / "results"
    done = somebody.run(RUN, timeout=150, env={"MANYHOMES_RESULTS": str(results)})
    assert done.returncode == 0, done.stdout + done.stderr
    return Run((results / "latest-renewal").resolve(), done.stdout)


def test_renewals_lose_nothing_and_begin_once(run: Run) -> None:
    rows = run.table(data.RENEWALS)
    assert [(row["cause"], row["correspondent"], row["direction"]) for row in rows] == [
        (cause, *end)
        for cause in ("asked", "new-primary")
        for end in (("cn1", "down"), ("cn1", "up"), ("cn2", "down"))
    ]
    assert all(row["sent_packets"] > 2000 for row in rows)
    assert [row["lost_packets"] for row in rows] == [0] * len(rows)
    assert [row["duplicated_packets"] for row in rows] == [0] * len(rows)
    assert [row["renewals_begun"] for row in rows] == [1] * len(rows)


def test_a_failover_causes_no_ike_and_the_renewal_after_it_begins_anew(run: Run) -> None:
    """I8; the new primary has no IKE SA with the mobile node until it needs one."""
    (takeover,) = run.table(data.TAKEOVERS)
    assert (takeover["home_agent"], takeover["ike_exchanges"]) == ("HA2", 0)
    assert takeover["ike_sa_inits"] >= 1


def test_every_exchange_is_timed(run: Run) -> None:
    rows = run.table(data.EXCHANGES)
    assert {row["exchange"] for row in rows} == set(data.EXCHANGE_NAMES)
    odd = [row for row in rows if not 0 < row["duration_ms"] < 10_000]
    assert odd == []
    old_ends = [row["duration_ms"] for row in rows if row["exchange"] == "deleted"]
    assert min(old_ends) > 2500, "grace (rule 9)"


def test_the_mobile_node_follows_each_renewal(run: Run) -> None:
    renewed = run.events("sa-renewed")
    assert [each["node"] for each in renewed] == ["HA1", "HA2"]
    assert len(run.events("keys-renewed")) == REGISTRATIONS + len(renewed)
    assert run.events("internal-error") == []


def test_figure_and_summary(run: Run) -> None:
    assert data.read_meta(run.folder)["state"] == "complete"
    assert (run.folder / "plots" / "renewal.png").stat().st_size > 10_000
    metrics = {row["metric"] for row in data.read_summary(run.folder)}
    assert {"exchange", "lost", "begun", "failover_ike"} <= metrics
    assert "packets lost by a renewal" in run.output
