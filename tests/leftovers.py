"""What is there on the machine, and what a run has left behind.

Processes are told by ownership: a mark in the environment, which everything that a test starts
inherits. So neither another person's work nor an earlier test is mistaken for a leftover, and
nothing is ever looked up, or ended, by its name.
"""

import contextlib
import functools
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

MARK = "MANYHOMES_TEST"


@dataclass(frozen=True)
class Snapshot:
    """The host's mounts, interfaces, labs' names, and files below some folders."""

    mounts: frozenset[str] = field(default_factory=frozenset)
    interfaces: frozenset[str] = field(default_factory=frozenset)
    files: frozenset[str] = field(default_factory=frozenset)

    def since(self, earlier: "Snapshot") -> list[str]:
        """Return what is new, a line each."""
        return [
            f"{kind}: {entry}"
            for kind in ("mounts", "interfaces", "files")
            for entry in sorted(getattr(self, kind) - getattr(earlier, kind))
        ]


def snapshot(folders: Iterable[Path] = ()) -> Snapshot:
    """Look at the host; `folders` are where files could be left."""
    mounts = [line.split(" - ")[0].split()[4] for line in read("/proc/self/mountinfo").splitlines()]
    return Snapshot(
        mounts=frozenset(mounts),
        interfaces=frozenset(name for name in os.listdir("/sys/class/net")),
        files=frozenset(str(path) for folder in folders for path in folder.rglob("*")),
    )


@functools.cache
def open_folders() -> tuple[str, ...]:
    """Return the folders in which everybody may write: only there can a user leave files."""
    places = [top for top in ("/", "/dev/shm", "/run", "/tmp") if os.path.isdir(top)]
    words = ["find", *places, "-xdev", "-type", "d", "-perm", "-0002", "-prune", "-print"]
    return tuple(sorted(set(subprocess.run(words, capture_output=True, text=True).stdout.split())))


def files_of(user: int) -> list[str]:
    """Return every file that a user has in folders where everybody may write."""
    words = ["find", *open_folders(), "-uid", str(user)]
    return sorted(set(subprocess.run(words, capture_output=True, text=True).stdout.splitlines()))


def read(path: str | Path) -> str:
    return Path(path).read_text(errors="replace")


def marked(mark: str) -> Iterator[tuple[int, str]]:
    """Yield process id and command line of every living process that carries a mark."""
    wanted = f"{MARK}={mark}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            if wanted not in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                continue
            state = read(f"/proc/{entry}/stat").rpartition(")")[2].split()[0]
            command = read(f"/proc/{entry}/cmdline").replace("\0", " ").strip()
        except OSError:
            continue
        if state not in "ZX":
            yield int(entry), command


def await_none(mark: str, seconds: float = 5.0) -> list[tuple[int, str]]:
    """Wait until no process carries the mark; return those that still do."""
    deadline = time.monotonic() + seconds
    while (there := list(marked(mark))) and time.monotonic() < deadline:
        time.sleep(0.01)  # the kernel tells nobody when a stranger's process ends
    return there


def end(processes: Iterable[tuple[int, str]]) -> None:
    """Kill processes that a test has started, by their ids."""
    for pid, _ in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def await_no_lab(user: int, seconds: float = 2.0) -> list[str]:
    """Wait until a user has no lab; return the names of those that are still there.

    A process that ends has lost its environment, by which it is known, before it closes its files.
    """
    deadline = time.monotonic() + seconds
    while (there := _labs_of(user)) and time.monotonic() < deadline:
        time.sleep(0.01)  # of this, too, the kernel tells nobody
    return there


def _labs_of(user: int) -> list[str]:
    return re.findall(rf"@manyhomes/{user}/(\S+)", read("/proc/net/unix"))
