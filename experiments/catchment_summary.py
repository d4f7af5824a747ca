"""What the rows of a catchment run say: distances, moves, disagreements, and lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.data import SummaryRow
from experiments.data_catchment import METRICS
from experiments.statistics import group, median, summary_row

NAME = "catchment"
Row = Mapping[str, Any]


def summarise(catchments: Sequence[Row], places: Sequence[Row]) -> list[SummaryRow]:
    """Return measured and predicted distances, the cost of moves, and what disagreed (target 0)."""
    moves = [row for row in places if row["came_from"]]
    counted = [row for row in moves if row["valid"] and row["outage_ms"] is not None]
    return [
        *_rows("rtt", catchments, "rtt_ms"),
        *_rows("model_rtt", catchments, "model_rtt_ms"),
        *_rows("delay", places, "delay_ms"),
        *_rows("model_delay", places, "model_delay_ms"),
        *_rows("handover", _one_a_move(moves), "bound_ms"),
        *_rows("outage", counted, "outage_ms"),
        *_rows("lost", counted, "lost_packets"),
        *_disagreements(catchments, places),
    ]


def _rows(metric: str, rows: Iterable[Row], column: str) -> list[SummaryRow]:
    names = METRICS[NAME, metric][1]
    cells = group((tuple(row[name] for name in names), float(row[column])) for row in rows)
    return [
        summary_row(NAME, metric, dict(zip(names, cell, strict=True)), values)
        for cell, values in cells.items()
    ]


def _one_a_move(rows: Iterable[Row]) -> list[Row]:
    """Return one row of each move: a registration is for all streams."""
    return list({(row["trial"], row["step"], row["home_network"]): row for row in rows}.values())


def _disagreements(catchments: Sequence[Row], places: Sequence[Row]) -> list[SummaryRow]:
    """Count rows that disagree: of the catchments, and of each tour."""
    tours = group((row["trial"], not row["agree"]) for row in places)
    parts = {
        "catchments": [float(sum(not row["agree"] for row in catchments))],
        "tour": [float(sum(wrong)) for wrong in tours.values()],
    }
    return [
        summary_row(NAME, "disagreements", {"part": part}, counts, target=0.0)
        for part, counts in parts.items()
        if counts
    ]


def catchment_lines(rows: Sequence[Row]) -> list[list[str]]:
    """Return a line a source and home network, as text."""
    return [
        [
            row["source"],
            str(row["home_network"]),
            row["home_agent"],
            " ".join(row["path"].split()[1:-1]),
            row["as_path"] or "-",
            milliseconds(row["rtt_ms"]),
            milliseconds(row["model_rtt_ms"]),
            "yes" if row["agree"] else _difference(row),
        ]
        for row in rows
    ]


def _difference(row: Row) -> str:
    if row["traced_path"] != row["path"]:
        return f"NO: packets went {row['traced_path']}"
    return f"NO: plan has {row['model_path']}, AS path {row['model_as_path']}"


def tour_lines(rows: Sequence[Row]) -> list[list[str]]:
    """Return a line a place of the tour and home network, as text.

    Place, home network, primary, who takes the MN's packets, whose tunnel each CN's packets come
    by, median ms until bound, longest outage, most packets lost by a stream, streams, agreement.
    """
    lines = []
    stops = group(((row["step"], row["place"], row["home_network"]), row) for row in rows)
    for (step, place, home), mine in stops.items():
        down = group(
            (row["correspondent"], row["home_agent"]) for row in mine if row["direction"] == "down"
        )
        counted = [row for row in mine if row["valid"] and row["outage_ms"] is not None]
        bound = [row["bound_ms"] for row in mine if row["bound_ms"] is not None]
        lines.append(
            [
                f"{step}: {place}",
                str(home),
                all_of(row["primary"] for row in mine),
                all_of(row["home_agent"] for row in mine if row["direction"] == "up"),
                ", ".join(f"{name} {all_of(agents)}" for name, agents in down.items()),
                f"{median(bound):.0f}" if bound else "",
                f"{max(row['outage_ms'] for row in counted):.0f}" if counted else "",
                str(max(row["lost_packets"] for row in counted)) if counted else "",
                str(len(counted)) if step else "",
                "yes" if all(row["agree"] for row in mine) else "NO",
            ]
        )
    return lines


def all_of(names: Iterable[str]) -> str:
    """Return what every row says, or all that they say."""
    return " or ".join(sorted(set(names)))


def milliseconds(value: float) -> str:
    """Return a time with as many digits as mean something."""
    return f"{value:.2f}" if value < 1 else f"{value:.1f}"
