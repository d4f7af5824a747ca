"""Detours on the way to correspondents: measured, told, and cut short (draft §4.1; rule 11).

Every interval each home agent echoes to the correspondents in use and to the care-of address, and
tells the primary what it measured and what traffic it saw; the primary tells the others what to
measure, and what it measured itself. What comes of it depends on the arm: the primary chooses a
home agent for each correspondent, and relays to it, or has the mobile node send to it; or, as the
draft has it, a home agent with better paths takes the role over.
"""

from collections.abc import Callable
from ipaddress import IPv6Address

from agents.config import RouteOptimisation
from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.counters import Dropped
from agents.core.events import PathChosen
from agents.core.path_choice import Path, best, is_better, mean_costs
from agents.core.path_costs import PATIENCE, PathCosts
from agents.core.peers import Peer
from agents.core.replay_window import sender_id
from agents.core.served_paths import LISTED, Counts, Served, ServedPaths, Traffic
from agents.wire import inter_ha, ipv6
from agents.wire.addresses import address, is_unicast_routable
from agents.wire.mobility_options import (
    BindingRefreshAdvice,
    CorrespondentMap,
    MapEntry,
    MobilityOption,
)

_REFRESH_UNIT = 4
_MICROSECONDS = 1_000_000


class Optimiser:
    """One home agent's part; there is none where route optimisation is off."""

    def __init__(
        self,
        context: Context,
        ask_for_update: Callable[[Binding], None],
        take_role: Callable[[Binding, float], None],
    ) -> None:
        """`ask_for_update` sends a Binding Refresh Request; `take_role` makes this HA primary."""
        self._context = context
        self._ask_for_update = ask_for_update
        self._take_role = take_role
        self._arm = context.config.route_optimisation
        self._settings = context.config.optimisation
        self._own = context.config.index
        self._costs = PathCosts(context)
        self._traffic = Traffic()
        self._served = ServedPaths(self._own)
        self._asked: dict[bytes, tuple[float, tuple[IPv6Address, ...]]] = {}
        """What primaries want measured: home address → when they said so, correspondents."""
        self._roles: dict[bytes, tuple[tuple[int, int], float]] = {}
        """Who is primary, and since when as seen here; for the `switch` arm."""

    def start(self, now: float) -> None:
        """Begin to measure."""
        self._context.timers.schedule(now + self._settings.interval, self._interval_over)

    @property
    def maps(self) -> bool:
        """Whether mobile nodes send to home agents' own addresses."""
        return self._arm is RouteOptimisation.MAP

    # Packets.

    def seen(self, home_address: bytes, correspondent: bytes, octets: int) -> None:
        """A packet between the two went through this home agent."""
        self._traffic.add(home_address, correspondent, octets)

    def relay(self, binding: Binding, packet: bytes) -> bool:
        """Pass a mobile node's packet to the home agent chosen; return whether that was done."""
        if self._arm is not RouteOptimisation.RELAY:
            return False
        served = self._served.get(packet[8:24], binding)
        path = served.paths.get(packet[24:40]) if served is not None else None
        peer = self._context.peers.by_index(path.chosen) if path is not None else None
        if peer is None or not peer.valid:
            return False
        try:
            self._context.send_sealed(peer, packet, ipv6.IPV6)
        except Dropped:
            return False
        self._context.counters["relayed-to-best"] += 1
        return True

    def relayed(self, packet: bytes) -> bool:
        """Forward a mobile node's packet that its primary relayed; False if it is none.

        It is never relayed again.
        """
        if self._arm is not RouteOptimisation.RELAY or len(packet) < ipv6.HEADER_LENGTH:
            return False
        binding = self._context.cache.by_octets(packet[8:24])
        if binding is None or not binding.bound or self._context.cache.by_octets(packet[24:40]):
            return False
        self._traffic.add(packet[8:24], packet[24:40], len(packet))
        self._context.to_deliver.append(packet)
        self._context.counters["relayed-for-peer"] += 1
        return True

    def echo(self, packet: ipv6.Packet, now: float) -> None:
        """Take ICMPv6 to the own address; raise `Dropped` unless it answers an echo."""
        self._costs.receive(packet, now)

    # The mobile node's map.

    def options(self, binding: Binding) -> tuple[MobilityOption, ...]:
        """Return what the acknowledgement of a Binding Update says of paths."""
        served = self._served.of(binding) if self.maps and binding.multi_sender else None
        if served is None:
            return ()
        served.told = self._wanted(served)
        if not served.told:
            return ()
        entries = []
        for path in served.paths.values():
            peer = self._context.peers.by_index(path.chosen)
            if peer is not None:
                sid = path.sid if self._context.hardened else 0
                entries.append(MapEntry(path.correspondent, sid, peer.address))
        # Nobody watches over a mobile node's map if all who know of it fail at once: it comes again
        # soon.
        refresh = BindingRefreshAdvice(max(1, round(self._settings.refresh / _REFRESH_UNIT)))
        return CorrespondentMap(tuple(entries)), refresh

    def arrived_here(self, binding: Binding, now: float) -> None:
        """A packet came to the own address though the mobile node's primary is gone.

        It says nothing of where the HA address leads: have the mobile node register there, and
        get a map from whoever is primary then.
        """
        self._ask(binding, now)

    def peer_changed(self, peer: Peer, now: float) -> None:
        """A peer is gone, or was started anew: nothing may be sent to what it was."""
        for served in self._served:
            for path in served.paths.values():
                if path.chosen == peer.index:
                    self._choose(served, path, self._own, "peer-gone", now)
                path.costs.pop(peer.index, None)
            self._tell(served, now, at_once=True)

    # What home agents tell one another.

    def receive(self, peer: Peer, message: inter_ha.PathCosts, now: float) -> None:
        """Take reports of paths where this HA is primary, and requests where `peer` is."""
        requests: dict[bytes, list[inter_ha.PathEntry]] = {}
        for entry in message.entries:
            binding = self._context.cache.get(entry.home_address)
            if binding is None or not binding.bound:
                self._context.counters["path-of-unknown-binding"] += 1
            elif binding.primary == peer.index:
                requests.setdefault(entry.home_address.packed, []).append(entry)
            else:
                self._reported(peer, binding, entry, now)
        for home, entries in requests.items():
            self._asked[home] = now, tuple(each.correspondent for each in entries[:LISTED])
            binding = self._context.cache.by_octets(home)
            # Of a mobile node with one window the primary alone sends (rule 7): it stays.
            if self._arm is RouteOptimisation.SWITCH and binding and binding.multi_sender:
                self._compare(home, binding, entries, now)

    def _reported(
        self, peer: Peer, binding: Binding, entry: inter_ha.PathEntry, now: float
    ) -> None:
        served = self._served.of(binding)
        if served is None:
            self._context.counters["path-report-to-non-primary"] += 1
            return
        path = served.path(entry.correspondent.packed, self._own, now)
        if path is None:
            return
        path.fresh += entry.octets
        cost = _cost(entry)
        if cost is not None:
            path.costs[peer.index] = cost, now

    # Every interval.

    def _interval_over(self, now: float) -> None:
        self._context.timers.schedule(now + self._settings.interval, self._interval_over)
        reports: dict[int, list[inter_ha.PathEntry]] = {}
        self._forget_old_requests(now)
        traffic = self._traffic.take()
        for home in {**traffic, **self._asked}:
            binding = self._context.cache.by_octets(home)
            if binding is None or not binding.bound:
                continue
            counts = traffic.get(home, {})
            if binding.primary == self._own:
                self._served.add(binding, counts, now)
            else:
                reports.setdefault(binding.primary, []).extend(self._report(binding, counts, now))
        for index, entries in reports.items():
            peer = self._context.peers.by_index(index)
            if peer is not None and peer.valid:
                self._send(peer, entries)
        self._serve(now)
        self._costs.measure(self._targets(), now)

    def _serve(self, now: float) -> None:
        """Do a primary's part for each mobile node."""
        listed: list[list[inter_ha.PathEntry]] = []
        for served in self._served:
            binding = self._context.cache.get(served.binding.home_address)
            if binding is None or self._served.of(binding) is not served:
                continue
            for path in served.age():
                self._choose(served, path, self._own, "idle", now)
            group = []
            busiest = served.busiest(self._own)
            for path in served.paths.values():
                if path not in busiest:
                    self._choose(served, path, self._own, "idle", now)
            for path in busiest:
                entry = self._entry(served.binding, path.correspondent, round(path.octets), now)
                group.append(entry)
                cost = _cost(entry)
                if cost is not None:
                    path.costs[self._own] = cost, now
                if self._arm is not RouteOptimisation.SWITCH:
                    self._reconsider(served, path, now)
            listed.append(group)
            self._tell(served, now)
        for peer in self._context.peers.valid():
            for run in _whole(listed):
                self._send(peer, run)

    def _reconsider(self, served: Served, path: Path, now: float) -> None:
        # One that does not advertise yet, or leaves, is no better way for anybody.
        serving = (each.index for each in self._context.peers.valid() if each.ready)
        valid = {*serving, self._own}
        known = path.known(now, self._settings.interval)
        costs = {index: cost for index, cost in known.items() if index in valid}
        chosen = best(path, costs, self._own, len(valid), self._settings, now)
        if chosen != path.chosen:
            cause = "cost" if path.chosen in costs else "unmeasured"
            self._choose(served, path, chosen, cause, now)

    def _choose(self, served: Served, path: Path, chosen: int, cause: str, now: float) -> None:
        if chosen == path.chosen:
            return
        previous, path.chosen, path.changed = path.chosen, chosen, now
        peer = self._context.peers.by_index(chosen)
        path.sid = sender_id(peer.index, peer.incarnation) if peer is not None else 0
        known = path.known(now, self._settings.interval)
        self._context.report(
            PathChosen(
                served.binding.home_address,
                path.correspondent,
                self._name(chosen),
                self._name(previous),
                _milliseconds(known.get(chosen)),
                _milliseconds(known.get(previous)),
                cause,
            )
        )

    def _wanted(self, served: Served) -> tuple[tuple[bytes, int], ...]:
        return tuple(
            (key, path.sid) for key, path in served.paths.items() if path.chosen != self._own
        )

    def _tell(self, served: Served, now: float, *, at_once: bool = False) -> None:
        """Have the mobile node fetch a map that it does not hold: it comes with the answer."""
        if self.maps and served.binding.multi_sender and served.told != self._wanted(served):
            self._ask(served.binding, now, at_once=at_once)

    def _ask(self, binding: Binding, now: float, *, at_once: bool = False) -> None:
        if at_once or now - binding.update_asked >= self._settings.interval:
            binding.update_asked = now
            self._ask_for_update(binding)

    # Draft §4.1: the role moves to whoever has the better paths.

    def _compare(
        self, home: bytes, binding: Binding, entries: list[inter_ha.PathEntry], now: float
    ) -> None:
        role, since = self._roles.get(home, ((0, 0), now))
        if role != binding.role:
            since = now
            self._roles[home] = binding.role, since
        shares: dict[int, tuple[float, float, float]] = {}
        for number, entry in enumerate(entries):
            theirs = _cost(entry)
            mine = _cost(self._entry(binding, entry.correspondent, 0, now))
            if mine is not None and theirs is not None:
                shares[number] = entry.octets, mine, theirs
        costs = mean_costs(shares)
        if costs is None or now - since < self._settings.hold:
            return
        if is_better(costs[0], costs[1], self._settings):
            self._take_role(binding, now)

    # Within.

    def _targets(self) -> list[IPv6Address]:
        targets = []
        for served in self._served:
            targets.append(served.binding.care_of_address)
            targets += [path.correspondent for path in served.busiest(self._own)]
        for home, (_, correspondents) in self._asked.items():
            binding = self._context.cache.by_octets(home)
            if binding is not None and binding.bound:
                targets += [binding.care_of_address, *correspondents]
        prefix = self._context.config.home_prefix
        return [each for each in targets if each not in prefix]

    def _forget_old_requests(self, now: float) -> None:
        oldest = now - PATIENCE * self._settings.interval
        self._asked = {home: each for home, each in self._asked.items() if each[0] >= oldest}
        self._roles = {home: each for home, each in self._roles.items() if home in self._asked}

    def _report(self, binding: Binding, counts: Counts, now: float) -> list[inter_ha.PathEntry]:
        """Return what the primary should know: traffic seen here, and what it asked for."""
        _, asked = self._asked.get(binding.home_address.packed, (0.0, ()))
        octets = {address(key): count for key, count in counts.items()}
        octets = {each: count for each, count in octets.items() if is_unicast_routable(each)}
        correspondents = dict.fromkeys((*asked, *octets))
        return [self._entry(binding, each, octets.get(each, 0), now) for each in correspondents]

    def _entry(
        self, binding: Binding, correspondent: IPv6Address, octets: int, now: float
    ) -> inter_ha.PathEntry:
        return inter_ha.PathEntry(
            binding.home_address,
            correspondent,
            octets,
            self._microseconds(binding.care_of_address, now),
            self._microseconds(correspondent, now),
        )

    def _microseconds(self, target: IPv6Address, now: float) -> int | None:
        found = self._costs.round_trip(target, now)
        return None if found is None else min(round(found * _MICROSECONDS), 0xFFFF_FFFE)

    def _send(self, peer: Peer, entries: list[inter_ha.PathEntry]) -> None:
        for part in inter_ha.fit(entries):
            identifier = self._context.exchanges.new_identifier(peer.index)
            self._context.send_to_peer(
                peer, inter_ha.PathCosts(entries=part, identifier=identifier)
            )

    def _name(self, index: int) -> str:
        peers = self._context.peers
        peer = peers.by_index(index)
        if peer is None and index in peers.dismissed:
            peer = peers.dismissed[index].peer
        return self._context.config.name if peer is None else peer.name

    def paths(self, now: float) -> list[dict[str, object]]:
        """Return what this primary knows of paths, ready for JSON; times in milliseconds."""
        return [
            {
                "home_address": str(served.binding.home_address),
                "correspondent": str(path.correspondent),
                "home_agent": self._name(path.chosen),
                "octets": round(path.octets),
                "costs": {
                    self._name(index): _milliseconds(cost)
                    for index, cost in path.known(now, self._settings.interval).items()
                },
            }
            for served in self._served
            for path in served.paths.values()
        ]


def _cost(entry: inter_ha.PathEntry) -> float | None:
    """Return the cost of a path in seconds, where both of its parts are known."""
    if entry.mobile_us is None or entry.correspondent_us is None:
        return None
    return (entry.mobile_us + entry.correspondent_us) / _MICROSECONDS


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _whole(groups: list[list[inter_ha.PathEntry]]) -> list[list[inter_ha.PathEntry]]:
    """Return runs for one message each: the paths of a mobile node are compared together."""
    runs: list[list[inter_ha.PathEntry]] = [[]]
    for group in groups:
        if len(inter_ha.fit([*runs[-1], *group])) > 1:
            runs.append([])
        runs[-1] += group
    return [run for run in runs if run]
