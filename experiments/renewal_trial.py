"""Trials of the renewal experiment: registration, Binding Update, renewal, takeover, by IKE."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.config import Mode
from experiments import renewal_analysis
from experiments.data import EXCHANGES, RENEWALS, TAKEOVERS, EventName
from experiments.home_link import HomeLink
from experiments.probes import Flow, ProbeError, Probes, keep, spawning
from experiments.renewal_analysis import Cause, Window
from experiments.run import RunFolder
from experiments.streams import CONSECUTIVE, PAUSE_NS, Stream
from experiments.watch import Observation, Watcher
from topologies import addressing
from topologies.agents import AgentError
from topologies.network import RUNTIME, Network

MS = 1_000_000
MOBILE, FIRST, BORDER = "mn", "HA1", "br"
HOME_LINK, OUTWARD = "HA1-r1", "br-r1"
HOME_ADDRESS = addressing.home_address(1)
TIMEOUT, BACK_TIMEOUT = 15.0, 40.0
TAIL_PACKETS = 200
REGISTRATIONS = 2
"""Registrations from nothing, and Binding Updates, of one trial: they are short."""

AFTER_NS = 50 * MS
"""A renewal's times count where no sender was held up until so long after the switch."""

FLOWS = (Flow(1, "cn1", MOBILE), Flow(2, MOBILE, "cn1"), Flow(3, "cn2", MOBILE))
NUMBER_FLOWS = (*FLOWS, Flow(4, "cn2", MOBILE))
"""HA2, by which cn2's packets come, sends twice as many as the primary: it runs out first."""

NUMBERS_LIMIT = 10_000
"""Soft limit of the trials by numbers: 5 s of HA2's traffic, longer than a renewal takes."""


class TrialError(RuntimeError):
    """Something that was awaited did not happen."""


