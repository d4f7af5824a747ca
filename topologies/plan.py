"""What a topology consists of: nodes, links, addresses, costs. Data only, no Mininet.

A plan is the one description that the Mininet topology, the FRR configuration, the static routes
of plain Mininet, the readiness check and the picture are all derived from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network


class Role(StrEnum):
    """What a node is."""

    HOME_AGENT = "home agent"
    ROUTER = "router"
    BORDER = "border router"
    TRANSIT = "transit"
    ACCESS = "access router"
    MOBILE = "mobile node"
    CORRESPONDENT = "correspondent node"

    @property
    def is_host(self) -> bool:
        """True for nodes that forward nothing and run no routing."""
        return self in (Role.MOBILE, Role.CORRESPONDENT)


class Protocol(StrEnum):
    """What is spoken on a link."""

    OSPF = "OSPFv3"
    BGP = "BGP"
    STUB = "stub"  # a fixed host behind a router
    ACCESS = "access"  # a visited network: router advertisements, SLAAC


class MultipathHash(StrEnum):
    """What a router's kernel hashes to choose among equal paths (fib_multipath_hash_policy)."""

    L3 = "l3"  # addresses, flow label, next header
    L4 = "l4"  # addresses, protocol, ports; of ESP the SPI
    INNER = "inner"  # L3 of what is inside a tunnel that it can look into, else L3

    @property
    def policy(self) -> int:
        """The number by which the kernel knows it."""
        return list(MultipathHash).index(self)


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node. ``number`` makes the router id; ``index`` counts within the role, from 1."""

    name: str
    role: Role
    asn: int
    number: int
    index: int


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """One point-to-point link; interfaces are named ``<node>-<neighbour>``.

    ``cost`` is the OSPFv3 cost, ``rate_mbit`` caps both directions (None: as fast as it goes).
    The first address is None on the mobile node's end of an access link: SLAAC gives it one.
    """

    a: str
    b: str
    protocol: Protocol
    prefix: IPv6Network
    a_host: int
    b_host: int
    cost: int = 10
    rate_mbit: float | None = None
    up: bool = True

    @property
    def name(self) -> str:
        """The link's name: its first end's interface."""
        return f"{self.a}-{self.b}"

    def ends(self) -> tuple[tuple[str, str, IPv6Address], tuple[str, str, IPv6Address]]:
        """Return (node, interface, address) of both ends."""
        return (
            (self.a, f"{self.a}-{self.b}", self.prefix[self.a_host]),
            (self.b, f"{self.b}-{self.a}", self.prefix[self.b_host]),
        )


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link as its node sees it."""

    interface: str
    address: IPv6Address
    link: LinkPlan
    neighbour: str
    neighbour_address: IPv6Address


@dataclass(frozen=True)
class Plan:
    """A whole network. ``ecmp``: it has equal paths to two home agents, and routers hash so."""

    name: str
    nodes: dict[str, NodePlan]
    links: tuple[LinkPlan, ...]
    originate: Mapping[int, tuple[IPv6Network, ...]] = field(default_factory=dict)
    ecmp: MultipathHash | None = None

    def of_role(self, role: Role) -> list[NodePlan]:
        """Return the nodes of one role, in order."""
        return [node for node in self.nodes.values() if node.role is role]

    def ends_of(self, name: str) -> Iterator[End]:
        """Yield the link ends of a node."""
        for link in self.links:
            first, second = link.ends()
            for mine, other in ((first, second), (second, first)):
                if mine[0] == name:
                    yield End(mine[1], mine[2], link, other[0], other[2])

    def link_between(self, a: str, b: str) -> LinkPlan:
        """Return the link of two neighbours; KeyError names both when there is none."""
        for link in self.links:
            if {link.a, link.b} == {a, b}:
                return link
        raise KeyError(f"no link between {a} and {b}")

    def address_of(self, name: str) -> IPv6Address:
        """Return a node's own address: that of its first link."""
        return next(self.ends_of(name)).address

    def speaks(self, name: str, protocol: Protocol) -> bool:
        """Return whether a node has a link on which this is spoken."""
        return any(end.link.protocol is protocol for end in self.ends_of(name))
