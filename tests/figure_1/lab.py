"""Figure 1 running in a sandbox, as the tests see it."""

import contextlib
import json
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from agents.config import HomeAgentTimers, Mode
from agents.wire.esp import Transform
from tests.figure_1.capture import Capture, Captured
from tests.figure_1.streams import PERIOD, Streams
from topologies import addressing
from topologies.agents import Agent, AgentError, AgentOptions
from topologies.frr_config import Detection, RoutingOptions
from topologies.key_material import keys_in
from topologies.netlink import Netlink, Route
from topologies.network import RUNTIME, Network
from topologies.single_as import SingleAs

HOME_PREFIX = addressing.HOME_PREFIX
HOME_ADDRESS = str(addressing.home_address())
HOME_AGENT_ADDRESS = str(addressing.HOME_AGENT_ADDRESS)
CARE_OF = {f"v{n}": str(addressing.care_of_address(n)) for n in (1, 2)}
CORRESPONDENTS = {"cn1": "HA1", "cn2": "HA2", "cn3": "HA3"}
"""Each correspondent node and its nearest home agent."""

PATIENT = Detection("tests", hello=1, dead=20, bfd_interval_ms=100, bfd_multiplier=10, bgp_hold=30)
"""A silent neighbour is noticed after 1 s: a machine that pauses for less than that loses none."""

LEAVE_LEAST = 2.0
"""Seconds for which a home agent that leaves serves on at least: routing here moves in less. The
default is for routers that hold their LSAs back."""


@dataclass(frozen=True)
class Association:
    """An SA of the mobile node, as its key file has it."""

    spi: int
    source: str
    destination: str
    mode: str
    transform: Transform
    key: bytes = field(repr=False)


