"""From the tables of a failover run to `summary.json` and the table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table as TerminalTable

from experiments import palette, targets
from experiments.data import STREAMS, TRIALS, SummaryRow, read_table
from experiments.statistics import QUOTABLE, group, summary_row

Row = Mapping[str, Any]
Cell = tuple[str, str, str, str, str]


def rows(
    folder: Path, ready: Mapping[str, Sequence[float]], topology: str = "single_as"
) -> list[SummaryRow]:
    """Return the summary of a run folder; `ready` has seconds of start-up by detection."""
    valid = [row for row in read_table(folder, TRIALS) if row["state"] == "valid"]
    streams = read_table(folder, STREAMS)
    affected = [row for row in streams if row["role"] == "affected"]
    bystanders = [row for row in streams if row["role"] == "bystander"]
    found = [
        *_reduced("outage", affected, "outage_ms"),
        *_reduced("lost", affected, "lost_packets"),
        *_reduced("failback_lost", affected, "failback_lost_packets"),
        *_reduced("bystander_lost", bystanders, "lost_packets", "failback_lost_packets"),
        *_signalling(valid),
        *_of_trials("agreement", valid, "agreement_ms"),
        *_of_trials("carrier_seen", valid, "carrier_at_both_ends"),
    ]
    for detection, seconds in ready.items():
        conditions = {"topology": topology, "detection": detection}
        found.append(
            summary_row("failover", "ready", conditions, seconds, targets.READY_S[topology])
        )
    return found


def _reduced(metric: str, streams: Sequence[Row], *columns: str) -> list[SummaryRow]:
    """Reduce each trial to its worst correspondent (the columns added), each cell to a row."""
    worst: dict[tuple[Cell, int], float] = {}
    for row in streams:
        cell = tuple(row[n] for n in ("scheme", "topology", "fault", "detection", "direction"))
        key = (cell, row["trial"])
        worst[key] = max(worst.get(key, 0.0), float(sum(row[column] for column in columns)))
    cells = group((cell, value) for (cell, _), value in worst.items())
    return [_row(metric, cell, values) for cell, values in sorted(cells.items())]


def _row(metric: str, cell: Cell, values: Sequence[float]) -> SummaryRow:
    names = ("scheme", "topology", "fault", "detection", "direction")
    conditions = dict(zip(names, cell, strict=True))
    target = {
        "outage": targets.outage_target(
            conditions["topology"], conditions["fault"], conditions["detection"]
        ),
        "lost": 0.0 if conditions["fault"] in targets.NOTHING_LOST else None,
        "failback_lost": targets.FAILBACK_LOST,
        "bystander_lost": targets.BYSTANDER_LOST,
    }.get(metric)
    return summary_row("failover", metric, conditions, values, target)


def _signalling(trials: Sequence[Row]) -> list[SummaryRow]:
    """Count what a failover must not cause: Binding Updates, SA messages, IKE exchanges."""
    cells: dict[tuple[str, str, str, str], list[float]] = {}
    for row in trials:
        key = (row["scheme"], row["topology"], row["fault"], row["detection"])
        counts = [row[c] for c in ("binding_updates", "sa_messages", "ike_exchanges")]
        if None not in counts:
            cells.setdefault(key, []).append(float(sum(counts)))
    names = ("scheme", "topology", "fault", "detection")
    return [
        summary_row("failover", "signalling", dict(zip(names, cell, strict=True)), values,
                    targets.SIGNALLING)
        for cell, values in sorted(cells.items())
    ]  # fmt: skip


def _of_trials(metric: str, trials: Sequence[Row], column: str) -> list[SummaryRow]:
    """Reduce a column of the trials that have it, to a row a cell."""
    names = ("scheme", "topology", "fault", "detection")
    cells = group(
        (tuple(row[n] for n in names), float(row[column]))
        for row in trials
        if row[column] is not None
    )
    return [
        summary_row(
            "failover",
            metric,
            dict(zip(names, cell, strict=True)),
            values,
            targets.AGREEMENT_MS.get(cell[2]) if metric == "agreement" else None,
        )
        for cell, values in sorted(cells.items())
    ]


def terminal_table(summary: Sequence[SummaryRow]) -> TerminalTable:
    """Return the table that a run prints: a line a cell, outages in ms, packets lost.

    `lost` is the median, `fail-back` the most that a trial lost after the repair.
    """
    table = TerminalTable(
        title="Outage in ms, packets lost",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name in ("fault", "detection", "way"):
        table.add_column(name, no_wrap=True)
    quotable = any(row["metric"] == "outage" and row["n"] >= QUOTABLE for row in summary)
    for name in ("n", "median", "p95" if quotable else "max", "target", "lost", "fail-back"):
        table.add_column(name, justify="right", no_wrap=True)
    by_cell = {
        (row["metric"], *(row["conditions"].get(n) for n in ("fault", "detection", "direction"))):
        row for row in summary
    }  # fmt: skip
    for row in sorted((r for r in summary if r["metric"] == "outage"), key=_order):
        cell = tuple(row["conditions"][n] for n in ("fault", "detection", "direction"))
        lost, failback = by_cell["lost", *cell], by_cell["failback_lost", *cell]
        worst = row["p95"] if row["n"] >= QUOTABLE else row["max"]
        target = "" if row["target"] is None else f"{row['target']:.0f}"
        colour = {None: "", True: "[green]", False: "[red]"}[row["met"]]
        table.add_row(
            *map(str, cell), str(row["n"]), _short(row["median"]), colour + _short(worst), target,
            f"{lost['median']:.0f}", f"{failback['max']:.0f}",
        )  # fmt: skip
    return table


def _short(ms: float) -> str:
    """Return a time with a decimal where that says something."""
    return f"{ms:.1f}" if ms < 10_000 else f"{ms:.0f}"


def _order(row: SummaryRow) -> tuple[int, int, str]:
    conditions = row["conditions"]
    faults, detections = list(palette.FAULTS), list(palette.DETECTIONS)
    return (
        faults.index(str(conditions["fault"])),
        detections.index(str(conditions["detection"])),
        str(conditions["direction"]),
    )


def carrier_lines(summary: Sequence[SummaryRow]) -> list[str]:
    """Return a line for each cell in which links were cut: did both ends see the carrier go?"""
    return [
        f"{row['conditions']['fault']}, {row['conditions']['detection']}: "
        + _share(row["min"], row["max"])
        for row in summary
        if row["metric"] == "carrier_seen"
    ]


def _share(least: float, most: float) -> str:
    if least == most:
        return f"both ends of a cut link saw its carrier go in {'every' if most else 'no'} trial"
    return "both ends of a cut link saw its carrier go in some trials and not in others"
