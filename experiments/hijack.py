"""Who may announce the home network, and what if somebody else does?

Figure 2: AS 1 and AS 2 have the home network and both announce it, which is what a hijacker does
too (draft §4.1). AS 3, at the transit t3, is one. Cases: which ROAs there are, who validates or
filters by a registry, what the hijacker announces. For each, routers are asked what they hold,
every correspondent node sends to the home address, the mobile node registers from every visited
network; the model (RFC 6811, and BGP's selection on this topology) says beforehand who gets it.

Then what IPsec still protects when the route is lost: what the hijacker can read of what it draws,
and what comes of its answers, forgeries and replays.

    make hijack [TRIALS=3] [QUICK=1] [CAPTURE=1] [SET='part=cases case=specific,irr']

Exit code 1: something was not as the model says.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table as TerminalTable

from experiments import hijack_summary, owner
from experiments.captures import capturing
from experiments.data import EventName, read_table
from experiments.data_hijack import ENDS
from experiments.failed_trials import FailedTrials
from experiments.hijack_bench import MOBILE, HijackBench
from experiments.hijack_cases import CASES_PLAN, HIJACKER_NODE, cases, registry
from experiments.hijack_protection import Protection
from experiments.hijack_trial import HijackTrial
from experiments.parameters import Known, Parameters, one_of, several_of
from experiments.progress import progress_bar
from experiments.replay_bench import BenchError
from experiments.run import RunError, RunFolder
from experiments.run import main as run_main
from experiments.schema import Table
from experiments.terminal import conclude, verdict
from topologies.agents import AgentError
from topologies.frr import RoutingError
from topologies.rpki import check_installed

NAME = hijack_summary.NAME
PARTS = ("cases", "protection")
CASES = cases(CASES_PLAN)
KNOWN = Known(
    topologies=("multi_as",),
    trials=3,
    quick_trials=1,
    settings={"part": one_of(PARTS), "case": several_of(CASES)},
)


class Hijack:
    """One run of the experiment, inside the sandbox."""

    def __init__(self, folder: RunFolder, parameters: Parameters, console: Console) -> None:
        self.folder, self.parameters, self.console = folder, parameters, console
        settings = parameters.settings
        self.parts = [part for part in PARTS if settings.get("part", part) == part]
        wanted = settings.get("case", tuple(CASES))
        self.cases = [case for name, case in CASES.items() if name in wanted]
        self.failed = FailedTrials(folder, console)

    def run(self) -> int:
        """Run all trials, each on a new network, write everything; return the exit code."""
        try:
            check_installed()
        except RoutingError as error:
            raise RunError(str(error)) from error
        (self.folder.path / "logs" / "registry.rpsl").write_text(registry(CASES_PLAN))
        self.folder.event(EventName.RUN_BEGIN, experiment=NAME, seed=self.parameters.seed)
        steps = 1 + len(self.cases) * ("cases" in self.parts) + ("protection" in self.parts)
        with progress_bar(self.console) as progress:
            bar = progress.add_task("bringing up", total=self.parameters.trials * steps)
            for trial in range(1, self.parameters.trials + 1):
                self._trial(trial, progress, bar, (trial - 1) * steps)
                progress.update(bar, completed=trial * steps)
        return self._report()

    def _trial(self, trial: int, progress: Progress, bar: TaskID, done: int) -> None:
        """Run one trial; once more where the testbed failed."""
        while True:
            progress.update(bar, completed=done, description="bringing up")
            rows: list[tuple[Table, dict[str, Any]]] = []
            try:
                self._once(trial, rows, progress, bar)
            except (BenchError, AgentError, RoutingError) as error:
                self.failed.note(trial, error)
                continue
            for table, values in rows:
                self.folder.row(table, **values)
            return

    def _once(
        self, trial: int, rows: list[tuple[Table, dict[str, Any]]], progress: Progress, bar: TaskID
    ) -> None:
        self.folder.event(EventName.NETWORK_STARTED, setting=NAME)
        with HijackBench(self.folder.path / "logs" / f"{trial:02}-{self.failed.count}") as bench:
            timings = bench.network.timings
            self.folder.event(
                EventName.NETWORK_READY,
                setting=NAME,
                seconds=timings["mobile nodes bound"],
                steps=timings,
            )

            def note(table: Table, values: dict[str, Any]) -> None:
                rows.append((table, values))

            run = HijackTrial(trial, bench, note)
            for case in self.cases if "cases" in self.parts else ():
                progress.update(bar, advance=1, description=case.name)
                run.case(case)
            if "protection" in self.parts:
                progress.update(bar, advance=1, description="what IPsec protects")
                with self._captured(bench, f"{trial:02}"):
                    Protection(trial, bench, note).run()

    def _captured(self, bench: HijackBench, name: str) -> AbstractContextManager[None]:
        """Capture at the hijacker and at the mobile node if asked for."""
        if not self.parameters.capture:
            return nullcontext()
        folder = self.folder.path / "captures" / name
        folder.mkdir(parents=True, exist_ok=True)
        return capturing(bench.network, (HIJACKER_NODE, MOBILE), folder, name)

    def _report(self) -> int:
        """Write summary and plot from the folder alone, and print the tables."""
        summary = hijack_summary.rows(self.folder.path)
        told = hijack_summary.unexpected(self.folder.path)
        shown: list[TerminalTable | str] = []
        if ends := read_table(self.folder.path, ENDS):
            shown.append(hijack_summary.case_table(ends))
        if "protection" in self.parts:
            shown.append(hijack_summary.protection_table(summary))
        conclude(self.folder, self.console, summary, *shown, *verdict(told))
        return 1 if told else 0


def main() -> int:
    """Run the experiment from the command line."""
    return run_main(
        lambda: owner.run(NAME, KNOWN, lambda *arguments: Hijack(*arguments).run(), sys.argv[1:])
    )


if __name__ == "__main__":
    sys.exit(main())
