"""The agents on a real kernel, each scenario in a sandbox that takes everything with it."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.runtime_scenarios import SCENARIOS


@pytest.mark.emulation
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str, sandbox: Callable[..., Any]) -> None:
    done = sandbox([sys.executable, "-m", "tests.runtime_scenarios", name], timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
