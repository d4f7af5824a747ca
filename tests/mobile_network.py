"""Home agents and one mobile node, wired back to back in memory with a fake clock."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from agents.config import (
    HomeAgentConfig,
    HomeAgentTimers,
    MobileNodeConfig,
    MobileNodeTimers,
    Mode,
    PeerConfig,
)
from agents.core.events import Event
from agents.core.home_agent import HomeAgent
from agents.core.mobile_node import MobileNode
from agents.keys import KeyedAssociation, SaMode
from agents.wire import ipv6
from agents.wire.transforms import Transform

HOME = IPv6Network("fd00:192:168:1::/64")
ANYCAST = IPv6Address("fd00:192:168:1::254")
HOA = IPv6Address("fd00:192:168:1::100")
V1 = IPv6Address("fd00:10:10:10::100")
V2 = IPv6Address("fd00:10:10:20::100")
CN = IPv6Address("fd00:2:1::1")
START = 1000.0


def own_address(index: int) -> IPv6Address:
    return IPv6Address(f"fd00:1:{index}::{index}")


def packet_between(source: IPv6Address, destination: IPv6Address, payload: bytes) -> bytes:
    return ipv6.build(source, destination, ipv6.NO_NEXT_HEADER, payload)


@dataclass(frozen=True)
class Sent:
    """One packet on the wire: when, from whom ("mn" or an HA index), and what became of it."""

    time: float
    sender: object
    packet: bytes
    lost: bool


class Network:
    """`nearest` is the index of the HA that routing finds; a dead HA neither hears nor speaks."""

    def __init__(
        self,
        mode: Mode = Mode.HARDENED,
        agents: int = 3,
        *,
        origin_option: bool = True,
        multi_sender: bool = True,
        lifetime: float = 400.0,
        seed: int = 1,
    ) -> None:
        self.random = random.Random(seed)
        self.mode = mode
        self.origin_option = origin_option
        self.agents = agents
        self.now = START
        self.nearest = 1
        self.lose: Callable[[object, bytes], bool] = lambda sender, packet: False
        self.wire: list[Sent] = []
        self.at_host: list[bytes] = []
        self.at_correspondent: list[bytes] = []
        self.events: list[tuple[float, Event]] = []
        self._pair_keys: dict[tuple[int, int], tuple[KeyedAssociation, ...]] = {}
        self.keys = self._mobile_keys()
        self.home_agents = {index: self._home_agent(index) for index in range(1, agents + 1)}
        self.alive = set(self.home_agents)
        self.config = MobileNodeConfig(
            name="mn",
            home_address=HOA,
            home_agent_address=ANYCAST,
            home_prefix=HOME,
            directory=Path("unused"),
            key_file=Path("mn.toml"),
            mode=mode,
            origin_option=origin_option,
            multi_sender=multi_sender,
            lifetime=lifetime,
            timers=MobileNodeTimers(),
        )
        self.mobile = MobileNode(self.config, self.random.randbytes)
        self.mobile.load_keys(self.keys, self.now)

    # Life

    def up(self) -> None:
        """All home agents in step with one another."""
        for agent in self.home_agents.values():
            agent.start(self.now)
        self.home_agents[1].load_keys(self.keys, self.now)
        self.run(1.0)
        assert all(agent.status()["advertising"] for agent in self.home_agents.values())

    def bind(self, address: IPv6Address = V1) -> None:
        """Up, and the mobile node registered."""
        self.up()
        self.mobile.care_of_address_added(address, "mn-v1", self.now)
        self.mobile.start(self.now)
        self.run(0.5)
        assert self.mobile.registration.state == "bound"

    def kill(self, index: int) -> None:
        self.alive.discard(index)

    def restart(self, index: int) -> None:
        """A new process of the same home agent: next incarnation, nothing remembered."""
        incarnation = (self.home_agents[index].incarnation or 0) + 1
        self.home_agents[index] = self._home_agent(index, incarnation)
        self.alive.add(index)
        self.home_agents[index].start(self.now)

    def run(self, seconds: float) -> None:
        """Let time pass, every engine's timers at their own times."""
        end = self.now + seconds
        self.pump()
        while True:
            engines = [self.mobile, *(self.home_agents[index] for index in sorted(self.alive))]
            due = [when for each in engines if (when := each.next_timer()) is not None]
            if not due or min(due) > end:
                break
            self.now = max(self.now, min(due))
            for each in engines:
                each.handle_timer(self.now)
            self.pump()
        self.now = end

    def pump(self) -> None:
        """Carry packets until nobody has any more to send."""
        moving = True
        while moving:
            moving = False
            for sender, engine in [("mn", self.mobile), *self.home_agents.items()]:
                packets = engine.packets_to_send(self.now)
                if sender != "mn" and sender not in self.alive:
                    continue
                for packet in packets:
                    moving = True
                    lost = self.lose(sender, packet)
                    self.wire.append(Sent(self.now, sender, packet, lost))
                    if not lost:
                        self.carry(packet)
            self.at_host += self.mobile.packets_to_deliver()
            for engine in self.home_agents.values():
                self.at_correspondent += engine.packets_to_deliver()
            while (event := self.mobile.next_event()) is not None:
                self.events.append((self.now, event))

    def carry(self, packet: bytes) -> None:
        """Route one packet by its destination."""
        destination = IPv6Address(packet[24:40])
        if destination in (V1, V2):
            self.mobile.receive(packet, self.now)
            return
        for index, agent in self.home_agents.items():
            here = destination == ANYCAST and index == self.nearest
            if (here or destination == own_address(index)) and index in self.alive:
                agent.receive(packet, self.now)

    # Traffic

    def down(self, index: int, payload: bytes = b"down") -> bool:
        """A CN's packet reaches the MN by HA `index`; return whether it arrived."""
        before = len(self.at_host)
        self.home_agents[index].receive(packet_between(CN, HOA, payload), self.now)
        self.pump()
        return self.at_host[before:] == [packet_between(CN, HOA, payload)]

    def up_to_correspondent(self, payload: bytes = b"up") -> bool:
        """The MN's packet reaches its CN; return whether it arrived."""
        before = len(self.at_correspondent)
        self.mobile.encapsulate(packet_between(HOA, CN, payload), self.now)
        self.pump()
        return self.at_correspondent[before:] == [packet_between(HOA, CN, payload)]

    def sent_by(self, sender: object) -> list[Sent]:
        return [each for each in self.wire if each.sender == sender]

    def kinds(self) -> list[str]:
        return [event.kind for _, event in self.events]

    # Keys

    def fresh_key(self) -> bytes:
        return self.random.randbytes(Transform(self.mode.transform).key_length)

    def _mobile_keys(self) -> tuple[KeyedAssociation, ...]:
        transform = Transform(self.mode.transform)
        made = []
        for number, mode in enumerate((SaMode.TRANSPORT, SaMode.TUNNEL)):
            made += [
                KeyedAssociation(
                    0x01000100 + number, HOA, ANYCAST, mode, transform, self.fresh_key()
                ),
                KeyedAssociation(
                    0x00001000 + number, ANYCAST, HOA, mode, transform, self.fresh_key()
                ),
            ]
        return tuple(made)

    def _between(self, one: int, other: int) -> tuple[KeyedAssociation, ...]:
        pair = (min(one, other), max(one, other))
        if pair not in self._pair_keys:
            low, high = own_address(pair[0]), own_address(pair[1])
            self._pair_keys[pair] = tuple(
                KeyedAssociation(
                    0x02000100 + number,
                    source,
                    destination,
                    SaMode.TRANSPORT,
                    Transform.AES_128_GCM,
                    self.random.randbytes(20),
                )
                for number, (source, destination) in enumerate(((low, high), (high, low)))
            )
        return self._pair_keys[pair]

    def _home_agent(self, index: int, incarnation: int = 1) -> HomeAgent:
        others = [each for each in range(1, self.agents + 1) if each != index]
        config = HomeAgentConfig(
            name=f"HA{index}",
            index=index,
            address=own_address(index),
            directory=Path("unused"),
            home_prefix=HOME,
            home_agent_address=ANYCAST,
            mode=self.mode,
            origin_option=self.origin_option,
            peers=tuple(
                PeerConfig(f"HA{each}", each, own_address(each), Path("pair.toml"))
                for each in others
            ),
            timers=replace(HomeAgentTimers(), max_lifetime=420.0),
        )
        keys = {each: self._between(index, each) for each in others}
        return HomeAgent(config, incarnation, self.random.randbytes, keys)
