"""Faults of links and nodes on a running network, and their repair.

Each returns the moment at which it took effect (CLOCK_MONOTONIC, nanoseconds): taken right after
the kernel said that it was done, except for a cut. Faults of agents (killed, hung,
restarted) are with the agents.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address

from topologies.netlink import Netlink
from topologies.nftables import Nftables, NftablesError
from topologies.nodes import SixNode
from topologies.plan import LinkPlan, Plan, Protocol, Role
from topologies.source_validation import (
    Feasible,
    SourceCheck,
    checked_interfaces,
    removal,
    rules,
)

SILENCE = """\
table inet silence {
    chain arriving { type filter hook prerouting priority -400; policy drop; }
    chain leaving { type filter hook output priority -400; policy drop; }
}
"""
"""Drops whatever comes in or is sent, forwarded packets included; nobody is told, links stay up."""

PARTITION = """\
table inet partition {{
    chain arriving {{ type filter hook prerouting priority -400; ip6 saddr {{ {peers} }} drop; }}
    chain leaving {{ type filter hook output priority -400; ip6 daddr {{ {peers} }} drop; }}
}}
"""
"""Drops what home agents tell one another: by their own addresses, from and to which nothing else
goes that these nodes forward."""


LinkEnd = tuple[str, str, IPv6Address]
"""Node, interface, address, as `LinkPlan.ends` has them."""


class FaultError(Exception):
    """A fault that cannot be made; the message is one line for a person."""


class Faults:
    """Makes faults and remembers them, so that :meth:`heal` repairs all."""

    def __init__(self, plan: Plan, nodes: Mapping[str, SixNode]) -> None:
        self._plan, self._nodes = plan, nodes
        self._requests: dict[str, tuple[Netlink, dict[str, int]]] = {}
        self._cut: dict[str, LinkPlan] = {}
        self._fenced: set[str] = set()
        self._silent: set[str] = set()
        self._parted: list[str] = []
        self._checking: dict[str, SourceCheck] = {}
        self._nftables: dict[str, Nftables] = {}

    def close(self) -> None:
        """Close the sockets."""
        for request, _ in self._requests.values():
            request.close()
        self._requests.clear()
        for nftables in self._nftables.values():
            nftables.close()
        self._nftables.clear()

    @property
    def active(self) -> list[str]:
        """What is broken now, in words."""
        return (
            [f"link {name} cut" for name in self._cut]
            + [f"{name} silent" for name in sorted(self._silent)]
            + [f"{name} parted from other home agents" for name in self._parted]
            + [f"{name} checks sources ({check})" for name, check in self._checking.items()]
        )

    @property
    def fenced(self) -> list[str]:
        """The nodes that are fenced: against them, so it is no fault."""
        return sorted(self._fenced)

    def prepare(self, *names: str) -> None:
        """Open what faults at these nodes need, so that the fault itself takes microseconds."""
        for name in names:
            self._request(name)
            self._nft(name)

    def cut(self, a: str, b: str) -> int:
        """Cut the link of two neighbours: carrier goes at both ends, addresses stay."""
        link = self._link(a, b)
        moment = self._set(link, up=False)
        self._cut[link.name] = link
        return moment

    def cut_all(self, links: Sequence[tuple[str, str]]) -> int:
        """Cut several links, one right after the other; return when the last cut began.

        Each link is first set down at one end alone, which cuts it: no second link waits for the
        kernel's answers at the other end of the first.
        """
        found = [self._link(a, b) for a, b in links]
        moment = 0
        for link in found:
            moment = time.monotonic_ns()
            self._set_end(link.ends()[0], up=False)
        for link in found:
            self._set_end(link.ends()[1], up=False)
            self._cut[link.name] = link
        return moment

    def mend(self, a: str, b: str) -> int:
        """Mend the link of two neighbours."""
        link = self._link(a, b)
        self._set(link, up=True)
        self._cut.pop(link.name, None)
        for name in (link.a, link.b):
            if self._plan.nodes[name].role is Role.CORRESPONDENT:
                self._nodes[name].config()  # a host's default route goes with its link
        return time.monotonic_ns()

    def fence(self, name: str) -> int:
        """Shut a home agent's links at their routers, where it cannot undo it; return when begun.

        :meth:`heal` leaves it so: what somebody has put out does not come back as faults end.
        """
        if self._plan.nodes[self._node(name).name].role is not Role.HOME_AGENT:
            raise FaultError(f"{name} is no home agent")
        self._fenced.add(name)
        moment = time.monotonic_ns()
        for end in self._router_ends(name):
            self._set_end(end, up=False)
        return moment

    def unfence(self, name: str) -> int:
        """Open a fenced home agent's links again."""
        if name not in self._fenced:
            raise FaultError(f"{name} is not fenced")
        self._fenced.remove(name)
        whole = [end.link for end in self._plan.ends_of(name) if end.link.name not in self._cut]
        for link in whole:
            self._set(link, up=True)
        return time.monotonic_ns()

    def forget(self, name: str) -> None:
        """Forget a node that is about to leave, and what was known of its neighbours' links."""
        for each in (name, *(end.neighbour for end in self._plan.ends_of(name))):
            if each in self._requests:
                self._requests.pop(each)[0].close()
        if name in self._nftables:
            self._nftables.pop(name).close()
        self._fenced.discard(name)
        self._silent.discard(name)
        self._parted = [each for each in self._parted if each != name]
        self._checking.pop(name, None)
        for end in self._plan.ends_of(name):
            self._cut.pop(end.link.name, None)

    def silence(self, name: str) -> int:
        """Make a node drop everything in and out, and say nothing; its links keep carrier."""
        self._node(name)
        if name in self._silent:
            raise FaultError(f"{name} is silent already")
        self._run_nft(name, SILENCE)
        moment = time.monotonic_ns()
        self._silent.add(name)
        return moment

    def unsilence(self, name: str) -> int:
        """Let a silent node speak again."""
        self._run_nft(name, "delete table inet silence")
        self._silent.discard(name)
        return time.monotonic_ns()

    def partition(self, here: Sequence[str], there: Sequence[str]) -> int:
        """Let home agents here and there hear nothing of one another; all else still passes."""
        if self._parted:
            raise FaultError("home agents are parted already")
        for name in (*here, *there):
            if self._plan.nodes[self._node(name).name].role is not Role.HOME_AGENT:
                raise FaultError(f"{name} is no home agent")
        rules = PARTITION.format(peers=", ".join(str(self._plan.address_of(n)) for n in there))
        for name in here:
            self._run_nft(name, rules)
            self._parted.append(name)
        return time.monotonic_ns()

    def rejoin(self) -> int:
        """Let parted home agents hear one another again."""
        while self._parted:
            self._run_nft(self._parted.pop(), "delete table inet partition")
        return time.monotonic_ns()

    def check_sources(self, name: str, check: SourceCheck, feasible: Feasible | None = None) -> int:
        """Have a router drop what its check of sources does not let pass; see source_validation."""
        self._node(name)
        interfaces = checked_interfaces(self._plan, name)
        if not (feasible if check is SourceCheck.FEASIBLE else interfaces):
            raise FaultError(f"{name} knows no sources to check by: {check} is for other routers")
        self._nft(name).run(rules(check, interfaces, feasible))
        self._checking[name] = check
        return time.monotonic_ns()

    def trust_sources(self, name: str) -> int:
        """Let a router forward packets from anywhere again."""
        self._nft(name).run(removal())
        self._checking.pop(name, None)
        return time.monotonic_ns()

    def heal(self) -> list[str]:
        """Repair every fault that stands; return what was repaired."""
        healed = self.active
        for link in list(self._cut.values()):
            self.mend(link.a, link.b)
        for name in sorted(self._silent):
            self.unsilence(name)
        self.rejoin()
        for name in list(self._checking):
            self.trust_sources(name)
        return healed

    def move(self, mobile_node: str, access: str) -> int:
        """Move a mobile node to another visited network: one link down, then the other up.

        Returns when the new link came up.
        """
        links = [
            end.link
            for end in self._plan.ends_of(self._node(mobile_node).name)
            if end.link.protocol is Protocol.ACCESS
        ]
        targets = [link for link in links if access in (link.a, link.b)]
        if not targets:
            known = ", ".join(link.b for link in links)
            raise FaultError(f"{mobile_node} cannot move to {access!r}; it can to {known or '-'}")
        for link in links:
            if link is not targets[0]:
                self._set(link, up=False)
        self._set(targets[0], up=True)
        return time.monotonic_ns()

    def _set(self, link: LinkPlan, *, up: bool) -> int:
        """Set both ends; return when a cut began or a repair was done.

        A link set down passes nothing from microseconds after the request on, but the kernel
        answers only after a grace period, 8 ms later on a busy machine: so a cut is dated by
        its request.
        """
        begun = time.monotonic_ns()
        for end in link.ends():
            self._request(end[0])
        for end in link.ends():
            self._set_end(end, up=up)
        return time.monotonic_ns() if up else begun

    def _set_end(self, end: LinkEnd, *, up: bool) -> None:
        """Set one end; a router's end of a fenced home agent's link stays down."""
        if up and any(end in self._router_ends(name) for name in self._fenced):
            return
        request, indices = self._request(end[0])
        if end[1] not in indices:  # a link that came since
            indices |= _indices(request)
        request.set_link(indices[end[1]], up=up)

    def _router_ends(self, home_agent: str) -> list[LinkEnd]:
        """Return the far ends of a home agent's links."""
        links = [end.link for end in self._plan.ends_of(home_agent)]
        return [end for link in links for end in link.ends() if end[0] != home_agent]

    def _run_nft(self, name: str, commands: str) -> None:
        try:
            self._nft(name).run(commands)
        except NftablesError as error:
            raise FaultError(f"{name}: nftables: {error}") from error

    def _nft(self, name: str) -> Nftables:
        if name not in self._nftables:
            self._nftables[name] = Nftables(self._node(name).pid)
        return self._nftables[name]

    def _request(self, name: str) -> tuple[Netlink, dict[str, int]]:
        if name not in self._requests:
            request = Netlink(self._node(name).pid)
            self._requests[name] = (request, _indices(request))
        return self._requests[name]

    def _node(self, name: str) -> SixNode:
        if name not in self._nodes:
            raise FaultError(f"no node {name!r}; there are {', '.join(self._nodes)}")
        return self._nodes[name]

    def _link(self, a: str, b: str) -> LinkPlan:
        self._node(a), self._node(b)
        try:
            return self._plan.link_between(a, b)
        except KeyError:
            near = ", ".join(end.neighbour for end in self._plan.ends_of(a))
            raise FaultError(f"no link between {a} and {b}; {a} has links to {near}") from None


def _indices(request: Netlink) -> dict[str, int]:
    return {link: state.index for link, state in request.links().items()}