class Lab:
    """A running network, its agents, and what a test asks of them."""

    def __init__(
        self, folder: Path, mode: Mode, *, ike: bool = False, hold_down: bool = False,
        **parameters: str,
    ) -> None:  # fmt: skip
        """With `ike` the agents agree on keys by IKEv2; else these stand in files.

        `hold_down` is the home agents', `parameters` are the topology's.
        """
        self.folder, self.mode = folder, mode
        self.logs = folder / "logs"
        self.network = Network(
            SingleAs(static=False, **parameters),
            self.logs,
            RoutingOptions(detection=PATIENT),
            AgentOptions(
                mode=mode,
                ike=ike,
                hold_down=hold_down,
                egress_record=True,
                home_agent_timers=HomeAgentTimers(leave_least=LEAVE_LEAST),
            ),
        )
        self.registration: list[Captured] = []
        """The mobile node's link from before its first Binding Update until it was bound."""
        self._netlink: dict[str, tuple[Netlink, dict[str, int]]] = {}

    def start(self) -> None:
        """Bring up everything."""
        self.network.start()
        with self.capture("mn", "mn-v1") as capture:
            self.network.start_agents()
            self.registration = capture.packets()

    def stop(self) -> None:
        """End everything in good order."""
        for request, _ in self._netlink.values():
            request.close()
        self._netlink.clear()
        self.network.stop()

    def mend(self) -> None:
        """Repair what a failed test left broken: the next one shall not fail for that."""
        self.network.faults.heal()
        for agent in (*self.home_agents.values(), self.agent("mn")):
            if agent.running:
                agent.resume()
            else:
                agent.start()

    def node(self, name: str) -> Any:
        return self.network.nodes[name]

    def agent(self, name: str) -> Agent:
        return self.network.agents[name]

    @property
    def home_agents(self) -> dict[str, Agent]:
        return self.network.agents.home_agents

    def address(self, name: str) -> str:
        """Return where a node is reached: the home address, an agent's or correspondent's own."""
        return HOME_ADDRESS if name == "mn" else str(self.network.plan.address_of(name))

    # Waiting.

    @staticmethod
    def wait(what: str, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Wait until a condition holds; the deadline is for hangs, not for speed."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds:.0f} s for {what}")
            time.sleep(0.005)

    def wait_settled(self, access: str = "v1") -> None:
        """Wait until all is as after the start: HA1 nearest, all in step, HA1 primary."""
        for agent in self.home_agents.values():
            agent.wait("advertising", lambda s: bool(s["advertising"]), 30)
            agent.wait("in step", lambda s: set(s["peers"].values()) == {"up"}, 30)
        for router, way in (("br", "br-r1"), ("r1", "r1-HA1"), ("r2", "r2-HA2"), ("r3", "r3-HA3")):
            self.wait(f"{router} to route by {way}", lambda: self.home_route(router) == way)  # noqa: B023
        if {self.binding(name).get("primary") for name in self.home_agents} != {"HA1"}:
            self.register_anew()
        for name in self.home_agents:
            self.wait(f"{name} to know the binding", partial(self._knows, name, access))
        self.agent("mn").wait("bound", lambda s: s["state"] == "bound", 30)

    def _knows(self, name: str, access: str) -> bool:
        binding = self.binding(name)
        return binding.get("primary") == "HA1" and binding["care_of_address"] == CARE_OF[access]

    def register_anew(self) -> None:
        """Deregister and register: the home agent that is nearest then is primary."""
        mobile_node = self.agent("mn")
        mobile_node.ask("deregister")
        mobile_node.wait("deregistered", lambda s: s["state"] == "none", 30)
        mobile_node.ask("register")
        mobile_node.wait("bound", lambda s: s["state"] == "bound", 30)

    # Agents.

    def binding(self, home_agent: str) -> dict[str, Any]:
        """Return a home agent's binding of the mobile node; empty if it has none."""
        found = self.agent(home_agent).ask("bindings")
        ours = (each for each in found if each["home_address"] == HOME_ADDRESS)
        return next((each for each in ours if each["state"] == "bound"), {})

    def counters(self, agent: str) -> dict[str, int]:
        answer: dict[str, int] = self.agent(agent).ask("counters", timeout=10)
        return answer

    def count(self, agent: str, name: str) -> int:
        return self.counters(agent).get(name, 0)

    def events(self, node: str, since_ns: int = 0) -> list[dict[str, Any]]:
        """Return a node's journal since a moment."""
        path = self.agent(node).events
        events = [json.loads(line) for line in path.read_text().splitlines()]
        return [each for each in events if each["t"] >= since_ns]

    def kinds(self, node: str, since_ns: int = 0) -> list[str]:
        return [each["kind"] for each in self.events(node, since_ns)]

    def spis(self, home_agent: str) -> set[int]:
        """Return the SPIs that a home agent holds."""
        return {int(each["spi"], 16) for each in self.agent(home_agent).ask("sas")}

    def own_associations(self) -> list[Association]:
        """Return the mobile node's SAs, from its key file: only tests look there."""
        text = (RUNTIME / "keys" / "mn.toml").read_text()
        return [
            Association(
                each["spi"], each["source"], each["destination"], each["mode"],
                Transform(each["transform"]), bytes.fromhex(each["key"]),
            )
            for each in tomllib.loads(text)["security_association"]
        ]  # fmt: skip

    def keys(self) -> list[bytes]:
        """Return all key material of the run, of every file that nobody else may read."""
        files = [path for path in (RUNTIME / "keys").rglob("*") if path.is_file()]
        private = [path for path in files if not path.stat().st_mode & 0o077]
        return [key for path in private for key in keys_in(path.read_bytes())]

    # Nodes.

    def home_route(self, node: str) -> str | None:
        """Return the interface by which a node's kernel routes to the home network."""
        destinations = (HOME_PREFIX, addressing.HOME_AGGREGATE)
        found = [r for r in self._routes(node) if r.destination in destinations]
        if not found:
            return None
        best = min(found, key=lambda r: (-r.destination.prefixlen, r.metric))
        return self._interface(node, best.interface)

    def has_own_home_route(self, node: str) -> bool:
        """Does a home agent's node route the home network into its own TUN?"""
        return any(
            route.destination == HOME_PREFIX
            and self._interface(node, route.interface) in ("home", None)
            for route in self._routes(node)
        )

    def _routes(self, node: str) -> list[Route]:
        return self._request(node)[0].routes()

    def _interface(self, node: str, index: int) -> str | None:
        request, names = self._request(node)
        if index not in names:
            names |= {state.index: name for name, state in request.links().items()}
        return names.get(index)

    def _request(self, node: str) -> tuple[Netlink, dict[int, str]]:
        if node not in self._netlink:
            self._netlink[node] = (Netlink(self.node(node).pid), {})
        return self._netlink[node]

    def run(self, node: str, *command: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run a command in a node."""
        done: subprocess.CompletedProcess[str] = self.node(node).run(list(command), **options)
        return done

    def ping(
        self, node: str, target: str, count: int = 5, size: int = 56, *options: str
    ) -> "subprocess.CompletedProcess[str]":
        words = ("-c", str(count), "-i", "0.02", "-W", "5", "-s", str(size), *options)
        return self.run(node, "ping", *words, target)

    def pings(self, node: str, target: str, count: int = 5, size: int = 56, *options: str) -> None:
        """Ping; every packet must be answered."""
        done = self.ping(node, target, count, size, *options)
        assert f" {count} received" in done.stdout, done.stdout + done.stderr

    @contextlib.contextmanager
    def capture(self, node: str, interface: str) -> Iterator[Capture]:
        with Capture(self.node(node), interface) as capture:
            yield capture

    def streams(self, *correspondents: str, period: float = PERIOD) -> Streams:
        """Return streams between the mobile node and correspondents (all); `with` starts them."""
        names = ("mn", *(correspondents or CORRESPONDENTS))
        return Streams(self.network.nodes, {n: self.address(n) for n in names}, "mn", period)

    def report(self) -> str:
        """Return the last events of every agent, for a failed test."""
        lines = []
        for name in (*self.home_agents, "mn"):
            with contextlib.suppress(OSError, ValueError):
                for event in self.events(name)[-12:]:
                    kind = (event.pop("t") / 1e9, event.pop("node"), event.pop("kind"))
                    lines.append(f"{kind[0]:.3f} {kind[1]} {kind[2]} {event}")
            with contextlib.suppress(AgentError):
                lines.append(f"{name}: {self.agent(name).ask('status')}")
        return "\n".join(lines)
