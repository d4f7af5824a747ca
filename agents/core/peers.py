"""The other home agents: who is there, as a failure detector tells (draft §3.3.3).

HELLO carries the sender's incarnation, and the receiver's as the sender knows it. Only a HELLO
that names the receiver's present incarnation proves that its sender lives now: what was recorded
before a restart names an older one. Keys and windows are those of `peer_associations`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, NamedTuple

from agents.core.peer_associations import PeerAssociations
from agents.core.timers import Timer

if TYPE_CHECKING:  # reading X.509 takes its time to import, and not everybody needs it
    from agents.core.ike.credentials import Verified


class PeerState(StrEnum):
    """What an HA believes of a peer."""

    UNKNOWN = "unknown"
    RESYNC = "resync"
    UP = "up"
    SUSPECT = "suspect"
    INVALID = "invalid"


class PeerEvent(StrEnum):
    """What moves a peer from one state to the next."""

    HEARD = "heard"
    """A sign of life: a HELLO, or the answer to a keepalive."""
    RESTARTED = "restarted"
    ASKED_BACK = "asked-back"
    """It fetches the table here, and has changes that it did not tell."""
    MISSED = "missed"
    MISSED_OUT = "missed-out"
    TABLE = "table"


PEER_TRANSITIONS: dict[PeerState, dict[PeerEvent, PeerState]] = {
    PeerState.UNKNOWN: {
        PeerEvent.HEARD: PeerState.RESYNC,
        PeerEvent.RESTARTED: PeerState.RESYNC,
        PeerEvent.ASKED_BACK: PeerState.RESYNC,
        PeerEvent.MISSED: PeerState.UNKNOWN,
        PeerEvent.MISSED_OUT: PeerState.INVALID,
        PeerEvent.TABLE: PeerState.UNKNOWN,
    },
    PeerState.RESYNC: {
        PeerEvent.HEARD: PeerState.RESYNC,
        PeerEvent.RESTARTED: PeerState.RESYNC,
        PeerEvent.ASKED_BACK: PeerState.RESYNC,
        PeerEvent.MISSED: PeerState.RESYNC,
        PeerEvent.MISSED_OUT: PeerState.INVALID,
        PeerEvent.TABLE: PeerState.UP,
    },
    PeerState.UP: {
        PeerEvent.HEARD: PeerState.UP,
        PeerEvent.RESTARTED: PeerState.RESYNC,
        PeerEvent.ASKED_BACK: PeerState.RESYNC,
        PeerEvent.MISSED: PeerState.SUSPECT,
        PeerEvent.MISSED_OUT: PeerState.INVALID,
        PeerEvent.TABLE: PeerState.UP,
    },
    PeerState.SUSPECT: {
        PeerEvent.HEARD: PeerState.UP,
        PeerEvent.RESTARTED: PeerState.RESYNC,
        PeerEvent.ASKED_BACK: PeerState.RESYNC,
        PeerEvent.MISSED: PeerState.SUSPECT,
        PeerEvent.MISSED_OUT: PeerState.INVALID,
        PeerEvent.TABLE: PeerState.SUSPECT,
    },
    PeerState.INVALID: {
        PeerEvent.HEARD: PeerState.RESYNC,
        PeerEvent.RESTARTED: PeerState.RESYNC,
        PeerEvent.ASKED_BACK: PeerState.RESYNC,
        PeerEvent.MISSED: PeerState.INVALID,
        PeerEvent.MISSED_OUT: PeerState.INVALID,
        PeerEvent.TABLE: PeerState.INVALID,
    },
}
"""State → event → next state."""

VALID = (PeerState.RESYNC, PeerState.UP, PeerState.SUSPECT)


@dataclass(slots=True, eq=False)
class Peer:
    """One other home agent. `misses` counts missed HELLOs, or unanswered keepalives, in a row."""

    name: str
    index: int
    address: IPv6Address
    associations: PeerAssociations = field(default_factory=PeerAssociations)
    state: PeerState = PeerState.UNKNOWN
    incarnation: int = 0
    ready: bool = False
    misses: int = 0
    deadline: Timer | None = None
    introductions: int = 0
    """HELLOs still to be sent to it by the keepalive detector."""
    fetching: bool = False
    """Whether its table is being fetched here."""
    proof: "Verified | None" = field(default=None, repr=False)
    """The certificate, with its chain, by which it has proved itself last; None with key files."""
    untold: bool = False
    """Whether changes here may not have been told to it, and it has not fetched them since."""

    @property
    def valid(self) -> bool:
        """Whether it is to be told of changes: it answered lately."""
        return self.state in VALID

    def handle(self, event: PeerEvent) -> bool:
        """Move along `PEER_TRANSITIONS`; return whether the state changed."""
        before = self.state
        self.state = PEER_TRANSITIONS[before][event]
        return self.state is not before


class Dismissed(NamedTuple):
    """A home agent that was a peer, and why it is none any more."""

    peer: Peer
    reason: str


class Peers:
    """All peers as they come and go, by index and by address (design §10, rule 6)."""

    def __init__(self, peers: list[Peer]) -> None:
        self._by_index: dict[int, Peer] = {}
        self._by_address: dict[IPv6Address, Peer] = {}
        self._by_octets: dict[bytes, Peer] = {}
        self._left: dict[IPv6Address, Peer] = {}
        self.dismissed: dict[int, Dismissed] = {}
        """HAs that were peers and are not any more, by index."""
        for peer in peers:
            self.add(peer)

    def __iter__(self) -> Iterator[Peer]:
        return iter(tuple(self._by_index.values()))

    def __len__(self) -> int:
        return len(self._by_index)

    def add(self, peer: Peer) -> None:
        """Reckon with `peer` from now on; raise `ValueError` if its index or address is taken.

        Who was a peer before has lived before: see `_go_on`.
        """
        for held in (self._by_index.get(peer.index), self._by_address.get(peer.address)):
            if held is not None:
                raise ValueError(
                    f"{peer.name}: index {peer.index} and address {peer.address} must be its own; "
                    f"{held.name} has {held.index} and {held.address}"
                )
        self._by_index[peer.index] = peer
        self._by_address[peer.address] = peer
        self._by_octets[peer.address.packed] = peer
        self._left.pop(peer.address, None)
        before = self.dismissed.pop(peer.index, None)
        if before is not None:
            _go_on(peer, before.peer)

    def remove(self, peer: Peer, reason: str) -> None:
        """Reckon with `peer` no more."""
        del self._by_index[peer.index]
        del self._by_address[peer.address]
        del self._by_octets[peer.address.packed]
        self.dismissed[peer.index] = Dismissed(peer, reason)

    def say_farewell(self, peer: Peer) -> None:
        """`peer` left by itself, and may not have heard that this was heard."""
        self._left[peer.address] = peer

    def end_farewell(self, peer: Peer) -> bool:
        """It has had the time; return whether it is still one that has left."""
        return self._left.pop(peer.address, None) is peer

    def leavers(self) -> tuple[Peer, ...]:
        """Return the peers that have left, and may still be heard for a while."""
        return tuple(self._left.values())

    def leaver(self, address: IPv6Address) -> Peer | None:
        """Return the home agent at `address` that has just left, or None."""
        return self._left.get(address)

    def is_gone(self, index: int) -> bool:
        """Whether that HA is invalid, or was dismissed; not whether it was never heard of.

        0 is nobody: what an isolated HA says of its roles is void (rule 13).
        """
        peer = self._by_index.get(index)
        if peer is None:
            return not index or index in self.dismissed
        return peer.state is PeerState.INVALID

    def by_index(self, index: int) -> Peer | None:
        """Return the peer with that HA index, or None (this HA itself, or a stranger)."""
        return self._by_index.get(index)

    def by_address(self, address: IPv6Address) -> Peer | None:
        """Return the peer with that own address, or None for a stranger."""
        return self._by_address.get(address)

    def by_octets(self, address: bytes) -> Peer | None:
        """Return the peer with an own address as it stands in packets, or None."""
        return self._by_octets.get(address)

    def valid(self) -> list[Peer]:
        """Return the peers that are there, as far as is known."""
        return [peer for peer in self if peer.valid]

    def to_tell(self) -> list[Peer]:
        """Return the peers to tell of a change, and note which ones are not told."""
        for peer in self:
            peer.untold = peer.untold or not peer.valid
        return self.valid()


def _go_on(peer: Peer, before: Peer) -> None:
    """Let nothing begin anew that the last holder of this index has used up.

    No number of an SA with it may come twice, in either direction; and SIDs that it has sent with
    are not for another HA that takes its index (rule 3): that one needs a higher incarnation.
    """
    another = peer.address != before.address
    peer.incarnation = max(peer.incarnation, before.incarnation + another)
    if another:
        return
    for each in peer.associations:
        held = before.associations.find(each.inbound.spi)
        if held is not None and held.outbound.keyed() == each.outbound.keyed():
            peer.associations.remove(each)
            peer.associations.add(held)
