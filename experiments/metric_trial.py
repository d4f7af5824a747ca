"""One trial of the metric experiment: probes run while mobile nodes wish, and routing follows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.core.wishes import Wish, Wishes
from experiments import streams
from experiments.data import MOVES, SERVING, EventName
from experiments.probes import Flow, ProbeError, Probes, keep, spawning
from experiments.run import RunFolder
from experiments.streams import CONSECUTIVE, PAUSE_NS, Stream
from experiments.watch import Observation, Watcher
from topologies import addressing
from topologies.agents import AgentError
from topologies.network import RUNTIME, Network

MS = 1_000_000
BORDER = "br"
HOME_AGENTS: Mapping[int, str] = {1: "HA1", 2: "HA2", 3: "HA3"}
NEAREST = 1
"""The home agent that the border prefers while nobody wishes."""

FLOWS = (Flow(1, "cn1", "mn"), Flow(2, "mn", "cn1"), Flow(3, "cn1", "mn2"), Flow(4, "mn2", "cn1"))
MOBILES = {"mn": 1, "mn2": 2}
START_TIMEOUT, ROUTE_TIMEOUT, PRIMARY_TIMEOUT = 15.0, 5.0, 5.0
AFTER_NS = 300 * MS
"""A step counts where the sender was not held up from the wish to so long after the change."""
TAIL_S = 1.2
"""After a step: longer than the hold time of the metric, so that each step finds it over."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a mobile node wishes: to be served by `home_agent` (0: by any), with a weight."""

    mobile: str
    home_agent: int
    weight: int = 1

    def __str__(self) -> str:
        """Return it as tables and plots show it."""
        wanted = HOME_AGENTS.get(self.home_agent, "any")
        return f"{self.mobile}: {wanted}" + (f" (weight {self.weight})" if self.weight > 1 else "")


PARTS: Mapping[str, tuple[Step, ...]] = {
    "move": (Step("mn", 3), Step("mn", 2), Step("mn", 0)),
    "conflict": (
        Step("mn", 2),
        Step("mn2", 3),
        Step("mn2", 3, weight=2),
        Step("mn2", 0),
        Step("mn", 0),
    ),
}
"""One mobile node has its way; two disagree, and the greater weight moves both."""

HOME_AGAIN = (Step("mn2", 1), Step("mn", 1), Step("mn", 0), Step("mn2", 0))
"""After a trial: everybody back at HA1, where the next one begins."""


class TrialError(RuntimeError):
    """Something that was awaited did not happen."""


@dataclass
class _Done:
    """A step that was taken, and when (CLOCK_MONOTONIC, ns)."""

    step: Step
    favourite: str
    wished_ns: int
    served_by: str
    primaries: Mapping[str, str]
    end_ns: int = 0


