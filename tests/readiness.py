"""The steps by which a network gets ready, and the order in which they must have come.

Only what one step waits for comes before it for certain. Adjacencies, sessions and prefixes are
watched side by side: OSPFv3 has ways around an adjacency that is not full yet, and each of the
three is asked at a moment of its own, so any of them can be seen first.
"""

import itertools
from collections.abc import Mapping

SIDE_BY_SIDE = {"adjacencies full", "BGP established", "prefixes everywhere"}

STAGES: tuple[set[str], ...] = (
    {"network started"},  # no daemon starts in a node that is not there
    {"daemons started"},  # nothing is asked of FRR before
    SIDE_BY_SIDE,  # agents start on a network in which all three hold
    {"home network advertised"},  # mobile nodes start when it is
    {"mobile nodes bound"},
)

DETECTION = "BFD up"
"""Sessions come up while agents start: when is nobody's promise, only that daemons come first."""


def check_steps(timings: Mapping[str, float]) -> None:
    """Check that the steps are all there and that none came before what it waits for."""
    assert set(timings) == {DETECTION}.union(*STAGES)
    assert min(timings.values()) > 0
    for earlier, later in itertools.pairwise(STAGES):
        latest, earliest = max(timings[s] for s in earlier), min(timings[s] for s in later)
        assert latest <= earliest, (earlier, later, timings)
    assert timings["daemons started"] <= timings[DETECTION]
