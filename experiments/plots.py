"""Figures from a run folder alone: `python -m experiments.plots results/latest-failover`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# matplotlib's font list: beside its code where that can be written, else in a folder that goes with
# us; in the user's home it would outlive us.
if os.access(sys.prefix, os.W_OK):
    os.environ.setdefault("MPLCONFIGDIR", os.path.join(sys.prefix, "matplotlib"))
elif "MPLCONFIGDIR" not in os.environ:
    _fonts = tempfile.TemporaryDirectory(prefix="matplotlib-")
    os.environ["MPLCONFIGDIR"] = _fonts.name

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from experiments import palette
from experiments.data import (
    ATTACKS,
    DIRECTIONS,
    EXCHANGES,
    GOODPUT,
    MOVES,
    NONCES,
    PACKETS,
    PHASES,
    RENEWALS,
    SERVING,
    SHARING,
    STREAMS,
    SYNCHRONISATION,
    DataError,
    read_meta,
    read_summary,
    read_table,
)
from experiments.data_catchment import CATCHMENTS, MAP_LINKS, MAP_NODES, PLACES
from experiments.data_hijack import DRAWN, ENDS, FORGERIES
from experiments.data_siege import SIEGES, UPDATES
from experiments.plot_parts import LABEL_BOX, footer, known, legend, spread_out, title
from experiments.statistics import group, median, spread
from experiments.targets import outage_target

STYLE = Path(__file__).with_name("manyhomes.mplstyle")
ZERO_MS = 1.0
"""Where a logarithmic axis shows an outage of nothing."""

QUESTIONS = {
    "single_as": "How long is a mobile node cut off when its home agent fails?",
    "multi_as": "How long is a mobile node cut off when a home agent, an AS or a transit fails?",
}
"""The title of the outages, by topology."""

Row = Mapping[str, Any]


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as PNG and SVG and forget it."""
    (folder / "plots").mkdir(exist_ok=True)
    for suffix in ("png", "svg"):
        figure.savefig(folder / "plots" / f"{name}.{suffix}", metadata=_undated(suffix))
    plt.close(figure)


def _undated(suffix: str) -> dict[str, None]:
    return {"Date": None} if suffix == "svg" else {}


# --- failover: every trial a point -------------------------------------------------------------


def worst_outages(streams: Sequence[Row]) -> dict[tuple[str, str, str], list[float]]:
    """Return outages in ms by (direction, fault, detection), the worst correspondent a trial."""
    worst: dict[tuple[str, str, str, int], float] = {}
    for row in streams:
        if row["role"] == "affected":
            key = (row["direction"], row["fault"], row["detection"], row["trial"])
            worst[key] = max(worst.get(key, 0.0), row["outage_ms"])
    return group(((d, f, e), outage) for (d, f, e, _), outage in worst.items())


def outage_figure(meta: Row, streams: Sequence[Row]) -> Figure:
    """Draw the outage by fault and detection, up and down separately, every trial a point."""
    cells = worst_outages(streams)
    faults = known(palette.FAULTS, [fault for _, fault, _ in cells])
    detections = known(palette.DETECTIONS, [detection for _, _, detection in cells])
    directions = [d for d in reversed(DIRECTIONS) if any(d == key[0] for key in cells)]
    # A column for several settings, or one for a fault's name.
    width = max(6.5, 1.0 + (1.75 if len(detections) > 1 else 1.4) * len(faults))
    figure: Figure
    figure, axes = plt.subplots(
        len(directions), 1, figsize=(width, 1.4 + 3.1 * len(directions)), sharex=True, squeeze=False
    )
    everything = [value for values in cells.values() for value in values]
    bottom, top = min(everything), max(everything)
    for direction, axis in zip(directions, axes[:, 0], strict=True):
        axis.set_title(f"{direction}: {palette.DIRECTIONS[direction]}")
        _outage_axis(axis, bottom, top)
        for place, fault in enumerate(faults):
            for index, detection in enumerate(detections):
                values = cells.get((direction, fault, detection))
                if values:
                    offset = (index - (len(detections) - 1) / 2) * 0.27
                    _target(axis, place + offset, streams[0]["topology"], fault, detection)
                    _column(axis, place + offset, values, detection)
    axes[-1, 0].set_xticks(range(len(faults)), [palette.fault(fault) for fault in faults])
    axes[-1, 0].set_xlim(-0.5, len(faults) - 0.5)
    title(figure, QUESTIONS[streams[0]["topology"]])
    _outage_legend(figure, detections)
    trials = [len(values) for values in cells.values()]
    count = f"{min(trials)}" if min(trials) == max(trials) else f"{min(trials)} to {max(trials)}"
    footer(
        figure,
        meta,
        f"Every point is one trial ({count} a column); bar and number: median; box: half of the "
        "trials; dashes: target for the 95th percentile.",
    )
    return figure


