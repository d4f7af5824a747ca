"""From the tables of a replay run to `summary.json` and the tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table as TerminalTable

from experiments import palette
from experiments.data import ATTACKS, NONCES, SHARING, SummaryRow, read_table
from experiments.replay_model import sharing_loss
from experiments.statistics import group, summary_row
from experiments.terminal import titled_table

NAME = "replay"
WITHOUT_FLOORS = "draft-no-origin"
HARDENED = "hardened"
LOSS_TOLERANCE = 0.02
"""A measured share of losses that is further from the model is not what the model says."""

Row = Mapping[str, Any]


def shares(ratio: str) -> list[int]:
    """Return the numbers of a ratio as tables have it: 4:2:1."""
    return [int(each) for each in ratio.split(":")]


def model_loss(mode: str, ratio: str) -> float:
    """Return the loss that the model says: with one window, or with one for each sender."""
    return sharing_loss(shares(ratio)) if mode == WITHOUT_FLOORS else 0.0


def losses(sharing: Iterable[Row]) -> dict[tuple[str, str, int], float]:
    """Return the share lost by (mode, ratio, trial), all home agents together."""
    cells = group(((row["mode"], row["ratio"], row["trial"]), row) for row in sharing)
    return {
        cell: 1 - sum(r["delivered_packets"] for r in mine) / sum(r["sent_packets"] for r in mine)
        for cell, mine in cells.items()
    }


def rows(folder: Path) -> list[SummaryRow]:
    """Return the summary of a run folder."""
    sharing, nonces = read_table(folder, SHARING), read_table(folder, NONCES)
    attacks = read_table(folder, ATTACKS)
    return [
        *_replays(attacks),
        *_sharing(sharing),
        *_nonces(nonces),
        *_unexpected(sharing, nonces, attacks),
    ]


def _replays(attacks: Sequence[Row]) -> list[SummaryRow]:
    """Sum the forms of each attack in each trial."""
    names = ("mode", "attack", "direction")
    cells = group((tuple(row[n] for n in names), row) for row in attacks)
    found = []
    for cell, mine in cells.items():
        conditions = dict(zip(names, cell, strict=True))
        trials = group((row["trial"], row) for row in mine)
        accepted = [float(sum(r["accepted_packets"] for r in t)) for t in trials.values()]
        injected = [float(sum(r["injected_packets"] for r in t)) for t in trials.values()]
        if conditions["mode"] == WITHOUT_FLOORS:
            found.append(summary_row(NAME, "replays_accepted_without_floors", conditions, accepted))
        else:
            target = _target(conditions["mode"], mine)
            found.append(summary_row(NAME, "replays_accepted", conditions, accepted, target))
        found.append(summary_row(NAME, "replays_injected", conditions, injected))
        lost = [float(row["genuine_lost"]) for row in mine if row["genuine_lost"] is not None]
        if lost:
            found.append(summary_row(NAME, "genuine_lost", conditions, lost))
    return found


def _target(mode: str, attacks: Sequence[Row]) -> float | None:
    """Return the most that may be accepted: what rule 5 leaves open, nothing in hardened mode."""
    bounds = [row["bound_packets"] for row in attacks if row["bound_packets"] is not None]
    if bounds:
        return float(max(bounds))
    return 0.0 if mode == HARDENED else None


def _sharing(sharing: Sequence[Row]) -> list[SummaryRow]:
    cells = group(((mode, ratio), loss) for (mode, ratio, _), loss in losses(sharing).items())
    return [
        summary_row(NAME, "sharing_loss", {"mode": mode, "ratio": ratio}, values)
        for (mode, ratio), values in cells.items()
    ]


def _nonces(nonces: Sequence[Row]) -> list[SummaryRow]:
    cells = group(
        ((row["mode"], row["source"]), float(row["nonce_collisions"]))
        for row in nonces
        if row["nonce_collisions"] is not None
    )
    return [
        summary_row(NAME, "nonce_collisions", {"mode": mode, "source": source}, values)
        for (mode, source), values in cells.items()
    ]


# What is not as the model says.


def unexpected(folder: Path) -> list[str]:
    """Return a line for each observation of a run folder that is not what the model says."""
    return [
        line
        for _, line in _judged(
            read_table(folder, SHARING), read_table(folder, NONCES), read_table(folder, ATTACKS)
        )
        if line
    ]


def _unexpected(
    sharing: Sequence[Row], nonces: Sequence[Row], attacks: Sequence[Row]
) -> list[SummaryRow]:
    cells: dict[tuple[str, str], dict[int, float]] = {}
    for (mode, part, trial), line in _judged(sharing, nonces, attacks):
        trials = cells.setdefault((mode, part), {})
        trials[trial] = trials.get(trial, 0.0) + bool(line)
    return [
        summary_row(NAME, "unexpected", {"mode": mode, "part": part}, list(trials.values()), 0.0)
        for (mode, part), trials in cells.items()
    ]


def _judged(
    sharing: Sequence[Row], nonces: Sequence[Row], attacks: Sequence[Row]
) -> list[tuple[tuple[str, str, int], str]]:
    """Return ((mode, part, trial), what is wrong) of each observation; empty where nothing is."""
    found = []
    for (mode, ratio, trial), loss in losses(sharing).items():
        model = model_loss(mode, ratio)
        wrong = abs(loss - model) > LOSS_TOLERANCE
        line = f"trial {trial}, {mode}, {ratio}: loss {loss:.3f}, model {model:.3f}"
        found.append(((mode, "sharing", trial), line if wrong else ""))
    for row in nonces:
        line = ""
        if row["nonce_collisions"] != row["model_collisions"]:
            line = (
                f"trial {row['trial']}, {row['mode']}, {row['source']}: "
                f"{row['nonce_collisions']} nonces repeat, model {row['model_collisions']}"
            )
        found.append(((row["mode"], "nonces", row["trial"]), line))
    for row in attacks:
        line = "" if row["as_expected"] else _attack_line(row)
        found.append(((row["mode"], row["attack"], row["trial"]), line))
    return found


def _attack_line(row: Row) -> str:
    text = (
        f"trial {row['trial']}, {row['mode']}, {row['attack']} ({row['form']}): "
        f"{row['accepted_packets']} of {row['injected_packets']} accepted, "
        f"model {row['expected_packets']}; refused: {row['refused'] or 'none'}"
    )
    if row["bound_packets"] is not None:
        text += f"; bound {row['bound_packets']}"
    if row["genuine_lost"] is not None:
        text += f"; genuine lost {row['genuine_lost']}, model {row['expected_lost']}"
    return text if row["alive"] else f"{text}; something is dead"


# On the terminal.


def attack_table(summary: Sequence[SummaryRow]) -> TerminalTable:
    """Return accepted of injected replays, a line a mode and attack.

    `taken` is the median, `most` the maximum, `lost` the genuine packets lost afterwards.
    """
    table = titled_table("Copies injected and taken, packets")
    for name in ("mode", "attack", "way"):
        table.add_column(name, no_wrap=True)
    for name in ("n", "copies", "taken", "most", "target", "lost"):
        table.add_column(name, justify="right", no_wrap=True)
    by_cell = {(row["metric"], *row["conditions"].values()): row for row in summary}
    for row in summary:
        if not row["metric"].startswith("replays_accepted"):
            continue
        cell = tuple(row["conditions"].values())
        lost = by_cell.get(("genuine_lost", *cell))
        colour = {None: "", True: "[green]", False: "[red]"}[row["met"]]
        table.add_row(
            *map(str, cell),
            str(row["n"]),
            f"{by_cell['replays_injected', *cell]['median']:.0f}",
            f"{row['median']:.0f}",
            f"{colour}{row['max']:.0f}",
            "" if row["target"] is None else f"{row['target']:.0f}",
            "" if lost is None else f"{lost['median']:.0f}",
        )
    return table


def sharing_table(summary: Sequence[SummaryRow]) -> TerminalTable:
    """Return the loss of several senders on one SA by ratio, a column a mode, and collisions."""
    cells = {
        (row["conditions"]["mode"], row["conditions"]["ratio"]): row["median"]
        for row in summary
        if row["metric"] == "sharing_loss"
    }
    collisions = {
        (row["conditions"]["mode"], row["conditions"]["source"]): row["median"]
        for row in summary
        if row["metric"] == "nonce_collisions"
    }
    modes = list(dict.fromkeys(str(mode) for mode, _ in (*cells, *collisions)))
    table = titled_table("Several home agents on one SA: loss by ratio of rates")
    table.add_column("rates", no_wrap=True)
    table.add_column("one window, model", justify="right")
    for mode in modes:
        table.add_column(palette.MODES[mode][1], justify="right")
    for ratio in dict.fromkeys(str(ratio) for _, ratio in cells):
        losses = [f"{cells[mode, ratio]:.3f}" if (mode, ratio) in cells else "" for mode in modes]
        table.add_row(ratio, f"{sharing_loss(shares(ratio)):.3f}", *losses)
    for source in ("egress", "wire"):
        counts = [collisions.get((mode, source)) for mode in modes]
        texts = ["" if count is None else f"{count:.0f}" for count in counts]
        table.add_row(f"nonces, {source}", "", *texts)
    return table
