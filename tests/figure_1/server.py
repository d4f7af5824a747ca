"""Runs in the sandbox: brings Figure 1 up, then calls test functions by name until its input ends.

`python -m tests.figure_1.server FOLDER MODE[+ike][+hold-down][+key=value...]`, keys being
parameters of the topology; requests and answers are JSON lines.
"""

import contextlib
import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, Protocol

from agents.config import Mode
from tests.figure_1.lab import Lab

WIDTH = 400


class Served(Protocol):
    """What test functions get as their first argument."""

    def start(self) -> None: ...
    def stop(self) -> None: ...

    def report(self) -> str:
        """Return what to print beside a failure."""
        ...

    def mend(self) -> None:
        """After a failure: bring back what the next test expects."""
        ...


def main() -> None:
    mode, *more = sys.argv[2].split("+")
    parameters = dict(each.split("=") for each in more if "=" in each)
    agents = {"ike": "ike" in more, "hold_down": "hold-down" in more}
    serve(Lab(Path(sys.argv[1]), Mode(mode), **agents, **parameters))


def serve(lab: Served) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else is printed must not be taken for an answer

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer, default=str) + "\n")

    try:
        lab.start()
        say({"result": None})
        for line in sys.stdin:
            say(answer(lab, json.loads(line)))
    except Exception as error:
        say({"error": explained(error)})
    finally:
        lab.stop()


def answer(lab: Served, request: dict[str, Any]) -> dict[str, Any]:
    """Call one function; what it raises becomes text, with the agents' last events."""
    try:
        module = importlib.import_module(f"tests.{request['module']}")
        function = getattr(module, request["function"])
        function = getattr(function, "__wrapped__", function)
        return {"result": function(lab, **request["parameters"])}
    except BaseException as error:
        report = lab.report()
        with contextlib.suppress(Exception):
            lab.mend()
        return {"error": f"{explained(error)}\n{report}"}


def explained(error: BaseException) -> str:
    """Return the traceback with the values of local variables, cut to a readable width."""
    lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    return "\n".join(line[:WIDTH] for text in lines for line in text.splitlines())


if __name__ == "__main__":
    main()
