"""What does a siege cost those whom it is not for?

Figure 1 with keys from IKE, and a stranger on the visited link: it hears the mobile node, holds no
key, and sends what its link carries, at most for a few seconds at a time. The mobile node registers
20 times a second, cn1 and it send each other 100 packets a second. Each siege (an attack, see
`DATA.md`) follows a phase in which nobody attacks, and is held against it: time from Binding Update
to Acknowledgement, packets lost, BFD sessions, memory. Then one attack at growing rates.

    make siege [TRIALS=2] [QUICK=1] [SET='attack=all,ike-cookie part=attacks mbit=10 gate=off']
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table as TerminalTable

from agents.config import HomeAgentTimers, MobileNodeTimers
from experiments import owner, siege_summary
from experiments.captures import capturing
from experiments.data import EventName, read_table
from experiments.data_siege import SIEGES, UPDATES
from experiments.failed_trials import FailedTrials
from experiments.parameters import Known, Parameters, one_of, positive, several_of
from experiments.progress import progress_bar
from experiments.run import RunError, RunFolder
from experiments.run import main as run_main
from experiments.siege_attacks import ATTACKS
from experiments.siege_bench import MOBILE, Stranger, frames_folder, listen
from experiments.siege_trial import ERRORS, FIRST, SiegeTrial, Step
from experiments.terminal import conclude, titled_table
from experiments.testbed import bring_up, watch_agents, watch_neighbours
from experiments.watch import Watcher
from topologies.agents import AgentOptions
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.network import Network
from topologies.single_as import SingleAs

NAME = siege_summary.NAME
DETECTION = "bfd-50x3"
MBIT = 10.0
"""The rate of the stranger's link: some 6,000 to 14,000 packets a second, by their size."""

RATES = (1.25, 2.5, 5.0, 10.0, 20.0, 40.0)
RATED = "all"
"""The attack that is made at growing rates."""

IDLE_S, SIEGE_S = 3.0, 5.0
QUICK_IDLE_S, QUICK_SIEGE_S = 1.0, 1.5
LIFETIME_S = 7200.0
UPDATES_PER_SECOND = 1000
"""RFC 6275 allows a mobile node 3 Binding Updates a second; here they are what is measured."""

PARTS = ("attacks", "rates")
CAPTURED = (MOBILE, FIRST)
KNOWN = Known(
    topologies=("single_as",),
    trials=2,
    quick_trials=1,
    settings={
        "attack": several_of(ATTACKS),
        "part": one_of(PARTS),
        "mbit": positive,
        "seconds": positive,
        "gate": one_of(("on", "off")),
    },
)


