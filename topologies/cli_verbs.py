"""What the verbs of the lab's prompt have in common: their arguments, their mistakes, names."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from typing import Any

from mininet.log import error, output

from topologies.agents import AgentError
from topologies.capture import Capture, CaptureError
from topologies.faults import FaultError
from topologies.frr import RoutingError
from topologies.network import Network
from topologies.plan import Role

NANOSECONDS = 1_000_000_000


class UsageError(Exception):
    """A command with wrong arguments; the message is how it is used."""


Verb = Callable[[Any, list[str]], None]


def verb(function: Verb) -> Callable[[Any, str], None]:
    """Split the arguments of a command, and say in one line what is wrong with it."""

    @functools.wraps(function)
    def do(self: LabVerbs, line: str) -> None:
        try:
            function(self, shlex.split(line))
        except UsageError as mistake:
            error(f"usage: {mistake}\n")
        except (AgentError, CaptureError, FaultError, RoutingError, ValueError) as mistake:
            error(f"{mistake}\n")

    return do


class LabVerbs:
    """A part of the prompt: some verbs on a running network."""

    network: Network
    _captures: dict[str, Capture]

    def _tell(self, what: str, moment_ns: int) -> None:
        output(f"{what} at {moment_ns / NANOSECONDS:.6f} s (CLOCK_MONOTONIC)\n")

    def _one(self, words: list[str], usage: str) -> str:
        if len(words) != 1:
            raise UsageError(usage)
        return self._known(words[0])

    def _known(self, name: str) -> str:
        if name not in self.network.nodes:
            raise ValueError(f"no node {name!r}; there are {', '.join(self.network.nodes)}")
        return name

    def _home_agents(self, name: str | None) -> list[str]:
        return self._of(Role.HOME_AGENT, name)

    def _mobile_nodes(self, name: str | None) -> list[str]:
        return self._of(Role.MOBILE, name)

    def _everyone(self, name: str | None) -> list[str]:
        if name is not None:
            return [self.network.agents[self._known(name)].name]
        return self._home_agents(None) + self._mobile_nodes(None)

    def _of(self, role: Role, name: str | None) -> list[str]:
        names = [node.name for node in self.network.plan.of_role(role)]
        if name is None:
            return names
        if self._known(name) not in names:
            raise ValueError(f"{name} is not a {role}; there are {', '.join(names)}")
        return [name]
