"""Figure 1 brought up for an experiment, and watched: routes, links, BFD, agents."""

from __future__ import annotations

import os
import time
from functools import partial

from rich.console import Console

from experiments.data import EventName
from experiments.faults import Target
from experiments.run import RunFolder
from experiments.watch import Watcher
from topologies import addressing
from topologies.agents import AgentOptions
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.network import Network
from topologies.plan import Role
from topologies.single_as import SingleAs


class Testbed:
    """A running network with its watcher. `ready_s` is the time from its start to the MN bound."""

    __test__ = False  # not a test, whatever pytest thinks of its name

    def __init__(
        self,
        folder: RunFolder,
        console: Console,
        home_agents: int,
        detection: str,
        agents: AgentOptions,
        target: Target,
        border: str,
    ) -> None:
        """Bring everything up; raises what the topology raises, and leaves nothing then."""
        routing = RoutingOptions(detection=DETECTIONS[detection])
        topology = SingleAs(static=False, has=home_agents)
        self.network = Network(topology, folder.path / "logs", routing, agents)
        self.watcher = Watcher()
        folder.note(delay=str(self.network.delay))
        folder.event(EventName.NETWORK_STARTED, setting=detection)
        begin = time.monotonic()
        try:
            with console.status("bringing up Figure 1"):
                self.network.start()
                self.network.start_agents()
            timings = self.network.timings
            self.ready_s = timings.get("mobile nodes bound", time.monotonic() - begin)
            folder.event(
                EventName.NETWORK_READY, setting=detection, seconds=self.ready_s, steps=timings
            )
            self.network.faults.prepare(target.home_agent, target.router)
            self._watch(target, border)
        except BaseException:
            self.close()
            raise

    def _watch(self, target: Target, border: str) -> None:
        network, watcher = self.network, self.watcher
        for node in network.plan.nodes.values():
            if node.role.is_host:
                continue
            pid = network.nodes[node.name].pid
            watcher.watch_bfd(node.name, pid)
            if node.role is Role.HOME_AGENT or node.name in (target.router, border):
                watcher.watch_routes(node.name, pid, addressing.HOME_PREFIX)
        log = network.logs / target.router / "ospf6d.log"
        watcher.watch_file(log, partial(_neighbour_down, watcher, target.router))
        for agent in (*network.agents.home_agents.values(), *network.agents.mobile_nodes.values()):
            watcher.watch_agent(agent.name, agent.events)
        watch_delay_line(watcher, network)

    def close(self) -> None:
        """End the network and the watcher."""
        self.network.stop()
        self.watcher.close()


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
    """Observe an adjacency that ospf6d gives up."""
    if "AdjChg" in line and "-> Down" in line:
        watcher.observe(EventName.NEIGHBOUR, now, node=node, text=line.partition("AdjChg: ")[2])
