"""A Mininet topology made from a plan: what every topology file's class is made of."""

from __future__ import annotations

from typing import Any

from mininet.net import Mininet
from mininet.topo import Topo

from topologies.delay import DelayLine, is_distant
from topologies.links import DistantLink, VethLink
from topologies.nodes import (
    AccessRouter,
    BorderRouter,
    Correspondent,
    HomeAgent,
    MobileNode,
    Router,
    Stranger,
)
from topologies.plan import LinkPlan, Plan, Role
from topologies.static_routes import static_routes

Mininet.inited = True  # else it tries to raise limits of the host, and says that it could not

NODE_CLASSES = {
    Role.HOME_AGENT: HomeAgent,
    Role.ROUTER: Router,
    Role.BORDER: BorderRouter,
    Role.TRANSIT: Router,
    Role.ACCESS: AccessRouter,
    Role.HIJACKER: Router,
    Role.MOBILE: MobileNode,
    Role.CORRESPONDENT: Correspondent,
    Role.STRANGER: Stranger,
}


class PlanTopo(Topo):  # type: ignore[misc]
    """A Mininet topology made from a plan.

    ``static``: give every node static routes (plain Mininet); without it routing is FRR's task,
    and the mobile nodes wait for router advertisements. ``dad``: see MobileNode.
    ``delay_line`` serves the links with delay or loss where the kernel has no netem.
    """

    plan: Plan
    delay_line: DelayLine

    def add_plan(self, plan: Plan, static: bool, dad: str) -> None:
        """Add the plan's nodes and links."""
        self.plan, self.delay_line = plan, DelayLine()
        for node in plan.nodes.values():
            extra: dict[str, Any] = {"dad": dad} if node.role is Role.MOBILE else {}
            routes = static_routes(plan, node.name) if static else []
            self.addHost(
                node.name, cls=NODE_CLASSES[node.role], plan=plan, static_routes=routes, **extra
            )
        for number, link in enumerate(plan.links):
            self.addLink(link.a, link.b, **self.link_parameters(link, number))

    def link_parameters(self, link: LinkPlan, number: int) -> dict[str, Any]:
        """Return what Mininet makes a link from; ``number`` is that of no other link, ever."""
        (_, a_interface, _), (_, b_interface, _) = link.ends()
        kind: dict[str, Any] = {"cls": VethLink}
        if is_distant(link):
            kind = {"cls": DistantLink, "link": link, "line": self.delay_line}
        return {"number": number, "intfName1": a_interface, "intfName2": b_interface, **kind}
