"""What does the tunnel carry, and do several home agents carry more than one?

Left half: the goodput of one TCP flow between cn1 and the mobile node, through the tunnel and, on
the same hops, without it (to the care-of address). Right half: cn1, cn2, cn3 send at once, each by
its own home agent over a home link capped at 50 Mbit/s. With one SA shared by several senders and
no ORIGIN_IP to tell them apart, the mobile node takes most of the packets for replays.

Routing watches its neighbours every 50 ms here: bfdd spends a part of each timer in a busy loop
(docs/routing.md), and at 10 ms that takes much processor time from what is measured.

    make throughput [TRIALS=3] [QUICK=1] [SET='cap=50 seconds=4 detection=bfd-50x3']
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table as TerminalTable

from agents.config import Mode
from experiments import owner, targets
from experiments.data import GOODPUT, EventName, SummaryRow, read_table
from experiments.iperf import IperfError, TcpFlow, measure
from experiments.parameters import Known, Parameters, one_of, positive
from experiments.progress import progress_bar
from experiments.run import RunError, RunFolder
from experiments.run import main as run_main
from experiments.statistics import group, summary_row
from experiments.terminal import conclude, titled_table
from experiments.testbed import bring_up
from topologies import addressing
from topologies.agents import AgentOptions
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.network import Network
from topologies.shaping import rate_commands
from topologies.single_as import SingleAs

NAME = "throughput"
NO_TUNNEL = "none"
MODES: Mapping[str, AgentOptions] = {
    "hardened": AgentOptions(mode=Mode.HARDENED),
    "draft": AgentOptions(mode=Mode.DRAFT),
    "draft-no-origin": AgentOptions(mode=Mode.DRAFT, origin_option=False),
}
REPLAY_REASONS = ("replay", "left-of-window")
CORRESPONDENTS = ("cn1", "cn2", "cn3")
HOME_LINKS = (("HA1", "r1"), ("HA2", "r2"), ("HA3", "r3"))
KNOWN = Known(
    topologies=("single_as",),
    trials=3,
    quick_trials=1,
    settings={"cap": positive, "seconds": positive, "detection": one_of(DETECTIONS)},
)
DETECTION = "bfd-50x3"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One thing to measure: which path, which way, over how many home agents."""

    path: str
    direction: str
    home_agents: int

    def flows(self) -> list[TcpFlow]:
        """Return the TCP flows to run at once."""
        mobile = addressing.care_of_address(1) if self.path == "raw" else addressing.home_address(1)
        return [
            self._flow(name, str(mobile)) for name in CORRESPONDENTS[: max(self.home_agents, 1)]
        ]

    def _flow(self, correspondent: str, mobile: str) -> TcpFlow:
        own = CN_ADDRESSES[correspondent]
        if self.direction == "up":
            return TcpFlow("mn", mobile, correspondent, own)
        return TcpFlow(correspondent, own, "mn", mobile)


CN_ADDRESSES: dict[str, str] = {}

UNCAPPED = tuple(Measurement("tunnel", direction, 1) for direction in ("down", "up"))
RAW = tuple(Measurement("raw", direction, 0) for direction in ("down", "up"))
CAPPED = tuple(Measurement("aggregate", "down", number) for number in (1, 2, 3))


