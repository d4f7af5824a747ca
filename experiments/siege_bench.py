"""Figure 1 besieged: a stranger on the visited link, what it overhears, and what is to be seen."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from experiments import besieger
from experiments.attacks import ETHERNET, PACKET_OUTGOING, open_port
from experiments.hijack_forgeries import Known
from experiments.run import REPOSITORY
from experiments.siege_attacks import ATTACKS, SOURCES, Surroundings, frames, mean_length
from topologies import addressing
from topologies.agents import Agent, AgentError
from topologies.figure_1 import STRANGER, STRANGER_HOST
from topologies.namespaces import call_in
from topologies.network import RUNTIME, Network
from topologies.shaping import rate_commands

MOBILE, ACCESS, CORRESPONDENT = "mn", "v1", "cn1"
EAR = f"{ACCESS}-{MOBILE}"
MOUTH = f"{STRANGER}-{ACCESS}"
UPDATES_HEARD = 8
HEARD_S, POLL_S, START_S, END_S = 10.0, 0.05, 20.0, 5.0
TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_HEADER, _OPTIONS = 40, 24
_ESP, _DESTINATION_OPTIONS, _ROUTING = 50, 60, 43


class SiegeError(RuntimeError):
    """Something that was awaited did not happen: the testbed's fault, no result."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An agent at one moment: memory in octets, processor time in s, packets read, counters."""

    memory: int
    processor: float
    counters: Counter[str]

    @property
    def read(self) -> int:
        """Packets that the agent has read."""
        return self.counters["runtime.packets-read"]


@dataclass(frozen=True, slots=True)
class Sent:
    """What a sender tells of its end: frames given to the link and refused by its queue."""

    sent: int
    refused: int
    returned: int
    seconds: float


