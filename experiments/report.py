"""The figures that documents quote, made from `results/reference/` and from nothing else.

    python -m experiments.report          # print the blocks
    python -m experiments.report --write  # put them into README.md, between their markers

A test compares the README with the reference results, so that no figure in it can go stale.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments import palette, renewal_summary
from experiments.statistics import QUOTABLE

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "results" / "reference"
README = ROOT / "README.md"

Row = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Print the blocks, or write them into the README."""
    if arguments and list(arguments) != ["--write"]:
        print("usage: python -m experiments.report [--write]", file=sys.stderr)
        return 2
    if arguments:
        README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
        return 0
    for name, block in blocks().items():
        print(f"[{name}]\n\n{block}")
    return 0


def blocks() -> dict[str, str]:
    """Return the Markdown blocks by the name of their marker."""
    return {
        "failover": failover(_summary("failover")),
        "throughput": throughput(_summary("throughput")),
        "renewal": renewal(_summary("renewal")),
        "machine": machine(_meta("failover")),
    }


def renewed(text: str) -> str:
    """Return `text` with every block between its markers made anew.

    Raises:
        ValueError: a marker is missing.
    """
    for name, block in blocks().items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"the markers {begin.strip()} and {end} are missing")
        text = before + begin + block + end + after
    return text


def failover(summary: Iterable[Row]) -> str:
    """Return the outage of every fault and detection setting, the worse direction of the two."""
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in summary:
        if row["metric"] == "outage":
            key = (row["conditions"]["fault"], row["conditions"]["detection"])
            cells.setdefault(key, []).append(row)
    header = ["outage in ms", *(label for _, _, label in palette.DETECTIONS.values())]
    lines = []
    for fault, label in palette.FAULTS.items():
        found = [cells.get((fault, detection), []) for detection in palette.DETECTIONS]
        lines.append([label, *(_outage(rows) for rows in found)])
    return _table(header, lines)


def throughput(summary: Iterable[Row]) -> str:
    """Return TCP goodput: one flow without and with the tunnel, then several home agents."""
    lines = []
    for row in summary:
        if row["metric"] != "goodput":
            continue
        conditions = row["conditions"]
        lines.append(
            [
                _path(conditions),
                palette.MODES[conditions["mode"]][1],
                palette.DIRECTIONS[conditions["direction"]],
                f"{row['median']:.0f} ({row['min']:.0f} to {row['max']:.0f})",
                str(row["n"]),
            ]
        )
    return _table(["path", "mode", "direction", "Mbit/s, median (range)", "trials"], lines)


def renewal(summary: Iterable[Row]) -> str:
    """Return what IKE, registration, renewal and takeover took, and what renewals lost."""
    shown = renewal_summary.by_label(summary)
    modes = list(dict.fromkeys(mode for mode, _ in shown))
    lines = []
    for what in dict.fromkeys(what for _, what in shown):
        cells = [shown.get((mode, what), []) for mode in modes]
        (row, *_) = next(rows for rows in cells if rows)
        target = "" if row["target"] is None else f"{row['target']:.0f} {row['unit']}"
        lines.append([what, *(_renewed(rows) for rows in cells), target])
    return _table(["", *(palette.MODES[mode][1] for mode in modes), "target"], lines)


def machine(meta: Row) -> str:
    """Return what the reference results were measured on."""
    return (
        f"Measured on {meta['cpus']} CPUs, Linux {meta['kernel'].split('-')[0]}, "
        f"FRR {meta['frr']}, Python {meta['python']}, seed {meta['seed']}.\n"
    )


def _path(conditions: Row) -> str:
    agents = conditions["home_agents"]
    match conditions["path"]:
        case "raw":
            return "one flow, the same hops, no tunnel"
        case "tunnel":
            return "one flow in the tunnel"
        case _:
            noun = "home agent" if agents == 1 else "home agents"
            return f"{agents} {noun}, each behind 50 Mbit/s"


def _renewed(rows: Sequence[Row]) -> str:
    """Return the worse of several rows: median and maximum of times, all of packets, `n`."""
    if not rows:
        return ""
    worst = max(rows, key=lambda row: float(row["max"]))
    number = renewal_summary.number
    if worst["unit"] != "ms" and worst["min"] == worst["max"]:
        return f"{number(worst['max'])} (each of {worst['n']})"
    return f"{number(worst['median'])} (max {number(worst['max'])}, n={worst['n']})"


def _outage(rows: Sequence[Row]) -> str:
    """Return the worse direction: median, then 95th percentile (from n = 60 on) or maximum."""
    if not rows:
        return ""
    worst = max(rows, key=lambda row: float(row["median"]))
    n = worst["n"]
    tail = ("p95", worst["p95"]) if n >= QUOTABLE else ("max", worst["max"])
    return f"{worst['median']:.0f} ({tail[0]} {tail[1]:.0f}, n={n})"


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _summary(experiment: str) -> list[Row]:
    return _read(experiment, "summary.json")  # type: ignore[no-any-return]


def _meta(experiment: str) -> Row:
    return _read(experiment, "meta.json")  # type: ignore[no-any-return]


def _read(experiment: str, name: str) -> Any:
    return json.loads((REFERENCE / experiment / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
