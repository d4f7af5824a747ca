"""SAs that an isolated home agent knows: all that there were. They are replaced without grace.

The primary of a mobile node agrees on others with it, on a new IKE SA, and the old ones end
everywhere in the message that tells of the new (rule 9). So many begin at once, and so many more
in a second, that one home agent can do it for a thousand mobile nodes. Whatever comes of that, an
SA that was exposed ends after `PATIENCE`, or `GRACE` later where another has its place (design §10,
rule 13).
"""

from collections import deque
from collections.abc import Callable
from ipaddress import IPv6Address

from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.events import Notice
from agents.core.renewal import Renewal, Running
from agents.core.security_associations import SaState, SecurityAssociation

AT_ONCE = 10
"""Renewals that begin together: proofs by certificate take their time, and a home agent that does
not come to its heartbeat loses its route (design §6)."""

PACE = 0.05
"""Seconds until the next `AT_ONCE`: 200 a second."""

PATIENCE = 2.0
"""Seconds that a mobile node has to agree on others; then it has none, and has to begin."""

ASKED_AFTER = 0.8
"""Seconds after which a primary that has not replaced what is exposed here is asked to: it isolated
before this HA did, and does not know what this HA may have handed on meanwhile."""

GRACE = 3.0
"""Seconds more for SAs whose successors are here already, and which end by rule 9."""

REPETITIONS = (0.1, 0.3, 0.6)
"""Seconds between what a mobile node is told of whom to refuse."""


class ExposedAssociations:
    """Sees to it that none is left."""

    def __init__(
        self,
        context: Context,
        renewal: Renewal,
        tell: Callable[[Binding, float], None],
        gone: Callable[[int, float], None],
    ) -> None:
        """`tell(binding, now)` says to a mobile node, on an SA that is exposed, whom to refuse.

        `gone(renewed, now)`: none is left here; so many mobile nodes were renewed from here.
        """
        self._context = context
        self._tell = tell
        self._renewal = renewal
        self._gone = gone
        self._waiting: deque[Running] = deque()
        self._pacing = False
        self._renewed = 0
        self._watched = False
        self._open: dict[IPv6Address, list[SecurityAssociation]] = {}
        """Those that are left, by home address."""

    def mark(self, now: float) -> None:
        """All SAs that are held are exposed; renewals of them wait for who is primary."""
        self._renewed, self._watched = 0, True
        for each in self._context.associations:
            held = self._open.setdefault(each.home_address, [])
            if each not in held:
                held.append(each)
        if not self._renewal.possible:
            self._context.report(
                Notice("an isolated home agent knows the SAs of key files: load new ones")
            )
            return
        for binding in self._context.cache:
            if binding.bound:
                self._waiting.append(self._renewal.reserve(binding.home_address))

    def replace(self, now: float) -> None:
        """The roles are settled: begin. What belongs to no binding ends at once."""
        if not self._renewal.possible:
            return
        bound = {each.home_address for each in self._context.cache if each.bound}
        for home_address in self._open.keys() - bound:
            self._end(home_address, now)
        limit = PATIENCE + PACE * (len(bound) // AT_ONCE)
        self._context.timers.schedule(now + limit - PATIENCE + ASKED_AFTER, self._ask_primaries)
        self._context.timers.schedule(now + limit, self._end_rest)
        self._begin_some(now)
        self._look(now)

    def replace_one(self, home_address: IPv6Address, now: float) -> None:
        """This HA has become primary of a mobile node that nobody has renewed yet."""
        if self._renewal.possible and self.of(home_address):
            self._waiting.append(self._renewal.reserve(home_address))
            self._begin_some(now)

    def of(self, home_address: IPv6Address) -> list[SecurityAssociation]:
        """Return the exposed SAs of a mobile node."""
        return [each for each in self._open.get(home_address, ()) if each.state is not SaState.DEAD]

    def changed(self, home_address: IPv6Address, now: float) -> None:
        """SAs of a mobile node are other ones now."""
        if home_address not in self._open:
            return
        left = self.of(home_address)
        if left:
            self._open[home_address] = left
            return
        del self._open[home_address]
        self._look(now)

    def _look(self, now: float) -> None:
        if self._watched and not self._open:
            self._watched = False
            self._gone(self._renewed, now)

    def _begin_some(self, now: float) -> None:
        if self._pacing:
            return
        begun = 0
        while self._waiting and begun < AT_ONCE:
            reserved = self._waiting.popleft()
            home_address = reserved.home_address
            self._tell_whom_to_refuse(home_address, REPETITIONS, now)
            begun += self._renewal.begin_reserved(reserved, now)
        self._renewed += begun
        if self._waiting:
            self._pacing = True
            self._context.timers.schedule(now + PACE, self._go_on)

    def _tell_whom_to_refuse(
        self, home_address: IPv6Address, pauses: tuple[float, ...], now: float
    ) -> None:
        """Nobody acknowledges it: it is said again while exposed SAs are left."""
        binding = self._context.cache.get(home_address)
        own = self._context.config.index
        if binding is None or not binding.bound or binding.primary != own:
            return
        if not self.of(home_address):
            return
        self._tell(binding, now)
        if pauses:
            self._context.timers.schedule(
                now + pauses[0],
                lambda then: self._tell_whom_to_refuse(home_address, pauses[1:], then),
            )

    def _go_on(self, now: float) -> None:
        self._pacing = False
        self._begin_some(now)

    def _ask_primaries(self, now: float) -> None:
        """Have SAs renewed of which only this HA thinks that they are exposed."""
        for home_address in self._open:
            for each in self.of(home_address):
                each.marked_due = True
                self._context.due.setdefault(each)

    def _end_rest(self, now: float, patient: bool = True) -> None:
        """Nobody has agreed on others in time: better none than these."""
        for home_address in tuple(self._open):
            if patient and self._has_others(home_address):
                continue
            self._context.counters["isolation.ended-without-others"] += 1
            self._end(home_address, now)
        if patient and self._open:
            self._context.timers.schedule(now + GRACE, lambda then: self._end_rest(then, False))

    def _has_others(self, home_address: IPv6Address) -> bool:
        newest = self._context.associations.generation(home_address)
        return all(each.generation < newest for each in self.of(home_address))

    def _end(self, home_address: IPv6Address, now: float) -> None:
        self._renewal.end_all(self.of(home_address), now)
