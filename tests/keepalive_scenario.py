"""Run in a sandbox: Figure 1 with the keepalive detector; HA1 dies and comes back."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.config import Detector
from topologies.agents import Agent, AgentOptions
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.network import Network
from topologies.single_as import SingleAs

LIMIT = 15.0
POLL = 0.01


def until(what: str, condition: Callable[[], bool]) -> None:
    """Wait for something that only polling tells."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"not after {LIMIT:.0f} s: {what}"
        time.sleep(POLL)


def peer(agent: Agent, name: str) -> dict[str, Any]:
    """Return what a home agent believes of another one."""
    (found,) = [each for each in agent.ask("peers") if each["name"] == name]
    return dict(found)


def main(logs: Path) -> None:
    """Quiet: keepalives and no HELLO; HA1 killed: invalid; started again: known anew."""
    network = Network(
        SingleAs(static=False),
        logs,
        RoutingOptions(detection=DETECTIONS["bfd-50x3"]),
        AgentOptions(detector=Detector.KEEPALIVE),
    )
    try:
        network.start()
        network.start_agents()
        agents = network.agents.home_agents

        def sent(name: str) -> dict[str, int]:
            counters = agents[name].ask("counters")
            return {kind: counters.get(f"sent.{kind}", 0) for kind in ("Hello", "Keepalive")}

        def quiet() -> bool:
            before = sent("HA2")
            until("ten keepalives", lambda: sent("HA2")["Keepalive"] >= before["Keepalive"] + 10)
            return sent("HA2")["Hello"] == before["Hello"]

        until("no HELLO any more", quiet)
        agents["HA1"].kill()
        for name in ("HA2", "HA3"):
            until(f"invalid at {name}", lambda n=name: peer(agents[n], "HA1")["state"] == "invalid")  # type: ignore[misc]
        agents["HA1"].start()
        network.wait_home_agents()
        for name in ("HA2", "HA3"):
            until(
                f"known anew at {name}",
                lambda n=name: (  # type: ignore[misc]
                    peer(agents[n], "HA1").items()
                    >= {"state": "up", "incarnation": 2, "ready": True}.items()
                ),
            )
        (binding,) = agents["HA1"].ask("bindings")
        assert binding["state"] == "bound"
        until("no HELLO any more, after the restart", quiet)
    finally:
        network.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
