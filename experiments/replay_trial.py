"""One trial of the replay experiment in one mode: sharing, three attacks, nonces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from agents.core.replay_window import WINDOW_SIZE
from experiments.attacks import Heard, relabelled
from experiments.data import NONCES, SHARING
from experiments.egress import count_numbers, read_egress, spis_of
from experiments.replay_bench import BenchError, Outcome
from experiments.replay_model import (
    floor_bound,
    left_open,
    repetitions,
    silenced,
    taken,
)
from experiments.replay_modes import HOME_AGENTS, MOBILE, MODES, NO_ORIGIN
from experiments.replay_observer import RATE, Observer
from experiments.replay_traffic import Action, times
from topologies.agents import MOBILE_SPI

RATIOS: Mapping[str, tuple[int, ...]] = {
    "1:1": (1, 1),
    "2:1": (2, 1),
    "10:1": (10, 1),
    "1:1:1": (1, 1, 1),
    "4:2:1": (4, 2, 1),
}
SHARING_S = 1.2
FEW = 5
RELABELLED = 200
FAR_COUNTER, NEAR_COUNTER, GENUINE = 2000, 100, 1000
FAST = 2000.0
UPSTREAM_S = 0.5
DELAYS_S = 0.01
"""What timers that are late and packets on their way may add to rule 5's interval."""

STRANGER = IPv6Address("fd00:bad::1")


