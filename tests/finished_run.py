"""A run of an experiment by an ordinary user, and what it left: for tests on the real topology."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from people import ordinary_user

from experiments import data


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    output: str

    def table(self, table: data.Table, **wanted: object) -> list[dict[str, Any]]:
        """Return a table's rows, or those with these values."""
        rows = data.read_table(self.folder, table)
        return [row for row in rows if all(row[name] == value for name, value in wanted.items())]

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Return the agents' events of a kind, in the order of the journal."""
        with (self.folder / "events.jsonl").open() as lines:
            return [each for each in map(json.loads, lines) if each.get("kind") == kind]


@contextmanager
def finished(experiment: str, *arguments: str, timeout: float) -> Iterator[Run]:
    """Run an experiment, which has to end well; the run folder goes with its user."""
    with ordinary_user() as person:
        results = person.home / "results"
        command = [sys.executable, "-m", f"experiments.{experiment}", *arguments]
        done = person.run(command, timeout=timeout, env={"MANYHOMES_RESULTS": str(results)})
        assert done.returncode == 0, done.stdout + done.stderr
        folder = (results / f"latest-{experiment}").resolve()
        assert data.read_meta(folder)["keys_searched"] > 0, "I7"
        yield Run(folder, done.stdout)
