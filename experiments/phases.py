"""The phases of a failover, read off what was observed between the fault and its repair."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from experiments.data import EventName
from experiments.faults import Fault, Target
from experiments.watch import Observation


def phases(
    seen: Sequence[Observation],
    fault: Fault,
    target: Target,
    border: tuple[str, str],
    others: Collection[str],
    first_packet_ns: int | None,
) -> dict[str, int]:
    """Return when each phase of `data.PHASE_NAMES` began; those that did not happen are absent.

    `seen` starts with the fault, in the order of time. `border` is the border router and its
    interface towards the failed home agent, `others` the home agents that live.
    """
    found = {
        "detected": _first(seen, lambda o: fault.noticed(o, target)),
        "withdrawn": _first(seen, lambda o: _away(o, target.router, target.interface)),
        "fib-changed": _first(seen, lambda o: _moved(o, *border)),
        "first-packet": first_packet_ns,
        "new-primary": _first(seen, lambda o: _takeover(o, others)),
        "peers-in-sync": _all_know(seen, target, others),
    }
    return {name: time for name, time in found.items() if time is not None}


def _first(seen: Sequence[Observation], wanted: Callable[[Observation], bool]) -> int | None:
    return next((o.time_ns for o in seen if wanted(o)), None)


def _away(seen: Observation, node: str, interface: str) -> bool:
    """The node no longer routes the home prefix by this interface."""
    return seen.matches(EventName.ROUTE, node=node) and (
        seen.fields["interface"] != interface or seen.fields["change"] == "delete"
    )


def _moved(seen: Observation, node: str, interface: str) -> bool:
    """The node routes the home prefix by another interface."""
    return (
        seen.matches(EventName.ROUTE, node=node, change="add")
        and seen.fields["interface"] != interface
    )


def _takeover(seen: Observation, others: Collection[str]) -> bool:
    return (
        seen.matches(EventName.AGENT, kind="primary-changed", cause="takeover")
        and seen.fields["node"] in others
    )


def _all_know(seen: Sequence[Observation], target: Target, others: Collection[str]) -> int | None:
    """Return when the last of the others marked the failed home agent invalid."""
    times: dict[str, int] = {}
    for o in seen:
        if o.matches(EventName.AGENT, kind="peer-changed", peer=target.home_agent, state="invalid"):
            times.setdefault(o.fields["node"], o.time_ns)
    return max(times.values()) if others and set(times) >= set(others) else None
