"""What the rows of an isolation run say: time until powerless, packets lost, a line a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.data import SummaryRow, read_table
from experiments.data_isolation import ISOLATION_FLOWS, ISOLATIONS
from experiments.statistics import group, median, summary_row
from experiments.targets import POWERLESS_MS

NAME = "isolation"
ROLES = ("secondary", "primary")
TRIGGERS = ("verb", "detection")
FENCINGS = ("on", "off")
CONDITIONS = ("trigger", "fencing", "role")

Row = Mapping[str, Any]


def rows(folder: Path) -> list[SummaryRow]:
    """Return the summary of a run folder, from its tables alone."""
    return summarise(read_table(folder, ISOLATIONS), read_table(folder, ISOLATION_FLOWS))


def summarise(isolations: Sequence[Row], flows: Sequence[Row]) -> list[SummaryRow]:
    """Return times, losses and registrations of every cell.

    A time that is not known, since it did not come to that, is in no row: `not_powerless` counts
    such trials, and one of them is enough to miss the target.
    """
    found: list[SummaryRow] = []
    for cell, mine in _cells(isolations).items():
        where = dict(zip(CONDITIONS, cell, strict=True))
        target = POWERLESS_MS.get((where["trigger"], where["fencing"]))
        for metric, column, limit in (
            ("time_to_powerless", "time_to_powerless_ms", target),
            ("time_to_refused", "time_to_refused_ms", None),
        ):
            times = [float(row[column]) for row in mine if row[column] is not None]
            if not times:
                continue
            line = summary_row(NAME, metric, where, times, limit)
            if line["met"]:
                line["met"] = len(times) == len(mine)
            found.append(line)
        held_out = [float(not row["powerless"]) for row in mine]
        found.append(
            summary_row(NAME, "not_powerless", where, held_out, None if target is None else 0.0)
        )
        registered = [float(row["registered_ms"] is not None) for row in mine]
        found.append(summary_row(NAME, "registered", where, registered))
        for direction in ("up", "down"):
            worst = worst_lost(flows, cell, direction)
            if worst:
                found.append(summary_row(NAME, "lost", {**where, "direction": direction}, worst))
    return found


def worst_lost(flows: Sequence[Row], cell: Sequence[str], direction: str) -> list[float]:
    """Return what the worst flow of a direction lost, a trial each."""
    mine = [row for row in flows if row["direction"] == direction and _cell(row) == tuple(cell)]
    by_trial = group((row["trial"], float(row["lost_packets"])) for row in mine)
    return [max(lost) for lost in by_trial.values()]


def overview(isolations: Sequence[Row], flows: Sequence[Row]) -> list[list[str]]:
    """Return a line a cell, as text.

    Role, trigger, fencing, ms until powerless, ms until refused (median and maximum), most packets
    lost up and down, trials in which it registered anew.
    """
    lines = []
    for cell, mine in _cells(isolations).items():
        trigger, fencing, role = cell
        lost = [
            str(round(max(worst_lost(flows, cell, direction), default=0)))
            for direction in ("up", "down")
        ]
        again = sum(row["registered_ms"] is not None for row in mine)
        lines.append(
            [
                role,
                trigger,
                fencing,
                _times(mine, "time_to_powerless_ms"),
                _times(mine, "time_to_refused_ms"),
                *lost,
                f"{again}/{len(mine)}",
            ]
        )
    return lines


HEADER = ("role", "trigger", "fence", "powerless, ms", "refused, ms", "up", "down", "again")


def _times(mine: Sequence[Row], column: str) -> str:
    """Return median and maximum, or how often it did not come to that in how long."""
    known = [float(row[column]) for row in mine if row[column] is not None]
    missing = len(mine) - len(known)
    window = max(row["window_ms"] for row in mine) / 1000
    text = f"{median(known):.0f} (max {max(known):.0f})" if known else ""
    never = f"{missing}x not in {window:.0f} s" if missing else ""
    return ", ".join(part for part in (text, never) if part)


def _cells(isolations: Sequence[Row]) -> dict[tuple[str, ...], list[Row]]:
    found = group((_cell(row), row) for row in isolations)
    return {
        (trigger, fencing, role): found[trigger, fencing, role]
        for role in ROLES
        for trigger in TRIGGERS
        for fencing in FENCINGS
        if (trigger, fencing, role) in found
    }


def _cell(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in CONDITIONS)