def _outage_axis(axis: Axes, bottom: float, top: float) -> None:
    axis.set_yscale("log")
    axis.set_ylim(max(min(bottom / 1.6, 10), ZERO_MS * 0.8), max(top * 2.2, 200))
    axis.set_ylabel("outage")
    ticks = [
        t
        for t in (1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000, 300000)
        if axis.get_ylim()[0] <= t <= axis.get_ylim()[1]
    ]
    axis.set_yticks(ticks, [])
    axis.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda ms, _: _duration(ms)))
    for edge in (x + 0.5 for x in range(12)):
        axis.axvline(edge, color="#eeeeee", linewidth=0.8, zorder=0)


def _duration(ms: float) -> str:
    if ms <= ZERO_MS:
        return f"≤ {ZERO_MS:.0f} ms"
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:g} s"


def _number(ms: float) -> str:
    if ms < 1000:
        return f"{ms:.0f}"
    return f"{ms / 1000:.1f} s"


def _target(axis: Axes, place: float, topology: str, fault: str, detection: str) -> None:
    target = outage_target(topology, fault, detection)
    if target is not None:
        axis.hlines(target, place - 0.13, place + 0.13, color="#444444", linestyle=(0, (3, 2)),
                    linewidth=1.1, zorder=1)  # fmt: skip


def _column(axis: Axes, place: float, values: Sequence[float], detection: str) -> None:
    colour, marker, _ = palette.detection(detection)
    shown = [max(value, ZERO_MS) for value in values]
    axis.plot(list(spread_out(place, len(shown))), shown, marker, color=colour, alpha=0.55,
              markersize=4.5, markeredgewidth=0, zorder=3)  # fmt: skip
    if len(values) >= 4:
        low, high = spread(shown)
        axis.fill_between([place - 0.1, place + 0.1], low, high, color=colour, alpha=0.18,
                          linewidth=0, zorder=2)  # fmt: skip
    middle = max(median(values), ZERO_MS)
    axis.hlines(middle, place - 0.1, place + 0.1, color=colour, linewidth=2.2, zorder=4)
    axis.annotate(_number(median(values)), (place, max(shown)), xytext=(0, 5), ha="center",
                  textcoords="offset points", fontsize=8, color=colour,
                  bbox=LABEL_BOX)  # fmt: skip


def _outage_legend(figure: Figure, detections: Sequence[str]) -> None:
    handles = []
    for name in detections:
        colour, marker, label = palette.detection(name)
        handles.append(
            Line2D([], [], color=colour, marker=marker, linestyle="", label=label, markersize=6)
        )
    handles.append(Line2D([], [], color="#444444", linestyle=(0, (4, 3)), label="target"))
    legend(figure, handles)


# --- failover: the time line of one trial ------------------------------------------------------


def timeline_trial(streams: Sequence[Row], packets: Sequence[Row]) -> int | None:
    """Choose the trial to show: of those with packets, one of the fastest detection.

    That of the topology's `SHOWN_FAULTS` where it ran, else the first fault of the palette.
    """
    wanted = {row["trial"] for row in packets}
    rows = [row for row in streams if row["trial"] in wanted and row["role"] == "affected"]
    if not rows:
        return None
    faults = known(palette.FAULTS, [row["fault"] for row in rows])
    detections = known(palette.DETECTIONS, [row["detection"] for row in rows])

    def order(row: Row) -> tuple[bool, int, int]:
        other = palette.SHOWN_FAULTS.get(row["topology"]) != row["fault"]
        return other, detections.index(row["detection"]), faults.index(row["fault"])

    return int(min(rows, key=order)["trial"])


