"""One trial of the isolation experiment: a home agent turns, is isolated, and is watched on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments import isolation_records as measure
from experiments.captures import capturing
from experiments.data import EventName, Table
from experiments.data_isolation import ISOLATION_FLOWS, ISOLATION_STEPS, ISOLATIONS
from experiments.hostile_forgeries import Form, Lie
from experiments.hostile_records import FILE, read_records
from experiments.isolation_cells import FLOWS, HOSTILE, LAST, MOBILE, PLAUSIBLE, PROVABLE, Cell
from experiments.isolation_records import MS, Achieved, Hostile, S
from experiments.probes import Flow, ProbeError, Probes, keep, spawning
from experiments.run import RunFolder
from experiments.streams import CONSECUTIVE, Stream, read_arrivals
from experiments.testbed import bring_up, watch_agents
from experiments.watch import Observation, Watcher
from topologies import addressing
from topologies.agents import AgentError, AgentOptions
from topologies.faults import FaultError
from topologies.frr import RoutingError
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.network import RUNTIME, Network
from topologies.single_as import SingleAs

MODULE = "experiments.hostile_home_agent"
WINDOW_NS = 4 * S
START_TIMEOUT, CONTROL_TIMEOUT, PROOF_TIMEOUT, REGISTRATION_TIMEOUT = 15.0, 5.0, 5.0, 3.0


class TrialError(RuntimeError):
    """Something that was awaited did not happen: the testbed's fault, no result."""


ERRORS = (TrialError, ProbeError, AgentError, RoutingError, FaultError)
"""What ends a trial without a result."""


