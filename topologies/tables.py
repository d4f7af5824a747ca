"""Lists of like records as plain text tables, for the lab's prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(rows: Sequence[Mapping[str, Any]], empty: str = "none") -> str:
    """Return records as lines with a heading; columns are the keys, in order of appearance."""
    if not rows:
        return empty
    names = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[heading(name) for name in names]]
    cells += [[cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def heading(name: str) -> str:
    """Return a key as a column's title."""
    return name.replace("_", " ")


def cell(value: Any) -> str:
    """Return a value as a person reads it."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".")
        case list() | tuple():
            return ", ".join(cell(each) for each in value) or "-"
        case dict():
            return ", ".join(f"{key} {cell(each)}" for key, each in value.items()) or "-"
        case _:
            return str(value)
