"""The blocks of documents about home agents that turn, and about sieges; see `report`."""

from __future__ import annotations

from pathlib import Path

from experiments import isolation_summary, siege_summary
from experiments.data import read_table
from experiments.data_isolation import ISOLATION_FLOWS, ISOLATIONS
from experiments.data_siege import SIEGES
from experiments.markdown import table


def isolation(folder: Path) -> str:
    """Return a line a cell: when a hostile home agent was powerless, and what that cost."""
    header = ["role", "trigger", "fencing", "ms until powerless", "ms until refused"]
    header += ["lost up, most", "lost down, most", "registered again"]
    trials, flows = read_table(folder, ISOLATIONS), read_table(folder, ISOLATION_FLOWS)
    return table(header, isolation_summary.overview(trials, flows))


def siege(folder: Path) -> str:
    """Return a line an attack: what was sent, and what it cost those whom it is not for."""
    header = ["attack", "offered/s", "forwarded/s", "taken/s", "idle, ms", "besieged, ms", "ratio"]
    header += ["packets lost", "longest gap, ms", "sessions lost", "MB gained", "CPU of an HA"]
    return table(header, siege_summary.overview(read_table(folder, SIEGES)))


def siege_rates(folder: Path) -> str:
    """Return a line a rate of the stranger's link, all attacks at once."""
    header = ["Mbit/s", "offered/s", "forwarded/s", "taken/s", "besieged, ms", "unanswered"]
    header += ["packets lost", "CPU of an HA"]
    return table(header, siege_summary.by_rate(read_table(folder, SIEGES)))
