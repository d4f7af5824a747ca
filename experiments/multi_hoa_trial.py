"""One trial of the multi-hoa experiment: AS 1 fails, with flows that exist and flows that begin."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments import multi_hoa_records as records
from experiments import opener
from experiments.data import EventName
from experiments.data_multi_hoa import DELIVERED, HOME_FLOWS, NEW_FLOWS, OPENED
from experiments.multi_hoa_fault import FAILING, Fault, dropped, outer_interfaces
from experiments.probes import Flow, ProbeError, Probes, keep, spawning
from experiments.run import RunFolder
from experiments.streams import CONSECUTIVE
from experiments.watch import Observation, Watcher
from topologies.agents import AgentError
from topologies.delay import DelayLineError
from topologies.frr import RoutingError
from topologies.network import RUNTIME, Network

MS, S = 1_000_000, 1_000_000_000
MOBILE, CORRESPONDENT = "mn", "cn1"
TRANSIT = "t3"
"""Where the MN's visited network gets its routes."""

WINDOW_NS = 3 * S
START_TIMEOUT, CHOICE_TIMEOUT, BACK_TIMEOUT = 15.0, 15.0, 90.0
CALM_TIMEOUT = 45.0


class TrialError(RuntimeError):
    """Something that was awaited did not happen."""


class DisturbedError(RuntimeError):
    """Something happened that the fault did not do: the trial does not count."""


ERRORS = (
    TrialError, records.UnrecoveredError, ProbeError, AgentError, RoutingError, DelayLineError
)  # fmt: skip


