"""The figure of a synchronisation run: measured cost against the formula, by number of HAs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments import palette
from experiments.plot_parts import footer, title
from experiments.statistics import group
from experiments.synchronisation_model import BINDING_CHANGES

Row = Mapping[str, Any]

SHOWN: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "registration, move or deregistration": (BINDING_CHANGES, palette.BLUE, "o"),
    "new SAs of a mobile node": (("sa-update",), palette.GREEN, "s"),
    "return of a restarted home agent": (("rejoin",), palette.VERMILION, "^"),
    "HELLOs, each second": (("hello",), palette.GREY, "v"),
    "keepalives, each second": (("keepalive",), palette.PURPLE, "D"),
}
"""Label → changes that it stands for, colour, marker."""


def cost_figure(meta: Row, rows: Sequence[Row]) -> Figure:
    """Draw messages and octets against the number of home agents; the formula is the line."""
    figure: Figure
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.8))
    for axis, metric in zip(axes, ("messages", "octets"), strict=True):
        for changes, colour, marker in SHOWN.values():
            for change in changes:
                _curve(axis, [row for row in rows if row["change"] == change], metric,
                       colour, marker)  # fmt: skip
        axis.set_yscale("log")
        axis.set_title(f"{metric} between home agents")
        axis.set_xlabel("home agents")
        axis.set_xticks(sorted({row["home_agents"] for row in rows}))
    # Two lines more than a title: the legend has two rows.
    title(figure, "What does it cost to keep home agents equal?\n")
    figure.legend(handles=_handles(), loc="upper left", ncols=3, fontsize=9.5,
                  bbox_to_anchor=(0.0, 0.945), borderaxespad=0.2)  # fmt: skip
    mobiles = max(row["mobile_nodes"] for row in rows)
    footer(
        figure,
        meta,
        f"Points: sent by the engines in virtual time; lines: formula. Alone, a home agent sends "
        f"nothing. Return: tables of {mobiles} mobile nodes.",
    )
    return figure


def _curve(axis: Axes, rows: Sequence[Row], metric: str, colour: str, marker: str) -> None:
    for name, style in ((metric, marker), (f"model_{metric}", "-")):
        totals = {
            number: sum(row[name] for row in mine)
            for number, mine in group((row["home_agents"], row) for row in rows).items()
        }
        shown = {number: total for number, total in totals.items() if total}
        axis.plot(list(shown), list(shown.values()), style, color=colour, markersize=5.5)


def _handles() -> list[Line2D]:
    return [
        Line2D([], [], color=colour, marker=marker, label=label, markersize=5.5, linewidth=1)
        for label, (_, colour, marker) in SHOWN.items()
    ]
