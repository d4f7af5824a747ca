"""What a home agent proves against itself by what it says (draft §5; design §10, rule 13).

What comes on the SA with a peer, that peer has said. It is proof of misconduct if no honest home
agent says it, whatever is lost, late, repeated, cut off or restarted, and whatever a liar has told
the honest one. So what an HA has from others and hands on proves nothing: only what it can know
by itself alone does. All else is suspicion: refused or counted where it is met, and no proof.
"""

from collections import OrderedDict
from collections.abc import Hashable
from hashlib import sha256
from ipaddress import IPv6Address
from typing import NamedTuple, TypeVar

from agents.config import MAX_SEQUENCE, RouteOptimisation
from agents.core.binding_cache import newer_sequence
from agents.core.context import Context
from agents.core.peers import Peer
from agents.core.replay_window import INCARNATION_BITS, INCARNATION_MASK
from agents.core.security_associations import SecurityAssociation
from agents.wire import inter_ha
from agents.wire.inter_ha import InterHaStatus, Misconduct

REMEMBERED = 150.0
"""Seconds for which an acknowledgement is held against its sender: an ended binding, which it may
forget, is remembered for twice as long."""

MOST_TOLD = 8192
MOST_ACKNOWLEDGED = 200_000
MOST_MADE = 200_000

_DEAD = 3
"""State number of a dead SA."""

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Proven(Exception):  # noqa: N818 - what a peer has done, not a fault here
    """A message that no honest home agent sends; `detail` is for a person."""

    def __init__(self, misconduct: Misconduct, detail: str) -> None:
        super().__init__(f"{misconduct.slug}: {detail}")
        self.misconduct = misconduct
        self.detail = detail


class _Told(NamedTuple):
    """What a Binding Information Update said of this HA's own role."""

    home_address: IPv6Address
    registration: int
    sequence: int
    role: tuple[int, int]


class _Acknowledged(NamedTuple):
    told: _Told
    sender: int
    """The SID of the acknowledgement: a later incarnation has forgotten it."""
    when: float


