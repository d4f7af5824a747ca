"""The figures that documents quote, made from `results/reference/` and from nothing else.

    python -m experiments.report          # print the blocks
    python -m experiments.report --write  # put them into README.md and docs/, between their markers

A test compares the pages with the reference results, so that no figure in them can go stale.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments import (
    hijack_summary,
    metric_summary,
    multi_hoa_summary,
    palette,
    renewal_summary,
    report_distance,
    report_trust,
)
from experiments.data import MOVES, SummaryRow, read_summary, read_table
from experiments.data_hijack import ENDS
from experiments.hijack_cases import texts
from experiments.markdown import table
from experiments.replay_model import sharing_loss
from experiments.replay_summary import shares
from experiments.statistics import QUOTABLE
from experiments.synchronisation_model import CHANGES, FORMULAS

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "results" / "reference"
PAGES = {
    ROOT / "README.md": ("failover", "throughput", "machine"),
    ROOT / "docs" / "results.md": (
        "renewal",
        "replay",
        "metric",
        "synchronisation",
        "between-ases",
        "bgp-default",
        "catchment",
        "tour",
        "optimisation",
        "steadiness",
        "mapped-failure",
        "multi-hoa",
        "hijack",
        "protection",
        "isolation",
        "siege",
        "siege-rates",
    ),
}
"""Which blocks stand on which page."""

Row = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Print the blocks, or write them into their pages."""
    if arguments and list(arguments) != ["--write"]:
        print("usage: python -m experiments.report [--write]", file=sys.stderr)
        return 2
    if arguments:
        for page, names in PAGES.items():
            page.write_text(renewed(page.read_text(encoding="utf-8"), names), encoding="utf-8")
        return 0
    for name, block in blocks().items():
        print(f"[{name}]\n\n{block}")
    return 0


def blocks() -> dict[str, str]:
    """Return the Markdown blocks by the name of their marker."""
    return {
        "failover": failover(_summary("failover")),
        "throughput": throughput(_summary("throughput")),
        "replay": replay(_summary("replay")),
        "metric": metric(read_table(REFERENCE / "metric", MOVES)),
        "synchronisation": synchronisation(_summary("synchronisation")),
        "renewal": renewal(_summary("renewal")),
        "hijack": hijack(read_table(REFERENCE / "hijack", ENDS)),
        "protection": protection(_summary("hijack")),
        "between-ases": failover(_summary("failover-multi_as")),
        "bgp-default": failover(_summary("failover-bgp_default")),
        "catchment": report_distance.catchment(REFERENCE / "catchment"),
        "tour": report_distance.tour(REFERENCE / "catchment"),
        "optimisation": report_distance.optimisation(REFERENCE / "optimisation"),
        "steadiness": report_distance.steadiness(REFERENCE / "optimisation"),
        "mapped-failure": report_distance.mapped_failure(REFERENCE / "optimisation"),
        "multi-hoa": multi_hoa(read_summary(REFERENCE / "multi_hoa")),
        "isolation": report_trust.isolation(REFERENCE / "isolation"),
        "siege": report_trust.siege(REFERENCE / "siege"),
        "siege-rates": report_trust.siege_rates(REFERENCE / "siege"),
        "machine": machine(_meta("failover")),
    }


def renewed(text: str, names: Iterable[str]) -> str:
    """Return `text` with these blocks made anew between their markers.

    Raises:
        ValueError: a marker is missing.
    """
    made = blocks()
    for name in names:
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"the markers {begin.strip()} and {end} are missing")
        text = before + begin + made[name] + end + after
    return text


def failover(summary: Iterable[Row]) -> str:
    """Return the outage of every fault and detection setting, the worse direction of the two."""
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in summary:
        if row["metric"] == "outage":
            key = (row["conditions"]["fault"], row["conditions"]["detection"])
            cells.setdefault(key, []).append(row)
    detections = [each for each in palette.DETECTIONS if any(each == key[1] for key in cells)]
    header = ["outage in ms", *(palette.detection(each)[2] for each in detections)]
    lines = []
    for fault in (each for each in palette.FAULTS if any(each == key[0] for key in cells)):
        found = [cells.get((fault, detection), []) for detection in detections]
        lines.append([palette.fault(fault), *(_outage(rows) for rows in found)])
    return table(header, lines)


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
    return table(["path", "mode", "direction", "Mbit/s, median (range)", "trials"], lines)


