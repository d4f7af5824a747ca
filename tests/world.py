"""Engines wired back to back in memory: a fake clock, a fake network, no sockets.

Packets to the HA address, and to home addresses, go to the HA that routing would choose: the
first in `order` that advertises. Each packet takes `delay`; `trouble` may lose or repeat it.
Mobile nodes have numbers from 1; what takes none means the first.
"""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import certified

from agents.config import CredentialFiles, HomeAgentConfig, MobileNodeConfig, Mode, PeerConfig
from agents.core.events import (
    AdvertisePrefix,
    Event,
    MisconductProven,
    PeerIsolated,
    PeerReadmitted,
    WithdrawPrefix,
)
from agents.core.hold_down import Advertised
from agents.core.home_agent import HomeAgent
from agents.core.ike.credentials import Credentials
from agents.core.mobile_node import MobileNode
from agents.core.security_associations import SecurityAssociation
from agents.keys import KeyedAssociation, SaMode, Transform
from agents.wire import inter_ha, ipv6

HOME = IPv6Network("fd00:192:168:1::/64")
ANYCAST = IPv6Address("fd00:192:168:1::254")
HOA = IPv6Address("fd00:192:168:1::100")
COA = IPv6Address("fd00:10:10:10::100")
COA2 = IPv6Address("fd00:10:10:20::100")
CN = IPv6Address("fd00:c::1")
DELAY = 0.001

Trouble = Callable[[bytes], list[bytes]]


def own_address(index: int) -> IPv6Address:
    return IPv6Address(f"fd00:1:{index}::{index}")


def home_address(number: int) -> IPv6Address:
    """Return the home address of mobile node `number`."""
    return HOA + number - 1


def mobile_name(number: int) -> str:
    """Return the name of mobile node `number`, under which its events are kept."""
    return "mn" if number == 1 else f"mn{number}"


@dataclass
class Mobile:
    """One mobile node: its engine, where it is, and what its host was given."""

    engine: MobileNode | None = None
    addresses: set[IPv6Address] = field(default_factory=set)
    received: list[bytes] = field(default_factory=list)


def udp(source: IPv6Address, destination: IPv6Address, data: bytes = b"hello") -> bytes:
    return ipv6.build(source, destination, ipv6.UDP, b"\x04\x57\x08\xae" + bytes(4) + data)


