"""The replay experiment on the real topology: one mode, one attack, as an ordinary user."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from people import ordinary_user

from experiments import data, replay_summary

pytestmark = [pytest.mark.emulation, pytest.mark.timeout(120)]

RUN = [sys.executable, "-m", "experiments.replay", "TRIALS=1", "SET=mode=draft part=far-ahead"]


@pytest.fixture(scope="module")
def folder(no_sandbox_because: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    kept = tmp_path_factory.mktemp("replay")
    with ordinary_user() as person:
        results = person.home / "results"
        done = person.run(RUN, timeout=100, env={"MANYHOMES_RESULTS": str(results)})
        assert done.returncode == 0, done.stdout + done.stderr
        assert "everything as the model says" in done.stdout
        return Path(shutil.move((results / "latest-replay").resolve(), kept / "run"))


def test_one_relabelled_packet_silences_a_home_agent_of_the_draft(folder: Path) -> None:
    (row,) = data.read_table(folder, data.ATTACKS)
    assert (row["mode"], row["form"], row["direction"]) == ("draft", "origin-HA2", "down")
    assert (row["injected_packets"], row["accepted_packets"]) == (1, 1)
    assert row["genuine_lost"] == row["expected_lost"] > 500
    assert row["alive"]
    assert replay_summary.unexpected(folder) == []


def test_nonces_repeat_in_the_records_and_on_the_link(folder: Path) -> None:
    rows = {row["source"]: row for row in data.read_table(folder, data.NONCES)}
    for row in rows.values():
        assert row["nonce_collisions"] == row["model_collisions"] >= 100
    assert rows["egress"]["packets"] > rows["wire"]["packets"] > 2000


def test_the_run_is_whole(folder: Path) -> None:
    assert data.read_meta(folder)["state"] == "complete"
    metrics = {row["metric"] for row in data.read_summary(folder)}
    assert metrics == {
        "replays_accepted", "replays_injected", "genuine_lost", "nonce_collisions", "unexpected",
    }  # fmt: skip
    assert (folder / "plots" / "replay.png").stat().st_size > 10_000
    assert list((folder / "logs").glob("*/HA1/egress.bin"))
