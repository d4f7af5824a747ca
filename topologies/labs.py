"""Find running labs of this user, and enter one of their nodes from another terminal.

A lab's name is an abstract socket (``topologies/sandbox_launcher.py``); its listener is the lab's
init, whose process id the kernel tells to whoever connects. Nothing of it is a file, so nothing of
it outlives a lab.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from topologies.sandbox_launcher import abstract_name, environment

DEFAULT = "lab"
"""What `make lab` calls itself without NAME=…; experiments' sandboxes have numbers."""

NAMESPACES = ("user", "net", "mnt", "pid", "uts", "ipc")


class LabError(Exception):
    """No such lab or node; one line that says which there are."""


def names() -> list[str]:
    """Return the names of this user's labs, also those that are still starting."""
    prefix = "@" + abstract_name(os.getuid(), "")[1:]
    addresses = re.findall(r"(@manyhomes/\S+)", Path("/proc/net/unix").read_text())
    return sorted({entry.removeprefix(prefix) for entry in addresses if entry.startswith(prefix)})


def init_of(name: str) -> int:
    """Return the process id of a lab's init, as seen from outside.

    Raises LabError when this user has no such lab, or it has not started yet.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        try:
            client.connect(abstract_name(os.getuid(), name))
        except OSError as error:
            raise LabError(f"no lab named {name!r} runs here: {known(names(), 'labs')}") from error
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, user, _ = struct.unpack("3i", credentials)
    if user != os.getuid():
        raise LabError(f"the name {name!r} is held by another user's process")
    return int(pid)


def known(items: Sequence[str], what: str) -> str:
    """Return `running labs: a, b` or `no running labs`."""
    return f"running {what}: {', '.join(items)}" if items else f"no running {what}"


def nodes(init: int) -> dict[str, int]:
    """Return each Mininet node of a lab and the process id of its shell, as seen from outside."""
    found: dict[str, int] = {}
    lab = os.readlink(f"/proc/{init}/ns/pid")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            marks = [each for each in arguments if each.startswith(b"mininet:")]
            if marks and os.readlink(entry / "ns/pid") == lab:
                found.setdefault(marks[0].removeprefix(b"mininet:").decode(), int(entry.name))
        except OSError:  # it ended meanwhile, or is another user's
            continue
    return found


def choose(name: str | None) -> str:
    """Return the lab meant: the one named, `make lab`'s own, or the only one. Raises LabError."""
    if name:
        return name
    found = names()
    if DEFAULT in found or len(found) == 1:
        return DEFAULT if DEFAULT in found else found[0]
    raise LabError(f"which lab? NAME=…; {known(found, 'labs')}")


def enter_command(name: str | None, node: str | None, command: Sequence[str]) -> list[str]:
    """Return the argument list that runs ``command`` in a node of a lab, from outside.

    ``name``: None for the only lab; ``node``: None for the lab's own namespace, where the links'
    switches are. Raises LabError.
    """
    name = choose(name)
    target = init = init_of(name)
    if node is not None:
        there = nodes(init)
        if node not in there:
            raise LabError(f"no node {node!r} in lab {name!r}: {known(sorted(there), 'nodes')}")
        target = there[node]
    options = [f"--{kind}=/proc/{target}/ns/{kind}" for kind in NAMESPACES if differs(target, kind)]
    options = [option.replace("--mnt=", "--mount=") for option in options]
    if any(option.startswith("--user=") for option in options):
        options.append("--preserve-credentials")
    own = environment(name)
    wanted = [f"{key}={own[key]}" for key in ("PATH", "MANYHOMES_LAB", "TMPDIR")]
    return ["nsenter", *options, "--", "env", "-C", os.getcwd(), *wanted, *command]


def differs(pid: int, kind: str) -> bool:
    """Return whether a process is in another namespace of that kind than this one."""
    return os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")


def enter(name: str | None, node: str | None, command: Sequence[str]) -> NoReturn:
    """Become ``command`` inside a node of a lab. Raises LabError."""
    arguments = enter_command(name, node, command)
    if shutil.which("nsenter") is None:
        raise LabError("nsenter is missing: it is in Debian's package util-linux")
    sys.stdout.flush()
    os.execvp(arguments[0], arguments)
