"""A Child SA as its host installs it, and what the engine remembers of it."""

from dataclasses import dataclass, field

from agents.core.ike.config import ChildRequest
from agents.core.ike.states import CHILD_TRANSITIONS, ChildState, ChildTrigger
from agents.wire.ike.selectors import TrafficSelector
from agents.wire.transforms import Mode as SaMode
from agents.wire.transforms import Transform


@dataclass(frozen=True, slots=True)
class ChildSa:
    """A pair of ESP SAs, seen from here; keys as `agents.wire.transforms` lays them out.

    The selectors are those that both ends agreed on. `encapsulation` is (local port, remote
    port) where ESP travels in UDP (RFC 3948), else None.
    """

    name: str
    mode: SaMode
    transform: Transform
    inbound_spi: int
    outbound_spi: int
    inbound_key: bytes = field(repr=False)
    outbound_key: bytes = field(repr=False)
    local: tuple[TrafficSelector, ...]
    remote: tuple[TrafficSelector, ...]
    encapsulation: tuple[int, int] | None = None

    def request(self) -> ChildRequest:
        """Return what asks for the same once more."""
        return ChildRequest(self.name, self.local, self.remote, self.mode, self.transform)

    def fields(self) -> dict[str, object]:
        """Return all but the keys, ready for JSON."""
        return {
            "name": self.name,
            "mode": str(self.mode),
            "transform": str(self.transform),
            "inbound_spi": self.inbound_spi,
            "outbound_spi": self.outbound_spi,
            "local": [str(each) for each in self.local],
            "remote": [str(each) for each in self.remote],
            "encapsulation": self.encapsulation,
        }


@dataclass(slots=True, eq=False)
class Child:
    """A Child SA under its IKE SA."""

    sa: ChildSa
    state: ChildState = ChildState.INSTALLED
    reported: bool = True
    """Whether the host knows of it."""
    ours: tuple[bytes, int] | None = None
    """A rekey begun here: (the lower of its nonces, its new inbound SPI), RFC 7296 §2.8.1."""
    theirs: tuple[bytes, int] | None = None
    """The same of a rekey that the peer began."""

    def handle(self, trigger: ChildTrigger) -> None:
        """Move along `CHILD_TRANSITIONS`; raise `KeyError` for a trigger that does not apply."""
        self.state = CHILD_TRANSITIONS[self.state][trigger]

    def can(self, trigger: ChildTrigger) -> bool:
        """Whether `trigger` applies now."""
        return trigger in CHILD_TRANSITIONS[self.state]
