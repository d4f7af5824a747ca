"""Taking over the primary role from a home agent that is gone (draft §3.3.3; rules 1 and 7)."""

from collections.abc import Callable

from agents.core.binding_cache import LAST_VERSION, Binding
from agents.core.context import Context
from agents.core.events import PrimaryChanged
from agents.core.peers import PeerState
from agents.core.security_associations import SaState

TAKEOVER_JUMP = 2**20
"""How far above the old primary's last known number a new one begins (design §10, rule 7)."""


class PrimaryRole:
    """Decides whether this HA becomes primary without a Binding Update."""

    def __init__(self, context: Context, announce: Callable[[Binding, int, float], None]) -> None:
        """`announce(binding, previous, now)` tells the peers of a new primary."""
        self._context = context
        self._announce = announce

    def consider_takeover(self, binding: Binding, now: float) -> None:
        """Draft §3.3.3: primary invalid, traffic here, and (draft mode) renewal due (rule 1)."""
        primary = self._context.peers.by_index(binding.primary)
        if not binding.bound or primary is None or primary.state is not PeerState.INVALID:
            return
        if not (self._context.hardened or not binding.multi_sender or self._renewal_due(binding)):
            return
        self.take(binding, "takeover", now)

    def take(self, binding: Binding, cause: str, now: float) -> None:
        """Become primary, and tell the peers: by takeover, or by draft §4.1 (rule 1 (c))."""
        previous = binding.primary
        binding.epoch = min(binding.epoch + 1, LAST_VERSION)
        binding.primary = self._context.config.index
        if not binding.multi_sender:
            self._jump(binding)
        self._context.report(
            PrimaryChanged(binding.home_address, binding.primary, binding.epoch, cause)
        )
        self._announce(binding, previous, now)

    def _renewal_due(self, binding: Binding) -> bool:
        """Whether an SA comes to its end, or another HA left a renewal of it unfinished."""
        held = self._context.associations.of(binding.home_address)
        return any(each.renewal_due or each.state is SaState.LARVAL for each in held)

    def _jump(self, binding: Binding) -> None:
        """Continue above the old primary's numbers: the mobile node has one window (rule 7)."""
        for each in self._context.associations.of(binding.home_address):
            if not each.inbound:
                each.counter = max(each.counter, each.outbound_floor + TAKEOVER_JUMP)
