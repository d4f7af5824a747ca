"""How AS 1 fails: all its home agents at once, or all its links to other ASes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from topologies.network import Network
from topologies.plan import LinkPlan, Protocol, Role

FAILING = 1
"""The number of the AS that fails."""

_TX_DROPPED = 11
"""Its place in a line of /proc/net/dev (proc_pid_net(5))."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: `inject` returns when it began (CLOCK_MONOTONIC, ns), `repair` mends it.

    `cuts`: BFD sessions of the links to other ASes end with them, which voids no trial.
    """

    inject: Callable[[Network], int]
    repair: Callable[[Network], None]
    cuts: bool = False


def home_agents(network: Network) -> list[str]:
    """Return the home agents of the AS that fails."""
    agents = network.plan.of_role(Role.HOME_AGENT)
    return [node.name for node in agents if node.asn == FAILING]


def outer_links(network: Network) -> list[LinkPlan]:
    """Return the links of the AS that fails to other ASes."""
    nodes = network.plan.nodes
    return [
        link
        for link in network.plan.links
        if link.protocol is Protocol.BGP and FAILING in (nodes[link.a].asn, nodes[link.b].asn)
    ]


def outer_interfaces(network: Network) -> set[str]:
    """Return both ends of the links to other ASes; interfaces have names of their own."""
    return {interface for link in outer_links(network) for _, interface, _ in link.ends()}


def dropped(network: Network) -> dict[str, int]:
    """Return how many packets each interface of a router had no room for, so far.

    Of a delayed link these are packets that waited for a delay line that was late.
    """
    found = {}
    for node in network.plan.nodes.values():
        if node.role.is_host:
            continue
        for line in Path(f"/proc/{network.nodes[node.name].pid}/net/dev").read_text().splitlines():
            interface, colon, numbers = line.partition(":")
            if colon and "-" in interface:  # a link's end is named by both its nodes
                found[interface.strip()] = int(numbers.split()[_TX_DROPPED])
    return found


def _kill(network: Network) -> int:
    """Kill all before waiting for one: none of them shall take over from another."""
    processes = [network.agents[name].process for name in home_agents(network)]
    running = [each for each in processes if each is not None]
    begun = time.monotonic_ns()
    for process in running:
        process.kill()
    for process in running:
        process.wait()
    return begun


def _start(network: Network) -> None:
    for name in home_agents(network):
        network.agents[name].start()


def _cut(network: Network) -> int:
    begun = time.monotonic_ns()
    for link in outer_links(network):
        network.faults.cut(link.a, link.b)
    return begun


def _mend(network: Network) -> None:
    for link in outer_links(network):
        network.faults.mend(link.a, link.b)


FAULTS: Mapping[str, Fault] = {
    "as-loss": Fault(_kill, _start),
    "as-cut": Fault(_cut, _mend, cuts=True),
}
