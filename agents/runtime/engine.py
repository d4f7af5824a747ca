"""What the runtime asks of a protocol engine: the surface of `agents.core`, as types.

The engines are written without I/O (after aioquic); everything here takes the time as an argument,
in seconds of CLOCK_MONOTONIC.
"""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from ipaddress import IPv6Address
from typing import Any, Protocol

from agents.config import PeerConfig
from agents.core.hold_down import Advertised
from agents.core.wishes import Wish
from agents.keys import KeyedAssociation


class EngineEvent(Protocol):
    """Something that happened, for the journal: a slug and JSON-able fields."""

    @property
    def kind(self) -> str:
        """The event's name, lower case with hyphens."""
        ...

    def fields(self) -> Mapping[str, Any]:
        """Return what else is known, ready for JSON."""
        ...


class Engine(Protocol):
    """The calls that both roles have."""

    @property
    def counters(self) -> MutableMapping[str, int]:
        """Counts by name, drops by reason among them."""
        ...

    def start(self, now: float) -> None:
        """Begin: first timers and messages."""
        ...

    def receive(self, packet: bytes, now: float) -> None:
        """Take one whole IPv6 packet from the network."""
        ...

    def packets_to_send(self, now: float) -> list[bytes]:
        """Hand over the whole IPv6 packets that wait for the network."""
        ...

    def packets_to_deliver(self) -> list[bytes]:
        """Hand over the decapsulated inner packets that wait."""
        ...

    def next_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called, None for never."""
        ...

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        ...

    def next_event(self) -> EngineEvent | None:
        """Return the oldest event not yet seen, None when there is none."""
        ...

    def load_keys(self, keyed: Iterable[KeyedAssociation], now: float, /) -> None:
        """Take SAs in place of those held; raises `ConfigError`."""
        ...

    def status(self) -> Any:
        """Return a summary, ready for JSON."""
        ...

    def bindings(self) -> Any:
        """Return the bindings (cache or update list), ready for JSON."""
        ...

    def sas(self) -> Any:
        """Return the security associations without their keys, ready for JSON."""
        ...

    def keyed(self) -> Sequence[KeyedAssociation]:
        """Return the security associations with their keys."""
        ...

    def peers(self) -> Any:
        """Return the peers, ready for JSON."""
        ...

    def key_counters(self) -> Mapping[str, int]:
        """Return the counters of key management; none where keys come from files."""
        ...


class HomeAgentEngine(Engine, Protocol):
    """A home agent's further verbs."""

    @property
    def last_advertised(self) -> Advertised | None:
        """When it last began to advertise: for the next life of this agent."""
        ...

    @property
    def associations_revision(self) -> tuple[int, ...]:
        """Another one whenever SAs or peers came or went."""
        ...

    def inbound_spis(self) -> set[int]:
        """Return the SPIs on which packets may arrive."""
        ...

    def care_of_addresses(self) -> set[IPv6Address]:
        """Return where the mobile nodes are that are bound."""
        ...

    def peer_addresses(self) -> set[IPv6Address]:
        """Return the own addresses of the peers."""
        ...

    def connectivity(self, reachable: bool, now: float) -> None:
        """Learn whether there is a route to any peer."""
        ...

    def resynchronise(self, now: float) -> None:
        """Ask the peers for what was missed, then advertise again."""
        ...

    def add_peer(self, peer: PeerConfig, keys: Sequence[KeyedAssociation], now: float) -> None:
        """Take another home agent in; raises `ValueError`."""
        ...

    def dismiss(self, index: int, reason: str, now: float) -> None:
        """Reckon with a peer no more; raises `ValueError` for none."""
        ...

    def leave(self, now: float) -> None:
        """Go for good; raises `ValueError` where nobody else serves."""
        ...

    def renew(self, home_address: IPv6Address, now: float, /) -> None:
        """Renew a mobile node's SAs; raises `ValueError` where that is impossible."""
        ...

    def isolate(self, index: int, cause: str, now: float) -> bool:
        """Put a home agent out for good; whether that is news; raises `ValueError`."""
        ...

    def readmit(self, index: int, now: float) -> None:
        """Let one that is isolated join again, in a later incarnation; raises `ValueError`."""
        ...

    def learn_revocations(self, octets: bytes, now: float) -> bool:
        """Take a signed revocation list; whether it is news; raises `ValueError`."""
        ...

    def load_secrets(self, secrets: Mapping[IPv6Address, bytes], now: float) -> None:
        """Know mobile nodes by these pre-shared keys alone; raises `ValueError`."""
        ...

    @property
    def isolated(self) -> Mapping[int, int]:
        """Who is isolated: index → incarnation, for the next life of this agent."""
        ...

    def paths(self) -> Any:
        """Return the paths to correspondents that this HA decides about, ready for JSON."""
        ...

    def revoke(self, home_address: IPv6Address, now: float, /) -> None:
        """Renew them and end the old ones at once; raises `ValueError`."""
        ...


class MobileNodeEngine(Engine, Protocol):
    """A mobile node's further verbs."""

    def encapsulate(self, packet: bytes, now: float) -> None:
        """Take one packet of the node's own host."""
        ...

    def care_of_address_added(self, address: IPv6Address, interface: str, now: float, /) -> None:
        """Learn of a usable care-of address."""
        ...

    def care_of_address_removed(self, address: IPv6Address, now: float, /) -> None:
        """Learn that a care-of address is gone."""
        ...

    def refresh(self, now: float) -> None:
        """Send a Binding Update now, where the node is registered."""
        ...

    def wish(self, wish: Wish, now: float) -> None:
        """Tell by which home agent the mobile node would like to be served; ValueError."""
        ...

    def load_secret(self, secret: bytes, now: float) -> None:
        """Use another pre-shared key; raises `ValueError` where keys come from files."""
        ...

    def home(self, number: int, /) -> "MobileNodeEngine":
        """Return the engine of one home by its number, from 1; raises `ValueError`."""
        ...

    def deregister(self, now: float) -> None:
        """Ask the home agent to forget the binding (lifetime 0)."""
        ...
