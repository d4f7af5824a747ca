"""A world with distances: each pair of places has a one-way delay, so that paths have costs.

Three HAs, a mobile node near HA1, a correspondent near HA1 (`NEAR`) and one near HA2 (`FAR`).
Correspondents and the mobile node's host answer echoes.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from world import ANYCAST, COA, HOME, World, home_address, own_address, udp

from agents.config import OptimisationSettings, RouteOptimisation
from agents.core.events import PathChosen, PrimaryChanged
from agents.core.mobile_events import CorrespondentMapInstalled
from agents.wire import icmpv6, ipv6

NEAR = IPv6Address("fd00:c1::1")
FAR = IPv6Address("fd00:c2::2")
PLACES = {"near": IPv6Network("fd00:c1::/64"), "far": IPv6Network("fd00:c2::/64")}
MS = 0.001

_ORIGIN = slice(48, 64)
_TYPE = 40


def place(address: IPv6Address) -> str | None:
    """Return where a correspondent is, None for what is none."""
    return next((name for name, prefix in PLACES.items() if address in prefix), None)


@dataclass(frozen=True)
class Passed:
    """One packet of the mobile node that an HA forwarded to its correspondent."""

    left: float
    """When it left that HA, in seconds."""
    via: int
    packet: bytes

    @property
    def data(self) -> bytes:
        return self.packet[ipv6.HEADER_LENGTH + 8 :]


class DistantWorld(World):
    """`distance` is in ms, one way, by pair of names: `mn`, `near`, `far`, and HA indexes."""

    def __init__(
        self,
        arm: RouteOptimisation = RouteOptimisation.MAP,
        settings: OptimisationSettings | None = None,
        **options: object,
    ) -> None:
        super().__init__(
            route_optimisation=arm,
            optimisation=settings or OptimisationSettings(),
            **options,  # type: ignore[arg-type]
        )
        self.arm = arm
        self.distance: dict[frozenset[str | int], float] = {}
        self.jitter = 0.0
        """Milliseconds at most, added to each packet's delay."""
        self.mute: set[IPv6Address] = set()
        """Who answers no echo."""
        self.passed: list[Passed] = []
        self.set("mn", {1: 5, 2: 20, 3: 30})
        self.set("near", {1: 5, 2: 30, 3: 30})
        self.set("far", {1: 50, 2: 5, 3: 30})
        for one in self.indexes:
            self.set(one, {other: 25.0 for other in self.indexes if other > one})
        self.delay = self._delay

    def set(self, place: str | int, distances: dict[int, float]) -> None:
        for index, milliseconds in distances.items():
            self.distance[frozenset((place, index))] = milliseconds

    def begin(self, settle: float = 0.5) -> None:
        self.start_all()
        self.start_mn(settle, route_optimisation=self.arm)

    # Traffic.

    def say(self, to: IPv6Address, data: bytes = b"up") -> None:
        """The mobile node's host sends a packet to a correspondent."""
        assert self.mn is not None
        self.mn.encapsulate(udp(home_address(1), to, data), self.now)
        self._collect()

    def hear(self, from_: IPv6Address, via: int, data: bytes = b"down") -> None:
        """A packet of a correspondent reaches HA `via`."""
        self._give(via, udp(from_, home_address(1), data))
        self._collect()

    def talk(
        self, seconds: float, every: float = 0.1, to: tuple[IPv6Address, ...] = (NEAR, FAR)
    ) -> None:
        """Send to each correspondent for a while."""
        end = self.now + seconds
        while self.now < end - every / 2:
            for each in to:
                self.say(each)
            self.run(every)

    def latency(self, to: IPv6Address) -> float:
        """Send one packet to `to`; return how many ms it takes, by whichever HA."""
        before, sent = len(self.passed), self.now
        self.say(to, b"timed")
        self.run(0.3)
        (found,) = [each for each in self.passed[before:] if each.data == b"timed"]
        return (found.left - sent) / MS + self.between(found.via, place(to) or "mn")

    def via(self, to: IPv6Address) -> int:
        """Return the HA by which a packet to `to` leaves."""
        before = len(self.passed)
        self.say(to, b"by whom")
        self.run(0.3)
        (found,) = [each for each in self.passed[before:] if each.data == b"by whom"]
        return found.via

    # Looking.

    def choices(self, index: int = 1) -> list[tuple[IPv6Address, str, str]]:
        found = self.found(index, PathChosen)
        return [(e.correspondent, e.home_agent, e.cause) for e in found]  # type: ignore[attr-defined]

    def maps(self) -> list[dict[str, str]]:
        found = self.found("mn", CorrespondentMapInstalled)
        return [each.correspondents for each in found]  # type: ignore[attr-defined]

    def switches(self) -> int:
        return sum(
            each.cause == "switch"  # type: ignore[attr-defined]
            for index in self.indexes
            for each in self.found(index, PrimaryChanged)
        )

    def between(self, one: str | int, other: str | int) -> float:
        return self.distance[frozenset((one, other))]

    # The network.

    def _delay(self, packet: bytes) -> float:
        one, other = self._place(packet, source=True), self._place(packet, source=False)
        milliseconds = self.distance.get(frozenset((one, other)), 1.0)
        return (milliseconds + self.random.random() * self.jitter) * MS

    def _place(self, packet: bytes, *, source: bool) -> str | int:
        address = IPv6Address(packet[8:24] if source else packet[24:40])
        if (named := place(address)) is not None:
            return named
        for index in self.indexes:
            origin = source and packet[6] == ipv6.DESTINATION_OPTIONS and packet[_ORIGIN]
            if own_address(index) == address or origin == own_address(index).packed:
                return index
        if address == ANYCAST or address in HOME:
            return self.nearest() or 0
        return "mn"

    def _collect(self) -> None:
        super()._collect()
        self.passed += [Passed(self.now, index, each) for index, each in self.at_correspondent]
        self.at_correspondent.clear()

    def _arrive(self, packet: bytes) -> None:
        request = packet[6] == ipv6.ICMPV6 and packet[_TYPE] == icmpv6.ECHO_REQUEST
        if not request:
            super()._arrive(packet)
            return
        source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
        here = place(destination) is not None or destination in self.mn_addresses
        if here and destination not in self.mute:
            head = ipv6.HEADER_LENGTH
            identifier = int.from_bytes(packet[head + 4 : head + 6])
            sequence = int.from_bytes(packet[head + 6 : head + 8])
            self._send(
                icmpv6.echo(
                    destination,
                    source,
                    identifier,
                    sequence,
                    packet[head + 8 :],
                    icmpv6.ECHO_REPLY,
                )
            )


__all__ = ["ANYCAST", "COA", "FAR", "MS", "NEAR", "DistantWorld", "Passed"]
