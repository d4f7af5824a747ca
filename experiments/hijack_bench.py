"""Figure 2 with a hijacker: routes as the model has them, and every packet accounted for.

Nothing here waits for a length of time: routers are asked until they hold what the model says (or a
deadline passes, and what they hold is written down), packets until somebody has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path
from types import TracebackType

from agents.config import HomeAgentTimers
from experiments.hijack_cases import AGGREGATE, HIJACKER_NODE
from experiments.hijack_model import HIJACKER, NOWHERE
from experiments.hijack_routing import HijackRouting
from experiments.hijacker import DESTINATION_OPTIONS, Hijacker
from experiments.replay_bench import BenchError
from experiments.replay_traffic import Action, End, Traffic, read_until, run_schedule, times
from topologies import addressing
from topologies.agents import AgentOptions
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.import_policy import EVERYTHING, OriginOptions
from topologies.multi_as import MultiAs
from topologies.network import Network
from topologies.plan import Role

MOBILE = "mn"
DETECTION = "bfd-50x3"
LIFETIME_S = 7200.0
"""Of bindings: longer than a run, so that a Binding Update is sent when a case wants one."""

READY_S = 15.0
GONE_S = 0.5
"""After so long without any, packets that nobody has are lost."""

ANSWER_S = 1.5
"""So long a Binding Update may be nowhere: it is sent again after 1 s (RFC 6275 §11.8)."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of `sent` packets of one source."""

    sent: int
    honest: int
    drawn: int
    served_by: str
    """The AS of the home agent that served them; empty: none did."""

    @property
    def reached(self) -> str:
        """Who got them, in the model's words; several where they did not all go one way."""
        found = [self.served_by] * bool(self.honest) + [HIJACKER] * bool(self.drawn)
        if self.honest + self.drawn < self.sent:
            found.append(NOWHERE)
        return "+".join(found)


