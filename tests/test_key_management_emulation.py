"""IKE between the agents on a real kernel, each scenario in a sandbox."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.ike_scenarios import SCENARIOS


@pytest.mark.emulation
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str, sandbox: Callable[..., Any]) -> None:
    done = sandbox([sys.executable, "-m", "tests.ike_scenarios", name], timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
