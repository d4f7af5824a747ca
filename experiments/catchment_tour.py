"""A tour of the mobile node through all visited networks: who serves it where, at what cost."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any

from experiments import streams
from experiments.data import EventName
from experiments.data_catchment import PLACES
from experiments.knocks import Knocker, KnockError
from experiments.probes import Flow, ProbeError, Probes, keep
from experiments.run import REPOSITORY, RunFolder
from experiments.statistics import median
from experiments.streams import CONSECUTIVE, PAUSE_NS, Stream
from experiments.watch import Watcher
from topologies.agents import AgentError
from topologies.network import RUNTIME, Network
from topologies.path_model import PathModel, delay_ms
from topologies.plan import HomeNetwork, Plan, Protocol, Role

MS = 1_000_000
MOBILE = "mn"
KNOCKS = 20
START_TIMEOUT, RUN_TIMEOUT, BOUND_TIMEOUT = 15.0, 15.0, 10.0
SYNCHRONISED_TIMEOUT = 5.0
POLL = 0.005
AFTER_NS = 300 * MS
"""A move counts where the sender was not held up from its begin to so long after the outage."""

DIRECTIONS = ("up", "down")


class TourError(RuntimeError):
    """Something that was awaited did not happen."""


ERRORS = (TourError, ProbeError, KnockError, AgentError, OSError)


@dataclass(frozen=True, slots=True)
class Leg:
    """One home network, correspondent node and direction: what is looked at in every place."""

    home: HomeNetwork
    correspondent: str
    direction: str


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
    network: Network
    plan: Plan  # with the delays that the network really has
    homes: Sequence[HomeNetwork]
    watcher: Watcher
    folder: RunFolder
    visits: list[_Visit] = field(default_factory=list)
    valid: list[tuple[int, Leg]] = field(default_factory=list)
    disagreements: int = 0

    def __post_init__(self) -> None:
        self.legs = [
            Leg(home, each.name, direction)
            for home in self.homes
            for each in self.plan.of_role(Role.CORRESPONDENT)
            for direction in DIRECTIONS
        ]

    def run(self) -> None:
        """Visit every place, write all rows; one of `ERRORS` if something fails."""
        places = [node.name for node in self.plan.of_role(Role.ACCESS)]
        begin = time.monotonic_ns()
        self.folder.event(
            EventName.TRIAL_BEGIN, begin, trial=self.number, fault="tour",
            detection=self.network.options.detection.name,
        )  # fmt: skip
        self._visit(_Visit(0, places[0], "", begin))
        for step, place in enumerate([*places[1:], places[0]], start=1):
            self._move(step, place)
        self._write(begin, time.monotonic_ns())
        self.folder.event(EventName.TRIAL_END, trial=self.number)
        self.watcher.forget(time.monotonic_ns())

    # Moving.

    def _move(self, step: int, place: str) -> None:
        """Move under probes; then look, without them, at who serves."""
        records = RUNTIME / "probes" / f"{self.number:04}-{step}"
        flows = {leg: Flow(n, *self._ends(leg)) for n, leg in enumerate(self._probed(), start=1)}
        addresses = {name: str(each) for name, each in self._addresses(self.homes[0]).items()}
        probes = Probes(self.watcher, self._spawn, addresses, [*flows.values()], records)
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
            if records.is_dir():
                keep(records, self.folder.path / "raw" / records.name)
            self._log()
        end = time.monotonic_ns()
        visit.crossed = {
            leg: _crossing(recorded[f], visit.begin_ns, end) for leg, f in flows.items()
        }
        self._visit(visit)

    def _probed(self) -> list[Leg]:
        """Probes are bound to one address a node: those of the first home network run."""
        return [leg for leg in self.legs if leg.home is self.homes[0]]

    def _await_running(
        self, probes: Probes, flows: Mapping[Leg, Flow], after_ns: int, timeout: float
    ) -> None:
        dead = probes.running([*flows.values()], after_ns, CONSECUTIVE, timeout)
        if dead:
            raise TourError(f"nothing arrives from {dead[0].sender} at {dead[0].receiver}")

    def _await_bound(self, visit: _Visit) -> dict[str, float]:
        """Wait for the Binding Acknowledgement; return ms since the move began."""
        address = str(self._care_of(visit.place))
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

    # Looking.

    def _visit(self, visit: _Visit) -> None:
        """Note for every leg which home agent carries it, and how the plan has it."""
        model = PathModel(self.plan, places={MOBILE: visit.place})
        for home in self.homes:
            primary = self._await_primary(home, visit.place)
            for leg in self.legs:
                if leg.home is home:
                    visit.found[leg] = self._look(leg, visit.place, primary, model)
        self.visits.append(visit)

    def _look(self, leg: Leg, place: str, primary: str, model: PathModel) -> dict[str, Any]:
        source, target = self._ends(leg)
        addresses = self._addresses(leg.home)
        pids = [self.network.nodes[name].pid for name in (source, target)]
        counter = "tunnel.received" if leg.direction == "up" else "tunnel.sent"
        with Knocker(pids[0], addresses[source], pids[1], addresses[target]) as knocker:
            before = self._counted(leg.home, counter)
            delays = knocker.delays_ns(KNOCKS)
            after = self._counted(leg.home, counter)
        carriers = [name for name in after if after[name] - before[name] >= KNOCKS]
        found = {
            "home_agent": " and ".join(carriers) or "none",
            "primary": primary,
            "delay_ms": median(delays) / MS,
            **self._predict(leg, place, model),
        }
        pairs = (("home_agent", "model_home_agent"), ("primary", "model_primary"))
        found["agree"] = all(found[a] == found[b] for a, b in pairs)
        return found

    def _predict(self, leg: Leg, place: str, model: PathModel) -> dict[str, Any]:
        """Return what the plan says of a leg while the mobile node is at a place."""
        anycast = leg.home.home_agent_address
        source, target = self._ends(leg)
        there = model.path(source, anycast)
        end = self._care_of(place) if target == MOBILE else self.plan.address_of(target)
        rest = model.path(there[-1], end)
        return {
            "model_home_agent": there[-1],
            "model_primary": model.path(place, anycast)[-1],
            "model_delay_ms": delay_ms(self.plan, there) + delay_ms(self.plan, rest),
        }

    def _await_primary(self, home: HomeNetwork, place: str) -> str:
        """Wait until all home agents have the binding; return whom they take for the primary."""
        address, care_of = str(home.home_address(1)), str(self._care_of(place))
        until = time.monotonic() + SYNCHRONISED_TIMEOUT
        while time.monotonic() < until:
            held = bindings(self.network, home, address)
            if all(each and each["care_of_address"] == care_of for each in held):
                return " or ".join(sorted({str(each["primary"]) for each in held if each}))
            time.sleep(POLL)
        raise TourError(f"not every home agent of {home.prefix} knows {MOBILE} at {place}")

    def _counted(self, home: HomeNetwork, counter: str) -> dict[str, int]:
        return {
            node.name: int(self.network.agents[node.name].ask("counters").get(counter, 0))
            for node in self.plan.home_agents(home)
        }

    # Names and addresses.

    def _ends(self, leg: Leg) -> tuple[str, str]:
        pair = (MOBILE, leg.correspondent)
        return pair if leg.direction == "up" else (pair[1], pair[0])

    def _addresses(self, home: HomeNetwork) -> dict[str, IPv6Address]:
        correspondents = self.plan.of_role(Role.CORRESPONDENT)
        return {node.name: self.plan.address_of(node.name) for node in correspondents} | {
            MOBILE: home.home_address(1)
        }

    def _care_of(self, place: str) -> IPv6Address:
        for end in self.plan.ends_of(MOBILE):
            if end.link.protocol is Protocol.ACCESS and end.neighbour == place:
                return end.address
        raise TourError(f"{MOBILE} has no link to {place}")

    def _spawn(self, node: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder.path / "logs" / "probes.log").open("ab") as log:
            process: subprocess.Popen[bytes] = self.network.nodes[node].spawn(
                list(command), cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        return process

    def _log(self) -> None:
        for seen in self.watcher.since(self.visits[-1].begin_ns):
            self.folder.event(seen.name, seen.time_ns, **seen.fields)
        self.watcher.forget(time.monotonic_ns())

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
                self.disagreements += not row["agree"]
                if row["valid"] and leg in visit.crossed:
                    self.valid.append((visit.step, leg))

    def _rows(self, visit: _Visit) -> Iterator[tuple[Leg, dict[str, Any]]]:
        for leg in self.legs:
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


def bindings(network: Network, home: HomeNetwork, address: str) -> list[dict[str, Any] | None]:
    """Return the binding of a home address at each home agent of its network; None: it has none."""
    found: list[dict[str, Any] | None] = []
    for node in network.plan.home_agents(home):
        rows = network.agents[node.name].ask("bindings")
        bound = (row for row in rows if row["home_address"] == address and row["state"] == "bound")
        found.append(next(bound, None))
    return found


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
