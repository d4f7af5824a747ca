"""IKE between the agents on a real kernel, each scenario in a sandbox."""

import os
import subprocess
import sys

import pytest

from tests.ike_scenarios import SCENARIOS
from topologies import sandbox


@pytest.mark.emulation
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    process = sandbox.popen(
        [sys.executable, "-m", "tests.ike_scenarios", name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ,
    )
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
