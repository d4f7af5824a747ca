"""What a trial of the replay experiment notes: rows for its tables, packets seen on the link."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any

from experiments.attacks import Heard
from experiments.data import ATTACKS, Table
from experiments.replay_bench import Bench, BenchError, Outcome
from experiments.replay_modes import MOBILE
from experiments.replay_traffic import Traffic

RATE = 1000.0
"""Packets a second: of all senders together, of the attacker, and of the MN in `new-primary`."""

Row = tuple[Table, dict[str, Any]]


@dataclass
class Observer:
    """One mode's trial as it is noted; the rows are written when all of it is done."""

    trial: int
    topology: str
    bench: Bench
    chance: random.Random
    rows: list[Row] = field(default_factory=list)
    wire: list[tuple[int, int, bytes]] = field(default_factory=list)
    """(SPI, number, IV) of every genuine packet to the MN that the attacker has recorded."""

    @property
    def mode(self) -> str:
        """The mode of the network."""
        return self.bench.mode

    @property
    def hardened(self) -> bool:
        """Whether nothing of this may succeed."""
        return self.mode == "hardened"

    def row(self, table: Table, **values: Any) -> None:
        """Note one row; the columns that all tables share are added."""
        common = {"trial": self.trial, "topology": self.topology, "mode": self.mode}
        self.rows.append((table, {**common, **values}))

    def fresh(self) -> Traffic:
        """Return traffic on new SAs: counters at 0, windows empty."""
        self.bench.fresh_keys()
        return self.bench.traffic

    def address(self, home_agent: str) -> IPv6Address:
        """Return a home agent's own address."""
        return self.bench.address(home_agent)

    def keep_wire(self) -> None:
        """Keep of what was just recorded what the count of nonces needs."""
        length = 16 if self.mode == "draft-cbc" else 8
        down = (h for h in self.bench.attacker.heard if h.down)
        self.wire += [(h.spi, h.number, h.iv(length)) for h in down]

    def by_origin(self) -> dict[IPv6Address | None, list[Heard]]:
        """Return what was just recorded towards the mobile node, by ORIGIN_IP."""
        self.keep_wire()
        found: dict[IPv6Address | None, list[Heard]] = {}
        for each in self.bench.attacker.heard:
            if each.down:
                found.setdefault(each.origin, []).append(each)
        return found

    def own(
        self, heard: Mapping[IPv6Address | None, list[Heard]], home_agent: str, count: int
    ) -> list[Heard]:
        """Return a home agent's packets 1 to `count`; BenchError if they are not all there."""
        found = heard.get(self.address(home_agent), [])
        if [each.number for each in found] != list(range(1, count + 1)):
            raise BenchError(f"the attacker has {len(found)} of {count} packets of {home_agent}")
        return found

    def inject(self, packets: Iterable[tuple[bytes, Heard]]) -> Outcome:
        """Let the attacker send copies to the mobile node; return what became of them."""
        actions = self.bench.injecting(packets, RATE)
        return self.bench.measured(MOBILE, self.bench.traffic.mobile, actions, len(actions))

    def attack(
        self, attack: str, form: str, injected: int, outcome: Outcome, expected: int, alive: bool,
        *, bound: int | None = None, genuine: tuple[int, int, int] | None = None,
    ) -> None:  # fmt: skip
        """Note an attack and whether it went as the model says."""
        sent, lost, expected_lost = genuine or (None, None, None)
        self.row(
            ATTACKS,
            attack=attack,
            form=form,
            direction="up" if attack == "new-primary" else "down",
            injected_packets=injected,
            accepted_packets=outcome.accepted,
            expected_packets=expected,
            refused=outcome.reasons(),
            bound_packets=bound,
            genuine_packets=sent,
            genuine_lost=lost,
            expected_lost=expected_lost,
            alive=alive,
            as_expected=alive
            and outcome.total == injected
            and outcome.accepted == expected
            and (bound is None or outcome.accepted <= bound)
            and lost == expected_lost,
        )
