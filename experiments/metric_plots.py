"""The figure of a metric run: who serves whom over time, and what each step lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments import palette
from experiments.plot_parts import footer, legend, title
from experiments.statistics import group

Row = Mapping[str, Any]

LANES: Sequence[tuple[str, str, str]] = (
    ("", "route", "border router's route"),
    ("mn", "down", "cn1 → mn through"),
    ("mn", "up", "mn → cn1 through"),
    ("mn", "primary", "primary of mn"),
    ("mn2", "down", "cn1 → mn2 through"),
    ("mn2", "up", "mn2 → cn1 through"),
    ("mn2", "primary", "primary of mn2"),
)
TITLES = {
    "move": "One mobile node moves its primary; the other moves along in routing",
    "conflict": "Two mobile nodes disagree: the greater weight moves both",
}


def serving_figure(meta: Row, serving: Sequence[Row], moves: Sequence[Row]) -> Figure:
    """Draw the first trial of each part; the losses named are the worst of all trials."""
    parts = list(dict.fromkeys(row["part"] for row in serving))
    figure: Figure
    figure, axes = plt.subplots(len(parts), 1, figsize=(9.5, 1.2 + 3.3 * len(parts)), squeeze=False)
    for part, axis in zip(parts, axes[:, 0], strict=True):
        mine = [row for row in moves if row["part"] == part]
        first = min(row["trial"] for row in serving if row["part"] == part)
        _part(axis, [row for row in serving if row["trial"] == first],
              [row for row in mine if row["trial"] == first], mine)  # fmt: skip
        axis.set_title(TITLES.get(part, part), pad=30)
    title(figure, "Who serves whom while mobile nodes wish")
    legend(figure, [
        Line2D([], [], color=colour, linewidth=6, label=name)
        for name, colour in palette.HOME_AGENTS.items()
    ])  # fmt: skip
    trials = len({row["trial"] for row in serving}) // len(parts)
    footer(
        figure,
        meta,
        "Above each step: the wish, and the most packets that any of the four streams (1 kHz each) "
        f"lost in it in {trials} trials, where its sender was not held up.",
    )
    return figure


def _part(axis: Axes, serving: Sequence[Row], moves: Sequence[Row], all_: Sequence[Row]) -> None:
    starts = {row["step"]: row for row in moves}
    last = starts[max(starts)]
    end = last["begin_ms"] + last["length_ms"]
    changes = group(((row["mobile"], row["role"]), row) for row in serving)
    for place, (mobile, role, _) in enumerate(reversed(LANES)):
        rows = sorted(changes.get((mobile, role), []), key=lambda row: row["time_ms"])
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            until = end if following is None else following["time_ms"]
            axis.barh(place, (until - row["time_ms"]) / 1000, left=row["time_ms"] / 1000,
                      height=0.62, color=palette.HOME_AGENTS[row["home_agent"]])  # fmt: skip
    counted = group((row["step"], row["lost_packets"]) for row in all_ if row["valid"])
    worst = {step: max(lost) for step, lost in counted.items()}
    for number, row in starts.items():
        begin = row["begin_ms"] / 1000
        axis.axvline(begin, color="#222222", linewidth=0.9, linestyle=(0, (2, 2)))
        lost = f"{worst[number]} lost" if number in worst else "disturbed"
        axis.annotate(f"{row['wish']}\n{lost}", (begin, len(LANES) - 0.45),
                      xytext=(2, 2), textcoords="offset points", fontsize=8.5,
                      annotation_clip=False)  # fmt: skip
    axis.set_yticks(range(len(LANES)), [label for _, _, label in reversed(LANES)], fontsize=9)
    axis.set_ylim(-0.5, len(LANES) - 0.5)
    axis.set_xlim(0, end / 1000)
    axis.set_xlabel("seconds")
    axis.grid(visible=False)
    axis.tick_params(axis="y", length=0)
