r"""Figure 2 of the draft: home agents in two ASes, one home network, one HA address.

::

    cn1                   AS 1                        AS 2                   cn2
     |           HA11         HA12           HA21          HA22               |
     |             |            |              |             |                |
     c1          br11 -------- br12          br21 --------- br22              c2
     (AS 11)       |             `------.      |     .------'            (AS 12)
       `--------- t1 ------------------- \--- t2 ---/-------------------------'
                 / |                      \    |\  /                both also at t3,
    v2 (AS 20) -'  |                       \   | \/                 in reserve
                   `---------------------- t3 -'  `- v3 (AS 30)
                                            |
                                            v1 (AS 10) ~ ~ ~ mn

Both ASes announce the home network while a home agent lives there. The transits t1, t2, t3 are
ASes 101 to 103; all the others are stubs and carry nobody else's packets. Links have delays, so
that there is something to optimise: t3 lies between t1 and t2, somewhat nearer to t1.

Works with plain Mininet, as any topology file, and without root::

    .venv/bin/mn --custom topologies/multi_as.py --topo multi_as
    .venv/bin/mn --custom topologies/multi_as.py --topo multi_as,ases=3,has=1,cns=3,transit=ring

That gives nodes, links, addresses and static routes, no agents. ``make lab TOPO=multi_as`` gives
all.
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

from topologies.figure_2 import Shape, multi_as
from topologies.plan_topo import PlanTopo


class MultiAs(PlanTopo):
    """Figure 2; keyword arguments are those of `topologies.figure_2.Shape`."""

    def build(self, static: bool = True, dad: str = "optimistic", **shape: Any) -> None:
        """Add Figure 2's nodes and links."""
        self.add_plan(multi_as(Shape(**shape)), static, dad)


topos = {"multi_as": MultiAs}
