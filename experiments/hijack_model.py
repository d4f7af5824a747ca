"""What BGP makes of true and false announcements, worked out from the plan: who reaches whom.

The routers' own rules, on the topology's own links: import filters with origin validation
(RFC 6811), loops, selection (RFC 4271 §9.1.2.2: shortest AS path, lowest ORIGIN, lowest BGP
identifier), no transit through stubs, the longest match in forwarding. The experiment measures
beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

from topologies.import_policy import EVERYTHING, ImportFilter
from topologies.plan import End, Plan, Protocol, Role
from topologies.route_origins import Vrp, origin_of, validate

IGP, INCOMPLETE = 0, 2
"""ORIGIN: of a `network` statement, and of what was redistributed from OSPFv3."""

ROUNDS = 50
HIJACKER = "hijacker"
NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Announcement:
    """A prefix that a node originates; `behind` stands behind its own AS number in the path."""

    node: str
    prefix: IPv6Network
    code: int
    behind: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """A route as a node holds it. `end` is where it came from, None for the node's own."""

    path: tuple[int, ...]
    code: int
    end: End | None

    @property
    def text(self) -> str:
        """The AS path as routers print it."""
        return " ".join(map(str, self.path))


@dataclass
class Internet:
    """Every AS of a plan, what it announces, and what it takes from its neighbours."""

    plan: Plan
    payloads: Sequence[Vrp] = ()
    filters: Mapping[str, ImportFilter] = field(default_factory=dict)
    """By node; a node that is not named takes everything."""

    announcements: Sequence[Announcement] = ()

    def __post_init__(self) -> None:
        self.speakers = [n for n in self.plan.nodes if self.plan.speaks(n, Protocol.BGP)]
        self.prefixes = sorted({each.prefix for each in self.announcements})
        self.best = {prefix: self._settle(prefix) for prefix in self.prefixes}

    def path(self, node: str, prefix: IPv6Network) -> str | None:
        """Return the AS path of a node's best route to exactly this prefix, None without one."""
        route = self.best.get(prefix, {}).get(node)
        return None if route is None else route.text

    def paths(self, node: str, prefix: IPv6Network) -> set[str]:
        """Return the AS paths of all routes that a node takes from its neighbours, best or not."""
        told = self._taken(node, prefix, self.best.get(prefix, {}))
        return {route.text for route in told}

    def trace(self, node: str, address: IPv6Address) -> list[str]:
        """Return the speakers that a packet passes, the one where it ends last."""
        passed = [node]
        while (route := self._towards(passed[-1], address)) is not None:
            if route.end is None:
                return passed
            if route.end.neighbour in passed:
                break  # a forwarding loop
            passed.append(route.end.neighbour)
        return [*passed, NOWHERE]

    def reached(self, node: str, address: IPv6Address) -> str:
        """Return who gets what a node sends to an address: `AS 1`, `hijacker`, `nowhere`."""
        last = self.trace(node, address)[-1]
        if last == NOWHERE:
            return NOWHERE
        end = self.plan.nodes[last]
        return HIJACKER if end.role is Role.HIJACKER else f"AS {end.asn}"

    def way(self, node: str, prefix: IPv6Network) -> str | None:
        """Return the interface by which a node's kernel forwards by this route, None for none."""
        route = self.best.get(prefix, {}).get(node)
        return None if route is None or route.end is None else route.end.interface

    def _towards(self, node: str, address: IPv6Address) -> Route | None:
        for prefix in sorted(self.prefixes, key=lambda each: -each.prefixlen):
            route = self.best[prefix].get(node)
            if address in prefix and route is not None:
                return route
        return None

    def _settle(self, prefix: IPv6Network) -> dict[str, Route]:
        """Let all speakers tell their neighbours until nothing changes any more."""
        own = {
            each.node: Route(each.behind, each.code, None)
            for each in self.announcements
            if each.prefix == prefix
        }
        best = dict(own)
        for _ in range(ROUNDS):
            following = {
                name: chosen
                for name in self.speakers
                if (chosen := own.get(name) or self._choose(name, prefix, best)) is not None
            }
            if following == best:
                return best
            best = following
        raise RuntimeError(f"{prefix}: routes do not settle in {ROUNDS} rounds")

    def _choose(self, name: str, prefix: IPv6Network, best: Mapping[str, Route]) -> Route | None:
        return min(self._taken(name, prefix, best), key=self._rank, default=None)

    def _taken(self, name: str, prefix: IPv6Network, best: Mapping[str, Route]) -> list[Route]:
        offers = (
            self._offer(end, best[end.neighbour])
            for end in self.plan.ends_of(name)
            if end.link.protocol is Protocol.BGP and end.neighbour in best
        )
        return [each for each in offers if each is not None and self._takes(name, prefix, each)]

    def _rank(self, route: Route) -> tuple[int, int, int]:
        assert route.end is not None
        return len(route.path), route.code, self.plan.nodes[route.end.neighbour].number

    def _offer(self, end: End, route: Route) -> Route | None:
        """Return what the neighbour at an end tells of its best route, None if it tells nothing."""
        teller = self.plan.nodes[end.neighbour]
        stub = not self.plan.is_transit(teller.name)
        if stub and route.end is not None:
            return None
        times = 3 if stub and end.link.backup else 1
        return Route((teller.asn,) * times + route.path, route.code, end)

    def _takes(self, name: str, prefix: IPv6Network, route: Route) -> bool:
        own = self.plan.nodes[name].asn
        if own in route.path:
            return False  # a loop (RFC 4271 §9.1.2)
        origin = origin_of(route.path, own)
        state = validate(prefix, origin, self.payloads)
        return self.filters.get(name, EVERYTHING).admits(prefix, origin, state)


def home_announcements(
    plan: Plan, silent: Iterable[int] = (), code: int = INCOMPLETE
) -> list[Announcement]:
    """Return what the border routers of the home ASes announce while home agents live there.

    The aggregate is made of redistributed routes, hence its ORIGIN, unless they set another `code`.
    `silent`: the ASes that have no home agent left.
    """
    quiet = frozenset(silent)
    return [
        Announcement(node.name, home.aggregate, code)
        for home in plan.homes
        for node in plan.of_role(Role.BORDER)
        if node.asn in home.ases and node.asn not in quiet
    ]
