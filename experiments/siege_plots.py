"""The figure of a siege run: registrations and traffic by attack, and latency against rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments import palette
from experiments.data_siege import ATTACKS
from experiments.plot_parts import LABEL_BOX, footer, known, legend, plain_numbers, title
from experiments.siege_summary import pairs
from experiments.statistics import group, median
from experiments.targets import SIEGE_RATIO

Row = Mapping[str, Any]
COLOURS = {"idle": palette.BLUE, "siege": palette.VERMILION}
LABELS = {"idle": "nobody attacks", "siege": "besieged"}


def siege_figure(meta: Row, rows: Sequence[Row], updates: Sequence[Row]) -> Figure:
    """Draw each Binding Update's latency by attack, and medians against the rate offered."""
    attacks, rates = pairs(rows, "attacks"), pairs(rows, "rates")
    drawn = [part for part, there in (("attacks", attacks), ("rates", rates)) if there]
    figure: Figure
    figure, axes = plt.subplots(
        len(drawn), 1, squeeze=False, figsize=(10, 1.6 + 4.0 * len(drawn)),
        height_ratios=[3 if part == "attacks" else 2 for part in drawn],
    )  # fmt: skip
    for part, axis in zip(drawn, axes[:, 0], strict=True):
        if part == "attacks":
            _attacks(axis, attacks, [row for row in updates if row["part"] == "attacks"])
        else:
            _rates(axis, rates)
    title(figure, "How long does a registration take while a stranger sends all that it can?")
    legend(figure, [
        Line2D([], [], color=COLOURS[phase], marker="o", linestyle="", label=LABELS[phase])
        for phase in COLOURS
    ])  # fmt: skip
    trials = len({row["trial"] for row in rows})
    footer(
        figure,
        meta,
        f"Points: Binding Updates ({trials} trials), below trials; bars: medians; dashes: "
        f"{SIEGE_RATIO:g} times the idle median; unanswered: 1000 ms; packets a second: through "
        "the stranger's link.",
    )
    return figure


def _attacks(axis: Axes, sieges: Sequence[tuple[Row, Row]], updates: Sequence[Row]) -> None:
    by_attack = group((siege["attack"], siege) for _, siege in sieges)
    times = group(((row["attack"], row["phase"]), row["latency_ms"]) for row in updates)
    names = known(ATTACKS, list(by_attack))
    for place, name in enumerate(names):
        for offset, phase in ((-0.2, "idle"), (0.2, "siege")):
            mine = times[name, phase]
            spots = [place + offset + 0.14 * ((n * 0.618034) % 1 - 0.5) for n in range(len(mine))]
            axis.plot(spots, mine, ".", color=COLOURS[phase], markersize=2.5, alpha=0.5)
            axis.hlines(median(mine), place + offset - 0.14, place + offset + 0.14,
                        color="#222222", linewidth=2)  # fmt: skip
        limit = SIEGE_RATIO * median(times[name, "idle"])
        axis.hlines(limit, place - 0.38, place + 0.38, color="#222222", linestyle=(0, (3, 2)))
    labels = []
    for name in names:
        forwarded = median([row["forwarded_per_s"] for row in by_attack[name]])
        lost = sum(row["lost_up"] + row["lost_down"] for row in by_attack[name])
        labels.append(f"{name}\n{forwarded:,.0f}/s\n{lost} lost")
    axis.set_xticks(range(len(names)), labels, fontsize=7.5)
    axis.set_xlim(-0.5, len(names) - 0.5)
    axis.set_yscale("log")
    plain_numbers(axis.yaxis)
    axis.set_ylabel("Binding Update to\nAcknowledgement, ms")
    axis.set_title("by attack; below: its packets a second, and what was lost of the MN's traffic")


def _rates(axis: Axes, sieges: Sequence[tuple[Row, Row]]) -> None:
    by_rate = group((siege["mbit"], (idle, siege)) for idle, siege in sieges)
    offered, medians = [], []
    for mbit in sorted(by_rate):
        mine = [siege for _, siege in by_rate[mbit]]
        forwarded = median([row["forwarded_per_s"] for row in mine])
        offered.append(forwarded)
        medians.append(median([row["median_ms"] for row in mine]))
        taken = median([row["taken_per_s"] for row in mine])
        above = len(medians) % 2 == 1  # so that neighbours do not hide one another
        axis.annotate(
            f"{mbit:g} Mbit/s\ntaken {taken:,.0f}/s", (forwarded, medians[-1]),
            xytext=(0, 9 if above else -9), textcoords="offset points", ha="center",
            va="bottom" if above else "top", fontsize=7.5, bbox=LABEL_BOX,
        )  # fmt: skip
        axis.plot([forwarded] * len(mine), [row["median_ms"] for row in mine], "o",
                  color=COLOURS["siege"], markersize=4)  # fmt: skip
    axis.plot(offered, medians, color=COLOURS["siege"])
    idle = median([idle["median_ms"] for idle, _ in sieges])
    axis.axhline(idle, color=COLOURS["idle"])
    axis.axhline(SIEGE_RATIO * idle, color="#222222", linestyle=(0, (3, 2)))
    axis.set_xscale("log")
    axis.set_yscale("log")
    plain_numbers(axis.xaxis)
    plain_numbers(axis.yaxis)
    axis.set_ylim(axis.get_ylim()[0] / 2, axis.get_ylim()[1] * 2)
    axis.margins(x=0.08)
    axis.set_xlabel("packets a second through the stranger's link")
    axis.set_ylabel("median, ms")
    axis.set_title(f"by rate: {sieges[0][1]['attack']}")
