"""Which way BGP chooses, worked out on a plan: the prediction that the running network is held to.

The decision process is FRR's as `topologies/frr_config.py` sets it up (RFC 4271 §9.1.2.2): own
announcements first, then the shorter AS path, the lower origin code, eBGP before iBGP, the nearer
iBGP peer, the lower router id. Stubs tell their providers of their own prefixes alone; on a backup
link they prepend their AS number twice. MED decides nothing here: no router hears of a prefix from
one neighbour AS twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from ipaddress import IPv6Address, IPv6Network

from topologies.plan import End, Plan, Protocol, Role

AsPath = tuple[int, ...]

Accepts = Callable[[str, IPv6Network, AsPath], bool]
"""An import filter: (router, prefix, AS path as its neighbour told it) → taken or not."""

PREPENDED = 2
"""So many times more a stub writes its AS number on a backup link."""

ROUNDS = 100
"""More than any plan needs: in each round news goes one session further."""


class Origin(IntEnum):
    """The ORIGIN attribute (RFC 4271 §5.1.1)."""

    IGP = 0
    INCOMPLETE = 2


@dataclass(frozen=True, slots=True)
class Announcement:
    """A router brings a prefix into BGP.

    ``as_path`` is what it claims to have heard: empty, unless it forges the origin.
    """

    prefix: IPv6Network
    node: str
    origin: Origin = Origin.IGP
    as_path: AsPath = ()


@dataclass(frozen=True, slots=True)
class BgpRoute:
    """A router's best way to a prefix.

    ``nodes`` are the BGP speakers on it, from that router to the one that announces the prefix;
    ``as_path`` what its neighbour told it, nearest AS first; ``interior``: heard by iBGP.
    """

    prefix: IPv6Network
    as_path: AsPath
    nodes: tuple[str, ...]
    origin: Origin
    interior: bool = False

    @property
    def own(self) -> bool:
        """Whether this router announces the prefix itself."""
        return len(self.nodes) == 1

    @property
    def of_its_as(self) -> bool:
        """Whether the prefix is its AS's: what a stub tells its providers."""
        return self.own or (self.interior and not self.as_path)


Table = dict[str, BgpRoute]
"""The best route of each router that has one, for one prefix."""


def fixed_announcements(plan: Plan) -> list[Announcement]:
    """Return what every AS announces at all times: its own prefixes, from each BGP speaker."""
    return [
        announcement
        for asn, prefixes in plan.originate.items()
        for prefix in prefixes
        for announcement in announced_by(plan, asn, prefix)
    ]


def announced_by(plan: Plan, asn: int, prefix: IPv6Network) -> list[Announcement]:
    """Return what all BGP speakers of an AS with this prefix in their configuration announce."""
    return [
        Announcement(prefix, node.name)
        for node in plan.nodes.values()
        if node.asn == asn and plan.speaks(node.name, Protocol.BGP)
    ]


def home_announcements(
    plan: Plan, home_agents: Collection[str] | None = None
) -> list[Announcement]:
    """Return the aggregates of the home networks, from all border routers of their ASes.

    ``home_agents`` are those that live (None: all). An AS without one announces nothing.
    """
    alive = [
        node for node in plan.of_role(Role.HOME_AGENT)
        if home_agents is None or node.name in home_agents
    ]  # fmt: skip
    return [
        Announcement(home.aggregate, border.name, Origin.INCOMPLETE)
        for home in plan.homes
        for border in plan.of_role(Role.BORDER)
        if border.asn in home.ases and any(agent.asn == border.asn for agent in alive)
    ]


