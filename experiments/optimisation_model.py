"""How long ways should be in each arm of the optimisation experiment, by the plan's delays alone.

Routing is that of `topologies.path_model`; the choice is that of the agents (design §10, rule 11):
the home agent by which the round trip is shortest, if it is enough shorter than by the one that has
the mobile node's packets anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from agents.config import OptimisationSettings
from agents.core.path_choice import is_better
from topologies import addressing
from topologies.path_model import PathModel, delay_ms
from topologies.plan import NodePlan, Plan, Role

MOBILE = "mn"
CHOOSING = ("switch", "relay", "map")
"""Arms in which a home agent is chosen; with `switch` it becomes primary, and no packet follows."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One-way delays in ms, and the home agent chosen for the correspondent, or the primary."""

    up_ms: float
    down_ms: float
    home_agent: str

    @property
    def rtt_ms(self) -> float:
        """The two ways together."""
        return self.up_ms + self.down_ms


class WayModel:
    """Ways between the mobile node and correspondents on one plan."""

    def __init__(self, plan: Plan, settings: OptimisationSettings | None = None) -> None:
        """Without `settings` the agents' defaults decide what is worth a change."""
        self.plan, self.model = plan, PathModel(plan)
        self._settings = settings or OptimisationSettings()
        self._shared = plan.homes[0].home_agent_address
        self._care_of = addressing.care_of_address(1)
        self.nearest = self.model.path(MOBILE, self._shared)[-1]
        """The home agent that has the mobile node's packets to the HA address."""

    def predict(self, arm: str, correspondent: str, *, after: bool) -> Prediction:
        """Return what `arm` makes of the ways; `after` a change, where there is one."""
        there = self.plan.address_of(correspondent)
        if arm == "direct":
            return Prediction(
                self._delay(MOBILE, there), self._delay(correspondent, self._care_of), ""
            )
        down, nearest = self._down(correspondent), self.nearest
        chosen = self.best(correspondent) if after and arm in CHOOSING else nearest
        by_map = arm == "map" and chosen != nearest
        up = self._delay(MOBILE, self._own(chosen) if by_map else self._shared)
        if arm == "relay" and chosen != nearest:
            up += self._delay(nearest, self._own(chosen))
        leaves_by = nearest if arm == "switch" else chosen
        return Prediction(up + self._delay(leaves_by, there), down, chosen)

    def best(self, correspondent: str) -> str:
        """Return the home agent to choose for a correspondent."""
        costs = {node.name: self.cost_ms(node.name, correspondent) for node in self._home_agents()}
        cheapest = min(costs, key=lambda name: costs[name])
        better = is_better(costs[cheapest] / 1000, costs[self.nearest] / 1000, self._settings)
        return cheapest if better else self.nearest

    def cost_ms(self, home_agent: str, correspondent: str) -> float:
        """Return both round trips of a path, as its home agent measures them."""
        own, there = self._own(home_agent), self.plan.address_of(correspondent)
        mobile = self._delay(home_agent, self._care_of) + self._delay(MOBILE, own)
        return mobile + self._delay(home_agent, there) + self._delay(correspondent, own)

    def _down(self, correspondent: str) -> float:
        home_address = self.plan.homes[0].home_address(1)
        home_agent = self.model.path(correspondent, home_address)[-1]
        return self._delay(correspondent, home_address) + self._delay(home_agent, self._care_of)

    def _delay(self, source: str, destination: IPv6Address) -> float:
        return delay_ms(self.plan, self.model.path(source, destination))

    def _own(self, home_agent: str) -> IPv6Address:
        return self.plan.address_of(home_agent)

    def _home_agents(self) -> list[NodePlan]:
        return self.plan.of_role(Role.HOME_AGENT)
