"""A tour of the mobile node through all visited networks: who serves it where, at what cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments import streams
from experiments.calm import Calm
from experiments.catchment_look import MOBILE, MS, Leg, Lookout, TourError
from experiments.data import EventName
from experiments.data_catchment import PLACES
from experiments.knocks import KnockError
from experiments.probes import Flow, ProbeError, Probes, keep, spawning
from experiments.run import RunFolder
from experiments.streams import CONSECUTIVE, PAUSE_NS, Stream
from experiments.watch import Watcher
from topologies.agents import AgentError
from topologies.network import RUNTIME, Network
from topologies.plan import Role

START_TIMEOUT, RUN_TIMEOUT, BOUND_TIMEOUT = 15.0, 15.0, 10.0
AFTER_NS = 300 * MS
"""A move counts where the sender was not held up from its begin to so long after the outage."""

ERRORS = (TourError, ProbeError, KnockError, AgentError, OSError)


@dataclass
class _Visit:
    """A place of the tour as it was found; times are CLOCK_MONOTONIC, ns."""

    step: int
    place: str
    came_from: str
    begin_ns: int
    bound: dict[str, float] = field(default_factory=dict)
    crossed: dict[Leg, dict[str, Any]] = field(default_factory=dict)
    found: dict[Leg, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Tour:
    """One trial: from the first visited network through all others and back."""

    number: int
    lookout: Lookout
    calm: Calm
    watcher: Watcher
    folder: RunFolder
    visits: list[_Visit] = field(default_factory=list)
    valid: list[tuple[int, Leg]] = field(default_factory=list)
    void: str = ""
    """Why nothing of it counts: routing did not stand still."""

    @property
    def network(self) -> Network:
        """The running network."""
        return self.lookout.network

    def run(self) -> None:
        """Visit every place, write all rows; one of `ERRORS` if something fails in a calm."""
        begin = time.monotonic_ns()
        self.folder.event(
            EventName.TRIAL_BEGIN, begin, trial=self.number, fault="tour",
            detection=self.network.options.detection.name,
        )  # fmt: skip
        try:
            self._go(begin)
        except ERRORS as error:
            if not self.calm.disturbance(begin):
                raise
            self.folder.event(EventName.TRIAL_FAILED, trial=self.number, reason=str(error))
        finally:
            self.watcher.write(self.folder, begin)
        self.void = self.calm.disturbance(begin)
        if self.void:
            self.folder.event(EventName.TRIAL_VOID, trial=self.number, reason=self.void)
        else:
            self._write(begin, time.monotonic_ns())
            self.folder.event(EventName.TRIAL_END, trial=self.number)
        self.watcher.forget(time.monotonic_ns())

    def _go(self, begin: int) -> None:
        places = [node.name for node in self.lookout.plan.of_role(Role.ACCESS)]
        self.network.faults.move(MOBILE, places[0])  # a void tour may have ended elsewhere
        self._arrive(_Visit(0, places[0], "", begin))
        for step, place in enumerate([*places[1:], places[0]], start=1):
            self._move(step, place)

    # Moving.

    def _move(self, step: int, place: str) -> None:
        """Move under probes; then look, without them, at who serves."""
        records = RUNTIME / "probes" / f"{self.number:04}-{step}"
        flows = {leg: Flow(n, *leg.ends) for n, leg in enumerate(self.lookout.probed, start=1)}
        found = self.lookout.addresses(self.lookout.homes[0])
        addresses = {name: str(each) for name, each in found.items()}
        probes = Probes(
            self.watcher, spawning(self.network, self.folder), addresses, [*flows.values()], records
        )
        try:
            probes.start()
            self._await_running(probes, flows, time.monotonic_ns(), START_TIMEOUT)
            visit = _Visit(step, place, self.visits[-1].place, time.monotonic_ns())
            self.folder.event(
                EventName.MOVE, visit.begin_ns, trial=self.number, mobile=MOBILE, place=place
            )
            self.network.faults.move(MOBILE, place)
            visit.bound = self._await_bound(visit)
            self._await_running(probes, flows, time.monotonic_ns() + AFTER_NS, RUN_TIMEOUT)
            recorded = probes.stop()
        finally:
            probes.kill()
            keep(records, self.folder.path / "raw" / records.name)
        end = time.monotonic_ns()
        visit.crossed = {
            leg: _crossing(recorded[f], visit.begin_ns, end) for leg, f in flows.items()
        }
        self._arrive(visit)

    def _arrive(self, visit: _Visit) -> None:
        visit.found = self.lookout.look(visit.place)
        self.visits.append(visit)

    def _await_running(
        self, probes: Probes, flows: Mapping[Leg, Flow], after_ns: int, timeout: float
    ) -> None:
        dead = probes.running([*flows.values()], after_ns, CONSECUTIVE, timeout)
        if dead:
            raise TourError(f"nothing arrives from {dead[0].sender} at {dead[0].receiver}")

    def _await_bound(self, visit: _Visit) -> dict[str, float]:
        """Wait for the Binding Acknowledgement; return ms since the move began."""
        address = str(self.lookout.care_of_address(visit.place))
        found = {}
        for name, kind in (("moved_ms", "moved"), ("bound_ms", "registration-acknowledged")):
            seen = self.watcher.wait_for(
                EventName.AGENT, visit.begin_ns, BOUND_TIMEOUT,
                node=MOBILE, kind=kind, care_of_address=address,
            )  # fmt: skip
            if seen is None:
                raise TourError(f"{MOBILE} was not {name.removesuffix('_ms')} at {visit.place}")
            found[name] = (seen.time_ns - visit.begin_ns) / MS
        return found

    # Records.

    def _write(self, begin_ns: int, end_ns: int) -> None:
        ends = [visit.begin_ns for visit in self.visits[1:]] + [end_ns]
        for visit, end in zip(self.visits, ends, strict=True):
            for leg, row in self._rows(visit):
                self.folder.row(
                    PLACES,
                    trial=self.number,
                    begin_ms=(visit.begin_ns - begin_ns) / MS,
                    end_ms=(end - begin_ns) / MS,
                    **row,
                )
                if row["valid"] and leg in visit.crossed:
                    self.valid.append((visit.step, leg))

    def _rows(self, visit: _Visit) -> Iterator[tuple[Leg, dict[str, Any]]]:
        for leg in self.lookout.legs:
            yield (
                leg,
                {
                    "step": visit.step,
                    "place": visit.place,
                    "came_from": visit.came_from,
                    "home_network": leg.home.number,
                    "mobile": MOBILE,
                    "correspondent": leg.correspondent,
                    "direction": leg.direction,
                    "valid": True,
                    **visit.found[leg],
                    **visit.bound,
                    **visit.crossed.get(leg, {}),
                },
            )


def _crossing(stream: Stream, begin_ns: int, end_ns: int) -> dict[str, Any]:
    """Return what a move did to a stream of probes."""
    outage = streams.outage(stream, begin_ns)
    if outage is None:
        raise TourError("a stream of probes did not come back")
    calm = stream.sent[outage.first_after] + AFTER_NS
    pause = streams.longest_pause_ns(stream.sent, begin_ns, min(calm, end_ns))
    return {
        "outage_ms": outage.length_ns / MS,
        "lost_packets": streams.lost(stream, begin_ns, calm),
        "longest_pause_ms": pause / MS,
        "valid": pause <= PAUSE_NS,
    }
