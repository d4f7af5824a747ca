"""The keepalive detector on the real network, in a sandbox."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.emulation
def test_keepalive_notices_a_death_and_a_return(
    sandbox: Callable[..., Any], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tests.keepalive_scenario", str(tmp_path / "logs")]
    done = sandbox(command, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
