"""Can a mobile node choose its home agent, and what if two choose differently?

Figure 1 with two mobile nodes, each in touch with cn1 both ways. First mn alone wishes to be
served by HA3, then by HA2, then takes its wish back: the other home agents stand back in OSPFv3,
routing follows, and the home agent wished for becomes primary. Then the two disagree: a metric
belongs to the prefix, so the greater weight moves both. 1,000 numbered packets a second in every
direction tell what each move costs.

    make metric [TRIALS=5] [QUICK=1] [SET='penalty=100 part=move detection=bfd-50x3']
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as TerminalTable

from agents.config import HomeAgentTimers
from experiments import owner
from experiments.data import MOVES, EventName, read_table
from experiments.metric_summary import NAME, overview, summarise
from experiments.metric_trial import BORDER, ERRORS, FLOWS, PARTS, MetricTrial
from experiments.parameters import Known, Parameters, one_of, whole_number
from experiments.progress import progress_bar
from experiments.run import RunError, RunFolder
from experiments.run import main as run_main
from experiments.terminal import conclude, titled_table
from experiments.testbed import bring_up, watch_agents
from experiments.watch import Watcher
from topologies import addressing
from topologies.agents import AgentOptions
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.network import Network
from topologies.single_as import SingleAs

DETECTION = "bfd-50x3"
PENALTY = 100
"""More than any detour inside the AS costs (at most 60)."""

LIFETIME_S = 7200.0
"""Of bindings: longer than a run, so that no refresh moves a role by itself."""

ATTEMPTS = 3
"""So many times TRIALS is tried for steps in which the senders were not held up."""

KNOWN = Known(
    topologies=("single_as",),
    trials=5,
    quick_trials=1,
    settings={
        "penalty": whole_number(1, 10000),
        "part": one_of(PARTS),
        "detection": one_of(DETECTIONS),
    },
)


class Metric:
    """One run of the experiment, inside the sandbox."""

    def __init__(self, folder: RunFolder, parameters: Parameters, console: Console) -> None:
        self.folder, self.parameters, self.console = folder, parameters, console
        settings = parameters.settings
        self.detection = settings.get("detection", DETECTION)
        self.parts = [settings["part"]] if "part" in settings else list(PARTS)
        self.agents = AgentOptions(
            lifetime=LIFETIME_S,
            metric_penalty=settings.get("penalty", PENALTY),
            home_agent_timers=HomeAgentTimers(max_lifetime=LIFETIME_S),
        )

    def run(self) -> int:
        """Run all trials of the parts, write everything; return the exit code."""
        self.folder.event(EventName.RUN_BEGIN, experiment=NAME, seed=self.parameters.seed)
        routing = RoutingOptions(detection=DETECTIONS[self.detection])
        network = Network(
            SingleAs(static=False, mns=2), self.folder.path / "logs", routing, self.agents
        )
        watcher = Watcher()
        try:
            bring_up(network, self.folder, self.detection)
            watcher.watch_routes(BORDER, network.nodes[BORDER].pid, addressing.HOME_PREFIX)
            watch_agents(watcher, network)
            self._trials(network, watcher)
        finally:
            network.stop()
            watcher.close()
        return self._report()

    def _trials(self, network: Network, watcher: Watcher) -> None:
        """Run each part until every step of it counts TRIALS times, within a limit."""
        wanted = self.parameters.trials
        valid = {
            (part, step, flow.number): 0
            for part in self.parts
            for step in range(1, len(PARTS[part]) + 1)
            for flow in FLOWS
        }
        number = 0
        with progress_bar(self.console) as progress:
            bar = progress.add_task("streams", total=wanted * len(valid))
            for _ in range(wanted * ATTEMPTS):
                for part in self.parts:
                    if all(count >= wanted for key, count in valid.items() if key[0] == part):
                        continue
                    number += 1
                    progress.update(bar, description=f"{part}, trial {number}")
                    for step, flow in self._trial(number, part, network, watcher):
                        valid[part, step, flow] += 1
                    done = sum(min(count, wanted) for count in valid.values())
                    progress.update(bar, completed=done)

    def _trial(
        self, number: int, part: str, network: Network, watcher: Watcher
    ) -> list[tuple[int, int]]:
        """Run a trial; return the steps and flows that count."""
        trial = MetricTrial(number, part, network, watcher, self.folder)
        try:
            trial.run()
        except ERRORS as error:
            network.agents.check_alive()
            raise RunError(f"trial {number}, {part}: {error}") from error
        return trial.valid

    def _report(self) -> int:
        """Write summary and plots from the folder alone, and print the table."""
        rows = read_table(self.folder.path, MOVES)
        conclude(self.folder, self.console, summarise(rows), _table(rows))
        return 0


def _table(rows: Sequence[Mapping[str, Any]]) -> TerminalTable:
    table = titled_table(
        "Wishes, who serves, who is primary, and packets lost (the most of n streams)"
    )
    for name in ("part", "wish", "by", "mn's", "mn2's"):
        table.add_column(name, no_wrap=True)
    for name in ("route ms", "lost", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in overview(rows):
        table.add_row(*line)
    return table


def main() -> int:
    """Run the experiment from the command line."""
    return run_main(
        lambda: owner.run(NAME, KNOWN, lambda *arguments: Metric(*arguments).run(), sys.argv[1:])
    )


if __name__ == "__main__":
    sys.exit(main())
