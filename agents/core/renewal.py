"""Renewal of a mobile node's SAs by its primary home agent: make before break (design §10, rule 9).

    key exchange → agreed: held here and announced, larval → every valid peer acknowledged, or
    200 ms passed: active here, announced → all acknowledged, and 2 s later: Delete → deleted

A renewal without grace (`revoke`) skips all waiting: the old SAs end everywhere at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.events import (
    AssociationsDeleted,
    AssociationsRenewed,
    Notice,
    RenewalBegan,
    RenewalFailed,
)
from agents.core.generations import Generations
from agents.core.key_exchange import KeyExchange
from agents.core.key_loading import mobile_association
from agents.core.replay_window import SingleWindow
from agents.core.security_associations import SaState, SecurityAssociation
from agents.core.synchronisation import Synchronisation
from agents.core.timers import Timer
from agents.keys import KeyedAssociation

SPREAD_TIME = 0.2
"""Seconds that peers have to acknowledge fresh SAs before they are sent on (rule 9)."""

GRACE_TIME = 2.0
"""Seconds between the last acknowledgement of the change and the Delete of the old SAs."""

LINGER_TIME = 0.5
"""Seconds for which packets sent before the Delete may still arrive, by whatever path."""

RETRY_TIME = 1.0
"""Seconds between a renewal that failed and the next."""


class RenewalImpossible(ValueError):  # noqa: N818 - an answer to a person, not a fault
    """No renewal can begin here; the message says why, for a person."""


@dataclass(slots=True, eq=False)
class Running:
    """One renewal; `generation` is None while the key exchange is under way."""

    home_address: IPv6Address
    cause: str
    grace: bool = True
    alone: bool = False
    """On a new IKE SA in any case: a home agent that is isolated may have the old one (rule 13)."""
    generation: int | None = None
    timer: Timer | None = None


class Renewal:
    """The primary's part."""

    def __init__(
        self,
        context: Context,
        generations: Generations,
        synchronisation: Synchronisation,
        key_exchange: KeyExchange | None,
        provoke: Callable[[Binding], None],
    ) -> None:
        """`provoke(binding)` sends a Binding Refresh Request, by the last numbers if it must."""
        self._provoke = provoke
        self._context = context
        self._generations = generations
        self._synchronisation = synchronisation
        self._key_exchange = key_exchange
        self._running: dict[IPv6Address, Running] = {}
        self._not_before: dict[IPv6Address, float] = {}
        self._said_impossible = False

    @property
    def possible(self) -> bool:
        """Whether there is key management; else keys come from files alone."""
        return self._key_exchange is not None

    def request(self, home_address: IPv6Address, cause: str, now: float, *, grace: bool) -> None:
        """Renew on a person's word; raise `RenewalImpossible`."""
        binding = self._context.cache.get(home_address)
        if binding is None or not binding.bound:
            raise RenewalImpossible(f"{home_address}: no binding here")
        if binding.primary != self._context.config.index:
            raise RenewalImpossible(f"{home_address}: HA {binding.primary} is primary; ask there")
        if self._key_exchange is None:
            raise RenewalImpossible("keys come from files here: load new ones with load-keys")
        running = self._running.get(home_address)
        if running is not None:
            running.grace = running.grace and grace
            if running.generation is not None and not grace:
                self._activate(running, now)
            return
        self._begin(Running(home_address, cause, grace), binding, now)

    def due(self, binding: Binding, cause: str, now: float) -> bool:
        """Renew the SAs of `binding`, whose primary is here; return whether that is under way."""
        home_address = binding.home_address
        if home_address in self._running:
            return True
        if self._key_exchange is None:
            self._say_impossible()
            return False
        if now >= self._not_before.get(home_address, 0.0):
            self._begin(Running(home_address, cause), binding, now)
        return True

    def reserve(self, home_address: IPv6Address) -> Running:
        """Put a renewal without grace, on a new IKE SA, in the place of one under way (rule 13).

        It begins by `begin_reserved`. Until then there is no other, and nothing is adopted.
        """
        running = self._running.pop(home_address, None)
        if running is not None and running.timer is not None:
            running.timer.cancel()
        reserved = Running(home_address, "isolation", grace=False, alone=True)
        self._running[home_address] = reserved
        return reserved

    def begin_reserved(self, reserved: Running, now: float) -> bool:
        """Begin it, if this HA is primary and the mobile node has not begun by itself."""
        home_address = reserved.home_address
        if self._running.get(home_address) is not reserved:
            return False
        binding = self._context.cache.get(home_address)
        own = self._context.config.index
        if self._key_exchange is None or binding is None or not binding.bound:
            del self._running[home_address]
            return False
        if binding.primary != own:
            del self._running[home_address]
            return False
        self._begin(reserved, binding, now)
        return True

    def end_all(self, associations: Sequence[SecurityAssociation], now: float) -> None:
        """End these SAs of one mobile node here and at every peer, whatever follows."""
        self._end(associations, [], now)

    def adopt(self, binding: Binding, now: float) -> None:
        """This HA is primary now: finish what another one left unfinished (case D16)."""
        home_address = binding.home_address
        if home_address in self._running or binding.primary != self._context.config.index:
            return
        newest = self._generations.newest(home_address)
        if not newest or self._is_at_work(newest):
            return
        generation = newest[0].generation
        if newest[0].state is SaState.LARVAL:
            self._spread(Running(home_address, "takeover", generation=generation), now)
        elif self._generations.older(home_address, generation):
            self._announce_active(home_address, generation, now)

    def moved_on(self, association: SecurityAssociation) -> bool:
        """Whether the mobile node has been heard, here or by a peer, on a newer generation."""
        return any(
            each.generation > association.generation
            and isinstance(each.windows, SingleWindow)
            and each.windows.highest
            for each in self._context.associations.of(association.home_address)
            if each.inbound
        )

    def hand_over(self, binding: Binding, now: float) -> None:
        """Tell the new primary of a generation that is not yet, or not alone, in use."""
        home_address = binding.home_address
        held = self._context.associations.of(home_address)
        generations = {each.generation for each in held}
        unfinished = len(generations) > 1 or any(each.state is SaState.LARVAL for each in held)
        primary = self._context.peers.by_index(binding.primary)
        if unfinished and primary is not None and primary.valid:
            self._synchronisation.tell_unasked(primary, held, now)

    # What key management reports.

    def agreed(
        self, home_address: IPv6Address, keyed: Sequence[KeyedAssociation], now: float
    ) -> None:
        """Hold the fresh SAs and tell the peers; raises `ConfigError` for an SPI out of range."""
        running = self._running.get(home_address) or Running(home_address, "key-exchange")
        self._running[home_address] = running
        config = self._context.config
        fresh = [mobile_association(each, config) for each in keyed]
        running.generation = self._context.next_generation(home_address)
        for each in fresh:
            each.generation, each.state = running.generation, SaState.LARVAL
            self._generations.hold(each, now, inbound=each.inbound)
        if running.grace:
            self._spread(running, now)
        else:
            self._activate(running, now)

    def failed(self, home_address: IPv6Address, reason: str, now: float) -> None:
        """No fresh SAs: try again later. A revoked SA ends all the same."""
        running = self._running.pop(home_address, None)
        if running is None:
            return
        self._context.counters["renewal.failed"] += 1
        self._context.report(RenewalFailed(home_address, reason))
        if not running.grace:
            self._revoke(home_address, [], now)
            return
        self._not_before[home_address] = now + RETRY_TIME
        due = [each for each in self._generations.newest(home_address) if each.renewal_due]
        self._context.timers.schedule(
            now + RETRY_TIME, lambda then: self._context.due.update(dict.fromkeys(due))
        )

    def deleted(
        self, home_address: IPv6Address, associations: Sequence[SecurityAssociation], now: float
    ) -> None:
        """The mobile node sends on `associations` no more; what is on its way may still arrive."""
        self._context.timers.schedule(
            now + LINGER_TIME, lambda then: self._end(associations, [], then)
        )

    def replaced(
        self, home_address: IPv6Address, keyed: Sequence[KeyedAssociation], now: float
    ) -> None:
        """Hold these SAs, from a file or of a mobile node that had none, instead of all others.

        Raises `ConfigError` for an SPI out of range (rule 4).
        """
        fresh = [mobile_association(each, self._context.config) for each in keyed]
        running = self._running.pop(home_address, None)
        if running is not None and running.timer is not None:
            running.timer.cancel()
        generation = self._context.next_generation(home_address)
        old = list(self._context.associations.of(home_address))
        self._generations.delete(old, now)
        for each in fresh:
            each.generation = generation
            self._generations.hold(each, now, inbound=each.inbound)
        self._synchronisation.announce_associations([*old, *fresh], now)

    def lost(self, spi: int, now: float) -> None:
        """The mobile node has deleted the pair whose SA towards the home agents has `spi`."""
        association = self._context.associations.by_spi(spi)
        if association is None:
            return
        pair = (association.mode, association.generation)
        held = self._context.associations.of(association.home_address)
        self._end([each for each in held if (each.mode, each.generation) == pair], [], now)

    # Steps.

    def _begin(self, running: Running, binding: Binding, now: float) -> None:
        assert self._key_exchange is not None
        home_address = running.home_address
        self._not_before.pop(home_address, None)
        self._running[home_address] = running
        self._context.counters["renewal.began"] += 1
        self._context.report(RenewalBegan(home_address, running.cause))
        self._key_exchange.renew(home_address, binding.care_of_address, now, alone=running.alone)

    def _spread(self, running: Running, now: float) -> None:
        """Let every peer hold the fresh SAs before anybody sends on them."""
        self._running[running.home_address] = running
        running.timer = self._context.timers.schedule(
            now + SPREAD_TIME, lambda then: self._activate(running, then)
        )
        self._synchronisation.announce_associations(
            self._generations.newest(running.home_address),
            now,
            lambda then: self._activate(running, then),
        )

    def _activate(self, running: Running, now: float) -> None:
        home_address, generation = running.home_address, running.generation
        if self._running.get(home_address) is not running or generation is None:
            return
        del self._running[home_address]
        if running.timer is not None:
            running.timer.cancel()
        self._generations.activate(home_address, generation, now)
        self._context.counters["renewal.done"] += 1
        self._context.report(AssociationsRenewed(home_address, generation, running.cause))
        if running.grace:
            self._announce_active(home_address, generation, now)
        else:
            self._revoke(home_address, self._generations.newest(home_address), now)

    def _announce_active(self, home_address: IPv6Address, generation: int, now: float) -> None:
        """Have the peers send on the fresh SAs; when all have answered, the old ones may go."""
        old = self._generations.older(home_address, generation)
        self._synchronisation.announce_associations(
            [*self._generations.newest(home_address), *old],
            now,
            lambda then: self._grant_grace(home_address, old, then),
        )

    def _grant_grace(
        self, home_address: IPv6Address, old: list[SecurityAssociation], now: float
    ) -> None:
        self._context.timers.schedule(
            now + GRACE_TIME, lambda then: self._delete(home_address, old, then)
        )

    def _delete(
        self, home_address: IPv6Address, old: list[SecurityAssociation], now: float
    ) -> None:
        old = [each for each in old if each.state is not SaState.DEAD]
        if not old:
            return
        if not self.moved_on(old[0]):
            self._have_it_move(home_address)
        if self._key_exchange is not None:
            self._key_exchange.delete(home_address, old, now)
        # Without, what is left ends when nothing comes on it any more.

    def _have_it_move(self, home_address: IPv6Address) -> None:
        """No packet has come to, or from, the mobile node meanwhile: send it one on the fresh SA.

        The Delete may not reach it, if it is another HA that agreed on the keys.
        """
        binding = self._context.cache.get(home_address)
        if binding is not None and binding.bound:
            self._provoke(binding)

    def _end(
        self,
        old: Sequence[SecurityAssociation],
        fresh: list[SecurityAssociation],
        now: float,
    ) -> None:
        """End `old` here and at every peer, in one message with `fresh`."""
        old = [each for each in old if each.state is not SaState.DEAD]
        if not old:
            return
        self._generations.delete(old, now)
        self._context.report(AssociationsDeleted(old[0].home_address, old[0].generation))
        self._synchronisation.announce_associations([*fresh, *old], now)

    def _revoke(
        self, home_address: IPv6Address, fresh: list[SecurityAssociation], now: float
    ) -> None:
        """End all but `fresh` at once, everywhere: packets in flight are the price (rule 9)."""
        old = [each for each in self._context.associations.of(home_address) if each not in fresh]
        if self._key_exchange is not None:
            self._key_exchange.delete(home_address, old, now)
        self._end(old, fresh, now)

    def _is_at_work(self, newest: list[SecurityAssociation]) -> bool:
        """Whether the HA that made the fresh SAs is there to finish: SPIs tell which (rule 4)."""
        makers = {each.spi >> 24 for each in newest if each.inbound}
        peers = [self._context.peers.by_index(maker) for maker in makers]
        return any(peer is not None and peer.valid for peer in peers)

    def _say_impossible(self) -> None:
        self._context.counters["renewal.impossible"] += 1
        if not self._said_impossible:
            self._said_impossible = True
            self._context.report(
                Notice("an SA is due for renewal, but keys come from files: load new ones")
            )
