"""Mobility Header messages that came under a mobile node's SA, from decision to acknowledgement."""

from collections.abc import Callable, Hashable
from dataclasses import replace
from ipaddress import IPv6Address

from agents.core.binding_cache import LAST_VERSION, Binding, BindingEvent, BindingState
from agents.core.context import Context
from agents.core.counters import Dropped
from agents.core.events import BindingAccepted, BindingRefused, BindingRemoved, PrimaryChanged
from agents.core.registration import Answer, Registration
from agents.core.security_associations import SecurityAssociation
from agents.core.sid_tables import SidTables
from agents.core.signalling import Signalling
from agents.core.synchronisation import Synchronisation
from agents.wire import mobility
from agents.wire.errors import WireError


class MobilityReceiver:
    """Acts on Binding Updates: cache, acknowledgement, peers."""

    def __init__(
        self,
        context: Context,
        signalling: Signalling,
        synchronisation: Synchronisation,
        released: Callable[[Hashable, float], None],
        became_primary: Callable[[Binding, float], None],
        tables: SidTables,
        may_register: Callable[[], bool],
        *,
        moves_keys: bool = False,
    ) -> None:
        """`released(home_address, now)`: packets may wait for the binding just made.

        `became_primary(binding, now)`: another HA was it before. `moves_keys`: there are IKE SAs
        here that can follow a care-of address. `may_register()`: whether peers would hear of it.
        """
        self._context = context
        self._signalling = signalling
        self._synchronisation = synchronisation
        self._released = released
        self._became_primary = became_primary
        self._moves_keys = moves_keys
        self._tables = tables
        self._may_register = may_register
        self._registration = Registration(
            context.config, context.cache, tables.known_after, self._ended
        )

    def receive(
        self,
        association: SecurityAssociation,
        source: IPv6Address,
        message: mobility.MobilityMessage,
        now: float,
        *,
        in_tunnel: bool,
    ) -> None:
        """A Mobility Header message under the mobile node's SA."""
        home_address = association.home_address
        if not isinstance(message, mobility.BindingUpdate):
            self._signalling.not_an_update(message, home_address, source, in_tunnel)
            return
        if not self._may_register():
            raise Dropped("leaving")
        self._context.counters["received.binding-update"] += 1
        held = self._context.cache.get(home_address)
        was_primary = held is not None and held.primary == self._context.config.index
        answer = self._registration.update(
            message, home_address, source, association.generation, now
        )
        if message.key_management and self._moves_keys:
            answer = replace(answer, key_management=True)
        if answer.binding is None:
            self._context.report(BindingRefused(home_address, int(answer.status)))
            self._signalling.acknowledge(home_address, answer, in_tunnel)
            return
        if not was_primary:
            binding = answer.binding
            self._context.report(PrimaryChanged(home_address, binding.primary, binding.epoch, "bu"))
        self._accepted(answer, in_tunnel, now)
        if held is not None and not was_primary:
            self._became_primary(answer.binding, now)

    def _accepted(self, answer: Answer, in_tunnel: bool, now: float) -> None:
        """Acknowledge at once, or when duplicate address detection is over (RFC 6275 §10.3.1)."""
        binding = answer.binding
        assert binding is not None
        delay = self._context.config.duplicate_detection
        if binding.state is BindingState.PROBING:
            if delay:
                self._context.timers.schedule(
                    now + delay, lambda then: self._probe_done(answer, in_tunnel, then)
                )
                return
            binding.handle(BindingEvent.PROBE_DONE)
        self._acknowledge(answer, in_tunnel, now)

    def _probe_done(self, answer: Answer, in_tunnel: bool, now: float) -> None:
        binding = answer.binding
        assert binding is not None
        if self._context.cache.get(binding.home_address) is not binding:
            return  # a newer Binding Update came meanwhile, and has a probe of its own
        if binding.state is BindingState.PROBING:
            binding.handle(BindingEvent.PROBE_DONE)
            if binding.primary != self._context.config.index:
                # A peer took the role meanwhile; to accept an Update makes primary (rule 1 (a)).
                binding.epoch = min(binding.epoch + 1, LAST_VERSION)
                binding.primary = self._context.config.index
                self._context.report(
                    PrimaryChanged(binding.home_address, binding.primary, binding.epoch, "bu")
                )
            self._acknowledge(answer, in_tunnel, now)

    def _acknowledge(self, answer: Answer, in_tunnel: bool, now: float) -> None:
        binding = answer.binding
        assert binding is not None
        if binding.bound:
            self._context.report(
                BindingAccepted(
                    binding.home_address, binding.care_of_address, answer.sequence, answer.lifetime
                )
            )
        self._signalling.acknowledge(binding.home_address, answer, in_tunnel)
        self._tables.expect(binding, now)
        self._synchronisation.announce_binding(binding, now)
        self._released(binding.home_address, now)

    def expired(self, binding: Binding, now: float) -> None:
        """The binding's lifetime has run out."""
        self._context.report(BindingRemoved(binding.home_address, "expired"))

    def _ended(self, binding: Binding, reason: str) -> None:
        self._context.report(BindingRemoved(binding.home_address, reason))


def parse_protected(
    payload: bytes, source: IPv6Address, destination: IPv6Address
) -> mobility.MobilityMessage:
    """Read a message that came in ESP; no pointer into it can be told to its sender."""
    try:
        return mobility.parse_mobility(payload, source, destination)
    except WireError as error:
        raise Dropped(str(error.reason)) from error
