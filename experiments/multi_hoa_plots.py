"""The figure of a multi-hoa run: the time line of a fault, and when flows work again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments import palette
from experiments.multi_hoa_summary import FAULTS, works_target
from experiments.plot_parts import LABEL_BOX, footer, known, legend, spread_out, title
from experiments.statistics import group, median

Row = Mapping[str, Any]

COLOURS = {1: palette.BLUE, 2: palette.ORANGE, 0: palette.GREY}
LANES: Sequence[tuple[str, str, int]] = (
    ("multi_as", "flow", 1),
    ("multi_as", "new", 0),
    ("multi_hoa", "flow", 1),
    ("multi_hoa", "flow", 2),
    ("multi_hoa", "new", 0),
)
"""From top to bottom: topology, whether flows exist or begin, home number of those that exist."""


def figure(
    meta: Row, flows: Sequence[Row], new: Sequence[Row], opened: Sequence[Row], steps: Sequence[Row]
) -> Figure:
    """Draw a column a fault: above the time line of its first trials, below every trial."""
    faults = known(FAULTS, [row["fault"] for row in new])
    drawn: Figure
    drawn, axes = plt.subplots(
        2, len(faults), figsize=(1.5 + 5.2 * len(faults), 7.4), squeeze=False, sharey="row",
        height_ratios=(1.25, 1.0),
    )  # fmt: skip
    for place, fault in enumerate(faults):
        above, below = axes[0, place], axes[1, place]
        above.set_title(FAULTS.get(fault, fault))
        _time_line(above, [r for r in steps if r["fault"] == fault],
                   [r for r in opened if r["fault"] == fault])  # fmt: skip
        _trials(below, [r for r in flows if r["fault"] == fault],
                [r for r in new if r["fault"] == fault])  # fmt: skip
    title(drawn, "When a whole AS fails: one home address for both ASes, or one for each")
    legend(drawn, [
        Line2D([], [], color=COLOURS[1], linewidth=6, label="HoA 1, delivered"),
        Line2D([], [], color=COLOURS[2], linewidth=6, label="HoA 2, delivered"),
        Line2D([], [], color=palette.LOST, marker="x", linestyle="", label="new flow, no answer"),
        Line2D([], [], color="#222222", linestyle=(0, (2, 2)), label="target"),
    ])  # fmt: skip
    cells = group(((r["fault"], r["topology"]), r) for r in new)
    trials = [len(values) for values in cells.values()]
    count = f"{min(trials)}" if min(trials) == max(trials) else f"{min(trials)} to {max(trials)}"
    footer(
        drawn,
        meta,
        "Above: the first trial of each; a new flow every 20 ms, 1,000 packets a second each way "
        "on those that exist.\n"
        f"Below: every trial a point ({count} a column), the worse direction; number and bar: "
        "median. Where a sender was held up, its flow's outage is left out.",
    )
    return drawn


def _time_line(axis: Axes, steps: Sequence[Row], opened: Sequence[Row]) -> None:
    for place, (topology, kind, home) in enumerate(reversed(LANES)):
        if kind == "flow":
            mine = [r for r in steps if r["topology"] == topology and r["home"] == home]
            _bars(axis, place, home, mine)
        else:
            _marks(axis, place, [r for r in opened if r["topology"] == topology])
    axis.axvline(0, color="#222222", linewidth=0.9)
    labels = [
        f"{'one HoA' if topology == 'multi_as' else 'two HoAs'}: "
        + ("new flows" if kind == "new" else f"flow on HoA {home}")
        for topology, kind, home in reversed(LANES)
    ]
    axis.set_yticks(range(len(LANES)), labels, fontsize=9)
    axis.set_ylim(-0.6, len(LANES) - 0.4)
    axis.set_xlabel("seconds after the fault")
    axis.grid(visible=False)
    axis.tick_params(axis="y", length=0)


def _bars(axis: Axes, place: int, home: int, steps: Sequence[Row]) -> None:
    """Draw the share delivered in each step, both directions together, as the bar's height."""
    for begin, mine in group((row["step_ms"], row) for row in steps).items():
        sent = sum(row["sent_packets"] for row in mine)
        share = sum(row["delivered_packets"] for row in mine) / sent if sent else 0.0
        axis.bar(begin / 1000, 0.7 * share, width=0.02, bottom=place - 0.35, align="edge",
                 color=COLOURS[home], linewidth=0)  # fmt: skip


def _marks(axis: Axes, place: int, opened: Sequence[Row]) -> None:
    for home in COLOURS:
        good = [r["opened_ms"] / 1000 for r in opened
                if r["home"] == home and r["answered_ms"] is not None]  # fmt: skip
        axis.plot(good, [place] * len(good), "|", color=COLOURS[home], markersize=14)
    bad = [r["opened_ms"] / 1000 for r in opened if r["answered_ms"] is None]
    axis.plot(bad, [place] * len(bad), "x", color=palette.LOST, markersize=4)


def _trials(axis: Axes, flows: Sequence[Row], new: Sequence[Row]) -> None:
    one, two = works_target("multi_as"), works_target("multi_hoa")
    columns: Sequence[tuple[str, Sequence[float], int, float | None]] = (
        ("one HoA:\nflows on it", _outages(flows, "multi_as", 1), 1, one),
        ("one HoA:\nnew flows", _works(new, "multi_as"), 1, one),
        ("two HoAs:\nflows on HoA 1", (), 1, None),
        ("two HoAs:\nflows on HoA 2", _outages(flows, "multi_hoa", 2), 2, None),
        ("two HoAs:\nnew flows", _works(new, "multi_hoa"), 2, two),
    )
    for place, (_, values, home, target) in enumerate(columns):
        if target is not None:
            axis.hlines(target, place - 0.35, place + 0.35, color="#222222",
                        linestyle=(0, (2, 2)), linewidth=0.9)  # fmt: skip
        if values:
            _column(axis, place, values, COLOURS[home])
    stopped = [row["stopped"] for row in flows if _is(row, "multi_hoa", 1)]
    if stopped:
        said = "stop" if all(stopped) else f"{sum(stopped)} of {len(stopped)} stop"
        axis.annotate(said, (2, 0), xytext=(0, 6), textcoords="offset points", fontsize=9,
                      color=COLOURS[1], ha="center")  # fmt: skip
    axis.set_xticks(range(len(columns)), [label for label, *_ in columns], fontsize=8)
    axis.set_xlim(-0.5, len(columns) - 0.3)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("ms until they work again")


def _column(axis: Axes, place: int, values: Sequence[float], colour: str) -> None:
    xs = list(spread_out(place, len(values)))
    axis.plot(xs, values, "o", color=colour, markersize=4, alpha=0.7, clip_on=False)
    middle = median(values)
    axis.hlines(middle, place - 0.25, place + 0.25, color="#222222", linewidth=1.4)
    axis.annotate(f"{middle:.0f}", (place + 0.28, middle), fontsize=9, va="center",
                  bbox=LABEL_BOX)  # fmt: skip


def _outages(flows: Sequence[Row], topology: str, home: int) -> list[float]:
    """Return the worse direction of each trial, of flows whose sender was not held up."""
    mine = [
        (row["trial"], row["outage_ms"])
        for row in flows
        if _is(row, topology, home) and row["undisturbed"] and row["outage_ms"] is not None
    ]
    return [max(values) for values in group(mine).values()]


def _is(row: Row, topology: str, home: int) -> bool:
    return bool(row["topology"] == topology and row["home"] == home)


def _works(new: Sequence[Row], topology: str) -> list[float]:
    return [row["works_ms"] for row in new if row["topology"] == topology]
