"""The figure of a renewal run: what each exchange took, and what traffic saw of renewals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from experiments import palette
from experiments.plot_parts import LABEL_BOX, footer, known, legend, spread_out, title
from experiments.statistics import group, median
from experiments.targets import EXCHANGE_MS

Row = Mapping[str, Any]
MARKERS = {"hardened": "o", "draft": "s"}


def renewal_figure(meta: Row, exchanges: Sequence[Row], renewals: Sequence[Row]) -> Figure:
    """Draw every exchange and every renewal as a point; disturbed ones are left out of times."""
    calm = [row for row in exchanges if row["undisturbed"]]
    modes = known(palette.MODES, [row["mode"] for row in calm])
    timed = [row for row in calm if row["exchange"] in EXCHANGE_MS]
    figure: Figure
    figure, (times, traffic) = plt.subplots(
        2, 1, figsize=(9.5, 7.2), height_ratios=[1.3, 1], squeeze=True
    )
    _times(times, timed, modes)
    _traffic(traffic, [row for row in calm if row["exchange"] == "renewed"], renewals, modes)
    title(figure, "What do registration, renewal and takeover take, with keys from IKE?")
    handles = [
        Line2D([], [], color=palette.MODES[mode][0], marker=MARKERS[mode], linestyle="",
               label=palette.MODES[mode][1])
        for mode in modes
    ]  # fmt: skip
    handles.append(Line2D([], [], color="#444444", linestyle=(0, (4, 3)), label="target"))
    legend(figure, handles)
    footer(
        figure,
        meta,
        "Every point is one exchange; number: median in ms; dashes: target of the 95th percentile; "
        "losses count in disturbed trials too.",
    )
    return figure


def _times(axis: Axes, exchanges: Sequence[Row], modes: Sequence[str]) -> None:
    """Draw the exchanges that have a target."""
    names = known(palette.EXCHANGES, [row["exchange"] for row in exchanges])
    cells = group(((r["exchange"], r["mode"]), r["duration_ms"]) for r in exchanges)
    for place, name in enumerate(reversed(names)):
        target = EXCHANGE_MS[name]
        axis.vlines(target, place - 0.42, place + 0.42, color="#444444", linestyle=(0, (4, 3)),
                    linewidth=1.2)  # fmt: skip
        _lane(axis, place, name, cells, modes)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:g}"))
    axis.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    low, high = axis.get_xlim()
    axis.set_xlim(low, high * 1.8)
    _places(axis, [palette.EXCHANGES[name] for name in reversed(names)])
    axis.set_xlabel("ms")


def _traffic(
    axis: Axes, exchanges: Sequence[Row], renewals: Sequence[Row], modes: Sequence[str]
) -> None:
    """Draw the time until fresh SAs are in use, by cause; beside it what all streams lost."""
    causes = known(palette.CAUSES, [row["cause"] for row in renewals])
    cells = group(((r["cause"], r["mode"]), r["duration_ms"]) for r in exchanges)
    for place, cause in enumerate(reversed(causes)):
        _lane(axis, place, cause, cells, modes)
        mine = [row for row in renewals if row["cause"] == cause]
        lost, sent = (sum(r[f"{what}_packets"] for r in mine) for what in ("lost", "sent"))
        axis.annotate(f"{lost} of {sent:,} packets lost", (1, place), xytext=(-4, 0),
                      xycoords=("axes fraction", "data"), textcoords="offset points", ha="right",
                      va="center", fontsize=9, color=palette.LOST if lost else "#222222",
                      bbox=LABEL_BOX)  # fmt: skip
    axis.set_title("renewals under traffic")
    axis.set_xlim(0, axis.get_xlim()[1] * 1.6)
    _places(axis, [palette.CAUSES[cause] for cause in reversed(causes)])
    axis.set_xlabel("ms until the primary sends on fresh SAs")


def _lane(
    axis: Axes, place: int, name: str, cells: Mapping[Any, Sequence[float]], modes: Sequence[str]
) -> None:
    for index, mode in enumerate(modes):
        values = cells.get((name, mode))
        if not values:
            continue
        colour, height = palette.MODES[mode][0], place + 0.2 - 0.4 * index
        places = list(spread_out(height, len(values)))
        axis.plot(list(values), places, MARKERS[mode], color=colour, alpha=0.55, markersize=4.5,
                  markeredgewidth=0)  # fmt: skip
        axis.annotate(f"{median(values):.2g}", (max(values), height), xytext=(7, 0), va="center",
                      textcoords="offset points", fontsize=8.5, color=colour,
                      bbox=LABEL_BOX)  # fmt: skip


def _places(axis: Axes, labels: Sequence[str]) -> None:
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(-0.55, len(labels) - 0.45)
