"""Two home networks and a mobile node with an address in each, in memory (draft §4.2).

Home agents of a home have indices of their own over both; packets to a home agent address go to the
first that advertises. A home can be `lost`: then everything to or from it vanishes, or, with
`unreachable`, what is sent to it is answered by an ICMPv6 error of a router.
"""

import heapq
import itertools
import random
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from agents.config import HomeAgentConfig, MobileNodeConfig, PeerConfig
from agents.core.events import AdvertisePrefix, WithdrawPrefix
from agents.core.home_agent import HomeAgent
from agents.core.mobile_homes import MobileHomes
from agents.core.mobile_node import MobileNode
from agents.keys import KeyedAssociation, SaMode, Transform
from agents.wire import icmpv6, ipv6
from tests.world import CN, COA, COA2, DELAY, own_address, udp

__all__ = ["CN", "COA", "COA2", "HOMES", "TwoHomes", "anycast", "home_address"]

HOMES = (1, 2)
INDEXES = {1: (1, 2), 2: (3, 4)}
ROUTER = IPv6Address("fd00:103::fe")
TO_HOME_AGENT = {
    (home, mode): INDEXES[home][0] << 24 | 0x100 | number
    for home in HOMES
    for number, mode in enumerate(SaMode)
}


def prefix(home: int) -> IPv6Network:
    return IPv6Network(f"fd00:192:{167 + home}:1::/64")


def anycast(home: int) -> IPv6Address:
    return prefix(home)[0x254]


def home_address(home: int) -> IPv6Address:
    return prefix(home)[0x100]


def _keys(home: int, chance: random.Random) -> list[KeyedAssociation]:
    made = []
    for number, mode in enumerate(SaMode):
        transform = Transform.AES_128_GCM
        for spi, source, destination in (
            (TO_HOME_AGENT[home, mode], home_address(home), anycast(home)),
            (0x80000000 | number, anycast(home), home_address(home)),  # the same in both homes
        ):
            key = chance.randbytes(transform.key_length)
            made.append(KeyedAssociation(spi, source, destination, mode, transform, key))
    return made


