"""What an SA Information entry may change here, and what an SA tells of itself (rules 3 and 4)."""

from agents.config import MAX_SEQUENCE
from agents.core.context import Context
from agents.core.events import AssociationLearnt, Notice
from agents.core.generations import Generations
from agents.core.misconduct import Testimony
from agents.core.peers import Peer
from agents.core.registration import LAST_GENERATION
from agents.core.replay_window import SingleWindow
from agents.core.security_associations import SaState, SecurityAssociation
from agents.wire import inter_ha
from agents.wire.inter_ha import InterHaStatus

STATE_NUMBERS = {
    SaState.LARVAL: 0,
    SaState.MATURE: 1,
    SaState.DYING: 2,
    SaState.DEAD: 3,
}
STATES = {number: state for state, number in STATE_NUMBERS.items()}


def to_wire(association: SecurityAssociation) -> inter_ha.SaEntry:
    """Return `association` as it travels: floors of its numbers, never its windows."""
    highest = association.outbound_floor
    if isinstance(association.windows, SingleWindow) and association.inbound:
        highest = association.windows.window.highest
    return inter_ha.SaEntry(
        home_address=association.home_address,
        spi=association.spi,
        source=association.source,
        destination=association.destination,
        mode=association.mode,
        transform=association.transform,
        key=association.key,
        generation=association.generation,
        state=STATE_NUMBERS[association.state],
        highest=highest,
    )


