"""How long is a mobile node cut off when its home agent fails, and what does the return cost?

Figure 1: cn1 and the mobile node (mn) talk through HA1, cn2 sends to mn through HA2. HA1 fails in
five ways, noticed by three settings of BFD and OSPFv3; each trial fails it at a random phase
against all timers, waits until the traffic runs again, repairs it and waits until the traffic is
back on HA1. Trials are interleaved over all cells, so that a busy minute of the machine spoils a
little of each and not all of one.

Figure 2 (TOPO=multi_as): besides a home agent, all home agents of AS 1 fail, AS 1 is cut off, a
transit AS fails, and the home agents of the two ASes cannot talk to one another.

    make failover [TRIALS=5] [QUICK=1] [FAULT=link-cut,…] [DETECTION=bfd-10x3,…] [SEED=1]
    make failover TOPO=multi_as [SET='delays=off …'] [DETECTION=bgp-default]    # 180 s to notice
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from agents.config import Detector, HomeAgentTimers, Mode
from experiments import detection, failover_summary, owner, sizes, targets, trial_rows
from experiments.captures import capturing
from experiments.data import EventName
from experiments.parameters import Known, Parameters, one_of, whole_number
from experiments.progress import progress_bar
from experiments.run import RunError, RunFolder
from experiments.run import main as run_main
from experiments.scenarios import SCENARIOS, Scenario
from experiments.testbed import Testbed
from experiments.trial import Cell, Failed, Trial, Valid, Void
from topologies.agents import AgentOptions
from topologies.frr_config import DETECTIONS

NAME = "failover"
SCHEME = "shared-sa"
FAULTS = ("agent-kill", "agent-hang", "agent-restart", "node-silent", "link-cut")
AS_FAULTS = ("as-loss", "as-cut", "transit-loss", "ha-partition")
DETECTION_NAMES = ("bfd-10x3", "bfd-50x3", "ospf-1-4")
SLOW, SLOW_FAULTS, SLOW_TRIALS = "bgp-default", ("transit-loss",), 2
"""A setting that takes minutes to notice, and what runs with it unless FAULT, TRIALS say more:
the faults that nothing but BGP's hold timer notices."""

KNOWN = Known(
    topologies=tuple(SCENARIOS),
    trials=5,
    quick_trials=2,
    lists={"FAULT": FAULTS, "DETECTION": DETECTION_NAMES, "SCHEME": (SCHEME,)},
    lists_of={
        "multi_as": {
            "FAULT": (*FAULTS, *AS_FAULTS),
            "DETECTION": ("bfd-10x3", "bfd-50x3", SLOW),
        }
    },
    on_request={"multi_as": frozenset(("bfd-10x3", SLOW))},
    settings={
        "mode": one_of(Mode),
        "keys": one_of(("files", "ike")),
        "detector": one_of(Detector),
        # Trials of the cells with a target by the detection that it is for (p95 wants 60).
        "headline": whole_number(2, 1000),
    },
    sizes={
        "single_as": {"has": whole_number(2, 9)},
        "multi_as": {
            **sizes.SIZES["multi_as"],
            **{name: whole_number(2, 4) for name in ("ases", "has", "cns")},
        },
    },
)
BUDGET_S = {False: 540.0, True: 200.0}
"""After so long a run whose number of trials nobody chose begins no further trial (by QUICK)."""
FAILURES_ALLOWED = 3
LIFETIME_S = 7200.0
"""Of bindings: longer than a run, so that every Binding Update in a trial is the fault's doing."""