def timeline_figure(
    meta: Row, trial: int, streams: Sequence[Row], packets: Sequence[Row], phases: Sequence[Row]
) -> Figure:
    """Draw one trial: each probe packet by its send time, and the phases of the failover."""
    packets = [row for row in packets if row["trial"] == trial]
    rows = [row for row in streams if row["trial"] == trial]
    marks = sorted((r["after_fault_ms"], r["phase"]) for r in phases if r["trial"] == trial)
    lanes = sorted(
        group(((row["role"] != "affected", row["direction"], row["correspondent"]), row)
              for row in rows)
    )  # fmt: skip
    end = _timeline_end(rows, marks)
    height = 1.9 + 0.62 * len(lanes) + 0.27 * (len(marks) + 1)
    figure: Figure
    figure, axis = plt.subplots(figsize=(9.5, height))
    for place, (bystander, direction, correspondent) in enumerate(reversed(lanes)):
        mine = [
            r for r in packets
            if (r["direction"], r["correspondent"]) == (direction, correspondent)
        ]  # fmt: skip
        _lane(axis, place, [r for r in mine if r["sent_ms"] <= end])
        row = next(r for r in rows if (r["direction"], r["correspondent"]) == (
            direction, correspondent))  # fmt: skip
        _outage_arrow(axis, place, row, mine, bystander)
    _phase_marks(axis, rows[0]["topology"], marks, len(lanes), end)
    axis.set_yticks(
        range(len(lanes)),
        [_lane_label(*lane) for lane in reversed(lanes)],
    )
    axis.set_ylim(-0.6, len(lanes) - 0.2 + 0.42 * (len(marks) + 1))
    axis.set_xlim(-0.12 * end, end)
    axis.set_xlabel("ms since the fault")
    axis.grid(visible=False)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    fault, detection = rows[0]["fault"], rows[0]["detection"]
    axis.set_title(
        f"One failover, step by step: {palette.fault(fault)}, {palette.detection(detection)[2]}",
        fontsize=12,
        pad=10,
    )
    footer(figure, meta,
            f"Trial {trial}. Each stroke is a probe packet (1 kHz) at the time it was sent: "
            "blue arrived, red was lost.")  # fmt: skip
    return figure


def _timeline_end(rows: Sequence[Row], marks: Sequence[tuple[float, str]]) -> float:
    """Show the outage and what follows soon; a phase far behind it stands at the edge."""
    longest = max(row["outage_ms"] for row in rows)
    late = max((time for time, _ in marks if time < 4 * longest + 50), default=0.0)
    return float(max(longest, late) * 1.35 + 12)


def _lane_label(bystander: bool, direction: str, correspondent: str) -> str:
    arrow = f"mn → {correspondent}" if direction == "up" else f"{correspondent} → mn"
    return arrow + ("\n(through another HA)" if bystander else "")


def _lane(axis: Axes, place: int, rows: Sequence[Row]) -> None:
    for colour, lost, depth in ((palette.DELIVERED, False, 0.24), (palette.LOST, True, 0.24)):
        times = [r["sent_ms"] for r in rows if (r["arrived_ms"] is None) == lost]
        axis.vlines(times, place - depth, place + depth, color=colour, linewidth=1.1)


