"""The replay experiment on the real topology: one mode, one attack, as an ordinary user."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from experiments import data, replay_summary
from tests.finished_run import Run, finished

pytestmark = [pytest.mark.emulation, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def run(no_sandbox_because: str) -> Iterator[Run]:
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    with finished("replay", "TRIALS=1", "SET=mode=draft part=far-ahead", timeout=100) as found:
        yield found


def test_one_relabelled_packet_silences_a_home_agent_of_the_draft(run: Run) -> None:
    (row,) = run.table(data.ATTACKS)
    assert (row["mode"], row["form"], row["direction"]) == ("draft", "origin-HA2", "down")
    assert (row["injected_packets"], row["accepted_packets"]) == (1, 1)
    assert row["genuine_lost"] == row["expected_lost"] > 500
    assert row["alive"]
    assert replay_summary.unexpected(run.folder) == []
    assert "everything as the model says" in run.output


def test_nonces_repeat_in_the_records_and_on_the_link(run: Run) -> None:
    rows = {row["source"]: row for row in run.table(data.NONCES)}
    for row in rows.values():
        assert row["nonce_collisions"] == row["model_collisions"] >= 100
    assert rows["egress"]["packets"] > rows["wire"]["packets"] > 2000


def test_the_run_is_whole(run: Run) -> None:
    assert data.read_meta(run.folder)["state"] == "complete"
    metrics = {row["metric"] for row in data.read_summary(run.folder)}
    assert metrics == {
        "replays_accepted", "replays_injected", "genuine_lost", "nonce_collisions", "unexpected",
    }  # fmt: skip
    assert (run.folder / "plots" / "replay.png").stat().st_size > 10_000
    assert list((run.folder / "logs").glob("*/HA1/egress.bin"))
