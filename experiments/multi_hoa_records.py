"""What the packets of a multi-hoa trial say: pure functions over recorded flows. Times in ns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from experiments import streams
from experiments.opener import PERIOD_NS, RECORD
from experiments.probes import Flow

MS = 1_000_000
STEP_NS = 20 * MS
BEFORE_NS = 500 * MS
"""How much of the time line lies before the fault."""

LAST_NS = 1000 * MS
"""A flow of which nothing arrives that was sent in the last second of the window has stopped."""

AROUND_NS = (100 * MS, 300 * MS)
"""The sender may not be held up from so long before the fault to the end of the outage, and so long
after the fault where it is shorter."""

END = "mn-hoa"


class UnrecoveredError(RuntimeError):
    """What should have recovered within the window did not."""


def end_of(home: int) -> str:
    """Return the name of the MN's end of flows with a home address."""
    return f"{END}{home}"


@dataclass(frozen=True, slots=True)
class NewFlow:
    """A flow: when it began, the number of the home whose HoA it got (0: none), its answer."""

    opened_ns: int
    home: int
    answered_ns: int | None


def read(path: Path, homes: Mapping[bytes, int]) -> list[NewFlow]:
    """Return what `experiments.opener` wrote; `homes`: numbers by home address."""
    return [
        NewFlow(opened, homes.get(source, 0), answered or None)
        for opened, answered, source in RECORD.iter_unpack(path.read_bytes())
    ]


def opener_pause_ms(flows: Sequence[NewFlow], from_ns: int, to_ns: int) -> float:
    """Return how much later than it should have been the latest of the new flows began, in ms."""
    times = [f.opened_ns for f in flows if from_ns - BEFORE_NS <= f.opened_ns < to_ns + PERIOD_NS]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return max(max(gaps, default=PERIOD_NS) - PERIOD_NS, 0) / MS


def choice(flows: Sequence[NewFlow], fault_ns: int, end_ns: int) -> dict[str, Any]:
    """Return how new flows fared from the fault to the end of the window.

    UnrecoveredError if the last of them is unanswered: then it is not known when they work again.
    """
    mine = [flow for flow in flows if fault_ns <= flow.opened_ns < end_ns]
    unanswered = [place for place, flow in enumerate(mine) if flow.answered_ns is None]
    works = unanswered[-1] + 1 if unanswered else 0
    if works >= len(mine):
        raise UnrecoveredError("new flows are not answered at the end of the window")
    second = (flow.opened_ns for flow in mine if flow.home == 2)
    first = next(second, None)
    return {
        "opened_flows": len(mine),
        "unanswered_flows": len(unanswered),
        "works_ms": (mine[works].opened_ns - fault_ns) / MS if unanswered else 0.0,
        "first_ms": None if first is None else (first - fault_ns) / MS,
    }


def opened(flows: Sequence[NewFlow], fault_ns: int, end_ns: int) -> Iterator[dict[str, Any]]:
    """Yield the time line of new flows."""
    for flow in flows:
        if fault_ns - BEFORE_NS <= flow.opened_ns < end_ns:
            answered = flow.answered_ns
            yield {
                "opened_ms": (flow.opened_ns - fault_ns) / MS,
                "home": flow.home,
                "answered_ms": None if answered is None else (answered - fault_ns) / MS,
            }


@dataclass(frozen=True, slots=True)
class Stream:
    """A flow that existed before the fault, and its packets."""

    flow: Flow
    packets: streams.Stream

    @property
    def names(self) -> dict[str, Any]:
        """Its home and direction."""
        down = self.flow.receiver.startswith(END)
        end = self.flow.receiver if down else self.flow.sender
        return {"home": int(end.removeprefix(END)), "direction": "down" if down else "up"}

    def row(self, fault_ns: int, end_ns: int) -> dict[str, Any]:
        """Return what became of it from the fault to the end of the window."""
        packets = self.packets.until(end_ns)
        late = range(packets.index(end_ns - LAST_NS), packets.index(end_ns))
        stopped = not any(sequence in self.packets.delivered for sequence in late)
        outage = None if stopped else streams.outage(packets, fault_ns)
        length = 0 if outage is None else outage.length_ns
        before, after = AROUND_NS
        pause = streams.longest_pause_ns(
            packets.sent, fault_ns - before, fault_ns + max(length, after)
        )
        return {
            **self.names,
            "stopped": stopped,
            "outage_ms": None if outage is None else length / MS,
            "sent_packets": packets.index(end_ns) - packets.index(fault_ns),
            "lost_packets": streams.lost(self.packets, fault_ns, end_ns),
            "longest_gap_ms": streams.longest_gap_ns(packets, fault_ns, end_ns) / MS,
            "sender_pause_ms": pause / MS,
            "undisturbed": pause <= streams.PAUSE_NS,
        }

    def steps(self, fault_ns: int, end_ns: int) -> Iterator[dict[str, Any]]:
        """Yield its time line in steps."""
        packets = self.packets
        for begin in range(fault_ns - BEFORE_NS, end_ns, STEP_NS):
            span = range(packets.index(begin), packets.index(begin + STEP_NS))
            yield {
                **self.names,
                "step_ms": (begin - fault_ns) / MS,
                "sent_packets": len(span),
                "delivered_packets": sum(sequence in packets.delivered for sequence in span),
            }
