"""What a mobile node reports to its journal; see `agents.core.events` for the base."""

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import ClassVar

from agents.core.events import Event


@dataclass(frozen=True, slots=True)
class RegistrationSent(Event):
    """A Binding Update left; `lifetime` in seconds, 0 deregisters; `attempt` counts from 1."""

    kind: ClassVar[str] = "registration-sent"
    care_of_address: IPv6Address
    sequence: int
    lifetime: int
    attempt: int
    state: str


@dataclass(frozen=True, slots=True)
class RegistrationAcknowledged(Event):
    """The home agent accepted; `lifetime` is what it granted and `delay` the wait, in seconds."""

    kind: ClassVar[str] = "registration-acknowledged"
    care_of_address: IPv6Address
    sequence: int
    status: int
    lifetime: int
    delay: float


@dataclass(frozen=True, slots=True)
class RegistrationRefused(Event):
    """The home agent refused, or granted no lifetime; the next try follows in `retry` seconds."""

    kind: ClassVar[str] = "registration-refused"
    sequence: int
    status: int
    retry: float


@dataclass(frozen=True, slots=True)
class RegistrationRenumbered(Event):
    """Status 135: sequence numbers continue after `sequence`, the last that the HA accepted."""

    kind: ClassVar[str] = "registration-renumbered"
    sequence: int


@dataclass(frozen=True, slots=True)
class RegistrationEnded(Event):
    """The binding is over; `reason` is `expired` or `deregistered`."""

    kind: ClassVar[str] = "registration-ended"
    reason: str


@dataclass(frozen=True, slots=True)
class Moved(Event):
    """Another care-of address is the active one; None when the last one went."""

    kind: ClassVar[str] = "moved"
    care_of_address: IPv6Address | None
    previous: IPv6Address | None
    interface: str


@dataclass(frozen=True, slots=True)
class Multihomed(Event):
    """The M bit of the Binding Acknowledgement has another value than before (draft §3.1)."""

    kind: ClassVar[str] = "multihomed"
    multihomed: bool


@dataclass(frozen=True, slots=True)
class SidTableInstalled(Event):
    """The home agents that may send, as the acknowledgement lists them: index → own address."""

    kind: ClassVar[str] = "sid-table"
    version: int
    home_agents: dict[int, str]


@dataclass(frozen=True, slots=True)
class CorrespondentMapInstalled(Event):
    """Where packets to correspondents go, as the acknowledgement says: correspondent → address.

    All others go to the home agent address.
    """

    kind: ClassVar[str] = "correspondent-map"
    correspondents: dict[str, str]


@dataclass(frozen=True, slots=True)
class OriginChanged(Event):
    """The first tunnel packet of a home agent that was silent for `QUIET` seconds, or for ever.

    `origin` is the home agent's own address ("" where nothing names it), `previous` that of the
    one heard before, `incarnation` the lower bits of its SID (hardened mode).
    """

    kind: ClassVar[str] = "origin-changed"
    origin: str
    incarnation: int | None
    previous: str


@dataclass(frozen=True, slots=True)
class KeysRenewed(Event):
    """Fresh SAs are held beside the old ones; `generation` is counted by the mobile node."""

    kind: ClassVar[str] = "keys-renewed"
    generation: int


@dataclass(frozen=True, slots=True)
class KeysSwitched(Event):
    """The mobile node sends on SAs of this `generation` from now on."""

    kind: ClassVar[str] = "keys-switched"
    generation: int


@dataclass(frozen=True, slots=True)
class HomeStanding(Event):
    """One of several home addresses works, failed or recovers (rule 14); `home` counts from 1.

    `cause` is the event in `home_choice.STANDING_TRANSITIONS`.
    """

    kind: ClassVar[str] = "home-standing"
    home: int
    home_address: IPv6Address
    standing: str
    cause: str


@dataclass(frozen=True, slots=True)
class HomeSuspected(Event):
    """A home is probed; `cause`: nothing was heard (`silence`), or an unprotected `hint`."""

    kind: ClassVar[str] = "home-suspected"
    home: int
    home_address: IPv6Address
    cause: str


@dataclass(frozen=True, slots=True)
class HomeChosen(Event):
    """New flows use this home address from now on; `previous` is the number of the one before."""

    kind: ClassVar[str] = "home-chosen"
    home: int
    home_address: IPv6Address
    previous: int
