"""What a hijacker sends in others' names, and what becomes of it: every packet accounted for."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from experiments.hijack_bench import GONE_S, MOBILE, HijackBench
from experiments.hijack_trial import RATE, Note
from experiments.replay_bench import drops
from experiments.replay_traffic import PACKET, PADDING, Action, times


@dataclass
class Attacks:
    """Injects, counts, and keeps a row for each form; `note` writes rows."""

    number: int
    bench: HijackBench
    note: Note
    mark: bytes = field(default_factory=lambda: secrets.token_bytes(8))
    """What forged payload begins with."""

    forged: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def payload(self) -> bytes:
        """Return the payload of the next forged packet, as the application's own packets are."""
        self.forged += 1
        return PACKET.pack(self.mark, self.forged) + PADDING

    def attack(
        self, who: str, form: str, packets: Sequence[bytes], got: Callable[[], int],
        *, expected: int = 0, counted: bool = True,
    ) -> None:  # fmt: skip
        """Inject; `counted`: every packet that is refused must be in the agents' own counters."""
        before = self.counters(who)
        missing = len(packets) - expected if counted else 0

        def refused() -> dict[str, int]:
            more = self.counters(who) - before
            found = drops(more)
            if form == "replayed-update" and more["received.binding-update"]:
                found["update-refused"] = more["received.binding-update"]  # answered, status 135
            return found

        accepted = self.inject(packets, got, lambda: sum(refused().values()) >= missing, expected)
        self.forgery(who, form, len(packets), accepted, expected, refused(), missing)

    def inject(
        self, packets: Sequence[bytes], got: Callable[[], int],
        settled: Callable[[], bool] = lambda: True, expected: int | None = None,
    ) -> int:  # fmt: skip
        """Let the hijacker send; return how many more were got when all are accounted for."""
        bench = self.bench
        wanted = len(packets) if expected is None else expected
        begin = got()
        bench.run(
            Action(after, partial(bench.hijacker.inject, packet))
            for after, packet in zip(times(RATE, len(packets)), packets, strict=True)
        )
        bench.wait(lambda: got() - begin >= wanted and settled(), GONE_S)
        return got() - begin

    def forgery(
        self, who: str, form: str, injected: int, accepted: int, expected: int,
        refused: dict[str, int], missing: int = 0,
    ) -> None:  # fmt: skip
        """Note what came of a form; `missing`: how many had to be refused, 0: not counted."""
        self.rows.append(
            {
                "trial": self.number,
                "who": who,
                "form": form,
                "injected": injected,
                "accepted": accepted,
                "expected": expected,
                "refused": " ".join(f"{name}={n}" for name, n in sorted(refused.items())),
                "as_expected": injected > 0
                and accepted == expected
                and (not missing or sum(refused.values()) == missing),
            }
        )

    def counters(self, who: str) -> Counter[str]:
        """Return the mobile node's counters, or those of all home agents together."""
        if who == "mn":
            return Counter(self.bench.network.agents[MOBILE].ask("counters"))
        return sum(self.bench.home_agent_counters().values(), Counter())

    def mobile_got(self) -> int:
        """Return forged payload that the mobile node's application has, and acknowledgements."""
        counters = self.counters("mn")
        return (
            self._forged_at(self.bench.traffic.mobile.arrived)
            + (counters["received.BindingAcknowledgement"])
        )

    def arrived_at_correspondents(self) -> int:
        """Return how many forged packets the correspondents' applications have."""
        ends = self.bench.traffic.correspondents.values()
        return sum(self._forged_at(end.arrived) for end in ends)

    def _forged_at(self, arrived: Counter[tuple[bytes, int]]) -> int:
        return sum(count for (mark, _), count in arrived.items() if mark == self.mark)

    def rebound(self) -> Callable[[], int]:
        """Return what counts the home agents whose binding is another one than now."""
        before = self._bindings()
        return lambda: sum(binding != before[name] for name, binding in self._bindings().items())

    def _bindings(self) -> dict[str, tuple[Any, ...]]:
        return {
            name: tuple(
                (each["care_of_address"], each["sequence"]) for each in agent.ask("bindings")
            )
            for name, agent in self.bench.network.agents.home_agents.items()
        }
