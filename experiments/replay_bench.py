"""Figure 1 with an attacker on the visited link, and what the attacks need of it.

Fresh keys (so that every counter is 0 and every window empty) without a new network, traffic whose
every packet is accounted for, and the question whether everybody is still alive.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path
from types import TracebackType
from typing import Any

from agents.keys import KeyedAssociation, SaMode, read_key_file
from experiments.attacks import Attacker, Heard
from experiments.captures import add_keys
from experiments.replay_modes import ACCESS, BORDER, DETECTION, HOME_AGENTS, MOBILE, MODES
from experiments.replay_traffic import POLL_S, Action, End, Traffic, read_until, run_schedule, times
from topologies import addressing
from topologies.agents import AgentError
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.netlink import Netlink
from topologies.network import RUNTIME, Network
from topologies.nodes import LAN
from topologies.single_as import SingleAs

SETTLE_S = 3.0
READY_S = 10.0
PROBES = 10
PROBE_RATE = 200.0


class BenchError(RuntimeError):
    """Something that was awaited did not happen: the testbed's fault, no result."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of packets: `accepted` reached the application, the others have a reason."""

    accepted: int
    refused: Mapping[str, int]

    @property
    def total(self) -> int:
        """All packets that are accounted for."""
        return self.accepted + sum(self.refused.values())

    def reasons(self) -> str:
        """Return the reasons as they stand in tables."""
        return " ".join(f"{name}={count}" for name, count in sorted(self.refused.items()))


