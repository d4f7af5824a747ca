"""The agents on a running network: their configurations and keys, their start, their faults.

An agent is a process ``python -m agents.ha|mn CONFIG`` in its node. Its directory lies in the
sandbox's /run, where keys and sockets vanish with it; its journal and logs are links from there
into the run folder.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.config import (
    MAX_SEQUENCE,
    SOFT_LIMIT,
    CredentialFiles,
    Detector,
    HomeAgentConfig,
    HomeAgentTimers,
    MobileNodeConfig,
    MobileNodeTimers,
    Mode,
    OptimisationSettings,
    PeerConfig,
    RouteOptimisation,
    dump,
)
from agents.keys import KeyedAssociation, SaMode, Transform, write_key_file
from agents.shared_secrets import write_secret_file
from topologies.agent import Agent as Agent
from topologies.agent import AgentError as AgentError
from topologies.certification import Authority
from topologies.frr import metric_command
from topologies.frr_config import home_metric
from topologies.nodes import SixNode
from topologies.plan import HomeNetwork, NodePlan, Plan, Protocol, Role

INTER_HA_TRANSFORM = Transform.AES_128_GCM
MOBILE_SPI = 0x80 << 24
"""Where the SPIs begin that stand for an MN's inbound SAs: above every home agent's range."""
LEAVE_MARGIN = 10.0
"""Seconds beyond what a home agent takes at most that leaves; then it hangs."""


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What the agents' configurations of one network have in common.

    With `ike` home agents and mobile nodes agree on SAs by IKEv2. All have certificates of one
    operator; with `mobile_secret` mobile nodes have pre-shared keys instead, and check those of
    home agents. Without `ike` SAs come from key files, and cannot be renewed.

    `hold_down` is off: here home agents are made to come and go.
    """

    mode: Mode = Mode.HARDENED
    origin_option: bool = True
    multi_sender: bool = True
    egress_record: bool = False
    reuse_after_restart: bool = False
    path_mtu: int = 1500
    lifetime: float = 420.0
    ike: bool = False
    mobile_secret: bool = False
    key_management: bool = True
    sequence_soft_limit: int = SOFT_LIMIT
    sequence_limit: int = MAX_SEQUENCE
    sa_lifetime: float = 0.0
    detector: Detector = Detector.HELLO
    metric_penalty: int = 0
    route_optimisation: RouteOptimisation = RouteOptimisation.OFF
    optimisation: OptimisationSettings = field(default_factory=OptimisationSettings)
    hold_down: bool = False
    gate: bool = True
    home_agent_timers: HomeAgentTimers = field(default_factory=HomeAgentTimers)
    mobile_node_timers: MobileNodeTimers = field(default_factory=MobileNodeTimers)


