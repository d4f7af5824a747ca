"""What a hijack run says is made from its folder alone: the reference results show it."""

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from experiments import hijack_summary, plots
from experiments.data import read_table
from experiments.data_hijack import DRAWN, ENDS, FORGERIES, FORMS, ROUTES
from experiments.hijack import CASES, KNOWN, Hijack
from experiments.hijack_bench import Fate
from experiments.hijack_cases import texts
from experiments.parameters import ParameterError, parse
from experiments.report import REFERENCE
from experiments.run import RunError, RunFolder
from topologies import rpki

FOLDER = REFERENCE / "hijack"


def test_summary_comes_from_the_tables() -> None:
    assert hijack_summary.rows(FOLDER) == json.loads((FOLDER / "summary.json").read_text())
    assert hijack_summary.unexpected(FOLDER) == []


def test_every_case_and_form_is_there() -> None:
    ends = read_table(FOLDER, ENDS)
    assert {row["case"] for row in ends} == set(CASES)
    assert {row["form"] for row in read_table(FOLDER, FORGERIES)} == set(FORMS)
    lines = hijack_summary.case_lines(ends, texts())
    assert [line[0] for line in lines] == list(texts().values())
    assert all(len(line) == 1 + len(hijack_summary.sources(ends)) + 2 for line in lines)


def test_what_the_page_says_of_hijacks_is_so() -> None:
    shares = hijack_summary.shares(read_table(FOLDER, ENDS))
    assert set(shares["no-roa", "cn"]) == set(shares["roa-as1", "mn"]) == {1.0}
    assert set(shares["roa-as1-dead", "cn"]) == {0.0}
    assert set(shares["roa-both-dead", "cn"]) == {1.0}
    assert set(shares["hijack-rov-some", "cn"]) == {0.0}
    assert set(shares["hijack-rov-provider", "cn"]) == {1.0}
    assert set(shares["forged", "cn"]) == set(shares["irr-forged", "cn"]) == {1.0}
    assert set(shares["forged-specific-loose", "mn"]) == {0.0}
    forged = [row for row in read_table(FOLDER, ROUTES) if row["as_path"].endswith("3 1")]
    assert {row["state"] for row in forged if row["case"] == "forged" and row["state"]} == {"valid"}
    drawn = {row["leg"]: row for row in read_table(FOLDER, DRAWN)}
    assert drawn["cn-hoa"]["readable"] == drawn["cn-hoa"]["drawn"]
    assert drawn["mn-ha"]["readable"] == drawn["update"]["readable"] == 0
    assert drawn["update"]["locating"] == drawn["update"]["drawn"]


def test_a_wrong_observation_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("plots"))
    changes = {
        "hijack_ends.csv": ("hijacker,hijacker,true", "AS 1,hijacker,false"),
        "hijack_routes.csv": ("valid,valid,true,true", "invalid,valid,true,true"),
        "hijack_drawn.csv": ("true\n", "false\n"),
        "hijack_forgeries.csv": ("true\n", "false\n"),
    }
    for name, (before, after) in changes.items():
        text = (folder / name).read_text()
        assert before in text
        (folder / name).write_text(text.replace(before, after, 1))
    told = hijack_summary.unexpected(folder)
    assert len(told) == len(changes)
    assert "reached AS 1, model hijacker" in told[1]
    rows = {
        row["conditions"]["part"]: row
        for row in hijack_summary.rows(folder)
        if row["metric"] == "unexpected"
    }
    assert {part: (row["max"], row["met"]) for part, row in rows.items()} == dict.fromkeys(
        ("routes", "ends", "drawn", "forgeries"), (1, False)
    )


def test_figure_from_the_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("plots"))
    assert plots.plot(folder) == ["hijack"]
    assert (folder / "plots" / "hijack.svg").stat().st_size > 20_000
    for table in (DRAWN, FORGERIES):  # the cases alone, as SET=part=cases leaves them
        (folder / f"{table.name}.csv").unlink()
    assert plots.plot(folder) == ["hijack"]


@pytest.mark.parametrize(
    ("fate", "reached"),
    [
        (Fate(20, 20, 0, "AS 1"), "AS 1"),
        (Fate(20, 0, 20, ""), "hijacker"),
        (Fate(20, 0, 0, ""), "nowhere"),
        (Fate(20, 12, 8, "AS 2"), "AS 2+hijacker"),
        (Fate(20, 19, 0, "AS 1+AS 2"), "AS 1+AS 2+nowhere"),
    ],
)
def test_where_packets_went_in_words(fate: Fate, reached: str) -> None:
    assert fate.reached == reached


def test_cases_are_chosen_by_name() -> None:
    chosen = parse(KNOWN, ["SET=part=cases case=irr,no-roa"], {}).settings
    assert chosen["case"] == ("no-roa", "irr")
    with pytest.raises(ParameterError, match=r"nonsense.*known: no-roa, roa-as1"):
        parse(KNOWN, ["SET=case=irr,nonsense"], {})


def test_without_a_cache_nothing_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpki.shutil, "which", lambda name, **_: None)
    parameters = parse(KNOWN, ["TRIALS=1"], {})
    with (
        RunFolder.create("hijack", parameters, tmp_path) as folder,
        pytest.raises(RunError, match="stayrtr is missing; `make setup` installs it"),
    ):
        Hijack(folder, parameters, Console()).run()
