"""Can home agents in several ASes shorten the way from a mobile node to its correspondents?

Figure 2: cn1 is near AS 1, cn2 near AS 2, the mobile node between them. What cn2 sends enters by
AS 2; what the mobile node sends leaves by AS 1, whose home agent is nearest to it: a detour. Plain
Mobile IPv6 has one home agent for both ways; `off` is the draft's shared address alone. Draft §4.1
has another home agent send the Primary HA Switch: the role moves, no packet follows. Relaying from
home agent to home agent is no shorter. With a CN → HA map in the Binding Acknowledgement the mobile
node sends to the home agent that is best for each correspondent (design §10, rule 11). `direct` is
the way between care-of address and correspondent without any tunnel: what RFC 6275's route
optimisation could reach at best.

1,000 numbered packets a second in every direction tell the ways before and after a change, and what
the change costs; predictions are sums of the plan's delays. Then one TCP flow at a time. While the
two correspondents have the more traffic in turn, roles and choices that change are counted, also
without hysteresis and hold time (`switch-bare`). At last the home agent that the map names dies.

    make optimisation [TRIALS=5] [QUICK=1] [SCHEME=map,off] [SET='seconds=4 bursts=6']
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as TerminalTable

from agents.config import HomeAgentTimers, OptimisationSettings, RouteOptimisation
from experiments import owner
from experiments.data import EventName, read_table
from experiments.data_optimisation import CHANGES, MAPPED_FAILURES, PATHS, SPEED, STEADINESS
from experiments.optimisation_model import WayModel
from experiments.optimisation_summary import (
    ARMS,
    NAME,
    Rows,
    failures,
    overview,
    steadiness,
    summarise,
)
from experiments.optimisation_trial import ERRORS, Disturbed, OptimisationTrial
from experiments.parameters import Known, Parameters, one_of, positive, whole_number
from experiments.progress import progress_bar
from experiments.run import RunError, RunFolder
from experiments.run import main as run_main
from experiments.watch import Watcher
from topologies.agents import AgentOptions
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.multi_as import MultiAs
from topologies.network import Network

DETECTION = "bfd-50x3"
LIFETIME_S = 7200.0
"""Of bindings: longer than a run, so that no refresh moves a role by itself."""

ATTEMPTS = 3
"""So often a trial is made in which home agents did not take one another for dead."""

BURST_S = 2.5
BARE = OptimisationSettings(hysteresis=0.0, least_gain=0.0, hold=0.0)
SECONDS, QUICK_SECONDS, BURSTS, QUICK_BURSTS = 4.0, 1.5, 6, 4

KNOWN = Known(
    topologies=("multi_as",),
    trials=5,
    quick_trials=1,
    lists={"SCHEME": ARMS},
    settings={
        "seconds": positive,
        "bursts": whole_number(2, 100),
        "detection": one_of(DETECTIONS),
    },
)


class Optimisation:
    """One run of the experiment, inside the sandbox."""

    def __init__(self, folder: RunFolder, parameters: Parameters, console: Console) -> None:
        self.folder, self.parameters, self.console = folder, parameters, console
        settings, quick = parameters.settings, parameters.quick
        self.detection = settings.get("detection", DETECTION)
        self.seconds = settings.get("seconds", QUICK_SECONDS if quick else SECONDS)
        self.bursts = settings.get("bursts", QUICK_BURSTS if quick else BURSTS)

    def run(self) -> int:
        """Run all arms of all trials, write everything; return the exit code."""
        owner.need("iperf3", "iperf3")
        self.folder.event(EventName.RUN_BEGIN, experiment=NAME, seed=self.parameters.seed)
        arms = self.parameters.chosen["SCHEME"]
        with progress_bar(self.console) as progress:
            bar = progress.add_task("bringing up", total=len(arms) * self.parameters.trials)
            for number in range(1, self.parameters.trials + 1):
                for arm in arms:
                    progress.update(bar, description=f"{arm}, trial {number}")
                    self._trial(number, arm)
                    progress.advance(bar)
        return self._report()

    def _trial(self, number: int, arm: str) -> None:
        """Try an arm until it counts; RunError if it never does."""
        for _ in range(ATTEMPTS):
            try:
                self._arm(number, arm)
            except Disturbed as disturbed:
                reason = f"{arm}: {disturbed}"
                self.folder.event(EventName.TRIAL_VOID, trial=number, reason=reason)
            else:
                return
        raise RunError(f"trial {number}: {reason}, {ATTEMPTS} times; is the machine busy?")

    def _arm(self, number: int, arm: str) -> None:
        """Bring a network up for one arm, and do what is to be done on it; may raise Disturbed."""
        shape = {"ases": 1, "has": 1} if arm == "plain" else {}
        network = Network(
            MultiAs(static=False, **shape),
            self.folder.path / "logs" / arm,
            RoutingOptions(detection=DETECTIONS[self.detection]),
            _options(arm),
        )
        self.folder.note(delay=str(network.delay))
        self.folder.event(EventName.NETWORK_STARTED, setting=arm)
        begin, watcher = time.monotonic(), Watcher()
        try:
            network.start()
            network.start_agents()
            seconds = time.monotonic() - begin
            self.folder.event(EventName.NETWORK_READY, setting=arm, seconds=seconds)
            agents, model, ready = network.agents, WayModel(network.plan), time.monotonic_ns()
            for agent in (*agents.home_agents.values(), *agents.mobile_nodes.values()):
                watcher.watch_agent(agent.name, agent.events)
            trials = [
                OptimisationTrial(number, name, network, watcher, self.folder, model, self.seconds)
                for name in ((arm, "direct") if arm == "off" else (arm,))
            ]
            try:
                self._measure(trials)
            except ERRORS:
                trials[0].check(ready)
                raise
            for each in trials:
                each.write()
        except ERRORS as error:
            network.check_alive()
            network.agents.check_alive()
            raise RunError(f"{arm}, trial {number}: {error}") from error
        finally:
            network.stop()
            watcher.close()

    def _measure(self, trials: Sequence[OptimisationTrial]) -> None:
        begin, here = time.monotonic_ns(), trials[0]
        if here.arm.startswith("switch"):
            here.steadiness(self.bursts, BURST_S)
        if here.arm != "switch-bare":
            for each in trials:
                each.ways(changing=each.arm in ("switch", "relay", "map"))
        if here.arm == "map":
            here.steadiness(self.bursts, BURST_S)
        if here.arm != "switch-bare":
            for each in trials:
                each.speeds()
        here.check(begin)
        if here.arm == "map":
            here.failure()

    def _report(self) -> int:
        """Write summary and plots from the folder alone, and print the tables."""
        rows = read_rows(lambda table: read_table(self.folder.path, table))
        self.folder.summary(summarise(rows))
        self.folder.complete()
        from experiments.plots import plot  # 0.6 s that the process outside can do without

        names = plot(self.folder.path)
        self.console.print(_table(rows))
        for arm, bursts, changes in steadiness(rows.steadiness):
            self.console.print(f"{arm}: {changes} changes while the traffic shifted {bursts} times")
        for line in failures(rows.failures):
            self.console.print(f"the home agent of the map dies, {line}", soft_wrap=True)
        for name in names:
            self.console.print(
                f"plot: {owner.short(self.folder.path)}/plots/{name}.png", soft_wrap=True
            )
        return 0


def read_rows(read: Callable[[Any], Sequence[Mapping[str, Any]]]) -> Rows:
    """Return the tables of a run; `read` reads one."""
    return Rows(*map(read, (PATHS, CHANGES, STEADINESS, SPEED, MAPPED_FAILURES)))


def _options(arm: str) -> AgentOptions:
    if arm.startswith("switch"):
        optimisation = RouteOptimisation.SWITCH
    elif arm in tuple(RouteOptimisation):
        optimisation = RouteOptimisation(arm)
    else:
        optimisation = RouteOptimisation.OFF
    return AgentOptions(
        lifetime=LIFETIME_S,
        route_optimisation=optimisation,
        optimisation=BARE if arm == "switch-bare" else OptimisationSettings(),
        home_agent_timers=HomeAgentTimers(max_lifetime=LIFETIME_S),
    )


def _table(rows: Rows) -> TerminalTable:
    table = TerminalTable(
        title="Round trips in ms (by the plan's delays), Mbit/s, and packets at a change, the most",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name in ("arm", "CN"):
        table.add_column(name, no_wrap=True)
    for name in ("before", "after", "up", "down", "lost", "reordered", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in overview(rows):
        table.add_row(*line)
    return table


def main() -> int:
    """Run the experiment from the command line."""
    return run_main(
        lambda: owner.run(
            NAME, KNOWN, lambda *arguments: Optimisation(*arguments).run(), sys.argv[1:]
        )
    )


if __name__ == "__main__":
    sys.exit(main())