class Throughput:
    """One run of the experiment, inside the sandbox."""

    def __init__(self, folder: RunFolder, parameters: Parameters, console: Console) -> None:
        self.folder, self.parameters, self.console = folder, parameters, console
        settings = parameters.settings
        self.cap = settings.get("cap", 50.0)
        self.seconds = settings.get("seconds", 4.0)
        self.detection = settings.get("detection", DETECTION)
        self.number = 0

    def run(self) -> int:
        """Measure everything in every mode, write everything; return the exit code."""
        owner.need("iperf3", "iperf3")
        self.folder.event(EventName.RUN_BEGIN, experiment=NAME, seed=self.parameters.seed)
        each = len(MODES) * (len(UNCAPPED) + len(CAPPED)) + len(RAW)
        with progress_bar(self.console) as progress:
            bar = progress.add_task("bringing up", total=each * self.parameters.trials)
            for _ in range(self.parameters.trials):
                for mode in MODES:
                    self._mode(mode, lambda text: progress.update(bar, description=text, advance=1))
        return self._report()

    def _mode(self, mode: str, done: Any) -> None:
        """Bring the network up in one mode and measure all that can be measured in it."""
        routing = RoutingOptions(detection=DETECTIONS[self.detection])
        logs = self.folder.path / "logs" / mode
        network = Network(SingleAs(static=False), logs, routing, MODES[mode])
        try:
            bring_up(network, self.folder, mode)
            CN_ADDRESSES.update({n: str(network.plan.address_of(n)) for n in CORRESPONDENTS})
            for measurement in (*(RAW if mode == "hardened" else ()), *UNCAPPED):
                self._measure(network, mode, measurement, None)
                done(f"{mode}, {measurement.path} {measurement.direction}")
            self._cap(network)
            for measurement in CAPPED:
                self._measure(network, mode, measurement, self.cap)
                done(f"{mode}, {measurement.home_agents} home agents")
        finally:
            network.stop()

    def _cap(self, network: Network) -> None:
        """Cap the home links in both directions."""
        for a, b in HOME_LINKS:
            for node, other in ((a, b), (b, a)):
                lines = rate_commands(f"{node}-{other}", self.cap)
                network.nodes[node].run(["tc", "-batch", "-"], "\n".join(lines) + "\n", check=True)

    def _measure(
        self, network: Network, mode: str, measurement: Measurement, cap: float | None
    ) -> None:
        self.number += 1

        def spawn(node: str, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
            return network.nodes[node].spawn(list(command), **options)

        before = _replays(network)
        try:
            starving = mode == "draft-no-origin"
            results = measure(spawn, measurement.flows(), self.seconds, may_starve=starving)
        except IperfError as error:
            network.agents.check_alive()
            raise RunError(f"{mode}, {measurement.path}: {error}") from error
        goodput = sum(result.mbit_s for result in results)
        tunnel = measurement.path != "raw"
        self.folder.row(
            GOODPUT,
            trial=self.number,
            topology=self.parameters.topology,
            mode=mode if tunnel else NO_TUNNEL,
            path=measurement.path,
            direction=measurement.direction,
            home_agents=measurement.home_agents,
            detection=self.detection,
            cap_mbit_s=cap,
            goodput_mbit_s=goodput,
            retransmits=sum(result.retransmits for result in results),
            replay_drops=_replays(network) - before if tunnel else None,
            seconds=self.seconds,
        )
        self.folder.event(
            EventName.MEASUREMENT,
            name=f"goodput {mode} {measurement.path} {measurement.direction}",
            value=goodput,
            unit="Mbit/s",
            flows=[result.mbit_s for result in results],
        )

    def _report(self) -> int:
        """Write summary and plot from the folder alone, and print the table."""
        summary = summarise(read_table(self.folder.path, GOODPUT))
        conclude(self.folder, self.console, summary, _table(summary))
        return 0


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[SummaryRow]:
    """Return the summary of the rows of `goodput.csv`."""
    names = ("path", "direction", "mode", "home_agents", "detection")
    found: list[SummaryRow] = []
    for cell, mine in group((tuple(row[n] for n in names), row) for row in rows).items():
        conditions = dict(zip(names, cell, strict=True))
        wanted = conditions["path"] == "tunnel" and conditions["mode"] != "draft-no-origin"
        target = targets.TUNNEL_GOODPUT_MBIT_S if wanted else None
        goodput = [row["goodput_mbit_s"] for row in mine]
        found.append(summary_row(NAME, "goodput", conditions, goodput, target))
        drops = [float(row["replay_drops"]) for row in mine if row["replay_drops"] is not None]
        if drops:
            found.append(summary_row(NAME, "replay_drops", conditions, drops))
    return found


def _table(summary: Sequence[SummaryRow]) -> TerminalTable:
    table = titled_table("Goodput, Mbit/s")
    for name in ("path", "mode", "way"):
        table.add_column(name, no_wrap=True)
    for name in ("HAs", "n", "median", "min", "max", "target", "replays"):
        table.add_column(name, justify="right", no_wrap=True)
    drops = {
        tuple(row["conditions"].values()): row["median"]
        for row in summary
        if row["metric"] == "replay_drops"
    }
    for row in (row for row in summary if row["metric"] == "goodput"):
        conditions = row["conditions"]
        dropped = drops.get(tuple(conditions.values()))
        table.add_row(
            *(str(conditions[name]) for name in ("path", "mode", "direction", "home_agents")),
            str(row["n"]),
            *(f"{row[name]:.0f}" for name in ("median", "min", "max")),
            "" if row["target"] is None else f"{row['target']:.0f}",
            "" if dropped is None else f"{dropped:.0f}",
        )
    return table


def _replays(network: Network) -> int:
    """Return how many packets the mobile node has refused as replays."""
    counters: Mapping[str, int] = network.agents["mn"].ask("counters")
    return sum(counters.get(f"dropped.{reason}", 0) for reason in REPLAY_REASONS)


def main() -> int:
    """Run the experiment from the command line."""
    return run_main(
        lambda: owner.run(
            NAME, KNOWN, lambda *arguments: Throughput(*arguments).run(), sys.argv[1:]
        )
    )


if __name__ == "__main__":
    sys.exit(main())
