"""The network as a whole: Mininet, routing, router advertisements; steps and how long they took."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from mininet.log import setLogLevel
from mininet.net import Mininet

from agents.config import CredentialFiles
from topologies import key_material
from topologies.advertise import Advertiser
from topologies.agents import AgentOptions, Agents
from topologies.delay import DelayLineError, Means, means_of
from topologies.faults import Faults
from topologies.frr_config import RoutingOptions
from topologies.membership import Membership
from topologies.nodes import SixNode
from topologies.plan import Plan, Role
from topologies.plan_topo import PlanTopo
from topologies.routing import Routing
from topologies.rpki import Validation

RUNTIME = Path("/run/manyhomes")
"""Sockets, keys and configurations, a folder a node: in the sandbox's own /run, gone with it.

Not in the run folder: a path to a Unix socket has at most 107 octets, and keys do not belong there.
"""


class Network:
    """A topology brought up in the sandbox.

    ``logs`` is where every node gets a folder for the logs that outlive the sandbox. ``timings``
    holds seconds from the beginning of :meth:`start` to the end of each step.
    """

    def __init__(
        self, topo: PlanTopo, logs: Path, routing: RoutingOptions | None = None,
        agents: AgentOptions | None = None,
    ) -> None:  # fmt: skip
        self.topo, self.logs = topo, logs
        self.agent_options = agents or AgentOptions()
        self.options = routing or RoutingOptions()
        self.plan: Plan = topo.plan
        self.timings: dict[str, float] = {}
        self.nodes: dict[str, SixNode] = {}
        self.advertisers: list[Advertiser] = []
        self.routing: Routing
        self.validation: Validation | None = None
        self.agents: Agents
        self.faults: Faults
        self.membership: Membership
        self.mininet: Any = None
        self._begin = 0.0

    def __enter__(self) -> Network:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.stop()

    def record(self, step: str) -> None:
        """Note that a step is done."""
        self.timings[step] = time.monotonic() - self._begin

    @property
    def delay(self) -> Means:
        """What delays its packets; the field `delay` of a run's metadata."""
        return means_of(self.plan)

    def check_alive(self) -> None:
        """Raise the error of whatever has ended; delayed links come first (DelayLineError)."""
        self.topo.delay_line.check_alive()
        for advertiser in self.advertisers:
            advertiser.check_alive()
        if self.validation is not None:
            self.validation.check_alive()
        if hasattr(self, "agents"):
            self.agents.check_alive()

    @contextlib.contextmanager
    def _causes_first(self) -> Iterator[None]:
        """Where a wait was in vain because links are gone, say that and not what it led to."""
        try:
            yield
        except Exception:
            self.check_alive()
            raise

    def start(self) -> None:
        """Bring up nodes, links, advertisements, routing; wait until every route is there."""
        with self._causes_first():
            self._start()
        self.check_alive()

    def _start(self) -> None:
        self._begin = time.monotonic()
        setLogLevel("output")
        self.mininet = Mininet(topo=self.topo, controller=None)
        self.nodes = {node.name: node for node in self.mininet.hosts}
        self.faults = Faults(self.plan, self.nodes)
        self.membership = Membership(self)
        self.record("network started")
        for access in self.plan.of_role(Role.ACCESS):
            advertiser = Advertiser(
                self.plan, self.nodes[access.name], RUNTIME / access.name, self.logs / access.name
            )
            advertiser.start()
            self.advertisers.append(advertiser)
        self._start_routing()

    def _start_routing(self) -> None:
        """Start FRR, and the RPKI caches before it where origins are validated."""
        origins = self.options.origins
        if origins is not None:
            self.validation = Validation(
                self.plan, self.nodes, origins.validators, RUNTIME, self.logs
            )
            self.validation.start(origins.payloads)
        self.routing = Routing(self.plan, self.nodes, self.options, RUNTIME, self.logs)
        self.routing.start(self.record)
        if self.validation is not None:
            self.validation.attach(self.routing.on)
            self.validation.wait()
            self.record("RPKI in step")

    def start_agents(self) -> None:
        """Start all agents; wait until every mobile node is bound and faults will be noticed.

        Home agents come first: a mobile node's first Binding Update would be lost otherwise, and
        its repetition waits for 1.5 s (RFC 6275 §12).
        """
        with self._causes_first():
            self._start_agents()

    def _start_agents(self) -> None:
        self.agents = Agents(self.plan, self.nodes, RUNTIME, self.logs, self.agent_options)
        self.agents.start_home_agents()
        self.wait_home_agents()
        self.record("home network advertised")
        self.agents.start_mobile_nodes()
        self.agents.wait_bound()
        self.record("mobile nodes bound")
        self.wait_detection()

    def wait_home_agents(self, timeout: float = 15.0) -> None:
        """Wait until every home agent says that it advertises, and every router has the route."""
        for agent in self.agents.home_agents.values():
            agent.wait("advertising", lambda status: bool(status["advertising"]), timeout)
        self.routing.wait_home_prefix(set(self.agents.home_agents), timeout)

    def wait_detection(self) -> None:
        """Wait until silent neighbours will be noticed as fast as configured."""
        self.routing.wait_detection(self.record)

    def add_home_agent(
        self, name: str, at: str | None = None, credentials: CredentialFiles | None = None
    ) -> None:
        """Add a home agent while all goes on; see `Membership.add`."""
        with self._causes_first():
            self.membership.add(name, at, credentials)

    def remove_home_agent(self, name: str) -> None:
        """Let a home agent leave while all goes on; see `Membership.remove`."""
        with self._causes_first():
            self.membership.remove(name)

    def isolate(self, name: str, fencing: bool = True) -> int:
        """Put a home agent out; return when that began. See `Membership.isolate`."""
        return self.membership.isolate(name, fencing)

    def _log_delay_line(self) -> None:
        """Keep what became of the frames: one that overflowed would spoil a measurement."""
        with contextlib.suppress(DelayLineError):
            if counters := self.topo.delay_line.counters():
                self.logs.mkdir(parents=True, exist_ok=True)
                (self.logs / "delay-line.json").write_text(json.dumps(counters, indent=1) + "\n")

    def stop(self) -> None:
        """End everything that was started."""
        if hasattr(self, "agents"):
            key_material.collect(self.agents, RUNTIME)
            self.agents.stop()
        if hasattr(self, "faults"):
            self.faults.close()
        if hasattr(self, "routing"):
            self.routing.stop()
        if self.validation is not None:
            self.validation.stop()
        for advertiser in self.advertisers:
            advertiser.stop()
        self._log_delay_line()
        if self.mininet is not None:
            self.mininet.stop()
            self.mininet = None
        self.topo.delay_line.stop()
        # Keys end with their network; and an incarnation left here would make the next one's
        # home agents take themselves for restarted.
        shutil.rmtree(RUNTIME, ignore_errors=True)
