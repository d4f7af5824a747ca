"""SID tables: which home agents a mobile node takes packets from (design §10, rule 6).

Its primary sees to it that the mobile node holds the table as it is now, and reports what it knows
to the other home agents. One that the mobile node does not know yet does not send to it.

A table's version names its content, so all home agents with the same list have the same, and a
Binding Update that names it shows that the mobile node holds it.
"""

import hashlib
import math
from collections.abc import Callable
from ipaddress import IPv6Address

from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.peers import Peer
from agents.core.timers import Timer
from agents.wire.inter_ha import EVERYBODY
from agents.wire.mobility_options import MobilityOption, SidEntry, sid_tables

PACE = 0.002
"""Seconds between two Binding Refresh Requests of one change: 500 a second."""

FIRST_REPETITION = 1.0
"""Seconds after which a mobile node that does not know the table is asked again; then doubled."""

LAST_REPETITION = 64.0


def table_version(entries: tuple[SidEntry, ...]) -> int:
    """Return what names this table: 32 bits of a digest, never 0."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(bytes((entry.index,)) + entry.address.packed)
    return int.from_bytes(digest.digest()[:4]) or 1


class SidTables:
    """The table of this HA's list, and how far mobile nodes are behind it."""

    def __init__(self, context: Context, ask_for_update: Callable[[Binding], None]) -> None:
        """`ask_for_update` sends a Binding Refresh Request."""
        self._context = context
        self._ask_for_update = ask_for_update
        self._own = 1 << context.config.index
        self._queue: dict[IPv6Address, float] = {}
        """Whom to ask, in this order, and how long to wait for the answer."""
        self._repetitions: dict[IPv6Address, Timer] = {}
        self._next_request = -math.inf
        self._running = False
        self._make()

    # What acknowledgements say.

    def options(self, told: int) -> tuple[MobilityOption, ...]:
        """Return the table for a mobile node that holds version `told`, 0 for none.

        A home agent that is alone has no need of one, unless the mobile node holds an old one.
        """
        if not self._context.hardened or not (told or len(self._context.peers)):
            return ()
        return sid_tables(self.version, self._entries)

    def known_after(self, before: int, told: int) -> int:
        """Return whom a mobile node knows once an acknowledgement is sent, whether it comes or not.

        `before` is whom it knew. It holds version `told`, or else, if it did not hear the last
        acknowledgements, an older one; afterwards perhaps this one.
        """
        if not self._context.hardened:
            return EVERYBODY if len(self._context.peers) else self._own
        if not (told or len(self._context.peers)):
            return before
        return self._members if told == self.version else before & self._members

    # Who may send.

    def may_send(self, binding: Binding) -> bool:
        """Whether the mobile node takes packets of this HA."""
        return bool(binding.known & self._own)

    def relay_for(self, binding: Binding) -> Peer | None:
        """Return the peer that sends for this HA: the primary, or another that is known; or None.

        The primary even if it is not known itself: it knows best how far the mobile node is.
        """
        primary = self._context.peers.by_index(binding.primary)
        valid = self._context.peers.valid()
        known = [each for each in valid if binding.known >> each.index & 1]
        if primary is not None and primary.valid and (primary in known or not known):
            return primary
        return known[0] if known else None

    # Changes of the list.

    def members_changed(self, now: float) -> None:
        """Home agents have joined or gone: the mobile nodes of this primary are to know."""
        self._make()
        for binding in self._context.cache:
            self.consider(binding, now)

    def joined(self, index: int) -> None:
        """An HA of this index is new: nobody knows it yet, whoever had the index before."""
        for binding in self._context.cache:
            if self._context.hardened:
                binding.known &= ~(1 << index)

    def consider(self, binding: Binding, now: float) -> None:
        """See to it that the mobile node gets this table, if this HA is its primary."""
        if self._is_behind(binding):
            self._enqueue(binding.home_address, FIRST_REPETITION, now)

    def expect(self, binding: Binding, now: float) -> None:
        """An acknowledgement was sent: the mobile node says by itself that it holds a new table."""
        home_address = binding.home_address
        asked = home_address in self._queue or home_address in self._repetitions
        if self._is_behind(binding) and not asked:
            self._repeat(home_address, FIRST_REPETITION, now)

    def _enqueue(self, home_address: IPv6Address, pause: float, now: float) -> None:
        waiting = self._repetitions.pop(home_address, None)
        if waiting is not None:
            waiting.cancel()
        self._queue.setdefault(home_address, pause)
        if not self._running:
            self._run_at(max(now, self._next_request))

    def _run_at(self, when: float) -> None:
        self._running = True
        self._context.timers.schedule(when, self._ask_next)

    def _ask_next(self, now: float) -> None:
        """Ask the first who still needs it; the next one after a pause."""
        self._running = False
        while self._queue:
            home_address = next(iter(self._queue))
            pause = self._queue.pop(home_address)
            binding = self._context.cache.get(home_address)
            if binding is None or not self._is_behind(binding):
                continue
            self._context.counters["sid-table.requests"] += 1
            self._ask_for_update(binding)
            self._repeat(home_address, pause, now)
            self._next_request = now + PACE
            if self._queue:
                self._run_at(self._next_request)
            return

    def _repeat(self, home_address: IPv6Address, pause: float, now: float) -> None:
        self._repetitions[home_address] = self._context.timers.schedule(
            now + pause,
            lambda then: self._enqueue(home_address, min(2 * pause, LAST_REPETITION), then),
        )

    def _is_behind(self, binding: Binding) -> bool:
        """Whether a Binding Update is needed, so that the mobile node knows those that are here.

        In draft modes, where there is no table, it is to know that there are others at all (M).
        """
        served = binding.bound and binding.primary == self._context.config.index
        if not served or not binding.multi_sender:
            return False
        if len(self._context.peers):
            return binding.known != self._members
        return self._context.hardened and binding.known not in (EVERYBODY, self._own)

    def _make(self) -> None:
        config, peers = self._context.config, self._context.peers
        listed = [(config.index, config.address), *((each.index, each.address) for each in peers)]
        self._entries = tuple(SidEntry(index, own) for index, own in sorted(listed))
        self.version = table_version(self._entries)
        self._members = EVERYBODY
        if self._context.hardened:
            self._members = sum(1 << each.index for each in self._entries)