@dataclass
class Plan:
    """The trials still to come: rounds over all cells, void ones again at the end of theirs."""

    trials: dict[Cell, int]
    chance: random.Random
    repeats: dict[Cell, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Cell]:
        """Yield the cells of every round; one with fewer trials than most skips rounds evenly."""
        rounds = max(self.trials.values())
        for number in range(rounds):
            due = [
                cell
                for cell, trials in self.trials.items()
                if (number + 1) * trials // rounds > number * trials // rounds
            ]
            self._pending = self._shuffled(due)
            while self._pending:
                yield self._pending.pop(0)

    def again(self, cell: Cell) -> bool:
        """Repeat a cell's trial in this round; False when it was repeated too often."""
        self.repeats[cell] = self.repeats.get(cell, 0) + 1
        if self.repeats[cell] > 4 * self.trials[cell] + 4:
            return False
        self._pending.append(cell)
        return True

    def _shuffled(self, cells: list[Cell]) -> list[Cell]:
        """Shuffle, but keep a detection setting's cells together: a switch costs seconds."""
        detections = list(dict.fromkeys(cell.detection for cell in cells))
        self.chance.shuffle(detections)
        ordered: list[Cell] = []
        for name in detections:
            mine = [cell for cell in cells if cell.detection == name]
            self.chance.shuffle(mine)
            ordered += mine
        return ordered


