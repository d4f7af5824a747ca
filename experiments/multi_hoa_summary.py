"""What the rows of a multi-hoa run say: summary rows, and a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table as TerminalTable

from agents.config import MobileNodeTimers
from experiments.data import SummaryRow, read_table
from experiments.data_multi_hoa import HOME_FLOWS, NEW_FLOWS
from experiments.opener import PERIOD_NS
from experiments.statistics import group, summary_row
from experiments.terminal import titled_table

NAME = "multi_hoa"
Row = Mapping[str, Any]

TOPOLOGIES: Mapping[str, str] = {
    "multi_as": "one HoA for both ASes",
    "multi_hoa": "an HoA for each AS",
}
FAULTS: Mapping[str, str] = {
    "as-loss": "all home agents of AS 1 killed",
    "as-cut": "AS 1 cut off from all other ASes",
}
OTHER_HOME_LOST = 0.0
"""Packets that a flow of home 2 may lose when AS 1 fails."""

ONE_HOA_MS = 400.0
"""The design's target for the loss of a whole home AS, with BFD every 50 ms, 3 missed."""


def verdict_ms(timers: MobileNodeTimers | None = None) -> float:
    """Return the time from the last packet heard to the choice of another home (rule 14)."""
    timers = timers or MobileNodeTimers()
    return 1000 * (timers.home_silence + timers.home_probes * timers.home_probe_interval)


def works_target(topology: str) -> float:
    """Return the bound on the time after which new flows work, in ms."""
    if topology == "multi_as":
        return ONE_HOA_MS
    # What is heard last was sent before the fault, and flows begin once in a period.
    return verdict_ms() + 2 * PERIOD_NS / 1e6


def rows(folder: Path) -> list[SummaryRow]:
    """Return the summary of a run folder."""
    return [*flow_rows(read_table(folder, HOME_FLOWS)), *new_rows(read_table(folder, NEW_FLOWS))]


def flow_rows(flows: Sequence[Row]) -> list[SummaryRow]:
    """Return what became of the flows that existed."""
    found: list[SummaryRow] = []
    names = ("topology", "keys", "fault", "home", "direction")
    for cell, mine in group((tuple(row[n] for n in names), row) for row in flows).items():
        where = dict(zip(names, cell, strict=True))
        goes_on = where["topology"] == "multi_hoa" and where["home"] == 2
        target = OTHER_HOME_LOST if goes_on else None
        lost = [float(row["lost_packets"]) for row in mine]
        found.append(summary_row(NAME, "lost", where, lost, target))
        stopped = [float(row["stopped"]) for row in mine]
        found.append(summary_row(NAME, "stopped", where, stopped))
        outages = [r["outage_ms"] for r in mine if r["undisturbed"] and r["outage_ms"] is not None]
        if outages:
            one = where["topology"] == "multi_as"
            found.append(
                summary_row(NAME, "outage", where, outages, ONE_HOA_MS if one else None)
            )  # fmt: skip
    return found


def new_rows(new: Sequence[Row]) -> list[SummaryRow]:
    """Return how new flows fared."""
    found: list[SummaryRow] = []
    names = ("topology", "keys", "fault")
    columns = {"unanswered": "unanswered_flows", "chosen": "chosen_ms", "back": "back_chosen_ms"}
    for cell, mine in group((tuple(row[n] for n in names), row) for row in new).items():
        where = dict(zip(names, cell, strict=True))
        works = [row["works_ms"] for row in mine]
        found.append(summary_row(NAME, "works", where, works, works_target(where["topology"])))
        for metric, column in columns.items():
            values = [float(row[column]) for row in mine if row[column] is not None]
            if values:
                found.append(summary_row(NAME, metric, where, values))
    return found


def terminal_table(summary: Sequence[SummaryRow]) -> TerminalTable:
    """Return the table that a run ends with: a line a flow, and one for new flows."""
    table = titled_table("AS 1 fails: median over n trials (the worse direction of the two)")
    for name in ("", "fault", "flows"):
        table.add_column(name, no_wrap=True)
    for name in ("ms until they work", "lost", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in overview(summary):
        table.add_row(*line)
    return table


def overview(summary: Sequence[SummaryRow]) -> list[list[str]]:
    """Return a line a home address and fault as text, and one for new flows.

    Scheme, fault, flows, median ms until they work (of existing ones: the outage), lost, n.
    """
    lines = []
    cells = group(
        ((str(r["conditions"]["topology"]), str(r["conditions"]["fault"])), r) for r in summary
    )
    for (topology, fault), mine in cells.items():
        label = TOPOLOGIES.get(topology, topology)
        for home in sorted({str(row["conditions"].get("home", "")) for row in mine} - {""}):
            flows = [row for row in mine if str(row["conditions"].get("home", "")) == home]
            lines.append([label, fault, f"on HoA {home}", *_flow(flows)])
        works, unanswered = _worst(mine, "works"), _worst(mine, "unanswered")
        if works is not None and unanswered is not None:
            lost = f"{unanswered['median']:.0f} flows"
            lines.append([label, fault, "new", _range(works), lost, str(works["n"])])
    return lines


def _flow(flows: Sequence[SummaryRow]) -> list[str]:
    """Return outage, packets lost and n of the flows of one home address."""
    stopped, lost, outage = (_worst(flows, name) for name in ("stopped", "lost", "outage"))
    assert stopped is not None
    assert lost is not None
    said = "stopped" if stopped["median"] else "" if outage is None else _range(outage)
    return [said, f"{lost['median']:.0f}", str(lost["n"])]


def _range(row: SummaryRow) -> str:
    most = f" (max {row['max']:.0f})" if row["n"] > 1 else ""
    return f"{row['median']:.0f}{most}"


def _worst(summary: Sequence[SummaryRow], metric: str) -> SummaryRow | None:
    found = [row for row in summary if row["metric"] == metric]
    return max(found, key=lambda row: row["median"], default=None)
