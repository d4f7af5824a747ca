"""What two sets of traffic selectors have in common (RFC 7296 §2.9)."""

from collections.abc import Iterable

from agents.wire.ike.selectors import ANY_PORT, Selector, TrafficSelector

MOST = 16
"""Selectors of one end that are looked at and granted."""


def narrow(
    offered: Iterable[Selector], allowed: Iterable[TrafficSelector]
) -> tuple[TrafficSelector, ...]:
    """Return the parts of `offered` that lie within `allowed`, in the order of the offer.

    Selectors of other types than IPv6 ranges match nothing.
    """
    policy = tuple(allowed)
    common: list[TrafficSelector] = []
    for offer in tuple(offered)[:MOST]:
        if not isinstance(offer, TrafficSelector):
            continue
        for permit in policy:
            part = _intersect(offer, permit)
            if part is not None and part not in common:
                common.append(part)
    return tuple(common[:MOST])


def within(granted: Iterable[Selector], asked: Iterable[TrafficSelector]) -> bool:
    """Whether every selector of an answer lies within one that was asked for."""
    policy = tuple(asked)
    return all(
        isinstance(part, TrafficSelector)
        and any(_intersect(part, permit) == part for permit in policy)
        for part in granted
    )


def _intersect(one: TrafficSelector, other: TrafficSelector) -> TrafficSelector | None:
    if one.protocol and other.protocol and one.protocol != other.protocol:
        return None
    first, last = max(one.first, other.first), min(one.last, other.last)
    ports = _intersect_ports((one.first_port, one.last_port), (other.first_port, other.last_port))
    if first > last or ports is None:
        return None
    return TrafficSelector(one.protocol or other.protocol, first, last, *ports)


def _intersect_ports(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int] | None:
    """Ranges, or OPAQUE (start above end), which any port covers and otherwise itself alone."""
    if one == other or other == ANY_PORT:
        return one
    if one == ANY_PORT:
        return other
    if one[0] > one[1] or other[0] > other[1]:
        return None
    first, last = max(one[0], other[0]), min(one[1], other[1])
    return (first, last) if first <= last else None
