"""What a failover looks like in each topology: who talks, what fails, which routes move.

A trial knows nothing of a topology but its scenario. Who is affected by a fault, and which routes
must move, follows from the plan's costs and from BGP's choice; each trial begins by waiting until
all routes go as is said here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Network

from experiments.data import EventName
from experiments.faults import (
    Fault,
    Target,
    at_home_agent,
    cut_links,
    estranged,
    partition,
    silent_nodes,
)
from experiments.probes import Flow
from experiments.watch import Observation
from topologies import addressing
from topologies.plan import NodePlan, Plan, Role

AFFECTED, BYSTANDER = "affected", "bystander"


@dataclass(frozen=True, slots=True)
class Way:
    """A router's route for a prefix, as long as it goes by one of these interfaces."""

    router: str
    prefix: IPv6Network
    interfaces: frozenset[str]

    def changed(self, seen: Observation) -> bool:
        """Return whether this is a change of the router's route for the prefix, to anything."""
        return seen.matches(EventName.ROUTE, node=self.router, destination=str(self.prefix))

    def left(self, seen: Observation) -> bool:
        """Return whether the route goes this way no longer."""
        return self.changed(seen) and (
            seen.fields["change"] == "delete" or seen.fields["interface"] not in self.interfaces
        )

    def moved(self, seen: Observation) -> bool:
        """Return whether the route goes another way now."""
        return self.left(seen) and seen.fields["change"] == "add"


@dataclass(frozen=True, slots=True)
class Case:
    """What one fault does in one topology.

    `where` names what fails, `lost` the home agents that it takes out of service.
    `withdrawn` are ways that go, `moves` those by which affected traffic went before the fault and
    goes after its repair, and not between. `estranged`: pairs (home agent, peer) of which the
    first notices that the second is gone. `flows` run, of which those `affected` (by number) go
    through what fails: no more than show it, since they share processors with what they measure.
    """

    fault: Fault
    where: str
    lost: tuple[str, ...]
    withdrawn: tuple[Way, ...]
    moves: tuple[Way, ...]
    estranged: frozenset[tuple[str, str]]
    flows: tuple[Flow, ...]
    affected: frozenset[int]

    def role(self, flow: Flow) -> str:
        """Return whether a flow is affected by the fault, or a bystander."""
        return AFFECTED if flow.number in self.affected else BYSTANDER


@dataclass(frozen=True, slots=True)
class Scenario:
    """A topology's part in the experiment. `addresses` are those that nodes send from."""

    title: str
    border: str
    addresses: Mapping[str, str]
    cases: Mapping[str, Case]

    @property
    def ways(self) -> list[Way]:
        """All ways that must be as said before a fault."""
        return list(dict.fromkeys(way for case in self.cases.values() for way in case.moves))

    def made_at(self) -> set[str]:
        """Return the nodes at which faults are made."""
        return {name for case in self.cases.values() for name in case.fault.made_at}

    def witnesses(self) -> set[str]:
        """Return the nodes whose routing daemons tell of a fault."""
        return {name for case in self.cases.values() for name in case.fault.witnesses}

    def watched(self) -> dict[str, set[IPv6Network]]:
        """Return the prefixes whose routes are watched, by router; none: its links alone."""
        found: dict[str, set[IPv6Network]] = {}
        for case in self.cases.values():
            for way in (*case.withdrawn, *case.moves):
                found.setdefault(way.router, set()).add(way.prefix)
            for name in (name for link in case.fault.cut for name in link):
                found.setdefault(name, set())
        return found


def single_as(plan: Plan) -> Scenario:
    """Figure 1: cn1 and mn talk through HA1, which fails; cn2 sends to mn through HA2."""
    target, border = Target("HA1", "r1"), "br"
    home = addressing.HOME_PREFIX
    others = [node.name for node in plan.of_role(Role.HOME_AGENT) if node.name != "HA1"]
    flows = (Flow(1, "cn1", "mn"), Flow(2, "mn", "cn1"), Flow(3, "cn2", "mn"))
    cases = {
        name: Case(
            fault,
            target.home_agent,
            lost=(target.home_agent,),
            withdrawn=(Way(target.router, home, frozenset((target.interface,))),),
            moves=(Way(border, home, frozenset((f"{border}-{target.router}",))),),
            estranged=frozenset((other, target.home_agent) for other in others),
            flows=flows,
            affected=frozenset((1, 2)),
        )
        for name, fault in at_home_agent(target).items()
    }
    return Scenario("Figure 1", border, _addresses(plan, "cn1", "cn2"), cases)


def multi_as(plan: Plan) -> Scenario:
    """Figure 2: mn sends to cn1 through HA12; cn1 sends to mn through HA11, cn2 through HA21.

    Where HA12 alone fails, the transit in the middle stands for a correspondent beside it: no
    stub's packets come to mn through HA12.
    """
    return _MultiAs(plan).scenario()


