"""The multi-hoa experiment: what recorded flows say, summary and figure from a folder alone."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from experiments import multi_hoa_records as records
from experiments import multi_hoa_summary, parameters, plots, report
from experiments.data import read_summary
from experiments.data_multi_hoa import DELIVERED, HOME_FLOWS, NEW_FLOWS, OPENED
from experiments.multi_hoa import KNOWN, SCHEMES
from experiments.multi_hoa_fault import FAULTS, home_agents, outer_interfaces
from experiments.multi_hoa_records import MS, NewFlow, Stream
from experiments.opener import RECORD
from experiments.probes import Flow
from experiments.run import RunFolder
from experiments.streams import Stream as Packets
from topologies.figure_2 import multi_as, multi_hoa
from topologies.plan import Plan

FAULT, END = 5_000 * MS, 8_000 * MS
HOA_1, HOA_2 = IPv6Address("fd00:192:168:1::100").packed, IPv6Address("fd00:192:169:1::100").packed


def new_flows(dead_ms: float, home_after: int = 2) -> list[NewFlow]:
    """One every 20 ms; for `dead_ms` after the fault none is answered, then another home."""
    found = []
    for opened in range(FAULT - 600 * MS + 7 * MS, END + 40 * MS, 20 * MS):
        after = (opened - FAULT) / MS
        dead = 0 <= after < dead_ms
        home = 1 if after < dead_ms else home_after
        found.append(NewFlow(opened, home, None if dead else opened + 2 * MS))
    return found


def stream(lost_ms: float, flow: Flow | None = None, pause_ms: int = 0) -> Stream:
    """1,000 packets a second, none delivered for `lost_ms` after the fault."""
    times = list(range(FAULT - 600 * MS, END + 100 * MS, MS))
    if pause_ms:
        times = [each for each in times if not FAULT < each < FAULT + pause_ms * MS]
    arrivals = [
        (sequence, sent + MS)
        for sequence, sent in enumerate(times)
        if not FAULT <= sent < FAULT + lost_ms * MS
    ]
    return Stream(flow or Flow(1, "cn1", "mn-hoa1"), Packets(times, arrivals))


def test_when_new_flows_work_again() -> None:
    found = records.choice(new_flows(dead_ms=950), FAULT, END)
    assert found["opened_flows"] == 150
    assert found["unanswered_flows"] == 48  # at 7, 27, ..., 947 ms
    assert found["works_ms"] == found["first_ms"] == 967
    calm = records.choice(new_flows(dead_ms=0, home_after=1), FAULT, END)
    assert (calm["unanswered_flows"], calm["works_ms"], calm["first_ms"]) == (0, 0, None)


def test_one_answer_among_losses_is_no_recovery() -> None:
    flows = new_flows(dead_ms=950)
    lucky = flows.index(next(f for f in flows if f.opened_ns > FAULT + 300 * MS))
    flows[lucky] = NewFlow(flows[lucky].opened_ns, 1, flows[lucky].opened_ns + MS)
    assert records.choice(flows, FAULT, END)["works_ms"] == 967


def test_what_does_not_recover_is_no_result() -> None:
    with pytest.raises(records.UnrecoveredError, match="not answered"):
        records.choice(new_flows(dead_ms=4000), FAULT, END)


def test_the_opener_may_not_be_held_up() -> None:
    flows = new_flows(dead_ms=100)
    assert records.opener_pause_ms(flows, FAULT, END) == 0
    late = [flow for flow in flows if not FAULT < flow.opened_ns < FAULT + 100 * MS]
    assert records.opener_pause_ms(late, FAULT, END) == 100


def test_records_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "opened"
    path.write_bytes(
        RECORD.pack(7, 9, HOA_2) + RECORD.pack(8, 0, HOA_1) + RECORD.pack(9, 0, bytes(16))
    )
    assert records.read(path, {HOA_1: 1, HOA_2: 2}) == [
        NewFlow(7, 2, 9),
        NewFlow(8, 1, None),
        NewFlow(9, 0, None),
    ]


def test_a_flow_that_stops_and_one_that_goes_on() -> None:
    stopped = stream(lost_ms=5000).row(FAULT, END)
    assert stopped["stopped"]
    assert stopped["outage_ms"] is None
    assert stopped["lost_packets"] == stopped["sent_packets"] == 3000
    outage = stream(lost_ms=140, flow=Flow(2, "mn-hoa2", "cn1")).row(FAULT, END)
    assert (outage["home"], outage["direction"], outage["stopped"]) == (2, "up", False)
    assert outage["outage_ms"] == outage["lost_packets"] == 140
    assert outage["undisturbed"]


def test_what_slipped_through_before_the_fault_took_hold_is_no_recovery() -> None:
    flow = stream(lost_ms=5000)
    through = {s: t for s, t in enumerate(flow.packets.sent) if FAULT <= t < FAULT + 25 * MS}
    arrivals = [*flow.packets.arrivals, *((s, t + MS) for s, t in through.items())]
    row = Stream(flow.flow, Packets(flow.packets.sent, arrivals)).row(FAULT, END)
    assert row["stopped"]
    assert row["outage_ms"] is None


def test_a_sender_that_was_held_up_is_told() -> None:
    assert not stream(lost_ms=100, pause_ms=5).row(FAULT, END)["undisturbed"]


@pytest.mark.parametrize("plan", [multi_as(), multi_hoa()])
def test_the_fault_is_all_of_as_1(plan: Plan) -> None:
    class Fake:
        def __init__(self) -> None:
            self.plan = plan

    network: Any = Fake()
    assert home_agents(network) == ["HA11", "HA12"]
    assert outer_interfaces(network) == {"t1-br11", "br11-t1", "t3-br12", "br12-t3"}


def run_folder(results: Path, trials: int = 3) -> Path:
    """Write a complete run with made-up numbers."""
    folder = RunFolder.create("multi_hoa", parameters.parse(KNOWN, [], {}), results)
    number = 0
    with folder:
        for topology in SCHEMES.values():
            for fault in FAULTS:
                for trial in range(trials):
                    number += 1
                    cell = {"trial": number, "topology": topology, "keys": "files",
                            "fault": fault, "detection": "bfd-50x3"}  # fmt: skip
                    _trial(folder, cell, first=trial == 0)
        folder.summary(multi_hoa_summary.rows(folder.path))
        folder.complete()
    return folder.path


def _trial(folder: RunFolder, cell: dict[str, Any], first: bool) -> None:
    several = cell["topology"] == "multi_hoa"
    dead_ms = 950.0 if several else 140.0
    new = new_flows(dead_ms, home_after=2 if several else 1)
    flows = {1: 5000.0 if several else 140.0} | ({2: 0.0} if several else {})
    times = {"hint_ms": 30.0, "chosen_ms": 940.0, "back_chosen_ms": 12000.0} if several else {}
    folder.row(NEW_FLOWS, **cell, **records.choice(new, FAULT, END), **times, opener_pause_ms=1.0)
    for home, lost_ms in flows.items():
        for flow in (Flow(1, "cn1", f"mn-hoa{home}"), Flow(2, f"mn-hoa{home}", "cn1")):
            made = stream(lost_ms, flow)
            folder.row(HOME_FLOWS, **cell, **made.row(FAULT, END))
            for row in made.steps(FAULT, END) if first else ():
                folder.row(DELIVERED, **cell, **row)
    for row in records.opened(new, FAULT, END) if first else ():
        folder.row(OPENED, **cell, **row)


def test_summary_and_figure_come_from_the_folder_alone(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    rows = {(r["metric"], *r["conditions"].values()): r for r in read_summary(folder)}
    assert rows["outage", "multi_as", "files", "as-loss", 1, "up"]["median"] == 140
    assert rows["stopped", "multi_hoa", "files", "as-cut", 1, "down"]["min"] == 1
    assert ("outage", "multi_hoa", "files", "as-cut", 1, "down") not in rows
    kept = rows["lost", "multi_hoa", "files", "as-cut", 2, "up"]
    assert (kept["max"], kept["target"], kept["met"]) == (0, 0, True)
    works = rows["works", "multi_hoa", "files", "as-loss"]
    assert (works["median"], works["n"], works["met"]) == (967, 3, True)
    assert rows["works", "multi_as", "files", "as-loss"]["median"] == 147
    assert rows["back", "multi_hoa", "files", "as-cut"]["median"] == 12000
    assert ("back", "multi_as", "files", "as-cut") not in rows
    lines = report.multi_hoa(read_summary(folder)).splitlines()
    assert "| one HoA for both ASes | as-loss | on HoA 1 | 140 (max 140) | 140 | 3 |" in lines
    assert "| an HoA for each AS | as-cut | on HoA 1 | stopped | 3000 | 3 |" in lines
    assert "| an HoA for each AS | as-cut | new | 967 (max 967) | 48 flows | 3 |" in lines
    assert plots.plot(folder) == ["multi_hoa"]
    assert (folder / "plots" / "multi_hoa.svg").stat().st_size > 10_000


def test_the_bound_is_that_of_the_rule() -> None:
    assert multi_hoa_summary.verdict_ms() == pytest.approx(1400)
    assert multi_hoa_summary.works_target("multi_hoa") == pytest.approx(1440)
