"""One trial of the hijack experiment: every case once, then what IPsec protects all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from experiments.data_hijack import ENDS, ROUTES
from experiments.hijack_bench import Fate, HijackBench
from experiments.hijack_cases import Case
from experiments.hijack_model import Internet
from experiments.hijack_routing import PREFIXES
from experiments.schema import Table
from topologies.route_origins import origin_of, validate
from topologies.rpki import Judged

PACKETS = 20
RATE = 1000.0
HONEST = Case("honest", "nobody lies, nobody filters")

Note = Callable[[Table, dict[str, Any]], None]


@dataclass
class HijackTrial:
    """A trial on a running network; `note` writes a row."""

    number: int
    bench: HijackBench
    note: Note

    def case(self, case: Case) -> None:
        """Set a case up, write down what routers hold and where packets go, take it down again."""
        bench = self.bench
        try:
            self._kill(case)
            model, _ = bench.routing.apply(case, filtering=False)
            self._heard(case, model)
            model, _ = bench.routing.apply(case, filtering=True)
            self._kept(case, model)
            for name in bench.correspondents:
                router = self._router(name)
                fate = bench.send_down(name, PACKETS, RATE)
                self._end(case, model, "cn", name, router, fate)
            for access in (*bench.visited[1:], bench.base):
                self._end(case, model, "mn", access, access, bench.visit(access))
        finally:
            for agent in bench.network.agents.home_agents.values():
                if not agent.running:
                    agent.start()
            bench.routing.apply(HONEST, filtering=False)
        bench.back_to_base()

    def _kill(self, case: Case) -> None:
        """Let the home agents of ASes die that the case wants dead."""
        for name, agent in self.bench.network.agents.home_agents.items():
            if self.bench.plan.nodes[name].asn in case.dead:
                agent.kill()

    def _router(self, host: str) -> str:
        """Return the border router of a stub: the neighbour of its host."""
        return next(self.bench.plan.ends_of(host)).neighbour

    def _heard(self, case: Case, model: Internet) -> None:
        for name in self.bench.routing.transits:
            self._routes(case, model, "heard", name)

    def _kept(self, case: Case, model: Internet) -> None:
        for name in self.bench.routing.speakers:
            self._routes(case, model, "kept", name)

    def _routes(self, case: Case, model: Internet, stage: str, name: str) -> None:
        for prefix in PREFIXES:
            held = {each.path: each for each in self.bench.routing.held(name, prefix)}
            expected = model.paths(name, prefix)
            for path in sorted(held.keys() | expected):
                validating = name in self.bench.routing.transits
                origin = origin_of([int(word) for word in path.split()], self._asn(name))
                state = validate(prefix, origin, case.payloads) if validating else ""
                found = held.get(path, Judged(path, None, False))
                self.note(
                    ROUTES,
                    {
                        "trial": self.number,
                        "case": case.name,
                        "stage": stage,
                        "node": name,
                        "prefix": str(prefix),
                        "as_path": path,
                        "held": path in held,
                        "expected_held": path in expected,
                        "state": str(found.state or ""),
                        "expected_state": str(state) if path in held else "",
                        "best": found.best,
                        "expected_best": model.path(name, prefix) == path,
                    },
                )

    def _asn(self, name: str) -> int:
        return self.bench.plan.nodes[name].asn

    def _end(
        self, case: Case, model: Internet, who: str, source: str, router: str, fate: Fate
    ) -> None:
        expected = model.reached(router, self.bench.home.home_agent_address)
        self.note(
            ENDS,
            {
                "trial": self.number,
                "case": case.name,
                "who": who,
                "source": source,
                "as_path": self.bench.routing.forwarding_path(router),
                "sent": fate.sent,
                "honest": fate.honest,
                "drawn": fate.drawn,
                "reached": fate.reached,
                "expected": expected,
                "as_expected": fate.reached == expected,
            },
        )
