"""Security associations: what every home agent shares about one, and what each keeps to itself.

An association is shared (draft §2): key, SPI, selectors, generation. The outbound counter and the
inbound windows are each sender's and receiver's own; only floors of them travel (rule 5).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address

from agents.config import MAX_SEQUENCE, SOFT_LIMIT
from agents.core.replay_window import SingleWindow, Windows
from agents.keys import KeyedAssociation
from agents.wire.transforms import Mode as SaMode
from agents.wire.transforms import Transform

KEPT_BACK = 8
"""Numbers below the limit that are left to Binding Refresh Requests (design §10, rule 1)."""


class SaState(StrEnum):
    """The life of an SA: larval, it is received on; mature, also sent on (design §10, rule 9)."""

    LARVAL = "larval"
    MATURE = "mature"
    DYING = "dying"
    DEAD = "dead"


class SaEvent(StrEnum):
    """What moves an SA from one state to the next."""

    ACTIVATED = "activated"
    RENEWED = "renewed"
    DELETED = "deleted"


SA_TRANSITIONS: dict[SaState, dict[SaEvent, SaState]] = {
    SaState.LARVAL: {
        SaEvent.ACTIVATED: SaState.MATURE,
        SaEvent.RENEWED: SaState.DYING,
        SaEvent.DELETED: SaState.DEAD,
    },
    SaState.MATURE: {SaEvent.RENEWED: SaState.DYING, SaEvent.DELETED: SaState.DEAD},
    SaState.DYING: {SaEvent.DELETED: SaState.DEAD},
    SaState.DEAD: {},
}
"""State → event → next state; an event that a state does not name is a fault of the program."""


@dataclass(slots=True, eq=False)
class SecurityAssociation:
    """One direction of one SA. `source` and `destination` are selectors (RFC 3776 §4.2)."""

    spi: int
    home_address: IPv6Address
    source: IPv6Address
    destination: IPv6Address
    mode: SaMode
    transform: Transform
    key: bytes = field(repr=False)
    generation: int = 1
    state: SaState = SaState.MATURE
    counter: int = 0
    """The number last sent here; 32 bits go out as sequence number (RFC 4303 §2.2)."""
    meant: dict[int, int] = field(default_factory=dict)
    """At a mobile node, the number last sent to one home agent's own address, by SID (rule 11)."""
    soft_limit: int = SOFT_LIMIT
    limit: int = MAX_SEQUENCE
    silent: bool = False
    """Draft mode: this HA restarted and must not send on it (rule 3)."""
    windows: Windows = field(default_factory=SingleWindow)
    inbound_floor: int = 0
    """The highest number that another HA reported to have received (rule 5)."""
    outbound_floor: int = 0
    """The highest number that another HA reported to have sent (rules 5 and 7)."""
    served: bool = False
    """Whether the mobile node's packets come here now (rule 5)."""
    unreported: int = 0
    """Packets since the last Replay Floor."""
    marked_due: bool = False
    """A peer asked for its renewal, or its lifetime is over (rules 1 and 9)."""
    vouched: bool = True
    """Made here, or told by the home agent in whose range it is (rule 13)."""
    used: float = 0.0
    """When an authentic packet last came on it, counted only while it is dying; in seconds."""
    home_octets: bytes = field(init=False, repr=False)
    """The home address as it stands in packets: hashing an `IPv6Address` costs 1 µs."""

    def __post_init__(self) -> None:
        self.home_octets = self.home_address.packed

    @property
    def inbound(self) -> bool:
        """Whether the home agents receive on it."""
        return self.source == self.home_address

    @property
    def renewal_due(self) -> bool:
        """Whether its numbers, sent or received here, or its time are near their end (§3.2.2)."""
        if self.marked_due or self.silent or self.counter >= self.soft_limit:
            return True
        windows = self.windows
        return isinstance(windows, SingleWindow) and windows.highest >= self.soft_limit

    @property
    def can_send(self) -> bool:
        """Whether it has numbers left for payload here."""
        return not self.silent and self.counter < self.limit - KEPT_BACK

    def handle(self, event: SaEvent) -> None:
        """Move along `SA_TRANSITIONS`; raise `KeyError` for an event that does not apply."""
        self.state = SA_TRANSITIONS[self.state][event]

    def keyed(self) -> KeyedAssociation:
        """Return selectors, SPI and key as a key file has them."""
        return KeyedAssociation(
            self.spi, self.source, self.destination, self.mode, self.transform, self.key
        )