@dataclass
class MetricTrial:
    """A part of the experiment, once."""

    number: int
    part: str
    network: Network
    watcher: Watcher
    folder: RunFolder
    begin_ns: int = 0
    done: list[_Done] = field(default_factory=list)
    wished: dict[str, int] = field(default_factory=dict)
    wishes: Wishes = field(default_factory=lambda: Wishes(set(HOME_AGENTS)))
    favourite: int = NEAREST
    valid: list[tuple[int, int]] = field(default_factory=list)
    """Steps and flows that count: the sender was not held up while routing and role moved."""

    def run(self) -> None:
        """Take all steps, write all rows; TrialError, ProbeError or AgentError if one fails."""
        self.begin_ns = time.monotonic_ns()
        self.folder.event(
            EventName.TRIAL_BEGIN, self.begin_ns, trial=self.number, fault=self.part,
            detection=self.network.options.detection.name,
        )  # fmt: skip
        records = RUNTIME / "probes" / f"{self.number:04}"
        probes = Probes(
            self.watcher, spawning(self.network, self.folder), self._addresses(), FLOWS, records
        )
        try:
            probes.start()
            dead = probes.running(FLOWS, self.begin_ns, CONSECUTIVE, START_TIMEOUT)
            if dead:
                raise ProbeError(f"nothing arrives from {dead[0].sender} at {dead[0].receiver}")
            self.begin_ns = time.monotonic_ns()
            for step in PARTS[self.part]:
                self.done.append(self._take(step))
            recorded = probes.stop()
        finally:
            probes.kill()
            keep(records, self.folder.path / "raw" / f"{self.number:04}")
            self.watcher.write(self.folder, self.begin_ns)
        self._write(recorded)
        self.folder.event(EventName.TRIAL_END, trial=self.number)
        for step in HOME_AGAIN:
            self._take(step)
        self.watcher.forget(time.monotonic_ns())

    def _take(self, step: Step) -> _Done:
        """Let a mobile node wish; wait until routing and the role have followed, or would have."""
        octet = Wish(step.home_agent, step.weight).to_octet()
        self.wishes.replace(self.wished.get(step.mobile, 0), octet)
        self.wished[step.mobile] = octet
        favourite = self.wishes.favourite or NEAREST
        now = time.monotonic_ns()
        if self.done:
            self.done[-1].end_ns = now
        self.folder.event(
            EventName.WISH, now, trial=self.number, mobile=step.mobile,
            home_agent=step.home_agent, weight=step.weight,
        )  # fmt: skip
        self.network.agents[step.mobile].ask("wish", home_agent=step.home_agent, weight=step.weight)
        if favourite != self.favourite:
            self._await_route(favourite, now)
            self.favourite = favourite
        if step.home_agent == favourite:
            self._await_primary(step.mobile, favourite)
        time.sleep(TAIL_S)  # what happens late belongs to this step
        return _Done(
            step, HOME_AGENTS[favourite], now, self._served_by(), self._primaries(),
            time.monotonic_ns(),
        )  # fmt: skip

    def _await_route(self, home_agent: int, since: int) -> None:
        found = self.watcher.wait_for(
            EventName.ROUTE, since, ROUTE_TIMEOUT,
            node=BORDER, change="add", interface=f"{BORDER}-r{home_agent}",
        )  # fmt: skip
        if found is None:
            raise TrialError(f"{BORDER} did not turn to HA{home_agent}")

    def _await_primary(self, mobile: str, home_agent: int) -> None:
        name = HOME_AGENTS[home_agent]
        if self._primaries()[mobile] == name:
            return
        if not self.watcher.wait(lambda: self._newest(mobile) == name, PRIMARY_TIMEOUT):
            raise TrialError(f"{name} did not become the primary of {mobile}")

    def _newest(self, mobile: str) -> str | None:
        """Return the newest primary of a mobile node that was observed."""
        address = str(addressing.home_address(MOBILES[mobile]))
        seen = [each for each in self.watcher.since(self.begin_ns) if _took_over(each, address)]
        return str(seen[-1].fields["node"]) if seen else None

    def _served_by(self) -> str:
        """Return the home agent to which the border router forwards, by its newest route."""
        turned = [
            each
            for each in self.watcher.since(self.begin_ns)
            if each.matches(EventName.ROUTE, node=BORDER, change="add")
        ]
        return _behind(turned[-1]) if turned else HOME_AGENTS[NEAREST]

    def _primaries(self) -> dict[str, str]:
        """Return who is primary for each mobile node, as the border's home agent has it."""
        bindings = self.network.agents[HOME_AGENTS[self.favourite]].ask("bindings")
        held = {each["home_address"]: str(each["primary"]) for each in bindings}
        return {
            name: held[str(addressing.home_address(number))] for name, number in MOBILES.items()
        }

    # Records.

    def _write(self, recorded: Mapping[Flow, Stream]) -> None:
        for number, done in enumerate(self.done, start=1):
            for flow, stream in recorded.items():
                mobile, direction = (
                    (flow.receiver, "down") if flow.sender == "cn1" else (flow.sender, "up")
                )
                valid = self._undisturbed(done, stream)
                if valid:
                    self.valid.append((number, flow.number))
                self.folder.row(
                    MOVES,
                    trial=self.number,
                    part=self.part,
                    step=number,
                    wish=str(done.step),
                    begin_ms=(done.wished_ns - self.begin_ns) / MS,
                    length_ms=(done.end_ns - done.wished_ns) / MS,
                    mobile=mobile,
                    direction=direction,
                    favourite=done.favourite,
                    served_by=done.served_by,
                    primary=done.primaries[mobile],
                    valid=valid,
                    **self._times(done, mobile),
                    **_packets(stream, done.wished_ns, done.end_ns),
                )
        for row in self._serving():
            self.folder.row(SERVING, trial=self.number, part=self.part, **row)

    def _undisturbed(self, done: _Done, stream: Stream) -> bool:
        changes = [each for each in self._within(done) if self._change(each) is not None]
        end = (changes[-1].time_ns if changes else done.wished_ns) + AFTER_NS
        return streams.longest_pause_ns(stream.sent, done.wished_ns, end) <= PAUSE_NS

    def _within(self, done: _Done) -> list[Observation]:
        return [e for e in self.watcher.since(done.wished_ns) if e.time_ns < done.end_ns]

    def _times(self, done: _Done, mobile: str) -> dict[str, float | None]:
        """Return when routing was told, the border turned and the role moved, in ms."""
        seen = self._within(done)
        address = str(addressing.home_address(MOBILES[mobile]))
        told = [e for e in seen if e.matches(EventName.AGENT, kind="metric-told")]
        turned = [e for e in seen if e.matches(EventName.ROUTE, node=BORDER, change="add")]
        moved = [e for e in seen if _took_over(e, address)]
        return {
            "told_ms": _since(done.wished_ns, told[-1:]),
            "route_ms": _since(done.wished_ns, turned[-1:]),
            "primary_ms": _since(done.wished_ns, moved[:1]),
        }

    def _serving(self) -> list[dict[str, Any]]:
        """Return who serves whom, from the beginning on: a row a change."""
        rows = []
        for mobile in MOBILES:
            for role in ("up", "down", "primary"):
                rows.append(_serves(0.0, mobile, role, HOME_AGENTS[NEAREST]))
        rows.append(_serves(0.0, "", "route", HOME_AGENTS[NEAREST]))
        end = self.done[-1].end_ns
        for seen in self.watcher.since(self.begin_ns):
            change = self._change(seen)
            if change is not None and seen.time_ns < end:
                rows.append(_serves((seen.time_ns - self.begin_ns) / MS, *change))
        return rows

    def _change(self, seen: Observation) -> tuple[str, str, str] | None:
        """Return (mobile, role, home agent) of an observation that tells a change."""
        if seen.matches(EventName.ROUTE, node=BORDER, change="add"):
            return "", "route", _behind(seen)
        if seen.name is not EventName.AGENT:
            return None
        node, kind = str(seen.fields["node"]), seen.fields["kind"]
        if kind == "origin-changed":
            own = {str(self.network.plan.address_of(name)): name for name in HOME_AGENTS.values()}
            return node, "down", own[str(seen.fields["origin"])]
        for mobile, number in MOBILES.items():
            address = str(addressing.home_address(number))
            if kind == "traffic-began" and seen.fields["home_address"] == address:
                return mobile, "up", node
            if _took_over(seen, address):
                return mobile, "primary", node
        return None

    def _addresses(self) -> dict[str, str]:
        own = {name: str(addressing.home_address(number)) for name, number in MOBILES.items()}
        return {**own, "cn1": str(self.network.plan.address_of("cn1"))}


