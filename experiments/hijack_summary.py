"""What the rows of a hijack run say: shares, what was read, what was forged, what surprised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table as TerminalTable

from experiments.data import SummaryRow, read_table
from experiments.data_hijack import DRAWN, ENDS, FORGERIES, ROUTES
from experiments.statistics import group, summary_row
from experiments.terminal import titled_table

NAME = "hijack"
WHO = ("cn", "mn")
BELIEVED = {("cn", "answer"), ("ha", "held-back")}
"""What gets through by nature: nothing protects a CN, and IPsec does not stop delay."""

Row = Mapping[str, Any]


def rows(folder: Path) -> list[SummaryRow]:
    """Return `summary.json` from a run folder's tables."""
    ends, drawn = read_table(folder, ENDS), read_table(folder, DRAWN)
    forgeries = read_table(folder, FORGERIES)
    return [
        *_shares(ends),
        *_drawn(drawn),
        *_forgeries(forgeries),
        *_unexpected(folder),
    ]


def shares(ends: Sequence[Row]) -> dict[tuple[str, str], list[float]]:
    """Return the share that reached an honest home agent, a number a trial, by case and who."""
    cells = group(((row["case"], row["who"], row["trial"]), row) for row in ends)
    return group(
        (
            (case, who),
            sum(row["honest"] for row in mine) / sum(row["sent"] for row in mine),
        )
        for (case, who, _), mine in cells.items()
    )


def _shares(ends: Sequence[Row]) -> list[SummaryRow]:
    return [
        summary_row(NAME, "honest_share", {"case": case, "who": who}, values)
        for (case, who), values in shares(ends).items()
    ]


def _drawn(drawn: Sequence[Row]) -> list[SummaryRow]:
    return [
        summary_row(NAME, metric, {"leg": leg}, [float(row[metric]) for row in mine])
        for leg, mine in group((row["leg"], row) for row in drawn).items()
        for metric in ("drawn", "readable")
    ]


def _forgeries(forgeries: Sequence[Row]) -> list[SummaryRow]:
    found = []
    for (who, form), mine in group(((row["who"], row["form"]), row) for row in forgeries).items():
        where = {"who": who, "form": form}
        accepted = [float(row["accepted"]) for row in mine]
        target = None if (who, form) in BELIEVED else 0.0
        found.append(summary_row(NAME, "forged_accepted", where, accepted, target))
        injected = [float(row["injected"]) for row in mine]
        found.append(summary_row(NAME, "forged_injected", where, injected))
    return found


def _unexpected(folder: Path) -> list[SummaryRow]:
    counts: dict[tuple[str, int], int] = {}
    for part, trial, line in _judged(folder):
        counts[part, trial] = counts.get((part, trial), 0) + bool(line)
    by_part = group((part, float(count)) for (part, _), count in counts.items())
    return [
        summary_row(NAME, "unexpected", {"part": part}, values, 0.0)
        for part, values in by_part.items()
    ]


def unexpected(folder: Path) -> list[str]:
    """Return a line for each observation of a run folder that is not what the model says."""
    return [line for _, _, line in _judged(folder) if line]


def _judged(folder: Path) -> list[tuple[str, int, str]]:
    """Return (part, trial, what is wrong) of each observation; empty where nothing is."""
    found = []
    for row in read_table(folder, ROUTES):
        wrong = [
            f"{name} {row[name] or '-'}, model {row[f'expected_{name}'] or '-'}"
            for name in ("held", "state", "best")
            if row[name] != row[f"expected_{name}"]
        ]
        line = (
            f"trial {row['trial']}, {row['case']}, {row['stage']}: {row['node']}, {row['prefix']} "
            f"by {row['as_path']!r}: {'; '.join(wrong)}"
        )
        found.append(("routes", row["trial"], line if wrong else ""))
    for row in read_table(folder, ENDS):
        line = (
            f"trial {row['trial']}, {row['case']}: {row['source']} reached {row['reached']}, "
            f"model {row['expected']}"
        )
        found.append(("ends", row["trial"], "" if row["as_expected"] else line))
    for row in read_table(folder, DRAWN):
        line = (
            f"trial {row['trial']}, {row['leg']}: {row['drawn']} of {row['sent']} drawn, "
            f"{row['readable']} readable, model {row['expected']}; {row['locating']} locating"
        )
        found.append(("drawn", row["trial"], "" if row["as_expected"] else line))
    for row in read_table(folder, FORGERIES):
        line = (
            f"trial {row['trial']}, to the {row['who']}, {row['form']}: {row['accepted']} of "
            f"{row['injected']} accepted, model {row['expected']}; refused: "
            f"{row['refused'] or 'none'}; alive: {row['alive']}"
        )
        found.append(("forgeries", row["trial"], "" if row["as_expected"] else line))
    return found


