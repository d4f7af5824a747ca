"""A topology brought up for an experiment, and watched: routes, links, BFD, agents."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from functools import partial

from rich.console import Console

from experiments.data import EventName
from experiments.run import RunFolder
from experiments.scenarios import Scenario
from experiments.watch import Watcher
from topologies.agents import AgentOptions
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.network import Network
from topologies.plan import Protocol, Role
from topologies.plan_topo import PlanTopo


class Testbed:
    """A running network with its watcher. `ready_s` is the time from its start to the MN bound."""

    __test__ = False  # not a test, whatever pytest thinks of its name

    def __init__(
        self,
        folder: RunFolder,
        console: Console,
        topology: PlanTopo,
        detection: str,
        agents: AgentOptions,
        scenario: Scenario,
    ) -> None:
        """Bring everything up; raises what the topology raises, and leaves nothing then."""
        routing = RoutingOptions(detection=DETECTIONS[detection])
        self.network = Network(topology, folder.path / "logs", routing, agents)
        self.watcher = Watcher()
        try:
            with console.status(f"bringing up {scenario.title}"):
                self.ready_s = bring_up(self.network, folder, detection)
            self.network.faults.prepare(*sorted(scenario.made_at()))
            self._watch(scenario)
        except BaseException:
            self.close()
            raise

    def _watch(self, scenario: Scenario) -> None:
        network, watcher = self.network, self.watcher
        prefixes = scenario.watched()
        for home_agent in network.plan.of_role(Role.HOME_AGENT):
            home = network.plan.home_of(home_agent.name).prefix
            prefixes.setdefault(home_agent.name, set()).add(home)
        for node in network.plan.nodes.values():
            if node.role.is_host:
                continue
            pid = network.nodes[node.name].pid
            watcher.watch_bfd(node.name, pid)
            if node.name in prefixes:
                watcher.watch_routes(node.name, pid, *prefixes[node.name])
        watch_neighbours(watcher, network, sorted(scenario.witnesses()))
        watch_agents(watcher, network)
        watch_delay_line(watcher, network)

    def close(self) -> None:
        """End the network and the watcher."""
        self.network.stop()
        self.watcher.close()


def bring_up(network: Network, folder: RunFolder, setting: str) -> float:
    """Start a network and its agents; the run folder is told. Return how long it took, in s."""
    folder.note(delay=str(network.delay))
    folder.event(EventName.NETWORK_STARTED, setting=setting)
    begin = time.monotonic()
    network.start()
    network.start_agents()
    timings = network.timings
    ready_s = timings.get("mobile nodes bound", time.monotonic() - begin)
    folder.event(EventName.NETWORK_READY, setting=setting, seconds=ready_s, steps=timings)
    return ready_s


def watch_neighbours(watcher: Watcher, network: Network, names: Iterable[str]) -> None:
    """Observe what the routing daemons of these nodes tell of neighbours that they give up."""
    for name in names:
        for daemon, protocol in (("ospf6d", Protocol.OSPF), ("bgpd", Protocol.BGP)):
            if network.plan.speaks(name, protocol):
                log = network.logs / name / f"{daemon}.log"
                watcher.watch_file(log, partial(_neighbour_down, watcher, name))


def watch_agents(watcher: Watcher, network: Network) -> None:
    """Observe what all agents of a network tell."""
    for agent in (*network.agents.home_agents.values(), *network.agents.mobile_nodes.values()):
        watcher.watch_agent(agent.name, agent.events)


def watch_delay_line(watcher: Watcher, network: Network) -> None:
    """Let all who wait hear at once (DelayLineError) when the delay line and its links go."""
    line = network.topo.delay_line
    if line.pid is None:
        return
    descriptor = os.pidfd_open(line.pid)

    def ended(_: int) -> None:
        watcher.remove(descriptor)
        line.check_alive()

    watcher.add(descriptor, ended)


def _neighbour_down(watcher: Watcher, node: str, line: str, now: int) -> None:
    """Observe an adjacency that ospf6d gives up, or a session that bgpd gives up."""
    for change in ("AdjChg: ", "ADJCHANGE: "):
        if change in line and ("-> Down" in line or " Down " in line):
            watcher.observe(EventName.NEIGHBOUR, now, node=node, text=line.partition(change)[2])
