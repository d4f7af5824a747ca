"""What do IKE, registration, renewal and takeover take, and does a renewal lose packets?

Figure 1 with keys from IKE; cn1 and the mobile node (mn) send each other 1,000 packets a second
through HA1, cn2 sends to mn through HA2. Each trial of the part `keys` starts mn's agent anew, lets
it deregister and register, renews the SAs at HA1, kills HA1's agent, renews at the HA that took
over, and starts HA1's agent again. In draft mode it ends before the kill: an HA then takes over for
a renewal alone (rule 1). Each trial of the part `numbers` waits until HA2, not primary, runs out.

    make renewal [TRIALS=10] [QUICK=1] [SEED=1] [SET='mode=hardened part=keys']
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable

from rich.console import Console

from agents.config import SOFT_LIMIT, HomeAgentTimers, Mode
from experiments import owner, renewal_summary
from experiments.data import EventName
from experiments.failed_trials import FailedTrials
from experiments.parameters import Known, Parameters, one_of
from experiments.progress import progress_bar
from experiments.renewal_trial import NUMBERS_LIMIT, Failures, RenewalTrial
from experiments.run import RunError, RunFolder
from experiments.run import main as run_main
from experiments.scenarios import single_as
from experiments.sizes import topology
from experiments.terminal import conclude
from experiments.testbed import Testbed
from topologies.agents import AgentOptions

NAME = "renewal"
MODES = (Mode.HARDENED, Mode.DRAFT)
PARTS = ("keys", "numbers")
KNOWN = Known(
    topologies=("single_as",),
    trials=10,
    quick_trials=2,
    settings={"mode": one_of(MODES), "part": one_of(PARTS)},
)
DETECTION = "bfd-50x3"
"""At 10 ms BFD takes a third of two processors (docs/routing.md), and nothing here waits for it."""

LIFETIME_S = 7200.0
"""Of bindings: longer than a run, so that every Binding Update is the experiment's doing."""
SETTLE_S = 0.5
"""Trials begin within so long after the one before, at random against all timers."""


class RenewalExperiment:
    """One run of the experiment, inside the sandbox."""

    def __init__(self, folder: RunFolder, parameters: Parameters, console: Console) -> None:
        self.folder, self.parameters, self.console = folder, parameters, console
        self.chance = random.Random(parameters.seed)
        settings = parameters.settings
        self.modes = [Mode(settings["mode"])] if "mode" in settings else list(MODES)
        self.parts = [settings["part"]] if "part" in settings else list(PARTS)
        self.testbed: Testbed | None = None
        self.number = self.void = 0
        self.failed = FailedTrials(folder, console)

    def run(self) -> int:
        """Run all trials, write everything; return the exit code."""
        self.folder.event(EventName.RUN_BEGIN, experiment=NAME, seed=self.parameters.seed)
        total = len(self.modes) * len(self.parts) * self.parameters.trials
        with progress_bar(self.console) as progress:
            bar = progress.add_task("bringing up", total=total)
            for mode in self.modes:
                for part in self.parts:
                    progress.update(bar, description=f"{mode.value}, {part}")
                    try:
                        self._cell(mode, part, lambda: progress.update(bar, advance=1))
                    finally:
                        self._take_down()
        return self._report()

    def _cell(self, mode: Mode, part: str, done: Callable[[], None]) -> None:
        """Run the trials of one mode and part; disturbed ones again, up to half as many more."""
        valid, wanted = 0, self.parameters.trials
        for _ in range(wanted + wanted // 2):
            if valid == wanted:
                return
            if self._one(mode, part):
                valid += 1
                done()
        if valid < wanted:
            self.console.print(f"{mode.value}, {part}: {valid} trials were not disturbed")

    def _one(self, mode: Mode, part: str) -> bool:
        """Run one trial; return whether it counts in full."""
        testbed = self.testbed or self._bring_up(mode, part)
        self.number += 1
        time.sleep(self.chance.random() * SETTLE_S)  # its phase is what is random about a trial
        trial = RenewalTrial(self.number, mode, testbed.network, testbed.watcher, self.folder)
        try:
            trial.run(part)
        except Failures as error:
            self._failure(str(error))
            return False
        if not trial.undisturbed:
            self.void += 1
            reason = "a sender was held up: its times do not count"
            self.folder.event(EventName.TRIAL_VOID, trial=self.number, reason=reason)
        return trial.undisturbed

    def _failure(self, reason: str) -> None:
        """Go on with a new network, for nobody knows in which state this one is."""
        self.failed.note(self.number, reason)
        self._take_down()

    def _bring_up(self, mode: Mode, part: str) -> Testbed:
        agents = AgentOptions(
            mode=mode,
            ike=True,
            lifetime=LIFETIME_S,
            home_agent_timers=HomeAgentTimers(max_lifetime=LIFETIME_S),
            sequence_soft_limit=NUMBERS_LIMIT if part == "numbers" else SOFT_LIMIT,
        )
        network = topology("single_as", {})
        self.testbed = Testbed(
            self.folder, self.console, network, DETECTION, agents, single_as(network.plan)
        )
        return self.testbed

    def _take_down(self) -> None:
        if self.testbed is not None:
            self.testbed.close()
            self.testbed = None

    def _report(self) -> int:
        """Write summary and plot from the folder alone, and print the table."""
        summary = renewal_summary.rows(self.folder.path)
        if not summary:
            raise RunError(f"no trial was undisturbed, {self.void} were; is the machine busy?")
        conclude(
            self.folder,
            self.console,
            summary,
            renewal_summary.terminal_table(summary),
            f"trials with a sender held up: {self.void}, failed: {self.failed.count}",
        )
        return 0


def main() -> int:
    """Run the experiment from the command line."""
    return run_main(
        lambda: owner.run(
            NAME, KNOWN, lambda *arguments: RenewalExperiment(*arguments).run(), sys.argv[1:]
        )
    )


if __name__ == "__main__":
    sys.exit(main())