class Failover:
    """One run of the experiment, inside the sandbox."""

    def __init__(self, folder: RunFolder, parameters: Parameters, console: Console) -> None:
        self.folder, self.parameters, self.console = folder, parameters, console
        self.chance = random.Random(parameters.seed)
        self.cells = [
            Cell(SCHEME, parameters.topology, fault, name)
            for name in parameters.chosen["DETECTION"]
            for fault in self._faults(name)
        ]
        self.valid = dict.fromkeys(self.cells, 0)
        self.void = self.failed = self.number = 0
        self.ready: dict[str, list[float]] = {}
        self.testbed: Testbed | None = None
        self.scenario = self._scenario()
        settings = parameters.settings
        self.agents = AgentOptions(
            mode=Mode(settings.get("mode", Mode.HARDENED)),
            ike=settings.get("keys", "files") == "ike",
            lifetime=LIFETIME_S,
            detector=Detector(settings.get("detector", Detector.HELLO)),
            home_agent_timers=HomeAgentTimers(max_lifetime=LIFETIME_S),
        )

    def run(self) -> int:
        """Run all trials, write everything; return the exit code."""
        self.folder.event(EventName.RUN_BEGIN, experiment=NAME, seed=self.parameters.seed)
        begin = time.monotonic()
        try:
            self._bring_up(self.cells[0].detection)
            self._trials(begin)
        finally:
            self._take_down()
        return self._report()

    def _faults(self, detection_name: str) -> tuple[str, ...]:
        """Return the faults that run with a detection setting."""
        chosen = self.parameters.chosen["FAULT"]
        if detection_name != SLOW or "FAULT" in self.parameters.given:
            return chosen
        return SLOW_FAULTS

    def _topology(self) -> Any:
        return sizes.topology(self.parameters.topology, self.parameters.settings)

    def _scenario(self) -> Scenario:
        return SCENARIOS[self.parameters.topology](self._topology().plan)

    def _bring_up(self, detection_name: str) -> Testbed:
        """Make a network that notices faults by this setting."""
        self.testbed = Testbed(
            self.folder, self.console, self._topology(), detection_name, self.agents, self.scenario
        )
        self.ready.setdefault(detection_name, []).append(self.testbed.ready_s)
        self.console.print(
            f"{self.scenario.title} ready, mobile node bound after {self.testbed.ready_s:.1f} s"
        )
        return self.testbed

    def _testbed(self, detection_name: str) -> Testbed:
        """Return a running network that has this detection setting, or can change to it."""
        if self.testbed is not None:
            options = self.testbed.network.options
            if detection.shares_timers(options.detection, DETECTIONS[detection_name]):
                return self.testbed
            self._take_down()
        return self._bring_up(detection_name)

    def _take_down(self) -> None:
        if self.testbed is not None:
            self.testbed.close()
            self.testbed = None

    def _trials(self, begin: float) -> None:
        trials = {cell: self._number_of_trials(cell) for cell in self.cells}
        plan = Plan(trials, self.chance)
        budget = begin + BUDGET_S[self.parameters.quick]
        chosen = "TRIALS" in self.parameters.given
        if any(cell.detection == SLOW for cell in trials):
            self.console.print(f"{SLOW}: a trial waits up to 1 minute for its phase and 3 for BGP")
        with progress_bar(self.console) as progress:
            bar = progress.add_task("trials", total=sum(trials.values()))
            for cell in plan:
                if not chosen and time.monotonic() > budget:
                    self.console.print("out of time: the rest of the trials is left out")
                    break
                progress.update(bar, description=f"{cell.fault}, {cell.detection}")
                self._one(cell, plan)
                progress.update(bar, completed=sum(self.valid.values()))

    def _number_of_trials(self, cell: Cell) -> int:
        """Return TRIALS, or more where a percentile is to be quoted (design §11)."""
        trials = self.parameters.trials
        if cell.detection == SLOW and "TRIALS" not in self.parameters.given:
            trials = min(trials, SLOW_TRIALS)
        text = self.parameters.settings.get("headline")
        if text is None or not targets.is_headline(cell.topology, cell.fault, cell.detection):
            return trials
        return max(trials, int(text))

    def _one(self, cell: Cell, plan: Plan) -> None:
        """Run one trial and deal with its outcome."""
        testbed = self._testbed(cell.detection)
        self.number += 1
        trial = Trial(
            self.number, cell, self.scenario, testbed.network, testbed.watcher, self.folder
        )
        chance, first = self.chance.random(), self.valid[cell] == 0
        with self._captured(testbed, first):
            outcome = trial.run(chance)
        # A time line of minutes shows nothing, and takes half a million rows.
        trial_rows.write(trial, outcome, with_packets=first and cell.detection != SLOW)
        if cell.detection == SLOW:
            self._take_down()  # sessions in which nobody has missed anything yet hang for minutes
        if isinstance(outcome, Valid):
            self.valid[cell] += 1
            return
        if isinstance(outcome, Failed):
            self._failed(cell, outcome)
        elif outcome.spoiled:
            self._take_down()
        self.void += isinstance(outcome, Void)
        if not plan.again(cell):
            self.console.print(f"{cell.fault}, {cell.detection}: too many trials do not count")

    def _captured(self, testbed: Testbed, first: bool) -> AbstractContextManager[None]:
        """Capture a trial if it is asked for, and the first of its cell."""
        if not (self.parameters.capture and first):
            return nullcontext()
        folder = self.folder.path / "captures"
        return capturing(testbed.network, ("mn", self.scenario.border), folder, f"{self.number:04}")

    def _failed(self, cell: Cell, outcome: Failed) -> None:
        """Go on with a new network, for nobody knows in which state this one is."""
        self.failed += 1
        told = f"trial {self.number} ({cell.fault}, {cell.detection}) failed: {outcome.reason}"
        if self.failed > FAILURES_ALLOWED:
            raise RunError(told)
        self.console.print(f"[red]{told}")
        self._take_down()

    def _report(self) -> int:
        """Write summary and plots from the folder alone, and print the table."""
        if not any(self.valid.values()):
            raise RunError(f"no valid trial, {self.void} void; is the machine busy?")
        summary = failover_summary.rows(self.folder.path, self.ready, self.parameters.topology)
        self.folder.summary(summary)
        self.folder.complete()
        from experiments.plots import plot  # 0.6 s that the process outside can do without

        names = plot(self.folder.path)
        self.console.print(failover_summary.terminal_table(summary))
        for line in failover_summary.carrier_lines(summary):
            self.console.print(line)
        self.console.print(
            f"{sum(self.valid.values())} trials, {self.void} void and {self.failed} failed repeated"
        )
        for name in names:
            self.console.print(
                f"plot: {owner.short(self.folder.path)}/plots/{name}.png", soft_wrap=True
            )
        return 1 if self.failed else 0


def main() -> int:
    """Run the experiment from the command line."""
    return run_main(
        lambda: owner.run(NAME, KNOWN, lambda *arguments: Failover(*arguments).run(), sys.argv[1:])
    )


if __name__ == "__main__":
    sys.exit(main())
