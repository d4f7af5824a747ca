"""Tables of a run folder: typed columns, checked as rows are written and when they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class DataError(ValueError):
    """A record that does not fit the schema, or a folder of another schema. One line."""


@dataclass(frozen=True, slots=True)
class Column:
    """One CSV column. `kind` is str, int, float or bool; `optional` allows an empty field."""

    name: str
    kind: type
    text: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One CSV file of a run folder: one row an observation, units in the column names."""

    name: str
    text: str
    columns: tuple[Column, ...]

    @property
    def header(self) -> list[str]:
        """Column names in their order."""
        return [column.name for column in self.columns]

    def check(self, row: Mapping[str, Any]) -> list[str]:
        """Return the row as CSV fields; DataError names the first thing wrong with it."""
        surplus = set(row) - set(self.header)
        if surplus:
            raise DataError(f"{self.name}.csv: no column {sorted(surplus)[0]!r}")
        return [_field(self.name, column, row.get(column.name)) for column in self.columns]

    def parse(self, fields: Mapping[str, str]) -> dict[str, Any]:
        """Return a row as written by `check` with its types again."""
        return {column.name: _value(self.name, column, fields) for column in self.columns}


def _field(table: str, column: Column, value: Any) -> str:
    where = f"{table}.csv: column {column.name}"
    if value is None:
        if column.optional:
            return ""
        raise DataError(f"{where} is missing")
    if column.kind is float and type(value) is int:
        value = float(value)
    if type(value) is not column.kind:
        raise DataError(f"{where} wants {column.kind.__name__}, got {value!r}")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise DataError(f"{where} is not a number: {value!r}")
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.3f}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _value(table: str, column: Column, fields: Mapping[str, str]) -> Any:
    text = fields.get(column.name)
    if not text and column.optional:
        return None
    if text is None or (text == "" and column.kind is not str):
        raise DataError(f"{table}.csv: column {column.name} is missing")
    if column.kind is bool:
        return text == "true"
    try:
        return column.kind(text)
    except ValueError:
        raise DataError(f"{table}.csv: column {column.name} holds {text!r}") from None
