"""The figure of a hijack run: who gets whose packets in each case, what IPsec still protects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from experiments import palette
from experiments.hijack_cases import texts as case_texts
from experiments.hijack_summary import LEGS, WHO, shares, sources
from experiments.plot_parts import footer, legend, title
from experiments.statistics import group, median

Row = Mapping[str, Any]

TITLES = {"cn": "packets of", "mn": "Binding Updates\nof the MN at"}
READ, KEPT = palette.LOST, palette.DELIVERED


def hijack_figure(
    meta: Row, ends: Sequence[Row], drawn: Sequence[Row], forgeries: Sequence[Row]
) -> Figure:
    """Draw the cases on the left, what was read and forged on the right, whichever there are."""
    cases = list(dict.fromkeys(row["case"] for row in ends))
    panels = [name for name, rows in (("cases", ends), ("ipsec", drawn)) if rows]
    figure: Figure
    figure, axes = plt.subplots(
        1, len(panels), figsize=(7.5 * len(panels), 2.2 + 0.33 * max(len(cases), 14)),
        squeeze=False,
    )  # fmt: skip
    by_name = dict(zip(panels, axes[0], strict=True))
    if ends:
        _cases(by_name["cases"], ends, cases)
    if drawn:
        _protection(by_name["ipsec"], drawn, forgeries)
    title(figure, "Who may announce the home network, and what if the wrong one does?")
    legend(figure, [
        Line2D([], [], color=colour, linewidth=6, label=label)
        for colour, label in (
            *((palette.REACHED[name], name) for name in palette.REACHED),
        )
    ])  # fmt: skip
    trials = len({row["trial"] for row in (*ends, *drawn)})
    footer(
        figure,
        meta,
        f"Trials: {trials}; a cell with a dot went otherwise than the model says in one of them. "
        "Numbers: share that reached an honest HA.\nRight: packets read or accepted (red) of those "
        "drawn or injected.",
    )
    return figure


def _cases(axis: Axes, ends: Sequence[Row], cases: Sequence[str]) -> None:
    texts = case_texts()
    columns = sources(ends)
    cells = group(((row["case"], row["who"], row["source"]), row) for row in ends)
    found = shares(ends)
    gap = {who: 0.35 * place for place, who in enumerate(WHO)}
    places = {(who, source): n + gap[who] for n, (who, source) in enumerate(columns)}
    for line, case in enumerate(cases):
        for (who, source), x in places.items():
            rows = cells.get((case, who, source), [])
            if not rows:
                continue
            colour = palette.REACHED.get(rows[0]["reached"], palette.YELLOW)
            axis.add_patch(Rectangle((x - 0.46, line - 0.42), 0.92, 0.84, color=colour))
            if not all(row["as_expected"] for row in rows):
                axis.plot(x, line, "o", color="black")
        for place, who in enumerate(WHO):
            share = found.get((case, who))
            if share:
                axis.text(
                    len(columns) + 0.6 + 0.9 * place, line, f"{median(share):.2f}",
                    ha="center", va="center", fontsize=8.5,
                )  # fmt: skip
    axis.set_yticks(range(len(cases)), [texts.get(case, case) for case in cases], fontsize=8.5)
    right = [len(columns) + 0.6 + 0.9 * place for place in range(len(WHO))]
    axis.set_xticks(
        [*places.values(), *right],
        [*(source for _, source in columns), *(f"share\n{who}" for who in WHO)],
        fontsize=8.5,
    )
    axis.xaxis.tick_top()
    axis.set_xlim(-0.6, right[-1] + 0.5)
    axis.set_ylim(len(cases) - 0.4, -0.6)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    for who in WHO:
        mine = [x for (each, _), x in places.items() if each == who]
        if mine:
            axis.text(sum(mine) / len(mine), -1.6, TITLES[who], ha="center", fontsize=8.5)


def _protection(axis: Axes, drawn: Sequence[Row], forgeries: Sequence[Row]) -> None:
    bars: list[tuple[str, list[int], list[int]]] = []
    for leg, rows in group((row["leg"], row) for row in drawn).items():
        bars.append((
            f"drawn, {LEGS[leg]}",
            [row["drawn"] for row in rows], [row["readable"] for row in rows],
        ))  # fmt: skip
    cells = group(((row["who"], row["form"]), row) for row in forgeries)
    for (who, form), rows in cells.items():
        bars.append((
            f"to the {who.upper()}, {form}",
            [row["injected"] for row in rows], [row["accepted"] for row in rows],
        ))  # fmt: skip
    for line, (_, all_, through) in enumerate(bars):
        whole, part = median(all_), median(through)
        axis.barh(line, whole, height=0.62, color=KEPT, alpha=0.35)
        axis.barh(line, part, height=0.62, color=READ)
        axis.text(whole + 3, line, f"{part:.0f} of {whole:.0f}", va="center", fontsize=8.5)
    axis.set_yticks(range(len(bars)), [label for label, _, _ in bars], fontsize=8.5)
    axis.set_ylim(len(bars) - 0.4, -0.6)
    axis.set_xlim(0, 1.25 * max((median(all_) for _, all_, _ in bars), default=1))
    axis.set_xlabel("packets")
    axis.set_title("Read of what was drawn; accepted of what was forged", loc="left", fontsize=10)
    axis.tick_params(axis="y", length=0)
    axis.grid(visible=False, axis="y")
