"""The faults of the failover experiment: how each is made, how it is repaired, who notices it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from experiments.data import EventName
from experiments.watch import Observation
from topologies.network import Network
from topologies.plan import Plan

HOME_TUN = "home"
DOWN_STATES = ("down", "lowerlayerdown", "gone")


@dataclass(frozen=True, slots=True)
class Target:
    """A home agent that fails, and the router on its home link."""

    home_agent: str
    router: str

    @property
    def interface(self) -> str:
        """The router's interface to the home agent."""
        return f"{self.router}-{self.home_agent}"

    @property
    def ends(self) -> frozenset[str]:
        """The interfaces at both ends of the home link."""
        return frozenset((self.interface, f"{self.home_agent}-{self.router}"))


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault. `inject` returns when it took effect (CLOCK_MONOTONIC, ns), `repair` mends it.

    `noticed` says what its detection is.
    `made_at`: the nodes at which it is made; `witnesses`: those whose routing daemons tell of it.
    `sessions`: interfaces whose BFD sessions end with it, and are no reason to void a trial.
    `cut`: the links that are cut, by the names of their ends.
    `repairs_itself`: nothing is left to repair once it was injected.
    """

    inject: Callable[[Network], int]
    repair: Callable[[Network], object]
    noticed: Callable[[Observation], bool]
    made_at: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()
    sessions: frozenset[str] = frozenset()
    cut: tuple[tuple[str, str], ...] = ()
    repairs_itself: bool = False


def at_home_agent(target: Target) -> dict[str, Fault]:
    """Return the faults of one home agent, by name."""
    name, link = target.home_agent, (target.router, target.home_agent)
    tun_gone, watchdog = partial(_tun_gone, name), partial(_watchdog, name)
    return {
        "agent-kill": Fault(lambda net: net.agents[name].kill(), partial(_start, name), tun_gone),
        "agent-hang": Fault(lambda net: net.agents[name].hang(), partial(_resume, name), watchdog),
        "agent-restart": Fault(partial(_restart, name), _nothing, tun_gone, repairs_itself=True),
        "node-silent": Fault(
            lambda net: net.faults.silence(name),
            lambda net: net.faults.unsilence(name),
            partial(_neighbour_down, {target.interface: target.router}),
            made_at=(name,),
            witnesses=(target.router,),
            sessions=target.ends,
        ),
        "link-cut": Fault(
            lambda net: net.faults.cut(*link),
            lambda net: net.faults.mend(*link),
            partial(_carrier_lost, {target.interface: target.router}),
            made_at=link,
            witnesses=(target.router,),
            sessions=target.ends,
            cut=(link,),
        ),
    }


def silent_nodes(plan: Plan, names: Sequence[str]) -> Fault:
    """Return the fault that these nodes fall silent, all at once; their links stay up."""
    facing = {
        f"{end.neighbour}-{name}": end.neighbour for name in names for end in plan.ends_of(name)
    }
    own = (end.interface for name in names for end in plan.ends_of(name))
    return Fault(
        lambda net: max([net.faults.silence(name) for name in names]),
        lambda net: [net.faults.unsilence(name) for name in names],
        partial(_neighbour_down, facing),
        made_at=tuple(names),
        witnesses=tuple(dict.fromkeys(facing.values())),
        sessions=frozenset((*facing, *own)),
    )


def cut_links(links: Sequence[tuple[str, str]]) -> Fault:
    """Return the fault that these links are cut; it is noticed at the first node of each."""
    ends = frozenset(f"{a}-{b}" for pair in links for a, b in (pair, pair[::-1]))
    return Fault(
        lambda net: net.faults.cut_all(links),
        lambda net: [net.faults.mend(a, b) for a, b in links],
        partial(_carrier_lost, {f"{a}-{b}": a for a, b in links}),
        made_at=tuple(name for pair in links for name in pair),
        witnesses=tuple(name for pair in links for name in pair),
        sessions=ends,
        cut=tuple(links),
    )


def partition(here: Sequence[str], there: Sequence[str]) -> Fault:
    """Return the fault that home agents here and there cannot talk; all else still passes."""
    between = estranged(here, there)
    return Fault(
        lambda net: net.faults.partition(here, there),
        lambda net: net.faults.rejoin(),
        lambda seen: any(marked_invalid(seen, pair) for pair in between),
        made_at=tuple(here),
    )


def estranged(here: Sequence[str], there: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Return the pairs (home agent, peer) of two sides, each seen from each."""
    return frozenset(pair for a in here for b in there for pair in ((a, b), (b, a)))


def marked_invalid(seen: Observation, pair: tuple[str, str]) -> bool:
    """Return whether this home agent has marked this peer invalid."""
    node, peer = pair
    return seen.matches(
        EventName.AGENT, node=node, kind="peer-changed", peer=peer, state="invalid"
    )  # fmt: skip


def _start(name: str, network: Network) -> None:
    network.agents[name].start()


def _restart(name: str, network: Network) -> int:
    moment = network.agents[name].kill()
    _start(name, network)
    return moment


def _resume(name: str, network: Network) -> None:
    network.agents[name].resume()


def _nothing(network: Network) -> None:
    """Repair what repairs itself."""


def _tun_gone(node: str, seen: Observation) -> bool:
    return seen.matches(EventName.LINK, node=node, interface=HOME_TUN, state="gone") or (
        seen.matches(EventName.ROUTE, node=node, change="delete", interface=HOME_TUN)
    )


def _watchdog(node: str, seen: Observation) -> bool:
    return seen.matches(EventName.AGENT, node=node, kind="watchdog-trip") or seen.matches(
        EventName.ROUTE, node=node, change="delete", interface=HOME_TUN
    )


def _neighbour_down(facing: Mapping[str, str], seen: Observation) -> bool:
    """Somebody says so of a neighbour; `facing`: interfaces towards it, and whose they are."""
    if seen.name is EventName.NEIGHBOUR:
        return seen.fields["node"] in facing.values()
    return (
        seen.matches(EventName.BFD, state="Down", outgoing=True)
        and facing.get(seen.fields["interface"]) == seen.fields["node"]
    )


def _carrier_lost(facing: Mapping[str, str], seen: Observation) -> bool:
    return (
        seen.name is EventName.LINK
        and seen.fields["state"] in DOWN_STATES
        and facing.get(seen.fields["interface"]) == seen.fields["node"]
    )