@dataclass
class Bench:
    """One network in one mode."""

    mode: str
    logs: Path
    killed: set[str] = field(default_factory=set)
    timings: Mapping[str, float] = field(default_factory=dict)
    key_log: Path | None = None
    """Where fresh keys are noted for Wireshark, when packets are captured."""

    def __post_init__(self) -> None:
        routing = RoutingOptions(detection=DETECTIONS[DETECTION])
        self.network = Network(SingleAs(static=False), self.logs, routing, MODES[self.mode])
        self.traffic: Traffic
        self.attacker: Attacker

    def __enter__(self) -> Bench:
        try:
            self.network.start()
            self.network.start_agents()
            self.timings = self.network.timings
            self.attacker = Attacker(self.network.nodes[ACCESS], f"{ACCESS}-{MOBILE}", f"{LAN}-end")
            self.traffic = self._open_traffic()
        except BaseException:
            self.network.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.traffic.__exit__()
        self.attacker.close()
        self.network.stop()

    def _open_traffic(self) -> Traffic:
        addresses = {name: self.address(name) for name in (MOBILE, *HOME_AGENTS)}
        return Traffic(self.network.nodes, addresses, MOBILE, list(HOME_AGENTS))

    def address(self, name: str) -> IPv6Address:
        """Return where a node is reached: the home address, or a fixed node's own."""
        if name == MOBILE:
            return addressing.home_address(1)
        return self.network.plan.address_of(name)

    # Keys.

    def associations(self) -> tuple[KeyedAssociation, ...]:
        """Return the mobile node's SAs, as its key file has them now."""
        return read_key_file(RUNTIME / "keys" / f"{MOBILE}.toml")

    def upward_spi(self) -> int:
        """Return the SPI of the SA on which the mobile node sends payload."""
        return next(
            each.spi
            for each in self.associations()
            if each.mode is SaMode.TUNNEL and each.source == self.address(MOBILE)
        )

    def fresh_keys(self) -> None:
        """Give the mobile node new SAs; return when every home agent has them and its binding."""
        self.traffic.__exit__()
        self.network.agents.restart_mobile_node(MOBILE)
        self.network.agents.wait_bound()
        spi = self.upward_spi()
        for name in HOME_AGENTS.values():
            self._await(f"{name} to know the new SAs", partial(self._knows, name, spi))
        if self.key_log is not None:
            add_keys(self.key_log, self.associations())
        self.traffic = self._open_traffic()

    def _knows(self, name: str, spi: int) -> bool:
        agent = self.network.agents[name]
        generations = [a["generation"] for a in agent.ask("sas") if int(a["spi"], 16) == spi]
        return bool(generations) and any(
            each["state"] == "bound" and each["registration"] // 256 == generations[0]
            for each in agent.ask("bindings")
        )

    def floor(self, name: str) -> int:
        """Return the highest number of the mobile node that a home agent knows of."""
        spi = self.upward_spi()
        for each in self.network.agents[name].ask("sas"):
            if int(each["spi"], 16) == spi and each["direction"] == "in":
                return int(each["received"])
        raise BenchError(f"{name} does not hold {spi:#x}")

    # Traffic.

    def run(self, actions: Iterable[Action]) -> None:
        """Do everything in its time; the attacker and all ends read meanwhile."""
        run_schedule(actions, [self.attacker, *self.traffic.ends()])

    def sending(self, name: str, rate: float, count: int) -> list[Action]:
        """Return what makes a node send `count` packets at `rate` a second."""
        end = self.traffic.mobile if name == MOBILE else self.traffic.correspondents[name]
        return [Action(after, end.send) for after in times(rate, count)]

    def injecting(self, packets: Iterable[tuple[bytes, Heard]], rate: float) -> list[Action]:
        """Return what makes the attacker send copies, each to where its original went."""
        frames = [self.attacker.frame(packet, like) for packet, like in packets]
        return [
            Action(after, partial(self.attacker.inject, frame))
            for after, frame in zip(times(rate, len(frames)), frames, strict=True)
        ]

    def measured(self, receiver: str, end: End, actions: list[Action], count: int) -> Outcome:
        """Do everything, and return what the receiving agent made of `count` packets.

        Nothing else may be on its way to the receiver. Waits until all are accounted for: taken or
        dropped by the agent, those taken with the application. What is lost on the way is in
        nobody's account, after `SETTLE_S`.
        """
        end.read()  # what came before is not of these
        before, total = self._counters(receiver), end.total()
        self.run(actions)
        now = before

        def settled() -> bool:
            nonlocal now
            now = self._counters(receiver)
            taken = now["tunnel.received"] - before["tunnel.received"]
            return taken + sum(drops(now - before).values()) >= count and (
                end.total() - total >= taken
            )

        self._wait(settled, SETTLE_S)
        return Outcome(end.total() - total, drops(now - before))

    def _counters(self, name: str) -> Counter[str]:
        return Counter(self.network.agents[name].ask("counters"))

    def _wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until a condition holds, and read what arrives; False after so many seconds."""
        return read_until(condition, [self.attacker, *self.traffic.ends()], seconds)

    def _await(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_S
        while not condition():
            if time.monotonic() > deadline:
                raise BenchError(f"waited {READY_S:.0f} s for {what}")
            time.sleep(POLL_S)

    # Recording.

    def record(self, actions: list[Action], receiver: str, end: End, count: int) -> Outcome:
        """Like `measured`, while the attacker records; BenchError if the kernel dropped any."""
        self.begin_recording()
        outcome = self.measured(receiver, end, actions, count)
        self.end_recording()
        return outcome

    def begin_recording(self) -> None:
        """Let the attacker note what passes from now on, and nothing older."""
        self.attacker.read()
        self.attacker.heard.clear()
        self.attacker.missed()
        self.attacker.recording = True

    def end_recording(self) -> None:
        """Let the attacker note no more; BenchError if the kernel dropped any."""
        self.attacker.read()
        self.attacker.recording = False
        if missed := self.attacker.missed():
            raise BenchError(f"the attacker missed {missed} packets")

    # Faults and life.

    def kill(self, name: str) -> None:
        """Kill a home agent for good."""
        self.network.agents[name].kill()
        self.killed.add(name)

    def await_route_away(self, router: str) -> None:
        """Wait until the border router no longer routes the home network by `router`."""
        netlink = Netlink(self.network.nodes[BORDER].pid)
        names = {state.index: state.name for state in netlink.links().values()}
        try:
            self._await(
                f"{BORDER} to route past {router}",
                lambda: _way(netlink, names) not in ("", f"{BORDER}-{router}"),
            )
        finally:
            netlink.close()

    def alive(self) -> bool:
        """Say whether all agents answer, none had a fault, and packets pass both ways."""
        agents = self.network.agents
        try:
            for name in (*agents.home_agents, MOBILE):
                if name not in self.killed and agents[name].ask("counters").get(
                    "dropped.internal-error"
                ):
                    return False
        except AgentError:
            return False
        traffic = self.traffic
        down, up = traffic.delivered("cn1"), traffic.delivered_up()
        self.run(
            [
                *self.sending("cn1", PROBE_RATE, PROBES),
                *self.sending(MOBILE, PROBE_RATE, PROBES),
            ]
        )
        return self._wait(
            lambda: (
                traffic.delivered("cn1") - down == PROBES and traffic.delivered_up() - up == PROBES
            ),
            SETTLE_S,
        )


def drops(counters: Mapping[str, int]) -> dict[str, int]:
    """Return the reasons for which packets were dropped, with their counts."""
    return {
        name.removeprefix("dropped."): count
        for name, count in counters.items()
        if name.startswith("dropped.") and count > 0
    }


def _way(netlink: Netlink, names: Mapping[int, Any]) -> str:
    """Return the interface of a router's best route to the home network, "" for none."""
    found = [r for r in netlink.routes() if r.destination == addressing.HOME_PREFIX]
    return str(names[min(found, key=lambda r: r.metric).interface]) if found else ""
