"""The figure of an isolation run: what a hostile home agent still achieved, and what was lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments import palette
from experiments.isolation_records import KINDS, QUIET_NS, S
from experiments.isolation_summary import CONDITIONS, FENCINGS, ROLES, TRIGGERS, worst_lost
from experiments.plot_parts import footer, legend, title
from experiments.statistics import group, median
from experiments.targets import POWERLESS_MS

Row = Mapping[str, Any]
Cell = tuple[str, ...]

LEAST_MS = 0.1
"""Where a logarithmic axis shows what ended with the trigger, or before."""

TICKS_MS = (0.1, 1, 10, 100, 1000)

SHOWN: Mapping[str, tuple[str, str, str]] = {  # colour, marker, label
    "update": (palette.PURPLE, "s", "Update believed"),
    "tunnel": (palette.BLUE, "o", "tunnel packet taken"),
    "ike": (palette.GREEN, "D", "IKE_AUTH completed"),
    "drawn": (palette.ORANGE, "v", "packet drawn"),
}
SAYS: Mapping[str, str] = {
    "secondary": "not primary",
    "primary": "primary, nearest",
    "verb": "verb",
    "detection": "detected",
    "on": "fenced",
    "off": "not fenced",
}
STEP_MARKS: Mapping[str, tuple[str, str]] = {
    "up": (palette.LOST, "lost from the MN"),
    "down": ("#f2a3a3", "lost to the MN"),
}


def powerless_figure(meta: Row, isolations: Sequence[Row], flows: Sequence[Row]) -> Figure:
    """Draw for every cell when each kind of thing last succeeded, and how many packets it cost."""
    cells = _cells(isolations)
    figure: Figure
    figure, (times, losses) = plt.subplots(
        1, 2, figsize=(10.5, 1.9 + 0.62 * len(cells)), sharey=True, width_ratios=(2.2, 1)
    )
    window = max(row["window_ms"] for row in isolations)
    for place, (cell, mine) in enumerate(reversed(cells.items())):
        _times(times, place, cell, mine)
        _losses(losses, place, [worst_lost(flows, cell, d) for d in ("up", "down")])
    times.set_yticks(range(len(cells)), [_label(cell) for cell in reversed(cells)], fontsize=9)
    times.set_xscale("log")
    times.set_xlim(LEAST_MS / 1.4, window * 30)
    times.set_xticks(TICKS_MS, [f"{tick:g}" for tick in TICKS_MS])
    times.minorticks_off()
    times.axvspan(window - QUIET_NS / S * 1000, window, color="#eeeeee", zorder=0)
    times.set_xlabel("ms from the trigger to the last success of each kind")
    losses.set_xscale("symlog", linthresh=1)
    losses.set_xlim(-0.3, window * 1.6)
    losses.set_xticks((0, 1, 10, 100, 1000), ("0", "1", "10", "100", "1000"))
    losses.set_xlabel("packets lost by the worst flow")
    for axis in (times, losses):
        axis.set_ylim(-0.6, len(cells) - 0.4)
        axis.grid(axis="y", visible=False)
    title(figure, "A home agent turned hostile: when was it powerless?")
    legend(figure, [
        *(Line2D([], [], color=colour, marker=marker, linestyle="", label=label)
          for colour, marker, label in SHOWN.values()),
        *(Line2D([], [], color=colour, marker="|", markersize=11, markeredgewidth=3, linestyle="",
                 label=label) for colour, label in STEP_MARKS.values()),
    ])  # fmt: skip
    count = len(isolations) // len(cells)
    footer(
        figure,
        meta,
        f"Every mark is one trial (about {count} a cell). In the grey second, the window's last: "
        "it goes on, no time is known. Dashes: target. Left edge: over with the trigger.",
    )
    return figure


def timeline_figure(meta: Row, steps: Sequence[Row]) -> Figure:
    """Draw in steps of 50 ms what the hostile home agent achieved, and what was lost."""
    cells = _cells(steps)
    figure: Figure
    figure, axes = plt.subplots(
        len(cells), 1, figsize=(10.5, 1.3 + 1.25 * len(cells)), sharex=True, squeeze=False
    )
    lanes = [*KINDS, *STEP_MARKS]
    for (cell, mine), axis in zip(cells.items(), axes[:, 0], strict=True):
        most = group((row["kind"], row["count"]) for row in mine)
        for row in mine:
            kind = row["kind"]
            colour = SHOWN[kind][0] if kind in SHOWN else STEP_MARKS[kind][0]
            height = 0.25 + 0.6 * row["count"] / max(most[kind])
            axis.bar(row["step_ms"], height, width=46, align="edge", color=colour,
                     bottom=len(lanes) - 1 - lanes.index(kind) - height / 2)  # fmt: skip
        axis.axvline(0, color="#222222", linewidth=1, linestyle=(0, (3, 2)))
        names = [SHOWN[kind][2] if kind in SHOWN else STEP_MARKS[kind][1] for kind in lanes]
        axis.set_yticks(range(len(lanes)), list(reversed(names)), fontsize=7)
        axis.set_ylim(-0.6, len(lanes) - 0.4)
        axis.set_title(_label(cell), fontsize=9, pad=3)
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", length=0)
    axes[-1, 0].set_xlabel("ms since the trigger")
    title(figure, "Before and after the trigger: the first trial of each kind")
    footer(figure, meta, "Bars: how often in 50 ms, beside the most of that kind in that trial.")
    return figure


def _times(axis: Axes, place: int, cell: Cell, mine: Sequence[Row]) -> None:
    limit = POWERLESS_MS.get((cell[0], cell[1]))
    if limit is not None:
        axis.plot([limit, limit], [place - 0.42, place + 0.42], color="#222222",
                  linestyle=(0, (2, 1.5)), linewidth=1.3)  # fmt: skip
    for lane, (kind, (colour, marker, _)) in enumerate(SHOWN.items()):
        height = place + 0.27 - 0.18 * lane
        values = [row[f"{kind}_ms"] for row in mine if row[f"{kind}_ms"] is not None]
        axis.plot([max(each, LEAST_MS) for each in values], [height] * len(values), marker=marker,
                  color=colour, linestyle="", markersize=5, alpha=0.8)  # fmt: skip
    known = [row["time_to_powerless_ms"] for row in mine if row["powerless"]]
    text = f"{median(known):.0f}" if len(known) == len(mine) else "not powerless"
    axis.annotate(text, (1.0, place), xycoords=("axes fraction", "data"), xytext=(-3, 0),
                  textcoords="offset points", ha="right", va="center", fontsize=9,
                  fontweight="bold")  # fmt: skip


def _losses(axis: Axes, place: int, lost: Sequence[Sequence[float]]) -> None:
    for lane, (values, (colour, _)) in enumerate(zip(lost, STEP_MARKS.values(), strict=True)):
        axis.plot(values, [place + 0.15 - 0.3 * lane] * len(values), marker="|", markersize=11,
                  markeredgewidth=3, color=colour, linestyle="", alpha=0.8)  # fmt: skip


def _label(cell: Cell) -> str:
    trigger, fencing, role = cell
    return f"{SAYS[role]}; {SAYS[trigger]}, {SAYS[fencing]}"


def _cells(rows: Sequence[Row]) -> dict[Cell, list[Row]]:
    found = group((tuple(str(row[name]) for name in CONDITIONS), row) for row in rows)
    order = [(t, f, r) for r in ROLES for t in TRIGGERS for f in FENCINGS]
    return {cell: found[cell] for cell in order if cell in found}
