"""A mobile node with several home addresses: an engine for each, and the choice between them.

Draft §4.2: each home network is a basic scenario of its own, with a home agent address, SAs, M and
a SID table; home agents of different ones know nothing of one another. So a `MobileNode` stays what
it is, and this hands each of them what belongs to its home: inbound by the home agent address,
outbound by the home address. All share the care-of address. `home_choice` says which home new flows
use.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from agents.config import ConfigError
from agents.core.counters import Counters
from agents.core.events import Event
from agents.core.home_choice import HomeChoice
from agents.core.mobile_events import RegistrationAcknowledged, RegistrationSent
from agents.core.mobile_node import MobileNode
from agents.core.wishes import Wish
from agents.keys import KeyedAssociation
from agents.wire import icmpv6, ipv6
from agents.wire.errors import WireError

_NEXT_HEADER = 6
_SOURCE = slice(8, 24)
_DESTINATION = slice(24, 40)


@dataclass(slots=True)
class _Home:
    """One home: its number from 1, its engine, and whether that was bound when last seen."""

    number: int
    engine: MobileNode
    bound: bool = False


@dataclass(frozen=True, slots=True)
class OfHome:
    """An event of one home's engine, with the home's number."""

    event: Event
    home: int

    @property
    def kind(self) -> str:
        """The event's own name."""
        return self.event.kind

    def fields(self) -> dict[str, object]:
        """Return its own fields and `home`."""
        return {**self.event.fields(), "home": self.home}