class Testimony:
    """Remembers what a peer has to know, and examines what it says."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._told: OrderedDict[tuple[int, int], _Told] = OrderedDict()
        self._acknowledged: OrderedDict[tuple[int, IPv6Address], _Acknowledged] = OrderedDict()
        self._made: set[tuple[int, bytes]] = set()
        # An earlier life has made SAs that are not known here.
        self._knows_what_it_made = context.incarnation == 1

    # What this HA has said and made.

    def told(self, peer: Peer, identifier: int, entry: inter_ha.BindingEntry) -> None:
        """`peer` is told of a binding in a message with this identifier."""
        if entry.primary == self._context.config.index:
            told = _Told(
                entry.home_address,
                entry.registration,
                entry.sequence,
                (entry.epoch, entry.primary),
            )
            _remember(self._told, (peer.index, identifier), told, MOST_TOLD)

    def acknowledged(
        self,
        peer: Peer,
        message: inter_ha.BindingInformationAcknowledgement,
        sender: int,
        now: float,
    ) -> None:
        """`peer` has taken what it was told, binding and role, and knows nothing later."""
        told = self._told.pop((peer.index, message.identifier), None)
        if told is not None and message.status is InterHaStatus.ACCEPTED:
            key = (peer.index, told.home_address)
            known = _Acknowledged(told, sender, now)
            _remember(self._acknowledged, key, known, MOST_ACKNOWLEDGED)

    def made(self, association: SecurityAssociation) -> None:
        """This HA holds an SA; one of its own range it has made itself."""
        if association.inbound and association.spi >> 24 == self._context.config.index:
            self._made.add(_fingerprint(association.spi, association.key))
            if len(self._made) > MOST_MADE:
                self._knows_what_it_made = False
                self._made.clear()

    def lived_before(self) -> None:
        """A peer's table has an SA of this HA's range that it does not know.

        Whoever lies may say so too. It then loses a proof, and nobody honest is accused.
        """
        self._knows_what_it_made = False

    def never_made(self, entry: inter_ha.SaEntry) -> bool:
        """Whether `entry` is of this HA's range, and this HA has not made it."""
        return (
            self._knows_what_it_made
            and entry.source == entry.home_address
            and entry.state != _DEAD
            and entry.spi >> 24 == self._context.config.index
            and _fingerprint(entry.spi, entry.key) not in self._made
        )

    # What peers say.

    def examine_sender(self, peer: Peer, sender: int) -> None:
        """Raise `Proven` if `peer` seals with the SID of another; the ICV covers the SID."""
        index = sender >> INCARNATION_BITS
        if index != peer.index:
            raise Proven(Misconduct.SID_OF_ANOTHER, f"sealed as HA {index}")

    def examine(
        self, peer: Peer, message: inter_ha.InterHaMessage, sender: int, now: float
    ) -> None:
        """Raise `Proven` if no honest HA sends `message`, which is meant for this incarnation."""
        match message:
            case inter_ha.Hello():
                if message.incarnation != sender & INCARNATION_MASK:
                    raise Proven(
                        Misconduct.INCARNATION_CONTRADICTS_SID,
                        f"says {message.incarnation}, seals as {sender & INCARNATION_MASK}",
                    )
            case inter_ha.BindingInformationUpdate(solicited=False):
                for entry in message.entries:
                    self._examine_binding(peer, entry, sender, now)
            case inter_ha.PrimaryHaSwitch():
                self._examine_switch(peer, message)
            case inter_ha.SaInformationUpdate(solicited=False):
                for each in message.entries:
                    if self.never_made(each):
                        detail = f"SPI {each.spi:#010x} for {each.home_address}"
                        raise Proven(Misconduct.SA_NEVER_MADE, detail)
            case inter_ha.ReplayFloor():
                for floor in message.entries:
                    if not floor.outbound and floor.number > MAX_SEQUENCE:
                        raise Proven(Misconduct.FLOOR_BEYOND_NUMBERS, f"{floor.number}")

    def _examine_binding(
        self, peer: Peer, entry: inter_ha.BindingEntry, sender: int, now: float
    ) -> None:
        """Who tells of a binding unasked has accepted its Binding Update (rule 1 (a))."""
        if entry.primary != peer.index:
            detail = f"HA {entry.primary} primary for {entry.home_address}"
            raise Proven(Misconduct.ROLE_OF_ANOTHER, detail)
        known = self._acknowledged.get((peer.index, entry.home_address))
        if known is None or known.sender != sender or now - known.when > REMEMBERED:
            return
        told = known.told
        if entry.unordered or (entry.epoch, entry.primary) <= told.role:
            return
        same = entry.registration == told.registration
        if same and newer_sequence(entry.sequence, told.sequence):
            return
        if same or entry.registration < told.registration:
            raise Proven(
                Misconduct.ROLE_WITHOUT_UPDATE,
                f"epoch {entry.epoch} of {entry.home_address} by sequence {entry.sequence}, "
                f"knowing {told.sequence} and epoch {told.role[0]} of this HA",
            )

    def _examine_switch(self, peer: Peer, message: inter_ha.PrimaryHaSwitch) -> None:
        """Who takes over from an HA holds it invalid, and does not tell it (rule 1 (b))."""
        if message.index != peer.index:
            detail = f"HA {message.index} primary for {message.home_address}"
            raise Proven(Misconduct.ROLE_OF_ANOTHER, detail)
        config = self._context.config
        if config.route_optimisation is RouteOptimisation.SWITCH:
            return  # rule 1 (c): there the role of a living primary is taken
        if message.previous == config.index:
            raise Proven(
                Misconduct.ROLE_WITHOUT_UPDATE,
                f"takes {message.home_address} over from this HA, which it speaks to",
            )


def _fingerprint(spi: int, key: bytes) -> tuple[int, bytes]:
    """Return what tells an SA from others; the key itself is forgotten with the SA."""
    return spi, sha256(key).digest()[:16]


def _remember(kept: "OrderedDict[_Key, _Value]", key: _Key, value: _Value, most: int) -> None:
    """Keep `value` as the newest; the oldest goes where there are too many."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        kept.popitem(last=False)
