"""The run folder: `results/<experiment>-<UTC time>/`, validated as it is written.

A run counts as aborted from its first moment until `complete()`: so whatever ends it (Ctrl-C, an
error, a full disk, `kill -9`) leaves a folder that says so, and its logs.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from experiments.data import (
    SCHEMA,
    TABLES,
    DataError,
    EventName,
    SummaryRow,
    Table,
    check_event,
    check_meta,
    check_summary,
    read_meta,
)
from experiments.parameters import ParameterError, Parameters

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("mininet", "pyroute2", "cryptography", "matplotlib", "rich", "scapy")
UNFINISHED = "not finished: still running, or killed"


class RunError(RuntimeError):
    """What ends a run for a reason that its user can mend: one line, exit code 2."""


def results_folder() -> Path:
    """Return where run folders go: `results/` of the repository, or `MANYHOMES_RESULTS`."""
    return Path(os.environ.get("MANYHOMES_RESULTS") or REPOSITORY / "results")


class RunFolder:
    """An open run folder. As a context manager it notes why a run ended early."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.meta = read_meta(path)
        self._tables: dict[str, tuple[IO[str], Any]] = {}
        with writing(path):
            self._events = (path / "events.jsonl").open("a", buffering=1)

    @classmethod
    def create(
        cls,
        experiment: str,
        parameters: Parameters,
        results: Path | None = None,
        **facts: str,
    ) -> RunFolder:
        """Make a new folder and its metadata, and let `latest-<experiment>` point to it.

        `facts` are data_plane and delay. RunError if the results folder cannot be written.
        """
        results = results or results_folder()
        metadata = _metadata(experiment, parameters, facts)  # first: it takes a moment
        with writing(results):
            results.mkdir(parents=True, exist_ok=True)
            path = _fresh(results, experiment)
            for name in ("", "logs", "plots", "raw"):
                (path / name).mkdir()
            _write_json(path / "meta.json", metadata)
            _point(results / f"latest-{experiment}", path.name)
        give_to_caller(path)
        return cls(path)

    def event(self, name: EventName, time_ns: int | None = None, /, **fields: Any) -> None:
        """Append one event; its time is now unless given (CLOCK_MONOTONIC, ns)."""
        record = {"time_ns": time.monotonic_ns() if time_ns is None else time_ns, "event": name}
        record.update(fields)
        check_event(record)
        with writing(self.path):
            self._events.write(json.dumps(record, default=str) + "\n")

    def row(self, table: Table, **values: Any) -> None:
        """Append one observation to a table; DataError if it does not fit."""
        fields = table.check(values)
        with writing(self.path):
            file, writer = self._tables.get(table.name) or self._open(table)
            writer.writerow(fields)
            file.flush()

    def _open(self, table: Table) -> tuple[IO[str], Any]:
        if TABLES.get(table.name) is not table:
            raise DataError(f"no table {table.name} in the schema")
        file = (self.path / f"{table.name}.csv").open("w", newline="")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.header)
        self._tables[table.name] = (file, writer)
        return file, writer

    def note(self, **facts: Any) -> None:
        """Change fields of the metadata (data_plane, delay, parameters …)."""
        self.meta.update(facts)
        check_meta(self.meta)
        with writing(self.path):
            _write_json(self.path / "meta.json", self.meta)

    def summary(self, rows: Sequence[SummaryRow]) -> None:
        """Write `summary.json`."""
        check_summary(rows)
        with writing(self.path):
            _write_json(self.path / "summary.json", list(rows))

    def complete(self) -> None:
        """Say that the run is whole."""
        self.event(EventName.RUN_END, state="complete")
        self.note(state="complete", reason="", ended=_utc())

    def abort(self, reason: str) -> None:
        """Say why the run ended early; as much of it as the disk still takes."""
        with contextlib.suppress(RunError):
            self.event(EventName.RUN_END, state="aborted")
        with contextlib.suppress(RunError):
            self.note(state="aborted", reason=reason, ended=_utc())

    def close(self) -> None:
        """Close all files and hand them to the user who called sudo."""
        for file in (self._events, *(file for file, _ in self._tables.values())):
            with contextlib.suppress(OSError):
                file.close()
        give_to_caller(self.path)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self.meta["state"] != "complete":
            self.abort("interrupted" if isinstance(error, KeyboardInterrupt) else _reason(error))
        self.close()


def _reason(error: BaseException) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first if isinstance(error, RunError) else f"{type(error).__name__}: {first}"


@contextlib.contextmanager
def writing(where: Path) -> Iterator[None]:
    """Turn a full disk or a folder that cannot be written into one line."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write to {error.filename or where}: {error.strerror}; "
            "free some space, or set MANYHOMES_RESULTS to another folder"
        ) from error


def _fresh(results: Path, experiment: str) -> Path:
    """Return a path that nobody has: two runs may begin in one second."""
    name = f"{experiment}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    for suffix in ("", *(f"-{n}" for n in range(2, 100))):
        if not (results / (name + suffix)).exists():
            return results / (name + suffix)
    raise RunError(f"{results}: a hundred runs in one second")


def _point(link: Path, target: str) -> None:
    """Let the symbolic link point at the folder in one step."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    give_to_caller(temporary)
    temporary.replace(link)


def _write_json(path: Path, content: Any) -> None:
    """Replace a file as a whole, so that no reader sees half of one."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    temporary.replace(path)


def give_to_caller(path: Path) -> None:
    """Under sudo: make the path and all below it belong to the user who called.

    Inside a user namespace that maps one user alone this cannot be done, and the process outside
    does it; so a refusal is no error.
    """
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not (user.isdigit() and group.isdigit()):
        return
    below = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    for entry in (path, *below):
        with contextlib.suppress(OSError):
            os.chown(entry, int(user), int(group), follow_symlinks=False)


def _metadata(experiment: str, parameters: Parameters, facts: Mapping[str, str]) -> dict[str, Any]:
    commit, dirty = _git()
    return {
        "schema": SCHEMA,
        "experiment": experiment,
        "state": "aborted",
        "reason": UNFINISHED,
        "started": _utc(),
        "ended": "",
        "parameters": parameters.as_json(),
        "seed": parameters.seed,
        "git_commit": commit,
        "git_dirty": dirty,
        "kernel": platform.release(),
        "cpus": len(os.sched_getaffinity(0)),
        "frr": _frr_version(),
        "python": platform.python_version(),
        "packages": _packages(),
        "data_plane": facts.get("data_plane", "python"),
        "delay": facts.get("delay", "none"),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git() -> tuple[str, bool]:
    commit = _output("git", "-C", str(REPOSITORY), "rev-parse", "HEAD").strip()
    status = _output("git", "-C", str(REPOSITORY), "status", "--porcelain", "-uno")
    return commit, bool(status.strip())


def _frr_version() -> str:
    zebra = shutil.which("zebra", path="/usr/lib/frr:/usr/local/lib/frr:" + os.environ["PATH"])
    words = _output(zebra, "--version").split() if zebra else []
    return words[2] if len(words) > 2 else ""


def _packages() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _output(*command: str) -> str:
    """Return what a command prints, or nothing if it cannot be run."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def main(program: Callable[[], int]) -> int:
    """Run an experiment's main function; one line and exit code 2 for what its user can mend."""
    try:
        return program()
    except (ParameterError, RunError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
