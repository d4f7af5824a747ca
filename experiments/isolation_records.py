"""What the records of an isolation trial say: pure functions over events, packets and deeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments import streams
from experiments.data import EventName
from experiments.hostile_forgeries import Form
from experiments.hostile_records import Deed, Record
from experiments.streams import PAUSE_NS, Stream
from experiments.watch import Observation

MS, S = 1_000_000, 1_000_000_000
QUIET_NS = 1 * S
"""It is powerless if nothing happened in so long a part of the window, its last."""

STEP_NS = 50 * MS
BEFORE_NS = 1 * S
"""So much before the trigger is in the time line."""

UPDATE, TUNNEL, DRAWN, IKE = KINDS = ("update", "tunnel", "drawn", "ike")
REFUSABLE = (UPDATE, TUNNEL, IKE)
"""What others can refuse; that routing brings it packets, only fencing ends."""

_TRIED = {UPDATE: Deed.UPDATE, TUNNEL: Deed.TUNNEL, IKE: Deed.IKE}
_SPI_OCTET = 56

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hostile:
    """Who turned, and who its counterparts are."""

    name: str
    index: int
    honest: frozenset[str]
    mobile: str


@dataclass(frozen=True)
class Achieved:
    """When each kind of thing succeeded, and was tried; CLOCK_MONOTONIC, ns, in order."""

    times: Mapping[str, Sequence[int]]
    tried: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def last(self, kind: str, end_ns: int) -> int | None:
        """Return when it last succeeded before `end_ns`; None: never."""
        return max((each for each in self.times[kind] if each < end_ns), default=None)

    def still(self, kinds: Iterable[str], end_ns: int) -> bool:
        """Whether one of these kinds succeeded in the window's last second."""
        return any(
            (last := self.last(kind, end_ns)) is not None and last >= end_ns - QUIET_NS
            for kind in kinds
        )

    def tried_to(self, end_ns: int) -> bool:
        """Whether everything that can be tried was, in the window's last second."""
        return all(
            any(end_ns - QUIET_NS <= each < end_ns for each in self.tried[kind]) for kind in _TRIED
        )


def achieved(
    hostile: Hostile,
    observations: Sequence[Observation],
    arrivals: Mapping[int, Sequence[tuple[int, int]]],
    records: Sequence[Record],
) -> Achieved:
    """Return what the hostile home agent achieved since it turned.

    `arrivals` are (sequence, time) by flow of all probe packets that the mobile node got.
    ValueError if it never turned.
    """
    turned = next((each.time_ns for each in records if each.deed is Deed.TURNED), None)
    if turned is None:
        raise ValueError(f"{hostile.name} did not turn")
    events = [each for each in observations if each.time_ns >= turned]
    return Achieved(
        {
            UPDATE: sorted(each.time_ns for each in events if _learnt(each, hostile)),
            TUNNEL: sorted(when for form in Form for _, when in arrivals.get(form.flow, ())),
            DRAWN: sorted(each.time_ns for each in records if each.deed is Deed.DRAWN),
            IKE: sorted(each.time_ns for each in events if completed(each, hostile)),
        },
        {
            kind: [each.time_ns for each in records if each.deed is deed]
            for kind, deed in _TRIED.items()
        },
    )


def _learnt(seen: Observation, hostile: Hostile) -> bool:
    """Whether an honest home agent says that it took something from the hostile one."""
    if seen.name is not EventName.AGENT or seen.fields["node"] not in hostile.honest:
        return False
    kind = seen.fields["kind"]
    if kind in ("binding-learnt", "sa-learnt"):
        return bool(seen.fields["peer"] == hostile.name)
    return kind == "primary-changed" and (
        (seen.fields["cause"], seen.fields["primary"]) == ("peer", hostile.index)
    )


