"""Who runs a command in a test: root, or an ordinary user that root plays."""

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
AS_USER = Path(__file__).with_name("as_user.py")
_user_ids = itertools.count(3_000_000 + os.getpid() % 1_000_000 * 1_000)
"""Its own thousand for each process: two that test at once play different users."""


@dataclass(frozen=True)
class Person:
    """Somebody who can run commands; `home` is theirs, and new."""

    name: str
    user: int
    home: Path
    prefix: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def popen(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[str]":
        """Start a command in the repository, in the person's environment."""
        extra = options.pop("env", {})
        options.setdefault("cwd", REPOSITORY)
        return subprocess.Popen(
            [*self.prefix, *command], text=True, env={**self.environment, **extra}, **options
        )

    def run(
        self, command: Sequence[str], timeout: float = 60, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end; after `timeout` it is killed by its id and the test fails."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        with self.popen(command, **options) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                pytest.fail(f"{command} hung for {timeout} s\n{out}\n{err}")
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def python(self, code: str, *arguments: str, **options: Any) -> Any:
        """Run Python code with this environment's interpreter."""
        return self.run([sys.executable, "-c", code, *arguments], **options)


@contextlib.contextmanager
def root() -> Iterator[Person]:
    """Yield root; skip the test, saying so, where root is not to be had."""
    if os.geteuid() != 0:
        pytest.skip("needs root: run the tests as root to see this case")
    with home_folder(0) as home:
        yield Person("root", 0, home, environment=environment_for(home))


@contextlib.contextmanager
def ordinary_user() -> Iterator[Person]:
    """Yield an ordinary user: the caller, or one that root plays (see as_user.py)."""
    if os.geteuid() != 0:
        with home_folder(os.geteuid()) as home:
            yield Person("user", os.geteuid(), home, environment=environment_for(home))
        return
    user = next(_user_ids)
    prefix = (sys.executable, "-I", "-S", str(AS_USER), str(user), str(REPOSITORY))
    with home_folder(user) as home:
        # The virtual environment is not theirs, so this cannot be in it (experiments/plots.py).
        fonts = {"MPLCONFIGDIR": str(home / "results/matplotlib")}
        person = Person("user", user, home, prefix, environment_for(home) | fonts)
        tried = subprocess.run(
            [*prefix, sys.executable, "-c", "open('/dev/net/tun', 'rb+', 0)"],
            capture_output=True, text=True, cwd="/", env=dict(person.environment),
        )  # fmt: skip
        if tried.returncode != 0:
            pytest.skip(
                "no ordinary user can be played here (is .venv made from /usr/bin/python3?): "
                + (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
            )
        yield person


@contextlib.contextmanager
def home_folder(user: int) -> Iterator[Path]:
    """Yield a new folder that belongs to a user; removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="manyhomes-home-", dir="/tmp"))
    os.chown(home, user, user if user else -1)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def environment_for(home: Path) -> dict[str, str]:
    """Return the environment of a fresh login, with the mark that the tests look for."""
    keep = {key: os.environ[key] for key in ("LANG", "MANYHOMES_TEST") if key in os.environ}
    return keep | {
        "HOME": str(home),
        "PATH": "/usr/local/bin:/usr/bin:/bin",  # as `su -` leaves it: no sbin
        "MANYHOMES_RESULTS": str(home / "results"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
