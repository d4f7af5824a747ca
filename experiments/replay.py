"""Does sharing one security association hold against replays, and where does it not?

Figure 1, an attacker on the visited link, and the modes side by side: what the draft says (AES-GCM,
and the ciphers of its time), hardened, and, as a control, sharing with neither ORIGIN_IP nor replay
floors. For each the model says beforehand what must come of it (`experiments/replay_model.py`), and
every observation stands beside its expectation:

- sharing: two or three home agents send at given ratios of rates; how much is lost;
- nonces: how many (key, IV) pairs the home agents repeat, from their own egress records and from
  what the attacker saw;
- relabel: copies of HA1's packets with another address in ORIGIN_IP;
- far-ahead: one such copy with a number that pushes HA2's window out of HA2's reach;
- new-primary: packets of the mobile node, recorded before HA1 is killed, replayed at HA2.

    make replay [TRIALS=3] [QUICK=1] [SEED=1] [CAPTURE=1] [SET='mode=draft part=relabel']

Exit code 1: something was not as the model says.
"""

from __future__ import annotations

import random
import sys
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console
from rich.progress import Progress, TaskID

from experiments import owner, replay_summary
from experiments.captures import capturing
from experiments.data import EventName
from experiments.failed_trials import FailedTrials
from experiments.parameters import Known, Parameters, one_of
from experiments.progress import progress_bar
from experiments.replay_bench import Bench, BenchError
from experiments.replay_modes import MOBILE, MODES
from experiments.replay_trial import PARTS, Part
from experiments.run import RunFolder
from experiments.run import main as run_main
from experiments.terminal import conclude, verdict
from topologies.agents import AgentError
from topologies.frr import RoutingError

NAME = "replay"
KNOWN = Known(
    topologies=("single_as",),
    trials=3,
    quick_trials=1,
    settings={"mode": one_of(MODES), "part": one_of(PARTS)},
)


class Replay:
    """One run of the experiment, inside the sandbox."""

    def __init__(self, folder: RunFolder, parameters: Parameters, console: Console) -> None:
        self.folder, self.parameters, self.console = folder, parameters, console
        self.chance = random.Random(parameters.seed)
        settings = parameters.settings
        self.modes = [mode for mode in MODES if settings.get("mode", mode) == mode]
        self.wanted = [part for part in PARTS if settings.get("part", part) == part]
        self.failed = FailedTrials(folder, console)

    def run(self) -> int:
        """Run all trials in all modes, write everything; return the exit code."""
        self.folder.event(EventName.RUN_BEGIN, experiment=NAME, seed=self.parameters.seed)
        with progress_bar(self.console) as progress:
            steps = self.parameters.trials * len(self.modes) * (1 + len(self.wanted))
            bar = progress.add_task("bringing up", total=steps)
            for trial in range(1, self.parameters.trials + 1):
                for number, mode in enumerate(self.modes, 1):
                    done = ((trial - 1) * len(self.modes) + number - 1) * (1 + len(self.wanted))
                    self._mode(trial, mode, progress, bar, done)
        return self._report()

    def _mode(self, trial: int, mode: str, progress: Progress, bar: TaskID, done: int) -> None:
        """Run one trial in one mode, on a new network; once more where the testbed failed."""
        while True:
            seed = self.chance.random()
            progress.update(bar, completed=done, description=f"{mode}: bringing up")
            try:
                part = self._once(trial, mode, random.Random(seed), progress, bar)
            except (BenchError, AgentError, RoutingError) as error:
                self.failed.note(trial, error, mode)
                continue
            for table, values in part.rows:
                self.folder.row(table, **values)
            progress.update(bar, completed=done + 1 + len(self.wanted))
            return

    def _once(
        self, trial: int, mode: str, chance: random.Random, progress: Progress, bar: TaskID
    ) -> Part:
        logs = self.folder.path / "logs" / f"{trial:02}-{mode}-{self.failed.count}"
        self.folder.event(EventName.NETWORK_STARTED, setting=mode)
        with Bench(mode, logs) as bench:
            self.folder.event(
                EventName.NETWORK_READY,
                setting=mode,
                seconds=bench.timings["mobile nodes bound"],
                steps=bench.timings,
            )
            part = Part(trial, self.parameters.topology, bench, chance)
            with self._captured(bench, f"{trial:02}-{mode}"):
                for name, act in part.parts().items():
                    if name in self.wanted:
                        progress.update(bar, advance=1, description=f"{mode}: {name}")
                        act()
        part.nonces()
        return part

    def _captured(self, bench: Bench, name: str) -> AbstractContextManager[None]:
        """Capture at the mobile node if asked for, a folder a mode: its keys are its own."""
        if not self.parameters.capture:
            return nullcontext()
        folder = self.folder.path / "captures" / name
        folder.mkdir(parents=True, exist_ok=True)
        bench.key_log = folder / "esp_sa"
        return capturing(bench.network, (MOBILE,), folder, name)

    def _report(self) -> int:
        """Write summary and plot from the folder alone, and print the tables."""
        summary = replay_summary.rows(self.folder.path)
        told = replay_summary.unexpected(self.folder.path)
        tables = replay_summary.attack_table(summary), replay_summary.sharing_table(summary)
        conclude(self.folder, self.console, summary, *tables, *verdict(told))
        return 1 if told else 0


def main() -> int:
    """Run the experiment from the command line."""
    return run_main(
        lambda: owner.run(NAME, KNOWN, lambda *arguments: Replay(*arguments).run(), sys.argv[1:])
    )


if __name__ == "__main__":
    sys.exit(main())
