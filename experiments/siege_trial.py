"""One trial of the siege: idle and besieged phases in turn, on one network with its traffic."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments import streams
from experiments.data import EventName
from experiments.data_siege import SIEGES, UPDATES
from experiments.probes import Flow, ProbeError, Probes, keep, spawning
from experiments.run import RunFolder
from experiments.siege_bench import (
    CORRESPONDENT,
    MOBILE,
    Sample,
    Sent,
    SiegeError,
    Stranger,
    refused,
    sample,
)
from experiments.statistics import median, p95
from experiments.streams import CONSECUTIVE, Stream
from experiments.watch import Observation, Watcher
from topologies import addressing
from topologies.agents import AgentError
from topologies.network import RUNTIME, Network

MS, MB = 1_000_000, 1_000_000
FIRST = "HA1"
"""The home agent that the stranger's packets to the HA address reach, as the MN's do."""

UP, DOWN = Flow(1, MOBILE, CORRESPONDENT), Flow(2, CORRESPONDENT, MOBILE)
FLOW_RATE = 100
"""Packets a second of each flow: traffic that goes on, no load of its own."""

UPDATE_PERIOD_S = 0.05
UNANSWERED_S = 1.0
"""So long is an acknowledgement waited for; one that does not come counts as late as that."""

START_TIMEOUT, REST_S = 15.0, 0.3
HEAD_S = 0.2
"""A phase begins to count so long after its traffic began: the senders have their pace by then."""

ERRORS = (SiegeError, ProbeError, AgentError)


@dataclass(frozen=True, slots=True)
class Step:
    """A siege that is to be laid: of which part, which attack, over a link of which rate."""

    part: str
    attack: str
    mbit: float


@dataclass
class Phase:
    """What was seen in one phase."""

    step: Step
    phase: str
    begin_ns: int
    end_ns: int
    before: Mapping[str, Sample]
    after: Mapping[str, Sample]
    sizes: Mapping[str, Any]
    sent: Sent | None = None
    forwarded: int = 0

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end_ns - self.begin_ns) / 1e9

    def read_per_s(self) -> float:
        """Return the packets a second that all agents read."""
        read = sum(each.read - self.before[name].read for name, each in self.after.items())
        return read / self.seconds


@dataclass
class SiegeTrial:
    """All sieges of a trial, each behind a phase in which nobody attacks."""

    number: int
    steps: Sequence[Step]
    idle_s: float
    siege_s: float
    network: Network
    watcher: Watcher
    stranger: Stranger
    folder: RunFolder
    begin_ns: int = 0
    phases: list[Phase] = field(default_factory=list)

    def run(self) -> Iterator[Step]:
        """Lay all sieges and write all rows; yield each when it is over. Raises one of `ERRORS`."""
        self.begin_ns = time.monotonic_ns()
        detection = self.network.options.detection.name
        self.folder.event(
            EventName.TRIAL_BEGIN, self.begin_ns, trial=self.number, fault="", detection=detection
        )
        records = RUNTIME / "probes" / f"{self.number:04}"
        probes = self._probes(records)
        try:
            probes.start()
            if dead := probes.running((UP, DOWN), self.begin_ns, CONSECUTIVE, START_TIMEOUT):
                raise ProbeError(f"nothing arrives from {dead[0].sender} at {dead[0].receiver}")
            for step in self.steps:
                self.stranger.limit(step.mbit)
                self.phases.append(self._phase(step, "idle", self.idle_s))
                self.phases.append(self._besieged(step))
                time.sleep(REST_S)  # what the siege has left in queues is not of the next phase
                yield step
            self._rest()
            recorded = probes.stop()
        finally:
            probes.kill()
            keep(records, self.folder.path / "raw" / f"{self.number:04}")
        self._write(recorded)
        self.folder.event(EventName.TRIAL_END, trial=self.number)
        self.watcher.forget(time.monotonic_ns())

    def _probes(self, records: Path) -> Probes:
        addresses = {
            MOBILE: str(addressing.home_address(1)),
            CORRESPONDENT: str(self.network.plan.address_of(CORRESPONDENT)),
        }
        spawn = spawning(self.network, self.folder)
        return Probes(self.watcher, spawn, addresses, (UP, DOWN), records, rate=FLOW_RATE)

    # Phases.

    def _besieged(self, step: Step) -> Phase:
        """Let the stranger send while all goes on."""
        rate = self.stranger.offer(step.attack, step.mbit)
        siege = self.stranger.sender(step.attack, rate, self.siege_s + HEAD_S)
        try:
            forwarded = self.stranger.forwarded()
            siege.begin()
            phase = self._phase(step, "siege", self.siege_s)
            phase.sent = siege.end()
            phase.forwarded = self.stranger.forwarded() - forwarded
        except BaseException:
            siege.kill()
            raise
        return phase

    def _phase(self, step: Step, name: str, seconds: float) -> Phase:
        """Have the mobile node register again and again for so long."""
        self._register(HEAD_S)
        begin, before = time.monotonic_ns(), self._look()
        self._register(seconds)
        self.network.check_alive()
        sizes = self.network.agents[FIRST].ask("status")
        end = time.monotonic_ns()
        return Phase(step, name, begin, end, before, self._look(), sizes)

    def _register(self, seconds: float) -> None:
        mobile = self.network.agents[MOBILE]
        begin = due = time.monotonic()
        while due < begin + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            mobile.ask("refresh")
            due += UPDATE_PERIOD_S

    def _rest(self) -> None:
        """Wait for what the last phase's Binding Updates lead to."""
        last = self.phases[-1]
        self.watcher.wait(
            lambda: not any(late for _, late, _ in self._latencies(last)), UNANSWERED_S
        )

    def _look(self) -> dict[str, Sample]:
        agents = self.network.agents
        return {
            name: sample(agent)
            for name, agent in {**agents.home_agents, **agents.mobile_nodes}.items()
        }

    # Records.

    def _latencies(self, phase: Phase) -> list[tuple[float, bool, float]]:
        """Return (ms since the phase began, unanswered, latency in ms) of each Binding Update."""
        until = phase.end_ns + int(UNANSWERED_S * 1e9)
        seen = [e for e in self.watcher.since(phase.begin_ns) if e.time_ns < until]
        answers = {
            each.fields["sequence"]: each.fields["delay"]
            for each in seen
            if each.matches(EventName.AGENT, node=MOBILE, kind="registration-acknowledged")
        }
        found = []
        for each in seen:
            if each.time_ns >= phase.end_ns or not _is_update(each):
                continue
            latency = answers.get(each.fields["sequence"], UNANSWERED_S)
            late = latency >= UNANSWERED_S
            after = (each.time_ns - phase.begin_ns) / MS
            found.append((after, late, min(latency, UNANSWERED_S) * 1e3))
        return found

    def _write(self, recorded: Mapping[Flow, Stream]) -> None:
        idle: Phase | None = None
        for phase in self.phases:
            common = {
                "trial": self.number,
                "part": phase.step.part,
                "attack": phase.step.attack,
                "phase": phase.phase,
                "mbit": phase.step.mbit,
            }
            latencies = self._latencies(phase)
            if not latencies:
                raise SiegeError(f"{phase.step.attack}, {phase.phase}: no Binding Update was sent")
            for after, late, latency in latencies:
                row = {"after_ms": after, "latency_ms": latency, "answered": not late}
                self.folder.row(UPDATES, **common, **row)
            self.folder.row(
                SIEGES,
                **common,
                begin_ms=(phase.begin_ns - self.begin_ns) / MS,
                seconds=phase.seconds,
                **_offered(phase, idle),
                **_registrations(latencies),
                **_flow("up", recorded[UP], phase),
                **_flow("down", recorded[DOWN], phase),
                **self._sessions(phase),
                **_resources(phase),
                refused=_reasons(phase),
            )
            idle = phase

    def _sessions(self, phase: Phase) -> dict[str, int]:
        seen = [e for e in self.watcher.since(phase.begin_ns) if e.time_ns < phase.end_ns]
        down = {
            (e.fields["node"], e.fields["interface"])
            for e in seen
            if e.matches(EventName.BFD, state="Down", outgoing=True)
        }
        given_up = sum(each.name is EventName.NEIGHBOUR for each in seen)
        trips = sum(each.matches(EventName.AGENT, kind="watchdog-trip") for each in seen)
        return {"bfd_lost": len(down), "neighbours_lost": given_up, "watchdog_trips": trips}


