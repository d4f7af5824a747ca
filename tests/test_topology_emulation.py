"""Figure 1 on a real kernel with real routing, each scenario in a sandbox of its own."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from people import Person, root

from tests.topology_scenarios import SCENARIOS

pytestmark = pytest.mark.emulation


AT_LENGTH = {
    "comes_up": "test_figure_1_paths.py",
    "every_fault_once": "test_figure_1_faults.py",
    "movement": "test_figure_1_movement.py",
}
"""Scenarios whose every point the suite has elsewhere, on a network that is up anyway."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[pytest.mark.long] * (each in AT_LENGTH)) for each in SCENARIOS],
)
def test_scenario(name: str, sandbox: Callable[..., Any]) -> None:
    done = sandbox([sys.executable, "-m", "tests.topology_scenarios", name], timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("topology", ["single_as", "single_as,has=5", "multi_as", "multi_hoa"])
def test_plain_mininet_runs_the_topology_file(user: Person, topology: str) -> None:
    run_plain(user, topology)


def test_plain_mininet_runs_for_root() -> None:
    with root() as person:
        run_plain(person, "single_as")


def run_plain(person: Person, topology: str) -> None:
    """Let `mn` run a topology file; every node reaches every other."""
    file = f"topologies/{topology.partition(',')[0]}.py"
    command = [sys.executable, f"{sys.prefix}/bin/mn", "--custom", file]
    done = person.run([*command, "--topo", topology, "--test", "pingall"], timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Results: 0% dropped" in said, said
