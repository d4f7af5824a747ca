"""Taking over the primary role from a home agent that is gone (draft §3.3.3; rules 1 and 7)."""

from collections.abc import Callable, Sequence

from agents.core.binding_cache import LAST_VERSION, Binding
from agents.core.context import Context
from agents.core.events import PrimaryChanged
from agents.core.security_associations import SaState

TAKEOVER_JUMP = 2**20
"""How far above the old primary's last known number a new one begins (design §10, rule 7)."""


class PrimaryRole:
    """Decides whether this HA becomes primary without a Binding Update."""

    def __init__(
        self,
        context: Context,
        announce: Callable[[Binding, int, float], None],
        announce_all: Callable[[Sequence[Binding], float], None],
    ) -> None:
        """`announce(binding, previous, now)` tells the peers who is primary in place of whom.

        `announce_all(bindings, now)` is told of all that have passed to one, this HA or another.
        """
        self._context = context
        self._announce = announce
        self._announce_all = announce_all

    def consider_takeover(self, binding: Binding, now: float) -> None:
        """Draft §3.3.3: primary invalid, traffic here, and (draft mode) renewal due (rule 1)."""
        if not binding.bound or not self._context.peers.is_gone(binding.primary):
            return
        if not (self._context.hardened or not binding.multi_sender or self._renewal_due(binding)):
            return
        self.take(binding, "takeover", now)

    def take(self, binding: Binding, cause: str, now: float) -> None:
        """Become primary, and tell the peers: by takeover, or by draft §4.1 (rule 1 (c))."""
        previous = binding.primary
        self._pass(binding, self._context.config.index, cause)
        self._announce(binding, previous, now)

    def successor(self) -> int:
        """Return the index of the HA that succeeds one that goes: the lowest that is there."""
        own = self._context.config.index
        return min([own, *(each.index for each in self._context.peers.valid())])

    def succeed(self, index: int, successor: int, cause: str, now: float) -> None:
        """The HA of `index` goes for good: every role it has passes to `successor` (rule 6).

        Without a packet of the mobile node, unlike rule 1 (b): that it goes is certain, and all are
        told the same. The successor alone announces it.
        """
        passed = self.regard_as_passed(index, successor, cause)
        if passed:
            self._announce_all(passed, now)

    def regard_as_passed(self, index: int, successor: int, cause: str) -> list[Binding]:
        """Take note that every role of one HA is another's; return the bindings."""
        passed = [each for each in self._context.cache if each.bound and each.primary == index]
        for binding in passed:
            self._pass(binding, successor, cause)
        return passed

    def _pass(self, binding: Binding, primary: int, cause: str) -> None:
        binding.epoch, binding.primary = min(binding.epoch + 1, LAST_VERSION), primary
        if primary == self._context.config.index and not binding.multi_sender:
            self._jump(binding)
        self._context.report(
            PrimaryChanged(binding.home_address, binding.primary, binding.epoch, cause)
        )

    def _renewal_due(self, binding: Binding) -> bool:
        """Whether an SA comes to its end, or another HA left a renewal of it unfinished."""
        held = self._context.associations.of(binding.home_address)
        return any(each.renewal_due or each.state is SaState.LARVAL for each in held)

    def _jump(self, binding: Binding) -> None:
        """Continue above the old primary's numbers: the mobile node has one window (rule 7)."""
        for each in self._context.associations.of(binding.home_address):
            if not each.inbound:
                each.counter = max(each.counter, each.outbound_floor + TAKEOVER_JUMP)
