"""What all figures have in common: title, legend, footer, the spread of points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from topologies.delay import delay_caption

LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}

Row = Mapping[str, Any]


def footer(figure: Figure, meta: Row, text: str) -> None:
    """Write below a figure what it shows and where it was measured."""
    commit = meta["git_commit"][:10] + ("+changes" if meta["git_dirty"] else "")
    where = f"seed {meta['seed']} · commit {commit} · Linux {meta['kernel']} · {meta['cpus']} CPUs"
    if caption := delay_caption(meta["delay"]):
        where += f" · {caption}"
    state = "" if meta["state"] == "complete" else " · RUN ABORTED"
    figure.supxlabel(f"{text}\n{where}{state}", fontsize=8, color="#555555", x=0.01, ha="left")


def title(figure: Figure, text: str) -> None:
    """Set the figure's title, with room for the legend below it."""
    figure.suptitle(f"{text}\n", x=0.01, ha="left", fontsize=13, fontweight="bold")


def legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Put one legend for all axes under the title."""
    height = figure.get_figheight()
    figure.legend(handles=handles, loc="upper left", ncols=len(handles), fontsize=9.5,
                  bbox_to_anchor=(0.0, 1 - 0.27 / height), borderaxespad=0.2,
                  handletextpad=0.5, columnspacing=1.6)  # fmt: skip


def known(order: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the names that occur, in the order of the palette, unknown ones last."""
    found = dict.fromkeys(names)
    return [n for n in order if n in found] + [n for n in found if n not in order]


def spread_out(place: float, count: int) -> Iterator[float]:
    """Yield places around a column's middle so that equal values do not hide one another."""
    for n in range(count):
        yield place + 0.075 * (((n * 0.618034) % 1) * 2 - 1) * (count > 1)


def plain_numbers(axis: Axis) -> None:
    """Write the ticks of a logarithmic axis over few decades as 2, 5, 10, 2,000."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(
        FuncFormatter(lambda value, _: f"{value:,g}" if f"{value:e}"[0] in "25" else "")
    )
