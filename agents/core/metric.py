"""The metric with which this home agent advertises the home prefix (draft §2; rule 12).

A metric belongs to a prefix and not to a mobile node, so all wishes become one favourite, and every
home agent but that one stands back by the same penalty. All compute it from the bindings that all
hold; the order of the others among themselves, and so the next in case of a failure, stays.
"""

from collections.abc import Callable

from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.events import MetricChanged
from agents.core.timers import Timer
from agents.core.wishes import Wishes, from_octet

REFRESH_PAUSE = 1.0
"""Seconds between two Binding Refresh Requests to a mobile node whose wish came true."""


class MetricControl:
    """Computes the metric, and tells of its changes while the prefix is advertised."""

    def __init__(self, context: Context, ask_for_update: Callable[[Binding], None]) -> None:
        """`ask_for_update` sends a Binding Refresh Request to a binding's mobile node."""
        self._context = context
        self._ask_for_update = ask_for_update
        self._wishes = Wishes(set())
        self._told: int | None = None
        self._told_at = 0.0
        self._timer: Timer | None = None
        context.cache.on_priority = self._changed
        self.members_changed()

    @property
    def dynamic(self) -> bool:
        """Whether wishes change anything here."""
        return bool(self._context.config.metric_penalty)

    @property
    def metric(self) -> int:
        """The metric that the wishes as they stand call for."""
        config = self._context.config
        favourite = self._wishes.favourite if self.dynamic else None
        away = favourite is not None and favourite != config.index
        return config.metric + (config.metric_penalty if away else 0)

    def members_changed(self) -> None:
        """Home agents have come or gone: so may the favourite."""
        peers = self._context.peers
        self._wishes.members = {self._context.config.index, *(each.index for each in peers)}
        self._reconsider()

    def before_advertising(self, now: float) -> None:
        """The prefix is about to be advertised: say by which metric."""
        self._told = None
        self._tell(now)

    def withdrawn(self) -> None:
        """The prefix is advertised no more: changes are of no interest until it is."""
        self._told = None

    def traffic(self, binding: Binding, now: float) -> None:
        """A packet of a mobile node came to this HA, which is not its primary.

        Where it wished for this HA, it is asked to register here: routing has followed its wish,
        and its next Binding Update will.
        """
        if not (self.dynamic and binding.bound):
            return
        if from_octet(binding.priority).home_agent != self._context.config.index:
            return
        if now - binding.update_asked >= REFRESH_PAUSE:
            binding.update_asked = now
            self._ask_for_update(binding)

    def _changed(self, before: int, after: int) -> None:
        self._wishes.replace(before, after)
        self._reconsider()

    def _reconsider(self) -> None:
        if self._told is not None and self.metric != self._told and self._timer is None:
            # At once, or when the hold time since the last change is over: no mobile node may
            # make routing flap faster.
            due = self._told_at + self._context.config.timers.metric_hold
            self._timer = self._context.timers.schedule(due, self._due)

    def _due(self, now: float) -> None:
        self._timer = None
        if self._told is not None:
            self._tell(now)

    def _tell(self, now: float) -> None:
        if not self.dynamic or self.metric == self._told:
            return
        first = self._told is None
        self._told = self.metric
        if not first:
            self._told_at = now
        self._context.report(MetricChanged(self._context.config.home_prefix, self.metric))
