"""Whether a home agent is cut off from its peers: a loss counts only once it has lasted.

A routing daemon replaces a route by deleting the old and adding the new one. While a neighbour
fails, all routes to the peers may be in that state at once for a few milliseconds (seen: 6 ms); a
home agent that withdrew then would lose the packets of those whom the fault does not touch.
"""

import errno
import socket
from ipaddress import IPv6Address
from typing import Final

LASTING: Final = 0.1
"""Seconds without a route to any peer after which a home agent is cut off."""


_NO_ROUTE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL)


def has_route(destination: IPv6Address) -> bool:
    """Would a packet to `destination` leave? Raises `OSError` where no socket is to be had.

    Asked by connecting a UDP socket, which sends nothing. RTM_GETROUTE is no judge of it: on Linux
    6.18 it went on saying "Network is unreachable" for up to 105 ms after another route had been
    deleted, while packets, and this, found their way.
    """
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(destination), 9))
        except OSError as error:
            if error.errno in _NO_ROUTE:
                return False
            raise
    return True


class Connectivity:
    """Turns what is seen of the routes into what the engine is told."""

    def __init__(self) -> None:
        self._told: bool | None = None
        self._lost_at: float | None = None

    def observe(self, reachable: bool, now: float) -> bool | None:
        """Take what holds now; return what the engine is to be told, None for nothing.

        The first observation counts at once, and so does a route that is back.
        """
        if reachable or self._told is None:
            self._lost_at = None
        elif self._lost_at is None and self._told:
            self._lost_at = now
        lasting = self._lost_at is not None and now < self._lost_at + LASTING
        if lasting or reachable is self._told:
            return None
        self._told, self._lost_at = reachable, None
        return reachable

    def deadline(self) -> float | None:
        """Return when to look again, if a loss is being waited out."""
        return None if self._lost_at is None else self._lost_at + LASTING
