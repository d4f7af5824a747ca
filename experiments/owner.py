"""The outermost process of a run: makes the run folder, owns the sandbox, outlives it.

    python -m experiments.failover            this process; its death ends everything
      `- sandbox                              (topologies/sandbox.py)
           `- python -m experiments.failover --inside FOLDER      the experiment itself

The experiment runs inside and writes the run folder; out here it is created, so that a run that
never came to life has one too, and handed to the user who called sudo.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console

from experiments.key_search import KeySearch
from experiments.parameters import Known, Parameters, parse
from experiments.run import REPOSITORY, UNFINISHED, RunError, RunFolder
from topologies import key_material, sandbox

INSIDE = "--inside"
Experiment = Callable[[RunFolder, Parameters, Console], int]


def run(name: str, known: Known, experiment: Experiment, arguments: Sequence[str]) -> int:
    """Run an experiment, outside or inside of its sandbox; return the exit code.

    Raises ParameterError before anything is made, RunError for what a user can mend.
    """
    if arguments[:1] == [INSIDE]:
        return _inside(Path(arguments[1]), parse(known, arguments[2:]), experiment)
    parameters = parse(known, arguments)
    folder = RunFolder.create(name, parameters)
    print(f"run folder: {short(folder.path)}", flush=True)
    command = [sys.executable, "-m", f"experiments.{name}", INSIDE, str(folder.path), *arguments]
    return _outside(folder, command)


def run_here(name: str, known: Known, experiment: Experiment, arguments: Sequence[str]) -> int:
    """Run an experiment that needs no network, in this process; return the exit code.

    Raises ParameterError before anything is made, RunError for what a user can mend.
    """
    parameters = parse(known, arguments)
    signal.signal(signal.SIGTERM, _terminate)
    with RunFolder.create(name, parameters, data_plane="none") as folder:
        print(f"run folder: {short(folder.path)}", flush=True)
        return experiment(folder, parameters, Console())


def _outside(folder: RunFolder, command: Sequence[str]) -> int:
    """Wait for the experiment; whatever happens, the folder says how it ended."""
    signal.signal(signal.SIGTERM, _terminate)
    with contextlib.suppress(ValueError, OSError):  # lets root's probes keep their pace
        resource.setrlimit(resource.RLIMIT_RTPRIO, (1, 1))
    child = sandbox.popen(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL)
    try:
        code = int(child.wait())
    except KeyboardInterrupt:
        child.send_signal(signal.SIGTERM)  # a Ctrl-C reached it by itself; any other way: now
        code = int(child.wait()) or 130
    ended = RunFolder(folder.path)
    folder.close()
    if ended.meta["state"] == "aborted":
        if ended.meta["reason"] == UNFINISHED:
            ended.abort(f"ended with exit code {code}")
        print(f"run aborted: {ended.meta['reason']}; see {short(folder.path)}", file=sys.stderr)
        code = code or 1
    ended.close()
    return code


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _inside(path: Path, parameters: Parameters, experiment: Experiment) -> int:
    """Run the experiment in the sandbox."""
    if not sandbox.inside():
        raise RunError(f"{INSIDE} is for the sandbox; start it without")
    signal.signal(signal.SIGTERM, _terminate)
    console = Console()
    with RunFolder(path) as folder:
        try:
            return experiment(folder, parameters, console)
        finally:
            folder.note(keys_searched=refuse_keys(path))


def refuse_keys(folder: Path) -> int:
    """Return of how many keys, those of this process's networks, none stands in the folder (I7).

    Raises RunError if one does.
    """
    found = KeySearch(key_material.used).files(folder)
    if found:
        names = ", ".join(str(path.relative_to(folder)) for path in found)
        raise RunError(f"key material in {names}: give this run folder to nobody; report it")
    return len(key_material.used)


def short(path: Path) -> str:
    """Return a path as seen from where the user stands."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def need(tool: str, package: str) -> str:
    """Return the path of a tool; RunError names the package that has it."""
    path = shutil.which(tool)
    if path is None:
        raise RunError(f"{tool} is missing; install Debian's {package}, or run `make setup`")
    return path
