"""What a metric run says is made from its folder alone: the reference results show it."""

import json
import shutil
from pathlib import Path

from experiments import plots
from experiments.data import MOVES, SERVING, read_table
from experiments.metric_summary import overview, summarise
from experiments.metric_trial import HOME_AGENTS, PARTS, Step
from experiments.report import REFERENCE

FOLDER = REFERENCE / "metric"


def test_summary_comes_from_the_table() -> None:
    rows = read_table(FOLDER, MOVES)
    assert summarise(rows) == json.loads((FOLDER / "summary.json").read_text())


def test_every_step_was_taken_and_counts() -> None:
    rows = read_table(FOLDER, MOVES)
    for part, steps in PARTS.items():
        for number, step in enumerate(steps, start=1):
            mine = [row for row in rows if (row["part"], row["step"]) == (part, number)]
            assert {row["wish"] for row in mine} == {str(step)}
            assert any(row["valid"] for row in mine)
            # Routing does what all wishes together call for.
            assert all(row["served_by"] == row["favourite"] for row in mine)
    lines = overview(rows)
    assert len(lines) == sum(len(steps) for steps in PARTS.values())
    assert [line[2] for line in lines[:3]] == ["HA3", "HA2", "HA1"]


def test_the_first_rows_tell_where_a_trial_begins() -> None:
    rows = read_table(FOLDER, SERVING)
    for trial in {row["trial"] for row in rows}:
        first = [row for row in rows if row["trial"] == trial and row["time_ms"] == 0]
        assert len(first) == 7
        assert {row["home_agent"] for row in first} == {HOME_AGENTS[1]}


def test_figure_from_the_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("plots"))
    assert plots.plot(folder) == ["serving"]
    assert (folder / "plots" / "serving.svg").stat().st_size > 10_000


def test_a_wish_in_words() -> None:
    assert [str(Step("mn", 3)), str(Step("mn2", 3, 2)), str(Step("mn", 0))] == [
        "mn: HA3",
        "mn2: HA3 (weight 2)",
        "mn: any",
    ]
