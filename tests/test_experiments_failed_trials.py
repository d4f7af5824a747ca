"""Trials that the testbed failed are told of, and end the run when there are too many."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from experiments.data import EventName
from experiments.failed_trials import ALLOWED, FailedTrials
from experiments.parameters import Known, parse
from experiments.run import RunError, RunFolder


def test_so_many_are_allowed_and_not_one_more(tmp_path: Path) -> None:
    parameters = parse(Known(topologies=("single_as",), trials=1, quick_trials=1), [], {})
    said = StringIO()
    with RunFolder.create("replay", parameters, tmp_path) as folder:
        failed = FailedTrials(folder, Console(file=said))
        for trial in range(1, ALLOWED + 1):
            failed.note(trial, "no answer", "draft")
        with pytest.raises(RunError, match=r"^trial 9 failed: no answer$"):
            failed.note(9, RuntimeError("no answer"))
        assert failed.count == ALLOWED + 1
        lines = (folder.path / "events.jsonl").read_text().splitlines()
    reasons = [
        each["reason"] for each in map(json.loads, lines) if each["event"] == EventName.TRIAL_FAILED
    ]
    assert reasons == ["draft: no answer"] * ALLOWED + ["no answer"]
    assert said.getvalue().splitlines() == [
        f"trial {trial} failed: draft: no answer" for trial in range(1, ALLOWED + 1)
    ]
