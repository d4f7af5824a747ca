"""One trial of the failover experiment: probes, fault, recovery, repair, fail-back, analysis."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments import detection, streams
from experiments.data import PACKETS, PHASES, STREAMS, TRIALS, EventName
from experiments.faults import FAULTS, HOME_TUN, Target
from experiments.phases import phases
from experiments.probes import Flow, ProbeError, Probes, keep
from experiments.run import REPOSITORY, RunFolder
from experiments.streams import CONSECUTIVE, PAUSE_NS, Stream
from experiments.watch import Observation, Watcher
from topologies import addressing
from topologies.agents import AgentError
from topologies.frr import RoutingError
from topologies.netlink import Netlink
from topologies.network import RUNTIME, Network

MS = 1_000_000
SETTLE_S = 0.3
PHASE_S = 1.0  # the longest timer that a fault can fall into: OSPFv3's hello
BEFORE_NS = 100 * MS
INJECTION_LIMIT_NS = 15 * MS
RECOVERY_TIMEOUT = 15.0
SYNC_TIMEOUT = 3.0
FAILBACK_TIMEOUT = 40.0
TAIL_PACKETS = 200
SHOWN_BEFORE_MS, SHOWN_AFTER_MS = 20.0, 60.0
AFFECTED, BYSTANDER = "affected", "bystander"

FLOWS = (Flow(1, "cn1", "mn"), Flow(2, "mn", "cn1"), Flow(3, "cn2", "mn"))
ROLES = {1: AFFECTED, 2: AFFECTED, 3: BYSTANDER}


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
    target: Target
    border: str
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
    signalling: dict[str, int] = field(default_factory=dict)
    recorded: dict[Flow, Stream] = field(default_factory=dict)

    def run(self, chance: float) -> Outcome:
        """Run the trial; `chance` in [0, 1) is the phase of the fault against all timers."""
        self.begin_ns = time.monotonic_ns()
        self.load = _load()
        self.phase_s = SETTLE_S + chance * PHASE_S
        self.folder.event(
            EventName.TRIAL_BEGIN, self.begin_ns, trial=self.number, fault=self.cell.fault,
            detection=self.cell.detection,
        )  # fmt: skip
        probes = Probes(self.watcher, self._spawn, self._addresses(), FLOWS, self._records())
        try:
            detection.switch(self.network, self.cell.detection)
            self.begin_ns = time.monotonic_ns()  # sessions that a switch began are no losses
            probes.start()
            self._await_running(probes, FLOWS, self.begin_ns, "before the fault")
            outward = self._home_route(self.border)
            self._break_it(probes, outward)
            self._repair(probes, outward)
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

    def _addresses(self) -> dict[str, str]:
        plan = self.network.plan
        own = {name: str(plan.address_of(name)) for name in ("cn1", "cn2")}
        return {**own, "mn": str(addressing.home_address(1))}

    def _records(self) -> Any:
        return RUNTIME / "probes" / f"{self.number:04}"

    def _await_running(
        self, probes: Probes, flows: Sequence[Flow], after_ns: int, when: str,
        count: int = CONSECUTIVE,
    ) -> None:  # fmt: skip
        dead = probes.running(flows, after_ns, count, RECOVERY_TIMEOUT)
        if dead:
            names = ", ".join(f"{flow.sender} to {flow.receiver}" for flow in dead)
            raise TrialError(f"{when}: no {count} packets in a row from {names}")

    def _home_route(self, node: str) -> str:
        """Return the interface by which a node routes the home prefix; TrialError if none."""
        netlink = Netlink(self.network.nodes[node].pid)
        try:
            names = {state.index: state.name for state in netlink.links().values()}
            found = [r for r in netlink.routes() if r.destination == addressing.HOME_PREFIX]
        finally:
            netlink.close()
        if not found:
            raise TrialError(f"{node} has no route to the home network")
        return names[min(found, key=lambda route: route.metric).interface]

    def _break_it(self, probes: Probes, outward: str) -> None:
        """Wait for the random phase, inject the fault, wait until everything runs again."""
        fault = FAULTS[self.cell.fault]
        before = self._signalling()
        time.sleep(self.phase_s)  # the phase of the fault is what is random about a trial
        self.inject_ns = time.monotonic_ns()
        self.fault_ns = fault.inject(self.network, self.target)
        moved = self.watcher.wait_for(
            EventName.ROUTE, self.inject_ns, RECOVERY_TIMEOUT, node=self.border, change="add"
        )
        if moved is None:
            raise TrialError(f"{self.border} did not change its route after the fault")
        self._await_running(probes, FLOWS, moved.time_ns, "after the fault")
        self.recovered_ns = time.monotonic_ns()
        self.folder.event(EventName.RECOVERED, self.recovered_ns, trial=self.number)
        if not fault.repairs_itself:
            self.watcher.wait(self._peers_know, SYNC_TIMEOUT)
        self.signalling = _difference(before, self._signalling())

    def _others(self) -> list[str]:
        return [n for n in self.network.agents.home_agents if n != self.target.home_agent]

    def _peers_know(self) -> bool:
        """Return whether all other home agents have marked the failed one invalid."""
        return "peers-in-sync" in self._phases(None)

    def _phases(self, first_packet_ns: int | None) -> dict[str, int]:
        end = self.repair_ns or time.monotonic_ns()
        seen = [o for o in self.watcher.since(self.inject_ns) if o.time_ns <= end]
        border = (self.border, f"{self.border}-{self.target.router}")
        return phases(
            seen, FAULTS[self.cell.fault], self.target, border, self._others(), first_packet_ns
        )

    def _repair(self, probes: Probes, outward: str) -> None:
        """Repair the fault, wait until the home agent is back in service and traffic uses it."""
        fault = FAULTS[self.cell.fault]
        since = self.inject_ns if fault.repairs_itself else time.monotonic_ns()
        self.repair_ns = time.monotonic_ns()
        self.folder.event(
            EventName.REPAIR, self.repair_ns, trial=self.number, node=self.target.home_agent
        )
        fault.repair(self.network, self.target)
        back = self.watcher.wait(lambda: self._is_back(outward, since), FAILBACK_TIMEOUT)
        if not back:
            raise TrialError(
                f"{self.border} did not go back to {outward} within {FAILBACK_TIMEOUT:.0f} s"
            )
        self.folder.event(EventName.FAILED_BACK, trial=self.number, node=self.target.home_agent)
        self._await_running(probes, FLOWS, time.monotonic_ns(), "after the repair", TAIL_PACKETS)
        self.resynchronised_first = self._resynchronised(since)
        self.network.agents.check_alive()

    def _is_back(self, outward: str, since: int) -> bool:
        """Return whether the border router's newest route is the old one again."""
        news = [o for o in self.watcher.since(since)
                if o.matches(EventName.ROUTE, node=self.border, change="add")]  # fmt: skip
        return bool(news) and news[-1].fields["interface"] == outward

    def _resynchronised(self, since: int) -> bool | None:
        """Return whether the repaired agent had its table before its route stood again.

        None if it never took its route away: a cut or silent node may not have noticed.
        """
        node = self.target.home_agent
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
        agents = [self.network.agents[name] for name in (*self._others(), "mn")]
        counters = [agent.ask("counters") for agent in agents]
        return {
            "binding_updates": sum(each.get("sent.BindingUpdate", 0) for each in counters),
            "sa_messages": sum(
                count for each in counters for name, count in each.items()
                if name.startswith("sent.SaInformation")
            ),
            "ike_exchanges": sum(each.get("ike.requests-sent", 0) for each in counters),
        }  # fmt: skip

    def _keep_records(self) -> None:
        records = self._records()
        if records.is_dir():
            keep(records, self.folder.path / "raw" / f"{self.number:04}")

    def _log(self) -> None:
        """Write what was observed during the trial, and forget it."""
        if self.inject_ns:
            self.folder.event(
                EventName.FAULT,
                self.fault_ns or self.inject_ns,
                trial=self.number,
                fault=self.cell.fault,
                node=self.target.home_agent,
                injection_ms=_ms(max(self.fault_ns - self.inject_ns, 0)),
            )
        for seen in self.watcher.since(self.begin_ns):
            self.folder.event(seen.name, seen.time_ns, **seen.fields)

    def _judge(self) -> Outcome:
        """Apply the rules that make a trial void."""
        if self.fault_ns - self.inject_ns > INJECTION_LIMIT_NS:
            return Void(f"the injection took {_ms(self.fault_ns - self.inject_ns):.0f} ms")
        for flow in self.recorded:
            if self._outage(flow) is None:
                return Failed(f"{flow.sender} to {flow.receiver} did not recover")
        for flow, stream in self.recorded.items():
            pause = streams.longest_pause_ns(stream.sent, self.fault_ns - BEFORE_NS, self._end())
            if pause > PAUSE_NS:
                return Void(f"the sender in {flow.sender} paused for {_ms(pause):.1f} ms")
        lost = self._lost_session()
        return Void(lost) if lost else Valid()

    def _outage(self, flow: Flow) -> streams.Outage | None:
        """Return a stream's outage, by what had been delivered before the repair."""
        return streams.outage(self.recorded[flow].until(self.repair_ns), self.fault_ns)

    def _end(self) -> int:
        """Return when the last stream ran again, its 20 packets included."""
        ends = []
        for flow, stream in self.recorded.items():
            found = self._outage(flow)
            assert found is not None
            ends.append(stream.sent[found.first_after + CONSECUTIVE - 1])
        return max(ends)

    def _lost_session(self) -> str | None:
        """Return which BFD session was lost without a fault, if one was."""
        if self.network.options.detection.bfd_interval_ms is None:
            return None  # what is still heard of BFD is the end of sessions that were given up
        expected = FAULTS[self.cell.fault].on_link
        for seen in self.watcher.since(self.begin_ns):
            if seen.time_ns > self.end_ns or not seen.matches(EventName.BFD, state="Down"):
                continue
            if expected and seen.time_ns >= self.inject_ns and self._own_session(seen):
                continue
            return f"BFD session lost at {seen.fields['interface']} without a fault"
        return None

    def _own_session(self, seen: Observation) -> bool:
        return bool(
            seen.fields["node"] == self.target.home_agent
            or seen.fields["interface"] == self.target.interface
        )

    def write(self, outcome: Outcome, with_packets: bool) -> None:
        """Write the trial's rows; streams and phases of valid trials alone."""
        state = type(outcome).__name__.lower()
        reason = "" if isinstance(outcome, Valid) else outcome.reason
        self.folder.row(
            TRIALS,
            trial=self.number,
            **self.cell.columns(),
            state=state,
            reason=reason,
            fault_time_ns=self.fault_ns or None,
            phase_ms=self.phase_s * 1000,
            injection_ms=_ms(self.fault_ns - self.inject_ns) if self.fault_ns else None,
            resynchronised_first=self.resynchronised_first,
            **{name: self.signalling.get(name) for name in _SIGNALLING},
            load=self.load,
        )
        self._write_end(outcome, reason)
        if isinstance(outcome, Valid):
            self._write_streams()
            self._write_phases()
            if with_packets:
                self._write_packets()
        self.watcher.forget(time.monotonic_ns())

    def _write_end(self, outcome: Outcome, reason: str) -> None:
        if isinstance(outcome, Valid):
            self.folder.event(EventName.TRIAL_END, trial=self.number)
        elif isinstance(outcome, Void):
            self.folder.event(EventName.TRIAL_VOID, trial=self.number, reason=reason)
        else:
            self.folder.event(EventName.TRIAL_FAILED, trial=self.number, reason=reason)

    def _write_streams(self) -> None:
        for flow, stream in self.recorded.items():
            self.folder.row(
                STREAMS,
                trial=self.number,
                **self.cell.columns(),
                **_ends(flow),
                role=ROLES[flow.number],
                **analysis(stream, self.fault_ns, self.recovered_ns, self.repair_ns),
            )

    def _write_phases(self) -> None:
        arrivals = []
        for flow, stream in self.recorded.items():
            found = self._outage(flow)
            if ROLES[flow.number] == AFFECTED and found is not None:
                arrivals.append(stream.delivered[found.first_after])
        for name, when in self._phases(min(arrivals)).items():
            self.folder.row(
                PHASES,
                trial=self.number,
                **self.cell.columns(),
                phase=name,
                after_fault_ms=_ms(when - self.inject_ns),
            )

    def _write_packets(self) -> None:
        for flow, stream in self.recorded.items():
            in_time = stream.until(self.repair_ns)
            first = stream.index(self.inject_ns - int(SHOWN_BEFORE_MS * MS))
            last = stream.index(self._end() + int(SHOWN_AFTER_MS * MS))
            for sequence in range(first, last):
                arrived = in_time.delivered.get(sequence)
                self.folder.row(
                    PACKETS,
                    trial=self.number,
                    **self.cell.columns(),
                    **_ends(flow),
                    sequence=sequence,
                    sent_ms=_ms(stream.sent[sequence] - self.inject_ns),
                    arrived_ms=None if arrived is None else _ms(arrived - self.inject_ns),
                )


