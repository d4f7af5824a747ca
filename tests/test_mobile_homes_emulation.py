"""Two home addresses on a real kernel: one bring-up in a sandbox that takes everything with it."""

import sys
from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.emulation
def test_two_homes_and_the_way_there_and_back(sandbox: Callable[..., Any]) -> None:
    done = sandbox([sys.executable, "-m", "tests.homes_scenario", "two_homes"], timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
