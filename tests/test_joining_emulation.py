"""Home agents come and go by control socket, on a real kernel."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.joining_scenario import SCENARIOS


@pytest.mark.emulation
@pytest.mark.parametrize("name", SCENARIOS)
def test_joining(name: str, sandbox: Callable[..., Any]) -> None:
    done = sandbox([sys.executable, "-m", "tests.joining_scenario", name], timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
