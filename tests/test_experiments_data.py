"""The schema: what fits is written, everything else is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments import data, parameters, run
from experiments.data import PHASES, TRIALS, DataError, EventName
from experiments.parameters import Known, ParameterError

KNOWN = Known(
    topologies=("single_as",),
    trials=3,
    quick_trials=1,
    lists={"FAULT": ("agent-kill", "link-cut"), "DETECTION": ("bfd-10x3", "ospf-1-4")},
    settings={"has": parameters.whole_number(2, 9)},
)
PHASE = {
    "trial": 1,
    "scheme": "shared-sa",
    "topology": "single_as",
    "fault": "link-cut",
    "detection": "bfd-10x3",
    "phase": "detected",
    "after_fault_ms": 12.5,
}


def folder(tmp_path: Path) -> run.RunFolder:
    return run.RunFolder.create("failover", parameters.parse(KNOWN, [], {}), tmp_path)


def test_data_md_is_what_the_module_prints() -> None:
    assert (Path(data.__file__).parent / "DATA.md").read_text() == data.markdown()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"surplus": 1}, "no column 'surplus'"),
        ({"phase": None}, "phase is missing"),
        ({"trial": "1"}, "trial wants int"),
        ({"trial": True}, "trial wants int"),
        ({"after_fault_ms": float("nan")}, "not a number"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        PHASES.check({**PHASE, **change})


def test_rows_are_read_back_as_they_were(tmp_path: Path) -> None:
    with folder(tmp_path) as some:
        some.row(PHASES, **PHASE)
        some.row(
            TRIALS,
            **{k: PHASE[k] for k in ("trial", "scheme", "topology", "fault", "detection")},
            state="valid",
            fault_time_ns=12345678901234567,
            resynchronised_first=False,
        )
    assert data.read_table(some.path, PHASES) == [PHASE]
    (row,) = data.read_table(some.path, TRIALS)
    assert (row["fault_time_ns"], row["resynchronised_first"], row["reason"]) == (
        12345678901234567,
        False,
        None,
    )


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "phases.csv").write_text("trial,phase\n1,detected\n")
    with pytest.raises(DataError, match="columns are not those of schema 1"):
        data.read_table(tmp_path, PHASES)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"event": "no-such-event", "time_ns": 1}, "unknown event"),
        ({"event": "repair", "trial": 1, "node": "HA1"}, "time_ns"),
        ({"event": "repair", "trial": 1, "time_ns": 1}, "wants node"),
    ],
)
def test_an_event_that_does_not_fit_is_refused(event: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        data.check_event(event)


@pytest.mark.parametrize("schema", [0, 2, None, "1"])
def test_a_folder_of_another_schema_is_refused_in_one_line(tmp_path: Path, schema: object) -> None:
    some = folder(tmp_path)
    some.close()
    (some.path / "meta.json").write_text(json.dumps({**some.meta, "schema": schema}))
    with pytest.raises(DataError) as error:
        data.read_meta(some.path)
    assert "this program reads 1" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_run_is_aborted_until_it_is_complete(tmp_path: Path) -> None:
    some = folder(tmp_path)
    assert data.read_meta(some.path)["state"] == "aborted"
    some.event(EventName.RUN_BEGIN, experiment="failover", seed=1)
    some.complete()
    some.close()
    assert data.read_meta(some.path)["state"] == "complete"
    names = [json.loads(line)["event"] for line in (some.path / "events.jsonl").open()]
    assert names == ["run-begin", "run-end"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (run.RunError("zebra is missing"), "zebra is missing"),
        (ValueError("boom"), "ValueError: boom"),
    ],
)
def test_what_ends_a_run_is_noted(tmp_path: Path, error: BaseException, reason: str) -> None:
    some = folder(tmp_path)
    (some.path / "logs" / "zebra.log").write_text("last words\n")
    with pytest.raises(type(error)), some:
        raise error
    meta = data.read_meta(some.path)
    assert (meta["state"], meta["reason"]) == ("aborted", reason)
    assert (some.path / "logs" / "zebra.log").read_text() == "last words\n"


def test_latest_points_at_the_newest(tmp_path: Path) -> None:
    first, second = folder(tmp_path), folder(tmp_path)
    assert first.path != second.path
    assert (tmp_path / "latest-failover").resolve() == second.path


def test_a_full_disk_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    some = folder(tmp_path)
    some.close()
    some._events = open("/dev/full", "w", buffering=1)  # noqa: SIM115

    def program() -> int:
        with some:
            some.event(EventName.RUN_BEGIN, experiment="failover", seed=1)
        return 0

    assert run.main(program) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "No space left" in message


def test_a_results_folder_that_is_no_folder_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").write_text("a file")

    def program() -> int:
        run.RunFolder.create("failover", parameters.parse(KNOWN, [], {}), tmp_path / "results")
        return 0

    assert run.main(program) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_files_belong_to_the_user_who_called_sudo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr(run.os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        run.os, "chown", lambda p, u, g, follow_symlinks: owners.update({Path(p).name: (u, g)})
    )
    monkeypatch.setenv("SUDO_UID", "1234")
    monkeypatch.setenv("SUDO_GID", "1235")
    some = folder(tmp_path)
    some.close()
    assert {"meta.json", "events.jsonl", "plots", some.path.name} <= owners.keys()
    assert set(owners.values()) == {(1234, 1235)}


def test_defaults() -> None:
    got = parameters.parse(KNOWN, [], {})
    assert (got.trials, got.seed, got.quick, got.topology) == (3, 1, False, "single_as")
    assert got.chosen["FAULT"] == ("agent-kill", "link-cut")


def test_arguments_come_before_the_environment() -> None:
    got = parameters.parse(KNOWN, ["TRIALS=9"], {"TRIALS": "5", "QUICK": "1", "SEED": "7"})
    assert (got.trials, got.seed, got.quick) == (9, 7, True)
    assert parameters.parse(KNOWN, [], {"QUICK": "1"}).trials == 1


def test_lists_narrow_in_their_own_order() -> None:
    assert parameters.parse(KNOWN, ["FAULT=link-cut, agent-kill"], {}).chosen["FAULT"] == (
        "agent-kill",
        "link-cut",
    )
    assert parameters.parse(KNOWN, ["SET=has=5"], {}).settings == {"has": 5}


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("FAULT=fire", "known: agent-kill, link-cut"),
        ("FAULT=,", "known: agent-kill, link-cut"),
        ("DETECTION=bfd", "known: bfd-10x3, ospf-1-4"),
        ("TOPO=ring", "known: single_as"),
        ("SET=colour=blue", "known: has"),
        ("SET=has", "key=value"),
        ("SET=has=10", "from 2 to 9"),
        ("SET=has=x", "from 2 to 9"),
        ("SET='", "No closing quotation"),
        ("SCHEME=haha", "SCHEME means nothing here"),
        ("TRIAL=3", "known: TRIALS, SEED"),
        ("TRIALS=0", "from 1"),
        ("TRIALS=three", "whole number"),
        ("QUICK=yes", "0 or 1"),
        ("--help", "unknown parameter"),
    ],
)
def test_bad_parameters_end_with_what_is_known(argument: str, words: str) -> None:
    with pytest.raises(ParameterError) as error:
        parameters.parse(KNOWN, [argument], {})
    assert words in str(error.value)
    assert "\n" not in str(error.value)
