"""One trial of the failover experiment: probes, fault, recovery, repair, fail-back, analysis."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments import detection, streams
from experiments.agreement import Agreement
from experiments.carrier import both_ends_saw
from experiments.data import EventName
from experiments.faults import HOME_TUN
from experiments.phases import phases
from experiments.probes import Flow, ProbeError, Probes, keep
from experiments.run import REPOSITORY, RunFolder
from experiments.scenarios import Case, Scenario, Way
from experiments.streams import CONSECUTIVE, PAUSE_NS, Stream
from experiments.watch import Observation, Watcher
from topologies.agents import AgentError
from topologies.frr import RoutingError
from topologies.frr_config import DETECTIONS
from topologies.netlink import Netlink
from topologies.network import RUNTIME, Network

MS = 1_000_000
SETTLE_S = 0.3
PHASE_S = 1.0  # the longest timer that a fault can fall into, but BGP's: OSPFv3's hello
BEFORE_NS = 100 * MS
INJECTION_LIMIT_NS = 15 * MS
RECOVERY_TIMEOUT = 15.0
SYNC_TIMEOUT = 3.0
FAILBACK_TIMEOUT = 40.0
TAIL_PACKETS = 200
AGREEMENT_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Cell:
    """What is varied."""

    scheme: str
    topology: str
    fault: str
    detection: str

    def columns(self) -> dict[str, str]:
        """Return the columns that every table begins with."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Void:
    """A trial that does not count, for a reason outside of what is measured.

    `spoiled`: it was left half-way, and its network is of no more use.
    """

    reason: str
    spoiled: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """A trial in which the testbed did not do its part."""

    reason: str


@dataclass(frozen=True, slots=True)
class Valid:
    """A trial that counts."""


Outcome = Valid | Void | Failed


class TrialError(RuntimeError):
    """Something that was awaited did not happen."""


