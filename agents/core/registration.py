"""Binding Updates at a home agent (RFC 6275 §9.5.1, §10.3.1, §10.3.2; draft §2).

Only Binding Updates that came under the mobile node's own SA get here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import TypeVar

from agents.config import HomeAgentConfig
from agents.core.binding_cache import (
    LAST_VERSION,
    Binding,
    BindingCache,
    BindingEvent,
    BindingState,
    newer_sequence,
)
from agents.core.counters import Dropped
from agents.wire.addresses import is_unicast_routable
from agents.wire.inter_ha import EVERYBODY
from agents.wire.mobility import BindingUpdate
from agents.wire.mobility_options import AlternateCareOfAddress, MultiSenderCapable, Priority
from agents.wire.status import Status

OptionT = TypeVar("OptionT")

LIFETIME_UNIT = 4.0
"""Seconds in one unit of the Lifetime fields (RFC 6275 §6.1.7)."""

GENERATION_STEP = 1 << 8
"""Registration instances of one SA generation; a new key begins at the next multiple."""


LAST_GENERATION = LAST_VERSION // GENERATION_STEP
"""What a registration instance has room for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the Binding Acknowledgement is to say, and where it goes."""

    status: Status
    sequence: int
    lifetime: float
    care_of_address: IPv6Address
    multi_sender: bool
    binding: Binding | None = None
    table_version: int = 0
    """Of the SID table that the mobile node said it holds; 0: none."""
    key_management: bool = False
    """The IKE SA follows the care-of address (RFC 6275 §6.1.8, K)."""


class Registration:
    """Decides on Binding Updates, and changes the binding cache."""

    def __init__(
        self,
        config: HomeAgentConfig,
        cache: BindingCache,
        known_after: Callable[[int, int], int],
        ended: Callable[[Binding, str], None],
    ) -> None:
        """`known_after` is that of `SidTables`; `ended(binding, reason)` hears deregistrations."""
        self._config = config
        self._cache = cache
        self._known_after = known_after
        self._ended = ended

    def update(
        self,
        update: BindingUpdate,
        home_address: IPv6Address,
        source: IPv6Address,
        generation: int,
        now: float,
    ) -> Answer:
        """Return the answer; `source` is the outer one, `generation` that of the SA used.

        Raises `Dropped` where RFC 6275 wants silence.
        """
        held = self._cache.get(home_address)
        care_of = _option(update, AlternateCareOfAddress)
        destination = care_of.address if care_of is not None else source
        multi_sender, told = _capability(update)

        def refuse(status: Status, sequence: int = update.sequence) -> Answer:
            return Answer(status, sequence, 0.0, destination, multi_sender, None, told)

        if not update.home_registration:
            if held is not None and held.bound:
                return refuse(Status.REGISTRATION_TYPE_CHANGE_DISALLOWED)
            raise Dropped("not-a-home-registration")
        # Within one registration instance, ended or not, the sequence goes on (rule 2).
        goes_on = held is not None and held.registration >= generation * GENERATION_STEP
        if held is not None and goes_on and not newer_sequence(update.sequence, held.sequence):
            return refuse(Status.SEQUENCE_NUMBER_OUT_OF_WINDOW, held.sequence)
        if home_address not in self._config.home_prefix:
            return refuse(Status.NOT_HOME_SUBNET)
        if home_address == self._config.home_agent_address:
            return refuse(Status.ADMINISTRATIVELY_PROHIBITED)
        if update.lifetime == 0 or destination == home_address:
            answer = refuse(Status.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE)
            if held is None or not held.bound:
                return answer
            self._deregister(update, held, generation, now)
            return replace(answer, status=Status.ACCEPTED, binding=held)
        if care_of is None:
            # ESP does not cover the outer source: RFC 6275 §11.7.1 makes the option a must.
            return refuse(Status.REASON_UNSPECIFIED)
        if not is_unicast_routable(destination) or destination in self._config.home_prefix:
            return refuse(Status.INVALID_CARE_OF_ADDRESS)
        if held is None and self._cache.full:
            return refuse(Status.INSUFFICIENT_RESOURCES)
        lifetime = min(update.lifetime * LIFETIME_UNIT, self._config.timers.max_lifetime)
        binding = self._bind(update, home_address, destination, lifetime, generation, now)
        return Answer(
            Status.ACCEPTED, update.sequence, lifetime, destination, multi_sender, binding, told
        )

    def _bind(
        self,
        update: BindingUpdate,
        home_address: IPv6Address,
        care_of_address: IPv6Address,
        lifetime: float,
        generation: int,
        now: float,
    ) -> Binding:
        held = self._cache.get(home_address)
        priority = _option(update, Priority)
        multi_sender, told = _capability(update)
        registration = self._registration(held, generation)
        binding = Binding(
            home_address=home_address,
            care_of_address=care_of_address,
            sequence=update.sequence,
            flags=update.flags,
            expires=now + lifetime,
            registration=registration,
            primary=self._config.index,
            epoch=self._epoch(held),
            multi_sender=multi_sender,
            priority=priority.value if priority is not None else 0,
            known=self._known_after(_known_before(held, registration, told), told),
            state=held.state if held is not None else BindingState.NONE,
        )
        binding.advance_from(held)
        binding.handle(BindingEvent.UPDATE)
        self._cache.put(binding)
        return binding

    def _registration(self, held: Binding | None, generation: int) -> int:
        """Return the instance: a new one only with a new key or after an end (rule 2)."""
        first = generation * GENERATION_STEP
        if held is None:
            return first
        if held.state is BindingState.ENDED:
            return max(first, min(held.registration + 1, LAST_VERSION))
        return max(first, held.registration)

    def _epoch(self, held: Binding | None) -> int:
        """Return the role's epoch: accepting a Binding Update makes primary (rule 1 (a))."""
        if held is None:
            return 1
        if held.primary == self._config.index:
            return held.epoch
        return min(held.epoch + 1, LAST_VERSION)

    def _deregister(
        self, update: BindingUpdate, held: Binding, generation: int, now: float
    ) -> None:
        # A new key begins a new instance here too: to peers its number would be an old one.
        before = replace(held)
        held.registration = self._registration(held, generation)
        held.sequence = update.sequence
        held.advance_from(before)
        held.epoch, held.primary = self._epoch(held), self._config.index
        self._cache.end(held, now)
        self._ended(held, "deregistered")


def _capability(update: BindingUpdate) -> tuple[bool, int]:
    """Return whether the mobile node knows M, and the version of the SID table that it holds."""
    option = _option(update, MultiSenderCapable)
    return option is not None, 0 if option is None else option.table_version


def _known_before(held: Binding | None, registration: int, told: int) -> int:
    """Return whom the mobile node took packets from so far: of anybody, before its first table."""
    if not told and (held is None or registration > held.registration):
        return EVERYBODY
    return 0 if held is None else held.known


def _option(update: BindingUpdate, kind: type[OptionT]) -> OptionT | None:
    for option in update.options:
        if isinstance(option, kind):
            return option
    return None
