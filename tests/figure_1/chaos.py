"""Random fault schedules on Figure 1: what is broken when, and how it is broken and repaired.

A schedule follows from its seed alone. What may happen together keeps two promises, so that the
invariants can be judged: one home agent, the survivor, is never killed, and a mobile node gets
new keys only while all home agents are well.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.figure_1.lab import Lab
from topologies.nftables import Nftables

HOME_AGENTS = ("HA1", "HA2", "HA3")
TABLE = "chaos"
LOSS_PERCENT = 30
LONGEST = 1.6
"""Seconds that a fault lasts at most."""

POLL = 0.02


@dataclass(frozen=True)
class Step:
    """One fault: when it begins and ends, in seconds from the start, and whom it befalls."""

    at: float
    until: float
    fault: str
    target: str

    def __str__(self) -> str:
        return f"{self.at:.2f}-{self.until:.2f} {self.fault} {self.target}"


@dataclass
class Doing:
    """What is broken in a running schedule, and how to repair it."""

    lab: Lab
    tables: dict[str, Nftables] = field(default_factory=dict)
    spis: set[int] = field(default_factory=set)
    keys: list[bytes] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def learn_keys(self) -> None:
        """Note the keys in use: those of a restarted mobile node replace others."""
        self.spis |= {each.spi for each in self.lab.own_associations()}
        found = self.lab.keys()
        self.keys += [each for each in found if each not in self.keys]

    def filter(self, home_agent: str, rules: str) -> None:
        """Put rules on what arrives from other home agents' own addresses."""
        table = self.tables.get(home_agent) or Nftables(self.lab.node(home_agent).pid)
        self.tables[home_agent] = table
        table.run(
            f"table ip6 {TABLE} {{ chain arriving {{ type filter hook prerouting priority -300; "
            f"{rules} }}; }}"
        )

    def unfilter(self) -> None:
        """Take all such rules away."""
        for table in self.tables.values():
            table.run(f"table ip6 {TABLE} {{ }}; delete table ip6 {TABLE}")

    def close(self) -> None:
        for table in self.tables.values():
            table.close()


Action = Callable[[Doing, str], object]


def _router(home_agent: str) -> str:
    return home_agent.replace("HA", "r")


def _others(doing: Doing, home_agent: str) -> list[str]:
    return [doing.lab.address(each) for each in HOME_AGENTS if each != home_agent]


def _restart(doing: Doing, target: str) -> None:
    doing.lab.agent(target).kill()
    doing.lab.agent(target).start()


def _partition(doing: Doing, target: str) -> None:
    """Cut one home agent off from the others, their data plane intact: both directions."""
    own = doing.lab.address(target)
    for each in HOME_AGENTS:
        peers = _others(doing, each) if each == target else [own]
        rules = " ".join(f"ip6 saddr {address} drop;" for address in peers)
        doing.filter(each, rules)


def _lossy(doing: Doing, target: str) -> None:
    rules = f"numgen random mod 100 < {LOSS_PERCENT} drop;"
    doing.filter(target, " ".join(f"ip6 saddr {a} {rules}" for a in _others(doing, target)))


def _repeating(doing: Doing, target: str) -> None:
    own = doing.lab.address(target)
    rules = f"numgen random mod 100 < {LOSS_PERCENT} dup to {own};"
    doing.filter(target, " ".join(f"ip6 saddr {a} {rules}" for a in _others(doing, target)))


def _flap(doing: Doing, target: str) -> None:
    for _ in range(3):
        doing.lab.network.faults.cut(_router(target), target)
        time.sleep(0.05)  # how long the link is down is what the fault is
        doing.lab.network.faults.mend(_router(target), target)
        time.sleep(0.05)


def _nothing(doing: Doing, target: str) -> None:
    """It is over by itself."""


def _unfilter(doing: Doing, target: str) -> None:
    doing.unfilter()


def _restart_mobile_node(doing: Doing, target: str) -> None:
    doing.lab.network.agents.restart_mobile_node("mn")
    doing.learn_keys()