class BgpModel:
    """The tables of all BGP speakers of a plan once BGP has settled.

    ``announcements``: None for those of the running network; ``accepts``: every router's import
    filter. Links that are down carry no session; see :func:`without`.
    """

    def __init__(
        self, plan: Plan, announcements: Iterable[Announcement] | None = None,
        accepts: Accepts | None = None,
    ) -> None:  # fmt: skip
        if announcements is None:
            announcements = [*fixed_announcements(plan), *home_announcements(plan)]
        self.plan = plan
        self._accepts = accepts
        self._sessions = {name: sessions(plan, name) for name in plan.nodes}
        made: dict[IPv6Network, list[Announcement]] = {}
        for each in announcements:
            made.setdefault(each.prefix, []).append(each)
        self.tables: Mapping[IPv6Network, Table] = {
            prefix: self._settle(mine) for prefix, mine in made.items()
        }

    def route(self, node: str, address: IPv6Address) -> BgpRoute | None:
        """Return a router's route for an address: that of the longest prefix it has."""
        found = [
            table[node]
            for prefix, table in self.tables.items()
            if address in prefix and node in table
        ]
        return max(found, key=lambda route: route.prefix.prefixlen, default=None)

    def _settle(self, announcements: list[Announcement]) -> Table:
        """Let every router tell its neighbours, until nobody changes its mind.

        Raises RuntimeError where that never happens.
        """
        own = {
            each.node: BgpRoute(each.prefix, each.as_path, (each.node,), each.origin)
            for each in announcements
        }
        table = dict(own)
        for _ in range(ROUNDS):
            chosen = {name: self._choose(name, table, own) for name in self._sessions}
            settled = {name: route for name, route in chosen.items() if route is not None}
            if settled == table:
                return table
            table = settled
        raise RuntimeError(f"BGP does not settle on {announcements[0].prefix}")

    def _choose(self, name: str, table: Table, own: Table) -> BgpRoute | None:
        if name in own:  # FRR gives what is its own a weight that nothing else has
            return own[name]
        heard = [
            (self._rank(end, route), route)
            for end in self._sessions[name]
            if (route := self._hear(name, end, table)) is not None
        ]
        return min(heard, key=lambda each: each[0])[1] if heard else None

    def _hear(self, name: str, end: End, table: Table) -> BgpRoute | None:
        """Return what a neighbour tells of its best route, if it does and it is taken."""
        me, peer = self.plan.nodes[name], self.plan.nodes[end.neighbour]
        route = table.get(peer.name)
        if route is None:
            return None
        interior = me.asn == peer.asn
        if interior and route.interior:
            return None  # RFC 4271 §9.2: what iBGP told is not told on by iBGP
        if not (interior or self.plan.is_transit(peer.name) or route.of_its_as):
            return None
        as_path = route.as_path if interior else self._told(end, route)
        if me.asn in as_path:
            return None
        if self._accepts is not None and not self._accepts(name, route.prefix, as_path):
            return None
        return BgpRoute(route.prefix, as_path, (name, *route.nodes), route.origin, interior)

    def _told(self, end: End, route: BgpRoute) -> AsPath:
        peer = self.plan.nodes[end.neighbour]
        prepends = end.link.backup and not self.plan.is_transit(peer.name)
        return (peer.asn,) * (1 + PREPENDED * prepends) + route.as_path

    def _rank(self, end: End, route: BgpRoute) -> tuple[int, ...]:
        """Return what is compared, in this order; the lowest wins."""
        distance = end.link.cost if route.interior else 0
        number = self.plan.nodes[end.neighbour].number
        return len(route.as_path), route.origin, route.interior, distance, number


def best_path(
    plan: Plan, node: str, destination: IPv6Address,
    announcements: Iterable[Announcement] | None = None, accepts: Accepts | None = None,
) -> BgpRoute | None:  # fmt: skip
    """Return the route of one BGP speaker for an address; see :class:`BgpModel`."""
    return BgpModel(plan, announcements, accepts).route(node, destination)


def without(plan: Plan, silent: Collection[str]) -> Plan:
    """Return the plan as it is for the others while these nodes say nothing: their links down."""
    links = tuple(
        replace(link, up=link.up and not {link.a, link.b} & set(silent)) for link in plan.links
    )
    return replace(plan, links=links)


def sessions(plan: Plan, name: str) -> list[End]:
    """Return a router's ends towards its BGP neighbours, eBGP and iBGP; links down have none."""
    exterior = [end for end in plan.ends_of(name) if end.link.protocol is Protocol.BGP]
    return [end for end in (*exterior, *plan.interior_peers(name)) if end.link.up]
