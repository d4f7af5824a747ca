"""What BGP chooses, worked out from the plan: what tests hold FRR's tables against.

Knows of a route its AS path, who told it, and the order in which ways are preferred: one's own,
the shorter path, one told from outside the AS, the neighbour with the lower number.
"""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv6Address

from topologies.plan import End, Plan, Protocol

BACKUP_PREPENDS = 2


@dataclass(frozen=True)
class Choice:
    """A router's way to a prefix; `end` is None for its own."""

    path: tuple[int, ...]
    end: End | None = None
    exterior: bool = True

    @property
    def next_hop(self) -> IPv6Address:
        """The neighbour that told it: between border routers of an AS too (next-hop-self)."""
        assert self.end is not None
        return self.end.neighbour_address


def choices(plan: Plan, origins: Collection[str]) -> dict[str, Choice]:
    """Return each router's way to a prefix that these routers originate; absent: it has none."""
    found = {name: Choice(()) for name in origins}
    while True:
        news = {name: Choice(()) for name in origins}
        for name in plan.nodes:
            offers = [offer for end in plan.ends_of(name) if (offer := _offer(plan, found, end))]
            if name not in origins and offers:
                news[name] = min(offers, key=lambda offer: _order(plan, offer))
        if news == found:
            return found
        found = news


def _order(plan: Plan, offer: Choice) -> tuple[int, bool, int]:
    assert offer.end is not None
    return len(offer.path), not offer.exterior, plan.nodes[offer.end.neighbour].number


def _offer(plan: Plan, found: dict[str, Choice], end: End) -> Choice | None:
    """Return what a neighbour tells of its own choice; None: nothing, or nothing that is taken."""
    there = found.get(end.neighbour)
    if there is None:
        return None
    mine = next(e for e in plan.ends_of(end.neighbour) if e.link is end.link)
    me, neighbour = plan.nodes[mine.neighbour], plan.nodes[end.neighbour]
    if end in plan.interior_peers(me.name):
        return Choice(there.path, end, exterior=False) if there.exterior else None
    if end.link.protocol is not Protocol.BGP:
        return None
    if there.path and not plan.is_transit(neighbour.name):
        return None  # a stub tells of its own prefixes alone
    times = 1 + BACKUP_PREPENDS * end.link.backup * (not plan.is_transit(neighbour.name))
    path = (neighbour.asn,) * times + there.path
    return None if me.asn in path else Choice(path, end)
