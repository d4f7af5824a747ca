"""What probe streams say about a renewal: pure functions over recorded packets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from experiments import streams
from experiments.probes import Flow
from experiments.streams import PAUSE_NS, Stream

MS = 1_000_000


class Cause(StrEnum):
    """Why SAs are renewed."""

    ASKED = "asked"
    """By a person, at the primary that has the IKE SA: a rekey."""
    NEW_PRIMARY = "new-primary"
    """By a person, at a primary that took over: it makes an IKE SA of its own."""
    NUMBERS = "numbers"
    """An HA that is not primary runs out of numbers and asks the primary."""


@dataclass(frozen=True, slots=True)
class Window:
    """One renewal. Times are CLOCK_MONOTONIC, ns.

    `since`: it was asked for. `end`: traffic ran for a while after the old SAs were gone.
    `begun`: how many renewals began from `since` to `end`.
    """

    cause: Cause
    primary: str
    since: int
    began: int
    renewed: int
    deleted: int
    end: int
    begun: int = 1


def pause_ns(recorded: Mapping[Flow, Stream], from_ns: int, to_ns: int) -> int:
    """Return the longest time for which any sender paused in [from, to)."""
    return max(streams.longest_pause_ns(each.sent, from_ns, to_ns) for each in recorded.values())


def rows(window: Window, recorded: Mapping[Flow, Stream]) -> Iterator[dict[str, Any]]:
    """Yield the columns of `renewals.csv`: what each stream saw of the renewal.

    The window ends at the last moment of which every packet sent is known to have arrived, or not.
    """
    since, end = window.since, window.end
    for flow, stream in recorded.items():
        pause = streams.longest_pause_ns(stream.sent, since, end)
        up = flow.sender == "mn"
        yield {
            "cause": window.cause.value,
            "primary": window.primary,
            "direction": "up" if up else "down",
            "correspondent": flow.receiver if up else flow.sender,
            "flow": flow.number,
            "renewals_begun": window.begun,
            "sent_packets": stream.index(end) - stream.index(since),
            "lost_packets": streams.lost(stream, since, end),
            "duplicated_packets": streams.duplicated(stream),
            "reordered_packets": streams.reordered(stream, since, end),
            "longest_gap_ms": streams.longest_gap_ns(stream, since, end) / MS,
            "sender_pause_ms": pause / MS,
            "undisturbed": pause <= PAUSE_NS,
        }
