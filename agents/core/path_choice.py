"""Which home agent a correspondent's packets take, and when that changes (design §10, rule 11).

A path costs the round-trip time between mobile node and home agent, and that between home agent
and correspondent. One that is 20 % and 1 ms cheaper replaces another, and then stays for 10 s: what
is measured wavers, and every change may reorder packets.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from agents.config import OptimisationSettings
from agents.core.path_costs import PATIENCE


@dataclass(slots=True, eq=False)
class Path:
    """One correspondent of one mobile node: traffic, costs by home agent, and the choice.

    `octets` is the traffic of the last intervals, each counting half of the one after it. `chosen`
    is the index of a home agent; `sid` the SID that it had.
    """

    correspondent: IPv6Address
    chosen: int
    listed: float
    sid: int = 0
    octets: float = 0.0
    fresh: int = 0
    """Octets reported since the last interval began."""
    changed: float = -math.inf
    costs: dict[int, tuple[float, float]] = field(default_factory=dict)
    """HA index → (cost in seconds, when it was learnt)."""

    def known(self, now: float, interval: float) -> dict[int, float]:
        """Return the costs that are not old, by HA index."""
        oldest = now - PATIENCE * interval
        return {index: cost for index, (cost, when) in self.costs.items() if when >= oldest}


def is_better(cost: float, than: float, settings: OptimisationSettings) -> bool:
    """Whether a path costs so much less that it is worth a change."""
    return cost < min(than * (1 - settings.hysteresis), than - settings.least_gain)


def best(
    path: Path,
    costs: Mapping[int, float],
    default: int,
    expected: int,
    settings: OptimisationSettings,
    now: float,
) -> int:
    """Return the index of the home agent to use for `path` from now on.

    `costs` are those of home agents that are there; `default` serves where nothing was chosen. A
    path whose home agent is not measured any more goes back to it at once. The first choice waits
    for the costs of all `expected` home agents, for a while.
    """
    current = costs.get(path.chosen)
    if current is None:
        return default
    if now - path.changed < settings.hold:
        return path.chosen
    if len(costs) < expected and now - path.listed < PATIENCE * settings.interval:
        return path.chosen
    cheapest = min(costs, key=lambda index: (costs[index], index))
    return cheapest if is_better(costs[cheapest], current, settings) else path.chosen


def mean_costs(shares: Mapping[int, tuple[float, float, float]]) -> tuple[float, float] | None:
    """Return two home agents' mean costs, weighed by traffic; None without any.

    `shares` are (octets, one's cost, the other's cost), by whatever tells correspondents apart.
    """
    total = sum(octets for octets, _, _ in shares.values())
    if not total:
        return None
    one = sum(octets * cost for octets, cost, _ in shares.values())
    other = sum(octets * cost for octets, _, cost in shares.values())
    return one / total, other / total