@dataclass
class Part(Observer):
    """One mode's trial."""

    def parts(self) -> dict[str, Callable[[], None]]:
        """Return what there is to do in this mode; the last one leaves HA1 dead."""
        found = {"sharing": self.sharing, "new-primary": self.new_primary}
        if self.mode != NO_ORIGIN:
            found |= {"relabel": self.relabel, "far-ahead": self.far_ahead}
        return {name: found[name] for name in PARTS if name in found}

    # Several senders on one SA.

    def sharing(self) -> None:
        """Let two or three home agents send at each ratio of rates."""
        for ratio, shares in RATIOS.items():
            if self.mode == NO_ORIGIN:
                self.bench.fresh_keys()  # one window for all: it must be empty to begin with
            self._share(ratio, shares)

    def _share(self, ratio: str, shares: Sequence[int]) -> None:
        traffic = self.bench.traffic
        rates = [RATE * share / sum(shares) for share in shares]
        names = list(HOME_AGENTS)[: len(shares)]
        before = {name: traffic.delivered(name) for name in names}
        actions, sent = [], {}
        for name, rate in zip(names, rates, strict=True):
            sent[name] = round(rate * SHARING_S)
            send = traffic.correspondents[name].send
            actions += [Action(t, send) for t in times(rate, sent[name], self.chance)]
        self.bench.record(actions, MOBILE, traffic.mobile, sum(sent.values()))
        self.keep_wire()
        for name, rate in zip(names, rates, strict=True):
            self.row(
                SHARING,
                ratio=ratio,
                home_agent=HOME_AGENTS[name],
                rate_per_s=rate,
                sent_packets=sent[name],
                delivered_packets=traffic.delivered(name) - before[name],
            )

    # Attacks on ORIGIN_IP.

    def relabel(self) -> None:
        """Replay HA1's packets under every other name."""
        traffic = self.fresh()
        actions = [
            *self.bench.sending("cn2", RATE, FEW),
            *self.bench.sending("cn3", RATE, FEW),
            *self.bench.sending("cn1", RATE, RELABELLED),
        ]
        self.bench.record(actions, MOBILE, traffic.mobile, len(actions))
        heard = self.by_origin()
        seen = {origin: [h.number for h in found] for origin, found in heard.items()}
        copied = self.own(heard, "HA1", RELABELLED)
        forms = {"origin-HA2": self.address("HA2"), "origin-HA3": self.address("HA3")}
        forms["origin-stranger"] = STRANGER
        found = []
        for form, origin in forms.items():
            outcome = self.inject([(relabelled(h, origin), h) for h in copied])
            expected = 0 if self.hardened else _taken(copied, seen.get(origin, []))
            found.append((form, outcome, expected))
        if self.hardened:
            found.append(self._with_sid(copied, heard))
        alive = self.bench.alive()
        for form, outcome, expected in found:
            self.attack("relabel", form, len(copied), outcome, expected, alive)

    def far_ahead(self) -> None:
        """Push HA2's window out of its own reach by one packet of HA1."""
        traffic = self.fresh()
        actions = [
            *self.bench.sending("cn2", RATE, NEAR_COUNTER),
            *self.bench.sending("cn1", FAST, FAR_COUNTER),
        ]
        self.bench.record(actions, MOBILE, traffic.mobile, len(actions))
        heard = self.by_origin()
        self.own(heard, "HA2", NEAR_COUNTER)
        last = self.own(heard, "HA1", FAR_COUNTER)[-1:]
        outcome = self.inject([(relabelled(h, self.address("HA2")), h) for h in last])
        forged = [self._with_sid(last, heard)] if self.hardened else []
        before = traffic.delivered("cn2")
        genuine = self.bench.sending("cn2", FAST, GENUINE)
        self.bench.record(genuine, MOBILE, traffic.mobile, GENUINE)
        self.keep_wire()
        lost = GENUINE - (traffic.delivered("cn2") - before)
        alive = self.bench.alive()
        expected_lost = silenced(FAR_COUNTER, NEAR_COUNTER, GENUINE, WINDOW_SIZE)
        self.attack(
            "far-ahead", "origin-HA2", 1, outcome, int(not self.hardened), alive,
            genuine=(GENUINE, lost, 0 if self.hardened else expected_lost),
        )  # fmt: skip
        for form, failed, expected in forged:
            self.attack("far-ahead", form, 1, failed, expected, alive)

    def _with_sid(
        self, copied: Sequence[Heard], heard: Mapping[IPv6Address | None, list[Heard]]
    ) -> tuple[str, Outcome, int]:
        """Inject copies with HA2's address and the sender id that HA2's packets show."""
        other = self.address("HA2")
        sid = heard[other][0].iv(2)
        outcome = self.inject([(relabelled(h, other, sid), h) for h in copied])
        return "origin-and-sid", outcome, 0

    # The attack on a new primary.

    def new_primary(self) -> None:
        """Record the mobile node's packets, kill HA1 at once, replay them at HA2."""
        traffic = self.fresh()
        count = round(RATE * (UPSTREAM_S + self.chance.random() * self._floor_interval()))
        sending = self.bench.sending(MOBILE, RATE, count)
        kill = Action(count / RATE, lambda: self.bench.kill("HA1"))
        self.bench.begin_recording()
        self.bench.run([*sending, kill])
        self.bench.end_recording()
        spi = self.bench.upward_spi()
        copied = [h for h in self.bench.attacker.heard if not h.down and h.spi == spi]
        if len(copied) != count:
            raise BenchError(f"the attacker has {len(copied)} of {count} packets")
        self.bench.await_route_away("r1")
        open_at_first = left_open((h.number for h in copied), self.bench.floor("HA2"))
        first = self._replay_up(copied)
        fresh = self.bench.sending(MOBILE, RATE, FEW)
        self.bench.measured("HA2", traffic.first, fresh, FEW)
        again = self._replay_up(copied)
        alive = self.bench.alive()
        bound = None
        if self.mode != NO_ORIGIN:
            bound = floor_bound(RATE, self._floor_interval(), DELAYS_S)
        for form, outcome, expected in (
            ("before-fresh", first, open_at_first),
            ("after-fresh", again, 0),
        ):
            self.attack("new-primary", form, count, outcome, expected, alive, bound=bound)

    def _replay_up(self, copied: Sequence[Heard]) -> Outcome:
        actions = self.bench.injecting(((h.octets, h) for h in copied), RATE)
        return self.bench.measured("HA2", self.bench.traffic.first, actions, len(copied))

    def _floor_interval(self) -> float:
        """Return rule 5's interval, as the modes with floors have it."""
        return MODES["draft"].home_agent_timers.floor_interval

    # Nonces.

    def nonces(self) -> None:
        """Count what the home agents used, when their network has ended."""
        logs = self.bench.logs
        senders = {n: read_egress(logs / n / "egress.bin") for n in HOME_AGENTS.values()}
        used = count_numbers(senders, spis_of(senders, MOBILE_SPI))
        gcm = self.mode != "draft-cbc"  # its IVs are random, and no record has them
        self.row(
            NONCES,
            source="egress",
            packets=used.packets,
            repeated_numbers=used.repeated_numbers,
            nonce_collisions=used.repeated_ivs if gcm else None,
            model_collisions=(0 if self.hardened else used.model) if gcm else None,
        )
        numbers = repetitions((spi, number) for spi, number, _ in self.wire)
        self.row(
            NONCES,
            source="wire",
            packets=len(self.wire),
            repeated_numbers=numbers,
            nonce_collisions=repetitions((spi, iv) for spi, _, iv in self.wire),
            model_collisions=numbers if gcm and not self.hardened else 0,
        )


PARTS = ("sharing", "relabel", "far-ahead", "new-primary")


def _taken(copied: Sequence[Heard], seen: Sequence[int]) -> int:
    return taken((each.number for each in copied), seen, WINDOW_SIZE)
