"""Run a command in namespaces of its own, as an ordinary user or as root.

``ensure_sandbox()`` is for files that Mininet's ``mn`` executes, ``popen()`` for a runner that
stays outside. Both start ``sandbox_launcher.py``, which makes the namespaces. However the outermost
process ends, the kernel removes every process, interface and mount of the sandbox: there is no
clean-up code here, and none is needed.

::

    runner                       popen(): its death kills the launcher (PR_SET_PDEATHSIG)
      `- launcher                outside; holds the lab's name; its death kills init
           `- init               pid 1 of the sandbox: mounts, then reaps; its end kills the rest
                `- the command

From a shell: ``.venv/bin/python -m topologies.sandbox --name NAME COMMAND …``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

LAUNCHER = Path(__file__).resolve().with_name("sandbox_launcher.py")
MARKER = Path("/run/manyhomes/lab")
"""Exists in a sandbox and only there: ``/run`` is the sandbox's own tmpfs. Holds the lab's name."""


def inside() -> bool:
    """Return whether this process runs in a sandbox."""
    return MARKER.exists()


def launcher_command(
    command: Sequence[str], name: str | None = None, dies_with: int | None = None
) -> list[str]:
    """Return the argument list that runs ``command`` in a new sandbox.

    ``name``: what ``make shell`` finds it by; without one, a name that nobody else has.
    ``dies_with``: process id of the parent whose death ends the sandbox; None for no parent.
    """
    options = []
    if name is not None:
        options += ["--name", name]
    if dies_with is not None:
        options += ["--dies-with", str(dies_with)]
    return [sys.executable, "-I", "-S", str(LAUNCHER), *options, "--", *command]


def popen(
    command: Sequence[str],
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> subprocess.Popen[Any]:
    """Start ``command`` in a sandbox that ends when this process does, however it does.

    Call it from a thread that lives as long as the sandbox shall: the kernel's parent-death signal
    follows the thread. ``options`` are those of ``subprocess.Popen``. The exit code is the
    command's own, 128 + n after signal n, or 2 when no sandbox could be made (its reason and cure
    on standard error). SIGTERM to the child asks the command to end and kills it after 5 s.
    """
    return subprocess.Popen(
        launcher_command(command, name, dies_with=os.getpid()),
        env=None if env is None else dict(env),
        **options,
    )


def ensure_sandbox(name: str | None = None) -> None:
    """Return at once inside a sandbox; outside, run this same program again in a new one.

    For files that ``mn`` executes; it sets no ``__file__``, which tells it from an import::

        if "__file__" not in globals():
            ensure_sandbox()

    The launcher takes this process's place, so its process id stays the outermost one. The name
    is that of MANYHOMES_NAME in the environment if none is given.
    """
    if inside():
        return
    sys.stdout.flush()
    sys.stderr.flush()
    name = name or os.environ.get("MANYHOMES_NAME") or None
    arguments = launcher_command([sys.executable, *sys.argv], name)
    os.execv(arguments[0], arguments)


def main() -> NoReturn:
    """Run the command line's command in a sandbox."""
    parser = argparse.ArgumentParser(description="run a command in a sandbox of namespaces")
    parser.add_argument("--name", help="what `make shell` finds it by")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND …")
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("which command?")
    arguments = launcher_command(command, options.name)
    os.execv(arguments[0], arguments)


if __name__ == "__main__":
    main()
