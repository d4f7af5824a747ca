"""What the rows of a siege run say: latencies, ratios, losses, packets, and a line an attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.data import SummaryRow
from experiments.data_siege import ATTACKS
from experiments.plot_parts import known
from experiments.statistics import group, median, summary_row
from experiments.targets import SIEGE_GAP_MS, SIEGE_RATIO, SIEGE_SESSIONS_LOST

NAME = "siege"
Row = Mapping[str, Any]
PACKETS = ("offered_per_s", "forwarded_per_s", "taken_per_s")


def pairs(rows: Sequence[Row], part: str) -> list[tuple[Row, Row]]:
    """Return (idle, siege) of each siege of a part, in the order in which they were laid."""
    mine = [row for row in rows if row["part"] == part]
    return list(zip(mine[::2], mine[1::2], strict=True))


def summarise(rows: Sequence[Row], updates: Sequence[Row]) -> list[SummaryRow]:
    """Return the summary of a run."""
    found: list[SummaryRow] = []
    by_attack = group((siege["attack"], (idle, siege)) for idle, siege in pairs(rows, "attacks"))
    latencies = group(
        ((row["attack"], row["phase"]), row["latency_ms"])
        for row in updates
        if row["part"] == "attacks"
    )
    for attack in known(ATTACKS, list(by_attack)):
        found += _of_attack(attack, by_attack[attack], latencies)
    rates = group(((row["attack"], row["mbit"]), row) for _, row in pairs(rows, "rates"))
    for (attack, mbit), mine in rates.items():
        where = {"attack": attack, "mbit": mbit}
        for metric, column in (
            ("latency_at_rate", "median_ms"), ("offered_at_rate", "offered_per_s"),
        ):  # fmt: skip
            found.append(summary_row(NAME, metric, where, [row[column] for row in mine]))
    return found


def _of_attack(
    attack: str, phases: Sequence[tuple[Row, Row]], latencies: Mapping[tuple[str, str], list[float]]
) -> list[SummaryRow]:
    sieges = [siege for _, siege in phases]
    ratios = [siege["median_ms"] / idle["median_ms"] for idle, siege in phases]
    at = {"attack": attack}
    found = [summary_row(NAME, "ratio_to_idle", at, ratios, SIEGE_RATIO)]
    for phase, mine in (("idle", [idle for idle, _ in phases]), ("siege", sieges)):
        where = {**at, "phase": phase}
        times = latencies[attack, phase]
        found.append(summary_row(NAME, "registration_latency", where, times))
        found += _of_phase(where, mine)
    for metric, column in (
        ("unanswered", "unanswered"), ("rss_growth", "rss_growth_mb"),
        ("offered", "offered_per_s"), ("forwarded", "forwarded_per_s"), ("taken", "taken_per_s"),
    ):  # fmt: skip
        found.append(summary_row(NAME, metric, at, [row[column] for row in sieges]))
    for agent, column in (("ha", "cpu_ha"), ("mn", "cpu_mn")):
        shares = [row[column] for row in sieges]
        found.append(summary_row(NAME, "cpu", {**at, "agent": agent}, shares))
    return found


def _of_phase(where: Mapping[str, str], rows: Sequence[Row]) -> list[SummaryRow]:
    besieged = where["phase"] == "siege"
    found = []
    for direction in ("up", "down"):
        flow = {**where, "direction": direction}
        lost = [row[f"lost_{direction}"] for row in rows]
        gaps = [row[f"gap_{direction}_ms"] for row in rows]
        found.append(summary_row(NAME, "lost", flow, lost))
        target = SIEGE_GAP_MS if besieged else None
        found.append(summary_row(NAME, "longest_gap", flow, gaps, target))
    for metric, column in (
        ("bfd_sessions_lost", "bfd_lost"), ("neighbours_lost", "neighbours_lost"),
    ):  # fmt: skip
        target = SIEGE_SESSIONS_LOST if besieged else None
        found.append(summary_row(NAME, metric, where, [row[column] for row in rows], target))
    return found


def overview(rows: Sequence[Row]) -> list[list[str]]:
    """Return a line an attack, as text.

    Attack; packets a second offered, forwarded, taken; medians in ms, idle and besieged, and their
    ratio; packets lost of all sent; the longest gap in ms; sessions lost; MB gained; processors.
    """
    lines = []
    by_attack = group((siege["attack"], (idle, siege)) for idle, siege in pairs(rows, "attacks"))
    for attack in known(ATTACKS, list(by_attack)):
        idle, siege = ([each[n] for each in by_attack[attack]] for n in (0, 1))
        ratio = median([b["median_ms"] / a["median_ms"] for a, b in by_attack[attack]])
        lost, sent = _traffic(siege)
        gap = max(max(row["gap_up_ms"], row["gap_down_ms"]) for row in siege)
        sessions = sum(row["bfd_lost"] + row["neighbours_lost"] for row in siege)
        lines.append([
            attack,
            *(f"{_middle(siege, column):,.0f}" for column in PACKETS),
            f"{_middle(idle, 'median_ms'):.2f}",
            f"{_middle(siege, 'median_ms'):.2f}",
            f"{ratio:.1f}",
            f"{lost} of {sent}",
            f"{gap:.0f}",
            str(sessions),
            f"{max(row['rss_growth_mb'] for row in siege):.1f}",
            f"{_middle(siege, 'cpu_ha'):.0%}",
        ])  # fmt: skip
    return lines


def by_rate(rows: Sequence[Row]) -> list[list[str]]:
    """Return a line a rate, as text.

    Mbit/s; packets a second offered, forwarded, taken; the median in ms; Binding Updates unanswered
    of all; packets lost of all sent; the busiest home agent's share of a processor.
    """
    lines = []
    by_rate = group((siege["mbit"], siege) for _, siege in pairs(rows, "rates"))
    for mbit in sorted(by_rate):
        mine = by_rate[mbit]
        lost, sent = _traffic(mine)
        lines.append([
            f"{mbit:g}",
            *(f"{_middle(mine, column):,.0f}" for column in PACKETS),
            f"{_middle(mine, 'median_ms'):.2f}",
            f"{sum(row['unanswered'] for row in mine)} of {sum(row['updates'] for row in mine)}",
            f"{lost} of {sent}",
            f"{_middle(mine, 'cpu_ha'):.0%}",
        ])  # fmt: skip
    return lines


def missed(summary: Sequence[SummaryRow]) -> list[str]:
    """Return a line for each target that was missed."""
    return [
        f"{row['metric']}, {', '.join(map(str, row['conditions'].values()))}: "
        f"median {row['median']:g}, most {row['max']:g} {row['unit']}, target {row['target']:g}"
        for row in summary
        if row["met"] is False
    ]


def _traffic(rows: Sequence[Row]) -> tuple[int, int]:
    """Return the packets of both flows that were lost, and all that were sent."""
    lost, sent = (
        sum(row[f"{what}_{way}"] for row in rows for way in ("up", "down"))
        for what in ("lost", "sent")
    )
    return lost, sent


def _middle(rows: Sequence[Row], column: str) -> float:
    return median([row[column] for row in rows])