@dataclass
class MultiHoaTrial:
    """A trial; `cell` is what its rows have in common, `first` whether it is the one drawn."""

    cell: Mapping[str, Any]
    fault: Fault
    network: Network
    watcher: Watcher
    folder: RunFolder
    first: bool
    begin_ns: int = 0
    fault_ns: int = 0
    repair_ns: int = 0
    disturbance: str = ""
    """Why it does not count, if it does not: then it has no rows."""
    _helpers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, phase_s: float) -> None:
        """Run it; one of `ERRORS` if the testbed does not do its part."""
        trial = self.cell["trial"]
        self.begin_ns = begin_ns = time.monotonic_ns()
        self.folder.event(
            EventName.TRIAL_BEGIN, begin_ns, trial=trial, fault=self.cell["fault"],
            detection=self.cell["detection"],
        )  # fmt: skip
        folder = RUNTIME / "probes" / f"{trial:04}"
        flows = self._flows()
        probes = Probes(self.watcher, self._spawn, self._addresses(), flows, folder)
        if self._several:
            self.network.agents[MOBILE].wait("calm", _calm, CALM_TIMEOUT)
        try:
            probes.start()
            dead = probes.running(flows, begin_ns, CONSECUTIVE, START_TIMEOUT)
            if dead:
                raise ProbeError(f"nothing arrives from {dead[0].sender} at {dead[0].receiver}")
            self._help(CORRESPONDENT, "--echo")
            self._help(MOBILE, "--target", self._addresses()[CORRESPONDENT], "--records",
                       str(folder / "opened"))  # fmt: skip
            time.sleep(phase_s)  # at random against all timers, and something to see before it
            if self._several and not _calm(self.network.agents[MOBILE].ask("status")):
                raise DisturbedError("a home was not heard before the fault")
            before = dropped(self.network)
            self._break(probes, flows)
            streams = probes.stop()
            self._check_drops(before)
            self._repair()
            self._end_helpers()
            new_flows = records.read(folder / "opened", self._home_addresses())
        except DisturbedError as error:
            self.disturbance = str(error)
            if self.fault_ns:
                self._repair()
            return
        finally:
            probes.kill()
            self._end_helpers(at_once=True)
            keep(folder, self.folder.path / "raw" / f"{trial:04}")
            self.watcher.write(self.folder, begin_ns)
        self._write({flow: records.Stream(flow, stream) for flow, stream in streams.items()},
                    new_flows)  # fmt: skip
        if not self.disturbance:
            self.folder.event(EventName.TRIAL_END, trial=trial)
        self.watcher.forget(time.monotonic_ns())

    # What happens.

    def _break(self, probes: Probes, flows: Sequence[Flow]) -> None:
        """Make the fault; wait until what can recover has, and the window is over."""
        asked = time.monotonic_ns()
        self.fault_ns = self.fault.inject(self.network)
        self.folder.event(
            EventName.FAULT, self.fault_ns, trial=self.cell["trial"], fault=self.cell["fault"],
            node=f"AS {FAILING}", injection_ms=(time.monotonic_ns() - asked) / MS,
        )  # fmt: skip
        if self._several:
            self._await_chosen(2, self.fault_ns, CHOICE_TIMEOUT)
        elif dead := probes.running(flows, self.fault_ns, CONSECUTIVE, CHOICE_TIMEOUT):
            raise TrialError(f"{dead[0].sender} to {dead[0].receiver} did not recover")
        self.folder.event(EventName.RECOVERED, trial=self.cell["trial"])
        # One period more than is counted, and the answers that are still waited for.
        end = self.fault_ns + WINDOW_NS + opener.PERIOD_NS + opener.PATIENCE_NS
        time.sleep(max(end - time.monotonic_ns(), 0) / S)

    def _repair(self) -> None:
        """Take the fault away; wait for the way back, and until the next fault will be noticed."""
        self.repair_ns = time.monotonic_ns()
        self.folder.event(
            EventName.REPAIR, self.repair_ns, trial=self.cell["trial"], node=f"AS {FAILING}"
        )
        self.fault.repair(self.network)
        found = self.watcher.wait_for(
            EventName.ROUTE, self.repair_ns, START_TIMEOUT, node=TRANSIT, change="add",
            interface=self.interface,
        )  # fmt: skip
        if found is None:
            raise TrialError(f"{TRANSIT} did not turn back to AS {FAILING}")
        self.network.wait_home_agents()
        if self._several and self._keys_outlive_it:
            self._await_chosen(1, self.repair_ns, BACK_TIMEOUT)
        elif self._several:
            self.network.agents.restart_mobile_node(MOBILE)
            self.network.agents.wait_bound()
        self.network.wait_detection()

    def _await_chosen(self, home: int, since: int, timeout: float) -> None:
        found = self.watcher.wait_for(
            EventName.AGENT, since, timeout, node=MOBILE, kind="home-chosen", home=home
        )
        if found is None:
            raise TrialError(f"home {home} was not chosen within {timeout:.0f} s")

    @property
    def interface(self) -> str:
        """The transit's interface to AS 1."""
        return next(
            end.interface
            for end in self.network.plan.ends_of(TRANSIT)
            if self.network.plan.nodes[end.neighbour].asn == FAILING
        )

    @property
    def _several(self) -> bool:
        return len(self.network.plan.homes) > 1

    @property
    def _keys_outlive_it(self) -> bool:
        """Whether the MN and AS 1 agree on SAs again by themselves."""
        return self.cell["fault"] == "as-cut" or bool(self.cell["keys"] == "ike")

    # Flows.

    def _flows(self) -> list[Flow]:
        """Return each home's flows: to the MN, and from it."""
        flows = []
        for home in self.network.plan.homes:
            end = records.end_of(home.number)
            flows.append(Flow(2 * home.number - 1, CORRESPONDENT, end))
            flows.append(Flow(2 * home.number, end, CORRESPONDENT))
        return flows

    def _home_addresses(self) -> dict[bytes, int]:
        return {home.home_address(1).packed: home.number for home in self.network.plan.homes}

    def _addresses(self) -> dict[str, str]:
        homes = self.network.plan.homes
        own = {records.end_of(home.number): str(home.home_address(1)) for home in homes}
        return {**own, CORRESPONDENT: str(self.network.plan.address_of(CORRESPONDENT))}

    def _spawn(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command at a flow's end: the MN has one for each home."""
        node = MOBILE if name.startswith(records.END) else name
        return spawning(self.network, self.folder)(node, command)

    def _help(self, node: str, *arguments: str) -> None:
        process = self._spawn(node, [sys.executable, "-m", "experiments.opener", *arguments])
        self._helpers.append(process)
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise ProbeError(f"what opens and answers new flows did not start in {node}; see logs/")

    def _end_helpers(self, at_once: bool = False) -> None:
        """End them, the opener first: by closing its input, so that it writes what it has."""
        while self._helpers:
            process = self._helpers.pop()
            if at_once:
                process.kill()
            elif process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(START_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                raise ProbeError("what opens and answers new flows did not stop") from None

    # Records.

    def _write(
        self, streams: Mapping[Flow, records.Stream], new_flows: Sequence[records.NewFlow]
    ) -> None:
        end_ns = self.fault_ns + WINDOW_NS
        pause_ms = records.opener_pause_ms(new_flows, self.fault_ns, end_ns)
        if pause_ms > opener.PERIOD_NS / MS:
            self.disturbance = "new flows were not opened in time"
        elif self._lost_sessions():
            self.disturbance = f"BFD lost {self._lost_sessions()[0]}"
        if self.disturbance:
            return
        for stream in streams.values():
            self.folder.row(HOME_FLOWS, **self.cell, **stream.row(self.fault_ns, end_ns))
        self.folder.row(
            NEW_FLOWS, **self.cell, **records.choice(new_flows, self.fault_ns, end_ns),
            **self._times(), opener_pause_ms=pause_ms,
        )  # fmt: skip
        if self.first:
            for row in records.opened(new_flows, self.fault_ns, end_ns):
                self.folder.row(OPENED, **self.cell, **row)
            for stream in streams.values():
                for row in stream.steps(self.fault_ns, end_ns):
                    self.folder.row(DELIVERED, **self.cell, **row)

    def _check_drops(self, before: Mapping[str, int]) -> None:
        """Raise DisturbedError where a link that was not cut had no room for packets."""
        cut = outer_interfaces(self.network) if self.fault.cuts else set()
        for interface, count in dropped(self.network).items():
            if interface not in cut and count > before.get(interface, count):
                more = count - before[interface]
                raise DisturbedError(f"{interface} dropped {more} packets; is the machine busy?")

    def _lost_sessions(self) -> list[str]:
        """Return the interfaces at which BFD was not up, other than those that were cut."""
        meant = outer_interfaces(self.network) if self.fault.cuts else set()
        return [
            str(seen.fields["interface"])
            for seen in self.watcher.since(self.begin_ns)
            if seen.name is EventName.BFD
            and seen.time_ns < self.fault_ns + WINDOW_NS
            and seen.fields["interface"] not in meant
        ]

    def _times(self) -> dict[str, float | None]:
        """Return when routing and the MN knew, in ms since the fault or the repair."""
        broken = [e for e in self.watcher.since(self.fault_ns) if e.time_ns < self.repair_ns]
        back = self.watcher.since(self.repair_ns)
        agent: dict[str, Any] = {"node": MOBILE}
        return {
            "rerouted_ms": _first(broken, self.fault_ns, EventName.ROUTE, node=TRANSIT),
            "silence_ms": _first(broken, self.fault_ns, EventName.AGENT, **agent,
                                 kind="home-suspected", home=1, cause="silence"),
            "hint_ms": _first(broken, self.fault_ns, EventName.AGENT, **agent,
                              kind="home-suspected", home=1, cause="hint"),
            "chosen_ms": _first(broken, self.fault_ns, EventName.AGENT, **agent,
                                kind="home-chosen", home=2),
            "back_route_ms": _first(back, self.repair_ns, EventName.ROUTE, node=TRANSIT,
                                    change="add", interface=self.interface),
            "back_heard_ms": _first(back, self.repair_ns, EventName.AGENT, **agent,
                                    kind="home-standing", home=1, standing="recovering"),
            "back_chosen_ms": _first(back, self.repair_ns, EventName.AGENT, **agent,
                                     kind="home-chosen", home=1),
        }  # fmt: skip


def _calm(status: Mapping[str, Any]) -> bool:
    """Whether all homes of a mobile node work, and new flows get the first."""
    homes = status["homes"]
    return bool(status["home"] == 1 and all(home["standing"] == "working" for home in homes))


def _first(
    seen: Sequence[Observation], since_ns: int, name: EventName, **wanted: Any
) -> float | None:
    found = (each for each in seen if each.matches(name, **wanted))
    return next(((each.time_ns - since_ns) / MS for each in found), None)
