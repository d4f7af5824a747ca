"""Fixtures for tests that leave this process: people, sandboxes, and a check of what they leave."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import settings
from leftovers import MARK, await_none, end, snapshot
from people import Person, ordinary_user, root

from tests import side_by_side
from tests.figure_1.inside import Remote
from tests.strongswan.configuration import missing
from topologies.sandbox import launcher_command

settings.register_profile("manyhomes", deadline=None)  # how long an example takes proves nothing
settings.load_profile("manyhomes")

SESSION = uuid.uuid4().hex
os.environ[MARK] = SESSION  # inherited by everything that a test starts

# A shell starts what runs in its background with these ignored, and so would every program under
# test be: one that a user starts in the foreground is not.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(
            number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """With several workers (`make test`): emulations on one of them; see side_by_side.py."""
    return side_by_side.scheduler(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A worker has emulations first: they are the longest piece of work that is handed out."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: side_by_side.rank(item.nodeid))


@pytest.fixture(scope="session")
def no_sandbox_because() -> str:
    """Why no sandbox can be made here; empty where one can."""
    tried = subprocess.run(
        launcher_command(["true"]), capture_output=True, text=True, timeout=30, check=False
    )
    if tried.returncode == 0:
        return ""
    return (tried.stderr.strip().splitlines() or ["no reason given"])[-1]


@pytest.fixture(autouse=True)
def _emulation_needs_a_sandbox(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("emulation"):
        reason = request.getfixturevalue("no_sandbox_because")
        if reason:
            pytest.skip(reason)


@pytest.fixture(scope="module", autouse=True)
def _nothing_left() -> Iterator[None]:
    """After each file of tests: no process that it started is left, or the last test fails."""
    yield
    left = await_none(SESSION)
    end(left)
    assert not left, "left behind, and now ended:\n" + "\n".join(f"{p} {c}" for p, c in left)


@pytest.fixture(params=["user", "root"])
def person(request: pytest.FixtureRequest) -> Iterator[Person]:
    """Each of the two who may run everything: an ordinary user, then root."""
    with {"user": ordinary_user, "root": root}[request.param]() as somebody:
        yield somebody


@pytest.fixture
def user() -> Iterator[Person]:
    """An ordinary user."""
    with ordinary_user() as somebody:
        yield somebody


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def sandbox(no_sandbox_because: str) -> Run:
    """Run a command, or Python code given as one string, in a sandbox; see `Person.run`.

    The sandbox ends with the test's process, and after `timeout` seconds in any case.
    """
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)

    def run(
        command: str | Sequence[str], timeout: float = 60, name: str | None = None, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        words = [sys.executable, "-c", command] if isinstance(command, str) else list(command)
        somebody = Person("me", os.geteuid(), home=options.pop("home", None))
        options["env"] = {**os.environ, **options.get("env", {})}
        return somebody.run(
            launcher_command(words, name, dies_with=os.getpid()), timeout=timeout, **options
        )

    return run


@pytest.fixture(scope="module")
def figure_1(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    no_sandbox_because: str,
) -> Iterator[Remote]:
    """Figure 1 up and running, one for each file of tests (see tests/figure_1/inside.py).

    The mode is hardened, or what the file asks for by indirect parametrisation, as `draft` or
    `hardened+ike`.
    """
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    remote = Remote(tmp_path_factory.mktemp("figure-1"), getattr(request, "param", "hardened"))
    yield remote
    remote.close()


@pytest.fixture(scope="module")
def swan(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    no_sandbox_because: str,
) -> Iterator[Remote]:
    """strongSwan's charon up and running, one for each file of tests (see tests/strongswan/lab.py).

    The mode is patient, or what the file asks for by indirect parametrisation.
    """
    if because := no_sandbox_because or missing():
        pytest.skip(because)
    mode = getattr(request, "param", "patient")
    remote = Remote(tmp_path_factory.mktemp("swan"), mode, server="tests.strongswan.server")
    yield remote
    remote.close()


@pytest.fixture(scope="module")
def figure_2(no_sandbox_because: str) -> Iterator[Remote]:
    """Figure 2 up and running, by an ordinary user, one for each file of tests."""
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    with ordinary_user() as person:
        server = "tests.figure_2.server"
        remote = Remote(person.home, "hardened", person.popen, server=server)
        yield remote
        remote.close()


@pytest.fixture(scope="module")
def distance(no_sandbox_because: str) -> Iterator[Remote]:
    """The network of tests/distance/lab.py, run by an ordinary user who leaves nothing."""
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    before = snapshot()
    with ordinary_user() as person:
        remote = Remote(person.home, "", person.popen, server="tests.distance.lab")
        yield remote
        remote.close()
    assert snapshot().since(before) == []
