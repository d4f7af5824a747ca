"""Binding and SA Information between home agents (draft §3.2.1, §3.2.2).

Solicited answers copy the identifier of the request, unsolicited ones carry a random one; every
Update is acknowledged. What makes two copies one is `binding_cache` (rule 2) and `sa_learning`.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv6Address
from typing import Any

from agents.core.binding_cache import Binding, BindingState
from agents.core.context import Context
from agents.core.events import BindingLearnt, BindingRemoved, PeersInSync, PrimaryChanged
from agents.core.generations import Generations
from agents.core.misconduct import Testimony
from agents.core.peers import Peer
from agents.core.sa_learning import AssociationLearning, to_wire
from agents.core.security_associations import SaState, SecurityAssociation
from agents.core.table_transfer import TableEntry
from agents.wire import inter_ha
from agents.wire.inter_ha import InterHaStatus


class Synchronisation:
    """Tells peers of changes, asks them, answers them, and learns from them."""

    def __init__(
        self,
        context: Context,
        generations: Generations,
        released: Callable[[Hashable, float], None],
        role_moved: Callable[[Binding, float], None],
        told_of: Callable[[inter_ha.MemberEntry, float], None],
        testimony: Testimony,
    ) -> None:
        """`released(key, now)`: an HoA or an SPI that was asked about is known now, or never.

        `role_moved(binding, now)`: a peer told of another primary. `told_of(entry, now)`: a peer's
        table lists a home agent.
        """
        self._context = context
        self._released = released
        self._role_moved = role_moved
        self._told_of = told_of
        self._testimony = testimony
        self.learning = AssociationLearning(context, generations, testimony)

    # Telling.

    def announce_binding(self, binding: Binding, now: float) -> None:
        """Tell every valid peer of a change in the binding cache (draft §3.2.1)."""
        entry = binding.to_wire(now)

        def update(peer: Peer, identifier: int) -> inter_ha.BindingInformationUpdate:
            self._testimony.told(peer, identifier, entry)
            return inter_ha.BindingInformationUpdate(entries=(entry,), identifier=identifier)

        self._tell_all(
            update,
            now,
            lambda complete, then: self._in_sync(binding, complete),
        )

    def announce_bindings(self, bindings: Sequence[Binding], now: float) -> None:
        """Tell every valid peer of many whose role is inherited: no Update stands behind it."""
        told = [replace(each.to_wire(now), unordered=True) for each in bindings]
        for entries in inter_ha.fit(told):
            self._tell_all(
                lambda peer, identifier, part=entries: inter_ha.BindingInformationUpdate(  # type: ignore[misc]
                    entries=part, identifier=identifier
                ),
                now,
                lambda complete, then: None,
            )

    def announce_associations(
        self,
        associations: Iterable[SecurityAssociation],
        now: float,
        settled: Callable[[float], None] | None = None,
    ) -> None:
        """Tell every valid peer of new, changed or deleted SAs (draft §3.2.2).

        `settled(now)` is called once nobody is left to acknowledge, or to be waited for.
        """
        told = tuple(associations)
        parts = inter_ha.fit([to_wire(each) for each in told])
        open_parts = len(parts)
        if settled is not None and not parts:
            settled(now)

        def part_settled(_: bool, then: float) -> None:
            nonlocal open_parts
            open_parts -= 1
            if settled is not None and open_parts <= 0:
                settled(then)

        for entries in parts:
            self._tell_all(
                lambda peer, identifier, part=entries: inter_ha.SaInformationUpdate(  # type: ignore[misc]
                    entries=_for_maker(peer, part, told), identifier=identifier
                ),
                now,
                part_settled,
            )

    def tell_unasked(
        self, peer: Peer, associations: Iterable[SecurityAssociation], now: float
    ) -> None:
        """Tell one peer of SAs that it may not hold."""
        told = tuple(associations)
        found = _for_maker(peer, [to_wire(each) for each in told], told)
        for entries in inter_ha.fit(found):
            identifier = self._context.exchanges.new_identifier(peer.index)
            update = inter_ha.SaInformationUpdate(entries=entries, identifier=identifier)
            self._context.exchange(peer, update, now)

    def announce_primary(self, binding: Binding, previous: int, now: float) -> None:
        """Tell every valid peer who is primary now in place of `previous` (draft §3.3.3)."""
        self._tell_all(
            lambda peer, identifier: inter_ha.PrimaryHaSwitch(
                home_address=binding.home_address,
                epoch=binding.epoch,
                index=binding.primary,
                previous=previous,
                identifier=identifier,
            ),
            now,
            lambda complete, then: self._in_sync(binding, complete),
        )

    def table(self, now: float) -> list[TableEntry]:
        """Return everything that a rejoining peer has to know, SAs before their bindings."""
        peers = self._context.peers
        entries: list[TableEntry] = [
            inter_ha.MemberEntry(each.index, each.address) for each in peers.valid()
        ]
        held = self._context.associations
        entries += [to_wire(each) for each in sorted(held, key=lambda each: each.generation)]
        entries += [to_wire(each) for each in held.graves()]
        entries += [
            each.to_wire(now)
            for each in self._context.cache
            if each.state in (BindingState.BOUND, BindingState.ENDED)
        ]
        return entries

    # Asking.

    def ask_binding(self, home_address: IPv6Address, now: float) -> None:
        """Ask every valid peer for a binding that is not held here (rule 10)."""
        self._ask_all(
            lambda identifier: inter_ha.BindingInformationRequest(
                home_address=home_address, identifier=identifier
            ),
            lambda then: self._released(home_address, then),
            now,
        )

    def ask_association(self, spi: int, now: float) -> None:
        """Ask every valid peer for the SA of a packet that arrived."""
        self._ask_all(
            lambda identifier: inter_ha.SaInformationRequest(spi=spi, identifier=identifier),
            lambda then: self._released(spi, then),
            now,
        )

    # Being asked.

    def binding_request(
        self, peer: Peer, request: inter_ha.BindingInformationRequest, now: float
    ) -> None:
        """Answer with the binding, or with none where another is to answer (rule 10)."""
        binding = self._subject(request)
        entries: tuple[inter_ha.BindingEntry, ...] = ()
        if binding is not None and binding.bound and self._is_to_answer(binding, peer):
            entries = (binding.to_wire(now),)
        self._answer(
            peer,
            inter_ha.BindingInformationUpdate(
                entries=entries, solicited=True, identifier=request.identifier
            ),
            now,
        )

    def association_request(
        self, peer: Peer, request: inter_ha.SaInformationRequest, now: float
    ) -> None:
        """Answer with all SAs of the mobile node asked for."""
        binding = self._subject(request)
        home_address = request.home_address
        if request.spi is not None:
            held = self._context.associations.by_spi(request.spi)
            home_address = held.home_address if held is not None else home_address
        found: tuple[inter_ha.SaEntry, ...] = ()
        if home_address is not None and (binding is None or self._is_to_answer(binding, peer)):
            found = tuple(to_wire(each) for each in self._context.associations.of(home_address))
        self._answer_associations(peer, found, request.identifier, now)

    def tell_associations(
        self, peer: Peer, home_address: IPv6Address, identifier: int, now: float
    ) -> None:
        """Answer `peer`, who asked to renew what is renewed, with the SAs as they stand."""
        found = tuple(to_wire(each) for each in self._context.associations.of(home_address))
        self._answer_associations(peer, found, identifier, now)

    # Being told.

    def binding_update(
        self, peer: Peer, update: inter_ha.BindingInformationUpdate, now: float
    ) -> None:
        """Take what is newer, and acknowledge; say so if a later primary is known (rule 13)."""
        status = InterHaStatus.ACCEPTED
        for entry in self._asked_for(peer, update):
            self.learn_binding(peer, entry, now)
            held = self._context.cache.get(entry.home_address)
            if held is None or held.role != (entry.epoch, entry.primary):
                status = InterHaStatus.ROLE_SUPERSEDED
        if update.solicited:
            self._context.exchanges.answered(peer.index, update.identifier, now)
        self._context.send_to_peer(
            peer,
            inter_ha.BindingInformationAcknowledgement(status=status, identifier=update.identifier),
        )

    def association_update(
        self, peer: Peer, update: inter_ha.SaInformationUpdate, now: float
    ) -> None:
        """Take SAs that the sender may tell of, and acknowledge."""
        status = InterHaStatus.ACCEPTED
        for entry in self._asked_for(peer, update):
            found = self.learning.learn(peer, entry, now, solicited=update.solicited)
            status = status if status is not InterHaStatus.ACCEPTED else found
            self._released(entry.spi, now)
        if update.solicited:
            self._context.exchanges.answered(peer.index, update.identifier, now)
        self._context.send_to_peer(
            peer,
            inter_ha.SaInformationAcknowledgement(status=status, identifier=update.identifier),
        )

    def acknowledgement(
        self,
        peer: Peer,
        message: inter_ha.BindingInformationAcknowledgement
        | inter_ha.SaInformationAcknowledgement
        | inter_ha.PrimaryHaSwitchAcknowledgement
        | inter_ha.IsolationAcknowledgement,
        now: float,
    ) -> None:
        """An Update or a switch was received."""
        if not self._context.exchanges.answered(peer.index, message.identifier, now):
            self._context.counters["unexpected-acknowledgement"] += 1
        if not message.status.accepted:
            self._context.counters[f"refused-by-peer.{message.status.name.lower()}"] += 1

    def primary_switch(self, peer: Peer, switch: inter_ha.PrimaryHaSwitch, now: float) -> None:
        """Another HA took over; the higher (epoch, index) wins (rule 2)."""
        binding = self._context.cache.get(switch.home_address)
        status = InterHaStatus.ACCEPTED
        if binding is None:
            status = InterHaStatus.NOT_FOUND
            self.ask_binding(switch.home_address, now)
        elif (switch.epoch, switch.index) > binding.role:
            binding.epoch, binding.primary = switch.epoch, switch.index
            self._report_primary(binding, "peer")
            self._role_moved(binding, now)
        elif (switch.epoch, switch.index) != binding.role:
            status = InterHaStatus.SUPERSEDED
        self._context.send_to_peer(
            peer,
            inter_ha.PrimaryHaSwitchAcknowledgement(status=status, identifier=switch.identifier),
        )

    def learn_table(
        self,
        peer: Peer,
        entries: Sequence[TableEntry],
        now: float,
    ) -> None:
        """Take a part of a peer's table: a Table Request is a request for all of it (rule 4)."""
        for entry in entries:
            if isinstance(entry, inter_ha.SaEntry):
                self.learning.learn(peer, entry, now, solicited=True, from_table=True)
            elif isinstance(entry, inter_ha.MemberEntry):
                self._told_of(entry, now)
            else:
                self.learn_binding(peer, entry, now)

    def learn_binding(self, peer: Peer, entry: inter_ha.BindingEntry, now: float) -> None:
        """Merge one entry (rule 2) and report what it changed."""
        if entry.home_address not in self._context.config.home_prefix:
            self._context.counters.drop("binding-outside-home-prefix")
            return
        if entry.primary in self._context.isolated:
            entry = replace(entry, epoch=0, primary=0)
        held = self._context.cache.get(entry.home_address)
        was_bound = held is not None and held.bound
        binding, moved, new_primary = self._context.cache.merge(entry, now)
        same = (binding.registration, binding.sequence) == (entry.registration, entry.sequence)
        if same and peer.index == binding.primary:
            binding.known = entry.known
        if moved and binding.bound:
            self._context.report(
                BindingLearnt(
                    binding.home_address, binding.care_of_address, binding.sequence, peer.name
                )
            )
        elif moved and was_bound:
            self._context.report(BindingRemoved(binding.home_address, "peer"))
        if new_primary:
            self._report_primary(binding, "peer")
            self._role_moved(binding, now)
        self._released(entry.home_address, now)

    def forget_tunnel(self, home_address: IPv6Address) -> None:
        """SAs of `home_address` changed: the next packet looks them up anew."""
        binding = self._context.cache.get(home_address)
        if binding is not None:
            binding.tunnel = None

    # Within.

    def _asked_for(
        self,
        peer: Peer,
        update: inter_ha.BindingInformationUpdate | inter_ha.SaInformationUpdate,
    ) -> tuple[Any, ...]:
        """Return the entries; none of what claims to be an answer, and nobody asked for it.

        It may be late or repeated. A liar would call everything an answer, since that proves
        nothing (rule 13).
        """
        if update.solicited and not self._context.exchanges.awaits(peer.index, update.identifier):
            self._context.counters["answers-unasked"] += 1
            return ()
        return update.entries

    def _subject(
        self, request: inter_ha.BindingInformationRequest | inter_ha.SaInformationRequest
    ) -> Binding | None:
        home_address = request.home_address
        if home_address is None and request.spi is not None:
            held = self._context.associations.by_spi(request.spi)
            home_address = held.home_address if held is not None else None
        return self._context.cache.get(home_address) if home_address is not None else None

    def _is_to_answer(self, binding: Binding, asker: Peer) -> bool:
        """Whether this HA answers: the primary, or any holder while that one is invalid."""
        if binding.primary in (self._context.config.index, asker.index):
            return True
        primary = self._context.peers.by_index(binding.primary)
        return primary is None or not primary.valid

    def _answer_associations(
        self, peer: Peer, found: Sequence[inter_ha.SaEntry], identifier: int, now: float
    ) -> None:
        for entries in inter_ha.fit(found) or [()]:
            update = inter_ha.SaInformationUpdate(
                entries=entries, solicited=True, identifier=identifier
            )
            self._answer(peer, update, now)

    def _answer(self, peer: Peer, message: inter_ha.InterHaMessage, now: float) -> None:
        self._context.exchange(peer, message, now)

    def _tell_all(
        self,
        message: Callable[[Peer, int], inter_ha.InterHaMessage],
        now: float,
        settled: Callable[[bool, float], None],
    ) -> None:
        """Begin an exchange with every peer that is to be told.

        `settled(whether all answered, now)` runs when none is left open: at once without peers.
        """
        peers = self._context.peers.to_tell()
        waiting = {peer.index for peer in peers}
        complete = bool(peers)
        if not peers:
            settled(complete, now)

        def outcome_of(peer: Peer) -> Callable[[bool, float], None]:
            def outcome(answered: bool, then: float) -> None:
                nonlocal complete
                complete = complete and answered
                waiting.discard(peer.index)
                if not waiting:
                    settled(complete, then)

            return outcome

        for peer in peers:
            identifier = self._context.exchanges.new_identifier(peer.index)
            self._context.exchange(peer, message(peer, identifier), now, outcome_of(peer))

    def _ask_all(
        self,
        message: Callable[[int], inter_ha.InterHaMessage],
        answered: Callable[[float], None],
        now: float,
    ) -> None:
        """Ask every valid peer; `answered(now)` when none is left to answer."""
        peers = self._context.peers.valid()
        waiting = {peer.index for peer in peers}
        if not waiting:
            answered(now)

        def outcome_of(peer: Peer) -> Callable[[bool, float], None]:
            def outcome(_: bool, then: float) -> None:
                waiting.discard(peer.index)
                if not waiting:
                    answered(then)

            return outcome

        for peer in peers:
            identifier = self._context.exchanges.new_identifier(peer.index)
            self._context.exchange(peer, message(identifier), now, outcome_of(peer))

    def _in_sync(self, binding: Binding, complete: bool) -> None:
        if complete:
            self._context.report(PeersInSync(binding.home_address, binding.sequence, binding.epoch))

    def _report_primary(self, binding: Binding, cause: str) -> None:
        self._context.report(
            PrimaryChanged(binding.home_address, binding.primary, binding.epoch, cause)
        )


def _for_maker(
    peer: Peer, entries: Sequence[inter_ha.SaEntry], told: Sequence[SecurityAssociation]
) -> tuple[inter_ha.SaEntry, ...]:
    """Leave out what `peer` is said to have made, but has not itself said here (rule 13).

    It knows its own, or asks for them. What a liar says of them is not to be repeated to it.
    """
    hearsay = {
        each.spi
        for each in told
        if each.inbound and not each.vouched and each.state is not SaState.DEAD
    }
    return tuple(
        each
        for each in entries
        if each.spi not in hearsay
        or each.spi >> 24 != peer.index
        or each.source != each.home_address
    )
