"""The rows that a trial of the failover experiment writes, and what its streams say."""

from __future__ import annotations

import time
from typing import Any

from experiments import streams
from experiments.data import PACKETS, PHASES, STREAMS, TRIALS, EventName
from experiments.probes import Flow
from experiments.scenarios import AFFECTED
from experiments.streams import Stream
from experiments.trial import BEFORE_NS, MS, Failed, Outcome, Trial, Valid, Void

SHOWN_BEFORE_MS, SHOWN_AFTER_MS = 20.0, 60.0
_SIGNALLING = ("binding_updates", "sa_messages", "ike_exchanges")


def write(trial: Trial, outcome: Outcome, with_packets: bool) -> None:
    """Write the trial's rows; streams and phases of valid trials alone. Forgets observations."""
    state = type(outcome).__name__.lower()
    reason = "" if isinstance(outcome, Valid) else outcome.reason
    fault_ns, inject_ns = trial.fault_ns, trial.inject_ns
    whole = isinstance(outcome, Valid)
    trial.folder.row(
        TRIALS,
        trial=trial.number,
        **trial.cell.columns(),
        state=state,
        reason=reason,
        fault_time_ns=fault_ns or None,
        phase_ms=trial.phase_s * 1000,
        injection_ms=_ms(fault_ns - inject_ns) if fault_ns else None,
        resynchronised_first=trial.resynchronised_first,
        agreement_ms=None if trial.agreed_ns is None else _ms(trial.agreed_ns - trial.repair_ns),
        carrier_at_both_ends=trial.carrier_at_both_ends() if whole else None,
        route_changes=trial.route_changes() if whole else None,
        **{name: trial.signalling.get(name) for name in _SIGNALLING},
        load=trial.load,
    )
    _write_end(trial, outcome, reason)
    if whole:
        _write_streams(trial)
        _write_phases(trial)
        if with_packets:
            _write_packets(trial)
    trial.watcher.forget(time.monotonic_ns())


def _write_end(trial: Trial, outcome: Outcome, reason: str) -> None:
    if isinstance(outcome, Void):
        trial.folder.event(EventName.TRIAL_VOID, trial=trial.number, reason=reason)
    elif isinstance(outcome, Failed):
        trial.folder.event(EventName.TRIAL_FAILED, trial=trial.number, reason=reason)
    else:
        trial.folder.event(EventName.TRIAL_END, trial=trial.number)


def _write_streams(trial: Trial) -> None:
    for flow, stream in trial.recorded.items():
        trial.folder.row(
            STREAMS,
            trial=trial.number,
            **trial.cell.columns(),
            **_ends(flow),
            role=trial.case.role(flow),
            **analysis(
                stream,
                trial.fault_ns,
                trial.recovered_ns,
                trial.repair_ns,
                trial.meets_fault_ns(flow),
            ),
        )


def _write_phases(trial: Trial) -> None:
    arrivals = []
    for flow, stream in trial.recorded.items():
        found = trial.outage(flow)
        if trial.case.role(flow) == AFFECTED and found is not None:
            arrivals.append(stream.delivered[found.first_after])
    for name, when in trial.phases(min(arrivals)).items():
        trial.folder.row(
            PHASES,
            trial=trial.number,
            **trial.cell.columns(),
            phase=name,
            after_fault_ms=_ms(when - trial.inject_ns),
        )


def _write_packets(trial: Trial) -> None:
    end = trial.end()
    for flow, stream in trial.recorded.items():
        in_time = stream.until(trial.repair_ns)
        shown = int(SHOWN_BEFORE_MS * MS) + trial.in_flight_ns(flow)
        first = stream.index(trial.inject_ns - shown)
        last = stream.index(min(end + int(SHOWN_AFTER_MS * MS), trial.repair_ns))
        for sequence in range(first, last):
            arrived = in_time.delivered.get(sequence)
            trial.folder.row(
                PACKETS,
                trial=trial.number,
                **trial.cell.columns(),
                **_ends(flow),
                sequence=sequence,
                sent_ms=_ms(stream.sent[sequence] - trial.inject_ns),
                arrived_ms=None if arrived is None else _ms(arrived - trial.inject_ns),
            )


def analysis(
    stream: Stream, fault_ns: int, recovered_ns: int, repair_ns: int, meets_fault_ns: int
) -> dict[str, Any]:
    """Return what one stream says about one trial, as columns of `streams.csv`.

    `meets_fault_ns`: the send time of the first packet that may have met the fault.
    """
    in_time = stream.until(repair_ns)
    found = streams.outage(in_time, meets_fault_ns)
    assert found is not None
    end = stream.sent[-1] + 1
    runs_again = stream.sent[found.first_after]
    missed = streams.lost(in_time, meets_fault_ns, runs_again)
    before = streams.median_delay_ns(stream, fault_ns - 5 * BEFORE_NS, fault_ns)
    after = streams.median_delay_ns(stream, recovered_ns, repair_ns)
    return {
        "outage_ms": _ms(found.length_ns),
        "lost_packets": missed + streams.lost(stream, runs_again, repair_ns),
        "late_packets": missed - streams.lost(stream, meets_fault_ns, runs_again),
        "duplicated_packets": streams.duplicated(stream),
        "reordered_packets": streams.reordered(in_time, fault_ns, repair_ns),
        "longest_gap_ms": _ms(streams.longest_gap_ns(in_time, fault_ns, repair_ns)),
        "delay_before_ms": _ms(before or 0),
        "delay_after_ms": None if after is None else _ms(after),
        "failback_lost_packets": streams.lost(stream, repair_ns, end),
        "failback_reordered_packets": streams.reordered(stream, repair_ns, end),
        "failback_longest_gap_ms": _ms(streams.longest_gap_ns(stream, repair_ns, end)),
    }


def _ends(flow: Flow) -> dict[str, str]:
    up = flow.sender == "mn"
    return {
        "direction": "up" if up else "down",
        "correspondent": flow.receiver if up else flow.sender,
    }


def _ms(nanoseconds: float) -> float:
    return nanoseconds / MS