def _outage_arrow(
    axis: Axes, place: int, row: Row, packets: Sequence[Row], bystander: bool
) -> None:
    # Lost packets may have been on their way when the fault struck.
    gap = min((r["sent_ms"] for r in packets if r["arrived_ms"] is None), default=0.0)
    before = [r["sent_ms"] for r in packets
              if r["sent_ms"] < min(gap, 0.0) and r["arrived_ms"] is not None]  # fmt: skip
    if bystander or not before or row["outage_ms"] < 1:
        text = "nothing lost" if row["lost_packets"] == 0 else f"{row['lost_packets']} lost"
        axis.annotate(text, (0, place + 0.27), xytext=(3, 1), textcoords="offset points",
                      fontsize=8.5, color="#333333")  # fmt: skip
        return
    start, end = before[-1], before[-1] + row["outage_ms"] + 1
    axis.annotate("", (end, place + 0.34), (start, place + 0.34),
                  arrowprops={"arrowstyle": "<->", "color": "#333333", "linewidth": 0.9,
                              "shrinkA": 0, "shrinkB": 0})  # fmt: skip
    axis.annotate(
        f"outage {row['outage_ms']:.0f} ms, {row['lost_packets']} lost",
        ((start + end) / 2, place + 0.36), xytext=(0, 2), textcoords="offset points",
        ha="center", fontsize=8.5, color="#333333", bbox=LABEL_BOX,
    )  # fmt: skip


def _phase_marks(
    axis: Axes, topology: str, marks: Sequence[tuple[float, str]], lanes: int, end: float
) -> None:
    entries = [(0.0, "fault"), *marks]
    for number, (time, phase) in enumerate(entries):
        level = lanes - 0.1 + 0.42 * (len(entries) - 1 - number)
        label = "fault" if phase == "fault" else palette.phase(phase, topology)
        colour = palette.LOST if phase == "fault" else "#222222"
        text = label if phase == "fault" else f"{label}  {time:.1f} ms"
        shown = min(time, end)
        if time > end:
            text += " →"
        else:
            axis.plot([time, time], [-0.6, level], color=colour, linewidth=0.9,
                      linestyle="-" if phase == "fault" else (0, (2, 2)), zorder=0)  # fmt: skip
        left = shown > 0.62 * end
        axis.annotate(text, (shown, level), xytext=(-4 if left else 4, -3), fontsize=9,
                      textcoords="offset points", ha="right" if left else "left",
                      color=colour)  # fmt: skip


# --- throughput --------------------------------------------------------------------------------


def goodput_figure(meta: Row, rows: Sequence[Row]) -> Figure:
    """Draw goodput: raw path and tunnel on the left, 1, 2, 3 HAs on capped links on the right."""
    figure: Figure
    figure, (single, aggregate) = plt.subplots(1, 2, figsize=(11, 4.6), width_ratios=[1, 1.35])
    _single_flow(single, [row for row in rows if row["path"] in ("raw", "tunnel")])
    _aggregate(aggregate, [row for row in rows if row["path"] == "aggregate"])
    title(figure, "What does the tunnel carry?")
    handles = _mode_handles(known(palette.MODES, [row["mode"] for row in rows]))
    handles.append(Line2D([], [], color="#444444", linestyle=(0, (4, 3)), label="all links full"))
    legend(figure, handles)
    footer(figure, meta, "Points: single measurements of iperf3 (TCP); bars: median.")
    return figure


def _single_flow(axis: Axes, rows: Sequence[Row]) -> None:
    axis.set_title("one TCP flow, links as fast as they go")
    axis.set_ylabel("goodput, Mbit/s")
    cells = group(((row["mode"], row["direction"]), float(row["goodput_mbit_s"])) for row in rows)
    modes = known(palette.MODES, [mode for mode, _ in cells])
    for index, mode in enumerate(modes):
        for place, direction in enumerate(reversed(DIRECTIONS)):
            values = cells.get((mode, direction))
            if values:
                offset = (index - (len(modes) - 1) / 2) * 0.8 / len(modes)
                _bar(axis, place + offset, 0.72 / len(modes), values, mode)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    axis.set_xticks(range(2), [f"{d}: {palette.DIRECTIONS[d]}" for d in reversed(DIRECTIONS)])


