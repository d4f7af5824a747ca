"""A command of the configuration, run beside the agent's loop: one at a time, the newest last.

The agent never waits for it: a home agent that stood still for 30 ms would lose its route to the
watchdog. Nothing of the agent's is inherited: a TUN device lives as long as anybody holds it.
"""

import os
import subprocess
from collections.abc import Callable, Sequence

from agents.runtime.loop import Loop

Outcome = Callable[[str, int], None]
"""Told of the value and the exit code (negative: the signal that ended it; 127: not found)."""

NOT_FOUND = 127


class Hook:
    """Runs `command` for a value at a time; only the newest of those that wait counts."""

    def __init__(self, loop: Loop, command: Sequence[str], placeholder: str, done: Outcome) -> None:
        """`{placeholder}` in the words of `command` is replaced by the value."""
        self._loop = loop
        self._command = tuple(command)
        self._placeholder = "{" + placeholder + "}"
        self._done = done
        self._process: subprocess.Popen[bytes] | None = None
        self._descriptor = -1
        self._running = ""
        self._next: str | None = None

    def run(self, value: object) -> None:
        """Run it for `value`, now or after the run that is under way."""
        self._next = str(value)
        if self._process is None:
            self._start()

    def close(self) -> None:
        """End what is under way."""
        self._next = None
        if self._process is not None:
            self._process.kill()
            self._finish(0.0)

    def _start(self) -> None:
        value, self._next = self._next, None
        if value is None or not self._command:
            return
        words = [word.replace(self._placeholder, value) for word in self._command]
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            self._done(value, NOT_FOUND)
            return
        self._running = value
        self._descriptor = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._descriptor, self._finish)

    def _finish(self, now: float) -> None:
        """The process has ended: say how, and begin the next."""
        assert self._process is not None
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        code = self._process.wait()
        self._process = None
        self._done(self._running, code)
        self._start()
