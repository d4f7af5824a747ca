"""Tests whose body runs inside the sandbox, where the network is.

::

    @inside
    def test_something(figure_1: Lab, fault: str) -> None:
        ...

pytest hands the test a `Remote` and its parameters; the decorator sends both names and parameters
to the server in the sandbox, which calls the same function with its `Lab`. What it raises comes
back as text and fails the test.
"""

import functools
import inspect
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from topologies.sandbox import launcher_command

START_SECONDS = 90.0
CALL_SECONDS = 150.0

Popen = Callable[..., "subprocess.Popen[str]"]
OWN_POPEN: Popen = functools.partial(subprocess.Popen, text=True)


class Remote:
    """A running Figure 1, or another lab, seen from outside its sandbox."""

    def __init__(
        self,
        folder: Path,
        mode: str,
        popen: Popen = OWN_POPEN,
        server: str = "tests.figure_1.server",
    ) -> None:
        """Start it and wait until it is up; `popen` starts the sandbox as somebody.

        `server` is the module that runs inside, with the folder and the mode as its arguments.
        """
        self.folder = folder
        self._stderr = (folder / "server.err").open("w+")
        command = [sys.executable, "-m", server, str(folder), mode]
        self.process = popen(
            launcher_command(command, dies_with=os.getpid()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=1,
        )
        try:
            self._answer(START_SECONDS)
        except BaseException:
            self.close()
            raise

    def call(self, function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
        """Call a function in the sandbox; fails the test with whatever it raises."""
        assert self.process.stdin is not None
        module = function.__module__.removeprefix("tests.")
        request = {"module": module, "function": function.__name__, "parameters": parameters}
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
        except BrokenPipeError:
            self._ended()
        return self._answer(CALL_SECONDS)

    def close(self) -> None:
        """End the sandbox as a crash would: nothing may be left all the same."""
        self.process.kill()
        self.process.communicate()
        self._stderr.close()

    def _answer(self, seconds: float) -> Any:
        assert self.process.stdout is not None
        deadline = time.monotonic() + seconds
        if not select.select([self.process.stdout], [], [], deadline - time.monotonic())[0]:
            self.process.kill()
            pytest.fail(f"no answer from the sandbox after {seconds:.0f} s", pytrace=False)
        line = self.process.stdout.readline()
        if not line:
            self._ended()
        answer = json.loads(line)
        if "error" in answer:
            pytest.fail(answer["error"], pytrace=False)
        return answer["result"]

    def _ended(self) -> None:
        self._stderr.seek(0)
        code = self.process.wait(timeout=10)
        pytest.fail(f"the sandbox ended with {code}\n{self._stderr.read()}", pytrace=False)


def inside(function: Callable[..., None]) -> Callable[..., None]:
    """Make a test run its body in the sandbox of its `figure_1`, or of its first fixture."""
    lab = next(iter(inspect.signature(function).parameters))

    @functools.wraps(function)
    def test(**parameters: Any) -> None:
        parameters.pop(lab).call(function, parameters)

    return test