class SecurityAssociationDatabase:
    """All SAs of an agent, found by SPI when receiving and by home address and use when sending.

    SPIs of the two directions live in two name spaces: receivers choose them (RFC 4303 §2.1).
    """

    def __init__(self) -> None:
        self.revision = 0
        """Another one whenever an SA came or went."""
        self._inbound: dict[int, SecurityAssociation] = {}
        self._outbound: dict[tuple[int, IPv6Address], SecurityAssociation] = {}
        self._by_home: dict[IPv6Address, list[SecurityAssociation]] = {}
        self._graves: dict[tuple[int, IPv6Address, IPv6Address], SecurityAssociation] = {}

    def __len__(self) -> int:
        return len(self._inbound) + len(self._outbound)

    def add(self, association: SecurityAssociation, *, inbound: bool) -> None:
        """Hold `association`; `inbound` is from this agent's point of view."""
        self.revision += 1
        if inbound:
            self._inbound[association.spi] = association
        else:
            self._outbound[association.spi, association.destination] = association
        held = self._by_home.setdefault(association.home_address, [])
        held[:] = [each for each in held if not _same(each, association)]
        held.append(association)

    def remove(self, association: SecurityAssociation) -> None:
        """Forget `association`."""
        self.revision += 1
        if self._inbound.get(association.spi) is association:
            del self._inbound[association.spi]
        self._outbound.pop((association.spi, association.destination), None)
        held = self._by_home.get(association.home_address, [])
        held[:] = [each for each in held if each is not association]
        if not held:
            self._by_home.pop(association.home_address, None)

    def inbound_spis(self) -> Iterable[int]:
        """Return the SPIs on which packets may arrive."""
        return self._inbound.keys()

    def by_spi(self, spi: int) -> SecurityAssociation | None:
        """Return the SA on which a packet with `spi` arrived, or None."""
        return self._inbound.get(spi)

    def find(
        self, spi: int, source: IPv6Address, destination: IPv6Address
    ) -> SecurityAssociation | None:
        """Return the SA with these selectors and SPI in either direction, or None."""
        for held in (self._inbound.get(spi), self._outbound.get((spi, destination))):
            if held is not None and (held.source, held.destination) == (source, destination):
                return held
        return None

    def of(self, home_address: IPv6Address) -> Iterable[SecurityAssociation]:
        """Return all SAs of one mobile node."""
        return tuple(self._by_home.get(home_address, ()))

    def outbound(self, home_address: IPv6Address, mode: SaMode) -> SecurityAssociation | None:
        """Return the SA to send on towards (HA) or from (MN) `home_address`, or None.

        The newest mature one. Where its numbers are used up, or it is gone, a larval one, which
        the other end holds already; one without numbers only if there is no other.
        """
        best: SecurityAssociation | None = None
        best_rank = (False, 0, 0)
        for each in self._by_home.get(home_address, ()):
            if each.mode is not mode or each.state is SaState.DEAD:
                continue
            if self._outbound.get((each.spi, each.destination)) is not each:
                continue
            rank = (each.can_send, _PREFERENCE[each.state], each.generation)
            if best is None or rank > best_rank:
                best, best_rank = each, rank
        return best

    def generation(self, home_address: IPv6Address) -> int:
        """Return the newest generation held for `home_address`; 0 for none."""
        return max((each.generation for each in self._by_home.get(home_address, ())), default=0)

    def bury(self, association: SecurityAssociation) -> None:
        """Forget `association` and its key, but remember that it is dead."""
        self.remove(association)
        association.key = bytes(len(association.key))
        self._graves[_name(association)] = association

    def exhume(self, association: SecurityAssociation) -> None:
        """Forget also that it is dead."""
        if self._graves.get(_name(association)) is association:
            del self._graves[_name(association)]

    def grave(
        self, spi: int, source: IPv6Address, destination: IPv6Address
    ) -> SecurityAssociation | None:
        """Return the dead SA of that name, or None."""
        return self._graves.get((spi, source, destination))

    def graves(self) -> tuple[SecurityAssociation, ...]:
        """Return the dead SAs that are remembered; their keys are zeroes."""
        return tuple(self._graves.values())

    def __iter__(self) -> Iterator[SecurityAssociation]:
        for held in self._by_home.values():
            yield from held


_PREFERENCE = {SaState.MATURE: 3, SaState.LARVAL: 2, SaState.DYING: 1}


def _name(association: SecurityAssociation) -> tuple[int, IPv6Address, IPv6Address]:
    return association.spi, association.source, association.destination


def _same(one: SecurityAssociation, other: SecurityAssociation) -> bool:
    return _name(one) == _name(other)
