"""kill -9 of `make failover`'s runner at five moments: nothing is left outside the run folder."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kill_nine import Moment, left_by, process_like
from people import Person, root

pytestmark = [pytest.mark.emulation, pytest.mark.timeout(300)]

RUNNER = [sys.executable, "-m", "experiments.failover"]
ONE_TRIAL = {"TRIALS": "1", "FAULT": "agent-kill", "DETECTION": "bfd-50x3"}


def event(results: Path, name: str) -> Moment:
    """Return the moment when the run's journal names an event."""

    def come(mark: str) -> bool:
        return any(f'"{name}"' in file.read_text() for file in results.glob("*/events.jsonl"))

    return come


MOMENTS: dict[str, Callable[[Path], Moment]] = {
    "the sandbox starts": lambda results: process_like("sandbox_launcher.py"),
    "routing starts": lambda results: process_like("ospf6d"),
    "the mobile node starts": lambda results: process_like("agents.mn"),
    "the fault": lambda results: event(results, "fault"),
    "the repair": lambda results: event(results, "repair"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_is_left(user: Person, moment: str) -> None:
    results = user.home / "results"
    left = left_by(
        user, RUNNER, MOMENTS[moment](results), ONE_TRIAL, seconds=120, keep=[results]
    )  # fmt: skip
    assert left == []
    states = [json.loads(file.read_text())["state"] for file in results.glob("*/meta.json")]
    assert set(states) <= {"aborted"}


def test_nothing_is_left_of_roots() -> None:
    with root() as person:
        results = person.home / "results"
        left = left_by(
            person, RUNNER, event(results, "fault"), ONE_TRIAL, seconds=120, keep=[results]
        )
        assert left == []


def test_ctrl_c_marks_the_run_aborted(user: Person) -> None:
    results = user.home / "results"
    moment = event(results, "fault")
    left = left_by(user, RUNNER, moment, ONE_TRIAL, signal.SIGINT, seconds=120, keep=[results])
    assert left == []
    (meta,) = {file.resolve() for file in results.glob("*/meta.json")}
    assert json.loads(meta.read_text())["state"] == "aborted"