@dataclass
class RenewalTrial:
    """One trial of one part; `undisturbed` is False once a time was taken while a sender paused."""

    number: int
    mode: Mode
    network: Network
    watcher: Watcher
    folder: RunFolder
    undisturbed: bool = True
    begin_ns: int = 0
    windows: list[Window] = field(default_factory=list)
    probes: Probes | None = None

    def run(self, part: str) -> None:
        """Run it and write its rows; TrialError, ProbeError or AgentError if something fails."""
        self.begin_ns = time.monotonic_ns()
        self.folder.event(
            EventName.TRIAL_BEGIN, self.begin_ns, trial=self.number, fault=part,
            detection=self.network.options.detection.name,
        )  # fmt: skip
        try:
            {"keys": self._keys, "numbers": self._numbers}[part]()
            self.network.agents.check_alive()
        finally:
            if self.probes is not None:
                self.probes.kill()
            keep(self._records(), self.folder.path / "raw" / f"{self.number:04}")
            self.watcher.write(self.folder, self.begin_ns)
            self.watcher.forget(time.monotonic_ns())
        self.folder.event(EventName.TRIAL_END, trial=self.number)

    # The parts.

    def _keys(self) -> None:
        """Register, update, renew; in hardened mode fail HA1, renew at its successor, repair.

        In draft mode nobody takes over unless a renewal is due (rule 1), so nothing is failed.
        """
        link = HomeLink(self.network.nodes[FIRST].pid, HOME_LINK)
        try:
            for _ in range(REGISTRATIONS):
                self._register_from_nothing()
                self._update(link)
        finally:
            link.close()
        probes = self._start(FLOWS)
        self._renew(FIRST, Cause.ASKED)
        takes_over = self.mode is Mode.HARDENED
        if takes_over:
            killed, taken = self._fail_first()
        recorded = probes.stop()
        self._write_windows(recorded)
        if takes_over:
            self._write_takeover(killed, taken, recorded)
            self._repair_first()

    def _numbers(self) -> None:
        """Let HA2, which is not primary, run out of numbers."""
        probes = self._start(NUMBER_FLOWS)
        requested = self._await("renewal-requested", self.begin_ns)
        self._follow(Cause.NUMBERS, requested.time_ns)
        self._write_windows(probes.stop())

    # Steps.

    def _register_from_nothing(self) -> None:
        """Start the mobile node's agent anew: it knows no SA, and begins with IKE_SA_INIT."""
        since = time.monotonic_ns()
        self.network.agents.restart_mobile_node(MOBILE)
        there = self._await("care-of-address", since, node=MOBILE, usable=True)
        acknowledged = self._await("registration-acknowledged", since, node=MOBILE)
        self._await("ike-established", since, node=MOBILE)
        self._exchange("registration", acknowledged.time_ns - there.time_ns)
        self._await_in_sync(since, acknowledged)

    def _update(self, link: HomeLink) -> None:
        """Deregister, register: one Binding Update on SAs that stand, seen from three places."""
        mobile = self.network.agents[MOBILE]
        since = time.monotonic_ns()
        mobile.ask("deregister")
        self._await("registration-ended", since, node=MOBILE, reason="deregistered")
        link.forget()
        since = time.monotonic_ns()
        mobile.ask("register")
        acknowledged = self._await("registration-acknowledged", since, node=MOBILE)
        accepted, in_sync = self._await_in_sync(since, acknowledged)
        turnaround = link.turnaround_ns()
        if turnaround is None:
            raise TrialError(f"no Binding Update and Acknowledgement passed {HOME_LINK}")
        self._exchange("update-mn", round(acknowledged.fields["delay"] * 1e9))
        self._exchange("update-ha", turnaround)
        self._exchange("update-peers", in_sync.time_ns - accepted.time_ns)

    def _await_in_sync(
        self, since: int, acknowledged: Observation
    ) -> tuple[Observation, Observation]:
        """Wait until HA1 has accepted what the mobile node knows acknowledged, and all peers too.

        By its sequence number: what HA1 says of the Binding Update before may be late.
        """
        sequence = acknowledged.fields["sequence"]
        accepted = self._await("binding-accepted", since, node=FIRST, sequence=sequence)
        in_sync = self._await("peers-in-sync", accepted.time_ns, node=FIRST, sequence=sequence)
        return accepted, in_sync

    def _renew(self, primary: str, cause: Cause) -> None:
        since = time.monotonic_ns()
        self.network.agents[primary].ask("renew", home_address=str(HOME_ADDRESS))
        self._follow(cause, since)

    def _follow(self, cause: Cause, since: int) -> None:
        """Wait until the renewal that began after `since` is over, and traffic with it."""
        began = self._await("renewal-began", since)
        node = str(began.fields["node"])
        renewed = self._await("sa-renewed", began.time_ns, node=node)
        deleted = self._await("sa-deleted", renewed.time_ns, node=node)
        self._await_traffic(deleted.time_ns, TAIL_PACKETS)
        end = time.monotonic_ns()
        begun = self._count("renewal-began", since, end)
        self.windows.append(
            Window(cause, node, since, began.time_ns, renewed.time_ns, deleted.time_ns, end, begun)
        )

    def _fail_first(self) -> tuple[int, Observation]:
        """Kill HA1's agent, wait for the takeover, renew at the new primary.

        Returns when it was killed, and the takeover.
        """
        others = [n for n in self.network.agents.home_agents if n != FIRST]
        counted = [*others, MOBILE]
        before = self._ike_requests(counted)
        killed = self.network.agents[FIRST].kill()
        taken = self._await("primary-changed", killed, cause="takeover")
        self._await_traffic(taken.time_ns, TAIL_PACKETS)
        caused = self._ike_requests(counted) - before
        successor = str(taken.fields["node"])
        heard = self._inits_heard()
        self._renew(successor, Cause.NEW_PRIMARY)
        self.folder.row(
            TAKEOVERS,
            trial=self.number,
            **self._columns(),
            home_agent=successor,
            ike_exchanges=caused,
            ike_sa_inits=self._inits_heard() - heard,
        )
        return killed, taken

    def _repair_first(self) -> None:
        """Start HA1's agent; wait until the border forwards to it and all peers are valid."""
        since = time.monotonic_ns()
        self.network.agents[FIRST].start()
        if not self.watcher.wait(lambda: self._is_back(since), BACK_TIMEOUT):
            raise TrialError(f"{BORDER} did not go back to {OUTWARD}")
        for agent in self.network.agents.home_agents.values():
            agent.wait(
                "in touch with its peers",
                lambda status: set(status["peers"].values()) == {"up"},
            )

    def _is_back(self, since: int) -> bool:
        news = [each for each in self.watcher.since(since)
                if each.matches(EventName.ROUTE, node=BORDER, change="add")]  # fmt: skip
        return bool(news) and news[-1].fields["interface"] == OUTWARD

    # Probes and agents.

    def _start(self, flows: Sequence[Flow]) -> Probes:
        plan = self.network.plan
        addresses = {name: str(plan.address_of(name)) for name in ("cn1", "cn2")}
        addresses[MOBILE] = str(HOME_ADDRESS)
        self.probes = Probes(
            self.watcher, spawning(self.network, self.folder), addresses, flows, self._records()
        )
        self.probes.start()
        self._await_traffic(time.monotonic_ns(), CONSECUTIVE)
        return self.probes

    def _records(self) -> Any:
        return RUNTIME / "probes" / f"{self.number:04}"

    def _await_traffic(self, after_ns: int, count: int) -> None:
        assert self.probes is not None
        dead = self.probes.running(self.probes.flows, after_ns, count, TIMEOUT)
        if dead:
            raise ProbeError(f"no {count} packets in a row from {dead[0].sender}")

    def _await(self, kind: str, since: int, **wanted: Any) -> Observation:
        """Wait for an event of an agent; TrialError if it does not come, AgentError if one died."""
        found = self.watcher.wait_for(EventName.AGENT, since, TIMEOUT, kind=kind, **wanted)
        if found is None:
            self.network.agents.check_alive()
            raise TrialError(f"no {kind} of {wanted.get('node', 'any agent')} in {TIMEOUT:.0f} s")
        return found

    def _count(self, kind: str, since: int, until: int) -> int:
        return sum(
            each.matches(EventName.AGENT, kind=kind) and each.time_ns < until
            for each in self.watcher.since(since)
        )

    def _ike_requests(self, names: Sequence[str]) -> int:
        """Return how many IKE requests these agents have sent, repetitions too."""
        counters = [self.network.agents[name].ask("counters") for name in names]
        return sum(
            each.get(f"ike.requests-{kind}", 0)
            for each in counters
            for kind in ("sent", "repeated")
        )

    def _inits_heard(self) -> int:
        """Return how many IKE_SA_INIT requests the mobile node has received."""
        counters: Mapping[str, int] = self.network.agents[MOBILE].ask("counters")
        return counters.get("ike.received.ike-sa-init-request", 0)

    # Rows.

    def _columns(self) -> dict[str, str]:
        return {"topology": "single_as", "mode": self.mode.value}

    def _exchange(
        self, what: str, duration_ns: int, cause: str = "", undisturbed: bool = True
    ) -> None:
        self.folder.row(
            EXCHANGES,
            trial=self.number,
            **self._columns(),
            exchange=what,
            cause=cause,
            duration_ms=duration_ns / MS,
            undisturbed=undisturbed,
        )
        self.undisturbed = self.undisturbed and undisturbed

    def _write_windows(self, recorded: Mapping[Flow, Stream]) -> None:
        for window in self.windows:
            soon = window.renewed + AFTER_NS
            calm = renewal_analysis.pause_ns(recorded, window.since, soon) <= PAUSE_NS
            self._exchange("renewed", window.renewed - window.began, window.cause.value, calm)
            self._exchange("deleted", window.deleted - window.began, window.cause.value, calm)
            for row in renewal_analysis.rows(window, recorded):
                self.folder.row(RENEWALS, trial=self.number, **self._columns(), **row)

    def _write_takeover(
        self, killed: int, taken: Observation, recorded: Mapping[Flow, Stream]
    ) -> None:
        """From the mark `invalid` to the Switch sent, the wait for a packet of the MN included."""
        node = taken.fields["node"]
        invalid = self._await("peer-changed", killed, node=node, peer=FIRST, state="invalid")
        calm = renewal_analysis.pause_ns(recorded, killed, taken.time_ns) <= PAUSE_NS
        self._exchange("takeover", taken.time_ns - invalid.time_ns, undisturbed=calm)


Failures = (TrialError, ProbeError, AgentError)
