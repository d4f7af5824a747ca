"""What the rows of a metric run say: packets lost, times, and a line a step as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.data import SummaryRow
from experiments.statistics import group, median, summary_row

NAME = "metric"
Row = Mapping[str, Any]


def summarise(rows: Sequence[Row]) -> list[SummaryRow]:
    """Return packets lost by every step, and how soon routing and the role followed."""
    found: list[SummaryRow] = []
    names = ("part", "step", "wish", "mobile")
    for cell, mine in group((tuple(row[n] for n in names), row) for row in rows).items():
        conditions = dict(zip(names, cell, strict=True))
        for direction in ("down", "up"):
            counted = [row for row in mine if row["valid"] and row["direction"] == direction]
            lost = [float(row["lost_packets"]) for row in counted]
            if lost:
                where = {**conditions, "direction": direction}
                found.append(summary_row(NAME, "lost", where, lost))
        for metric, column in (("route", "route_ms"), ("primary", "primary_ms")):
            times = _by_trial(mine, column)
            if times:
                found.append(summary_row(NAME, metric, conditions, times))
    return found


def _by_trial(rows: Sequence[Row], column: str) -> list[float]:
    """Return what all rows of a trial have in common, once a trial, where it is known."""
    return list({row["trial"]: row[column] for row in rows if row[column] is not None}.values())


def overview(rows: Sequence[Row]) -> list[list[str]]:
    """Return a line a step, as text.

    Part, wish, who serves, primary of each mobile node, median ms until the border turned, most
    packets lost by a stream, and how many streams that is the most of.
    """
    lines = []
    steps = group(((row["part"], row["step"], row["wish"]), row) for row in rows)
    for (part, _, wish), mine in steps.items():
        primaries = [
            _all(row["primary"] for row in mine if row["mobile"] == mobile)
            for mobile in ("mn", "mn2")
        ]
        lost = [row["lost_packets"] for row in mine if row["valid"]]
        times = _by_trial(mine, "route_ms")
        turned = f"{median(times):.0f}" if times else ""
        served_by = _all(row["served_by"] for row in mine)
        most = str(max(lost, default=""))
        lines.append([part, wish, served_by, *primaries, turned, most, str(len(lost))])
    return lines


def _all(names: Iterable[str]) -> str:
    """Return what every trial agrees on, or all that they found."""
    return " or ".join(sorted(set(names)))