class HijackBench:
    """One network, its hijacker, and the sockets of its correspondents and of the mobile node."""

    def __init__(self, logs: Path) -> None:
        topo = MultiAs(static=False, hijacker=True, delays=False)
        self.plan = topo.plan
        transits = tuple(node.name for node in self.plan.of_role(Role.TRANSIT))
        routing = RoutingOptions(
            detection=DETECTIONS[DETECTION], origins=OriginOptions(transits, (), EVERYTHING)
        )
        agents = AgentOptions(
            lifetime=LIFETIME_S, home_agent_timers=HomeAgentTimers(max_lifetime=LIFETIME_S)
        )
        self.network = Network(topo, logs, routing, agents)
        self.home = self.plan.homes[0]
        self.correspondents = tuple(n.name for n in self.plan.of_role(Role.CORRESPONDENT))
        self.visited = tuple(node.name for node in self.plan.of_role(Role.ACCESS))
        self.base = self.visited[0]
        self.hijacker: Hijacker
        self.traffic: Traffic
        self.routing: HijackRouting

    def __enter__(self) -> HijackBench:
        try:
            self.network.start()
            self.network.start_agents()
            self._open()
        except BaseException:
            self.network.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.traffic.__exit__()
        self.hijacker.close()
        self.routing.close()
        self.network.stop()

    def _open(self) -> None:
        nodes = self.network.nodes
        provider = next(self.plan.ends_of(HIJACKER_NODE)).neighbour
        self.hijacker = Hijacker(
            self.plan, HIJACKER_NODE, nodes[HIJACKER_NODE], nodes[provider],
            self.network.routing.on[HIJACKER_NODE].daemons["bgpd"], AGGREGATE,
        )  # fmt: skip
        addresses = {name: self.plan.address_of(name) for name in self.correspondents}
        addresses[MOBILE] = self.home.home_address()
        self.traffic = Traffic(nodes, addresses, MOBILE, self.correspondents, only_peer=True)
        self.routing = HijackRouting(self.network, self.hijacker, self.wait)

    # Packets.

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until a condition holds, and read what arrives; False after so many seconds."""
        return read_until(condition, self.sources(), seconds)

    def need(self, what: str, condition: Callable[[], bool], seconds: float = READY_S) -> None:
        """Wait until a condition holds; BenchError names it when it does not."""
        if not self.wait(condition, seconds):
            raise BenchError(f"waited {seconds:.0f} s for {what}")

    def sources(self) -> Sequence[Hijacker | End]:
        """Return all that is to be read while packets are on their way."""
        return [self.hijacker, *self.traffic.ends()]

    def run(self, actions: Iterable[Action]) -> None:
        """Do everything in its time, and read what arrives meanwhile."""
        run_schedule(actions, self.sources())

    def forget(self) -> None:
        """Let the hijacker forget what it has drawn."""
        self.hijacker.read()
        self.hijacker.drawn.clear()

    def marked(self, mark: bytes) -> int:
        """Return how many drawn packets show a mark."""
        return sum(mark in packet.octets for packet in self.hijacker.drawn)

    def send_down(self, correspondent: str, count: int, rate: float) -> Fate:
        """Let a correspondent send to the home address; return what became of it."""
        end = self.traffic.correspondents[correspondent]
        self.forget()
        before, arrived = self.tunnelled(), self.traffic.delivered(correspondent)
        self.run([Action(after, end.send) for after in times(rate, count)])

        def accounted() -> bool:
            got = self.traffic.delivered(correspondent) - arrived
            return got + self.marked(end.mark) >= count

        self.wait(accounted, GONE_S)
        now = self.tunnelled()
        served = {self._as_of(n) for n, sent in now.items() if sent > before.get(n, 0)}
        return Fate(
            count,
            self.traffic.delivered(correspondent) - arrived,
            self.marked(end.mark),
            "+".join(sorted(served)),
        )

    def tunnelled(self) -> dict[str, int]:
        """Return how many packets each living home agent has tunnelled to the mobile node."""
        return {n: c["tunnel.sent"] for n, c in self.home_agent_counters().items()}

    def home_agent_counters(self) -> dict[str, Counter[str]]:
        """Return the counters of every home agent that runs."""
        agents = self.network.agents.home_agents
        return {n: Counter(a.ask("counters")) for n, a in agents.items() if a.running}

    def _as_of(self, node: str) -> str:
        return f"AS {self.plan.nodes[node].asn}"

    # The mobile node.

    def care_of(self, access: str) -> IPv6Address:
        """Return the care-of address in a visited network."""
        return addressing.care_of_address(self.plan.nodes[access].index)

    def visit(self, access: str) -> Fate:
        """Move the mobile node to another network; return what became of its Binding Update."""
        self.forget()
        before = self.home_agent_counters()
        care_of = self.care_of(access)
        self.network.faults.move(MOBILE, access)
        self.wait(lambda: self.registered(care_of) or self.updates_from(care_of) > 0, ANSWER_S)
        if self.updates_from(care_of):
            return Fate(1, 0, 1, "")
        if not self.registered(care_of):
            return Fate(1, 0, 0, "")
        now = self.home_agent_counters()
        took = {
            self._as_of(name)
            for name, counters in now.items()
            if counters["received.binding-update"] > before[name]["received.binding-update"]
        }
        return Fate(1, 1, 0, "+".join(sorted(took)))

    def registered(self, care_of: IPv6Address) -> bool:
        """Return whether the mobile node has an acknowledgement for this care-of address."""
        status = self.network.agents[MOBILE].ask("status")
        return bool(status["state"] == "bound" and status["care_of_address"] == str(care_of))

    def updates_from(self, care_of: IPv6Address) -> int:
        """Return how many Binding Updates of this care-of address were drawn."""
        return sum(
            packet.source == care_of and packet.next_header == DESTINATION_OPTIONS
            for packet in self.hijacker.drawn
        )

    def back_to_base(self) -> None:
        """Bring everybody where a case begins: at the base, registered, known everywhere.

        Routing must be honest. BenchError when it does not come about.
        """
        care_of = self.care_of(self.base)
        self.network.faults.move(MOBILE, self.base)
        self.network.agents[MOBILE].ask("wish", home_agent=0)  # a Binding Update now
        self.need(f"{MOBILE} to register at {self.base}", lambda: self.registered(care_of))
        for name, agent in self.network.agents.home_agents.items():
            agent.wait("advertising", lambda status: bool(status["advertising"]))
            self.need(f"{name} to know {care_of}", partial(self._knows, name, care_of))

    def _knows(self, name: str, care_of: IPv6Address) -> bool:
        bindings = self.network.agents[name].ask("bindings")
        return any(each["care_of_address"] == str(care_of) for each in bindings)

    def alive(self) -> bool:
        """Say whether all agents answer, none had a fault, and packets pass both ways."""
        agents = (*self.network.agents.home_agents.values(), self.network.agents[MOBILE])
        if any(agent.ask("counters").get("dropped.internal-error") for agent in agents):
            return False
        up = self.traffic.delivered_up()
        down = [self.send_down(name, 5, 500.0) for name in self.correspondents]
        self.run([Action(after, self.traffic.mobile.send) for after in times(500.0, 5)])
        self.wait(lambda: self.traffic.delivered_up() - up >= 5, GONE_S)
        return all(fate.honest == 5 for fate in down) and self.traffic.delivered_up() - up == 5