class Siege:
    """One run of the experiment, inside the sandbox."""

    def __init__(self, folder: RunFolder, parameters: Parameters, console: Console) -> None:
        self.folder, self.parameters, self.console = folder, parameters, console
        self.chance = random.Random(parameters.seed)
        settings = parameters.settings
        self.mbit: float = settings.get("mbit", MBIT)
        self.attacks: Sequence[str] = settings.get("attack", tuple(ATTACKS))
        self.parts = [part for part in PARTS if settings.get("part", part) == part]
        if parameters.quick and "part" not in settings:
            self.parts = ["attacks"]
        self.idle_s = QUICK_IDLE_S if parameters.quick else IDLE_S
        self.siege_s: float = settings.get(
            "seconds", QUICK_SIEGE_S if parameters.quick else SIEGE_S
        )
        self.gate = settings.get("gate", "on") == "on"
        self.failed = FailedTrials(folder, console)

    def run(self) -> int:
        """Run all trials, write everything; return the exit code."""
        self.folder.event(EventName.RUN_BEGIN, experiment=NAME, seed=self.parameters.seed)
        network = Network(
            SingleAs(static=False, stranger_mbit=self.mbit),
            self.folder.path / "logs",
            RoutingOptions(detection=DETECTIONS[DETECTION]),
            _agents(gate=self.gate),
        )
        watcher = Watcher()
        try:
            bring_up(network, self.folder, DETECTION)
            _watch(network, watcher)
            stranger = Stranger(network, frames_folder(), self.chance)
            with self._captured(network), progress_bar(self.console) as progress:
                bar = progress.add_task("listening", total=self.parameters.trials * len(self.steps))
                self._trials(network, watcher, stranger, progress, bar)
        finally:
            network.stop()
            watcher.close()
        return self._report()

    def _captured(self, network: Network) -> AbstractContextManager[None]:
        """Capture where honest and hostile packets meet, if asked for."""
        if not self.parameters.capture:
            return nullcontext()
        return capturing(network, CAPTURED, self.folder.path / "captures", NAME)

    @property
    def steps(self) -> list[Step]:
        """The sieges of a trial, in a fixed order."""
        found: list[Step] = []
        if "attacks" in self.parts:
            found += [Step("attacks", attack, self.mbit) for attack in self.attacks]
        if "rates" in self.parts:
            found += [Step("rates", RATED, mbit) for mbit in RATES]
        return found

    def _trials(
        self, network: Network, watcher: Watcher, stranger: Stranger, progress: Progress,
        bar: TaskID,
    ) -> None:  # fmt: skip
        prepared, completed, number = False, 0, 0
        while completed < self.parameters.trials:
            number += 1
            steps = self.chance.sample(self.steps, len(self.steps))
            trial = SiegeTrial(
                number, steps, self.idle_s, self.siege_s, network, watcher, stranger, self.folder
            )
            try:
                if not prepared:
                    stranger.prepare(listen(network), {step.attack for step in steps})
                    prepared = True
                for done in trial.run():
                    progress.update(bar, advance=1, description=f"{done.attack}, {done.mbit:g}")
                completed += 1
            except ERRORS as error:
                network.check_alive()
                self.failed.note(number, error)
                progress.update(bar, completed=completed * len(self.steps))

    def _report(self) -> int:
        """Write summary and plots from the folder alone, and print the table."""
        rows = read_table(self.folder.path, SIEGES)
        if not rows:
            raise RunError("no trial was completed")
        summary = siege_summary.summarise(rows, read_table(self.folder.path, UPDATES))
        missed = [f"[red]missed: {line}" for line in siege_summary.missed(summary)]
        tables = [table for table in (_attacks(rows), _rates(rows)) if table.row_count]
        conclude(self.folder, self.console, summary, *tables, *missed)
        return 0


def _agents(*, gate: bool) -> AgentOptions:
    return AgentOptions(
        ike=True,
        gate=gate,
        lifetime=LIFETIME_S,
        home_agent_timers=HomeAgentTimers(max_lifetime=LIFETIME_S),
        mobile_node_timers=MobileNodeTimers(max_updates_per_second=UPDATES_PER_SECOND),
    )


def _watch(network: Network, watcher: Watcher) -> None:
    """Observe every BFD session, every routing daemon and every agent."""
    routers = [node.name for node in network.plan.nodes.values() if not node.role.is_host]
    for name in routers:
        watcher.watch_bfd(name, network.nodes[name].pid)
    watch_neighbours(watcher, network, routers)
    watch_agents(watcher, network)


def _attacks(rows: Sequence[Mapping[str, Any]]) -> TerminalTable:
    table = titled_table(
        "The stranger's packets a second, the MN's registrations (medians, ms), and its traffic"
    )
    table.add_column("attack", no_wrap=True)
    for name in ("offered", "taken", "idle", "siege", "ratio", "lost", "gap", "down"):
        table.add_column(name, justify="right", no_wrap=True)
    for attack, offered, _, taken, *line in siege_summary.overview(rows):
        table.add_row(attack, offered, taken, *line[:6])  # what 80 columns hold
    return table


def _rates(rows: Sequence[Mapping[str, Any]]) -> TerminalTable:
    table = titled_table(f"{RATED}, over a link of growing rate (packets a second, medians in ms)")
    for name in (
        "Mbit/s", "offered", "forwarded", "taken", "siege", "unanswered", "lost", "HA",
    ):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for line in siege_summary.by_rate(rows):
        table.add_row(*line)
    return table


def main() -> int:
    """Run the experiment from the command line."""
    return run_main(
        lambda: owner.run(NAME, KNOWN, lambda *arguments: Siege(*arguments).run(), sys.argv[1:])
    )


if __name__ == "__main__":
    sys.exit(main())