@dataclass
class Trial:
    """A trial and its times (CLOCK_MONOTONIC, ns)."""

    number: int
    cell: Cell
    scenario: Scenario
    network: Network
    watcher: Watcher
    folder: RunFolder
    begin_ns: int = 0
    inject_ns: int = 0
    fault_ns: int = 0
    recovered_ns: int = 0
    repair_ns: int = 0
    end_ns: int = 0
    phase_s: float = 0.0
    load: float = 0.0
    resynchronised_first: bool | None = None
    agreed_ns: int | None = None
    signalling: dict[str, int] = field(default_factory=dict)
    recorded: dict[Flow, Stream] = field(default_factory=dict)

    @property
    def case(self) -> Case:
        """What the fault does in this topology."""
        return self.scenario.cases[self.cell.fault]

    def run(self, chance: float) -> Outcome:
        """Run the trial; `chance` in [0, 1) is the phase of the fault against all timers."""
        self.begin_ns = time.monotonic_ns()
        self.load = _load()
        keepalive = DETECTIONS[self.cell.detection].bgp_keepalive
        self.phase_s = SETTLE_S + chance * max(PHASE_S, keepalive)
        self.folder.event(
            EventName.TRIAL_BEGIN, self.begin_ns, trial=self.number, fault=self.cell.fault,
            detection=self.cell.detection,
        )  # fmt: skip
        probes = Probes(
            self.watcher, self._spawn, self.scenario.addresses, self.case.flows,
            self._records(), in_flight_s=self._distance_s(),
        )  # fmt: skip
        try:
            detection.switch(self.network, self.cell.detection)
            self.begin_ns = time.monotonic_ns()  # sessions that a switch began are no losses
            self._await_ways()
            probes.start()
            self._await_running(probes, self.begin_ns, "before the fault")
            self._break_it(probes)
            self._repair(probes)
            self.recorded = probes.stop()
            self.end_ns = time.monotonic_ns()
            detection.await_sessions(self.network)
        except (TrialError, ProbeError, AgentError, RoutingError) as error:
            probes.kill()
            self.end_ns = time.monotonic_ns()
            lost = self._lost_session()
            return Void(f"{lost}; {error}", spoiled=True) if lost else Failed(str(error))
        finally:
            self._keep_records()
            self._log()
        return self._judge()

    def _spawn(self, node: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder.path / "logs" / "probes.log").open("ab") as log:
            process: subprocess.Popen[bytes] = self.network.nodes[node].spawn(
                list(command), cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        return process

    def _records(self) -> Any:
        return RUNTIME / "probes" / f"{self.number:04}"

    def _distance_s(self) -> float:
        """Return a time within which every packet on its way arrives: all links' delays, in s."""
        return sum(link.delay_ms for link in self.network.plan.links) / 1000

    def _patience(self, seconds: float) -> float:
        """Return a time limit; with timers as long as BGP's own it is longer."""
        hold = self.network.options.detection.bgp_hold
        return seconds if hold < seconds else seconds + hold

    def _await_running(
        self, probes: Probes, after_ns: int, when: str, count: int = CONSECUTIVE
    ) -> None:
        dead = probes.running(self.case.flows, after_ns, count, self._patience(RECOVERY_TIMEOUT))
        if dead:
            names = ", ".join(f"{flow.sender} to {flow.receiver}" for flow in dead)
            raise TrialError(f"{when}: no {count} packets in a row from {names}")

    def _await_ways(self) -> None:
        """Wait until all routes go as the scenario has them: the trial before may still echo."""
        astray: list[str] = []

        def straight() -> bool:
            astray[:] = [way.router for way in self.scenario.ways if not self._goes(way)]
            return not astray

        if not self.watcher.wait(straight, FAILBACK_TIMEOUT):
            raise TrialError(f"before the fault: routes of {', '.join(astray)} go another way")

    def _goes(self, way: Way) -> bool:
        """Return whether a router's kernel routes the prefix that way."""
        netlink = Netlink(self.network.nodes[way.router].pid)
        try:
            names = {state.index: state.name for state in netlink.links().values()}
            found = [r for r in netlink.routes() if r.destination == way.prefix]
        finally:
            netlink.close()
        best = min(found, key=lambda route: route.metric, default=None)
        return best is not None and names[best.interface] in way.interfaces

    def _break_it(self, probes: Probes) -> None:
        """Wait for the random phase, inject the fault, wait until everything runs again."""
        fault = self.case.fault
        before = self._signalling()
        time.sleep(self.phase_s)  # the phase of the fault is what is random about a trial
        self.inject_ns = time.monotonic_ns()
        self.fault_ns = fault.inject(self.network)
        moved_ns = self._await_moves()
        self._await_running(probes, moved_ns, "after the fault")
        self.recovered_ns = time.monotonic_ns()
        self.folder.event(EventName.RECOVERED, self.recovered_ns, trial=self.number)
        if not fault.repairs_itself:
            # Long enough for the time line, and to see that what took over stays.
            self._await_running(probes, self.recovered_ns, "since the recovery", TAIL_PACKETS)
            if self.case.estranged:
                self.watcher.wait(self._peers_know, SYNC_TIMEOUT)
        self.signalling = _difference(before, self._signalling())

    def _await_moves(self) -> int:
        """Wait until every route that must move has moved; return when the last one did."""
        times = [self.fault_ns]
        for way in self.case.moves:
            found: list[Observation] = []

            def moved(way: Way = way, found: list[Observation] = found) -> bool:
                found[:] = [o for o in self.watcher.since(self.inject_ns) if way.moved(o)]
                return bool(found)

            if not self.watcher.wait(moved, self._patience(RECOVERY_TIMEOUT)):
                raise TrialError(f"{way.router} did not change its route after the fault")
            times.append(found[0].time_ns)
        return max(times)

    def _survivors(self) -> list[str]:
        return [n for n in self.network.agents.home_agents if n not in self.case.lost]

    def _peers_know(self) -> bool:
        """Return whether all other home agents have marked the failed ones invalid."""
        return "peers-in-sync" in self.phases(None)

    def phases(self, first_packet_ns: int | None) -> dict[str, int]:
        """Return when each phase began, read off what was observed until the repair."""
        end = self.repair_ns or time.monotonic_ns()
        seen = [o for o in self.watcher.since(self.inject_ns) if o.time_ns <= end]
        return phases(seen, self.case, self._survivors(), first_packet_ns)

    def _repair(self, probes: Probes) -> None:
        """Repair the fault, wait until what failed is back in service and traffic uses it."""
        fault, where = self.case.fault, self.case.where
        since = self.inject_ns if fault.repairs_itself else time.monotonic_ns()
        self.repair_ns = time.monotonic_ns()
        self.folder.event(EventName.REPAIR, self.repair_ns, trial=self.number, node=where)
        fault.repair(self.network)
        for way in self.case.moves:
            if not self.watcher.wait(
                lambda way=way: self._is_back(way, since),  # type: ignore[misc]
                self._patience(FAILBACK_TIMEOUT),
            ):
                raise TrialError(f"{way.router} did not go back to {', '.join(way.interfaces)}")
        self.folder.event(EventName.FAILED_BACK, trial=self.number, node=where)
        self._await_running(probes, time.monotonic_ns(), "after the repair", TAIL_PACKETS)
        self._agree(since)
        self.resynchronised_first = self._resynchronised(since)
        self.network.agents.check_alive()

    def _is_back(self, way: Way, since: int) -> bool:
        """Return whether a router's newest route is the old one again."""
        news = [o for o in self.watcher.since(since)
                if way.changed(o) and o.fields["change"] == "add"]  # fmt: skip
        return bool(news) and not way.left(news[-1])

    def _agree(self, since: int) -> None:
        """Wait until all home agents agree (I3, I4), and note when they did."""
        agreed = Agreement(self.network.agents, self.watcher, since).wait(AGREEMENT_TIMEOUT)
        if agreed is None:
            raise TrialError(f"home agents did not agree {AGREEMENT_TIMEOUT:.0f} s after repair")
        if self.case.estranged and not self.case.fault.repairs_itself:
            self.agreed_ns = agreed

    def _resynchronised(self, since: int) -> bool | None:
        """Return whether each repaired agent had its table before its route stood again.

        None if one never took its route away: a cut or silent node may not have noticed.
        """
        found = [self._resynchronised_one(node, since) for node in self.case.lost]
        return None if None in found or not found else all(found)

    def _resynchronised_one(self, node: str, since: int) -> bool | None:
        seen = self.watcher.since(since)
        route = [
            o.time_ns
            for o in seen
            if o.matches(EventName.ROUTE, node=node, change="add", interface=HOME_TUN)
        ]
        table = [o.time_ns for o in seen
                 if o.matches(EventName.AGENT, node=node, kind="table-received")]  # fmt: skip
        if not route:
            return None
        if table:
            self.folder.event(EventName.RESYNCHRONISED, table[0], trial=self.number, node=node)
        return bool(table) and table[0] <= route[0]

    def _signalling(self) -> dict[str, int]:
        """Return the counters of what a failover must not cause, of all agents that answer."""
        agents = [self.network.agents[name] for name in (*self._survivors(), "mn")]
        counters = [agent.ask("counters") for agent in agents]
        return {
            "binding_updates": sum(each.get("sent.BindingUpdate", 0) for each in counters),
            "sa_messages": sum(
                count for each in counters for name, count in each.items()
                if name.startswith("sent.SaInformation")
            ),
            "ike_exchanges": sum(each.get("ike.requests-sent", 0) for each in counters),
        }  # fmt: skip

    def carrier_at_both_ends(self) -> bool | None:
        """Return whether the carrier was seen to go at both ends of each cut link; None: no cut."""
        if not self.case.fault.cut:
            return None
        seen = [o for o in self.watcher.since(self.inject_ns) if o.time_ns <= self.repair_ns]
        links = [self.network.plan.link_between(*pair) for pair in self.case.fault.cut]
        return all(both_ends_saw(seen, link, self.inject_ns) for link in links)

    def route_changes(self) -> int | None:
        """Return how often the routers whose routes moved changed them until traffic ran again."""
        seen = [o for o in self.watcher.since(self.inject_ns) if o.time_ns <= self.recovered_ns]
        changes = sum(any(way.changed(o) for way in self.case.moves) for o in seen)
        return changes if self.case.moves else None

    def _keep_records(self) -> None:
        records = self._records()
        if records.is_dir():
            keep(records, self.folder.path / "raw" / f"{self.number:04}")

    def _log(self) -> None:
        """Write what was observed during the trial."""
        if self.inject_ns:
            self.folder.event(
                EventName.FAULT,
                self.fault_ns or self.inject_ns,
                trial=self.number,
                fault=self.cell.fault,
                node=self.case.where,
                injection_ms=max(self.fault_ns - self.inject_ns, 0) / MS,
            )
        for seen in self.watcher.since(self.begin_ns):
            self.folder.event(seen.name, seen.time_ns, **seen.fields)

    def _judge(self) -> Outcome:
        """Apply the rules that make a trial void."""
        if self.fault_ns - self.inject_ns > INJECTION_LIMIT_NS:
            return Void(f"the injection took {(self.fault_ns - self.inject_ns) / MS:.0f} ms")
        for flow in self.recorded:
            if self.outage(flow) is None:
                return Failed(f"{flow.sender} to {flow.receiver} did not recover")
        for flow, stream in self.recorded.items():
            pause = streams.longest_pause_ns(stream.sent, self.fault_ns - BEFORE_NS, self.end())
            if pause > self._pause_limit_ns():
                return Void(f"the sender in {flow.sender} paused for {pause / MS:.1f} ms")
        lost = self._lost_session()
        return Void(lost) if lost else Valid()

    def _pause_limit_ns(self) -> float:
        """Return how long a sender may pause: 3 ms, and no great part of what BGP waits for."""
        return max(PAUSE_NS, self.network.options.detection.bgp_hold * 1000 * MS / 2000)

    def outage(self, flow: Flow) -> streams.Outage | None:
        """Return a stream's outage, by what had been delivered before the repair."""
        return streams.outage(self.recorded[flow].until(self.repair_ns), self.meets_fault_ns(flow))

    def meets_fault_ns(self, flow: Flow) -> int:
        """Return when the first packet of a stream was sent that may have met the fault."""
        return streams.meets_fault_ns(
            self.recorded[flow].until(self.repair_ns), self.fault_ns, self.in_flight_ns(flow)
        )

    def in_flight_ns(self, flow: Flow) -> int:
        """Return how long a stream's packets were on their way before the fault; 0 by no distance.

        On links without delays that is what queues and processors take, of no concern here.
        """
        if not self._distance_s():
            return 0
        begin = self.fault_ns - 5 * BEFORE_NS
        return int(streams.median_delay_ns(self.recorded[flow], begin, self.fault_ns) or 0)

    def end(self) -> int:
        """Return when the last stream ran again, its 20 packets included."""
        ends = []
        for flow, stream in self.recorded.items():
            found = self.outage(flow)
            assert found is not None
            ends.append(stream.sent[found.first_after + CONSECUTIVE - 1])
        return max(ends)

    def _lost_session(self) -> str | None:
        """Return which BFD session was lost without a fault, if one was."""
        if self.network.options.detection.bfd_interval_ms is None:
            return None  # what is still heard of BFD is the end of sessions that were given up
        expected = self.case.fault.sessions
        for seen in self.watcher.since(self.begin_ns):
            if seen.time_ns > self.end_ns or not seen.matches(EventName.BFD, state="Down"):
                continue
            if seen.time_ns >= self.inject_ns and seen.fields["interface"] in expected:
                continue
            return f"BFD session lost at {seen.fields['interface']} without a fault"
        return None


def _difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in after}


def _load() -> float:
    return round(os.getloadavg()[0], 2)
