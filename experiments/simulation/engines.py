"""Home agents and mobile nodes back to back: a heap of packets, a clock that jumps.

Packets to the home network go to the home agent of the lowest index that advertises it. Every
message between home agents is recorded with its size on the wire.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from agents.config import Mode
from agents.core.events import AdvertisePrefix, WithdrawPrefix
from agents.core.home_agent import HomeAgent
from agents.core.mobile_node import MobileNode
from agents.keys import Transform
from agents.wire import esp, inter_ha, ipv6
from experiments.simulation import configuration
from topologies import addressing

Engine = HomeAgent | MobileNode


@dataclass(frozen=True, slots=True)
class Sent:
    """One message between home agents: time in s, HA indexes, octets of the whole packet."""

    time: float
    sender: int
    receiver: int
    octets: int
    message: inter_ha.InterHaMessage


class Simulation:
    """Some home agents and mobile nodes. `now` is in seconds, `one_way` the delay of any path."""

    def __init__(
        self,
        home_agents: int,
        seed: int = 1,
        mode: Mode = Mode.HARDENED,
        one_way: float = 0.001,
        **options: object,
    ) -> None:
        """`options` are fields of every `HomeAgentConfig`."""
        self.now = 0.0
        self.one_way = one_way
        self.sent: list[Sent] = []
        self.home_agents: dict[int, HomeAgent] = {}
        self.mobile_nodes: dict[int, MobileNode] = {}
        self.advertising: set[int] = set()
        self._members = range(1, home_agents + 1)
        self._chance = random.Random(seed)
        self._mode = mode
        self._options = options
        self._incarnations = dict.fromkeys(self._members, 0)
        self._generations: dict[int, int] = {}
        self._care_of: dict[int, IPv6Address] = {}
        self._pair_keys = configuration.pair_keys(self._members, self._chance)
        self._index = {configuration.own_address(index): index for index in self._members}
        self._ciphers = {
            (key.source, key.destination): esp.make_cipher(key.transform, key.key)
            for keys in self._pair_keys.values()
            for pair in keys.values()
            for key in pair
        }
        self._packets: list[tuple[float, int, bytes]] = []
        self._order = itertools.count()

    # What may happen.

    def start_home_agents(self) -> None:
        """Start every home agent."""
        for index in self._members:
            self.start_home_agent(index)

    def start_home_agent(self, index: int) -> None:
        """Start a home agent, for the first time or again."""
        self._incarnations[index] += 1
        config = configuration.home_agent(index, self._members, mode=self._mode, **self._options)
        engine = HomeAgent(
            config, self._incarnations[index], self._chance.randbytes, self._pair_keys[index]
        )
        self.home_agents[index] = engine
        engine.start(self.now)
        self._collect()

    def kill_home_agent(self, index: int) -> None:
        """End a home agent without a word."""
        del self.home_agents[index]
        self.advertising.discard(index)

    def start_mobile_node(self, number: int) -> None:
        """Make a mobile node with keys of its own; it is nowhere yet."""
        config = configuration.mobile_node(number)
        self.mobile_nodes[number] = MobileNode(config, self._chance.randbytes)
        self.renew_keys(number)
        self.mobile_nodes[number].start(self.now)
        self._collect()

    def renew_keys(self, number: int, holder: int = 1) -> None:
        """Give a mobile node and home agent `holder` fresh SAs, in place of those held."""
        generation = self._generations[number] = self._generations.get(number, 0) + 1
        transform = Transform(self._mode.transform)
        keys = configuration.mobile_keys(number, generation, holder, transform, self._chance)
        self.mobile_nodes[number].load_keys(keys, self.now)
        self.home_agents[holder].load_keys(keys, self.now)
        self._collect()

    def move(self, number: int, network: int) -> None:
        """Attach a mobile node to a visited network, and detach it from the one before."""
        engine, previous = self.mobile_nodes[number], self._care_of.get(number)
        address = addressing.care_of_address(network, number)
        self._care_of[number] = address
        engine.care_of_address_added(address, f"v{network}", self.now)
        if previous is not None:
            engine.care_of_address_removed(previous, self.now)
        self._collect()

    def deregister(self, number: int) -> None:
        """Let a mobile node end its binding."""
        self.mobile_nodes[number].deregister(self.now)
        self._collect()

    # Time.

    def run(self, seconds: float) -> None:
        """Let so much virtual time pass."""
        end = self.now + seconds
        while True:
            times = [self._packets[0][0]] if self._packets else []
            times += [when for each in self._engines() if (when := each.next_timer()) is not None]
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            while self._packets and self._packets[0][0] <= self.now:
                self._arrive(heapq.heappop(self._packets)[2])
            for engine in self._engines():
                if (when := engine.next_timer()) is not None and when <= self.now:
                    engine.handle_timer(self.now)
            self._collect()
        self.now = end

    def _engines(self) -> list[Engine]:
        return [*self.home_agents.values(), *self.mobile_nodes.values()]

    # Packets.

    def _collect(self) -> None:
        for engine in self._engines():
            for packet in engine.packets_to_send(self.now):
                self._send(packet)
            engine.packets_to_deliver()
        for index, home_agent in self.home_agents.items():
            while (event := home_agent.next_event()) is not None:
                if isinstance(event, AdvertisePrefix):
                    self.advertising.add(index)
                elif isinstance(event, WithdrawPrefix):
                    self.advertising.discard(index)

    def _send(self, packet: bytes) -> None:
        ends = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
        cipher = self._ciphers.get(ends)
        if cipher is not None:
            payload, _ = cipher.open(packet[ipv6.HEADER_LENGTH :])
            message = inter_ha.parse_inter_ha(payload, *ends)
            sender, receiver = (self._index[end] for end in ends)
            self.sent.append(Sent(self.now, sender, receiver, len(packet), message))
        arrival = self.now + self.one_way
        heapq.heappush(self._packets, (arrival, next(self._order), packet))

    def _arrive(self, packet: bytes) -> None:
        receiver = self._receiver(IPv6Address(packet[24:40]))
        if receiver is not None:
            receiver.receive(packet, self.now)
            self._collect()

    def _receiver(self, destination: IPv6Address) -> Any:
        if destination in self._index:
            return self.home_agents.get(self._index[destination])
        if destination in addressing.HOME_PREFIX:
            return self.home_agents.get(min(self.advertising, default=0))
        for number, care_of in self._care_of.items():
            if care_of == destination:
                return self.mobile_nodes[number]
        return None
