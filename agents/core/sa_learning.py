"""What an SA Information entry may change here, and what an SA tells of itself (rules 3 and 4)."""

from agents.core.context import Context
from agents.core.events import AssociationLearnt, Notice
from agents.core.peers import Peer
from agents.core.replay_window import SingleWindow
from agents.core.security_associations import SaEvent, SaState, SecurityAssociation
from agents.wire import inter_ha
from agents.wire.inter_ha import InterHaStatus

STATE_NUMBERS = {
    SaState.LARVAL: 0,
    SaState.MATURE: 1,
    SaState.DYING: 2,
    SaState.DEAD: 3,
}


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

    def __init__(self, context: Context) -> None:
        self._context = context

    def learn(
        self, peer: Peer, entry: inter_ha.SaEntry, *, solicited: bool, from_table: bool = False
    ) -> InterHaStatus:
        """Take `entry` if `peer` may tell of it; return the status to acknowledge with."""
        status = self._refusal(peer, entry, solicited)
        if status is not InterHaStatus.ACCEPTED:
            self._context.counters[f"sa-refused.{status.name.lower()}"] += 1
            return status
        held = self._context.associations.find(entry.spi, entry.source, entry.destination)
        if entry.state == STATE_NUMBERS[SaState.DEAD]:
            if held is not None:
                held.handle(SaEvent.DELETED)
                self._context.associations.remove(held)
            return status
        if held is None:
            self._add(peer, entry, from_table)
        else:
            _raise_floor(held, entry.highest)
            if entry.state == STATE_NUMBERS[SaState.DYING] and held.state is SaState.MATURE:
                held.handle(SaEvent.RENEWED)
        return status

    def _refusal(self, peer: Peer, entry: inter_ha.SaEntry, solicited: bool) -> InterHaStatus:
        config = self._context.config
        inbound = entry.source == entry.home_address
        selectors = {entry.source, entry.destination}
        if selectors != {entry.home_address, config.home_agent_address}:
            return InterHaStatus.ADMINISTRATIVELY_PROHIBITED
        if entry.transform != config.mode.transform:
            return InterHaStatus.ADMINISTRATIVELY_PROHIBITED
        held = self._context.associations.find(entry.spi, entry.source, entry.destination)
        if held is not None:
            same = (held.key, held.home_address) == (entry.key, entry.home_address)
            return InterHaStatus.ACCEPTED if same else InterHaStatus.SPI_OUT_OF_RANGE
        if inbound and self._context.associations.by_spi(entry.spi) is not None:
            return InterHaStatus.SPI_OUT_OF_RANGE
        # Rule 4: an SPI outside its sender's range only in answer to a question.
        if inbound and not solicited and entry.spi >> 24 != peer.index:
            return InterHaStatus.SPI_OUT_OF_RANGE
        return InterHaStatus.ACCEPTED

    def _add(self, peer: Peer, entry: inter_ha.SaEntry, from_table: bool) -> None:
        association = SecurityAssociation(
            spi=entry.spi,
            home_address=entry.home_address,
            source=entry.source,
            destination=entry.destination,
            mode=entry.mode,
            transform=entry.transform,
            key=entry.key,
            generation=entry.generation,
            state=next(state for state, n in STATE_NUMBERS.items() if n == entry.state),
        )
        _raise_floor(association, entry.highest)
        if not association.inbound and from_table and self._must_be_silent():
            association.silent = True
            self._context.report(
                Notice(f"restarted in draft mode: silent on SPI {entry.spi:#010x} until renewal")
            )
        self._context.associations.add(association, inbound=association.inbound)
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
            association.windows.window.raise_floor(highest)
    else:
        association.outbound_floor = max(association.outbound_floor, highest)
