"""Trials that the testbed failed: noted, repeated by whoever runs them, and not too many."""

from __future__ import annotations

from rich.console import Console

from experiments.data import EventName
from experiments.run import RunError, RunFolder

ALLOWED = 3


class FailedTrials:
    """Counts them; `count` is how many there were."""

    def __init__(self, folder: RunFolder, console: Console) -> None:
        self._folder, self._console = folder, console
        self.count = 0

    def note(self, trial: int, reason: object, where: str = "") -> None:
        """Note one, and in which part of it; RunError if there are more than `ALLOWED` now."""
        self.count += 1
        why = f"{where}: {reason}" if where else str(reason)
        self._folder.event(EventName.TRIAL_FAILED, trial=trial, reason=why)
        told = f"trial {trial} failed: {why}"
        if self.count > ALLOWED:
            raise RunError(told)
        self._console.print(f"[red]{told}")
