"""Figures and summaries from a stored run folder alone, however the run ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from experiments_folders import failover_folder, throughput_folder

from experiments import data, failover_summary, plots, throughput
from experiments.data import PHASES, DataError

REPOSITORY = Path(data.__file__).resolve().parent.parent
PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def failover(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return failover_folder(tmp_path_factory.mktemp("results"), trials=2)


def test_failover_figures_are_drawn_by_the_command(failover: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "experiments.plots", str(failover)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in ("outage", "timeline"):
        assert f"{name}.png" in done.stdout
        assert (failover / "plots" / f"{name}.png").read_bytes().startswith(PNG)
        svg = (failover / "plots" / f"{name}.svg").read_text()
        assert "agent killed" in svg
    assert "How long is a mobile node cut off" in (failover / "plots" / "outage.svg").read_text()


def test_the_same_folder_gives_the_same_picture(failover: Path) -> None:
    def drawn() -> list[bytes]:
        plots.plot(failover)
        return [path.read_bytes() for path in sorted((failover / "plots").glob("*.svg"))]

    assert drawn() == drawn()


def test_throughput_figure(tmp_path: Path) -> None:
    folder = throughput_folder(tmp_path)
    assert plots.plot(folder) == ["goodput"]
    assert (folder / "plots" / "goodput.png").read_bytes().startswith(PNG)
    assert "ORIGIN_IP off" in (folder / "plots" / "goodput.svg").read_text()


def test_throughput_summary_holds_the_tunnel_against_its_target(tmp_path: Path) -> None:
    rows = data.read_table(throughput_folder(tmp_path), data.GOODPUT)
    summary = throughput.summarise(rows)
    tunnel = [r for r in summary if r["target"] is not None]
    assert {r["conditions"]["mode"] for r in tunnel} == {"hardened", "draft"}
    assert all(r["met"] is (r["median"] >= 400) for r in tunnel)
    data.check_summary(summary)


def test_an_old_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = failover_folder(tmp_path, trials=1)
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "schema": 0}))
    done = subprocess.run(
        [sys.executable, "-m", "experiments.plots", str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "schema 0" in done.stderr


def test_an_aborted_run_is_drawn_as_far_as_it_went_and_says_so(tmp_path: Path) -> None:
    folder = failover_folder(tmp_path, trials=1)
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "state": "aborted", "reason": "killed"}))
    (folder / "summary.json").unlink()
    assert plots.plot(folder) == ["outage", "timeline"]
    assert "RUN ABORTED" in (folder / "plots" / "outage.svg").read_text()


def test_a_folder_without_trials_is_one_line(tmp_path: Path) -> None:
    folder = failover_folder(tmp_path, trials=1)
    (folder / "streams.csv").unlink()
    with pytest.raises(DataError, match="nothing to plot"):
        plots.plot(folder)


def test_several_correspondents_reduce_to_the_worst(failover: Path) -> None:
    streams = [
        {"role": role, "direction": "up", "fault": "link-cut", "detection": "bfd-10x3",
         "trial": trial, "outage_ms": outage}
        for trial, role, outage in ((1, "affected", 20.0), (1, "affected", 30.0),
                                    (1, "bystander", 99.0), (2, "affected", 25.0))
    ]  # fmt: skip
    assert plots.worst_outages(streams) == {("up", "link-cut", "bfd-10x3"): [30.0, 25.0]}


def test_the_timeline_shows_the_fastest_detection(failover: Path) -> None:
    streams = data.read_table(failover, data.STREAMS)
    packets = data.read_table(failover, data.PACKETS)
    trial = plots.timeline_trial(streams, packets)
    (shown,) = {(r["fault"], r["detection"]) for r in streams if r["trial"] == trial}
    assert shown == ("agent-kill", "bfd-10x3")
    assert plots.timeline_trial(streams, []) is None


def test_the_summary_has_every_cell_by_its_fixed_name(failover: Path) -> None:
    summary = data.read_summary(failover)
    cells = [r["conditions"] for r in summary if r["metric"] == "outage"]
    assert len(cells) == 5 * 3 * 2
    assert {r["metric"] for r in summary} == {
        "outage", "lost", "failback_lost", "bystander_lost", "signalling", "ready",
    }  # fmt: skip
    bystanders = [r for r in summary if r["metric"] == "bystander_lost"]
    assert {r["conditions"]["direction"] for r in bystanders} == {"down"}
    assert all(r["met"] is True for r in bystanders)


def test_only_fast_or_local_detection_is_held_against_a_target(failover: Path) -> None:
    targets = {
        (r["conditions"]["fault"], r["conditions"]["detection"]): r["target"]
        for r in failover_summary.rows(failover, {})
        if r["metric"] == "outage"
    }
    assert targets["agent-kill", "ospf-1-4"] == 50
    assert targets["agent-hang", "bfd-50x3"] == 100
    assert targets["node-silent", "bfd-10x3"] == 50
    assert targets["node-silent", "ospf-1-4"] is None
    assert targets["agent-restart", "bfd-10x3"] is None


def test_phases_are_read_back(failover: Path) -> None:
    names = {row["phase"] for row in data.read_table(failover, PHASES)}
    assert names <= set(data.PHASE_NAMES)
    assert "fib-changed" in names