def _is_update(seen: Observation) -> bool:
    return seen.matches(EventName.AGENT, node=MOBILE, kind="registration-sent")


def _offered(phase: Phase, idle: Phase | None) -> dict[str, float]:
    sent = phase.sent
    if sent is None or idle is None:
        nothing = dict.fromkeys(("offered_per_s", "forwarded_per_s", "taken_per_s"), 0.0)
        return {**nothing, "cookies_returned": 0}
    return {
        "offered_per_s": (sent.sent + sent.refused) / sent.seconds,
        "forwarded_per_s": phase.forwarded / sent.seconds,
        "taken_per_s": max(0.0, phase.read_per_s() - idle.read_per_s()),
        "cookies_returned": sent.returned,
    }


def _registrations(latencies: Sequence[tuple[float, bool, float]]) -> dict[str, float]:
    times = [latency for _, _, latency in latencies]
    return {
        "updates": len(latencies),
        "unanswered": sum(late for _, late, _ in latencies),
        "median_ms": median(times),
        "p95_ms": p95(times),
        "max_ms": max(times),
    }


def _flow(direction: str, stream: Stream, phase: Phase) -> dict[str, float]:
    window = phase.begin_ns, phase.end_ns
    return {
        f"sent_{direction}": stream.index(window[1]) - stream.index(window[0]),
        f"lost_{direction}": streams.lost(stream, *window),
        f"gap_{direction}_ms": streams.longest_gap_ns(stream, *window) / MS,
    }


def _resources(phase: Phase) -> dict[str, float]:
    used = {
        name: (later.processor - phase.before[name].processor) / phase.seconds
        for name, later in phase.after.items()
    }
    grown = [later.memory - phase.before[name].memory for name, later in phase.after.items()]
    return {
        "cpu_ha": max(share for name, share in used.items() if name != MOBILE),
        "cpu_mn": used[MOBILE],
        "rss_growth_mb": max(grown) / MB,
        **{each: phase.sizes[each] for each in ("bindings", "sas", "ike_sas", "open_exchanges")},
    }


def _reasons(phase: Phase) -> str:
    found = refused(phase.before, phase.after)
    return " ".join(f"{name}={count}" for name, count in sorted(found.items()) if count)
