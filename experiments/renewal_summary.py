"""From the tables of a renewal run to `summary.json` and the table on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table as TerminalTable

from experiments import palette, targets
from experiments.data import EXCHANGES, RENEWALS, TAKEOVERS, SummaryRow, read_table
from experiments.statistics import QUOTABLE, group, summary_row
from experiments.terminal import titled_table

NAME = "renewal"
Row = Mapping[str, Any]


def rows(folder: Path) -> list[SummaryRow]:
    """Return the summary of a run folder. Disturbed rows count for packets, not for times."""
    renewals = read_table(folder, RENEWALS)
    calm = [row for row in renewals if row["undisturbed"]]
    return [
        *_exchanges([row for row in read_table(folder, EXCHANGES) if row["undisturbed"]]),
        *_worst("lost", renewals, "lost_packets", targets.RENEWAL_LOST),
        *_worst("reordered", renewals, "reordered_packets", None),
        *_worst("longest_gap", calm, "longest_gap_ms", None),
        *_begun(renewals),
        *_failovers(read_table(folder, TAKEOVERS)),
    ]


def _exchanges(exchanges: Sequence[Row]) -> list[SummaryRow]:
    names = ("mode", "exchange", "cause")
    cells = group((tuple(r[n] or "" for n in names), r["duration_ms"]) for r in exchanges)
    return [
        summary_row(NAME, "exchange", dict(zip(names, cell, strict=True)), values,
                    targets.EXCHANGE_MS.get(cell[1]))
        for cell, values in cells.items()
    ]  # fmt: skip


def _worst(
    metric: str, renewals: Sequence[Row], column: str, target: float | None
) -> list[SummaryRow]:
    """Reduce each renewal to the worst stream of a direction, each cell to a row."""
    names = ("mode", "cause", "direction")
    each = group(((*(row[n] for n in names), row["trial"]), float(row[column])) for row in renewals)
    cells = group((key[:3], max(values)) for key, values in each.items())
    return [
        summary_row(NAME, metric, dict(zip(names, cell, strict=True)), values, target)
        for cell, values in cells.items()
    ]


def _begun(renewals: Sequence[Row]) -> list[SummaryRow]:
    names = ("mode", "cause")
    begun = {
        (row["mode"], row["cause"], row["trial"]): float(row["renewals_begun"]) for row in renewals
    }
    return [
        summary_row(NAME, "begun", dict(zip(names, cell, strict=True)), values,
                    targets.RENEWALS_BEGUN)
        for cell, values in group((key[:2], value) for key, value in begun.items()).items()
    ]  # fmt: skip


def _failovers(takeovers: Sequence[Row]) -> list[SummaryRow]:
    modes = group((row["mode"], float(row["ike_exchanges"])) for row in takeovers)
    return [
        summary_row(NAME, "failover_ike", {"mode": mode}, values, targets.FAILOVER_IKE)
        for mode, values in modes.items()
    ]


SHOWN = ("exchange", "lost", "begun", "failover_ike")


def terminal_table(summary: Sequence[SummaryRow]) -> TerminalTable:
    """Return the table that a run prints: times in ms, then what renewals lost and began.

    Of packets the worse direction; the others stand in `summary.json`.
    """
    table = titled_table("Keys from IKE: times in ms, packets, exchanges")
    for name in ("mode", "what"):
        table.add_column(name, no_wrap=True)
    quotable = any(row["n"] >= QUOTABLE for row in summary)
    for name in ("n", "median", "p95" if quotable else "max", "target"):
        table.add_column(name, justify="right", no_wrap=True)
    for (mode, what), rows_ in by_label(summary).items():
        row = max(rows_, key=lambda each: each["max"])
        worst = row["p95"] if quotable and row["unit"] == "ms" else row["max"]
        colour = {None: "", True: "[green]", False: "[red]"}[row["met"]]
        target = "" if row["target"] is None else f"{row['target']:.0f}"
        table.add_row(
            mode, what, str(row["n"]), number(row["median"]), f"{colour}{number(worst)}", target
        )
    return table


def by_label(summary: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], list[Any]]:
    """Return the rows that people are shown, by mode and what they measure in words."""
    return group(
        ((row["conditions"]["mode"], label(row)), row) for row in summary if row["metric"] in SHOWN
    )


def number(value: float) -> str:
    """Return a number with as many digits as say something."""
    if value == round(value):
        return f"{value:.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def label(row: Mapping[str, Any]) -> str:
    """Return what a row of the summary measures, in words."""
    conditions = row["conditions"]
    cause = palette.CAUSES.get(conditions.get("cause", ""), "")
    match row["metric"]:
        case "exchange":
            what = palette.EXCHANGES[conditions["exchange"]]
            return f"{what}: {cause}" if cause else what
        case "lost":
            return f"packets lost by a renewal: {cause}"
        case "begun":
            return f"renewals begun: {cause}"
        case _:
            return "IKE exchanges that a failover caused"