class Eavesdropper:
    """Hears the mobile node's link until it knows what the attacks need; it holds no key."""

    def __init__(self, network: Network) -> None:
        """Open the port; raises `OSError`."""
        self._ear = call_in(network.nodes[ACCESS].pid, lambda: open_port(EAR))
        self._home_agents = list(network.agents.home_agents)
        self._plan = network.plan
        self._spis: dict[tuple[str, bool], int] = {}
        self._sid = 0
        self._care_of = IPv6Address(0)
        self.updates: list[bytes] = []
        self.router = self.mobile = b""

    @property
    def complete(self) -> bool:
        """Whether all is known."""
        return len(self._spis) == 4 and len(self.updates) >= UPDATES_HEARD

    def read(self) -> None:
        """Take in what waits."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, (_, _, kind, *_) = self._ear.recvfrom(2048)
                self._hear(frame, down=kind == PACKET_OUTGOING)

    def _hear(self, frame: bytes, *, down: bool) -> None:
        """Learn from a packet between the mobile node and the home agent address."""
        packet = frame[ETHERNET:]
        end = packet[8:24] if down else packet[24:40]
        if len(packet) < 96 or end != addressing.HOME_AGENT_ADDRESS.packed:
            return
        first, esp = packet[6], _HEADER
        if down and first in (_DESTINATION_OPTIONS, _ROUTING):
            esp += _OPTIONS * (2 if first == _ROUTING else 1)
        elif first == _DESTINATION_OPTIONS:
            esp += _OPTIONS
        elif first != _ESP:
            return
        signalling = first == (_ROUTING if down else _DESTINATION_OPTIONS)
        kind = "signalling" if signalling else "payload"
        self._spis[kind, down] = int.from_bytes(packet[esp : esp + 4])
        if down:
            self._sid = int.from_bytes(packet[esp + 8 : esp + 10])
            return
        self.router, self.mobile = frame[:6], frame[6:12]
        self._care_of = IPv6Address(packet[8:24])
        if signalling and len(self.updates) < UPDATES_HEARD:
            self.updates.append(packet)

    def known(self) -> Known:
        """Return what forgeries are made of."""
        own = [self._plan.address_of(name) for name in self._home_agents]
        return Known(
            home_agent=addressing.HOME_AGENT_ADDRESS,
            home_address=addressing.home_address(1),
            care_of=self._care_of,
            correspondent=self._plan.address_of(CORRESPONDENT),
            spi_ack=self._spis["signalling", True],
            spi_down=self._spis["payload", True],
            spi_update=self._spis["signalling", False],
            spi_up=self._spis["payload", False],
            sid=self._sid,
            peers=(own[0], own[-1]),
            spi_peers=0,
        )

    def close(self) -> None:
        """Close the port."""
        self._ear.close()


class Stranger:
    """The attacker: its addresses, its link's rate, and its sender."""

    def __init__(self, network: Network, folder: Path, chance: random.Random) -> None:
        self._network, self._folder, self._chance = network, folder, chance
        self.node = network.nodes[STRANGER]
        prefix = addressing.visited_prefix(1)
        self.addresses = [prefix[STRANGER_HOST + n] for n in range(SOURCES)]
        lines = [f"addr add {each}/128 dev {MOUTH} nodad" for each in self.addresses[1:]]
        self.node.run(["ip", "-6", "-batch", "-"], "\n".join(lines) + "\n", check=True)
        self._made: dict[str, tuple[Path, float]] = {}

    def limit(self, mbit: float) -> None:
        """Give its link another rate, both ways."""
        for node, interface in ((STRANGER, MOUTH), (ACCESS, f"{ACCESS}-{STRANGER}")):
            lines = [f"qdisc del dev {interface} root", *rate_commands(interface, mbit)]
            self._network.nodes[node].run(
                ["tc", "-batch", "-"], "\n".join(lines) + "\n", check=True
            )

    def prepare(self, ear: Eavesdropper, attacks: Iterable[str]) -> None:
        """Make the frames of these attacks."""
        near = Surroundings(
            own=self._link_address(),
            router=ear.router,
            mobile=ear.mobile,
            addresses=self.addresses,
            home_agents={
                name: self._network.plan.address_of(name)
                for name in self._network.agents.home_agents
            },
            updates=ear.updates,
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in attacks:
            made = frames(ATTACKS[name], ear.known(), near, self._chance)
            path = self._folder / f"{name}.frames"
            besieger.write_frames(path, made)
            self._made[name] = path, mean_length(made)

    def offer(self, attack: str, mbit: float) -> float:
        """Return the frames a second of an attack that fill a link of that rate."""
        return mbit * 1e6 / 8 / self._made[attack][1]

    def sender(self, attack: str, rate: float, seconds: float) -> Siege:
        """Start a sender, which waits to be told to begin; raises `SiegeError`."""
        command = [sys.executable, "-m", "experiments.besieger", "--interface", MOUTH]
        command += ["--frames", str(self._made[attack][0])]
        command += ["--rate", f"{rate:.1f}", "--seconds", f"{seconds:.3f}"]
        if ATTACKS[attack].returns_cookies:
            command.append("--cookies")
        return Siege(
            self.node.spawn(
                command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
        )  # fmt: skip

    def forwarded(self) -> int:
        """Return how many frames its link has taken: behind its queue."""
        path = f"/sys/class/net/{MOUTH}/statistics/tx_packets"
        counted = self.node.run(["cat", path], check=True)
        return int(counted.stdout)

    def _link_address(self) -> bytes:
        shown = self.node.run(["ip", "link", "show", "dev", MOUTH], check=True).stdout
        found = re.search(r"link/ether ([0-9a-f:]{17})", shown)
        if found is None:
            raise SiegeError(f"{MOUTH} has no link-layer address")
        return bytes.fromhex(found[1].replace(":", ""))


class Siege:
    """One sender's process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until it is ready; raises `SiegeError`."""
        self._process = process
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            self.kill()
            raise SiegeError("the sender did not start")

    def begin(self) -> None:
        """Let it send."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()

    def end(self) -> Sent:
        """Wait for its end; return what it tells; raises `SiegeError`."""
        try:
            told, _ = self._process.communicate(timeout=END_S)
            return Sent(**json.loads(told))
        except (subprocess.TimeoutExpired, ValueError) as error:
            self.kill()
            raise SiegeError(f"the sender did not end well: {error}") from error

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()


def sample(agent: Agent) -> Sample:
    """Look at an agent's process and its counters; raises `AgentError`."""
    assert agent.process is not None
    proc = Path("/proc", str(agent.process.pid))
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    counters = Counter(agent.ask("counters"))
    if agent.module == "agents.ha":
        counters.update({f"dropped.{name}": n for name, n in agent.ask("gate").items()})
    return Sample(
        memory=int(fields[21]) * _PAGE,
        processor=(int(fields[11]) + int(fields[12])) / TICKS,
        counters=counters,
    )


def listen(network: Network) -> Eavesdropper:
    """Hear the mobile node register a few times, and its traffic; raises `SiegeError`."""
    ear = Eavesdropper(network)
    there = str(network.plan.address_of(CORRESPONDENT))
    talk = ["ping", "-6", "-q", "-i", "0.2", "-w", f"{HEARD_S:.0f}", there]
    traffic = network.nodes[MOBILE].spawn(talk, stdout=subprocess.DEVNULL)
    try:
        _listen(network, ear)
    finally:
        traffic.kill()
        traffic.wait()
        ear.close()
    return ear


def _listen(network: Network, ear: Eavesdropper) -> None:
    until = time.monotonic() + HEARD_S
    while not ear.complete:
        if time.monotonic() > until:
            raise SiegeError(f"nothing to attack with was heard within {HEARD_S:.0f} s")
        with contextlib.suppress(AgentError):
            network.agents[MOBILE].ask("refresh")
        time.sleep(POLL_S)
        ear.read()


def frames_folder() -> Path:
    """Return where frames are kept: in the sandbox's own /run, gone with it."""
    return RUNTIME / "siege"


def refused(before: Mapping[str, Sample], after: Mapping[str, Sample]) -> Counter[str]:
    """Return what all agents together dropped in between, by reason."""
    found: Counter[str] = Counter()
    for name, later in after.items():
        for counter, count in (later.counters - before[name].counters).items():
            head, dropped, reason = counter.rpartition("dropped.")
            if dropped:
                found[head + reason] += count
    return found
