"""What a topology consists of: nodes, links, addresses, costs. Data only, no Mininet.

A plan is the one description that the Mininet topology, the FRR configuration, the static routes
of plain Mininet, the readiness check and the picture are all derived from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
    HIJACKER = "hijacker"
    MOBILE = "mobile node"
    CORRESPONDENT = "correspondent node"
    STRANGER = "stranger"

    @property
    def is_host(self) -> bool:
        """True for nodes that forward nothing and run no routing."""
        return self in (Role.MOBILE, Role.CORRESPONDENT, Role.STRANGER)


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
    ``delay_ms`` (one way) and ``loss`` (a fraction) hold for each direction. ``backup``: the second
    end announces its prefixes here as a way for bad times (it prepends its AS number).
    """

    a: str
    b: str
    protocol: Protocol
    prefix: IPv6Network
    a_host: int
    b_host: int
    cost: int = 10
    rate_mbit: float | None = None
    delay_ms: float = 0.0
    loss: float = 0.0
    up: bool = True
    backup: bool = False

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
class HomeNetwork:
    """A home network: its prefix, what other ASes see of it, and the ASes that have it (§4)."""

    number: int
    prefix: IPv6Network
    aggregate: IPv6Network
    ases: tuple[int, ...]

    @property
    def home_agent_address(self) -> IPv6Address:
        """The one address that all its home agents answer to (anycast)."""
        return self.prefix[0x254]

    def home_address(self, mobile_node: int = 1) -> IPv6Address:
        """Return the home address (HoA) of the n-th mobile node, counted from 1."""
        return self.prefix[0x100 + mobile_node - 1]


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link as its node sees it."""

    interface: str
    address: IPv6Address
    link: LinkPlan
    neighbour: str
    neighbour_address: IPv6Address

    def other_end(self, name: str) -> End:
        """Return the link's other end, this one being ``name``'s."""
        interface = next(each for node, each, _ in self.link.ends() if node == self.neighbour)
        return End(interface, self.neighbour_address, self.link, name, self.address)


@dataclass
class Plan:
    """A whole network.

    ``originate`` are the prefixes that each AS announces at all times; those of its home network
    come and go with its home agents. ``places`` (column, row) says where a picture has a node.
    ``ecmp``: there are equal paths to two home agents, among which routers choose by this hash.

    The plan of a running network changes when home agents join and leave it, and whoever holds it
    sees that: nobody keeps a copy.
    """

    name: str
    title: str
    nodes: dict[str, NodePlan]
    links: tuple[LinkPlan, ...]
    homes: tuple[HomeNetwork, ...]
    originate: Mapping[int, tuple[IPv6Network, ...]] = field(default_factory=dict)
    places: dict[str, tuple[float, float]] = field(default_factory=dict)
    ecmp: MultipathHash | None = None

    def add(self, node: NodePlan, links: Iterable[LinkPlan]) -> None:
        """Add a node, which must not be there, and its links."""
        if node.name in self.nodes:
            raise ValueError(f"{node.name} is there already")
        self.nodes[node.name] = node
        self.links = (*self.links, *links)

    def remove(self, name: str) -> None:
        """Take a node out with its links."""
        del self.nodes[name]
        self.places.pop(name, None)
        self.links = tuple(link for link in self.links if name not in (link.a, link.b))

    def home_of(self, name: str) -> HomeNetwork:
        """Return the home network that a node's AS has; KeyError names the node if it has none."""
        for home in self.homes:
            if self.nodes[name].asn in home.ases:
                return home
        raise KeyError(f"{name} is in AS {self.nodes[name].asn}, which has no home network")

    def has_home(self, name: str) -> bool:
        """Return whether a node is in an AS that has a home network."""
        return any(self.nodes[name].asn in home.ases for home in self.homes)

    def home_agents(self, home: HomeNetwork) -> list[NodePlan]:
        """Return the home agents of a home network, in order."""
        return [node for node in self.of_role(Role.HOME_AGENT) if node.asn in home.ases]

    def interior_peers(self, name: str) -> list[End]:
        """Return a border router's ends to the other border routers of its AS (iBGP)."""
        if self.nodes[name].role is not Role.BORDER:
            return []
        return [
            end
            for end in self.ends_of(name)
            if end.link.protocol is Protocol.OSPF and self.nodes[end.neighbour].role is Role.BORDER
        ]

    def is_transit(self, name: str) -> bool:
        """Return whether a node's AS carries other ASes' packets; all others are stubs."""
        return self.nodes[name].role is Role.TRANSIT

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
