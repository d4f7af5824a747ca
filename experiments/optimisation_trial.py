"""One arm of the optimisation experiment, once: a network of its own, ways measured, one change."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any

from experiments import streams
from experiments.data import EventName
from experiments.data_optimisation import CHANGES, MAPPED_FAILURES, PATHS, SPEED, STEADINESS
from experiments.iperf import IperfError, TcpFlow, measure
from experiments.optimisation_model import MOBILE, WayModel
from experiments.probes import Flow, ProbeError, Probes, keep
from experiments.run import REPOSITORY, RunFolder
from experiments.schema import Table
from experiments.streams import CONSECUTIVE, PAUSE_NS, Stream
from experiments.watch import Observation, Watcher
from topologies.agents import AgentError
from topologies.network import RUNTIME, Network
from topologies.plan import Role

MS = 1_000_000
NEAR, FAR = "cn1", "cn2"
CORRESPONDENTS = (NEAR, FAR)
FLOWS = tuple(
    Flow(number, *ends)
    for number, ends in enumerate(
        (pair for each in CORRESPONDENTS for pair in ((each, MOBILE), (MOBILE, each))), start=1
    )
)
START_TIMEOUT, CHANGE_TIMEOUT = 15.0, 40.0
WINDOW_NS = 1000 * MS
"""For so long a way is measured, before and after."""
SETTLED_NS = 500 * MS
"""After a change: packets on the old way have arrived."""
BEFORE_NS, AFTER_NS = 500 * MS, 1500 * MS
"""Packets sent in this time around a change are counted for it."""
PING_INTERVAL_S, PING_OCTETS = 0.005, 400
HEAVY_INTERVAL_S, HEAVY_OCTETS = 0.002, 1200
"""Pings that make one correspondent the busier one, or by far the busiest."""


class TrialError(RuntimeError):
    """Something that was awaited did not happen."""


class Disturbed(RuntimeError):  # noqa: N818 - an outcome, not an error of the program
    """The trial does not count: something happened that is no part of it; the message says what."""


ERRORS = (TrialError, ProbeError, AgentError, IperfError)


@dataclass
class OptimisationTrial:
    """One arm on a running network. `seconds` is how long each TCP flow runs."""

    number: int
    arm: str
    network: Network
    watcher: Watcher
    folder: RunFolder
    model: WayModel
    seconds: float
    valid: list[int] = field(default_factory=list)
    """Flows whose senders were not held up around the change."""
    rows: list[tuple[Table, dict[str, Any]]] = field(default_factory=list)
    """What was measured, to be written if the trial counts."""
    _before: str = ""

    def steadiness(self, bursts: int, burst_s: float) -> None:
        """Let the correspondents have more traffic in turn; count what changes."""
        begin = time.monotonic_ns()
        with contextlib.ExitStack() as stack:
            for each in CORRESPONDENTS:
                stack.enter_context(self._pinging(each, PING_INTERVAL_S, PING_OCTETS))
            for number in range(bursts):
                busy = CORRESPONDENTS[number % len(CORRESPONDENTS)]
                with self._pinging(busy, PING_INTERVAL_S, PING_OCTETS):
                    time.sleep(burst_s)
        changes = sum(_is_change(each) for each in self.watcher.since(begin))
        self._row(
            STEADINESS, trial=self.number, arm=self.arm, bursts=bursts, changes=changes,
            seconds=(time.monotonic_ns() - begin) / 1e9,
        )  # fmt: skip

    def ways(self, *, changing: bool) -> None:
        """Measure the ways, with `changing` before and after what the arm changes."""
        changed, self._before = 0, self._primary()
        with self._probing(self.arm) as probes:
            began = time.monotonic_ns()
            if changing:
                changed = self._change(began)
            time.sleep((SETTLED_NS + WINDOW_NS) / 1e9)
            ends = time.monotonic_ns()
            recorded = probes.stop()
        if changing:
            before = (max(began, changed - WINDOW_NS), changed - 50 * MS)
            self._write_ways(recorded, "before", *before)
            self._write_ways(recorded, "after", changed + SETTLED_NS, ends)
            self._write_change(recorded, began, changed)
        else:
            self._write_ways(recorded, "only", began, ends)

    def failure(self) -> None:
        """Kill the agent that the map names for the far correspondent; measure what that costs."""
        chosen = self._home_agent(FAR, after=True)
        if chosen == self._primary():
            raise TrialError("the map names nobody for the far correspondent")
        own = str(self.network.plan.address_of(chosen))
        with self._probing("failure") as probes:
            fault = self.network.agents[chosen].kill()
            self.folder.event(
                EventName.FAULT, fault, trial=self.number, fault="agent-kill", node=chosen,
                injection_ms=0.0,
            )  # fmt: skip

            def told() -> list[Observation]:
                maps = [e for e in self.watcher.since(fault) if e.name is EventName.AGENT]
                maps = [e for e in maps if e.fields["kind"] == "correspondent-map"]
                return [e for e in maps if own not in e.fields["correspondents"].values()]

            if not self.watcher.wait(lambda: bool(told()), CHANGE_TIMEOUT):
                raise TrialError(f"the mobile node goes on sending to {chosen}, which is dead")
            when = told()[0].time_ns
            silent = probes.running(FLOWS, when, CONSECUTIVE, START_TIMEOUT)
            if silent:
                raise ProbeError(f"nothing from {silent[0].sender} arrives any more")
            time.sleep(SETTLED_NS / 1e9)
            recorded = probes.stop()
        for flow, stream in recorded.items():
            correspondent, direction = _ends(flow)
            outage = streams.outage(stream, fault)
            pause = streams.longest_pause_ns(stream.sent, fault - BEFORE_NS, when + BEFORE_NS)
            self._row(
                MAPPED_FAILURES, trial=self.number, home_agent=chosen,
                correspondent=correspondent, direction=direction,
                outage_ms=None if outage is None else max(outage.length_ns, 0) / MS,
                lost_packets=streams.lost(stream, fault, stream.sent[-1]),
                told_ms=(when - fault) / MS, valid=pause <= PAUSE_NS,
            )  # fmt: skip

    def speeds(self) -> None:
        """Measure the goodput of one TCP flow in each direction, one after the other."""
        mine = self._addresses()[MOBILE]
        for each in CORRESPONDENTS:
            own = str(self.network.plan.address_of(each))
            for direction, flow in (
                ("down", TcpFlow(each, own, MOBILE, mine)),
                ("up", TcpFlow(MOBILE, mine, each, own)),
            ):
                (found,) = measure(self._run, [flow], self.seconds)
                self._row(
                    SPEED, trial=self.number, arm=self.arm, correspondent=each,
                    direction=direction, goodput_mbit_s=found.mbit_s,
                    retransmits=found.retransmits, seconds=self.seconds,
                )  # fmt: skip

    @contextlib.contextmanager
    def _probing(self, name: str) -> Iterator[Probes]:
        """Run all probe streams, and wait until they run; keep records and observations."""
        begin = time.monotonic_ns()
        self.folder.event(
            EventName.TRIAL_BEGIN, begin, trial=self.number, fault=name,
            detection=self.network.options.detection.name,
        )  # fmt: skip
        records = RUNTIME / "probes" / f"{self.number:04}-{name}"
        probes = Probes(self.watcher, self._spawn, self._addresses(), FLOWS, records)
        try:
            probes.start()
            dead = probes.running(FLOWS, begin, CONSECUTIVE, START_TIMEOUT)
            if dead:
                raise ProbeError(f"nothing arrives from {dead[0].sender} at {dead[0].receiver}")
            yield probes
        finally:
            probes.kill()
            if records.is_dir():
                keep(records, self.folder.path / "raw" / records.name)
            for seen in self.watcher.since(begin):
                self.folder.event(seen.name, seen.time_ns, **seen.fields)
        self.folder.event(EventName.TRIAL_END, trial=self.number)

    def check(self, since_ns: int) -> None:
        """Raise Disturbed if home agents that live took one another for dead."""
        for seen in self.watcher.since(since_ns):
            if seen.matches(EventName.AGENT, kind="peer-changed", state="invalid"):
                raise Disturbed(f"{seen.fields['node']} took {seen.fields['peer']} for dead")

    def write(self) -> None:
        """Write what was measured."""
        for table, row in self.rows:
            self.folder.row(table, **row)

    def _row(self, table: Table, **row: Any) -> None:
        self.rows.append((table, row))

    # What changes.

    def _change(self, began: int) -> int:
        """Wait for what the arm changes; return when it did (CLOCK_MONOTONIC, ns)."""
        with contextlib.ExitStack() as stack:
            if self.arm == "switch":
                # The role follows the paths of all correspondents: let one count for most.
                stack.enter_context(self._pinging(FAR, HEAVY_INTERVAL_S, HEAVY_OCTETS))
            if not self.watcher.wait(lambda: bool(self._changed(began)), CHANGE_TIMEOUT):
                raise TrialError(f"{self.arm}: nothing changed in {CHANGE_TIMEOUT:.0f} s")
        return self._changed(began)[0].time_ns

    def _changed(self, began: int) -> list[Observation]:
        """Return the observations of the change that packets of this arm follow, if any do."""
        kind = {"switch": "primary-changed", "relay": "path-chosen", "map": "correspondent-map"}
        found = [e for e in self.watcher.since(began) if e.name is EventName.AGENT]
        found = [e for e in found if e.fields["kind"] == kind[self.arm]]
        if self.arm == "switch":
            return [e for e in found if e.fields["cause"] == "switch"]
        return found

    # Records.

    def _write_ways(
        self, recorded: Mapping[Flow, Stream], window: str, from_ns: int, to_ns: int
    ) -> None:
        medians: dict[tuple[str, str], float] = {}
        for flow, stream in recorded.items():
            median = streams.median_delay_ns(stream, from_ns, to_ns)
            if median is None:
                raise TrialError(f"{self.arm}: nothing of {flow.sender} arrived {window} a change")
            medians[_ends(flow)] = median / MS
        for each in CORRESPONDENTS:
            up, down = medians[each, "up"], medians[each, "down"]
            model = self.model.predict(self.arm, each, after=window == "after")
            self._row(
                PATHS, trial=self.number, arm=self.arm, correspondent=each, window=window,
                up_ms=up, down_ms=down, rtt_ms=up + down,
                model_up_ms=model.up_ms, model_down_ms=model.down_ms, model_rtt_ms=model.rtt_ms,
                home_agent=self._home_agent(each, after=window == "after"),
                model_home_agent=model.home_agent,
            )  # fmt: skip

    def _write_change(self, recorded: Mapping[Flow, Stream], began: int, changed: int) -> None:
        from_ns, to_ns = changed - BEFORE_NS, changed + AFTER_NS
        for flow, stream in recorded.items():
            correspondent, direction = _ends(flow)
            pause = streams.longest_pause_ns(stream.sent, from_ns, to_ns)
            if pause <= PAUSE_NS:
                self.valid.append(flow.number)
            self._row(
                CHANGES, trial=self.number, arm=self.arm, correspondent=correspondent,
                direction=direction, changed_after_ms=(changed - began) / MS,
                sent_packets=stream.index(to_ns) - stream.index(from_ns),
                lost_packets=streams.lost(stream, from_ns, to_ns),
                duplicated_packets=streams.duplicated(stream),
                reordered_packets=streams.reordered(stream, from_ns, to_ns),
                longest_gap_ms=streams.longest_gap_ns(stream, from_ns, to_ns) / MS,
                sender_pause_ms=pause / MS, valid=pause <= PAUSE_NS,
            )  # fmt: skip

    def _home_agent(self, correspondent: str, *, after: bool) -> str:
        """Return the HA chosen for a correspondent, or the primary; empty without a tunnel."""
        if self.arm == "direct":
            return ""
        if not after:
            return self._before
        primary = self._primary()
        address = str(self.network.plan.address_of(correspondent))
        for path in self.network.agents[primary].ask("paths"):
            if path["correspondent"] == address and self.arm != "switch":
                return str(path["home_agent"])
        return primary

    def _primary(self) -> str:
        home_address = str(self.network.plan.homes[0].home_address(1))
        first = next(iter(self.network.agents.home_agents.values()))
        bindings = {each["home_address"]: each for each in first.ask("bindings")}
        return str(bindings[home_address]["primary"])

    # Within.

    def _addresses(self) -> dict[str, str]:
        plan = self.network.plan
        mobile: IPv6Address | str = plan.homes[0].home_address(1)
        if self.arm == "direct":
            mobile = self.network.agents[MOBILE].ask("status")["care_of_address"]
        correspondents = {node.name: node for node in plan.of_role(Role.CORRESPONDENT)}
        return {
            MOBILE: str(mobile),
            **{name: str(plan.address_of(name)) for name in correspondents},
        }

    @contextlib.contextmanager
    def _pinging(self, correspondent: str, interval_s: float, octets: int) -> Iterator[None]:
        addresses = self._addresses()
        command = ["ping", "-6", "-q", "-i", f"{interval_s:g}", "-s", str(octets)]
        command += ["-I", addresses[MOBILE], addresses[correspondent]]
        process = self._run(MOBILE, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def _run(self, node: str, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        return self.network.nodes[node].spawn(list(command), **options)

    def _spawn(self, node: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder.path / "logs" / "probes.log").open("ab") as log:
            return self._run(
                node, command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log,
            )  # fmt: skip


def _ends(flow: Flow) -> tuple[str, str]:
    """Return the correspondent of a flow, and its direction."""
    return (flow.sender, "down") if flow.receiver == MOBILE else (flow.receiver, "up")


def _is_change(seen: Observation) -> bool:
    """Whether a primary chose another home agent, or the role moved for better paths."""
    if seen.name is not EventName.AGENT:
        return False
    kind, cause = seen.fields["kind"], seen.fields.get("cause")
    return bool(kind == "path-chosen" or (kind == "primary-changed" and cause == "switch"))
