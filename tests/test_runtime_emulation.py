"""The agents on a real kernel, each scenario in a sandbox that takes everything with it."""

import os
import subprocess
import sys

import pytest

from tests.runtime_scenarios import SCENARIOS
from topologies import sandbox


@pytest.mark.emulation
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    process = sandbox.popen(
        [sys.executable, "-m", "tests.runtime_scenarios", name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ,
    )
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
