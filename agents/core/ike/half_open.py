"""IKE SAs that a peer has begun and not proven itself for: bounded, and fair among networks."""

from collections import Counter
from ipaddress import IPv6Address

NETWORK_SHIFT = 64
"""A host can have every address of its /64, so that is what is counted."""


class HalfOpen:
    """Our SPIs of them, old ones first, each with the /64 that it came from."""

    def __init__(self) -> None:
        self._network: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._network)

    def add(self, spi: int, source: IPv6Address) -> None:
        """One more has begun."""
        self._network[spi] = int(source) >> NETWORK_SHIFT

    def discard(self, spi: int) -> None:
        """One has been continued, or is over."""
        self._network.pop(spi, None)

    def one_too_many(self) -> int:
        """Return the SPI of the oldest one from the network that has the most of them.

        An honest end goes on within a round trip: the oldest of the busiest is seldom its own.

        Raises:
            ValueError: there is none.
        """
        counts = Counter(self._network.values())
        busiest = max(counts.values())
        return next(spi for spi, network in self._network.items() if counts[network] == busiest)
