"""What is lost when AS 1 fails: with one home address for all ASes, and with one for each?

Figure 2. AS 1, where the mobile node's traffic goes, loses all its home agents (as-loss), or its
links to all other ASes (as-cut). With one home address (`SCHEME=one-hoa`, topology multi_as, draft
§4.1) AS 2 takes over the flows that exist. With a home address for each AS (`two-hoas`, multi_hoa,
§4.2) the flows of the first stop, those of the second do not, and new flows get the second: how
soon? 1,000 packets a second each way on every home address, and a new flow every 20 ms.

    make multi-hoa [TRIALS=5] [QUICK=1] [SCHEME=two-hoas] [FAULT=as-cut]
                   [SET='keys=ike hold=1 has=2 delays=off']

`hold`: seconds for which a home address has to work again before new flows get it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping

from rich.console import Console

from agents.config import HomeAgentTimers, MobileNodeTimers
from experiments import multi_hoa_summary, owner, sizes
from experiments.data import EventName
from experiments.failed_trials import FailedTrials
from experiments.multi_hoa_fault import FAULTS, outer_links
from experiments.multi_hoa_trial import ERRORS, TRANSIT, MultiHoaTrial
from experiments.parameters import Known, Parameters, one_of, positive
from experiments.progress import progress_bar
from experiments.run import RunError, RunFolder
from experiments.run import main as run_main
from experiments.terminal import conclude
from experiments.testbed import bring_up, watch_delay_line
from experiments.watch import Watcher
from topologies.agents import AgentOptions
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.network import Network

NAME = multi_hoa_summary.NAME
SCHEMES: Mapping[str, str] = {"one-hoa": "multi_as", "two-hoas": "multi_hoa"}
"""What is compared, and the topology of each."""

KEYS = ("files", "ike")
DETECTION = "bfd-50x3"
LIFETIME_S = 7200.0
"""Of bindings: longer than a run, so that no refresh falls into a trial."""

BEFORE_S = 0.6
"""From the start of the flows to the fault: more than the time line shows, and up to twice that."""

ATTEMPTS = 3
"""So many times TRIALS is tried for trials in which new flows were opened in time."""

KNOWN = Known(
    topologies=("multi_hoa",),
    trials=5,
    quick_trials=1,
    lists={"SCHEME": tuple(SCHEMES), "FAULT": tuple(FAULTS)},
    settings={"keys": one_of(KEYS), "detection": one_of(DETECTIONS), "hold": positive},
    sizes={"multi_hoa": {key: sizes.SIZES["multi_hoa"][key] for key in ("has", "delays")}},
)


class MultiHoa:
    """One run of the experiment, inside the sandbox."""

    def __init__(self, folder: RunFolder, parameters: Parameters, console: Console) -> None:
        self.folder, self.parameters, self.console = folder, parameters, console
        self.chance = random.Random(parameters.seed)
        settings = parameters.settings
        self.keys = settings.get("keys", KEYS[0])
        self.detection = settings.get("detection", DETECTION)
        hold = settings.get("hold", MobileNodeTimers().home_hold)
        self.timers = MobileNodeTimers(home_hold=hold)
        self.number = self.void = 0
        self.failed = FailedTrials(folder, console)
        self._network: Network | None = None
        self._watcher = Watcher()

    def run(self) -> int:
        """Run all trials, write everything; return the exit code."""
        self.folder.event(EventName.RUN_BEGIN, experiment=NAME, seed=self.parameters.seed)
        schemes, faults = self.parameters.chosen["SCHEME"], self.parameters.chosen["FAULT"]
        total = len(schemes) * len(faults) * self.parameters.trials
        with progress_bar(self.console) as progress:
            bar = progress.add_task("bringing up", total=total)
            for scheme in schemes:
                try:
                    for fault in faults:
                        progress.update(bar, description=f"{scheme}, {fault}")
                        for _ in self._cell(SCHEMES[scheme], fault):
                            progress.update(bar, advance=1)
                finally:
                    self._take_down()
        self._watcher.close()
        return self._report()

    def _cell(self, topology: str, fault: str) -> Iterator[int]:
        """Run the trials of one topology and fault; yield the number of each that counts."""
        counted = 0
        for _ in range(ATTEMPTS * self.parameters.trials):
            if counted == self.parameters.trials:
                return
            if self._one(topology, fault, first=not counted):
                counted += 1
                yield self.number
        if counted < self.parameters.trials:
            self.console.print(
                f"{topology}, {fault}: {counted} trials count; the rest was disturbed"
            )

    def _one(self, topology: str, fault: str, first: bool) -> bool:
        """Run one trial; return whether it counts."""
        network = self._network or self._bring_up(topology)
        self.number += 1
        cell = {
            "trial": self.number,
            "topology": topology,
            "keys": self.keys,
            "fault": fault,
            "detection": self.detection,
        }
        trial = MultiHoaTrial(cell, FAULTS[fault], network, self._watcher, self.folder, first)
        try:
            trial.run(BEFORE_S * (1 + self.chance.random()))
        except ERRORS as error:
            self._failure(str(error))
            return False
        if trial.disturbance:
            self.void += 1
            self.folder.event(EventName.TRIAL_VOID, trial=self.number, reason=trial.disturbance)
        return not trial.disturbance

    def _failure(self, reason: str) -> None:
        """Go on with a new network, for nobody knows in which state this one is."""
        self.failed.note(self.number, reason)
        self._take_down()

    def _bring_up(self, topology: str) -> Network:
        agents = AgentOptions(
            ike=self.keys == "ike",
            lifetime=LIFETIME_S,
            home_agent_timers=HomeAgentTimers(max_lifetime=LIFETIME_S),
            mobile_node_timers=self.timers,
        )
        routing = RoutingOptions(detection=DETECTIONS[self.detection])
        topo = sizes.topology(topology, self.parameters.settings)
        network = Network(topo, self.folder.path / "logs" / topology, routing, agents)
        self._network = network
        bring_up(network, self.folder, topology)
        network.faults.prepare(
            *{name for link in outer_links(network) for name in (link.a, link.b)}
        )
        home = network.plan.homes[0]
        self._watcher.watch_routes(TRANSIT, network.nodes[TRANSIT].pid, home.aggregate)
        for node in network.plan.nodes.values():
            if not node.role.is_host:
                self._watcher.watch_bfd(node.name, network.nodes[node.name].pid)
        for agent in network.agents.mobile_nodes.values():
            self._watcher.watch_agent(agent.name, agent.events)
        watch_delay_line(self._watcher, network)
        return network

    def _take_down(self) -> None:
        """End the network, and what watched it."""
        if self._network is not None:
            self._network.stop()
            self._network = None
            self._watcher.close()
            self._watcher = Watcher()

    def _report(self) -> int:
        """Write summary and plot from the folder alone, and print the table."""
        summary = multi_hoa_summary.rows(self.folder.path)
        if not summary:
            raise RunError(f"no trial counts; {self.void} were disturbed: is the machine busy?")
        conclude(
            self.folder,
            self.console,
            summary,
            multi_hoa_summary.terminal_table(summary),
            f"trials that were disturbed: {self.void}, that failed: {self.failed.count}",
        )
        return 0


def main() -> int:
    """Run the experiment from the command line."""
    return run_main(
        lambda: owner.run(NAME, KNOWN, lambda *arguments: MultiHoa(*arguments).run(), sys.argv[1:])
    )


if __name__ == "__main__":
    sys.exit(main())
