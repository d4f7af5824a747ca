"""The tables that `make catchment` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table as TerminalTable

from experiments.catchment_look import MOBILE
from experiments.catchment_summary import catchment_lines, tour_lines
from experiments.terminal import titled_table


def catchment_table(rows: Sequence[Mapping[str, Any]]) -> TerminalTable:
    """Return who serves whom, for the terminal."""
    table = titled_table("Who serves whom: kernels, FRR, traced packets and the plan")
    for name in ("from", "home", "home agent", "by", "AS path"):
        table.add_column(name, no_wrap=True)
    for name in ("RTT ms", "plan's"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("agree", no_wrap=True)
    for line in catchment_lines(rows):
        table.add_row(*line)
    return table


def tour_table(rows: Sequence[Mapping[str, Any]]) -> TerminalTable:
    """Return what the tour found at each place, for the terminal."""
    table = titled_table(
        f"The tour of {MOBILE}: its primary, by whom its packets go out, and in from each CN;\n"
        "median ms until bound, longest outage and most packets lost of n streams"
    )
    for name in ("at", "home", "primary", "out"):
        table.add_column(name, no_wrap=True)
    table.add_column("in")
    for name in ("bound", "outage", "lost", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("agree", no_wrap=True)
    for line in tour_lines(rows):
        table.add_row(*line)
    return table
