"""Four routers and a host whose links have delay, loss and rate, up and running in a sandbox.

::

    w ~ ~ ~ x ------ y      x-y 5 ms ("far"), x-z no more than the line itself takes ("near"),
    loses  /  `      |      w-x loses a fifth both ways; y-z and t-x are capped, 1 ms
    0.2   t    `---- z

`python -m tests.distance.lab FOLDER MODE` serves it; see tests/figure_1/inside.py.
"""

import sys
from pathlib import Path

from experiments.watch import Watcher
from tests.figure_1.server import serve
from topologies import addressing, delay
from topologies.delay import DelayLineError
from topologies.delay_bench import Pair, Place
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.namespaces import call_in
from topologies.netlink import Netlink
from topologies.network import Network
from topologies.plan import LinkPlan, NodePlan, Plan, Protocol, Role
from topologies.plan_topo import PlanTopo

FAR_MS, NEAR_MS = 5.0, 0.001
LOSS = 0.2
CAP_MBIT = 10.0
HOME, TRANSIT = 1, 100


def plan() -> Plan:
    """Return the plan drawn above."""
    roles = {"x": Role.BORDER, "y": Role.ROUTER, "z": Role.ROUTER, "t": Role.TRANSIT,
             "w": Role.CORRESPONDENT}  # fmt: skip
    nodes = {
        name: NodePlan(name, role, TRANSIT if name == "t" else HOME, number, 1)
        for number, (name, role) in enumerate(roles.items(), start=1)
    }

    def link(number: int, a: str, b: str, protocol: Protocol, **shape: float) -> LinkPlan:
        prefix = addressing.link_prefix(TRANSIT if a == "t" else HOME, str(number))
        return LinkPlan(a, b, protocol, prefix, 1, 2, **shape)

    links = (
        link(1, "x", "y", Protocol.OSPF, delay_ms=FAR_MS),
        link(2, "x", "z", Protocol.OSPF, delay_ms=NEAR_MS),
        link(3, "y", "z", Protocol.OSPF, delay_ms=1.0, rate_mbit=CAP_MBIT),
        link(4, "t", "x", Protocol.BGP, delay_ms=1.0, rate_mbit=CAP_MBIT),
        link(5, "w", "x", Protocol.STUB, loss=LOSS),
    )
    originate = {asn: (addressing.as_prefix(asn),) for asn in (HOME, TRANSIT)}
    return Plan("distance", "distance", nodes, links, (), originate)


class DistanceTopo(PlanTopo):
    """The plan as a Mininet topology."""

    def build(self) -> None:
        self.add_plan(plan(), static=False, dad="off")


class Lab:
    """The running network and its watcher."""

    def __init__(self, folder: Path) -> None:
        self.network = Network(
            DistanceTopo(), folder / "logs", RoutingOptions(detection=DETECTIONS["bfd-50x3"])
        )
        self.watcher = Watcher()

    def start(self) -> None:
        self.network.start()
        self.network.wait_detection()
        for name, node in self.network.nodes.items():
            self.watcher.watch_routes(name, node.pid, addressing.HOME_PREFIX)
            self.watcher.watch_bfd(name, node.pid)

    def stop(self) -> None:
        self.network.stop()
        self.watcher.close()

    def report(self) -> str:
        try:
            return f"delay line: {self.network.topo.delay_line.counters()}"
        except DelayLineError as error:
            return str(error)

    def mend(self) -> None:
        self.network.faults.heal()

    def pair(self, a: str, b: str) -> Pair:
        """Return the way from a node to its neighbour over the link between them."""
        ends = {node: Place(self.network.nodes[node].pid, str(address))
                for node, _, address in self.network.plan.link_between(a, b).ends()}  # fmt: skip
        return Pair(ends[a], ends[b])

    def request(self, node: str) -> Netlink:
        return Netlink(self.network.nodes[node].pid)

    def index(self, node: str, interface: str) -> int:
        pid = self.network.nodes[node].pid
        return call_in(pid, lambda: Netlink(pid)).links()[interface].index


def main() -> None:
    delay.has_netem = lambda: False  # the line is tried, also on kernels that do not need it
    serve(Lab(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