def completed(seen: Observation, hostile: Hostile) -> bool:
    """Whether the other end says that IKE_AUTH with the hostile home agent is done.

    A mobile node names both IKE SPIs; the first octet of a home agent's is its index (rule 8).
    """
    if seen.name is not EventName.AGENT:
        return False
    node, kind = seen.fields["node"], seen.fields["kind"]
    if node in hostile.honest:
        return bool(kind == "peer-sa-made" and seen.fields["peer"] == hostile.name)
    if node != hostile.mobile or kind != "ike-established":
        return False
    initiator, _, responder = str(seen.fields["sa"]).partition(":")
    theirs = responder if seen.fields["initiator"] else initiator
    return int(theirs, 16) >> _SPI_OCTET == hostile.index


def isolated_ns(hostile: Hostile, observations: Iterable[Observation]) -> int | None:
    """Return when the last honest home agent had isolated it; None unless all of them have."""
    first: dict[str, int] = {}
    for seen in observations:
        if seen.matches(EventName.AGENT, kind="peer-isolated", peer=hostile.name):
            first.setdefault(str(seen.fields["node"]), seen.time_ns)
    return max(first.values()) if first.keys() >= hostile.honest else None


def outcome(found: Achieved, trigger_ns: int, end_ns: int) -> Row:
    """Return what a row of `isolations` says of times and counts."""
    last = {kind: found.last(kind, end_ns) for kind in KINDS}
    row: Row = {
        "powerless": not found.still(KINDS, end_ns),
        "time_to_powerless_ms": _until(found, KINDS, trigger_ns, end_ns),
        "time_to_refused_ms": _until(found, REFUSABLE, trigger_ns, end_ns),
        "window_ms": (end_ns - trigger_ns) / MS,
        "tried_to_the_end": found.tried_to(end_ns),
    }
    for kind in KINDS:
        when = last[kind]
        row[f"{kind}_ms"] = None if when is None else (when - trigger_ns) / MS
        row[f"{kind}_before"] = sum(each < trigger_ns for each in found.times[kind])
        row[f"{kind}_after"] = sum(trigger_ns <= each < end_ns for each in found.times[kind])
    for kind in _TRIED:
        tried = found.tried[kind]
        row[f"{kind}s_tried"] = sum(trigger_ns <= each < end_ns for each in tried)
    return row


def _until(found: Achieved, kinds: Sequence[str], trigger_ns: int, end_ns: int) -> float | None:
    """Return the time until none of these kinds succeeded any more, in ms; None: it did to the end.

    What ended before the trigger took no time.
    """
    if found.still(kinds, end_ns):
        return None
    lasts = [last for kind in kinds if (last := found.last(kind, end_ns)) is not None]
    return max((max(lasts, default=trigger_ns) - trigger_ns) / MS, 0.0)


def flow(stream: Stream, turned_ns: int, trigger_ns: int, end_ns: int) -> Row:
    """Return what a row of `isolation_flows` says of an honest stream."""
    pause = streams.longest_pause_ns(stream.sent, trigger_ns, end_ns)
    return {
        "lost_before_packets": streams.lost(stream, turned_ns, trigger_ns),
        "sent_packets": stream.index(end_ns) - stream.index(trigger_ns),
        "lost_packets": streams.lost(stream, trigger_ns, end_ns),
        "lost_tail_packets": streams.lost(stream, end_ns - QUIET_NS, end_ns),
        "longest_gap_ms": streams.longest_gap_ns(stream, trigger_ns, end_ns) / MS,
        "sender_pause_ms": pause / MS,
        "undisturbed": pause <= PAUSE_NS,
    }


def steps(times: Iterable[int], trigger_ns: int, end_ns: int) -> Iterator[tuple[float, int]]:
    """Yield the steps in which something happened, in ms since the trigger, and how often."""
    counted = Counter(
        (each - trigger_ns) // STEP_NS for each in times if trigger_ns - BEFORE_NS <= each < end_ns
    )
    for step, count in sorted(counted.items()):
        yield step * STEP_NS / MS, count


def lost_times(stream: Stream, from_ns: int) -> list[int]:
    """Return when the packets were sent, from a time on, that never arrived."""
    return [
        sent
        for number, sent in enumerate(stream.sent)
        if sent >= from_ns and number not in stream.delivered
    ]
