"""Run in a sandbox: a mobile node that registers anew, captured as a failover's trials are.

The proof that the filter for "a Binding Update or a key exchange" finds either when there is one:
keys come from IKE, and those of the Binding Update's SA are made during the capture.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rich.console import Console

from agents.config import Mode
from experiments.captures import capturing
from experiments.data import EventName
from experiments.failover import KNOWN
from experiments.parameters import parse
from experiments.run import RunFolder
from experiments.scenarios import single_as
from experiments.sizes import topology
from experiments.testbed import Testbed
from topologies.agents import AgentOptions


def main(results: Path) -> None:
    """Capture the mobile node's restart into the run folder's `captures`."""
    folder = RunFolder.create("failover", parse(KNOWN, [], {}), results)
    network = topology("single_as", {})
    agents = AgentOptions(mode=Mode.HARDENED, ike=True)
    scenario = single_as(network.plan)
    testbed = Testbed(folder, Console(stderr=True), network, "bfd-10x3", agents, scenario)
    try:
        with capturing(testbed.network, ("mn",), folder.path / "captures", "0001"):
            begin = time.monotonic_ns()
            testbed.network.agents.restart_mobile_node("mn")
            testbed.network.agents.wait_bound()
            registered = testbed.watcher.wait_for(
                EventName.AGENT, begin, 10, kind="binding-accepted"
            )
            assert registered is not None, "no home agent told of a registration"
    finally:
        testbed.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
