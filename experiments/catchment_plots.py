"""The figures of a catchment run: the map with the ways coloured by home agent, and the tour."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments import palette
from experiments.catchment_summary import all_of, milliseconds
from experiments.plot_parts import LABEL_BOX, footer, legend, title
from experiments.statistics import group, median
from topologies.delay import Means

Row = Mapping[str, Any]
Point = tuple[float, float]

KINDS = {
    "correspondent": "to the mobile node: by which home agent packets enter",
    "visited": "from the mobile node: which home agent takes its packets there",
}
PIXELS_PER_INCH = 125
LANE = 7.0  # pixels between ways that share a link
WIDE = {"BGP": 1.6}
LINK, NODE = "#c4c4c4", "#8a8a8a"
AGENT = "home agent"


def map_figure(
    meta: Row, nodes: Sequence[Row], links: Sequence[Row], catchments: Sequence[Row]
) -> Figure:
    """Draw the map twice for each home network: ways of correspondents, of visited networks."""
    homes = sorted({row["home_network"] for row in catchments})
    places = {row["node"]: (row["x"], row["y"]) for row in nodes}
    width, height = (max(p[i] for p in places.values()) / PIXELS_PER_INCH for i in (0, 1))
    figure: Figure
    figure, axes = plt.subplots(
        len(homes), 2, figsize=(2 * width + 1.4, (height + 1.0) * len(homes) + 1.3), squeeze=False
    )
    colours = _colours(nodes)
    for home, line in zip(homes, axes, strict=True):
        for (kind, text), axis in zip(KINDS.items(), line, strict=True):
            mine = [r for r in catchments if (r["home_network"], r["kind"]) == (home, kind)]
            axis.set_title(text + (f" (home network {home})" if len(homes) > 1 else ""))
            _map(axis, nodes, links, places, mine, colours)
    title(figure, "Which home agent serves whom?")
    serving = dict.fromkeys(row["home_agent"] for row in catchments)
    _legend(figure, {name: colours[name] for name in colours if name in serving})
    disagree = sum(not row["agree"] for row in catchments)
    verdict = f"disagree on {disagree} ways" if disagree else "agree"
    footer(
        figure,
        meta,
        f"Ways by the kernels' routes; FRR's AS paths, traced packets and the plan {verdict}. "
        f"Beside each source: round trip to its home agent,\nmeasured (by the plan: "
        f"{_delays(meta)}).",
    )
    return figure


def _delays(meta: Row) -> str:
    return "links have no delay" if meta["delay"] == Means.NONE else "the sum of its links' delays"


def _colours(nodes: Iterable[Row]) -> dict[str, str]:
    return palette.home_agents(row["node"] for row in nodes if row["role"] == AGENT)


def _legend(figure: Figure, colours: Mapping[str, str]) -> None:
    legend(figure, [
        Line2D([], [], color=colour, linewidth=6, label=name) for name, colour in colours.items()
    ])  # fmt: skip


def _map(
    axis: Axes, nodes: Sequence[Row], links: Sequence[Row], places: Mapping[str, Point],
    ways: Sequence[Row], colours: Mapping[str, str],
) -> None:  # fmt: skip
    for link in links:
        (x1, y1), (x2, y2) = places[link["a"]], places[link["b"]]
        axis.plot([x1, x2], [y1, y2], color=LINK, linewidth=WIDE.get(link["protocol"], 1.0),
                  linestyle=(0, (3, 3)) if link["protocol"] == "access" else "-",
                  zorder=1)  # fmt: skip
    lanes = _lanes(ways)
    served = {row["source"]: colours[row["home_agent"]] for row in ways}
    for row in ways:
        _way(axis, row, places, lanes, served[row["source"]])
    for node in nodes:
        _node(axis, node, places[node["node"]], served, colours)
    for row in ways:
        left = _leads_right(row, places)
        axis.annotate(_distance(row), places[row["source"]], xytext=(-17 if left else 17, 0),
                      textcoords="offset points", ha="right" if left else "left", va="center",
                      fontsize=8, color="#333333", bbox=LABEL_BOX, zorder=2)  # fmt: skip
    axis.set_aspect("equal")
    axis.invert_yaxis()
    axis.margins(x=0.13, y=0.06)
    axis.axis("off")


def _leads_right(row: Row, places: Mapping[str, Point]) -> bool:
    """Whether a way leaves its source to the right: there is no room for a label then."""
    (x1, y1), (x2, y2) = (places[name] for name in row["path"].split()[:2])
    return x2 - x1 > 0.5 * abs(y2 - y1)


def _distance(row: Row) -> str:
    """Return the round trip, measured and by the plan, and the ASes on the way."""
    trip = f"{milliseconds(row['rtt_ms'])} ms ({milliseconds(row['model_rtt_ms'])})"
    return f"{trip}\nby AS {row['as_path']}" if row["as_path"] else f"{trip}\ninside the AS"


def _lanes(ways: Sequence[Row]) -> dict[tuple[str, str, str], float]:
    """Return how far beside a link, in pixels, each (source, a, b) of a way runs."""
    users = group((tuple(sorted((a, b))), row["source"]) for row in ways for a, b in _steps(row))
    return {
        (source, *link): (place - (len(sources) - 1) / 2) * LANE
        for link, sources in users.items()
        for place, source in enumerate(sources)
    }


def _steps(row: Row) -> Iterable[tuple[str, str]]:
    return pairwise(row["path"].split())


def _way(
    axis: Axes, row: Row, places: Mapping[str, Point], lanes: Mapping[tuple[str, str, str], float],
    colour: str,
) -> None:  # fmt: skip
    for a, b in _steps(row):
        first, second = sorted((a, b))
        (x1, y1), (x2, y2) = places[first], places[second]
        length = math.hypot(x2 - x1, y2 - y1) or 1.0
        offset = lanes[row["source"], first, second]
        dx, dy = -(y2 - y1) / length * offset, (x2 - x1) / length * offset
        axis.plot([x1 + dx, x2 + dx], [y1 + dy, y2 + dy], color=colour, linewidth=3.2,
                  solid_capstyle="round", zorder=3)  # fmt: skip


def _node(
    axis: Axes, node: Row, place: Point, served: Mapping[str, str], colours: Mapping[str, str]
) -> None:
    name = node["node"]
    colour = colours.get(name) or served.get(name) or NODE
    square = node["role"] == AGENT
    axis.plot(*place, "s" if square else "o", markersize=24, color=colour, zorder=4,
              markeredgecolor="white", markeredgewidth=1.5)  # fmt: skip
    axis.annotate(name, place, ha="center", va="center", fontsize=7.5, fontweight="bold",
                  color="white", zorder=5)  # fmt: skip


def tour_figure(meta: Row, nodes: Sequence[Row], places: Sequence[Row]) -> Figure:
    """Draw the first tour: who serves in each place; costs named are the worst of all tours."""
    colours = _colours(nodes)
    first = min(row["trial"] for row in places)
    tour = [row for row in places if row["trial"] == first]
    lanes = list(dict.fromkeys(_lane(row) for row in tour))
    mobile = tour[0]["mobile"]
    homes = list(dict.fromkeys(row["home_network"] for row in tour))
    rows = len(lanes) + len(homes)
    figure: Figure
    figure, axis = plt.subplots(figsize=(9.5, 2.3 + 0.42 * rows))
    for place, lane in enumerate(reversed(lanes)):
        for row in tour:
            if _lane(row) == lane:
                begin = row["begin_ms"] + (row["outage_ms"] or 0.0)
                _bar(axis, place, begin, row["end_ms"], colours.get(row["home_agent"]))
    for place, home in enumerate(reversed(homes), start=len(lanes)):
        for row in {r["step"]: r for r in tour if r["home_network"] == home}.values():
            begin = row["begin_ms"] + (row["bound_ms"] or 0.0)
            _bar(axis, place, begin, row["end_ms"], colours.get(row["primary"]))
    _moves(axis, places, tour, rows)
    several = len(homes) > 1
    labels = [f"primary of {mobile}" + (f", home {home}" if several else "") for home in homes]
    labels += [_lane_label(mobile, lane, several) for lane in lanes]
    axis.set_yticks(range(rows), list(reversed(labels)), fontsize=9)
    axis.set_ylim(-0.5, rows - 0.4)
    axis.set_xlim(0, max(row["end_ms"] for row in tour) / 1000)
    axis.set_xlabel("seconds of the first tour, with its pauses for looking")
    axis.grid(visible=False)
    axis.tick_params(axis="y", length=0)
    axis.set_title(" ", pad=32)
    title(figure, "A mobile node goes across the map: who serves it where?")
    serving = dict.fromkeys(name for row in tour for name in (row["home_agent"], row["primary"]))
    _legend(figure, {name: colours[name] for name in colours if name in serving})
    tours = len({row["trial"] for row in places})
    footer(
        figure,
        meta,
        f"Above each move: median ms until bound; longest outage and most packets lost by any "
        f"stream (1 kHz) in {tours} tours\nwhere its sender was not held up. White: cut off.",
    )
    return figure


def _lane(row: Row) -> tuple[int, str, str]:
    return row["home_network"], row["direction"], row["correspondent"]


def _lane_label(mobile: str, lane: tuple[int, str, str], several: bool) -> str:
    home, direction, other = lane
    text = f"{mobile} → {other} by" if direction == "up" else f"{other} → {mobile} by"
    return text + (f" (home {home})" if several else "")


def _bar(axis: Axes, place: float, begin: float, end: float, colour: str | None) -> None:
    axis.barh(place, (end - begin) / 1000, left=begin / 1000, height=0.62,
              color=colour or NODE)  # fmt: skip


def _moves(axis: Axes, places: Sequence[Row], tour: Sequence[Row], rows: int) -> None:
    """Mark each move of the first tour, and write what it cost in all of them."""
    for step, row in {row["step"]: row for row in tour}.items():
        begin = row["begin_ms"] / 1000
        axis.axvline(begin, color="#222222", linewidth=0.9, linestyle=(0, (2, 2)))
        axis.annotate(f"{row['place']}\n{_cost([r for r in places if r['step'] == step])}",
                      (begin, rows - 0.45), xytext=(2, 2), textcoords="offset points",
                      fontsize=8.5, annotation_clip=False)  # fmt: skip


def _cost(rows: Sequence[Row]) -> str:
    """Return what a move cost; where the tour begins, who is there."""
    bound = [row["bound_ms"] for row in rows if row["bound_ms"] is not None]
    counted = [row for row in rows if row["valid"] and row["outage_ms"] is not None]
    if not bound:
        return f"primary {all_of(row['primary'] for row in rows)}"
    text = f"bound {median(bound):.0f} ms"
    if not counted:
        return f"{text}\ndisturbed"
    outage = max(row["outage_ms"] for row in counted)
    lost = max(row["lost_packets"] for row in counted)
    return f"{text}\noutage {outage:.0f} ms, {lost} lost"