class TwoHomes:
    """The engines, wired back to back."""

    def __init__(self, ike: bool = False) -> None:
        self.now = 1000.0
        self.random = random.Random(3)
        self.secret = self.random.randbytes(32) if ike else None
        self.lost: set[int] = set()
        self.unreachable = False
        self.advertising: set[int] = set()
        self.addresses: set[IPv6Address] = set()
        self.at_host: list[bytes] = []
        self.at_correspondent: list[tuple[int, bytes]] = []
        self.seen: list[bytes] = []
        self.events: list[tuple[float, str, dict[str, object]]] = []
        self.incarnations = dict.fromkeys(HOMES, 0)
        self._queue: list[tuple[float, int, bytes]] = []
        self._order = itertools.count()
        self.keys = {home: _keys(home, self.random) for home in HOMES}
        self.peer_keys = {home: self._peer_keys(home) for home in HOMES}
        self.has: dict[int, HomeAgent] = {}
        for home in HOMES:
            self.start_home(home)
        self.engines = [self._mobile(home) for home in HOMES]
        self.mn = MobileHomes(self.engines)

    # Bringing things up and down.

    def start_home(self, home: int) -> None:
        """Start the home agents of a home, with nothing but their configuration."""
        self.incarnations[home] += 1
        for index in INDEXES[home]:
            self.has[index] = HomeAgent(
                self._ha_config(home, index),
                self.incarnations[home],
                self.random.randbytes,
                {self._other(home, index): self.peer_keys[home]},
                secrets={home_address(home): self.secret} if self.secret else None,
            )
            self.has[index].start(self.now)
        if self.secret is None and self.incarnations[home] == 1:
            self.has[INDEXES[home][0]].load_keys(self.keys[home], self.now)

    def kill_home(self, home: int) -> None:
        """All its home agents are gone, and their routes with them."""
        for index in INDEXES[home]:
            del self.has[index]
            self.advertising.discard(index)

    def bind(self) -> "TwoHomes":
        self.run(1.0)
        if self.secret is None:
            self.mn.load_keys([each for keys in self.keys.values() for each in keys], self.now)
        self.mn.start(self.now)
        self.attach(COA)
        self.run(0.5)
        assert self.mn.status()["bound"]
        return self

    def attach(self, address: IPv6Address) -> None:
        self.addresses.add(address)
        self.mn.care_of_address_added(address, "mn-v1", self.now)
        self._collect()

    def detach(self, address: IPv6Address) -> None:
        self.addresses.discard(address)
        self.mn.care_of_address_removed(address, self.now)
        self._collect()

    # Traffic.

    def up(self, home: int, data: bytes = b"up") -> None:
        self.mn.encapsulate(udp(home_address(home), CN, data), self.now)
        self._collect()

    def down(self, index: int, home: int, data: bytes = b"down") -> None:
        if index in self.has and home not in self.lost:
            self.has[index].receive(udp(CN, home_address(home), data), self.now)
            self._collect()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        self._collect()
        while True:
            times = [self._queue[0][0]] if self._queue else []
            engines: list[HomeAgent | MobileHomes] = [*self.has.values(), self.mn]
            times += [when for each in engines if (when := each.next_timer()) is not None]
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            while self._queue and self._queue[0][0] <= self.now:
                self._arrive(heapq.heappop(self._queue)[2])
            for each in engines:
                if (when := each.next_timer()) is not None and when <= self.now:
                    each.handle_timer(self.now)
            self._collect()
        self.now = end

    # Looking.

    def kinds(self, kind: str) -> list[dict[str, object]]:
        return [fields for _, name, fields in self.events if name == kind]

    def standing(self, home: int) -> str:
        return str(self.mn.choice.standing(home))

    # Configuration.

    def _ha_config(self, home: int, index: int) -> HomeAgentConfig:
        other = self._other(home, index)
        return HomeAgentConfig(
            name=f"HA{index}",
            index=index,
            address=own_address(index),
            directory=Path("/nowhere"),
            home_prefix=prefix(home),
            home_agent_address=anycast(home),
            peers=(PeerConfig(f"HA{other}", other, own_address(other), Path("/nowhere")),),
        )

    def _mobile(self, home: int) -> MobileNode:
        config = MobileNodeConfig(
            name="mn",
            home_address=home_address(home),
            home_agent_address=anycast(home),
            home_prefix=prefix(home),
            directory=Path("/nowhere"),
            key_file=Path("/nowhere"),
            tun=f"mobile{home}",
        )
        return MobileNode(config, self.random.randbytes, None, self.secret)

    def _other(self, home: int, index: int) -> int:
        return next(each for each in INDEXES[home] if each != index)

    def _peer_keys(self, home: int) -> tuple[KeyedAssociation, ...]:
        one, other = INDEXES[home]
        return tuple(
            KeyedAssociation(
                0x1000 + source * 64 + destination,
                own_address(source),
                own_address(destination),
                SaMode.TRANSPORT,
                Transform.AES_128_GCM,
                self.random.randbytes(20),
            )
            for source, destination in ((one, other), (other, one))
        )

    # The network.

    def _collect(self) -> None:
        for index, engine in self.has.items():
            for packet in engine.packets_to_send(self.now):
                self._send(packet)
            self.at_correspondent += [(index, each) for each in engine.packets_to_deliver()]
            while (event := engine.next_event()) is not None:
                if isinstance(event, AdvertisePrefix):
                    self.advertising.add(index)
                elif isinstance(event, WithdrawPrefix):
                    self.advertising.discard(index)
        for packet in self.mn.packets_to_send(self.now):
            self._send(packet)
        self.at_host += self.mn.packets_to_deliver()
        while (told := self.mn.next_event()) is not None:
            self.events.append((self.now, told.kind, dict(told.fields())))

    def _send(self, packet: bytes) -> None:
        self.seen.append(packet)
        heapq.heappush(self._queue, (self.now + DELAY, next(self._order), packet))

    def _arrive(self, packet: bytes) -> None:
        source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
        gone = {anycast(home) for home in self.lost}
        for home in HOMES:
            if destination == anycast(home):
                self._to_home(home, packet)
        for index, engine in self.has.items():
            if destination == own_address(index):
                engine.receive(packet, self.now)
        if destination in self.addresses and source not in gone:
            self.mn.receive(packet, self.now)
        self._collect()

    def _to_home(self, home: int, packet: bytes) -> None:
        there = [each for each in INDEXES[home] if each in self.has and each in self.advertising]
        if there and home not in self.lost:
            self.has[there[0]].receive(packet, self.now)
        elif self.unreachable:
            error = icmpv6.destination_unreachable(ROUTER, packet, icmpv6.NO_ROUTE)
            assert error is not None
            self.mn.receive(error, self.now)


def is_update(packet: bytes, home: int) -> bool:
    """Whether a packet is signalling of the mobile node with that home."""
    return packet[24:40] == anycast(home).packed and packet[6] == ipv6.DESTINATION_OPTIONS
