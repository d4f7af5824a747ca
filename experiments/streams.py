"""What a probe stream says about a fault: pure functions over recorded packets.

Records: `<probe>.<flow>.sent` holds the send times of a flow by sequence number (unsigned 64 bit,
native order); `<probe>.received` one `probe.RECORD` an arrival, in the order of arrival. Times are
CLOCK_MONOTONIC nanoseconds, one clock for sender and receiver.
"""

from __future__ import annotations

import statistics
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.probe import PERIOD_NS, RECORD

CONSECUTIVE = 20
"""A flow runs again when so many consecutive packets were delivered (design §11)."""
PAUSE_NS = 3_000_000
"""A sender that paused for longer than this makes its trial void (design §11)."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One recorded stream: send times by sequence number, and arrivals in their order."""

    sent: Sequence[int]
    arrivals: Sequence[tuple[int, int]]  # (sequence, arrival time)
    delivered: dict[int, int] = field(init=False)  # sequence -> time of its first arrival

    def __post_init__(self) -> None:
        delivered: dict[int, int] = {}
        for sequence, arrived in self.arrivals:
            delivered.setdefault(sequence, arrived)
        object.__setattr__(self, "delivered", delivered)

    def until(self, time_ns: int) -> Stream:
        """Return the stream as it stood at a time: later arrivals have not happened.

        A hung agent that goes on delivers what waited in its queues, much too late.
        """
        return Stream(self.sent, [each for each in self.arrivals if each[1] < time_ns])

    def index(self, time_ns: int) -> int:
        """Return the sequence number of the first packet sent at this time or later."""
        return bisect_left(self.sent, time_ns)


@dataclass(frozen=True, slots=True)
class Outage:
    """An outage: the last packet before it, the first after it, its length in ns."""

    last_before: int
    first_after: int
    length_ns: int


def outage(stream: Stream, fault_ns: int) -> Outage | None:
    """Return the outage that a fault caused (design §11), None if the stream did not recover.

    A packet is after the fault when it was sent at its time or later. The sender's own jitter
    around 1 ms is no outage: less than nothing is nothing. ValueError if nothing was delivered
    before the fault.
    """
    fault = stream.index(fault_ns)
    before = next((s for s in range(fault - 1, -1, -1) if s in stream.delivered), None)
    if before is None:
        raise ValueError("no packet was delivered before the fault")
    run = 0
    for sequence in range(fault, len(stream.sent)):
        run = run + 1 if sequence in stream.delivered else 0
        if run == CONSECUTIVE:
            first = sequence - CONSECUTIVE + 1
            length = stream.sent[first] - stream.sent[before] - PERIOD_NS
            return Outage(before, first, max(length, 0))
    return None


def meets_fault_ns(stream: Stream, fault_ns: int, in_flight_ns: int) -> int:
    """Return the send time of the first packet that may have met a fault: at most the fault's.

    Where links have delays, packets were on their way to what failed. The first lost one of those
    sent in the last `in_flight_ns` is where the outage begins; without a loss it begins with the
    fault.
    """
    fault = stream.index(fault_ns)
    first = stream.index(fault_ns - in_flight_ns)
    missing = next((s for s in range(first, fault) if s not in stream.delivered), None)
    return fault_ns if missing is None else stream.sent[missing]


def lost(stream: Stream, from_ns: int, to_ns: int) -> int:
    """Return how many packets sent in [from, to) were never delivered."""
    span = range(stream.index(from_ns), stream.index(to_ns))
    return sum(sequence not in stream.delivered for sequence in span)


def duplicated(stream: Stream) -> int:
    """Return how many arrivals repeat a packet that had arrived before."""
    return len(stream.arrivals) - len(stream.delivered)


def reordered(stream: Stream, from_ns: int, to_ns: int) -> int:
    """Return how many packets sent in [from, to) arrived after a later one (RFC 4737 §3)."""
    first, end = stream.index(from_ns), stream.index(to_ns)
    highest, count = -1, 0
    seen: set[int] = set()
    for sequence, _ in stream.arrivals:
        if sequence in seen:
            continue
        seen.add(sequence)
        if sequence > highest:
            highest = sequence
        elif first <= sequence < end:
            count += 1
    return count


def longest_gap_ns(stream: Stream, from_ns: int, to_ns: int) -> int:
    """Return the longest time between two successive arrivals, the later one in [from, to)."""
    longest, previous = 0, None
    for _, arrived in stream.arrivals:
        if previous is not None and from_ns <= arrived < to_ns:
            longest = max(longest, arrived - previous)
        previous = arrived
    return longest


def median_delay_ns(stream: Stream, from_ns: int, to_ns: int) -> float | None:
    """Return the median one-way delay of the packets sent in [from, to), None if none arrived."""
    span = range(stream.index(from_ns), stream.index(to_ns))
    delays = [stream.delivered[s] - stream.sent[s] for s in span if s in stream.delivered]
    return statistics.median(delays) if delays else None


def longest_pause_ns(sent: Sequence[int], from_ns: int, to_ns: int) -> int:
    """Return the longest time between two successive sends of which one is in [from, to)."""
    first = max(bisect_left(sent, from_ns), 1)
    end = min(bisect_left(sent, to_ns) + 1, len(sent))
    return max((sent[s] - sent[s - 1] for s in range(first, end)), default=0)


def read_sent(path: Path) -> array[int]:
    """Return the send times by sequence number that a probe recorded."""
    times: array[int] = array("Q")
    times.frombytes(path.read_bytes())
    return times


def read_arrivals(paths: Iterable[Path]) -> dict[int, list[tuple[int, int]]]:
    """Return (sequence, arrival time) by flow, in the order of arrival."""
    flows: dict[int, list[tuple[int, int]]] = {}
    for path in paths:
        for flow, _, sequence, _, arrived in RECORD.iter_unpack(path.read_bytes()):
            flows.setdefault(flow, []).append((sequence, arrived))
    return flows
