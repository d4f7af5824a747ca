"""The renewal experiment's parts: what streams say of a renewal, summary, figure, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from experiments_folders import renewal_folder

from experiments import data, parameters, plots, renewal, renewal_analysis, renewal_summary, report
from experiments.probes import Flow
from experiments.renewal_analysis import Cause, Window
from experiments.streams import Stream

MS = 1_000_000
WINDOW = Window(Cause.ASKED, "HA1", since=10 * MS, began=11 * MS, renewed=15 * MS,
                deleted=40 * MS, end=50 * MS)  # fmt: skip
DOWN, UP = Flow(1, "cn1", "mn"), Flow(2, "mn", "cn1")


def stream(*missing: int, pause_ms: int = 0) -> Stream:
    """100 packets, one a ms, each 0.3 ms on its way; all after the 20th `pause_ms` later."""
    sent = [(n + (pause_ms if n >= 20 else 0)) * MS for n in range(100)]
    arrivals = [(n, at + 300_000) for n, at in enumerate(sent) if n not in missing]
    return Stream(sent, arrivals)


def row_of(**streams: Stream) -> list[dict[str, Any]]:
    flows = {"down": DOWN, "up": UP}
    return list(
        renewal_analysis.rows(WINDOW, {flows[name]: each for name, each in streams.items()})
    )


def test_a_renewal_that_loses_nothing() -> None:
    down, up = row_of(down=stream(), up=stream())
    assert (down["direction"], down["correspondent"]) == ("down", "cn1")
    assert (up["direction"], up["correspondent"]) == ("up", "cn1")
    assert (down["sent_packets"], down["lost_packets"], down["reordered_packets"]) == (40, 0, 0)
    assert down["longest_gap_ms"] == 1
    assert down["undisturbed"]


def test_only_what_was_sent_during_the_renewal_counts() -> None:
    (row,) = row_of(down=stream(3, 9, 10, 25, 26, 49, 50, 70))
    assert row["lost_packets"] == 4
    assert row["longest_gap_ms"] == 3


def test_losses_count_though_the_sender_was_held_up() -> None:
    (row,) = row_of(down=stream(12, pause_ms=5))
    assert row["lost_packets"] == 1
    assert row["sender_pause_ms"] == 6
    assert not row["undisturbed"]


def test_a_pause_of_any_sender_disturbs_the_times() -> None:
    recorded = {DOWN: stream(), UP: stream(pause_ms=4)}
    assert renewal_analysis.pause_ns(recorded, WINDOW.since, WINDOW.end) == 5 * MS
    assert renewal_analysis.pause_ns(recorded, WINDOW.since, WINDOW.renewed) == MS


def summary(folder: Path) -> dict[tuple[Any, ...], data.SummaryRow]:
    return {(row["metric"], *row["conditions"].values()): row for row in data.read_summary(folder)}


def test_summary_has_every_cell_and_its_target(tmp_path: Path) -> None:
    rows = summary(renewal_folder(tmp_path))
    assert rows["exchange", "hardened", "registration", ""]["target"] == 100
    assert rows["exchange", "hardened", "update-ha", ""]["target"] == 5
    assert rows["exchange", "hardened", "takeover", ""]["n"] == 3
    assert ("exchange", "draft", "takeover", "") not in rows
    assert rows["lost", "hardened", "new-primary", "down"]["met"] is True
    assert rows["begun", "draft", "numbers"]["met"] is True
    assert rows["failover_ike", "hardened"]["met"] is True


def test_disturbed_trials_lose_their_times_and_keep_their_losses(tmp_path: Path) -> None:
    rows = summary(renewal_folder(tmp_path, lost=2))
    assert rows["exchange", "draft", "renewed", "asked"]["n"] == 2
    assert rows["exchange", "draft", "renewed", "asked"]["max"] < 20
    assert rows["longest_gap", "draft", "asked", "down"]["max"] == 2
    lost = rows["lost", "draft", "asked", "down"]
    assert (lost["n"], lost["max"], lost["met"]) == (3, 2, False)
    assert rows["lost", "draft", "asked", "up"]["met"] is True


def test_ike_of_a_failover_misses_its_target(tmp_path: Path) -> None:
    assert summary(renewal_folder(tmp_path, ike=1))["failover_ike", "hardened"]["met"] is False


def test_figure_tells_losses(tmp_path: Path) -> None:
    folder = renewal_folder(tmp_path, lost=2)
    assert plots.plot(folder) == ["renewal"]
    assert (folder / "plots" / "renewal.png").stat().st_size > 10_000
    svg = (folder / "plots" / "renewal.svg").read_text()
    assert "2 of 48,600 packets lost" in svg
    assert "0 of 24,300 packets lost" in svg
    assert "registration from nothing" in svg


def test_report_has_both_modes_beside_each_other(tmp_path: Path) -> None:
    table = report.renewal(list(summary(renewal_folder(tmp_path, lost=2)).values())).splitlines()
    assert table[0] == "|  | hardened | draft | target |"
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in table}
    assert lines["packets lost by a renewal: asked for"].endswith(
        "| 0 (each of 3) | 0 (max 2, n=3) | 0 packets |"
    )
    assert "n=3" in lines["takeover: primary invalid to Switch sent"]


def test_the_terminal_table_shows_the_worse_direction(tmp_path: Path) -> None:
    rows = data.read_summary(renewal_folder(tmp_path, lost=2))
    shown = renewal_summary.by_label(rows)
    assert max(row["max"] for row in shown["draft", "packets lost by a renewal: asked for"]) == 2
    assert renewal_summary.terminal_table(rows).row_count == len(shown)


def test_parameters() -> None:
    known = parameters.parse(renewal.KNOWN, ["SET=mode=draft part=numbers", "QUICK=1"], {})
    assert known.settings == {"mode": "draft", "part": "numbers"}
    assert known.trials == renewal.KNOWN.quick_trials
    with pytest.raises(parameters.ParameterError, match="hardened, draft"):
        parameters.parse(renewal.KNOWN, ["SET=mode=draft-cbc"], {})
