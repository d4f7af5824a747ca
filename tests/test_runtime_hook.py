"""The command that tells routing of a metric: never waited for, one at a time, the newest last."""

import os
import time
from pathlib import Path

from agents.runtime.hook import NOT_FOUND, Hook
from agents.runtime.loop import Loop


def run_until(loop: Loop, condition: object, limit: float = 5.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "the hook's command did not end"
        loop.run_once()


def test_the_newest_value_is_the_last(tmp_path: Path) -> None:
    loop, done, log = Loop(), [], tmp_path / "log"
    command = ["sh", "-c", 'echo "$1" >> "$0"; read line < "$2"', str(log), "{metric}"]
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    hook = Hook(loop, [*command, str(gate)], "metric", lambda *said: done.append(said))
    for value in (1, 2, 3, 103):
        hook.run(value)
    assert done == []
    gate.write_text("go\n")
    run_until(loop, lambda: len(done) == 1)
    gate.write_text("go\n")
    run_until(loop, lambda: len(done) == 2)
    assert done == [("1", 0), ("103", 0)]
    assert log.read_text() == "1\n103\n"
    loop.close()


def test_how_it_ended_is_told() -> None:
    loop, done = Loop(), []
    hook = Hook(loop, ["sh", "-c", "exit {metric}"], "metric", lambda *said: done.append(said))
    hook.run(3)
    run_until(loop, lambda: done)
    assert done == [("3", 3)]
    Hook(loop, ["/nonexistent"], "metric", lambda *said: done.append(said)).run(4)
    assert done[-1] == ("4", NOT_FOUND)
    Hook(loop, [], "metric", lambda *said: done.append(said)).run(5)
    assert len(done) == 2
    loop.close()


def test_close_ends_what_is_under_way() -> None:
    loop, done = Loop(), []
    hook = Hook(loop, ["sleep", "1000"], "metric", lambda *said: done.append(said))
    hook.run(1)
    hook.close()
    assert done == [("1", -9)]
    loop.close()


def test_descriptors_are_not_inherited(tmp_path: Path) -> None:
    """A TUN device lives as long as anybody holds it."""
    loop, done, seen = Loop(), [], tmp_path / "seen"
    with (tmp_path / "held").open("w"):
        command = ["sh", "-c", f"ls -l /proc/self/fd > {seen}"]
        Hook(loop, command, "metric", lambda *said: done.append(said)).run(1)
        run_until(loop, lambda: done)
    assert "held" not in seen.read_text()
    loop.close()
