"""Figure 2 running in a sandbox, as the tests see it."""

from functools import partial
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

from agents.config import Mode
from experiments.scenarios import Scenario, Way, multi_as
from tests.figure_1.lab import CARE_OF, PATIENT, Lab
from tests.figure_1.streams import Streams
from topologies.agents import AgentOptions
from topologies.frr_config import RoutingOptions
from topologies.network import Network
from topologies.plan import Plan
from topologies.registry import TOPOLOGIES

CORRESPONDENTS = {"cn1": "HA11", "cn2": "HA21"}
"""Each correspondent node and the home agent by which its packets come."""

SERVING = "HA12"
"""The home agent that serves the mobile node in its first visited network, v1."""


class Figure2(Lab):
    """A running Figure 2. Its links have no delays: it is asked where packets go, not how fast."""

    def __init__(self, folder: Path, mode: Mode) -> None:
        super().__init__(folder, mode)
        self.network = Network(
            TOPOLOGIES["multi_as"].topo(delays=False),
            self.logs,
            RoutingOptions(detection=PATIENT),
            AgentOptions(mode=mode),
        )

    @property
    def plan(self) -> Plan:
        return self.network.plan

    @property
    def scenario(self) -> Scenario:
        return multi_as(self.plan)

    # Routes.

    def goes(self, way: Way) -> bool:
        """Does a router's kernel route the prefix this way?"""
        return self.way_of(way.router, way.prefix) in way.interfaces

    def way_of(self, router: str, prefix: IPv6Network) -> str | None:
        """Return the interface by which a router's kernel routes a prefix, None without a route."""
        found = [route for route in self._routes(router) if route.destination == prefix]
        best = min(found, key=lambda route: route.metric, default=None)
        return None if best is None else self._interface(router, best.interface)

    def bgp(self, router: str, command: str) -> Any:
        """Ask a router's bgpd; the answer's JSON."""
        return self.network.routing.on[router].daemons["bgpd"].ask_json(command)

    def bgp_speakers(self) -> list[str]:
        return [name for name, each in self.network.routing.on.items() if "bgpd" in each.daemons]

    def sessions_up(self) -> bool:
        """Are all BGP sessions established, with an answer to every question?"""
        states = [
            state
            for name in self.bgp_speakers()
            for state in self.network.routing.on[name].bgp_peers().values()
        ]
        return set(states) == {"Established"}

    # Settling.

    def wait_settled(self, access: str = "v1") -> None:
        """Wait until all is as after the start: all sessions up, HA12 primary, all in step."""
        self.wait("all BGP sessions", self.sessions_up)
        for way in self.scenario.ways:
            self.wait(f"{way.router} to route by {set(way.interfaces)}", partial(self.goes, way))
        self.network.wait_detection()
        for agent in self.home_agents.values():
            agent.wait("advertising", lambda s: bool(s["advertising"]), 30)
            agent.wait("in step", lambda s: set(s["peers"].values()) == {"up"}, 30)
        if self.primaries() != {SERVING}:
            self.register_anew()
        self.wait("one primary", lambda: self.primaries() == {SERVING})
        self.wait("one binding", lambda: self.care_of_addresses() == {CARE_OF[access]})
        self.agent("mn").wait("bound", lambda s: s["state"] == "bound", 30)

    def primaries(self) -> set[str | None]:
        """Return whom the home agents take for primary."""
        return {self.binding(name).get("primary") for name in self.home_agents}

    def care_of_addresses(self) -> set[str | None]:
        """Return where the home agents take the mobile node to be."""
        return {self.binding(name).get("care_of_address") for name in self.home_agents}

    def streams(self) -> Streams:
        """Return streams between the mobile node and each correspondent; `with` starts them."""
        addresses = {name: self.address(name) for name in ("mn", *CORRESPONDENTS)}
        return Streams(self.network.nodes, addresses, "mn")
