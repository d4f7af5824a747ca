"""charon in the sandbox, by itself: it runs as anybody, talks, carries traffic, leaves nothing."""

import json
import os
import sys

import pytest
from leftovers import MARK, await_none, files_of, snapshot
from people import Person

from tests.strongswan.configuration import missing
from topologies.sandbox import launcher_command

pytestmark = pytest.mark.emulation


@pytest.fixture(autouse=True)
def _charon_is_there() -> None:
    if because := missing():
        pytest.skip(because)


def test_two_charons_of_anybody_talk_and_leave_nothing(person: Person) -> None:
    before, files = snapshot(), files_of(person.user)
    command = [sys.executable, "-m", "tests.strongswan.two_charons"]
    result = person.run(launcher_command(command, dies_with=os.getpid()))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {
        "state": "INSTALLED",
        "port": "4500",
        "ping": True,
        "links": [],
        "run": ["charon", "charon.pid", "charon.vici"],
        "host": False,
        "ping after the end": False,
        "codes": [0, 0],
    }
    assert await_none(os.environ[MARK]) == []
    assert snapshot().since(before) == []
    if person.user != 0:
        assert set(files_of(person.user)) - set(files) <= {str(person.home)}
