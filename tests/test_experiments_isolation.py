"""The isolation experiment: what records say, summary and figures from a folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments import isolation_records as measure
from experiments import isolation_summary, parameters, plots, report_trust
from experiments.data import EventName, read_summary, read_table
from experiments.data_isolation import ISOLATION_FLOWS, ISOLATION_STEPS, ISOLATIONS
from experiments.hostile_forgeries import FIRST_FLOW
from experiments.hostile_records import Deed, Record
from experiments.isolation import KNOWN
from experiments.isolation_records import MS, Hostile, S
from experiments.isolation_summary import FENCINGS, ROLES, TRIGGERS
from experiments.run import RunFolder
from experiments.streams import Stream
from experiments.watch import Observation

WHO = Hostile("HA2", 2, frozenset({"HA1", "HA3"}), "mn")
TURNED, TRIGGER, END = 9 * S, 10 * S, 14 * S


def told(when: int, node: str, kind: str, **fields: Any) -> Observation:
    return Observation(when, EventName.AGENT, {"node": node, "kind": kind, **fields})


def learnt(when: int, node: str = "HA1", peer: str = "HA2") -> Observation:
    return told(when, node, "binding-learnt", peer=peer)


def ike(initiator: int, responder: int) -> str:
    """An IKE SA as events name it; the first octets of the SPIs of its ends."""
    return f"{initiator << 56:016x}:{responder << 56:016x}"


def deeds(*drawn: int) -> list[Record]:
    """It tries everything to the end; packets come to it at these times."""
    made = [Record(TURNED, Deed.TURNED)]
    for when in range(TURNED, END, 100 * MS):
        made += [Record(when, each) for each in (Deed.UPDATE, Deed.TUNNEL, Deed.IKE)]
    return made + [Record(when, Deed.DRAWN) for when in drawn]


def test_who_tells_of_what() -> None:
    seen = [
        learnt(TURNED - 1),  # it was honest then
        learnt(TURNED + 1),
        learnt(TURNED + 2, peer="HA3"),
        learnt(TURNED + 3, node="HA2"),  # it says so itself: that is nothing
        told(TURNED + 4, "HA3", "sa-learnt", peer="HA2"),
        told(TURNED + 5, "HA3", "primary-changed", cause="peer", primary=2),
        told(TURNED + 6, "HA3", "primary-changed", cause="bu", primary=3),
        told(TURNED + 7, "HA1", "peer-sa-made", peer="HA2"),
        told(TURNED + 8, "HA1", "peer-sa-made", peer="HA3"),
        told(TURNED + 9, "mn", "ike-established", initiator=True, sa=ike(2, 1)),
        told(TURNED + 10, "mn", "ike-established", initiator=True, sa=ike(0, 2)),
        told(TURNED + 11, "mn", "ike-established", initiator=False, sa=ike(2, 0)),
        told(TURNED + 12, "HA2", "ike-established", initiator=True, sa=ike(2, 0)),
    ]
    arrivals = {
        1: [(0, TURNED)],
        FIRST_FLOW: [(7, TURNED + 20)],
        FIRST_FLOW + 1: [(7, TURNED + 19)],
    }
    found = measure.achieved(WHO, seen, arrivals, deeds(TURNED + 30))
    after = {kind: [each - TURNED for each in times] for kind, times in found.times.items()}
    assert after == {"update": [1, 4, 5], "tunnel": [19, 20], "ike": [7, 10, 11], "drawn": [30]}


def test_who_never_turned_is_no_result() -> None:
    with pytest.raises(ValueError, match="HA2 did not turn"):
        measure.achieved(WHO, [], {}, [])


def test_the_latest_of_all_kinds_counts() -> None:
    seen = [learnt(TRIGGER + 4 * MS), told(TRIGGER + 3 * MS, "HA1", "peer-sa-made", peer="HA2")]
    arrivals = {FIRST_FLOW: [(1, TRIGGER - 5 * MS), (2, TRIGGER + 7 * MS)]}
    row = measure.outcome(
        measure.achieved(WHO, seen, arrivals, deeds(TRIGGER - 1, TRIGGER + 40 * MS)), TRIGGER, END
    )
    assert (row["powerless"], row["tried_to_the_end"]) == (True, True)
    assert (row["time_to_powerless_ms"], row["time_to_refused_ms"]) == (40, 7)
    assert (row["update_ms"], row["tunnel_ms"], row["ike_ms"], row["drawn_ms"]) == (4, 7, 3, 40)
    assert (row["tunnel_before"], row["tunnel_after"]) == (1, 1)
    assert (row["drawn_before"], row["drawn_after"], row["ike_before"]) == (1, 1, 0)
    assert (row["updates_tried"], row["window_ms"]) == (40, 4000)


def test_what_ended_before_the_trigger_took_no_time() -> None:
    row = measure.outcome(measure.achieved(WHO, [learnt(TRIGGER - MS)], {}, deeds()), TRIGGER, END)
    assert (row["time_to_powerless_ms"], row["update_ms"], row["tunnel_ms"]) == (0, -1, None)


def test_what_goes_on_has_no_time() -> None:
    drawn = deeds(*range(TURNED, END + S, 10 * MS))
    row = measure.outcome(measure.achieved(WHO, [learnt(TRIGGER + MS)], {}, drawn), TRIGGER, END)
    assert not row["powerless"]
    assert row["time_to_powerless_ms"] is None
    assert row["time_to_refused_ms"] == 1
    assert row["drawn_ms"] == 3990  # what came after the window is not in it


def test_one_that_gave_up_shows_nothing() -> None:
    gave_up = [each for each in deeds() if each.time_ns < END - S]
    assert not measure.outcome(measure.achieved(WHO, [], {}, gave_up), TRIGGER, END)[
        "tried_to_the_end"
    ]


def test_isolated_by_all_or_not_at_all() -> None:
    seen = [told(TRIGGER + MS, "HA1", "peer-isolated", peer="HA2")]
    assert measure.isolated_ns(WHO, seen) is None
    seen.append(told(TRIGGER + 3 * MS, "HA3", "peer-isolated", peer="HA2"))
    assert measure.isolated_ns(WHO, seen) == TRIGGER + 3 * MS


def test_what_an_honest_flow_lost() -> None:
    sent = list(range(8 * S, 15 * S, MS))
    dead = range(TURNED + 500 * MS, TRIGGER + 30 * MS)
    arrivals = [(n, when + MS) for n, when in enumerate(sent) if when not in dead]
    stream = Stream(sent, arrivals)
    row = measure.flow(stream, TURNED, TRIGGER, END)
    assert (row["lost_before_packets"], row["lost_packets"], row["lost_tail_packets"]) == (
        500,
        30,
        0,
    )
    assert (row["sent_packets"], row["longest_gap_ms"], row["undisturbed"]) == (4000, 531, True)
    found = dict(measure.steps(measure.lost_times(stream, TURNED), TRIGGER, END))
    assert (found[-500.0], found[-50.0], found[0.0]) == (50, 50, 30)
    assert len(found) == 11


def run_folder(results: Path, *, endless: str = "") -> Path:
    """Write a complete run with made-up numbers; of trial 2 of a trigger no time is known."""
    folder = RunFolder.create("isolation", parameters.parse(KNOWN, [], {}), results)
    number = 0
    with folder:
        for role in ROLES:
            for trigger in TRIGGERS:
                for fencing in FENCINGS:
                    for trial in (1, 2):
                        number += 1
                        cell = {"trial": number, "role": role, "trigger": trigger,
                                "fencing": fencing}  # fmt: skip
                        goes_on = fencing == "off" or (trigger == endless and trial == 2)
                        _trial(folder, cell, trial, goes_on)
        folder.summary(isolation_summary.rows(folder.path))
        folder.complete()
    return folder.path


def _trial(folder: RunFolder, cell: dict[str, Any], trial: int, goes_on: bool) -> None:
    until = END if goes_on else TRIGGER + (10 + trial) * MS
    drawn = range(TURNED, until, MS)
    found = measure.achieved(WHO, [learnt(TRIGGER + 2 * MS)], {}, deeds(*drawn))
    folder.row(ISOLATIONS, **cell, **measure.outcome(found, TRIGGER, END), hostile="HA2",
               isolated_ms=2.5, registered_ms=None if goes_on else 4.0)  # fmt: skip
    sent = list(range(8 * S, 15 * S, MS))
    for direction, correspondent in (("up", "cn1"), ("down", "cn1"), ("down", "cn2")):
        lost = drawn if correspondent == "cn1" else range(0)
        stream = Stream(sent, [(n, w + MS) for n, w in enumerate(sent) if w not in lost])
        folder.row(ISOLATION_FLOWS, **cell, direction=direction, correspondent=correspondent,
                   path="hostile", **measure.flow(stream, TURNED, TRIGGER, END))  # fmt: skip
    for step, count in measure.steps(drawn, TRIGGER, END) if trial == 1 else ():
        folder.row(ISOLATION_STEPS, **cell, kind="drawn", step_ms=step, count=count)


def test_summary_and_figures_come_from_the_folder_alone(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    rows = {(r["metric"], *r["conditions"].values()): r for r in read_summary(folder)}
    fenced = rows["time_to_powerless", "verb", "on", "primary"]
    assert (fenced["n"], fenced["max"], fenced["target"], fenced["met"]) == (2, 11, 500, True)
    assert rows["time_to_powerless", "detection", "on", "secondary"]["target"] is None
    assert ("time_to_powerless", "verb", "off", "primary") not in rows
    assert rows["not_powerless", "verb", "off", "primary"]["min"] == 1
    assert rows["time_to_refused", "verb", "off", "primary"]["max"] == 2
    assert rows["lost", "verb", "on", "primary", "down"]["max"] == 12
    assert rows["registered", "detection", "off", "secondary"]["max"] == 0
    assert plots.plot(folder) == ["powerless", "timeline"]
    for name in ("powerless", "timeline"):
        assert (folder / "plots" / f"{name}.svg").stat().st_size > 10_000


def test_one_trial_without_an_end_misses_the_target(tmp_path: Path) -> None:
    rows = {
        (r["metric"], *r["conditions"].values()): r
        for r in read_summary(run_folder(tmp_path, endless="verb"))
    }
    times = rows["time_to_powerless", "verb", "on", "secondary"]
    assert (times["n"], times["max"], times["met"]) == (1, 10, False)
    missed = rows["not_powerless", "verb", "on", "secondary"]
    assert (missed["max"], missed["target"], missed["met"]) == (1, 0, False)


def test_a_line_a_cell(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    tables = read_table(folder, ISOLATIONS), read_table(folder, ISOLATION_FLOWS)
    lines = isolation_summary.overview(*tables)
    assert len(lines) == 8
    last = report_trust.isolation(folder).splitlines()[-1]
    assert last.startswith("| primary | detection | off | 2x not in 4 s | 2 (max 2) | 4000 |")
    assert lines[0] == ["secondary", "verb", "on", "10 (max 11)", "2 (max 2)", "12", "12", "2/2"]
    assert lines[1][3:5] == ["2x not in 4 s", "2 (max 2)"]
