"""Which home agent serves whom, and what happens to a mobile node that moves across the map?

Every correspondent node's packets enter by the home agent that routing prefers for it; those of the
mobile node leave by the one nearest to its visited network. For each of them the kernels' routes
are followed hop by hop, FRR tells the AS path, packets are traced, and the plan predicts it all.
Then the mobile node goes once around all visited networks: at each place the tunnel counters tell
whose packets go by which home agent, and the binding cache who is primary; 1,000 numbered packets a
second in every direction tell what the move cost. Where kernels, FRR, packets and plan disagree the
run has failed.

    make catchment [TOPO=multi_as] [TRIALS=3] [QUICK=1] [SET='ases=3 transit=ring']
"""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console

from agents.config import HomeAgentTimers
from experiments import owner
from experiments.calm import Calm
from experiments.catchment_look import MOBILE, Leg, Lookout, bindings
from experiments.catchment_summary import NAME, summarise
from experiments.catchment_tables import catchment_table, tour_table
from experiments.catchment_tour import ERRORS, Tour
from experiments.data import EventName, read_table
from experiments.data_catchment import CATCHMENTS, MAP_LINKS, MAP_NODES, PLACES
from experiments.parameters import Known, Parameters, one_of
from experiments.progress import progress_bar
from experiments.run import RunError, RunFolder
from experiments.run import main as run_main
from experiments.sizes import SIZES, topology
from experiments.terminal import conclude
from experiments.testbed import bring_up, watch_agents, watch_delay_line
from experiments.watch import Watcher
from topologies.agents import AgentOptions
from topologies.bgp_model import as_text
from topologies.catchment import predicted, routed, sources, traced
from topologies.fib_walk import WalkError
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.graph import positions
from topologies.network import Network
from topologies.path_model import NoWay, PathModel
from topologies.plan import HomeNetwork, Plan, Role
from topologies.trace import TraceError

DETECTION = "ospf-1-4"
"""No fault is measured here, so nobody needs to be noticed soon, and none given up in vain."""

LIFETIME_S = 7200.0
"""Of bindings: longer than a run, so that no refresh moves a role by itself."""

TRACES = 10
"""Round trips timed for each way."""

ATTEMPTS = 3
"""So many times TRIALS is tried for moves in which the senders were not held up."""

SECOND_HOME_S = 2.0
"""Time for the mobile node to register in further home networks, if it does."""

KNOWN = Known(
    topologies=("multi_as", "single_as", "multi_hoa"),
    trials=3,
    quick_trials=1,
    settings={"detection": one_of(DETECTIONS)},
    sizes=SIZES,
)