class Agents:
    """All agents of a network."""

    def __init__(
        self, plan: Plan, nodes: Mapping[str, SixNode], runtime: Path, logs: Path,
        options: AgentOptions | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.options = plan, options or AgentOptions()
        self._runtime, self._logs = runtime, logs
        self.keys = runtime / "keys"
        self.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.authority = Authority(self.keys / "authority") if self.options.ike else None
        """Whose certificates all have, where IKE is used."""
        self._generation = itertools.count(1)
        self.home_agents: dict[str, Agent] = {}
        self.mobile_nodes: dict[str, Agent] = {}
        for node in plan.of_role(Role.HOME_AGENT):
            self.home_agents[node.name] = self._agent(nodes[node.name], "agents.ha")
        for node in plan.of_role(Role.MOBILE):
            self.mobile_nodes[node.name] = self._agent(nodes[node.name], "agents.mn")
        self.key_holders = {home.number: plan.home_agents(home)[0].name for home in plan.homes}
        """Which home agent of each home network is the first to know the mobile nodes' keys."""
        self.put_out: set[str] = set()
        """Home agents that others have dismissed, and would not let in by themselves."""
        self._joined: set[str] = set()
        """Home agents that came after the start: others served already."""
        self._pair_files: dict[frozenset[str], Path] = {}
        self._credentials: dict[str, CredentialFiles] = {}
        self.mobile_files: dict[tuple[str, int], Path] = {}
        self._configure()

    def _agent(self, node: SixNode, module: str) -> Agent:
        directory = self._runtime / node.name / "agent"
        return Agent(node, module, directory, self._logs / node.name)

    def __getitem__(self, name: str) -> Agent:
        """Return the agent of a node; AgentError names those that there are."""
        everyone = {**self.home_agents, **self.mobile_nodes}
        if name not in everyone:
            raise AgentError(f"no agent on {name!r}; there are {', '.join(everyone)}")
        return everyone[name]

    def join(self, node: SixNode, credentials: CredentialFiles | None = None) -> Agent:
        """Start the agent of a home agent that has come to the plan.

        Returns when it advertises the home network, which it does once it is in step with the
        others. With IKE these let it in by its certificate alone; without, they are told of it.
        One that was put out before has to be let in by an operator's word as well.
        With ``credentials`` instead of the authority's it returns when it answers: who knows
        whether they let it in. Raises AgentError.
        """
        plan = self.plan.nodes[node.name]
        home = self.plan.home_of(node.name)
        agent = self.home_agents[node.name] = self._agent(node, "agents.ha")
        self._joined.add(node.name)
        others = [each for each in self.plan.home_agents(home) if each is not plan]
        if credentials is not None:
            self._credentials[node.name] = credentials
        else:
            self._provide(plan, others)
        self.configure_home_agents(home)
        if node.name in self.put_out:
            self.put_out.remove(node.name)
            self.tell([each.name for each in others], "readmit", index=plan.index)
            self._introduce(plan, others)
        elif not self.options.ike:
            self._introduce(plan, others)
        agent.start()
        what = "advertising" if credentials is None else "running"
        agent.wait(what, lambda status: bool(status["advertising"]) or credentials is not None)
        return agent

    def _introduce(self, node: NodePlan, others: Iterable[NodePlan]) -> None:
        """Let the others that run expect a home agent; those that do not read it when they do."""
        for each in others:
            config = self._peer_config(each, node)
            told: dict[str, Any] = {"name": config.name, "index": config.index}
            told["address"] = str(config.address)
            if not self.options.ike:
                told["key_file"] = str(config.key_file)
            if self.home_agents[each.name].running:
                self.home_agents[each.name].ask("add-peer", **told)

    def leave(self, name: str) -> None:
        """Let a home agent leave its peers and mobile nodes in good order, if it still can.

        Raises AgentError where it refuses, as when no other one serves, or does not come to an end.
        """
        agent = self.home_agents[name]
        if agent.running and not agent.hung:
            agent.leave(self.options.home_agent_timers.leave_most + LEAVE_MARGIN)

    def tell(self, names: Iterable[str], command: str, **arguments: Any) -> list[AgentError]:
        """Send a command to several agents at once; return the errors of those that do not do it.

        One that hangs does not keep the others waiting.
        """

        def ask(name: str) -> AgentError | None:
            try:
                self[name].ask(command, **arguments)
            except AgentError as error:
                return error
            return None

        with ThreadPoolExecutor() as pool:
            return [error for error in pool.map(ask, names) if error is not None]

    def forget(self, name: str, home: HomeNetwork) -> None:
        """Forget a home agent that has left the plan, and its keys; so do all that knew it.

        After a departure in good order they know already.
        """
        gone = self.home_agents.pop(name, None)
        if gone is not None:
            # One of this name that comes again has not served yet; its incarnations go on.
            (gone.directory / "returns").unlink(missing_ok=True)
        self._credentials.pop(name, None)
        left = [node.name for node in self.plan.home_agents(home)]
        if len(self.tell(left, "dismiss", name=name, reason="removed")) < len(left):
            self.put_out.add(name)
        for pair in [each for each in self._pair_files if name in each]:
            self._pair_files.pop(pair).unlink(missing_ok=True)
        if self.key_holders[home.number] == name:
            self.key_holders[home.number] = self.plan.home_agents(home)[0].name
        self.configure_home_agents(home)

    def start_home_agents(self) -> None:
        """Start all home agents; the routes that they advertise tell when they are ready."""
        for agent in self.home_agents.values():
            agent.start()

    def start_mobile_nodes(self) -> None:
        """Start the agents of all mobile nodes."""
        for agent in self.mobile_nodes.values():
            agent.start()

    def wait_bound(self, timeout: float = 15.0) -> None:
        """Wait until every mobile node is registered."""
        for agent in self.mobile_nodes.values():
            agent.wait("bound", lambda status: bool(status["bound"]), timeout)

    def check_alive(self) -> None:
        """Raise AgentError when an agent has ended."""
        for agent in (*self.home_agents.values(), *self.mobile_nodes.values()):
            agent.check_alive()

    def stop(self) -> None:
        """Kill all agents."""
        for agent in (*self.mobile_nodes.values(), *self.home_agents.values()):
            agent.stop()

    def heal(self) -> list[str]:
        """Let hung agents go on and start those that do not run; return what was done."""
        done = []
        for name, agent in {**self.home_agents, **self.mobile_nodes}.items():
            if not agent.running:
                if name in self.mobile_nodes:
                    self.restart_mobile_node(name)
                else:
                    agent.start()
                done.append(f"agent of {name} started")
            elif agent.hung:
                agent.resume()
                done.append(f"agent of {name} goes on")
        return done

    def restart_mobile_node(self, name: str) -> int:
        """Kill a mobile node's agent and start it with fresh keys; return when it was killed.

        With IKE it agrees on them by itself. Else the keys of each home go to the home agent that
        holds this mobile node's file, or, when that one does not run, to the first one that does:
        the SPIs lie in the range of whoever holds them.
        """
        agent = self.mobile_nodes[name]
        moment = agent.kill() if agent.running else time.monotonic_ns()
        if not self.options.ike:
            for home in self.plan.homes:
                self._renew_mobile_keys(self.plan.nodes[name], home)
        agent.start()
        return moment

    def _renew_mobile_keys(self, mobile: NodePlan, home: HomeNetwork) -> None:
        """Write fresh keys of one home, and tell a home agent of it that runs, if one does."""
        names = [self.key_holders[home.number], *(n.name for n in self.plan.home_agents(home))]
        running = [name for name in names if self.home_agents[name].running]
        holder = running[0] if running else names[0]
        path = self.write_mobile_keys(mobile, self.plan.nodes[holder])
        if running:
            self.home_agents[holder].ask("load-keys", path=str(path))

    def write_mobile_keys(self, mobile: NodePlan, holder: NodePlan) -> Path:
        """Write a fresh set of SAs with a home: signalling and payload, both directions."""
        network = self.plan.home_of(holder.name)
        home, anycast = network.home_address(mobile.index), network.home_agent_address
        transform = Transform(self.options.mode.transform)
        generation = next(self._generation)
        low = mobile.index << 16 | generation << 1
        associations = []
        for bit, mode in enumerate((SaMode.TRANSPORT, SaMode.TUNNEL)):
            for spi, source, destination in (
                (holder.index << 24 | low | bit, home, anycast),
                (MOBILE_SPI | low | bit, anycast, home),
            ):
                associations.append(
                    KeyedAssociation(spi, source, destination, mode, transform, _key(transform))
                )
        path = self.keys / f"{_of_home(mobile.name, network)}.toml"
        write_key_file(path, associations)
        return path

    def _configure(self) -> None:
        mobiles = [self.plan.nodes[name] for name in self.mobile_nodes]
        write = self.write_secret if self.options.ike else self.write_mobile_keys
        self.mobile_files = {
            (node.name, number): write(node, self.plan.nodes[holder])
            for node in mobiles
            for number, holder in self.key_holders.items()
        }
        for home in self.plan.homes:
            everyone = self.plan.home_agents(home)
            for node in everyone:
                self._provide(node, [each for each in everyone if each.index < node.index])
            self.configure_home_agents(home)
        for node in mobiles:
            self._configure_mobile(node, self.mobile_files)

    def _provide(self, node: NodePlan, others: Iterable[NodePlan]) -> None:
        """Give a home agent a certificate; or, without IKE, keys with each of the others."""
        if self.authority is not None:
            self._credentials[node.name] = self._home_agent_credentials(node, self.authority)
            return
        for other in others:
            pair = frozenset((node.name, other.name))
            self._pair_files[pair] = self._write_pair_keys(other, node)

    def _peer_config(self, node: NodePlan, peer: NodePlan) -> PeerConfig:
        """Return what ``node`` is told of ``peer``."""
        path = self._pair_files.get(frozenset((node.name, peer.name)), Path())
        return PeerConfig(peer.name, peer.index, self.plan.address_of(peer.name), path)

    def configure_home_agents(self, home: HomeNetwork) -> None:
        """Write the configurations of all home agents of a home network, for their next start."""
        everyone = self.plan.home_agents(home)
        own = [path for (_, number), path in self.mobile_files.items() if number == home.number]
        for node in everyone:
            expected = [
                each for each in everyone if each is not node and each.name not in self.put_out
            ]
            peers = tuple(self._peer_config(node, each) for each in expected)
            # Of secrets every home agent has a copy, of SAs one, which tells the others.
            holds = node.name == self.key_holders[home.number] or self.options.ike
            config = self.home_agent_config(node, peers, tuple(own) if holds else ())
            self.home_agents[node.name].configuration.write_text(dump(config))

    def _configure_mobile(self, node: NodePlan, keys: Mapping[tuple[str, int], Path]) -> None:
        """Write a configuration for each home of a mobile node."""
        agent = self.mobile_nodes[node.name]
        first, *others = self.plan.homes
        paths = {home.number: agent.directory / f"home{home.number}.toml" for home in others}
        agent.more_configurations = tuple(paths.values())
        for home in self.plan.homes:
            config = self.mobile_node_config(node, keys[node.name, home.number], home)
            path = agent.configuration if home is first else paths[home.number]
            path.write_text(dump(config))

    def home_agent_config(
        self, node: NodePlan, peers: tuple[PeerConfig, ...], key_files: tuple[Path, ...]
    ) -> HomeAgentConfig:
        """Return a home agent's configuration; `key_files` hold secrets where IKE is used."""
        options, home = self.options, self.plan.home_of(node.name)
        return HomeAgentConfig(
            name=node.name,
            index=node.index,
            address=self.plan.address_of(node.name),
            directory=self.home_agents[node.name].directory,
            home_prefix=home.prefix,
            home_agent_address=home.home_agent_address,
            mode=options.mode,
            origin_option=options.origin_option,
            reuse_after_restart=options.reuse_after_restart,
            path_mtu=options.path_mtu,
            egress_record=options.egress_record,
            sequence_soft_limit=options.sequence_soft_limit,
            sequence_limit=options.sequence_limit,
            sa_lifetime=options.sa_lifetime,
            detector=options.detector,
            metric=home_metric(node),
            metric_penalty=options.metric_penalty,
            joins=node.name in self._joined,
            hold_down=options.hold_down,
            metric_command=metric_command(self._runtime / node.name),
            route_optimisation=options.route_optimisation,
            optimisation=options.optimisation,
            key_files=() if options.ike else key_files,
            secret_files=key_files if options.ike and options.mobile_secret else (),
            credentials=self._credentials.get(node.name, CredentialFiles()),
            peers=peers,
            gate=options.gate,
            timers=options.home_agent_timers,
        )

    def mobile_node_config(
        self, node: NodePlan, key_file: Path, home: HomeNetwork
    ) -> MobileNodeConfig:
        """Return a mobile node's configuration; `key_file` holds a secret where IKE is used."""
        options = self.options
        return MobileNodeConfig(
            name=node.name,
            home_address=home.home_address(node.index),
            home_agent_address=home.home_agent_address,
            home_prefix=home.prefix,
            directory=self.mobile_nodes[node.name].directory,
            key_file=Path() if options.ike else key_file,
            secret_files=(key_file,) if options.ike and options.mobile_secret else (),
            credentials=self._mobile_credentials(node, home),
            key_management=options.ike and options.key_management,
            sequence_limit=options.sequence_limit,
            mode=options.mode,
            origin_option=options.origin_option,
            multi_sender=options.multi_sender,
            route_optimisation=options.route_optimisation,
            lifetime=options.lifetime,
            tun=f"mobile{'' if home is self.plan.homes[0] else home.number}",
            path_mtu=options.path_mtu,
            egress_record=options.egress_record,
            interfaces=tuple(
                end.interface
                for end in self.plan.ends_of(node.name)
                if end.link.protocol is Protocol.ACCESS
            ),
            timers=options.mobile_node_timers,
        )

    def _home_agent_credentials(self, node: NodePlan, authority: Authority) -> CredentialFiles:
        """Have a home agent's certificate issued: it may serve its home prefix."""
        home, own = self.plan.home_of(node.name), self.plan.address_of(node.name)
        return authority.home_agent(
            node.name, node.index, own, home.home_agent_address, home.prefix
        )

    def _mobile_credentials(self, node: NodePlan, home: HomeNetwork) -> CredentialFiles:
        """Return a mobile node's certificate of a home address, or what it needs to check others'.

        None without IKE.
        """
        if self.authority is None:
            return CredentialFiles()
        if self.options.mobile_secret:
            return self.authority.trust()
        name = _of_home(node.name, home)
        return self.authority.mobile_node(name, home.home_address(node.index))

    def write_secret(self, mobile: NodePlan, holder: NodePlan) -> Path:
        """Write a pre-shared key of a mobile node; every home agent of that home reads the file.

        Where mobile nodes have certificates there is none.
        """
        if not self.options.mobile_secret:
            return Path()
        home = self.plan.home_of(holder.name)
        path = self.keys / f"{_of_home(mobile.name, home)}.secret"
        write_secret_file(path, {home.home_address(mobile.index): secrets.token_bytes(32)})
        return path

    def _write_pair_keys(self, a: NodePlan, b: NodePlan) -> Path:
        """Write the two SAs of a pair of home agents; each SPI is in its receiver's range."""
        associations = [
            KeyedAssociation(
                receiver.index << 24 | 0xFF0000 | sender.index,
                self.plan.address_of(sender.name), self.plan.address_of(receiver.name),
                SaMode.TRANSPORT, INTER_HA_TRANSFORM, _key(INTER_HA_TRANSFORM),
            )
            for sender, receiver in ((a, b), (b, a))
        ]  # fmt: skip
        path = self.keys / f"{a.name}-{b.name}.toml"
        write_key_file(path, associations)
        return path


def _of_home(mobile_node: str, home: HomeNetwork) -> str:
    """Return the name of a file that a mobile node has for each home; the first has its own."""
    return mobile_node if home.number == 1 else f"{mobile_node}-home{home.number}"


def _key(transform: Transform) -> bytes:
    return secrets.token_bytes(transform.key_length)
