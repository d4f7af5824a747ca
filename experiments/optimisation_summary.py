"""What the rows of an optimisation run say: ways and the model's, goodput, losses, steadiness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments import targets
from experiments.data import SummaryRow
from experiments.statistics import group, median, summary_row

NAME = "optimisation"
ARMS = ("plain", "off", "switch-bare", "switch", "relay", "map")
"""Each with a network of its own; `direct` is measured beside `off`."""

SHOWN = ("plain", "off", "switch", "relay", "map", "direct")
STEADY = ("switch-bare", "switch", "map")
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """The tables of a run."""

    paths: Sequence[Row]
    changes: Sequence[Row]
    steadiness: Sequence[Row]
    speed: Sequence[Row]
    failures: Sequence[Row]


def summarise(rows: Rows) -> list[SummaryRow]:
    """Return the summary of a run."""
    found: list[SummaryRow] = []
    for metric, column in (("rtt", "rtt_ms"), ("model_rtt", "model_rtt_ms")):
        names = ("arm", "correspondent", "window")
        found += _cells(metric, rows.paths, names, column)
    names = ("arm", "correspondent", "direction")
    found += _cells("goodput", rows.speed, names, "goodput_mbit_s")
    counted = [row for row in rows.changes if row["valid"]]
    found += _cells("lost", counted, names, "lost_packets", targets.OPTIMISATION_LOST)
    found += _cells("reordered", counted, names, "reordered_packets")
    steady = [row for row in rows.steadiness if row["arm"] != "switch-bare"]
    found += _cells("changes", steady, ("arm",), "changes", targets.OPTIMISATION_CHANGES)
    bare = [row for row in rows.steadiness if row["arm"] == "switch-bare"]
    found += _cells("changes", bare, ("arm",), "changes")
    failed = [row for row in rows.failures if row["valid"] and row["outage_ms"] is not None]
    return found + _cells("outage", failed, ("correspondent", "direction"), "outage_ms")


def _cells(
    metric: str, rows: Sequence[Row], names: Sequence[str], column: str, target: float | None = None
) -> list[SummaryRow]:
    cells = group((tuple(row[name] for name in names), float(row[column])) for row in rows)
    return [
        summary_row(NAME, metric, dict(zip(names, cell, strict=True)), values, target)
        for cell, values in cells.items()
    ]


def overview(rows: Rows) -> list[list[str]]:
    """Return a line an arm and correspondent, as text.

    Arm, correspondent, round trip before and after, each with the model's, goodput from and to the
    mobile node, most packets lost and most reordered by a stream at a change, and how many streams
    that is the most of.
    """
    lines = []
    ways = group(((row["arm"], row["correspondent"]), row) for row in rows.paths)
    speeds = group(
        ((row["arm"], row["correspondent"], row["direction"]), row["goodput_mbit_s"])
        for row in rows.speed
    )
    for arm in SHOWN:
        for correspondent in dict.fromkeys(name for each, name in ways if each == arm):
            mine = ways[arm, correspondent]
            changes = [
                row
                for row in rows.changes
                if (row["arm"], row["correspondent"]) == (arm, correspondent) and row["valid"]
            ]
            lines.append(
                [
                    arm,
                    correspondent,
                    _way(mine, ("before", "only")),
                    _way(mine, ("after",)),
                    *(_middle(speeds.get((arm, correspondent, way))) for way in ("up", "down")),
                    *(
                        str(max((row[name] for row in changes), default=""))
                        for name in ("lost_packets", "reordered_packets")
                    ),
                    str(len(changes) or ""),
                ]
            )
    return lines


def steadiness(rows: Sequence[Row]) -> list[list[str]]:
    """Return a line an arm: changes while the busier correspondent alternated, of all trials."""
    cells = group((row["arm"], row) for row in rows)
    return [
        [
            arm,
            f"{sum(row['bursts'] for row in cells[arm])}",
            f"{sum(row['changes'] for row in cells[arm])}",
        ]
        for arm in STEADY
        if arm in cells
    ]


def failures(rows: Sequence[Row]) -> list[str]:
    """Return a line a stream: what the death of the mapped home agent cost it."""
    cells = group(((row["correspondent"], row["direction"]), row) for row in rows if row["valid"])
    lines = []
    for (correspondent, direction), mine in cells.items():
        outages = [row["outage_ms"] for row in mine if row["outage_ms"] is not None]
        if outages:
            lines.append(
                f"{correspondent} {direction}: {median(outages):.0f} ms without packets, "
                f"at most {max(outages):.0f} (n={len(outages)})"
            )
    return lines


def _way(rows: Sequence[Row], windows: Sequence[str]) -> str:
    found = [row for row in rows if row["window"] in windows]
    if not found:
        return ""
    measured = median([row["rtt_ms"] for row in found])
    return f"{measured:.1f} ({found[0]['model_rtt_ms']:.0f})"


def _middle(values: Sequence[float] | None) -> str:
    return f"{median(values):.0f}" if values else ""
