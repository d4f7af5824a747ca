"""Origin validation of BGP routes, as RFC 6811 defines it: the same table that a router works by.

Pure: prefixes, AS paths and validated ROA payloads in, a state out. Experiments predict by it what
routers will do, and tests compare routers with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Network

MAX_ASN = 2**32 - 1

Segment = int | frozenset[int]
"""One AS of an AS_SEQUENCE, or an AS_SET."""


class RouteOriginError(ValueError):
    """A payload that cannot be; one line."""


class State(StrEnum):
    """What origin validation says of a route (RFC 6811 §2)."""

    VALID = "valid"
    INVALID = "invalid"
    NOT_FOUND = "notfound"


@dataclass(frozen=True, slots=True)
class Vrp:
    """A validated ROA payload: this AS may originate the prefix, and parts of it to a length.

    AS 0 may originate nothing: the payload covers, and never matches (RFC 6483 §4).
    """

    prefix: IPv6Network
    asn: int
    max_length: int = 0
    """The longest prefix length that is meant; 0 stands for the prefix's own, as RFC 9319 wants."""

    def __post_init__(self) -> None:
        if self.max_length == 0:
            object.__setattr__(self, "max_length", self.prefix.prefixlen)
        if not self.prefix.prefixlen <= self.max_length <= 128:
            raise RouteOriginError(
                f"maxLength {self.max_length} of {self.prefix}: from its own length to 128"
            )
        if not 0 <= self.asn <= MAX_ASN:
            raise RouteOriginError(f"AS {self.asn}: from 0 to {MAX_ASN}")

    def covers(self, prefix: IPv6Network) -> bool:
        """Return whether the payload speaks of this route at all (RFC 6811 §2, "Covered")."""
        return prefix.subnet_of(self.prefix)

    def matches(self, prefix: IPv6Network, origin: int | None) -> bool:
        """Return whether the payload allows it (RFC 6811 §2, "Matched")."""
        return (
            self.covers(prefix)
            and prefix.prefixlen <= self.max_length
            and self.asn != 0
            and origin == self.asn
        )


def origin_of(path: Sequence[Segment], own: int) -> int | None:
    """Return the origin AS of an AS path, None where RFC 6811 §2 says NONE.

    It is the last AS, unless the path ends with a set; an empty path is the speaker's own route.
    """
    if not path:
        return own
    last = path[-1]
    return last if isinstance(last, int) else None


def validate(prefix: IPv6Network, origin: int | None, payloads: Iterable[Vrp]) -> State:
    """Return the state of a route: one match is enough, so an anycast prefix may have many origins.

    RFC 6811 §2. An origin of None (an AS_SET) matches nothing.
    """
    covering = [payload for payload in payloads if payload.covers(prefix)]
    if not covering:
        return State.NOT_FOUND
    matched = any(payload.matches(prefix, origin) for payload in covering)
    return State.VALID if matched else State.INVALID
