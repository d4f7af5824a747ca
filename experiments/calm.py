"""Whether routing stood still: what is said of a steady network is void where it was not steady.

A processor that others use too delays keepalives until neighbours give each other up; then routes
go elsewhere for a while, and nobody's fault is measured.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from experiments.data import EventName
from experiments.watch import Observation, Watcher
from topologies.catchment import differences
from topologies.network import Network
from topologies.path_model import PathModel
from topologies.routing import home_prefixes

SETTLE_S = 20.0
POLL = 0.1


class Calm:
    """Watches every router's routes to the home networks of a running network."""

    def __init__(self, network: Network, watcher: Watcher) -> None:
        self._network, self._watcher = network, watcher
        self._model = PathModel(network.plan)
        for node in network.plan.nodes.values():
            if not node.role.is_host:
                for prefix in home_prefixes(network.plan, node.name):
                    watcher.watch_routes(node.name, network.nodes[node.name].pid, prefix)

    def settle(self) -> None:
        """Wait until routing and packets do what the plan says, or will not do it any more."""
        until = time.monotonic() + SETTLE_S
        while differences(self._network, self._model) and time.monotonic() < until:
            time.sleep(POLL)

    def disturbance(self, since_ns: int) -> str:
        """Return the first change of a route to a home network since then, in words, or nothing."""
        return first_change(self._watcher.since(since_ns))


def first_change(observations: Iterable[Observation]) -> str:
    """Return the first change of a route among them, in words, or nothing."""
    for seen in observations:
        if seen.name is EventName.ROUTE:
            fields = seen.fields
            return f"{fields['node']}: route to {fields['destination']}: {fields['change']}"
    return ""
