"""Which initiators are let in when many begin: a share for each network (RFC 8019 §4.2, §4.4).

A cookie proves that an initiator receives at its address, and addresses of its own network cost it
nothing. So what is bounded is what one /64 may begin a second, and how many half-open SAs it has.
"""

from ipaddress import IPv6Address

from agents.core.ike.context import IkeContext
from agents.core.ike.sa import IkeSa
from agents.core.rate_limit import RateLimit

MOST_NETWORKS = 256
"""Networks that are remembered; the one heard least lately is forgotten, and has a full share."""

_NETWORK = slice(0, 8)


class Admission:
    """Counts by network what IKE_SA_INIT requests with a valid cookie are let in."""

    def __init__(self, context: IkeContext) -> None:
        self._context = context
        self._limits: dict[bytes, RateLimit] = {}

    def __len__(self) -> int:
        return len(self._limits)

    def allow(self, address: IPv6Address, now: float) -> bool:
        """Whether one more from the network of `address` may begin now."""
        network = address.packed[_NETWORK]
        limit = self._limits.pop(network, None)
        if limit is None:
            if len(self._limits) >= MOST_NETWORKS:
                del self._limits[next(iter(self._limits))]
            limit = RateLimit(self._context.config.timers.admissions_per_second)
        self._limits[network] = limit
        return limit.allow(now)

    def displaced(self, address: IPv6Address) -> IkeSa | None:
        """Return the half-open SA that has to go for one more of this network; None: none has to.

        The oldest: who is honest went on within a round trip.
        """
        network = address.packed[_NETWORK]
        held = [self._context.sas[spi] for spi in self._context.half_open]
        mine = [sa for sa in held if sa.remote.packed[_NETWORK] == network]
        if len(mine) < self._context.config.timers.half_open_share:
            return None
        return min(mine, key=lambda sa: sa.timer.when if sa.timer is not None else 0.0)