def _aggregate(axis: Axes, rows: Sequence[Row]) -> None:
    cap = next((row["cap_mbit_s"] for row in rows if row["cap_mbit_s"]), None)
    axis.set_title("one flow a home agent" + (f", home links of {cap:g} Mbit/s" if cap else ""))
    axis.set_ylabel("sum of goodputs, Mbit/s")
    cells = group(((row["mode"], row["home_agents"]), float(row["goodput_mbit_s"])) for row in rows)
    modes = known(palette.MODES, [mode for mode, _ in cells])
    counts = sorted({count for _, count in cells})
    for index, mode in enumerate(modes):
        for place, count in enumerate(counts):
            values = cells.get((mode, count))
            if values:
                offset = (index - (len(modes) - 1) / 2) * 0.8 / len(modes)
                _bar(axis, place + offset, 0.72 / len(modes), values, mode)
    for place, count in enumerate(counts):
        if cap:
            axis.hlines(cap * count, place - 0.45, place + 0.45, color="#444444", linewidth=1,
                        linestyle=(0, (4, 3)))  # fmt: skip
    axis.set_xticks(
        range(len(counts)), [f"{count} HA{'s' if count > 1 else ''}" for count in counts]
    )


def _bar(axis: Axes, place: float, width: float, values: Sequence[float], mode: str) -> None:
    colour = palette.MODES.get(mode, (palette.GREY, mode))[0]
    middle = median(values)
    axis.bar(place, middle, width, color=colour, alpha=0.35, zorder=2)
    axis.plot(list(spread_out(place, len(values))), list(values), "o", color=colour, markersize=4,
              zorder=3)  # fmt: skip
    axis.annotate(f"{middle:,.0f}", (place, max(values)), xytext=(0, 5), fontsize=8.5,
                  textcoords="offset points", ha="center", color=colour,
                  bbox=LABEL_BOX)  # fmt: skip


def _mode_handles(modes: Sequence[str]) -> list[Line2D]:
    return [
        Line2D([], [], color=palette.MODES.get(mode, (palette.GREY, mode))[0], linewidth=6,
               alpha=0.5, label=palette.MODES.get(mode, (palette.GREY, mode))[1])
        for mode in modes
    ]  # fmt: skip


# --- entry points ------------------------------------------------------------------------------


def plot_failover(folder: Path, meta: Row) -> list[str]:
    """Write the figures of a failover run; return their names."""
    streams = read_table(folder, STREAMS)
    if not streams:
        raise DataError(f"{folder}: no valid trial, nothing to plot")
    save(outage_figure(meta, streams), folder, "outage")
    packets = read_table(folder, PACKETS)
    trial = timeline_trial(streams, packets)
    if trial is None:
        return ["outage"]
    phases = read_table(folder, PHASES)
    save(timeline_figure(meta, trial, streams, packets, phases), folder, "timeline")
    return ["outage", "timeline"]


def plot_throughput(folder: Path, meta: Row) -> list[str]:
    """Write the figure of a throughput run; return its name."""
    rows = read_table(folder, GOODPUT)
    if not rows:
        raise DataError(f"{folder}: no measurement, nothing to plot")
    save(goodput_figure(meta, rows), folder, "goodput")
    return ["goodput"]


def plot_replay(folder: Path, meta: Row) -> list[str]:
    """Write the figure of a replay run; return its name."""
    from experiments.replay_plots import replay_figure

    tables = [read_table(folder, table) for table in (SHARING, NONCES, ATTACKS)]
    if not any(tables):
        raise DataError(f"{folder}: no observation, nothing to plot")
    save(replay_figure(meta, *tables), folder, "replay")
    return ["replay"]


def plot_metric(folder: Path, meta: Row) -> list[str]:
    """Write the figure of a metric run; return its name."""
    from experiments.metric_plots import serving_figure

    serving = read_table(folder, SERVING)
    if not serving:
        raise DataError(f"{folder}: no trial, nothing to plot")
    save(serving_figure(meta, serving, read_table(folder, MOVES)), folder, "serving")
    return ["serving"]


def plot_synchronisation(folder: Path, meta: Row) -> list[str]:
    """Write the figure of a synchronisation run; return its name."""
    from experiments.synchronisation_plots import cost_figure

    rows = read_table(folder, SYNCHRONISATION)
    if not rows:
        raise DataError(f"{folder}: no measurement, nothing to plot")
    save(cost_figure(meta, rows), folder, "cost")
    return ["cost"]