# On the terminal, and in documents.


def case_lines(ends: Sequence[Row], texts: Mapping[str, str] | None = None) -> list[list[str]]:
    """Return a line a case: its name or text, who got each source's packets, and both shares."""
    found = shares(ends)
    columns = sources(ends)
    lines = []
    for case, mine in group((row["case"], row) for row in ends).items():
        reached = group(((row["who"], row["source"]), row["reached"]) for row in mine)
        lines.append(
            [
                (texts or {}).get(case, case),
                *(" or ".join(dict.fromkeys(reached[column])) for column in columns),
                *(_share(found.get((case, who), [])) for who in WHO),
            ]
        )
    return lines


def sources(ends: Sequence[Row]) -> list[tuple[str, str]]:
    """Return (who, source) in the order of a case's columns."""
    return sorted({(row["who"], row["source"]) for row in ends})


def _share(values: Sequence[float]) -> str:
    """Return a share as text; a range where trials differ."""
    if not values:
        return ""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def case_table(ends: Sequence[Row]) -> TerminalTable:
    """Return who reached whom, a line a case."""
    table = titled_table(
        "Who gets what is sent to the home network; share that reaches an honest HA"
    )
    table.add_column("case", no_wrap=True)
    for _, source in sources(ends):
        table.add_column(source, no_wrap=True)
    for who in WHO:
        table.add_column(f"{who}s" if who == "cn" else who, justify="right", no_wrap=True)
    for line in case_lines(ends):
        table.add_row(*(SHORT.get(cell, cell) for cell in line))
    return table


def protection_table(summary: Sequence[SummaryRow]) -> TerminalTable:
    """Return what was read of what was drawn, and accepted of what was forged."""
    table = titled_table("What IPsec still protects: packets, median of the trials")
    for name in ("what", "packets", "read or accepted", "target"):
        table.add_column(name, justify="left" if name == "what" else "right", no_wrap=True)
    for line in protection_lines(summary):
        table.add_row(*line)
    return table


def protection_lines(summary: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return a line a leg and a form of forgery: packets, how many came through, the target."""
    by_cell = {(row["metric"], *row["conditions"].values()): row for row in summary}
    lines = []
    for row in summary:
        where = tuple(row["conditions"].values())
        if row["metric"] == "readable":
            drawn = by_cell["drawn", *where]
            lines.append([f"drawn, {LEGS[where[0]]}: readable", _number(drawn), _number(row), ""])
        elif row["metric"] == "forged_accepted":
            injected = by_cell["forged_injected", *where]
            target = "" if row["target"] is None else f"{row['target']:.0f}"
            label = f"to the {where[0].upper()}, {where[1]}: accepted"
            lines.append([label, _number(injected), _number(row), target])
    return lines


def _number(row: Mapping[str, Any]) -> str:
    low, high = f"{row['min']:.0f}", f"{row['max']:.0f}"
    return low if low == high else f"{row['median']:.0f} ({low} to {high})"


SHORT = {"hijacker": "AS 3!"}
"""What a terminal of 80 columns has room for."""

LEGS: Mapping[Any, str] = {
    "cn-hoa": "CN to HoA",
    "mn-ha": "MN to HA, payload",
    "update": "MN to HA, Binding Updates",
}
