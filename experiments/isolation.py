"""How long can a home agent that turned hostile still do harm, and what does it cost to stop it?

Figure 1 with IKE. One home agent turns: HA2, which is not primary, or HA1, which is primary and
nearest. It sends forged Updates and forged tunnel packets, begins IKE with everybody, keeps its
keys, drops what it draws and goes on advertising. Each of that is seen to work first. Then it is
isolated (draft §5; rule 13): by the operator's verb, or because a home agent detects what can be
proved, upon which the operator's policy gives the verb; with its link shut by its first-hop router
(fencing) or without. Honest flows of 1,000 packets a second tell what all that costs.

    make isolation [TRIALS=5] [QUICK=1] [SEED=1] [CAPTURE=1] [SET='role=primary fencing=on']
"""

from __future__ import annotations

import itertools
import random
import sys

from rich.console import Console
from rich.progress import Progress, TaskID

from experiments import isolation_summary, owner
from experiments.data import EventName, read_table
from experiments.data_isolation import ISOLATION_FLOWS, ISOLATIONS
from experiments.failed_trials import FailedTrials
from experiments.isolation_cells import Cell
from experiments.isolation_summary import FENCINGS, HEADER, NAME, ROLES, TRIGGERS
from experiments.isolation_trial import ERRORS, IsolationTrial
from experiments.parameters import Known, Parameters, one_of
from experiments.progress import progress_bar
from experiments.run import RunFolder
from experiments.run import main as run_main
from experiments.terminal import conclude, titled_table
from topologies.frr_config import DETECTIONS

DETECTION = "bfd-50x3"
PHASE_S = 0.5

KNOWN = Known(
    topologies=("single_as",),
    trials=5,
    quick_trials=1,
    settings={
        "role": one_of(ROLES),
        "trigger": one_of(TRIGGERS),
        "fencing": one_of(FENCINGS),
        "detection": one_of(DETECTIONS),
    },
)


class Isolation:
    """One run of the experiment, inside the sandbox."""

    def __init__(self, folder: RunFolder, parameters: Parameters, console: Console) -> None:
        self.folder, self.parameters, self.console = folder, parameters, console
        self.chance = random.Random(parameters.seed)
        settings = parameters.settings
        self.detection = settings.get("detection", DETECTION)
        choices = (("role", ROLES), ("trigger", TRIGGERS), ("fencing", FENCINGS))
        wanted = [[each for each in known if settings.get(name, each) == each]
                  for name, known in choices]  # fmt: skip
        self.cells = [Cell(*each) for each in itertools.product(*wanted)]
        self.failed = FailedTrials(folder, console)

    def run(self) -> int:
        """Run all trials, each on a new network, write everything; return the exit code."""
        self.folder.event(EventName.RUN_BEGIN, experiment=NAME, seed=self.parameters.seed)
        trials = self.parameters.trials
        with progress_bar(self.console) as progress:
            bar = progress.add_task("bringing up", total=trials * len(self.cells))
            for number, (turn, cell) in enumerate(
                itertools.product(range(trials), self.cells), start=1
            ):
                self._trial(number, cell, progress, bar, first=turn == 0)
                progress.update(bar, completed=number)
        return self._report()

    def _trial(
        self, number: int, cell: Cell, progress: Progress, bar: TaskID, *, first: bool
    ) -> None:
        """Run one trial; once more where the testbed failed."""
        while True:
            progress.update(bar, description=str(cell))
            logs = self.folder.path / "logs" / f"{number:02}-{self.failed.count}"
            trial = IsolationTrial(
                number, cell, self.detection, self.folder, logs, first, self.parameters.capture
            )
            try:
                trial.run(self.chance.random() * PHASE_S)
            except ERRORS as error:
                self.failed.note(number, error, str(cell))
                continue
            for table, values in trial.rows:
                self.folder.row(table, **values)
            return

    def _report(self) -> int:
        """Write summary and plot from the folder alone, and print the table."""
        tables = [read_table(self.folder.path, each) for each in (ISOLATIONS, ISOLATION_FLOWS)]
        shown = titled_table(
            "A home agent turned: until powerless, refused; most packets lost; registered again"
        )
        for name in HEADER:
            shown.add_column(name, justify="left" if name in HEADER[:3] else "right", no_wrap=True)
        for line in isolation_summary.overview(*tables):
            shown.add_row(*line)
        conclude(self.folder, self.console, isolation_summary.rows(self.folder.path), shown)
        return 0


def main() -> int:
    """Run the experiment from the command line."""
    return run_main(
        lambda: owner.run(NAME, KNOWN, lambda *arguments: Isolation(*arguments).run(), sys.argv[1:])
    )


if __name__ == "__main__":
    sys.exit(main())
