"""The isolation experiment on the real network: HA1, primary and nearest, turns (draft §5)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from experiments.data import read_summary
from experiments.data_isolation import ISOLATION_FLOWS, ISOLATIONS
from experiments.isolation_summary import FENCINGS, ROLES, TRIGGERS
from tests.finished_run import Run, finished

pytestmark = [pytest.mark.emulation, pytest.mark.timeout(200)]

KINDS = ("update", "tunnel", "drawn", "ike")


@pytest.fixture(scope="module")
def run(no_sandbox_because: str) -> Iterator[Run]:
    """HA1 is found out by what it says, and fenced."""
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    settings = "SET=role=primary trigger=detection fencing=on"
    with finished("isolation", "TRIALS=1", settings, timeout=180) as found:
        yield found


def test_it_had_all_powers_and_has_none(run: Run) -> None:
    [row] = run.table(ISOLATIONS)
    for kind in KINDS:
        assert row[f"{kind}_before"] > 0, f"{kind}: nothing worked before, so its end means nothing"
    assert row["tried_to_the_end"]
    assert row["powerless"]
    assert row["time_to_powerless_ms"] < row["window_ms"] - 1000


def test_what_it_said_was_proof_and_all_others_put_it_out(run: Run) -> None:
    [row] = run.table(ISOLATIONS)
    [told, *_] = run.told("misconduct")
    assert (told["peer"], row["proof"]) == ("HA1", told["misconduct"])
    out = {each["node"] for each in run.told("peer-isolated")}
    assert out == {"HA2", "HA3"}
    assert {each["peer"] for each in run.told("peer-isolated")} == {"HA1"}
    assert row["isolated_ms"] is not None


def test_honest_flows_go_on_and_the_mobile_node_registers(run: Run) -> None:
    flows = run.table(ISOLATION_FLOWS)
    assert {(row["direction"], row["correspondent"], row["path"]) for row in flows} == {
        ("down", "cn1", "hostile"), ("up", "cn1", "hostile"), ("down", "cn2", "honest"),
    }  # fmt: skip
    for row in flows:
        drawn = row["path"] == "hostile"
        assert (row["lost_before_packets"] > 0) is drawn
        assert row["lost_tail_packets"] == 0
        assert row["lost_packets"] < row["sent_packets"] / 2
    [trial] = run.table(ISOLATIONS)
    assert trial["registered_ms"] is not None


@pytest.mark.long
@pytest.mark.timeout(500)
def test_every_cell(no_sandbox_because: str) -> None:
    """Without fencing it draws on, and the row says so; what can be refused, is."""
    with finished("isolation", "TRIALS=1", timeout=480) as found:
        rows = found.table(ISOLATIONS)
        cells = {(row["role"], row["trigger"], row["fencing"]): row for row in rows}
        assert set(cells) == {(r, t, f) for r in ROLES for t in TRIGGERS for f in FENCINGS}
        for (role, trigger, fencing), row in cells.items():
            where = role, trigger, fencing
            assert row["tried_to_the_end"], where
            assert row["powerless"] is (fencing == "on"), where
            assert row["time_to_refused_ms"] is not None, where
            assert row["isolated_ms"] is not None, where
            assert (row["proof"] is not None) is (trigger == "detection"), where
            assert row["drawn_before"] > 0, where
        summary = {
            (row["metric"], *row["conditions"].values()): row for row in read_summary(found.folder)
        }
        for role in ROLES:
            assert summary["not_powerless", "verb", "on", role]["met"]
            assert ("time_to_powerless", "verb", "off", role) not in summary
