"""Home agents that come to a running network, leave it, or are put out of it.

The order is what no flow loses a packet by. One that comes has its adjacency first, then its agent,
which advertises the home network last, once it is in step with the others. One that leaves goes the
same way back.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from agents.config import CredentialFiles
from topologies.isolation import put_out
from topologies.newcomers import MembershipError, newcomer, picture_place
from topologies.plan import HomeNetwork, LinkPlan, NodePlan, Plan, Role
from topologies.plan_topo import NODE_CLASSES

if TYPE_CHECKING:
    from topologies.network import Network


class Membership:
    """Who is a home agent of a running network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._known = dict(self._plan.nodes)
        self._links_made = len(self._plan.links)
        self.isolated: dict[str, int] = {}
        """Who was put out, and when that began (CLOCK_MONOTONIC, ns)."""

    @property
    def _plan(self) -> Plan:
        return self._network.plan

    def add(
        self, name: str, at: str | None = None, credentials: CredentialFiles | None = None
    ) -> None:
        """Add a home agent, at a router or where it draws no packets (`newcomers.newcomer`).

        Returns when its neighbours would notice if it failed, the other home agents take it for one
        of them, and it advertises the home network. With ``credentials`` of the caller's, instead
        of those that the operator's authority issues, it may never come to that, and is not waited
        for. Raises MembershipError where the plan has no place for it; RoutingError or AgentError
        where it does not come up, and then it is gone.
        """
        node, link = newcomer(self._plan, name, at, self._known.values())
        self._known[name] = node
        self._lay(node, link)
        try:
            self._network.routing.join(self._network.nodes[name])
            self._network.agents.join(self._network.nodes[name], credentials)
        except Exception:
            self._take_down(name, self._plan.home_of(name))
            raise

    def _lay(self, node: NodePlan, link: LinkPlan) -> None:
        """Make the node and its link."""
        network = self._network
        place = picture_place(self._plan, link.b)
        self._plan.add(node, [link])
        if place is not None:
            self._plan.places[node.name] = place
        made = network.mininet.addHost(
            node.name, cls=NODE_CLASSES[node.role], plan=self._plan, static_routes=[]
        )
        network.nodes[node.name] = made
        parameters = network.topo.link_parameters(link, self._links_made)
        self._links_made += 1
        network.mininet.addLink(link.a, link.b, **parameters)
        made.config()
        network.nodes[link.b].attach(link)

    def remove(self, name: str) -> None:
        """Let a home agent leave in good order, then take down its agent, routing, link and node.

        One that is isolated, or whose agent does not run, is taken down as it is. Raises
        MembershipError for one that cannot go, AgentError for one that does not leave.
        """
        self._check(name)
        home = self._plan.home_of(name)
        if self._honest(home) == [name]:
            raise MembershipError(f"{name} is the last home agent of {home.prefix}")
        if name not in self.isolated:
            self._network.agents.leave(name)
        self._take_down(name, home)

    def _take_down(self, name: str, home: HomeNetwork) -> None:
        network = self._network
        if name in network.agents.home_agents:
            network.agents[name].stop()
        if name in network.routing.on:
            network.routing.part(name)
        network.faults.forget(name)
        node = network.nodes.pop(name)
        for link in [each for each in network.mininet.links if node in _nodes(each)]:
            network.mininet.delLink(link)
        network.mininet.delHost(node)
        self._plan.remove(name)
        network.agents.forget(name, home)
        self.isolated.pop(name, None)

    def isolate(self, name: str, fencing: bool = True) -> int:
        """Put a home agent out: shut its links, then have every other home agent isolate it.

        Without ``fencing`` its links stay, and it draws packets as long as it advertises. Returns
        when this began (CLOCK_MONOTONIC, ns). Raises MembershipError.
        """
        self._check(name)
        others = [each for each in self._honest(self._plan.home_of(name)) if each != name]
        if name in self.isolated or not others:
            why = "is isolated already" if name in self.isolated else "is the last home agent"
            raise MembershipError(f"{name} {why}")
        begun = time.monotonic_ns()
        if fencing:
            self._network.faults.fence(name)
        put_out(self._network.agents, name, others)
        self.isolated[name] = begun
        return begun

    def _check(self, name: str) -> None:
        agents = [node.name for node in self._plan.of_role(Role.HOME_AGENT)]
        if name not in agents:
            raise MembershipError(f"{name} is no home agent; there are {', '.join(agents)}")

    def _honest(self, home: HomeNetwork) -> list[str]:
        """Return the home agents of a home network that nobody has put out."""
        return [n.name for n in self._plan.home_agents(home) if n.name not in self.isolated]


def _nodes(link: Any) -> tuple[Any, Any]:
    """Return the nodes at the ends of a Mininet link."""
    return link.intf1.node, link.intf2.node
