"""Two workers of pytest-xdist: emulations on one, one after another; all else on the other.

Emulations mostly wait and unit tests mostly compute, so the two halves hardly hinder each other.
Two emulations at once would: many are about time. `make test` runs the tests like that.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parent.parent
EMULATIONS = "emulations"
BESIDE = ("tests/test_doctor.py", "tests/test_sandbox", "tests/test_strongswan_")
"""How files begin whose sandboxes route nothing and measure nothing: they run beside the others."""


def piece(nodeid: str) -> str:
    """Return the piece of work that a test belongs to: all emulations are one, else a file is."""
    file = nodeid.partition("::")[0]
    return EMULATIONS if _emulates(file) and not file.startswith(BESIDE) else file


def rank(nodeid: str) -> int:
    """Return when a test's piece of work is handed out: emulations first, which take longest."""
    return int(piece(nodeid) != EMULATIONS)


@cache
def _emulates(file: str) -> bool:
    """Whether a file of tests runs the real topology: its marker says so."""
    return "mark.emulation" in (REPOSITORY / file).read_text()


def scheduler(config: pytest.Config, log: Any) -> object:
    """Return what hands out the pieces of work, in the order in which tests were collected."""
    from xdist.scheduler import LoadScopeScheduling

    class SideBySide(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return piece(nodeid)

    config.option.loadscopereorder = False  # it would begin with the piece of the most tests
    return SideBySide(config, log)