def replay(summary: Iterable[Row]) -> str:
    """Return what an attacker, and plain sharing, achieve in each mode."""
    rows = {(row["metric"], *row["conditions"].values()): row for row in summary}
    modes = ["draft-no-origin", "draft", "draft-cbc", "hardened"]
    header = ["", "draft, ORIGIN_IP and floors off", *modes[1:]]
    lines = []
    for ratio in dict.fromkeys(key[2] for key in rows if key[0] == "sharing_loss"):
        cells = [rows.get(("sharing_loss", mode, ratio)) for mode in modes]
        label = f"loss, home agents sending {ratio}: model {sharing_loss(shares(ratio)):.3f}"
        lines.append([label, *(_range(row, ".3f") for row in cells)])
    for source, text in (("egress", "own records"), ("wire", "seen on the link")):
        cells = [rows.get(("nonce_collisions", mode, source)) for mode in modes]
        lines.append([f"nonces used again, {text}", *(_range(row, ",.0f") for row in cells)])
    for attack, direction in (("relabel", "down"), ("far-ahead", "down"), ("new-primary", "up")):
        accepted = [_replays(rows, mode, attack, direction) for mode in modes]
        lines.append([f"{palette.ATTACKS[attack]}: accepted", *accepted])
        cells = [rows.get(("genuine_lost", mode, attack, direction)) for mode in modes]
        if any(cells):
            lines.append(["lost of HA2's next packets", *(_range(r, ",.0f") for r in cells)])
    return table(header, lines)


def metric(rows: Sequence[Row]) -> str:
    """Return a line a wish: who serves then, who is primary, and what the move cost."""
    header = ["part", "wish", "served by", "primary of mn", "primary of mn2"]
    header += ["ms until the route", "packets lost, most", "streams"]
    return table(header, metric_summary.overview(rows))


def multi_hoa(summary: Sequence[SummaryRow]) -> str:
    """Return what became of flows that existed, and when new ones worked, by fault of AS 1."""
    header = ["", "fault", "flows", "ms until they work", "packets lost", "trials"]
    return table(header, multi_hoa_summary.overview(summary))


def synchronisation(summary: Iterable[Row]) -> str:
    """Return messages and octets of each change for 3 and 8 home agents, and the formula."""
    found = {
        (row["metric"], row["conditions"]["change"], row["conditions"]["home_agents"]): row
        for row in summary
    }
    lines = []
    for change, text in CHANGES.items():
        numbers = [
            f"{found[metric, change, home_agents]['median']:.0f}"
            for home_agents in (3, 8)
            for metric in ("messages", "octets")
        ]
        lines.append([text, FORMULAS[change], *numbers])
    header = ["what happens", "messages, formula", "3 HAs: messages", "octets"]
    return table([*header, "8 HAs: messages", "octets"], lines)


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
    return table(["", *(palette.MODES[mode][1] for mode in modes), "target"], lines)


def hijack(ends: Sequence[Row]) -> str:
    """Return a line a case: who got each source's packets, and the shares that went well."""
    header = ["case", *(source for _, source in hijack_summary.sources(ends))]
    header += ["share of CNs", "share of the MN's registrations"]
    return table(header, hijack_summary.case_lines(ends, texts()))


def protection(summary: Sequence[Row]) -> str:
    """Return what was read of what was drawn, and accepted of what was forged."""
    header = ["what", "packets", "read or accepted", "target"]
    return table(header, hijack_summary.protection_lines(summary))


def machine(meta: Row) -> str:
    """Return what the reference results were measured on."""
    return (
        f"Measured on {meta['cpus']} CPUs, Linux {meta['kernel'].split('-')[0]}, "
        f"FRR {meta['frr']}, Python {meta['python']}, seed {meta['seed']}.\n"
    )


def _replays(rows: dict[tuple[Any, ...], Row], mode: str, attack: str, direction: str) -> str:
    """Return accepted of injected replays; a target, where there is one, as `at most`."""
    for metric in ("replays_accepted", "replays_accepted_without_floors"):
        row = rows.get((metric, mode, attack, direction))
        if row is not None:
            injected = rows["replays_injected", mode, attack, direction]
            text = f"{_range(row, ',.0f')} of {injected['median']:,.0f}"
            return text if not row["target"] else f"{text}, at most {row['target']:.0f}"
    return ""


def _range(row: Row | None, form: str) -> str:
    """Return median and range, or the one value that all trials had."""
    if row is None:
        return ""
    low, high = f"{row['min']:{form}}", f"{row['max']:{form}}"
    return low if low == high else f"{row['median']:{form}} ({low} to {high})"


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


def _summary(experiment: str) -> list[Row]:
    return _read(experiment, "summary.json")  # type: ignore[no-any-return]


def _meta(experiment: str) -> Row:
    return _read(experiment, "meta.json")  # type: ignore[no-any-return]


def _read(experiment: str, name: str) -> Any:
    return json.loads((REFERENCE / experiment / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