class MobileHomes:
    """Several `MobileNode` engines as one, with the same surface (design §7)."""

    def __init__(self, engines: Sequence[MobileNode]) -> None:
        """`engines` in order of preference, each with a home network of its own."""
        self.counters = Counters()
        self._homes = [_Home(number, each) for number, each in enumerate(engines, start=1)]
        for each in engines:
            each.counters = self.counters
        configs = [each.config for each in engines]
        self._by_home = {
            config.home_address.packed: home
            for config, home in zip(configs, self._homes, strict=True)
        }
        self._by_home_agent = {
            config.home_agent_address.packed: home
            for config, home in zip(configs, self._homes, strict=True)
        }
        self._prefixes = [config.home_prefix for config in configs]
        self._care_of: set[bytes] = set()
        self._events: deque[Event | OfHome] = deque()
        self.choice = HomeChoice(
            [(config.home_address, config.timers) for config in configs],
            self._probe,
            self._events.append,
        )

    def home(self, number: int) -> MobileNode:
        """Return the engine of home `number`; ValueError names those that there are."""
        if not 1 <= number <= len(self._homes):
            raise ValueError(f"no home {number!r}; there are 1 to {len(self._homes)}")
        return self._homes[number - 1].engine

    # Verbs, to all homes

    def load_secret(self, secret: bytes, now: float) -> None:
        """Use another pre-shared key; `ValueError` where keys come from files."""
        for each in self._homes:
            each.engine.load_secret(secret, now)

    def load_keys(self, associations: Iterable[KeyedAssociation], now: float) -> None:
        """Give each home the SAs of its home address; raises `ConfigError`."""
        by_home: dict[bytes, list[KeyedAssociation]] = {}
        for each in associations:
            ends = {each.source.packed, each.destination.packed} & self._by_home.keys()
            if len(ends) != 1:
                raise ConfigError(
                    f"key file: {each.source} → {each.destination}: not of one of this node's home "
                    "addresses; correct the selectors"
                )
            by_home.setdefault(ends.pop(), []).append(each)
        for home_address, own in by_home.items():
            self._by_home[home_address].engine.load_keys(own, now)

    def start(self, now: float) -> None:
        """Register every home."""
        for home in self._homes:
            home.engine.start(now)

    def deregister(self, now: float) -> None:
        """End every registration."""
        for home in self._homes:
            home.engine.deregister(now)

    def refresh(self, now: float) -> None:
        """Refresh every registration."""
        for home in self._homes:
            home.engine.refresh(now)

    def wish(self, wish: Wish, now: float) -> None:
        """Tell every home; an index stands for a home agent of one of them only."""
        for home in self._homes:
            home.engine.wish(wish, now)

    def care_of_address_added(self, address: IPv6Address, interface: str, now: float) -> None:
        """Register `address` with every home; one of a home network is none."""
        if any(address in prefix for prefix in self._prefixes):
            self.counters["addresses-ignored"] += 1
            return
        self._care_of.add(address.packed)
        for home in self._homes:
            home.engine.care_of_address_added(address, interface, now)
        self.choice.attached(True, now)

    def care_of_address_removed(self, address: IPv6Address, now: float) -> None:
        """Forget `address` with every home."""
        self._care_of.discard(address.packed)
        for home in self._homes:
            home.engine.care_of_address_removed(address, now)
        self.choice.attached(bool(self._care_of), now)

    # Packets and timers

    def receive(self, packet: bytes, now: float) -> None:
        """Give one packet of the network to the home whose home agent address it comes from."""
        home = self._by_home_agent.get(packet[_SOURCE])
        if home is None:
            if len(packet) > _NEXT_HEADER and packet[_NEXT_HEADER] == ipv6.ICMPV6:
                self._receive_error(packet, now)
                return
            home = self._homes[0]  # which counts what it is
        before = self.counters["tunnel.received"]
        home.engine.receive(packet, now)
        if self.counters["tunnel.received"] != before and home.bound:
            self.choice.heard(home.number, True, now)

    def encapsulate(self, packet: bytes, now: float) -> None:
        """Tunnel one packet of the host by the home whose address is its source."""
        home = self._by_home.get(packet[_SOURCE])
        if home is None:
            self.counters.drop("inner-source")
            return
        before = self.counters["tunnel.sent"]
        home.engine.encapsulate(packet, now)
        if self.counters["tunnel.sent"] != before:
            self.choice.sent(home.number, now)

    def packets_to_send(self, now: float) -> list[bytes]:
        """Return and forget the packets for the network.

        Whoever drives the engine asks after whatever happens: so this is where the homes' own
        events are looked at, once for many packets.
        """
        self._collect_all(now)
        return [each for home in self._homes for each in home.engine.packets_to_send(now)]

    def packets_to_deliver(self) -> list[bytes]:
        """Return and forget the inner packets for the host."""
        return [each for home in self._homes for each in home.engine.packets_to_deliver()]

    def next_timer(self) -> float | None:
        """Return when `handle_timer` is due, in seconds on the caller's clock."""
        times = [home.engine.next_timer() for home in self._homes]
        times.append(self.choice.next_timer())
        return min((each for each in times if each is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Run what is due."""
        for home in self._homes:
            due = home.engine.next_timer()
            if due is not None and due <= now:
                home.engine.handle_timer(now)
        self._collect_all(now)
        self.choice.handle_timer(now)

    def next_event(self) -> Event | OfHome | None:
        """Return and forget the oldest event."""
        return self._events.popleft() if self._events else None

    def key_counters(self) -> dict[str, int]:
        """Return the counters of key management, of all homes together."""
        total = Counters()
        for home in self._homes:
            total.update(home.engine.key_counters())
        return dict(total)

    # What a person may ask

    def status(self) -> dict[str, object]:
        """Return the state of the home that new flows use, and of all: `bound` is of all."""
        chosen = self.choice.chosen
        whole: dict[str, object] = dict(self.home(chosen).status())
        whole["bound"] = all(home.engine.registration.bound for home in self._homes)
        whole["home"] = chosen
        whole["homes"] = [
            {**self._number(home), **home.engine.status()} for home in self._homes
        ]  # fmt: skip
        return whole

    def bindings(self) -> list[dict[str, object]]:
        """Return the Binding Update List, an entry a home."""
        return [
            {**each, **self._number(home)}
            for home in self._homes
            for each in home.engine.bindings()
        ]

    def sas(self) -> list[dict[str, object]]:
        """Return the security associations of all homes; their ends tell them apart."""
        return [each for home in self._homes for each in home.engine.sas()]

    def keyed(self) -> list[KeyedAssociation]:
        """Return the SAs with their keys: for captures, on request."""
        return [each for home in self._homes for each in home.engine.keyed()]

    def peers(self) -> list[dict[str, object]]:
        """Return the home agents that may send, of all homes."""
        return [
            {**each, "home": home.number} for home in self._homes for each in home.engine.peers()
        ]

    def _number(self, home: _Home) -> Mapping[str, Any]:
        return {
            "home": home.number,
            "primary": home.engine.acknowledged_by,
            "standing": str(self.choice.standing(home.number)),
            "new_flows": self.choice.chosen == home.number,
        }

    # The choice

    def _probe(self, number: int, now: float) -> None:
        self._homes[number - 1].engine.probe(now)

    def _receive_error(self, packet: bytes, now: float) -> None:
        """Nobody can protect a Destination Unreachable: a hint, never a verdict (rule 14)."""
        try:
            quoted = icmpv6.parse_destination_unreachable(packet)
        except WireError as error:
            self.counters.drop(error.reason)
            return
        home = self._by_home_agent.get(quoted[_DESTINATION])
        if home is None or quoted[_SOURCE] not in self._care_of:
            self.counters.drop("error-not-ours")
            return
        self.counters["received.destination-unreachable"] += 1
        self.choice.hint(home.number, now)

    def _collect_all(self, now: float) -> None:
        for home in self._homes:
            self._collect(home, now)

    def _collect(self, home: _Home, now: float) -> None:
        """Take a home's events, and tell the choice what they mean."""
        while (event := home.engine.next_event()) is not None:
            self._events.append(OfHome(event, home.number))
            if isinstance(event, RegistrationSent):
                self.choice.sent(home.number, now)
            elif isinstance(event, RegistrationAcknowledged):
                self.choice.heard(home.number, False, now)
        bound = home.engine.registration.bound
        if bound != home.bound:
            home.bound = bound
            self.choice.registered(home.number, bound, now)
