"""The figures of experiments on several ASes, as Markdown: catchments, route optimisation."""

from __future__ import annotations

from pathlib import Path

from experiments import optimisation_summary
from experiments.catchment_summary import catchment_lines, tour_lines
from experiments.data import read_table
from experiments.data_catchment import CATCHMENTS, PLACES
from experiments.markdown import table
from experiments.optimisation import read_rows


def catchment(folder: Path) -> str:
    """Return which home agent serves each correspondent node and visited network."""
    header = ["from", "home network", "home agent", "by", "AS path", "RTT, ms", "by the plan"]
    return table([*header, "all agree"], catchment_lines(read_table(folder, CATCHMENTS)))


def tour(folder: Path) -> str:
    """Return what a mobile node found at each visited network."""
    header = ["place", "home network", "primary", "serves its own packets", "those of"]
    header += ["bound after ms, median", "longest outage, ms", "packets lost, most", "streams"]
    return table([*header, "all agree"], tour_lines(read_table(folder, PLACES)))


def optimisation(folder: Path) -> str:
    """Return each arm's ways to each correspondent node, and what a change of them cost."""
    header = ["", "with", "RTT before, ms (plan)", "after", "Mbit/s from the MN", "to it"]
    header += ["packets lost, most", "reordered", "streams"]
    rows = read_rows(lambda each: read_table(folder, each))
    return table(header, optimisation_summary.overview(rows))


def steadiness(folder: Path) -> str:
    """Return how often each arm changed its mind while two correspondent nodes took turns."""
    rows = read_rows(lambda each: read_table(folder, each))
    header = ["arm", "bursts of traffic", "changes"]
    return table(header, optimisation_summary.steadiness(rows.steadiness))


def mapped_failure(folder: Path) -> str:
    """Return what the death of the home agent that the map names cost each stream."""
    rows = read_rows(lambda each: read_table(folder, each))
    return "".join(f"- {line}\n" for line in optimisation_summary.failures(rows.failures))