class _MultiAs:
    """Figure 2's names, and what each of its faults does."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.network = plan, plan.homes[0]
        failing = self.network.ases[0]
        agents = plan.home_agents(self.network)
        self.here = [node.name for node in agents if node.asn == failing]
        self.there = [node.name for node in agents if node.asn != failing]
        self.near, self.border = f"br{failing}1", f"br{failing}2"
        transits = [node.name for node in plan.of_role(Role.TRANSIT)]
        self.transit, self.middle = transits[0], transits[-1]
        self.target = Target(self.here[1], self.border)
        up, by_other_as = Flow(2, "mn", "cn1"), Flow(3, "cn2", "mn")
        self.by_target = (Flow(1, self.middle, "mn"), up, by_other_as)
        self.by_as = (Flow(4, "cn1", "mn"), up, by_other_as)

    def scenario(self) -> Scenario:
        faults = at_home_agent(self.target)
        cases = {name: self._home_agent(fault) for name, fault in faults.items()}
        cases |= {
            "as-loss": self._as_loss(),
            "as-cut": self._as_cut(),
            "transit-loss": self._transit_loss(),
            "ha-partition": self._partition(),
        }
        addresses = _addresses(self.plan, "cn1", "cn2")
        # Of the transit's addresses one on a link that no fault cuts.
        visited = self.plan.link_between(self.middle, "v1")
        addresses[self.middle] = next(
            str(address) for node, _, address in visited.ends() if node == self.middle
        )
        return Scenario("Figure 2", self.border, addresses, cases)

    def _home_agent(self, fault: Fault) -> Case:
        """The home agent that serves mn fails; its neighbour in the AS takes over."""
        home_agent = self.target.home_agent
        way = self._way(self.border, self.network.prefix, home_agent)
        others = [name for name in (*self.here, *self.there) if name != home_agent]
        return Case(
            fault,
            home_agent,
            lost=(home_agent,),
            withdrawn=(way,),
            moves=(way,),
            estranged=frozenset((other, home_agent) for other in others),
            flows=self.by_target,
            affected=frozenset((1, 2)),
        )

    def _as_loss(self) -> Case:
        """All home agents of an AS fall silent: its borders withdraw, the other AS takes over."""
        inside = {
            router: [end.neighbour for end in self.plan.ends_of(router)]
            for router in (self.near, self.border)
        }
        withdrawn = tuple(
            self._way(router, self.network.prefix, *neighbours)
            for router, neighbours in inside.items()
        )
        return self._whole_as(silent_nodes(self.plan, self.here), withdrawn)

    def _as_cut(self) -> Case:
        """Both uplinks of an AS are cut: its home agents live, and nobody reaches them."""
        links = ((self.middle, self.border), (self.transit, self.near))
        return self._whole_as(cut_links(links), self._towards_as())

    def _whole_as(self, fault: Fault, withdrawn: tuple[Way, ...]) -> Case:
        return Case(
            fault,
            f"AS {self.network.ases[0]}",
            lost=tuple(self.here),
            withdrawn=withdrawn,
            moves=self._towards_as(),
            estranged=frozenset((other, lost) for other in self.there for lost in self.here),
            flows=self.by_as,
            affected=frozenset((2, 4)),
        )

    def _transit_loss(self) -> Case:
        """A transit falls silent: the stub near it and the AS behind it go by the middle."""
        stub: NodePlan = self.plan.nodes[next(self.plan.ends_of("cn1")).neighbour]
        inwards = self._way(stub.name, self.network.aggregate, self.transit)
        outwards = self._way(self.border, addressing.as_prefix(stub.asn), self.near)
        return Case(
            silent_nodes(self.plan, (self.transit,)),
            self.transit,
            lost=(),
            withdrawn=(inwards,),
            moves=(inwards, outwards),
            estranged=frozenset(),
            flows=self.by_as,
            affected=frozenset((2, 4)),
        )

    def _partition(self) -> Case:
        """Home agents of the two sides cannot talk; nothing moves, and nothing may be lost."""
        return Case(
            partition(self.here, self.there),
            f"between AS {self.network.ases[0]} and the others",
            lost=(),
            withdrawn=(),
            moves=(),
            estranged=estranged(self.here, self.there),
            flows=self.by_as,
            affected=frozenset(flow.number for flow in self.by_as),
        )

    def _towards_as(self) -> tuple[Way, ...]:
        """The ways of mn's and cn1's packets into the AS."""
        return (
            self._way(self.middle, self.network.aggregate, self.border),
            self._way(self.transit, self.network.aggregate, self.near),
        )

    @staticmethod
    def _way(router: str, prefix: IPv6Network, *neighbours: str) -> Way:
        return Way(router, prefix, frozenset(f"{router}-{name}" for name in neighbours))


def _addresses(plan: Plan, *correspondents: str) -> dict[str, str]:
    own = {name: str(plan.address_of(name)) for name in correspondents}
    return {**own, "mn": str(plan.homes[0].home_address())}


SCENARIOS: Mapping[str, Callable[[Plan], Scenario]] = {
    "single_as": single_as,
    "multi_as": multi_as,
}
"""By topology."""
