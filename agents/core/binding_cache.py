"""The binding cache, and how two copies of an entry become one (design §10, rule 2).

An entry has two versions, kept apart. What the mobile node registered is ordered by (registration
instance, BU sequence modulo 2^16); who is primary is ordered by (epoch, HA index). One joint
version would lose an acknowledged binding: HA2 at epoch 2 with sequence 10 would beat HA1 at
epoch 1 with sequence 15.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv6Address

from agents.core.outer_header import OuterHeader
from agents.core.security_associations import SecurityAssociation
from agents.core.timers import TimerQueue
from agents.wire.inter_ha import EVERYBODY, BindingEntry

TOMBSTONE_TIME = 300.0
"""Seconds for which an ended binding is remembered, so that a late Update cannot revive it."""


LAST_VERSION = 0xFFFF_FFFF
"""Epochs and registration instances end here: a peer that lies about them must not break others."""

WRAPPED = 1 << 15
"""Numbers by which a sequence has to advance until an older one can look newer."""


class BindingState(StrEnum):
    """The life of an entry at a home agent."""

    NONE = "none"
    PROBING = "probing"
    BOUND = "bound"
    ENDED = "ended"


class BindingEvent(StrEnum):
    """What moves an entry from one state to the next."""

    UPDATE = "update"
    PROBE_DONE = "probe-done"
    LEARNT = "learnt"
    END = "end"
    FORGET = "forget"


BINDING_TRANSITIONS: dict[BindingState, dict[BindingEvent, BindingState]] = {
    BindingState.NONE: {
        BindingEvent.UPDATE: BindingState.PROBING,
        BindingEvent.LEARNT: BindingState.BOUND,
        BindingEvent.END: BindingState.ENDED,
    },
    BindingState.PROBING: {
        BindingEvent.UPDATE: BindingState.PROBING,
        BindingEvent.PROBE_DONE: BindingState.BOUND,
        BindingEvent.LEARNT: BindingState.BOUND,
        BindingEvent.END: BindingState.ENDED,
    },
    BindingState.BOUND: {
        BindingEvent.UPDATE: BindingState.BOUND,
        BindingEvent.LEARNT: BindingState.BOUND,
        BindingEvent.END: BindingState.ENDED,
    },
    BindingState.ENDED: {
        BindingEvent.UPDATE: BindingState.PROBING,
        BindingEvent.LEARNT: BindingState.BOUND,
        BindingEvent.END: BindingState.ENDED,
        BindingEvent.FORGET: BindingState.NONE,
    },
}
"""State → event → next state; the state of an HoA without an entry is NONE."""


@dataclass(slots=True)
class Binding:
    """One mobile node's entry. Times are seconds on the engine's clock."""

    home_address: IPv6Address
    care_of_address: IPv6Address
    sequence: int
    flags: int
    expires: float
    registration: int
    primary: int
    epoch: int
    multi_sender: bool = True
    priority: int = 0
    known: int = EVERYBODY
    """Bit i: the mobile node takes packets of the HA with index i, as its primary says (rule 6)."""
    advanced: int = 0
    """How far the sequence has advanced here within this registration instance (rule 13)."""
    state: BindingState = BindingState.BOUND
    header: OuterHeader | None = None
    """The outer header of tunnel packets from here; None until the first is needed."""
    tunnel: SecurityAssociation | None = None
    """The SA of those packets; None until looked up, and again after a change of SAs."""
    update_asked: float = -math.inf
    """When a Binding Refresh Request last went to the mobile node."""

    @property
    def bound(self) -> bool:
        """Whether packets may be tunnelled to the care-of address."""
        return self.state is BindingState.BOUND

    @property
    def role(self) -> tuple[int, int]:
        """The version of the primary role: (epoch, HA index)."""
        return self.epoch, self.primary

    def handle(self, event: BindingEvent) -> None:
        """Move along `BINDING_TRANSITIONS`; raise `KeyError` for an event out of place."""
        self.state = BINDING_TRANSITIONS[self.state][event]

    def to_wire(self, now: float) -> BindingEntry:
        """Return the entry as it travels, with the lifetime that remains."""
        return BindingEntry(
            home_address=self.home_address,
            care_of_address=self.care_of_address,
            sequence=self.sequence,
            flags=self.flags,
            remaining_ms=max(0, round((self.expires - now) * 1000)),
            registration=self.registration,
            primary=self.primary,
            epoch=self.epoch,
            multi_sender=self.multi_sender,
            priority=self.priority,
            deleted=self.state is BindingState.ENDED,
            known=self.known,
            unordered=self.advanced >= WRAPPED,
        )

    def advance_from(self, held: "Binding | None") -> None:
        """Count how far the sequence has come since `held`, which this one follows."""
        if held is not None and held.registration == self.registration:
            self.advanced = held.advanced + (self.sequence - held.sequence & 0xFFFF)


def newer_sequence(candidate: int, known: int) -> bool:
    """Whether `candidate` comes after `known`, modulo 2^16 (RFC 6275 §9.5.1)."""
    return 0 < (candidate - known & 0xFFFF) < 0x8000


class BindingCache:
    """Entries by home address, each with one timer for its end."""

    def __init__(
        self, timers: TimerQueue, on_expiry: Callable[[Binding, float], None], most: int = 100_000
    ) -> None:
        """`on_expiry(binding, now)` is told after a lifetime has run out."""
        self._bindings: dict[IPv6Address, Binding] = {}
        self._by_octets: dict[bytes, Binding] = {}
        self._by_care_of: dict[IPv6Address, Binding] = {}
        self._timers = timers
        self._on_expiry = on_expiry
        self._most = most
        self.on_priority: Callable[[int, int], None] = lambda before, after: None
        """Told of the priority octet of an entry before and after a change; 0 without entry."""

    def __len__(self) -> int:
        return len(self._bindings)

    def __iter__(self) -> Iterator[Binding]:
        return iter(tuple(self._bindings.values()))

    @property
    def full(self) -> bool:
        """Whether no further home address fits (BA status 130)."""
        return len(self._bindings) >= self._most

    def get(self, home_address: IPv6Address) -> Binding | None:
        """Return the entry, ended ones too, or None."""
        return self._bindings.get(home_address)

    def by_octets(self, home_address: bytes) -> Binding | None:
        """Return the entry for an address as it stands in a packet."""
        return self._by_octets.get(home_address)

    def by_care_of(self, care_of_address: IPv6Address) -> Binding | None:
        """Return the entry that was the last to take this care-of address, or None."""
        return self._by_care_of.get(care_of_address)

    def put(self, binding: Binding) -> None:
        """Keep `binding` in place of whatever was held for its home address."""
        held = self._bindings.get(binding.home_address)
        before = _priority(held)
        if held is not None:
            self._leave(held)
        self._by_care_of[binding.care_of_address] = binding
        self._bindings[binding.home_address] = binding
        self._by_octets[binding.home_address.packed] = binding
        self._watch(binding)
        if before != (after := _priority(binding)):
            self.on_priority(before, after)

    def end(self, binding: Binding, now: float) -> None:
        """End the binding, and remember its versions for a while."""
        before = _priority(binding)
        binding.handle(BindingEvent.END)
        if before:
            self.on_priority(before, 0)
        binding.expires = now + TOMBSTONE_TIME
        binding.header = binding.tunnel = None
        self._watch(binding)

    def merge(self, entry: BindingEntry, now: float) -> tuple[Binding, bool, bool]:
        """Take from a peer's `entry` what is newer; return (binding, moved, new primary).

        `moved` tells that the registration part changed, `new primary` that the role did.
        """
        held = self._bindings.get(entry.home_address)
        if held is None:
            binding = _from_wire(entry, now)
            self.put(binding)
            return binding, True, True
        new_role = (entry.epoch, entry.primary) > held.role
        fresher = entry.registration > held.registration or (
            entry.registration == held.registration
            and newer_sequence(entry.sequence, held.sequence)
        )
        if not fresher and not new_role:
            return held, False, False
        if fresher:
            taken = _from_wire(entry, now)
            taken.advance_from(held)
            if not new_role:
                taken = replace(taken, epoch=held.epoch, primary=held.primary)
            self.put(taken)
            return taken, True, new_role
        held.epoch, held.primary = entry.epoch, entry.primary
        return held, False, True

    def _watch(self, binding: Binding) -> None:
        self._timers.schedule(binding.expires, lambda now: self._look(binding, now))

    def _look(self, binding: Binding, now: float) -> None:
        """A lifetime may have run out: unless it was extended or the entry replaced."""
        if self._bindings.get(binding.home_address) is not binding:
            return
        if now < binding.expires:
            return  # its extension set a timer of its own
        if binding.state is BindingState.ENDED:
            del self._bindings[binding.home_address]
            del self._by_octets[binding.home_address.packed]
            self._leave(binding)
            return
        self.end(binding, now)
        self._on_expiry(binding, now)

    def _leave(self, binding: Binding) -> None:
        """Its care-of address is not its own any more."""
        if self._by_care_of.get(binding.care_of_address) is binding:
            del self._by_care_of[binding.care_of_address]


def _priority(binding: Binding | None) -> int:
    """Return the octet that counts: none of an entry that has ended."""
    return 0 if binding is None or binding.state is BindingState.ENDED else binding.priority


def _from_wire(entry: BindingEntry, now: float) -> Binding:
    remaining = TOMBSTONE_TIME if entry.deleted else entry.remaining_ms / 1000
    return Binding(
        home_address=entry.home_address,
        care_of_address=entry.care_of_address,
        sequence=entry.sequence,
        flags=entry.flags,
        expires=now + remaining,
        registration=entry.registration,
        primary=entry.primary,
        epoch=entry.epoch,
        multi_sender=entry.multi_sender,
        priority=entry.priority,
        known=entry.known,
        state=BindingState.ENDED if entry.deleted else BindingState.BOUND,
    )
