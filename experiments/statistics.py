"""Medians, percentiles by nearest rank, and the rows of `summary.json`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from experiments.data import METRICS, SummaryRow

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

QUOTABLE = 60
"""From so many trials on a text may quote a 95th percentile (design §11)."""


def median(values: Sequence[float]) -> float:
    """Return the median of a non-empty sequence."""
    return float(statistics.median(values))


def nearest_rank(values: Sequence[float], percent: float) -> float:
    """Return the percentile by nearest rank: the smallest value that `percent` % do not exceed.

    ValueError for no values or a percentage outside (0, 100].
    """
    if not values or not 0 < percent <= 100:
        raise ValueError(f"no {percent}th percentile of {len(values)} values")
    return sorted(values)[math.ceil(percent * len(values) / 100) - 1]


def p95(values: Sequence[float]) -> float:
    """Return the 95th percentile by nearest rank."""
    return nearest_rank(values, 95)


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the quartiles by nearest rank: half of the values lie between them."""
    return nearest_rank(values, 25), nearest_rank(values, 75)


def summary_row(
    experiment: str,
    metric: str,
    conditions: Mapping[str, str | int | float],
    values: Sequence[float],
    target: float | None = None,
) -> SummaryRow:
    """Reduce the values of one metric in one cell to its row of `summary.json`."""
    unit, names = METRICS[experiment, metric]
    row = SummaryRow(
        experiment=experiment,
        metric=metric,
        unit=unit,
        conditions={name: conditions[name] for name in names},
        n=len(values),
        median=round(median(values), 6),
        p95=round(p95(values), 6),
        min=round(min(values), 6),
        max=round(max(values), 6),
        target=target,
        met=None,
    )
    row["met"] = None if target is None else _met(row, target)
    return row


def _met(row: SummaryRow, target: float) -> bool:
    """Compare what the unit calls for: see `DATA.md`, summary.json."""
    if row["unit"] == "Mbit/s":
        return row["median"] >= target
    if row["unit"] in ("packets", "exchanges", "observations"):
        return row["max"] <= target
    return row["p95"] <= target


def group(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """Collect values by key, both in the order of their first appearance."""
    groups: dict[K, list[V]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups
