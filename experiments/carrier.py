"""Whether both ends of a cut link saw its carrier go, told from what a watcher observed.

A link whose far end keeps its carrier is no cut link but a silent one, which only BFD or a dead
interval finds: so a summary of cut links says which it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.data import EventName
from experiments.faults import DOWN_STATES
from experiments.watch import Observation
from topologies.plan import LinkPlan


def carrier_lost(seen: Sequence[Observation], link: LinkPlan, since_ns: int) -> dict[str, int]:
    """Return when (CLOCK_MONOTONIC, ns) each end's kernel first told that its link is down.

    By node; an end that told nothing since ``since_ns`` (the cut) is not in it. Both ends' nodes
    must be watched (`Watcher.watch_routes`), else their silence says nothing.
    """
    found: dict[str, int] = {}
    for node, interface, _ in link.ends():
        times = [
            each.time_ns
            for each in seen
            if each.time_ns >= since_ns
            and each.matches(EventName.LINK, node=node, interface=interface)
            and each.fields["state"] in DOWN_STATES
        ]
        if times:
            found[node] = min(times)
    return found


def both_ends_saw(seen: Sequence[Observation], link: LinkPlan, since_ns: int) -> bool:
    """Return whether both ends saw the carrier go after a cut."""
    return set(carrier_lost(seen, link, since_ns)) == {link.a, link.b}
