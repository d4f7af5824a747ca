"""Percentiles by nearest rank and the rows of summary.json."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import statistics

CELL = {
    "scheme": "shared-sa",
    "topology": "single_as",
    "fault": "link-cut",
    "detection": "bfd-10x3",
    "direction": "up",
    "trial": 7,
}


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_nearest_rank_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[float], percent: int
) -> None:
    rank = statistics.nearest_rank(values, percent)
    wanted = percent * len(values)
    assert rank in values
    assert sum(value <= rank for value in values) * 100 >= wanted
    assert sum(value < rank for value in values) * 100 < wanted


def test_p95_of_twenty_is_the_nineteenth() -> None:
    assert statistics.p95(list(range(1, 21))) == 19
    assert statistics.p95([4.0]) == 4


def test_a_rank_that_is_a_whole_number_is_not_rounded_up() -> None:
    """28 / 100 * 25 is a little more than 7 in binary."""
    assert statistics.nearest_rank(list(range(1, 26)), 28) == 7


@pytest.mark.parametrize(("values", "percent"), [([], 95), ([1.0], 0), ([1.0], 101)])
def test_no_percentile_of_nothing(values: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        statistics.nearest_rank(values, percent)


def test_summary_row_has_the_fixed_names() -> None:
    row = statistics.summary_row("failover", "outage", CELL, [30.0, 60.0, 40.0], target=50)
    assert list(row["conditions"]) == ["scheme", "topology", "fault", "detection", "direction"]
    assert (row["n"], row["median"], row["p95"], row["min"], row["max"]) == (3, 40, 60, 30, 60)
    assert (row["unit"], row["target"], row["met"]) == ("ms", 50, False)


def test_a_packet_count_is_judged_by_its_maximum() -> None:
    counts = [0.0] * 99 + [1.0]
    row = statistics.summary_row("failover", "bystander_lost", CELL, counts, target=0)
    assert (row["p95"], row["met"]) == (0, False)


def test_goodput_is_judged_by_its_median() -> None:
    cell = {"path": "tunnel", "direction": "down", "mode": "hardened", "home_agents": 1,
            "detection": "bfd-50x3"}  # fmt: skip
    row = statistics.summary_row("throughput", "goodput", cell, [390.0, 410.0, 500.0], target=400)
    assert row["met"] is True


def test_without_target_nothing_is_met() -> None:
    row = statistics.summary_row("failover", "lost", CELL, [1.0])
    assert (row["target"], row["met"]) == (None, None)


def test_group_keeps_order() -> None:
    assert statistics.group([("b", 1), ("a", 2), ("b", 3)]) == {"b": [1, 3], "a": [2]}