class World:
    """Some HAs, some mobile nodes, and the packets between them."""

    def __init__(
        self,
        has: int = 3,
        mode: Mode = Mode.HARDENED,
        seed: int = 1,
        *,
        key_exchange: bool = False,
        ike: bool = False,
        peer_ike: bool = False,
        mobile_secret: bool = False,
        **home_agent: object,
    ) -> None:
        self.now = 1000.0
        self.mode = mode
        self.transform = Transform(mode.transform)
        """Of the mobile node's SAs from key files."""
        self.random = random.Random(seed)
        self.options = home_agent
        self.indexes = list(range(1, has + 1))
        self.order = list(self.indexes)
        self.has: dict[int, HomeAgent] = {}
        self.incarnations = dict.fromkeys(self.indexes, 0)
        self.advertising: set[int] = set()
        self.last_advertised: dict[int, Advertised | None] = {}
        """What each HA's last life left to the next, as in a file beside it."""
        self.isolated_at: dict[int, dict[int, int]] = {}
        """The same of whom it has isolated."""
        self.events: dict[int | str, list[Event]] = {index: [] for index in self.indexes}
        self.events["mn"] = []
        self.mobiles: dict[int, Mobile] = {1: Mobile()}
        self.stopped: dict[int, list[bytes]] = {}
        """Paused home agents, and the packets that wait in their devices and sockets."""
        self.trouble: Trouble = lambda packet: [packet]
        self.delay: Callable[[bytes], float] = lambda packet: DELAY
        self.cut: set[frozenset[int]] = set()
        self.liars: set[int] = set()
        """Home agents that a test has lie: nobody else may ever be accused (rule 13)."""
        self.seen: list[bytes] = []
        self.at_correspondent: list[tuple[int, bytes]] = []
        self.to_correspondent: list[bytes] = []
        self.sealed: Counter[tuple[int, int, int]] = Counter()  # (SPI, SID, number)
        self.peer_keys = self._peer_keys()
        self.with_key_exchange = key_exchange
        self.key_exchanges: dict[int, FakeKeyExchange] = {}
        self.fate = "agreed"
        self.ike, self.peer_ike = ike, peer_ike
        self.secret = self.random.randbytes(32) if ike and mobile_secret else None
        """Of the mobile nodes, in place of certificates."""
        self.certificates: dict[int | str, CredentialFiles] = {}
        """Of home agents by index, and mobile nodes by name, where they are other than usual."""
        self._spis = itertools.count(0x8000, 16)
        self._queue: list[tuple[float, int, bytes | Callable[[], None]]] = []
        self._order = itertools.count()

    # The first mobile node.

    @property
    def mn(self) -> MobileNode | None:
        return self.mobiles[1].engine

    @mn.setter
    def mn(self, engine: MobileNode | None) -> None:
        self.mobiles[1].engine = engine

    @property
    def mn_addresses(self) -> set[IPv6Address]:
        return self.mobiles[1].addresses

    @property
    def at_mobile(self) -> list[bytes]:
        return self.mobiles[1].received

    # Bringing things up and down.

    def start_ha(self, index: int, **changes: object) -> HomeAgent:
        self.incarnations[index] += 1
        config = replace(self.ha_config(index), **changes)  # type: ignore[arg-type]
        exchange = FakeKeyExchange(self, index)
        self.key_exchanges[index] = exchange
        engine = HomeAgent(
            config,
            self.incarnations[index],
            self.random.randbytes,
            {} if self.peer_ike else self.peer_keys[index],
            self._record,
            exchange if self.with_key_exchange else None,
            {home_address(n): self.secret for n in range(1, 5)} if self.secret else None,
            self.credentials(index) if self.ike or self.peer_ike else None,
            self.last_advertised.get(index),
            self.isolated_at.get(index),
        )
        self.has[index] = exchange.engine = engine
        engine.start(self.now)
        self._collect()
        return engine

    def start_all(self, settle: float = 1.0) -> None:
        for index in self.indexes:
            self.start_ha(index)
        self.run(settle)

    def join(
        self,
        index: int,
        introduce: Sequence[int] | None = None,
        told: Sequence[int] | None = None,
    ) -> HomeAgent:
        """A new HA starts, after those of `introduce`, or all, were told of it by an operator.

        With certificates nobody is by default. Its own configuration names those of `told`, or all.
        """
        self.indexes.append(index)
        if index not in self.order:
            self.order.append(index)
        self.incarnations.setdefault(index, 0)
        self.events.setdefault(index, [])
        self._add_peer_keys(index)
        if introduce is None:
            introduce = () if self.peer_ike else tuple(self.has)
        for other in introduce:
            self.introduce(other, index)
        peers = self.ha_config(index).peers
        return self.start_ha(
            index, peers=tuple(each for each in peers if told is None or each.index in told)
        )

    def introduce(self, index: int, newcomer: int) -> None:
        """An operator tells HA `index` of another one."""
        keys = () if self.peer_ike else self.peer_keys[index][newcomer]
        self.has[index].add_peer(self.peer_config(newcomer), keys, self.now)
        self._collect()

    def dismiss(self, gone: int, reason: str = "operator") -> None:
        """An operator has every other HA reckon with one no more."""
        for index in [each for each in self.has if each != gone]:
            self.has[index].dismiss(gone, reason, self.now)
        self._forget(gone)
        self._collect()

    def isolate(self, index: int, at: Sequence[int] | None = None) -> None:
        """An operator has every other HA, or some, put one out; it goes on as it was."""
        for honest in [each for each in self.has if each != index] if at is None else at:
            self.has[honest].isolate(index, "verb", self.now)
        self._collect()

    def readmit(self, index: int) -> None:
        """An operator has every HA that put one out let it join again."""
        for each in [each for each in self.has if index in self.has[each].isolated]:
            self.has[each].readmit(index, self.now)
            if index not in self.indexes:
                continue
            keys = () if self.peer_ike else self.peer_keys[each][index]
            self.has[each].add_peer(self.peer_config(index), keys, self.now)
        self._collect()

    def peer_config(self, index: int) -> PeerConfig:
        """Return an HA as an operator names it to the others."""
        return PeerConfig(f"HA{index}", index, own_address(index), Path("/nowhere"))

    def leave(self, index: int, stale: float = 0.0) -> None:
        """An HA goes by itself; routing still leads to it for `stale` seconds."""
        self.has[index].leave(self.now)
        self._collect()
        if stale:
            self.advertising.add(index)
            self.after(stale, lambda: self.advertising.discard(index))

    def gone(self, index: int) -> None:
        """An HA that has left: its process has ended, no configuration names it."""
        self.kill(index)
        self._forget(index)

    def _forget(self, gone: int) -> None:
        """Configurations that are written from now on do not name that HA."""
        self.indexes.remove(gone)
        self.order = [each for each in self.order if each != gone]

    def kill(self, index: int) -> None:
        del self.has[index]
        self.stopped.pop(index, None)
        self.advertising.discard(index)

    def stop(self, index: int) -> None:
        """Pause an HA's agent for longer than its watchdog waits: the route goes."""
        self.stopped[index] = []
        self.advertising.discard(index)

    def wake(self, index: int) -> None:
        """Let it go on: told by its watchdog first, then what waited, then overdue timers."""
        waiting, engine = self.stopped.pop(index), self.has[index]
        engine.resynchronise(self.now)
        for packet in waiting:
            engine.receive(packet, self.now)
        self._collect()

    def start_mn(
        self,
        settle: float = 0.5,
        number: int = 1,
        keys: tuple[KeyedAssociation, ...] = (),
        holder: int = 1,
        at: IPv6Address = COA,
        **changes: object,
    ) -> MobileNode:
        """Start a mobile node anew, with a secret, or fresh keys that HA `holder` is given too."""
        config = replace(self.mn_config(number), **changes)  # type: ignore[arg-type]
        mobile = self.mobiles.setdefault(number, Mobile())
        mobile.engine = engine = MobileNode(
            config,
            self.random.randbytes,
            self._record,
            self.secret,
            self._mobile_credentials(number),
        )
        self.events.setdefault(mobile_name(number), [])
        if not self.ike:
            keys = keys or self.mobile_keys(home=home_address(number))
            engine.load_keys(keys, self.now)
            self.has[holder].load_keys(keys, self.now)
        self._collect()
        self.run(0.05)
        engine.start(self.now)
        self.attach(at, number)
        self.run(settle)
        return engine

    def attach(self, address: IPv6Address, number: int = 1) -> None:
        mobile = self.mobiles[number]
        assert mobile.engine is not None
        mobile.addresses.add(address)
        mobile.engine.care_of_address_added(address, "mn-v1", self.now)
        self._collect()

    def detach(self, address: IPv6Address, number: int = 1) -> None:
        mobile = self.mobiles[number]
        assert mobile.engine is not None
        mobile.addresses.discard(address)
        mobile.engine.care_of_address_removed(address, self.now)
        self._collect()

    # Traffic.

    def down(self, via: int, data: bytes = b"down", number: int = 1) -> None:
        """A packet of the CN reaches HA `via` on its way to the mobile node."""
        self._give(via, udp(CN, home_address(number), data))
        self._collect()

    def up(self, data: bytes = b"up", number: int = 1) -> None:
        """The mobile node's host sends a packet to the CN."""
        engine = self.mobiles[number].engine
        assert engine is not None
        engine.encapsulate(udp(home_address(number), CN, data), self.now)
        self._collect()

    def inject(self, packet: bytes) -> None:
        """Put a packet on the network."""
        heapq.heappush(self._queue, (self.now + self.delay(packet), next(self._order), packet))

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Have `call` made in a while."""
        heapq.heappush(self._queue, (self.now + seconds, next(self._order), call))

    def run(self, seconds: float) -> None:
        """Let the clock run, timers and packets in their order."""
        end = self.now + seconds
        self._collect()
        while True:
            times = [self._queue[0][0]] if self._queue else []
            engines: list[HomeAgent | MobileNode] = [
                each for index, each in self.has.items() if index not in self.stopped
            ]
            engines += [each.engine for each in self.mobiles.values() if each.engine]
            times += [when for each in engines if (when := each.next_timer()) is not None]
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            while self._queue and self._queue[0][0] <= self.now:
                item = heapq.heappop(self._queue)[2]
                if isinstance(item, bytes):
                    self._arrive(item)
                else:
                    item()
                    self._collect()
            for each in engines:
                if (when := each.next_timer()) is not None and when <= self.now:
                    each.handle_timer(self.now)
            self._collect()
        self.now = end

    # Looking.

    def found(self, who: int | str, kind: type[Event]) -> list[Event]:
        return [event for event in self.events[who] if isinstance(event, kind)]

    def binding(self, index: int, number: int = 1) -> dict[str, object] | None:
        for each in self.has[index].bindings():
            if each["home_address"] == str(home_address(number)):
                return each
        return None

    def primaries(self, number: int = 1) -> set[object]:
        found = (self.binding(index, number) for index in self.has)
        return {each["primary"] for each in found if each is not None}

    # Keys and configuration.

    def ha_config(self, index: int) -> HomeAgentConfig:
        others = [other for other in self.indexes if other != index]
        return HomeAgentConfig(
            name=f"HA{index}",
            index=index,
            address=own_address(index),
            directory=Path("/nowhere"),
            home_prefix=HOME,
            home_agent_address=ANYCAST,
            mode=self.mode,
            peers=tuple(
                PeerConfig(f"HA{other}", other, own_address(other), Path("/nowhere"))
                for other in others
            ),
            **self.options,  # type: ignore[arg-type]
        )

    def credentials(self, index: int) -> Credentials:
        """Return what home agent `index` starts with."""
        files = self.certificates.get(index) or certified.home_agent(index)
        return certified.credentials(files)

    def _mobile_credentials(self, number: int) -> Credentials | None:
        if not self.ike:
            return None
        if self.secret is not None:
            return certified.credentials(certified.authority().trust())
        files = self.certificates.get(mobile_name(number))
        return certified.credentials(files or certified.mobile_node(home_address(number)))

    def mn_config(self, number: int = 1) -> MobileNodeConfig:
        return MobileNodeConfig(
            name=mobile_name(number),
            home_address=home_address(number),
            home_agent_address=ANYCAST,
            home_prefix=HOME,
            directory=Path("/nowhere"),
            key_file=Path("/nowhere"),
            mode=self.mode,
        )

    def mobile_keys(
        self, first_spi: int = 0x01000100, home: IPv6Address = HOA
    ) -> tuple[KeyedAssociation, ...]:
        return self.keys_from(first_spi + self.random.randrange(1000) * 16, home)

    def fresh_keys(self, index: int, home: IPv6Address = HOA) -> tuple[KeyedAssociation, ...]:
        """Keys that nobody has seen, in the SPI range of HA `index`."""
        return self.keys_from(index << 24 | next(self._spis), home)

    def keys_from(self, first_spi: int, home: IPv6Address) -> tuple[KeyedAssociation, ...]:
        transform = self.transform
        made = []
        spis = itertools.count(first_spi)
        for mode in (SaMode.TRANSPORT, SaMode.TUNNEL):
            for source, destination in ((home, ANYCAST), (ANYCAST, home)):
                key = self.random.randbytes(transform.key_length)
                made.append(KeyedAssociation(next(spis), source, destination, mode, transform, key))
        return tuple(made)

    def _peer_keys(self) -> dict[int, dict[int, tuple[KeyedAssociation, ...]]]:
        keys: dict[int, dict[int, tuple[KeyedAssociation, ...]]] = {
            index: {} for index in self.indexes
        }
        for one, other in itertools.combinations(self.indexes, 2):
            keys[one][other] = keys[other][one] = self._pair_keys(one, other)
        return keys

    def _pair_keys(self, one: int, other: int) -> tuple[KeyedAssociation, ...]:
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

    def _add_peer_keys(self, index: int) -> None:
        """Make key files for one more home agent; what was made before stays."""
        held = self.peer_keys.setdefault(index, {})
        for other in self.peer_keys:
            if other != index and other not in held:
                held[other] = self.peer_keys[other][index] = self._pair_keys(index, other)

    # The network.

    def nearest(self) -> int | None:
        for index in self.order:
            if index in self.has and index in self.advertising:
                return index
        return None

    def _record(self, spi: int, sid: int, number: int) -> None:
        self.sealed[spi, sid, number] += 1

    def _collect(self) -> None:
        """Take what the engines have to send, and what they report."""
        for index, engine in list(self.has.items()):
            for packet in engine.packets_to_send(self.now):
                self._send(packet)
            self.at_correspondent += [(index, each) for each in engine.packets_to_deliver()]
            while (event := engine.next_event()) is not None:
                self.events[index].append(event)
                if isinstance(event, MisconductProven):
                    assert event.index in self.liars, f"HA{index} accuses an honest one: {event}"
                if isinstance(event, PeerIsolated | PeerReadmitted):
                    self.isolated_at[index] = dict(engine.isolated)
                if isinstance(event, AdvertisePrefix):
                    self.advertising.add(index)
                    self.last_advertised[index] = engine.last_advertised
                elif isinstance(event, WithdrawPrefix):
                    self.advertising.discard(index)
        for number, mobile in self.mobiles.items():
            if mobile.engine is None:
                continue
            for packet in mobile.engine.packets_to_send(self.now):
                self._send(packet)
            mobile.received += mobile.engine.packets_to_deliver()
            while (event := mobile.engine.next_event()) is not None:
                self.events[mobile_name(number)].append(event)

    def _give(self, index: int, packet: bytes) -> None:
        """A packet reaches HA `index`: its agent, or its queues while that is stopped."""
        if index in self.stopped:
            self.stopped[index].append(packet)
        elif index in self.has:
            self.has[index].receive(packet, self.now)

    def _send(self, packet: bytes) -> None:
        self.seen.append(packet)
        for each in self.trouble(packet):
            self.inject(each)

    def mobile_of(self, home: IPv6Address) -> Mobile:
        """Return the mobile node with that home address."""
        return self.mobiles[int(home) - int(HOA) + 1]

    def _mobile_at(self, address: IPv6Address) -> MobileNode | None:
        for each in self.mobiles.values():
            if address in each.addresses:
                return each.engine
        return None

    def _arrive(self, packet: bytes) -> None:
        source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
        by_own = {own_address(index): index for index in (*self.indexes, *self.has)}
        if destination in by_own:
            index = by_own[destination]
            if frozenset((by_own.get(source, 0), index)) in self.cut:
                return
            self._give(index, packet)
        elif destination in HOME:
            nearest = self.nearest()
            if nearest is not None:
                self._give(nearest, packet)
        elif (mobile := self._mobile_at(destination)) is not None:
            mobile.receive(packet, self.now)
        elif destination == CN:
            self.to_correspondent.append(packet)
        self._collect()


class FakeKeyExchange:
    """Key management in one round trip. The world's `fate` may be another than `agreed`.

    `failed`: the mobile node refuses; `request-lost`, `answer-lost`: so says a timer after 0.5 s,
    and in the second case the mobile node holds the fresh SAs.
    """

    def __init__(self, world: World, index: int) -> None:
        self.world = world
        self.index = index
        self.engine: HomeAgent | None = None
        self.began = 0
        self.deletes = 0
        self.open_to_mobile = False  # it has agreed with the mobile node before

    def renew(
        self,
        home_address: IPv6Address,
        care_of_address: IPv6Address,
        now: float,
        *,
        alone: bool = False,
    ) -> None:
        self.began += 1
        mobile = self._mobile(home_address)
        keys, fate = self.world.fresh_keys(self.index, home_address), self.world.fate
        if care_of_address not in mobile.addresses:
            fate = "request-lost"

        def at_mobile_node() -> None:
            if mobile.engine is not None and fate in ("agreed", "answer-lost"):
                renew = mobile.engine.use_only if alone else mobile.engine.renew_keys
                renew(keys, self.world.now)

        def answer() -> None:
            if self._alive() is None:
                return
            if fate == "agreed":
                self.open_to_mobile = True
                self._alive().key_exchange_user.agreed(home_address, keys, self.world.now)
            else:
                self._alive().key_exchange_user.failed(home_address, fate, self.world.now)

        self.world.after(DELAY, at_mobile_node)
        self.world.after(2 * DELAY if fate in ("agreed", "failed") else 0.5, answer)

    def delete(
        self,
        home_address: IPv6Address,
        associations: Sequence[SecurityAssociation],
        now: float,
    ) -> None:
        self.deletes += 1
        mobile = self._mobile(home_address)
        spis = {each.spi for each in associations if not each.inbound}
        mobile = self.world.mobile_of(home_address)

        def at_mobile_node() -> None:
            if mobile.engine is not None:
                mobile.engine.delete_keys(spis, self.world.now)

        def answer() -> None:
            if self._alive() is not None:
                self._alive().key_exchange_user.deleted(home_address, associations, self.world.now)

        if self.open_to_mobile:
            self.world.after(DELAY, at_mobile_node)
        self.world.after(2 * DELAY if self.open_to_mobile else 0.0, answer)

    def _mobile(self, home: IPv6Address) -> Mobile:
        return self.world.mobiles[int(home) - int(HOA) + 1]

    def _alive(self) -> Any:
        """The engine, unless it was killed."""
        return self.engine if self.world.has.get(self.index) is self.engine else None


def opened(world: World, packet: bytes) -> inter_ha.InterHaMessage | None:
    """Return the inter-HA message in a packet on the network, or None."""
    from agents.wire import esp

    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    for keys in world.peer_keys.values():
        for pair in keys.values():
            for key in pair:
                if (key.source, key.destination) == (source, destination):
                    payload, _ = esp.make_cipher(key.transform, key.key).open(packet[40:])
                    return inter_ha.parse_inter_ha(payload, source, destination)
    return None