class AssociationLearning:
    """Takes SA entries from peers."""

    def __init__(self, context: Context, generations: Generations, testimony: Testimony) -> None:
        self._context = context
        self._testimony = testimony
        self._generations = generations

    def learn(
        self,
        peer: Peer,
        entry: inter_ha.SaEntry,
        now: float,
        *,
        solicited: bool,
        from_table: bool = False,
    ) -> InterHaStatus:
        """Take `entry` if `peer` may tell of it; return the status to acknowledge with."""
        if from_table and self._testimony.never_made(entry):
            self._testimony.lived_before()
        held = self._context.associations.find(entry.spi, entry.source, entry.destination)
        if entry.state == STATE_NUMBERS[SaState.DEAD]:
            if held is not None and held.home_address == entry.home_address:
                self._generations.delete((held,), now)
            return InterHaStatus.ACCEPTED
        if held is None:
            self._look_for_rivals(entry)
        status = self._refusal(peer, entry, solicited)
        if status is not InterHaStatus.ACCEPTED:
            self._context.counters[f"sa-refused.{status.name.lower()}"] += 1
        elif held is None:
            self._add(peer, entry, now, from_table)
        else:
            held.vouched = held.vouched or peer.index == held.spi >> 24
            _raise_floor(held, entry.highest)
            self._follow(held, entry, now)
        return status

    def _look_for_rivals(self, entry: inter_ha.SaEntry) -> None:
        """Two HAs that did not know of each other renewed one mobile node's SAs (rules 2 and 9).

        Which of the two it uses, nobody can tell from generations: a further renewal settles it.
        """
        held = self._context.associations
        grave = held.grave(entry.spi, entry.source, entry.destination)
        if entry.source != entry.home_address or grave is not None:
            return
        for each in held.of(entry.home_address):
            if not each.inbound or each.mode is not entry.mode or each.spi == entry.spi:
                continue
            if each.generation >= entry.generation and each.spi >> 24 != entry.spi >> 24:
                self._context.counters["sa-rivals"] += 1
                newest = held.generation(entry.home_address)
                for due in held.of(entry.home_address):
                    if due.generation == newest:
                        due.marked_due = True
                        self._context.due.setdefault(due)
                return

    def _follow(self, held: SecurityAssociation, entry: inter_ha.SaEntry, now: float) -> None:
        """Move an SA that is held along with the peer's; nothing moves back."""
        if entry.state == STATE_NUMBERS[SaState.DYING]:
            self._generations.renewed(held, now)
        elif entry.state == STATE_NUMBERS[SaState.MATURE]:
            self._generations.activate(held.home_address, held.generation, now)

    def _refusal(self, peer: Peer, entry: inter_ha.SaEntry, solicited: bool) -> InterHaStatus:
        config = self._context.config
        inbound = entry.source == entry.home_address
        if self._testimony.never_made(entry):
            return InterHaStatus.SPI_OUT_OF_RANGE
        selectors = {entry.source, entry.destination}
        if selectors != {entry.home_address, config.home_agent_address}:
            return InterHaStatus.ADMINISTRATIVELY_PROHIBITED
        if entry.transform not in config.mode.transforms or entry.state not in STATES:
            return InterHaStatus.ADMINISTRATIVELY_PROHIBITED
        if entry.generation > LAST_GENERATION:
            return InterHaStatus.ADMINISTRATIVELY_PROHIBITED
        held = self._context.associations.find(entry.spi, entry.source, entry.destination)
        if held is not None:
            same = (held.key, held.home_address) == (entry.key, entry.home_address)
            return InterHaStatus.ACCEPTED if same else InterHaStatus.SPI_OUT_OF_RANGE
        if inbound and entry.spi >> 24 in self._context.isolated:
            return InterHaStatus.ADMINISTRATIVELY_PROHIBITED
        if inbound and self._context.associations.by_spi(entry.spi) is not None:
            return InterHaStatus.SPI_OUT_OF_RANGE
        if inbound and not solicited and not self._may_name(peer, entry.spi):
            return InterHaStatus.SPI_OUT_OF_RANGE
        if self._is_past(entry, solicited):
            return InterHaStatus.SUPERSEDED
        return InterHaStatus.ACCEPTED

    def _may_name(self, peer: Peer, spi: int) -> bool:
        """Rule 4: an SPI of the sender's own range, or of one whose owner is gone."""
        return spi >> 24 == peer.index or self._context.peers.is_gone(spi >> 24)

    def _is_past(self, entry: inter_ha.SaEntry, solicited: bool) -> bool:
        """Whether an SA that is not held here has had its time (rule 9).

        It is dead here; or a peer believes it mature, or tells of it unasked, though a newer
        generation is mature here.
        """
        held = self._context.associations
        grave = held.grave(entry.spi, entry.source, entry.destination)
        if grave is not None and entry.generation <= grave.generation:
            return True
        newer = any(
            each.state is SaState.MATURE and each.generation > entry.generation
            for each in held.of(entry.home_address)
        )
        return newer and not (solicited and entry.state == STATE_NUMBERS[SaState.DYING])

    def _add(self, peer: Peer, entry: inter_ha.SaEntry, now: float, from_table: bool) -> None:
        config = self._context.config
        association = SecurityAssociation(
            spi=entry.spi,
            home_address=entry.home_address,
            source=entry.source,
            destination=entry.destination,
            mode=entry.mode,
            transform=entry.transform,
            key=entry.key,
            generation=entry.generation,
            state=STATES[entry.state],
            soft_limit=config.sequence_soft_limit,
            limit=config.sequence_limit,
            vouched=peer.index == entry.spi >> 24,
        )
        _raise_floor(association, entry.highest)
        used = from_table and association.state is not SaState.LARVAL
        if not association.inbound and used and self._must_be_silent():
            association.silent = True
            self._context.report(
                Notice(f"restarted in draft mode: silent on SPI {entry.spi:#010x} until renewal")
            )
        self._generations.hold(association, now, inbound=association.inbound)
        self._context.report(
            AssociationLearnt(entry.home_address, entry.spi, entry.generation, peer.name)
        )

    def _must_be_silent(self) -> bool:
        """Rule 3: in draft mode a restarted HA would repeat its own numbers on an old SA."""
        restarted = self._context.incarnation > 1
        return (
            restarted
            and not self._context.hardened
            and not self._context.config.reuse_after_restart
        )


def _raise_floor(association: SecurityAssociation, highest: int) -> None:
    if association.inbound:
        if isinstance(association.windows, SingleWindow) and highest:
            association.windows.window.raise_floor(min(highest, MAX_SEQUENCE))
    else:
        association.outbound_floor = max(association.outbound_floor, highest)
