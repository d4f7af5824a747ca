"""The paths that a primary answers for: traffic, costs and choices by mobile node (rule 11)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nlargest

from agents.core.binding_cache import Binding
from agents.core.path_choice import Path
from agents.wire.addresses import address, is_unicast_routable
from agents.wire.mobility_options import MAX_MAP_ENTRIES

MAX_MOBILE_NODES = 1000
"""Mobile nodes whose paths are looked at; the others go without."""

MAX_CORRESPONDENTS = 64
"""Correspondents of one mobile node whose traffic is counted."""

LISTED = MAX_MAP_ENTRIES
"""Correspondents of one mobile node, the busiest, whose paths are measured."""

Counts = dict[bytes, int]
"""Octets by correspondent, as it stands in packets."""


class Traffic:
    """Octets between mobile nodes and correspondents, in both directions, in one interval."""

    def __init__(self) -> None:
        self.counts: dict[bytes, Counts] = {}

    def add(self, home_address: bytes, correspondent: bytes, octets: int) -> None:
        """Count one packet."""
        counts = self.counts.get(home_address)
        if counts is None:
            if len(self.counts) >= MAX_MOBILE_NODES:
                return
            counts = self.counts[home_address] = {}
        if correspondent in counts:
            counts[correspondent] += octets
        elif len(counts) < MAX_CORRESPONDENTS:
            counts[correspondent] = octets

    def take(self) -> dict[bytes, Counts]:
        """Return what was counted, and begin anew."""
        taken, self.counts = self.counts, {}
        return taken


@dataclass(slots=True, eq=False)
class Served:
    """One mobile node of which this home agent is primary, by this `role`."""

    binding: Binding
    role: tuple[int, int]
    paths: dict[bytes, Path] = field(default_factory=dict)
    told: tuple[tuple[bytes, int], ...] | None = None
    """(correspondent, SID) of the map in the last acknowledgement; None before the first."""

    def path(self, correspondent: bytes, own_index: int, now: float) -> Path | None:
        """Return the path to `correspondent`, a new one if need be; None if it can have none."""
        found = self.paths.get(correspondent)
        if found is not None or len(self.paths) >= MAX_CORRESPONDENTS:
            return found
        where = address(correspondent)
        if not is_unicast_routable(where):
            return None
        path = self.paths[correspondent] = Path(where, own_index, now)
        return path

    def age(self) -> list[Path]:
        """An interval is over: return the paths that had no traffic for long, and forget them."""
        idle = []
        for key, path in tuple(self.paths.items()):
            path.octets = path.octets / 2 + path.fresh
            path.fresh = 0
            if path.octets < 1:
                idle.append(self.paths.pop(key))
        return idle

    def busiest(self, own_index: int) -> list[Path]:
        """Return the paths to measure; one with another home agent yields to twice its traffic."""
        return nlargest(
            LISTED,
            self.paths.values(),
            key=lambda path: path.octets * (1 if path.chosen == own_index else 2),
        )


class ServedPaths:
    """All mobile nodes of which this home agent is primary, and that have traffic."""

    def __init__(self, own_index: int) -> None:
        self._own = own_index
        self._held: dict[bytes, Served] = {}

    def __iter__(self) -> Iterator[Served]:
        return iter(tuple(self._held.values()))

    def get(self, home_address: bytes, binding: Binding) -> Served | None:
        """Return what is held of a mobile node in the present role, or None."""
        served = self._held.get(home_address)
        return served if served is not None and served.role == binding.role else None

    def of(self, binding: Binding) -> Served | None:
        """Return what is held of a mobile node, begun if need be; None if it is another's.

        With another role it begins anew: somebody else was primary, and may have told other maps.
        """
        key = binding.home_address.packed
        if not binding.bound or binding.primary != self._own:
            self._held.pop(key, None)
            return None
        served = self.get(key, binding)
        if served is None:
            if key not in self._held and len(self._held) >= MAX_MOBILE_NODES:
                self._make_room()
            if key not in self._held and len(self._held) >= MAX_MOBILE_NODES:
                return None
            served = self._held[key] = Served(binding, binding.role)
        served.binding = binding
        return served

    def _make_room(self) -> None:
        """Forget mobile nodes without traffic."""
        self._held = {key: each for key, each in self._held.items() if each.paths}

    def add(self, binding: Binding, counts: Mapping[bytes, int], now: float) -> None:
        """Add the traffic of an interval."""
        served = self.of(binding)
        if served is None:
            return
        for correspondent, octets in counts.items():
            path = served.path(correspondent, self._own, now)
            if path is not None:
                path.fresh += octets