def plot_renewal(folder: Path, meta: Row) -> list[str]:
    """Write the figure of a renewal run; return its name."""
    from experiments.renewal_plots import renewal_figure

    exchanges = read_table(folder, EXCHANGES)
    if not exchanges:
        raise DataError(f"{folder}: no trial, nothing to plot")
    save(renewal_figure(meta, exchanges, read_table(folder, RENEWALS)), folder, "renewal")
    return ["renewal"]


def plot_catchment(folder: Path, meta: Row) -> list[str]:
    """Write the map of a catchment run and its tour; return their names."""
    from experiments.catchment_plots import map_figure, tour_figure

    tables = [read_table(folder, table) for table in (MAP_NODES, MAP_LINKS, CATCHMENTS)]
    if not all(tables):
        raise DataError(f"{folder}: no catchment, nothing to plot")
    save(map_figure(meta, *tables), folder, "map")
    places = read_table(folder, PLACES)
    if not places:
        return ["map"]
    save(tour_figure(meta, tables[0], places), folder, "tour")
    return ["map", "tour"]


def plot_optimisation(folder: Path, meta: Row) -> list[str]:
    """Write the figure of an optimisation run; return its name."""
    from experiments.optimisation import read_rows
    from experiments.optimisation_plots import optimisation_figure

    rows = read_rows(lambda table: read_table(folder, table))
    if not rows.paths:
        raise DataError(f"{folder}: no ways measured, nothing to plot")
    save(optimisation_figure(meta, rows), folder, "ways")
    return ["ways"]


def plot_siege(folder: Path, meta: Row) -> list[str]:
    """Write the figure of a siege run; return its name."""
    from experiments.siege_plots import siege_figure

    save(
        siege_figure(meta, read_table(folder, SIEGES), read_table(folder, UPDATES)), folder, "siege"
    )
    return ["siege"]


def plot_hijack(folder: Path, meta: Row) -> list[str]:
    """Write the figure of a hijack run; return its name."""
    from experiments.hijack_plots import hijack_figure

    tables = [read_table(folder, table) for table in (ENDS, DRAWN, FORGERIES)]
    if not any(tables):
        raise DataError(f"{folder}: no observation, nothing to plot")
    save(hijack_figure(meta, *tables), folder, "hijack")
    return ["hijack"]


def plot_multi_hoa(folder: Path, meta: Row) -> list[str]:
    """Write the figure of a multi-hoa run; return its name."""
    from experiments.data_multi_hoa import TABLES
    from experiments.multi_hoa_plots import figure

    flows, new, opened, steps = (read_table(folder, table) for table in TABLES)
    if not new:
        raise DataError(f"{folder}: no trial, nothing to plot")
    save(figure(meta, flows, new, opened, steps), folder, "multi_hoa")
    return ["multi_hoa"]


PLOTTERS: Mapping[str, Callable[[Path, Row], list[str]]] = {
    "failover": plot_failover,
    "throughput": plot_throughput,
    "replay": plot_replay,
    "metric": plot_metric,
    "synchronisation": plot_synchronisation,
    "renewal": plot_renewal,
    "catchment": plot_catchment,
    "optimisation": plot_optimisation,
    "hijack": plot_hijack,
    "siege": plot_siege,
    "multi_hoa": plot_multi_hoa,
}


def plot(folder: Path) -> list[str]:
    """Draw all figures of a run folder; DataError (one line) if it cannot be read."""
    meta = read_meta(folder)
    plotter = PLOTTERS.get(meta["experiment"])
    if plotter is None:
        raise DataError(f"{folder}: no figures for experiment {meta['experiment']!r}")
    if meta["state"] == "complete":
        read_summary(folder)
    with plt.style.context(STYLE):
        return plotter(folder, meta)


def main() -> int:
    """Draw the figures of the run folders that the command line names."""
    if len(sys.argv) < 2:
        print("usage: python -m experiments.plots FOLDER …", file=sys.stderr)
        return 2
    for argument in sys.argv[1:]:
        try:
            names = plot(Path(argument))
        except DataError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        for name in names:
            print(f"{argument}/plots/{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
