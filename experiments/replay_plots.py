"""The figure of the replay experiment, from its run folder alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments import palette
from experiments.plot_parts import LABEL_BOX, footer, known, legend, spread_out, title
from experiments.replay_model import sharing_loss
from experiments.replay_summary import WITHOUT_FLOORS, losses, shares
from experiments.statistics import group, median

Row = Mapping[str, Any]
MODEL: dict[str, Any] = {"color": "#444444", "linestyle": (0, (3, 2)), "linewidth": 1.2}


def replay_figure(
    meta: Row, sharing: Sequence[Row], nonces: Sequence[Row], attacks: Sequence[Row]
) -> Figure:
    """Draw losses and nonces of sharing above, the three attacks below; the model as dashes."""
    figure: Figure
    figure, axes = plt.subplot_mosaic(
        [["sharing", "sharing", "nonces"], ["relabel", "far-ahead", "new-primary"]],
        figsize=(13, 8.4),
        width_ratios=[1.5, 0.9, 1.1],
    )
    everything = (*sharing, *nonces, *attacks)
    modes = known(palette.MODES, [row["mode"] for row in everything])
    modes.sort(key=lambda mode: mode == WITHOUT_FLOORS)  # the control stands last
    by_attack = group((row["attack"], row) for row in attacks)
    _sharing(axes["sharing"], sharing, modes)
    _nonces(axes["nonces"], nonces, modes)
    _forms(axes["relabel"], by_attack.get("relabel", []), modes)
    _silence(axes["far-ahead"], by_attack.get("far-ahead", []), modes)
    _next_home_agent(axes["new-primary"], by_attack.get("new-primary", []), modes)
    title(figure, "What can be done to a shared security association, and what comes of it?")
    handles = [
        Line2D([], [], color=_colour(mode), linewidth=6, alpha=0.5, label=_label(mode))
        for mode in modes
    ]
    handles.append(Line2D([], [], label="model", **MODEL))
    legend(figure, handles)
    trials = len({row["trial"] for row in everything})
    footer(
        figure,
        meta,
        f"Points: single trials ({trials}); bars and numbers: median. The attacker sits on the "
        "visited link and holds no key.",
    )
    return figure


def _colour(mode: str) -> str:
    return palette.MODES.get(mode, (palette.GREY, mode))[0]


def _label(mode: str) -> str:
    label = palette.MODES.get(mode, (palette.GREY, mode))[1]
    return f"{label}, no floors" if mode == WITHOUT_FLOORS else label


def _grouped(
    axis: Axes,
    groups: Sequence[str],
    modes: Sequence[str],
    cells: Mapping[tuple[str, str], Sequence[float]],
    form: Callable[[float], str] = "{:,.0f}".format,
) -> dict[tuple[str, str], tuple[float, float]]:
    """Draw a bar for each (group, mode); return where each begins and ends."""
    places: dict[tuple[str, str], tuple[float, float]] = {}
    modes = [mode for mode in modes if any((name, mode) in cells for name in groups)]
    width = 0.84 / max(len(modes), 1)
    for place, name in enumerate(groups):
        for index, mode in enumerate(modes):
            values = cells.get((name, mode))
            if not values:
                continue
            middle = place + (index - (len(modes) - 1) / 2) * width
            places[name, mode] = (middle - width * 0.45, middle + width * 0.45)
            _bar(axis, middle, width * 0.9, mode, values, form)
    axis.set_xticks(range(len(groups)), groups)
    axis.set_xlim(-0.5, max(len(groups), 1) - 0.5)
    _from_zero(axis)
    return places


def _bar(
    axis: Axes, place: float, width: float, mode: str, values: Sequence[float],
    form: Callable[[float], str],
) -> None:  # fmt: skip
    """Draw the median as a bar with its number, every trial as a point."""
    colour, height = _colour(mode), median(values)
    spread = [place + (x - place) * width / 0.3 for x in spread_out(place, len(values))]
    axis.bar(place, height, width, color=colour, alpha=0.35, zorder=2)
    axis.plot(spread, list(values), "o", color=colour, markersize=3.5, zorder=3)
    axis.annotate(form(height), (place, max(values)), xytext=(0, 4), fontsize=7.5, ha="center",
                  textcoords="offset points", color=colour, bbox=LABEL_BOX)  # fmt: skip


def _by_mode(
    axis: Axes, modes: Sequence[str], cells: Mapping[str, Sequence[float]],
    form: Callable[[float], str] = "{:,.0f}".format,
) -> list[str]:  # fmt: skip
    """Draw a bar a mode; return the modes drawn, in their places."""
    found = [mode for mode in modes if mode in cells]
    for place, mode in enumerate(found):
        _bar(axis, place, 0.7, mode, cells[mode], form)
    axis.set_xticks(range(len(found)), [_label(mode).replace(", ", ",\n") for mode in found])
    axis.tick_params(axis="x", labelsize=8.5)
    _from_zero(axis)
    return found


def _from_zero(axis: Axes) -> None:
    axis.margins(y=0.14)
    axis.set_ylim(bottom=0)


def _dashes(
    axis: Axes,
    places: Mapping[tuple[str, str], tuple[float, float]],
    model: Mapping[tuple[str, str], float],
) -> None:
    for cell, (left, right) in places.items():
        if cell in model:
            axis.hlines(model[cell], left, right, zorder=4, **MODEL)


def _sharing(axis: Axes, rows: Sequence[Row], modes: Sequence[str]) -> None:
    axis.set_title("Several HAs send at once: packets lost")
    axis.set_ylabel("share lost")
    cells = group(((ratio, mode), loss) for (mode, ratio, _), loss in losses(rows).items())
    ratios = list(dict.fromkeys(row["ratio"] for row in rows))
    places = _grouped(axis, ratios, modes, cells, "{:.2f}".format)
    model = {
        (ratio, mode): sharing_loss(shares(ratio)) if mode == WITHOUT_FLOORS else 0.0
        for ratio in ratios
        for mode in modes
    }
    _dashes(axis, places, model)
    axis.set_xlabel("ratio of the HAs' rates")


def _nonces(axis: Axes, rows: Sequence[Row], modes: Sequence[str]) -> None:
    """Show collisions as the egress records have them; where these know no IVs, as the wire."""
    axis.set_title("Nonces that were used before")
    axis.set_ylabel("share of the HAs' packets")
    best = {(row["mode"], row["trial"]): row for row in rows if row["source"] == "wire"}
    for row in rows:
        if row["source"] == "egress" and row["nonce_collisions"] is not None:
            best[row["mode"], row["trial"]] = row
    cells = group(
        (mode, row["nonce_collisions"] / max(row["packets"], 1)) for (mode, _), row in best.items()
    )
    _by_mode(axis, modes, cells, lambda share: f"{share:.2f}" if share else "none")


FORMS = {
    "origin-HA2": "HA2's address",
    "origin-HA3": "HA3's address",
    "origin-stranger": "a stranger's",
    "origin-and-sid": "HA2's, and\nits SID",
}


def _forms(axis: Axes, rows: Sequence[Row], modes: Sequence[str]) -> None:
    injected = max((row["injected_packets"] for row in rows), default=0)
    axis.set_title(f"Relabelled: {injected} packets of HA1 replayed with …")
    axis.set_ylabel("replays accepted by the MN")
    forms = [form for form in FORMS if any(row["form"] == form for row in rows)]
    cells = group(((FORMS[r["form"]], r["mode"]), float(r["accepted_packets"])) for r in rows)
    places = _grouped(axis, [FORMS[form] for form in forms], modes, cells)
    _dashes(axis, places, {(FORMS[r["form"]], r["mode"]): r["expected_packets"] for r in rows})


def _silence(axis: Axes, rows: Sequence[Row], modes: Sequence[str]) -> None:
    rows = [row for row in rows if row["genuine_lost"] is not None]
    sent = max((row["genuine_packets"] for row in rows), default=0)
    axis.set_title("One far-ahead packet")
    axis.set_ylabel(f"HA2's next {sent:,} packets: lost")
    cells = group((row["mode"], float(row["genuine_lost"])) for row in rows)
    model = {row["mode"]: row["expected_lost"] for row in rows}
    for place, mode in enumerate(_by_mode(axis, modes, cells)):
        axis.hlines(model[mode], place - 0.35, place + 0.35, zorder=4, **MODEL)


def _next_home_agent(axis: Axes, rows: Sequence[Row], modes: Sequence[str]) -> None:
    injected = max((row["injected_packets"] for row in rows), default=0)
    axis.set_title("HA1 dead: the MN's packets replayed")
    axis.set_ylabel(f"of up to {injected} replays, accepted by HA2")
    forms = {
        "before-fresh": "before the MN's\nfirst fresh packet",
        "after-fresh": "after it",
    }
    cells = group(((forms[r["form"]], r["mode"]), float(r["accepted_packets"])) for r in rows)
    _grouped(axis, list(forms.values()), modes, cells)
    axis.set_yscale("symlog", linthresh=10)
    axis.set_yticks([0, 10, 100, 1000], ["0", "10", "100", "1,000"])
    axis.set_ylim(0, 2500)
    bounds = {row["bound_packets"] for row in rows if row["bound_packets"] is not None}
    for bound in bounds:
        axis.hlines(bound, -0.45, 0.45, zorder=4, **MODEL)
        axis.annotate(f"bound of rule 5: {bound}", (0.45, bound), xytext=(4, -3), fontsize=8,
                      textcoords="offset points", color="#444444")  # fmt: skip