def _behind(seen: Observation) -> str:
    """Return the home agent behind the interface of a route of the border router."""
    return f"HA{str(seen.fields['interface']).removeprefix(f'{BORDER}-r')}"


def _took_over(seen: Observation, address: str) -> bool:
    """Whether a home agent tells that it is primary now for this home address."""
    return (
        seen.matches(EventName.AGENT, kind="primary-changed", home_address=address)
        and seen.fields["cause"] != "peer"
    )


def _serves(time_ms: float, mobile: str, role: str, home_agent: str) -> dict[str, Any]:
    return {"time_ms": time_ms, "mobile": mobile, "role": role, "home_agent": home_agent}


def _packets(stream: Stream, from_ns: int, to_ns: int) -> dict[str, Any]:
    return {
        "sent_packets": stream.index(to_ns) - stream.index(from_ns),
        "lost_packets": streams.lost(stream, from_ns, to_ns),
        "reordered_packets": streams.reordered(stream, from_ns, to_ns),
        "longest_gap_ms": streams.longest_gap_ns(stream, from_ns, to_ns) / MS,
        "longest_pause_ms": streams.longest_pause_ns(stream.sent, from_ns, to_ns) / MS,
    }


def _since(begin_ns: int, found: Sequence[Observation]) -> float | None:
    return (found[0].time_ns - begin_ns) / MS if found else None


ERRORS = (TrialError, ProbeError, AgentError)
