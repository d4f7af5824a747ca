"""What does it cost to keep n home agents equal, in messages and octets?

The engines run in virtual time, without sockets or root: a mobile node registers, moves, gets new
SAs and deregisters, then a home agent restarts and fetches the tables of all others. What the home
agents send each other is counted, for 1 to 8 of them, beside the formula of
`synchronisation_model`. The detectors' own traffic is counted for one second of each.

    make synchronisation [SET='most=8 mobiles=20'] [SEED=1]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as TerminalTable

from agents.config import Detector
from agents.core.generations import GRAVE_TIME
from experiments import owner
from experiments.data import SYNCHRONISATION, EventName, SummaryRow, read_table
from experiments.parameters import Known, Parameters, whole_number
from experiments.run import RunFolder
from experiments.run import main as run_main
from experiments.simulation.engines import Sent, Simulation
from experiments.statistics import group, summary_row
from experiments.synchronisation_model import CHANGES, DETECTION_SECONDS, Cost, model
from experiments.terminal import conclude, titled_table

NAME = "synchronisation"
KNOWN = Known(
    topologies=("none",),
    trials=1,
    quick_trials=1,
    settings={"most": whole_number(1, 8), "mobiles": whole_number(1, 200)},
)
QUIET_S = 1.0
"""Virtual seconds after which a change has cost what it costs."""

DETECTORS = frozenset({"Hello", "Keepalive"})
Step = Callable[[Simulation], None]


def measured(home_agents: int, mobiles: int, seed: int) -> Iterator[tuple[str, dict[str, Cost]]]:
    """Yield each change with what it cost by message kind; `mobiles` register, one changes."""
    simulation = Simulation(home_agents, seed)
    simulation.start_home_agents()
    simulation.run(QUIET_S)
    steps: Mapping[str, Step] = {
        "registration": lambda each: each.move(1, 1),
        "move": lambda each: each.move(1, 2),
        "deregistration": lambda each: each.deregister(1),
        "sa-update": lambda each: each.renew_keys(1),
    }
    simulation.start_mobile_node(1)
    simulation.run(QUIET_S)
    for change, step in steps.items():
        yield change, _cost(simulation, step)
    yield "rejoin", _rejoin(simulation, mobiles)
    for detector in Detector:
        quiet = Simulation(home_agents, seed, detector=detector)
        quiet.start_home_agents()
        quiet.run(2 * QUIET_S)
        kinds = frozenset({"Hello" if detector is Detector.HELLO else "Keepalive"})
        yield str(detector), _count(_sent_during(quiet, DETECTION_SECONDS), kinds)


def _rejoin(simulation: Simulation, mobiles: int) -> dict[str, Cost]:
    """Fill the tables, let the last home agent die and be missed, and count its return."""
    simulation.move(1, 1)
    for number in range(2, mobiles + 1):
        simulation.start_mobile_node(number)
        simulation.move(number, 1)
    simulation.run(GRAVE_TIME + QUIET_S)  # tables tell of SAs replaced just before too (rule 9)
    last = max(simulation.home_agents)
    simulation.kill_home_agent(last)
    simulation.run(QUIET_S)
    return _cost(simulation, lambda each: each.start_home_agent(last))


def _cost(simulation: Simulation, step: Step) -> dict[str, Cost]:
    simulation.sent.clear()
    step(simulation)
    simulation.run(QUIET_S)
    kinds = {type(each.message).__name__ for each in simulation.sent} - DETECTORS
    return _count(simulation.sent, frozenset(kinds))


def _sent_during(simulation: Simulation, seconds: float) -> list[Sent]:
    simulation.sent.clear()
    simulation.run(seconds)
    return simulation.sent


def _count(sent: Sequence[Sent], kinds: frozenset[str]) -> dict[str, Cost]:
    octets = group((type(each.message).__name__, each.octets) for each in sent)
    return {name: Cost(len(sizes), sum(sizes)) for name, sizes in octets.items() if name in kinds}


class Synchronisation:
    """One run of the experiment."""

    def __init__(self, folder: RunFolder, parameters: Parameters, console: Console) -> None:
        self.folder, self.parameters, self.console = folder, parameters, console
        self.most = parameters.settings.get("most", 8)
        self.mobiles = parameters.settings.get("mobiles", 20)

    def run(self) -> int:
        """Measure every number of home agents, write everything; return the exit code."""
        seed = self.parameters.seed
        self.folder.event(EventName.RUN_BEGIN, experiment=NAME, seed=seed)
        for home_agents in range(1, self.most + 1):
            for change, costs in measured(home_agents, self.mobiles, seed):
                self._write(home_agents, change, costs)
        summary = summarise(read_table(self.folder.path, SYNCHRONISATION))
        conclude(self.folder, self.console, summary, _table(summary))
        return 0

    def _write(self, home_agents: int, change: str, costs: Mapping[str, Cost]) -> None:
        formula = model(change, home_agents, self.mobiles)
        none = Cost(0, 0)
        for kind in dict.fromkeys((*costs, *formula)):
            found, expected = costs.get(kind, none), formula.get(kind, none)
            self.folder.row(
                SYNCHRONISATION,
                home_agents=home_agents,
                change=change,
                kind=kind,
                mobile_nodes=self.mobiles if change == "rejoin" else 1,
                messages=found.messages,
                octets=found.octets,
                model_messages=expected.messages,
                model_octets=expected.octets,
            )


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[SummaryRow]:
    """Return messages and octets of every change, all kinds together."""
    found: list[SummaryRow] = []
    for (change, home_agents), mine in group(
        ((row["change"], row["home_agents"]), row) for row in rows
    ).items():
        conditions = {"change": change, "home_agents": home_agents}
        for metric in ("messages", "octets"):
            total = float(sum(row[metric] for row in mine))
            found.append(summary_row(NAME, metric, conditions, [total]))
    return found


def _table(summary: Sequence[SummaryRow]) -> TerminalTable:
    table = titled_table("Messages and octets between home agents, by their number")
    numbers = sorted({int(row["conditions"]["home_agents"]) for row in summary})
    table.add_column("change", no_wrap=True)
    for number in numbers:
        table.add_column(str(number), justify="right", no_wrap=True)
    for change in CHANGES:
        for metric in ("messages", "octets"):
            cells = [
                f"{row['median']:.0f}"
                for row in summary
                if row["metric"] == metric and row["conditions"]["change"] == change
            ]
            table.add_row(f"{change}, {metric}" if metric == "messages" else f"  {metric}", *cells)
    return table


def main() -> int:
    """Run the experiment from the command line."""
    return run_main(
        lambda: owner.run_here(
            NAME, KNOWN, lambda *arguments: Synchronisation(*arguments).run(), sys.argv[1:]
        )
    )


if __name__ == "__main__":
    sys.exit(main())
