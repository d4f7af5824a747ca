"""Generations of one home address's SAs: which are sent on, and when the replaced ones end.

A renewal makes a new generation, one pair of SAs for signalling and one for payload. It is held
larval: packets on it are taken, none are sent. Once it is active the older generations are dying:
still received on, until a Delete comes or nothing has come on them for `IDLE_TIME` (rule 9). Home
agents and mobile nodes follow the same rules.
"""

from collections.abc import Callable, Iterable
from ipaddress import IPv6Address

from agents.core.security_associations import (
    SaEvent,
    SaState,
    SecurityAssociation,
    SecurityAssociationDatabase,
)
from agents.core.timers import TimerQueue

LARVAL_TIME = 1.0
"""Seconds after which a home agent sends on an SA that it has learnt, though nobody said so: the
mobile node has held it from the beginning, and whoever was to say so is gone."""

IDLE_TIME = 10.0
"""Seconds without an authentic packet after which a replaced SA ends without a Delete."""

GRAVE_TIME = 60.0
"""Seconds for which a dead SA is remembered, so that no late Update revives it."""


class Generations:
    """Moves a mobile node's SAs along `SA_TRANSITIONS`."""

    def __init__(
        self,
        held: SecurityAssociationDatabase,
        timers: TimerQueue,
        changed: Callable[[IPv6Address, float], None],
        larval_time: float | None = None,
        began: Callable[[SecurityAssociation, float], None] | None = None,
        in_use: Callable[[SecurityAssociation], bool] | None = None,
    ) -> None:
        """`changed(home_address, now)` is told when another SA may be the one to send on.

        `larval_time` is None where only a packet on a fresh SA, or a Delete of the old one, makes
        it active: at a mobile node. `began(association, now)` is told of each SA that is held.
        `in_use(association)` says that the other end may still send on one that is dying.
        """
        self._held = held
        self._timers = timers
        self._changed = changed
        self._larval_time = larval_time
        self._began = began
        self._in_use = in_use

    def hold(self, association: SecurityAssociation, now: float, *, inbound: bool) -> None:
        """Keep `association`, in whatever state it is; `inbound` from this agent's view."""
        self._held.add(association, inbound=inbound)
        if association.state is SaState.LARVAL and self._larval_time is not None:
            self._timers.schedule(
                now + self._larval_time, lambda then: self._of_age(association, then)
            )
        elif association.state is SaState.MATURE:
            self._supersede(association.home_address, now)
        elif association.state is SaState.DYING:
            self._watch(association, now)
        if self._began is not None:
            self._began(association, now)
        self._changed(association.home_address, now)

    def newest(self, home_address: IPv6Address) -> list[SecurityAssociation]:
        """Return the SAs of the newest generation."""
        generation = self._held.generation(home_address)
        return [each for each in self._held.of(home_address) if each.generation == generation]

    def older(self, home_address: IPv6Address, generation: int) -> list[SecurityAssociation]:
        """Return the SAs of the generations before `generation`."""
        return [each for each in self._held.of(home_address) if each.generation < generation]

    def activate(self, home_address: IPv6Address, generation: int, now: float) -> bool:
        """Send on `generation` from now on; return whether that is a change."""
        fresh = [
            each
            for each in self._held.of(home_address)
            if each.generation == generation and each.state is SaState.LARVAL
        ]
        for each in fresh:
            each.handle(SaEvent.ACTIVATED)
        if fresh:
            self._supersede(home_address, now)
            self._changed(home_address, now)
        return bool(fresh)

    def used(self, association: SecurityAssociation, now: float) -> None:
        """An authentic packet came on an SA that is not mature."""
        if association.state is SaState.LARVAL:
            # The other end sends on it, so it need not be feared that it does not hold it.
            self.activate(association.home_address, association.generation, now)
        association.used = now

    def renewed(self, association: SecurityAssociation, now: float) -> None:
        """`association` has a successor."""
        if association.state in (SaState.LARVAL, SaState.MATURE):
            association.handle(SaEvent.RENEWED)
            self._watch(association, now)
            self._changed(association.home_address, now)

    def delete(self, associations: Iterable[SecurityAssociation], now: float) -> None:
        """End `associations` at once, and remember that they are dead."""
        for each in associations:
            if each.state is SaState.DEAD:
                continue
            each.handle(SaEvent.DELETED)
            self._held.bury(each)
            self._timers.schedule(now + GRAVE_TIME, lambda then, dead=each: self._held.exhume(dead))  # type: ignore[misc]
            self._changed(each.home_address, now)

    def _supersede(self, home_address: IPv6Address, now: float) -> None:
        """Everything older than the newest mature generation is dying."""
        newest = max(
            (e.generation for e in self._held.of(home_address) if e.state is SaState.MATURE),
            default=0,
        )
        for each in self.older(home_address, newest):
            self.renewed(each, now)

    def _of_age(self, association: SecurityAssociation, now: float) -> None:
        if association.state is SaState.LARVAL:
            self.activate(association.home_address, association.generation, now)

    def _watch(self, association: SecurityAssociation, now: float) -> None:
        association.used = now
        self._timers.schedule(now + IDLE_TIME, lambda then: self._look(association, then))

    def _look(self, association: SecurityAssociation, now: float) -> None:
        if association.state is not SaState.DYING:
            return
        if self._in_use is not None and self._in_use(association):
            association.used = now
        idle_at = association.used + IDLE_TIME
        if now >= idle_at:
            self.delete((association,), now)
        else:
            self._timers.schedule(idle_at, lambda then: self._look(association, then))
