"""The figure of the optimisation experiment, from its run folder alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments import palette
from experiments.optimisation_summary import SHOWN, Rows
from experiments.plot_parts import footer, legend, spread_out, title
from experiments.statistics import group, median

Row = Mapping[str, Any]

LABELS: Mapping[str, str] = {
    "plain": "Mobile\nIPv6,\none HA",
    "off": "shared\naddress\nalone",
    "switch": "Primary\nHA\nSwitch",
    "relay": "relay\nfrom HA\nto HA",
    "map": "CN → HA\nmap",
    "direct": "no\ntunnel",
}
COLOURS: Mapping[str, str] = {"cn1": palette.BLUE, "cn2": palette.ORANGE}
MODEL = "#222222"


def optimisation_figure(meta: Row, rows: Rows) -> Figure:
    """Draw round trips with predictions as marks, and goodput beside them."""
    figure: Figure
    figure, (left, right) = plt.subplots(1, 2, figsize=(12.0, 5.2))
    arms = [arm for arm in SHOWN if any(row["arm"] == arm for row in rows.paths)]
    _ways(left, arms, [row for row in rows.paths if row["window"] != "before"])
    _speeds(right, arms, rows.speed)
    for axis in (left, right):
        axis.set_xticks(range(len(arms)), [LABELS[arm] for arm in arms], fontsize=8.5)
        axis.grid(visible=False, axis="x")
    title(figure, "The way to a correspondent near another AS, with and without its detour")
    legend(figure, [
        *(Line2D([], [], color=colour, marker="o", linestyle="", label=_place(name))
          for name, colour in COLOURS.items()),
        Line2D([], [], color=MODEL, marker="_", markersize=16, linestyle="",
               label="predicted by the plan's delays"),
        Line2D([], [], color=palette.GREY, marker="^", linestyle="", label="from the mobile node"),
        Line2D([], [], color=palette.GREY, marker="v", linestyle="", label="to it"),
    ])  # fmt: skip
    trials = len({row["trial"] for row in rows.paths})
    footer(
        figure,
        meta,
        f"A point a trial (n = {trials}). Left: median one-way delays of 1,000 packets a second in "
        "each direction, added; after the change, where an arm makes one.\n"
        "Right: one TCP flow at a time, through the Python data path.",
    )
    return figure


def _place(correspondent: str) -> str:
    return f"{correspondent}, near AS {correspondent.removeprefix('cn')}"


def _ways(axis: Axes, arms: Sequence[str], rows: Sequence[Row]) -> None:
    cells = group(((row["arm"], row["correspondent"]), row) for row in rows)
    for (arm, correspondent), mine in cells.items():
        place = arms.index(arm) + (-0.18 if correspondent == "cn1" else 0.18)
        measured = [row["rtt_ms"] for row in mine]
        colour = COLOURS.get(correspondent, palette.GREY)
        axis.bar(place, median(measured), width=0.32, color=colour, alpha=0.35)
        axis.plot(list(spread_out(place, len(measured))), measured, "o", color=colour, markersize=4)
        axis.plot([place], [mine[0]["model_rtt_ms"]], "_", color=MODEL, markersize=20,
                  markeredgewidth=2)  # fmt: skip
        axis.annotate(f"{median(measured):.0f}", (place, median(measured)), xytext=(0, 5),
                      textcoords="offset points", ha="center", fontsize=8.5)  # fmt: skip
    axis.set_ylim(bottom=0)
    axis.set_ylabel("round trip, ms")


def _speeds(axis: Axes, arms: Sequence[str], rows: Sequence[Row]) -> None:
    cells = group(
        ((row["arm"], row["correspondent"], row["direction"]), row["goodput_mbit_s"])
        for row in rows
    )
    for (arm, correspondent, direction), values in cells.items():
        place = arms.index(arm) + (-0.18 if correspondent == "cn1" else 0.18)
        place += -0.07 if direction == "up" else 0.07
        colour = COLOURS.get(correspondent, palette.GREY)
        marker = "^" if direction == "up" else "v"
        axis.plot(list(spread_out(place, len(values))), values, marker, color=colour, alpha=0.5,
                  markersize=5)  # fmt: skip
        axis.plot([place], [median(values)], marker, color=colour, markersize=9)
    axis.set_yscale("log")
    axis.set_ylabel("goodput, Mbit/s")
