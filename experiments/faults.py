"""The faults of the failover experiment: how each is made, how it is repaired, who notices it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from experiments.data import EventName
from experiments.watch import Observation
from topologies.network import Network

HOME_TUN = "home"
DOWN_STATES = ("down", "lowerlayerdown", "gone")


@dataclass(frozen=True, slots=True)
class Target:
    """The home agent that fails, and the router on its home link."""

    home_agent: str
    router: str

    @property
    def interface(self) -> str:
        """The router's interface to the home agent."""
        return f"{self.router}-{self.home_agent}"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault. `inject` returns when it took effect (CLOCK_MONOTONIC, ns), `repair` mends it.

    `noticed` says what its detection is.
    `on_link`: BFD sessions of the failed node go down with it, and are no reason to void a trial.
    `repairs_itself`: nothing is left to repair once it was injected.
    """

    inject: Callable[[Network, Target], int]
    repair: Callable[[Network, Target], None]
    noticed: Callable[[Observation, Target], bool]
    on_link: bool = False
    repairs_itself: bool = False


def _kill(network: Network, target: Target) -> int:
    return network.agents[target.home_agent].kill()


def _start(network: Network, target: Target) -> None:
    network.agents[target.home_agent].start()


def _restart(network: Network, target: Target) -> int:
    moment = _kill(network, target)
    _start(network, target)
    return moment


def _hang(network: Network, target: Target) -> int:
    return network.agents[target.home_agent].hang()


def _resume(network: Network, target: Target) -> None:
    network.agents[target.home_agent].resume()


def _silence(network: Network, target: Target) -> int:
    return network.faults.silence(target.home_agent)


def _unsilence(network: Network, target: Target) -> None:
    network.faults.unsilence(target.home_agent)


def _cut(network: Network, target: Target) -> int:
    return network.faults.cut(target.router, target.home_agent)


def _mend(network: Network, target: Target) -> None:
    network.faults.mend(target.router, target.home_agent)


def _nothing(network: Network, target: Target) -> None:
    """Repair what repairs itself."""


def _tun_gone(seen: Observation, target: Target) -> bool:
    node = target.home_agent
    return seen.matches(EventName.LINK, node=node, interface=HOME_TUN, state="gone") or (
        seen.matches(EventName.ROUTE, node=node, change="delete", interface=HOME_TUN)
    )


def _watchdog(seen: Observation, target: Target) -> bool:
    return seen.matches(
        EventName.AGENT, node=target.home_agent, kind="watchdog-trip"
    ) or seen.matches(
        EventName.ROUTE, node=target.home_agent, change="delete", interface=HOME_TUN
    )  # fmt: skip


def _neighbour_down(seen: Observation, target: Target) -> bool:
    return seen.matches(
        EventName.BFD, node=target.router, interface=target.interface, state="Down", outgoing=True
    ) or seen.matches(EventName.NEIGHBOUR, node=target.router)


def _carrier_lost(seen: Observation, target: Target) -> bool:
    return (
        seen.matches(EventName.LINK, node=target.router, interface=target.interface)
        and seen.fields["state"] in DOWN_STATES
    )


FAULTS: Mapping[str, Fault] = {
    "agent-kill": Fault(_kill, _start, _tun_gone),
    "agent-hang": Fault(_hang, _resume, _watchdog),
    "agent-restart": Fault(_restart, _nothing, _tun_gone, repairs_itself=True),
    "node-silent": Fault(_silence, _unsilence, _neighbour_down, on_link=True),
    "link-cut": Fault(_cut, _mend, _carrier_lost, on_link=True),
}