@dataclass(frozen=True)
class Fault:
    """How a fault is made and repaired."""

    inject: Action
    repair: Action = _nothing
    kills: bool = False


AT_HOME_AGENTS: dict[str, Fault] = {
    "agent-kill": Fault(
        lambda d, t: d.lab.agent(t).kill(), lambda d, t: d.lab.agent(t).start(), kills=True
    ),
    "agent-restart": Fault(_restart, kills=True),
    "agent-hang": Fault(lambda d, t: d.lab.agent(t).hang(), lambda d, t: d.lab.agent(t).resume()),
    "node-silent": Fault(
        lambda d, t: d.lab.network.faults.silence(t),
        lambda d, t: d.lab.network.faults.unsilence(t),
    ),
    "link-cut": Fault(
        lambda d, t: d.lab.network.faults.cut(_router(t), t),
        lambda d, t: d.lab.network.faults.mend(_router(t), t),
    ),
    "link-flap": Fault(_flap),
}
"""Of these no two befall one home agent at once, and all three home agents never."""

BETWEEN: dict[str, Fault] = {
    "ha-partition": Fault(_partition, _unfilter),
    "inter-ha-loss": Fault(_lossy, _unfilter),
    "inter-ha-duplication": Fault(_repeating, _unfilter),
}
"""One of these at a time, beside the others."""

MOBILE: dict[str, Fault] = {
    "mn-move": Fault(lambda d, t: d.lab.network.faults.move("mn", t)),
    "mn-restart": Fault(_restart_mobile_node),
}

FAULTS = {**AT_HOME_AGENTS, **BETWEEN, **MOBILE}


def schedule(seed: int, faults: int = 6) -> list[Step]:
    """Return the schedule of a seed, by the time at which faults begin."""
    chance = random.Random(seed)
    survivor, access = chance.choice(HOME_AGENTS), "v1"
    steps: list[Step] = []
    at = 0.3
    while len(steps) < faults:
        until = at + chance.uniform(0.2, LONGEST)
        standing = [each for each in steps if each.until > at]
        broken = {each.target for each in standing if each.fault in AT_HOME_AGENTS}
        kind = chance.choice([*AT_HOME_AGENTS, *AT_HOME_AGENTS, *BETWEEN, *MOBILE])
        target = chance.choice(HOME_AGENTS)
        if kind in AT_HOME_AGENTS:
            allowed = target not in broken and len(broken) < 2
            allowed = allowed and not (AT_HOME_AGENTS[kind].kills and target == survivor)
        elif kind in BETWEEN:
            allowed = not any(each.fault in BETWEEN for each in standing)
        elif kind == "mn-move":
            target = access = "v2" if access == "v1" else "v1"
            allowed = True
        else:
            target, allowed = "mn", not standing
        if allowed:
            steps.append(Step(round(at, 2), round(until, 2), kind, target))
        at += chance.uniform(0.1, 0.9)
    return steps


def play(doing: Doing, steps: list[Step], meanwhile: Callable[[], None]) -> None:
    """Break and repair as the schedule says; call `meanwhile` often. All is repaired at its end."""
    began = time.monotonic()
    for moment, action, step in _actions(steps):
        while (left := began + moment - time.monotonic()) > 0:
            meanwhile()
            time.sleep(min(POLL, left))
        if (action, step.fault) == ("make", "mn-restart"):
            _await_home_agents(doing)
        doing.log.append(f"{time.monotonic() - began:.2f} {action} {step}")
        fault = FAULTS[step.fault]
        (fault.inject if action == "make" else fault.repair)(doing, step.target)


def _actions(steps: list[Step]) -> Iterator[tuple[float, str, Step]]:
    made = [(each.at, "make", each) for each in steps]
    ended = [(each.until, "repair", each) for each in steps]
    yield from sorted(made + ended, key=lambda each: each[0])


def _await_home_agents(doing: Doing) -> None:
    """A person gives new keys to a network that is well."""
    for name in HOME_AGENTS:
        agent = doing.lab.agent(name)
        agent.wait("in step", lambda s: set(s["peers"].values()) == {"up"}, 30)
