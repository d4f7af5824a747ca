r"""Figure 1 of the draft: one AS with three home agents on three links.

::

     visited networks                          AS 1
                                                     10
      v2 ----.                            .------ r1 ------ HA1
     /        \                       10 /         | 15
   mn          t1 ------- br ------------+---20--- r2 ------ HA2      home network
     \        /|  eBGP    (AS 1's        \         | 15  \            fd00:192:168:1::/64
      v1 ----'  |          border)      30 `------ r3     cn2        HA address ...::254
    AS 10, 20  cn1                                | \------ HA3
               (AS 100)                          cn3

All three home agents advertise the home network; from the border HA1 is nearest, then HA2, HA3;
cn2 is nearest to HA2, cn3 to HA3. Numbers are OSPFv3 costs.

Works with plain Mininet, as any topology file, and without root::

    .venv/bin/mn --custom topologies/single_as.py --topo single_as
    .venv/bin/mn --custom topologies/single_as.py --topo single_as,has=5

That gives nodes, links, addresses and static routes, no agents. ``make lab`` gives all.
"""

from __future__ import annotations

if "__file__" not in globals():  # executed by mn, not imported: run mn in the sandbox
    # A failed import may not reach mn, which would answer with its clean-up of the whole machine.
    try:
        from topologies.sandbox import ensure_sandbox
    except ImportError as error:
        raise SystemExit("run .venv/bin/mn of this repository, after `make setup`") from error
    ensure_sandbox()

from typing import Any

from mininet.net import Mininet
from mininet.topo import Topo

from topologies.figure_1 import figure_1
from topologies.links import VethLink
from topologies.nodes import AccessRouter, Correspondent, HomeAgent, MobileNode, Router
from topologies.plan import MultipathHash, Plan, Role
from topologies.static_routes import static_routes

Mininet.inited = True  # else it tries to raise limits of the host, and says that it could not

NODE_CLASSES = {
    Role.HOME_AGENT: HomeAgent,
    Role.ROUTER: Router,
    Role.BORDER: Router,
    Role.TRANSIT: Router,
    Role.ACCESS: AccessRouter,
    Role.MOBILE: MobileNode,
    Role.CORRESPONDENT: Correspondent,
}


class PlanTopo(Topo):  # type: ignore[misc]
    """A Mininet topology made from a plan.

    ``static``: give every node static routes (plain Mininet); without it routing is FRR's task,
    and the mobile nodes wait for router advertisements. ``dad``: see MobileNode.
    """

    plan: Plan

    def add_plan(self, plan: Plan, static: bool, dad: str) -> None:
        """Add the plan's nodes and links."""
        self.plan = plan
        for node in plan.nodes.values():
            extra: dict[str, Any] = {"dad": dad} if node.role is Role.MOBILE else {}
            routes = static_routes(plan, node.name) if static else []
            self.addHost(
                node.name, cls=NODE_CLASSES[node.role], plan=plan, static_routes=routes, **extra
            )
        for number, link in enumerate(plan.links):
            (a, a_interface, _), (b, b_interface, _) = link.ends()
            self.addLink(
                a, b, cls=VethLink, number=number, intfName1=a_interface, intfName2=b_interface
            )


class SingleAs(PlanTopo):
    """Figure 1; keyword arguments are those of :func:`topologies.figure_1.figure_1`."""

    def build(
        self, static: bool = True, dad: str = "optimistic", has: int = 3, mns: int = 1,
        home_link_mbit: float | None = None, ecmp: str | None = None,
    ) -> None:  # fmt: skip
        """Add Figure 1's nodes and links."""
        equal = MultipathHash(ecmp) if ecmp is not None else None
        plan = figure_1(has=has, mns=mns, home_link_mbit=home_link_mbit, ecmp=equal)
        self.add_plan(plan, static, dad)


topos = {"single_as": SingleAs}
