"""The phases of a failover, read off what was observed between the fault and its repair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from experiments.data import EventName
from experiments.faults import marked_invalid
from experiments.scenarios import Case, Way
from experiments.watch import Observation

T = TypeVar("T")


def phases(
    seen: Sequence[Observation],
    case: Case,
    survivors: Sequence[str],
    first_packet_ns: int | None,
) -> dict[str, int]:
    """Return when each phase of `data.PHASE_NAMES` began; those that did not happen are absent.

    `seen` starts with the fault, in the order of time; `survivors` are the home agents in service.
    """
    moved = _all(seen, case.moves, Way.moved)
    found = {
        "detected": _first(seen, case.fault.noticed),
        "withdrawn": _all(seen, case.withdrawn, Way.left),
        "fib-changed": moved,
        "fib-settled": None if case.fault.repairs_itself else _settled(seen, case.moves, moved),
        "first-packet": first_packet_ns if case.moves else None,
        "new-primary": _first(seen, lambda o: _takeover(o, survivors)),
        "peers-in-sync": _all(
            seen, sorted(case.estranged), lambda pair, o: marked_invalid(o, pair)
        ),
    }
    return {name: time for name, time in found.items() if time is not None}


def _first(seen: Sequence[Observation], wanted: Callable[[Observation], bool]) -> int | None:
    return next((o.time_ns for o in seen if wanted(o)), None)


def _all(
    seen: Sequence[Observation], each: Sequence[T], wanted: Callable[[T, Observation], bool]
) -> int | None:
    """Return when the last of these happened for the first time; None if one did not."""
    times = [_first(seen, lambda o, one=one: wanted(one, o)) for one in each]  # type: ignore[misc]
    known = [time for time in times if time is not None]
    return max(known) if known and len(known) == len(times) else None


def _settled(seen: Sequence[Observation], ways: Sequence[Way], moved: int | None) -> int | None:
    """Return when a route changed for the last time, if it did so again after all had moved."""
    changes = [o.time_ns for o in seen if any(way.changed(o) for way in ways)]
    return changes[-1] if moved is not None and changes[-1] > moved else None


def _takeover(seen: Observation, survivors: Sequence[str]) -> bool:
    return (
        seen.matches(EventName.AGENT, kind="primary-changed", cause="takeover")
        and seen.fields["node"] in survivors
    )
