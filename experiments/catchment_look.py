"""Look who serves the mobile node where it is: tunnel counters, binding caches, and the plan."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from experiments.knocks import Knocker
from experiments.statistics import median
from topologies.network import Network
from topologies.path_model import PathModel, delay_ms
from topologies.plan import HomeNetwork, Protocol, Role

MS = 1_000_000
MOBILE = "mn"
KNOCKS = 20
DIRECTIONS = ("up", "down")
COUNTERS = {"up": "tunnel.received", "down": "tunnel.sent"}
"""What a home agent counts of the mobile node's packets."""

SYNCHRONISED_TIMEOUT = 5.0
POLL = 0.005


class TourError(RuntimeError):
    """Something that was awaited did not happen."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One home network, correspondent node and direction: what is looked at in every place."""

    home: HomeNetwork
    correspondent: str
    direction: str

    @property
    def ends(self) -> tuple[str, str]:
        """Sender and receiver."""
        pair = (MOBILE, self.correspondent)
        return pair if self.direction == "up" else (pair[1], pair[0])


class Lookout:
    """Looks at a running network.

    ``homes`` are the home networks in which the mobile node is registered.
    """

    def __init__(self, network: Network, homes: Sequence[HomeNetwork]) -> None:
        self.network, self.plan, self.homes = network, network.plan, homes
        self.legs = [
            Leg(home, each.name, direction)
            for home in homes
            for each in self.plan.of_role(Role.CORRESPONDENT)
            for direction in DIRECTIONS
        ]

    @property
    def probed(self) -> list[Leg]:
        """What probes run on while the mobile node moves: they have one address a node."""
        return [leg for leg in self.legs if leg.home is self.homes[0]]

    def look(self, place: str) -> dict[Leg, dict[str, Any]]:
        """Return for every leg which home agent carries it, and how the plan has it.

        Nothing else may run. Raises TourError, KnockError, AgentError, OSError.
        """
        model = PathModel(self.plan, places={MOBILE: place})
        primaries = {home: self._await_primary(home, place) for home in self.homes}
        return {leg: self._leg(leg, place, primaries[leg.home], model) for leg in self.legs}

    def _leg(self, leg: Leg, place: str, primary: str, model: PathModel) -> dict[str, Any]:
        source, target = leg.ends
        addresses = self.addresses(leg.home)
        pids = [self.network.nodes[name].pid for name in leg.ends]
        with Knocker(pids[0], addresses[source], pids[1], addresses[target]) as knocker:
            before = self._counted(leg)
            delays = knocker.delays_ns(KNOCKS)
            after = self._counted(leg)
        carriers = [name for name in after if after[name] - before[name] >= KNOCKS]
        found = {
            "home_agent": " and ".join(carriers) or "none",
            "primary": primary,
            "delay_ms": median(delays) / MS,
            **self._predict(leg, place, model),
        }
        pairs = (("home_agent", "model_home_agent"), ("primary", "model_primary"))
        found["agree"] = all(found[a] == found[b] for a, b in pairs)
        return found

    def _predict(self, leg: Leg, place: str, model: PathModel) -> dict[str, Any]:
        """Return what the plan says of a leg while the mobile node is at a place."""
        anycast = leg.home.home_agent_address
        source, target = leg.ends
        there = model.path(source, anycast)
        end = self.care_of_address(place) if target == MOBILE else self.plan.address_of(target)
        rest = model.path(there[-1], end)
        return {
            "model_home_agent": there[-1],
            "model_primary": model.path(place, anycast)[-1],
            "model_delay_ms": delay_ms(self.plan, there) + delay_ms(self.plan, rest),
        }

    def _await_primary(self, home: HomeNetwork, place: str) -> str:
        """Wait until all home agents have the binding; return whom they take for the primary."""
        address, care_of = str(home.home_address(1)), str(self.care_of_address(place))
        until = time.monotonic() + SYNCHRONISED_TIMEOUT
        while time.monotonic() < until:
            held = bindings(self.network, home, address)
            if all(each and each["care_of_address"] == care_of for each in held):
                return " or ".join(sorted({str(each["primary"]) for each in held if each}))
            time.sleep(POLL)
        raise TourError(f"not every home agent of {home.prefix} knows {MOBILE} at {place}")

    def _counted(self, leg: Leg) -> dict[str, int]:
        counter = COUNTERS[leg.direction]
        return {
            node.name: int(self.network.agents[node.name].ask("counters").get(counter, 0))
            for node in self.plan.home_agents(leg.home)
        }

    def addresses(self, home: HomeNetwork) -> dict[str, IPv6Address]:
        """Return the addresses between which packets go: the mobile node's is its home address."""
        correspondents = self.plan.of_role(Role.CORRESPONDENT)
        return {node.name: self.plan.address_of(node.name) for node in correspondents} | {
            MOBILE: home.home_address(1)
        }

    def care_of_address(self, place: str) -> IPv6Address:
        """Return the mobile node's address in the network of an access router."""
        for end in self.plan.ends_of(MOBILE):
            if end.link.protocol is Protocol.ACCESS and end.neighbour == place:
                return end.address
        raise TourError(f"{MOBILE} has no link to {place}")


def bindings(network: Network, home: HomeNetwork, address: str) -> list[dict[str, Any] | None]:
    """Return the binding of a home address at each home agent of its network; None: it has none."""
    found: list[dict[str, Any] | None] = []
    for node in network.plan.home_agents(home):
        rows = network.agents[node.name].ask("bindings")
        bound = (row for row in rows if row["home_address"] == address and row["state"] == "bound")
        found.append(next(bound, None))
    return found