_SIGNALLING = ("binding_updates", "sa_messages", "ike_exchanges")


def analysis(stream: Stream, fault_ns: int, recovered_ns: int, repair_ns: int) -> dict[str, Any]:
    """Return what one stream says about one trial, as columns of `streams.csv`."""
    in_time = stream.until(repair_ns)
    found = streams.outage(in_time, fault_ns)
    assert found is not None
    end = stream.sent[-1] + 1
    runs_again = stream.sent[found.first_after]
    missed = streams.lost(in_time, fault_ns, runs_again)
    before = streams.median_delay_ns(stream, fault_ns - 5 * BEFORE_NS, fault_ns)
    after = streams.median_delay_ns(stream, recovered_ns, repair_ns)
    return {
        "outage_ms": _ms(found.length_ns),
        "lost_packets": missed + streams.lost(stream, runs_again, repair_ns),
        "late_packets": missed - streams.lost(stream, fault_ns, runs_again),
        "duplicated_packets": streams.duplicated(stream),
        "reordered_packets": streams.reordered(in_time, fault_ns, repair_ns),
        "longest_gap_ms": _ms(streams.longest_gap_ns(in_time, fault_ns, repair_ns)),
        "delay_before_ms": _ms(before or 0),
        "delay_after_ms": None if after is None else _ms(after),
        "failback_lost_packets": streams.lost(stream, repair_ns, end),
        "failback_reordered_packets": streams.reordered(stream, repair_ns, end),
        "failback_longest_gap_ms": _ms(streams.longest_gap_ns(stream, repair_ns, end)),
    }


def _ends(flow: Flow) -> dict[str, str]:
    up = flow.sender == "mn"
    return {
        "direction": "up" if up else "down",
        "correspondent": flow.receiver if up else flow.sender,
    }


def _ms(nanoseconds: float) -> float:
    return nanoseconds / MS


def _difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in after}


def _load() -> float:
    return round(os.getloadavg()[0], 2)
