"""Which initiators are let in when many begin: so many a second of each network (RFC 8019 §4.2).

A cookie proves that an initiator receives at its address, and addresses of its own network cost it
nothing; what it begins costs the responder a key exchange. `half_open` bounds what is remembered.
"""

from ipaddress import IPv6Address

from agents.core.rate_limit import RateLimit

MOST_NETWORKS = 256
"""Networks that are remembered; the one heard least lately is forgotten, and has a full share."""

_NETWORK = slice(0, 8)


class Admission:
    """Counts by network what IKE_SA_INIT requests with a valid cookie are let in."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
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
            limit = RateLimit(self._per_second)
        self._limits[network] = limit
        return limit.allow(now)
