"""When do all home agents agree again (I3, I4)? Told by their events, then asked once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from experiments.data import EventName
from experiments.watch import Observation, Watcher
from topologies.agents import Agents

TELLING = ("peer-changed", "primary-changed", "table-received")
"""Events of an agent after which it may agree with the others."""


@dataclass
class Agreement:
    """Awaits that every home agent holds all others for up, and all hold the same bindings.

    `since_ns`: when they ceased to. Home agents are asked only when their events say that all is
    well: questions would cost time that the traffic's return wants.
    """

    agents: Agents
    watcher: Watcher
    since_ns: int

    def wait(self, timeout: float) -> int | None:
        """Return when the last of them agreed (CLOCK_MONOTONIC, ns); None if not within `timeout`.

        Raises AgentError if one does not answer.
        """
        until = time.monotonic() + timeout
        asked = -1
        while True:
            seen = self._seen()
            if len(seen) != asked and self._all_up(seen):
                asked = len(seen)
                if self._one_view():
                    return seen[-1].time_ns if seen else self.since_ns
            left = until - time.monotonic()
            if left <= 0:
                return None
            known = len(seen)
            self.watcher.wait(lambda known=known: len(self._seen()) > known, left)  # type: ignore[misc]

    def _seen(self) -> list[Observation]:
        return [
            o
            for o in self.watcher.since(self.since_ns)
            if o.name is EventName.AGENT
            and o.fields["kind"] in TELLING
            and o.fields["node"] in self.agents.home_agents
        ]

    @staticmethod
    def _all_up(seen: list[Observation]) -> bool:
        """Return whether the last word of each home agent on each peer is that it is up."""
        last = {
            (o.fields["node"], o.fields["peer"]): o.fields["state"]
            for o in seen
            if o.fields["kind"] == "peer-changed"
        }
        return set(last.values()) <= {"up"}

    def _one_view(self) -> bool:
        views = {_view(agent.ask("bindings")) for agent in self.agents.home_agents.values()}
        peers = [agent.ask("status")["peers"] for agent in self.agents.home_agents.values()]
        return len(views) == 1 and all(set(each.values()) <= {"up"} for each in peers)


def _view(bindings: list[dict[str, Any]]) -> frozenset[tuple[Any, ...]]:
    """Return what home agents must agree on: each binding and its primary, with their versions."""
    names = ("home_address", "care_of_address", "registration", "sequence", "primary", "epoch")
    return frozenset(tuple(row[n] for n in names) for row in bindings if row["state"] == "bound")
