"""Kill a run's outermost process at a chosen moment; tell what is left of it on the machine."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from leftovers import MARK, await_no_lab, await_none, end, files_of, marked, snapshot
from people import Person

Moment = Callable[[str], bool]
"""Whether it has come, given the mark that the run's processes carry."""


def processes(count: int) -> Moment:
    """Return the moment when so many of the run's processes are alive."""
    return lambda mark: sum(1 for _ in marked(mark)) >= count


def process_like(text: str) -> Moment:
    """Return the moment when a process of the run has `text` in its command line."""
    return lambda mark: any(text in command for _, command in marked(mark))


def file_like(folder: Path, pattern: str) -> Moment:
    """Return the moment when a file appears."""
    return lambda mark: any(folder.glob(pattern))


def left_by(
    person: Person,
    command: Sequence[str],
    moment: Moment,
    environment: Mapping[str, str] | None = None,
    number: signal.Signals = signal.SIGKILL,
    seconds: float = 60,
    keep: Sequence[Path] = (),
) -> list[str]:
    """Run a command as its outermost process, kill it at the moment, return what is left.

    Nothing below `keep` (the run folder) counts. Files are looked for by their owner where the
    person is an ordinary user that root plays, else in the places that programs write to.
    """
    mark = uuid4().hex
    played = bool(person.prefix)
    folders = [person.home, *(Path(each) for each in ("/run", "/var/tmp", "/dev/shm"))]
    before = snapshot(folders)
    runner = person.popen(
        command, env={**(environment or {}), MARK: mark},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        await_moment(runner, moment, mark, seconds)
        os.kill(runner.pid, number)
        runner.wait(timeout=seconds)
    finally:
        runner.kill()
        runner.wait()
    alive = await_none(mark)
    end(alive)
    left = [f"process {pid}: {words}" for pid, words in alive]
    left += [entry for entry in snapshot(folders).since(before) if not_kept(entry, keep)]
    left += [f"lab: {name}" for name in (await_no_lab(person.user) if played else [])]
    if played:
        own = [path for path in files_of(person.user) if Path(path) != person.home]
        left += [entry for path in own if not_kept(entry := f"files: {path}", keep)]
    return left


def await_moment(
    runner: "subprocess.Popen[str]", moment: Moment, mark: str, seconds: float
) -> None:
    """Wait for the moment; fail when the runner ends before it."""
    deadline = time.monotonic() + seconds
    while not moment(mark):
        if runner.poll() is not None:
            assert runner.stderr is not None
            raise AssertionError(f"ended with {runner.returncode}: {runner.stderr.read()}")
        assert time.monotonic() < deadline, "the moment did not come"
        time.sleep(0.0005)  # strangers' processes announce nothing


def not_kept(entry: str, keep: Sequence[Path]) -> bool:
    path = Path(entry.removeprefix("files: "))
    return not any(path.is_relative_to(folder) for folder in keep)