@dataclass
class IsolationTrial:
    """A trial on a network of its own: who was isolated does not come back."""

    number: int
    cell: Cell
    detection: str
    folder: RunFolder
    logs: Path
    first: bool
    """Whether it is the one whose time line is drawn."""
    capture: bool = False
    rows: list[tuple[Table, dict[str, Any]]] = field(default_factory=list)
    proof: str | None = None
    network: Network = field(init=False)
    watcher: Watcher = field(init=False)

    @property
    def hostile(self) -> str:
        """The home agent that turns."""
        return HOSTILE[self.cell.role]

    def run(self, phase_s: float) -> None:
        """Run it, and keep its rows in `rows`; raises one of `ERRORS`."""
        routing = RoutingOptions(detection=DETECTIONS[self.detection])
        agents = AgentOptions(ike=True, modules={self.hostile: MODULE})
        self.network = Network(SingleAs(static=False), self.logs, routing, agents)
        self.watcher = Watcher()
        try:
            bring_up(self.network, self.folder, self.detection)
            watch_agents(self.watcher, self.network)
            with self._captured():
                self._run(phase_s)
        finally:
            self.network.stop()
            self.watcher.close()

    def _captured(self) -> AbstractContextManager[None]:
        """Capture at the mobile node and at the hostile home agent if asked for."""
        if not self.capture:
            return nullcontext()
        name = f"{self.number:04}"
        folder = self.folder.path / "captures" / name
        folder.mkdir(parents=True, exist_ok=True)
        return capturing(self.network, (MOBILE, self.hostile), folder, name)

    def _run(self, phase_s: float) -> None:
        begin_ns = time.monotonic_ns()
        self.folder.event(
            EventName.TRIAL_BEGIN, begin_ns, trial=self.number, fault=str(self.cell),
            detection=self.detection,
        )  # fmt: skip
        records = RUNTIME / "probes" / f"{self.number:04}"
        probes = Probes(
            self.watcher, spawning(self.network, self.folder), self._addresses(), list(FLOWS),
            records,
        )  # fmt: skip
        try:
            probes.start()
            if dead := probes.running(list(FLOWS), begin_ns, CONSECUTIVE, START_TIMEOUT):
                raise ProbeError(f"nothing arrives from {dead[0].sender} at {dead[0].receiver}")
            turned_ns = self._turn(probes)
            time.sleep(phase_s)  # at random against all timers, its own too
            trigger_ns = self._trigger()
            end_ns = trigger_ns + WINDOW_NS
            time.sleep(max(end_ns - time.monotonic_ns(), 0) / S)
            registered = self._register()
            self.network.agents[self.hostile].ask("stop-deeds")
            recorded = probes.stop()
            found = self._achieved(records)
        finally:
            probes.kill()
            keep(records, self.folder.path / "raw" / f"{self.number:04}")
            self.watcher.write(self.folder, begin_ns)
        self._write(found, recorded, turned_ns, trigger_ns, end_ns, registered)
        self.folder.event(EventName.TRIAL_END, trial=self.number)

    # What happens.

    def _turn(self, probes: Probes) -> int:
        """Let it turn, and wait until all that it can do is seen to work; return when it turned.

        What it says at first contradicts nothing: nobody but the operator can know.
        """
        now = time.monotonic_ns()
        self.folder.event(EventName.TURNED, now, trial=self.number, node=self.hostile)
        self._tell(PLAUSIBLE[self.cell.role])
        forged = [Flow(form.flow, self.hostile, MOBILE) for form in Form]
        if missing := probes.running(forged, now, 2, CONTROL_TIMEOUT):
            form = Form(missing[0].number - Form.OWN_SID.flow + 1)
            raise TrialError(f"{MOBILE} takes no forged packet of form {form.name}")
        self._await("binding-learnt", now, CONTROL_TIMEOUT, peer=self.hostile)
        made = self.watcher.wait(lambda: self._has_completed_ike(now), CONTROL_TIMEOUT)
        if not made:
            raise TrialError(f"{self.hostile} completed no IKE_AUTH before it was isolated")
        return now

    def _has_completed_ike(self, since_ns: int) -> bool:
        who = self._parties()
        return any(measure.completed(seen, who) for seen in self.watcher.since(since_ns))

    def _trigger(self) -> int:
        """Give the operator's verb: now, or upon what a home agent detects; return the trigger."""
        moment = 0
        if self.cell.trigger == "detection":
            now = time.monotonic_ns()
            self._tell((*PLAUSIBLE[self.cell.role], *PROVABLE[self.cell.role]))
            told = self._await("misconduct", now, PROOF_TIMEOUT)
            self.proof, moment = str(told.fields["misconduct"]), told.time_ns
        begun = self.network.isolate(self.hostile, fencing=self.cell.fencing == "on")
        self.folder.event(
            EventName.ISOLATED, begun, trial=self.number, node=self.hostile,
            fencing=self.cell.fencing,
        )  # fmt: skip
        return moment or begun

    def _register(self) -> float | None:
        """Let the mobile node send a Binding Update; return the ms until it was answered."""
        asked = time.monotonic_ns()
        self.network.agents[MOBILE].ask("wish", home_agent=0, weight=1)
        found = self.watcher.wait_for(
            EventName.AGENT, asked, REGISTRATION_TIMEOUT, node=MOBILE,
            kind="registration-acknowledged",
        )  # fmt: skip
        return None if found is None else (found.time_ns - asked) / MS

    def _tell(self, lies: Sequence[Lie]) -> None:
        other = self.network.plan.nodes[LAST].index
        names = [lie.name.lower() for lie in lies]
        self.network.agents[self.hostile].ask("turn", lies=names, other=other)

    def _await(self, kind: str, since_ns: int, timeout: float, **wanted: Any) -> Observation:
        found = self.watcher.wait_for(EventName.AGENT, since_ns, timeout, kind=kind, **wanted)
        if found is None:
            self.network.agents.check_alive()
            raise TrialError(f"no {kind} within {timeout:.0f} s")
        return found

    def _addresses(self) -> dict[str, str]:
        plan = self.network.plan
        own = {name: str(plan.address_of(name)) for name in ("cn1", "cn2")}
        return {**own, MOBILE: str(addressing.home_address(1))}

    def _parties(self) -> Hostile:
        honest = frozenset(self.network.agents.home_agents) - {self.hostile}
        index = self.network.plan.nodes[self.hostile].index
        return Hostile(self.hostile, index, honest, MOBILE)

    # Rows.

    def _achieved(self, records: Path) -> Achieved:
        deeds = self.network.agents[self.hostile].directory / FILE
        arrivals = read_arrivals(sorted(records.glob(f"{MOBILE}.received")))
        found = measure.achieved(
            self._parties(), self.watcher.since(0), arrivals, read_records(deeds)
        )
        (records / FILE).write_bytes(deeds.read_bytes())
        return found

    def _write(
        self,
        found: Achieved,
        recorded: Mapping[Flow, Stream],
        turned_ns: int,
        trigger_ns: int,
        end_ns: int,
        registered: float | None,
    ) -> None:
        cell = self.cell.columns(self.number)
        isolated = measure.isolated_ns(self._parties(), self.watcher.since(turned_ns))
        row = {
            **cell,
            **measure.outcome(found, trigger_ns, end_ns),
            "hostile": self.hostile,
            "isolated_ms": None if isolated is None else (isolated - trigger_ns) / MS,
            "proof": self.proof,
            "registered_ms": registered,
        }
        self.rows.append((ISOLATIONS, row))
        lost: dict[str, list[int]] = {"up": [], "down": []}
        for flow, stream in recorded.items():
            direction = "up" if flow.sender == MOBILE else "down"
            lost[direction] += measure.lost_times(stream, turned_ns)
            about = {
                **cell,
                "direction": direction,
                "correspondent": flow.receiver if direction == "up" else flow.sender,
                "path": "hostile" if FLOWS[flow] == self.hostile else "honest",
                **measure.flow(stream, turned_ns, trigger_ns, end_ns),
            }
            self.rows.append((ISOLATION_FLOWS, about))
        if self.first:
            for kind, times in {**found.times, **lost}.items():
                for step, count in measure.steps(times, trigger_ns, end_ns):
                    about = {**cell, "kind": kind, "step_ms": step, "count": count}
                    self.rows.append((ISOLATION_STEPS, about))