class Catchment:
    """One run of the experiment, inside the sandbox."""

    def __init__(self, folder: RunFolder, parameters: Parameters, console: Console) -> None:
        self.folder, self.parameters, self.console = folder, parameters, console
        self.detection = parameters.settings.get("detection", DETECTION)
        self.agents = AgentOptions(
            lifetime=LIFETIME_S, home_agent_timers=HomeAgentTimers(max_lifetime=LIFETIME_S)
        )

    def run(self) -> int:
        """Look at all catchments, make all tours, write everything; return the exit code."""
        self.folder.event(EventName.RUN_BEGIN, experiment=NAME, seed=self.parameters.seed)
        topo = topology(self.parameters.topology, self.parameters.settings)
        routing = RoutingOptions(detection=DETECTIONS[self.detection])
        network = Network(topo, self.folder.path / "logs", routing, self.agents)
        watcher = Watcher()
        try:
            with self.console.status(f"bringing up {network.plan.title}"):
                bring_up(network, self.folder, self.detection)
            watch_agents(watcher, network)
            watch_delay_line(watcher, network)
            self._map(network.plan)
            calm = Calm(network, watcher)
            self._catchments(network, calm)
            self._tours(network, calm, watcher)
        finally:
            network.stop()
            watcher.close()
        return self._report()

    def _map(self, plan: Plan) -> None:
        """Write what the pictures need of the plan."""
        for name, (x, y) in positions(plan).items():
            node = plan.nodes[name]
            self.folder.row(MAP_NODES, node=name, role=str(node.role), asn=node.asn, x=x, y=y)
        for link in plan.links:
            self.folder.row(
                MAP_LINKS, a=link.a, b=link.b, protocol=str(link.protocol), delay_ms=link.delay_ms
            )

    def _catchments(self, network: Network, calm: Calm) -> None:
        """Ask plan, kernels, FRR and packets about every home network and source, in a calm."""
        for _ in range(ATTEMPTS):
            calm.settle()
            begin = time.monotonic_ns()
            try:
                rows = catchment_rows(network)
            except (NoWay, WalkError, TraceError) as error:
                if not calm.disturbance(begin):
                    raise RunError(str(error)) from error
                continue
            if not calm.disturbance(begin):
                break
        else:
            raise RunError(f"routing did not stand still: {calm.disturbance(begin)}")
        for row in rows:
            self.folder.row(CATCHMENTS, **row)

    def _tours(self, network: Network, calm: Calm, watcher: Watcher) -> None:
        """Tour until every move of every stream counts TRIALS times, within a limit."""
        lookout, plan = Lookout(network, registered_homes(network)), network.plan
        wanted = self.parameters.trials
        moves = len(plan.of_role(Role.ACCESS)) * len(lookout.probed)
        counted: dict[tuple[int, Leg], int] = {}
        voids: list[str] = []
        with progress_bar(self.console) as progress:
            bar = progress.add_task("moves", total=wanted * moves)
            for number in range(1, wanted * ATTEMPTS + 1):
                if sum(count >= wanted for count in counted.values()) == moves:
                    break
                progress.update(bar, description=f"tour {number}")
                calm.settle()
                tour = Tour(number, lookout, calm, watcher, self.folder)
                self._tour(tour)
                voids += [tour.void] if tour.void else []
                for key in tour.valid:
                    counted[key] = counted.get(key, 0) + 1
                done = sum(min(count, wanted) for count in counted.values())
                progress.update(bar, completed=done)
        if len(voids) == number:
            raise RunError(f"routing did not stand still in any tour; {voids[-1]}")
        if voids:
            self.console.print(f"tours void: {len(voids)} (routes changed without a fault)")

    def _tour(self, tour: Tour) -> None:
        try:
            tour.run()
        except ERRORS as error:
            tour.network.check_alive()
            raise RunError(f"tour {tour.number}: {error}") from error

    def _report(self) -> int:
        """Write summary and plots from the folder alone, print the tables; 1 if any disagree."""
        catchments = read_table(self.folder.path, CATCHMENTS)
        places = read_table(self.folder.path, PLACES)
        summary = summarise(catchments, places)
        conclude(
            self.folder, self.console, summary, catchment_table(catchments), tour_table(places)
        )
        wrong = [row for row in summary if row["metric"] == "disagreements" and not row["met"]]
        for row in wrong:
            self.console.print(
                f"FAILED: kernels, FRR, packets and plan disagree on {row['max']:.0f} rows "
                f"({row['conditions']['part']})",
                style="bold",
            )
        return int(bool(wrong))


def catchment_rows(network: Network) -> list[dict[str, Any]]:
    """Return the rows of CATCHMENTS; raises NoWay, WalkError or TraceError."""
    model = PathModel(network.plan)
    return [
        catchment_row(network, model, source, home)
        for home in network.plan.homes
        for source in sources(network.plan)
    ]


def catchment_row(
    network: Network, model: PathModel, source: str, home: HomeNetwork
) -> dict[str, Any]:
    """Return the row of one source and home network."""
    way, planned = routed(network, source, home), predicted(model, source, home)
    trace = traced(network, source, home, TRACES)
    role = network.plan.nodes[source].role
    return {
        "home_network": home.number,
        "source": source,
        "kind": "correspondent" if role is Role.CORRESPONDENT else "visited",
        "home_agent": way.home_agent,
        "path": " ".join(way.nodes),
        "as_path": as_text(way.as_path),
        "traced_path": " ".join(trace.nodes),
        "model_path": " ".join(planned.nodes),
        "model_as_path": as_text(planned.as_path),
        "rtt_ms": trace.median_ms,
        "model_rtt_ms": model.round_trip_ms(source, planned.home_agent, home.home_agent_address),
        "agree": way == planned and trace.nodes == way.nodes,
    }


def registered_homes(network: Network) -> list[HomeNetwork]:
    """Return the home networks in which the mobile node is registered; the first waits for it."""
    found = []
    for home in network.plan.homes:
        address, until = str(home.home_address(1)), time.monotonic() + SECOND_HOME_S
        while not all(bindings(network, home, address)) and time.monotonic() < until:
            time.sleep(0.02)
        if all(bindings(network, home, address)):
            found.append(home)
    if not found:
        raise RunError(f"{MOBILE} is registered nowhere")
    return found


def main() -> int:
    """Run the experiment from the command line."""
    return run_main(
        lambda: owner.run(NAME, KNOWN, lambda *arguments: Catchment(*arguments).run(), sys.argv[1:])
    )


if __name__ == "__main__":
    sys.exit(main())
