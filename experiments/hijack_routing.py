"""A case's routes on the running network: set up, awaited, read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ipaddress import IPv6Network

from experiments.hijack_cases import AGGREGATE, MORE_SPECIFIC, Case
from experiments.hijack_model import INCOMPLETE, Internet
from experiments.hijacker import Hijacker
from topologies.frr_config import HOME_LIST, HOME_MAP
from topologies.import_policy import EVERYTHING, ImportFilter
from topologies.netlink import Netlink
from topologies.network import Network
from topologies.plan import Protocol, Role
from topologies.rpki import Judged, routes

PREFIXES = (AGGREGATE, MORE_SPECIFIC)
SETTLE_S = 10.0
"""After so long what routers hold is written down, whatever the model says."""

Wait = Callable[[Callable[[], bool], float], bool]
"""Wait until a condition holds; False after so many seconds."""


class HijackRouting:
    """The validating transits, the hijacker's announcement, and what every other speaker holds."""

    def __init__(self, network: Network, hijacker: Hijacker, wait: Wait) -> None:
        """The network is up. Sockets are opened in its nodes: :meth:`close` closes them."""
        assert network.validation is not None
        self._network, self._validation = network, network.validation
        self._hijacker, self._wait = hijacker, wait
        self.plan = network.plan
        self.transits = tuple(node.name for node in self.plan.of_role(Role.TRANSIT))
        self.speakers = tuple(
            node.name
            for role in (Role.TRANSIT, Role.ROUTER, Role.ACCESS)
            for node in self.plan.of_role(role)
            if self.plan.speaks(node.name, Protocol.BGP)
        )
        self._code = INCOMPLETE
        self._netlink: dict[str, tuple[Netlink, dict[int, str]]] = {}
        for name in self.speakers:
            netlink = Netlink(network.nodes[name].pid)
            names = {state.index: state.name for state in netlink.links().values()}
            self._netlink[name] = (netlink, names)

    def close(self) -> None:
        """Close all sockets."""
        for netlink, _ in self._netlink.values():
            netlink.close()

    def apply(self, case: Case, *, filtering: bool) -> tuple[Internet, bool]:
        """Set a case up, with or without its filters; return the model, and whether routers agree.

        RoutingError when a router does not take it.
        """
        model = case.internet(self.plan, filtering=filtering)
        self._validation.publish(case.payloads)
        by_filter: dict[str, list[str]] = {}
        chosen: dict[str, ImportFilter] = {}
        for name in self.transits:
            filter_ = model.filters.get(name, EVERYTHING)
            chosen[filter_.name] = filter_
            by_filter.setdefault(filter_.name, []).append(name)
        for name, nodes in by_filter.items():
            self._validation.use(chosen[name], nodes)
        self._set_origin(case.honest_code)
        self._hijacker.say(case.lie)
        return model, self._wait(partial(self.agrees, model), SETTLE_S)

    def _set_origin(self, code: int) -> None:
        """Let the border routers announce the home network with this ORIGIN.

        By another route map, since a change inside one takes effect seconds later.
        """
        if code == self._code:
            return
        name = HOME_MAP if code == INCOMPLETE else f"{HOME_MAP}-IGP"
        for node in self.plan.of_role(Role.BORDER):
            self._network.routing.on[node.name].daemons["bgpd"].configure(
                [
                    f"route-map {HOME_MAP}-IGP permit 10",
                    f"match ipv6 address prefix-list {HOME_LIST}",
                    "set origin igp",
                    "exit",
                    f"router bgp {node.asn}",
                    "address-family ipv6 unicast",
                    f"redistribute ospf6 route-map {name}",
                ]
            )
        self._code = code

    def agrees(self, model: Internet) -> bool:
        """Return whether every speaker's routes, its choice and its kernel's are the model's."""
        return all(
            {each.path for each in self.held(name, prefix)} == model.paths(name, prefix)
            and self.path(name, prefix) == model.path(name, prefix)
            and self._way(name, prefix) == model.way(name, prefix)
            for name in self.speakers
            for prefix in PREFIXES
        )

    def held(self, name: str, prefix: IPv6Network) -> list[Judged]:
        """Return the routes that a speaker holds for a prefix."""
        return routes(self._network.routing.on[name].daemons["bgpd"], prefix)

    def path(self, name: str, prefix: IPv6Network) -> str | None:
        """Return the AS path of a speaker's best route, None without one."""
        return next((each.path for each in self.held(name, prefix) if each.best), None)

    def forwarding_path(self, name: str) -> str:
        """Return the AS path of the route by which a speaker forwards to the home network."""
        return self.path(name, MORE_SPECIFIC) or self.path(name, AGGREGATE) or ""

    def _way(self, name: str, prefix: IPv6Network) -> str | None:
        netlink, names = self._netlink[name]
        found = [route for route in netlink.routes() if route.destination == prefix]
        return names.get(min(found, key=lambda r: r.metric).interface) if found else None
