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

from topologies.figure_1 import figure_1
from topologies.plan_topo import PlanTopo


class SingleAs(PlanTopo):
    """Figure 1; keyword arguments are those of :func:`topologies.figure_1.figure_1`."""

    def build(
        self, static: bool = True, dad: str = "optimistic", has: int = 3, mns: int = 1,
        home_link_mbit: float | None = None, ecmp: str | None = None,
        stranger_mbit: float | None = None,
    ) -> None:  # fmt: skip
        """Add Figure 1's nodes and links."""
        plan = figure_1(
            has=has, mns=mns, home_link_mbit=home_link_mbit, ecmp=ecmp, stranger_mbit=stranger_mbit
        )
        self.add_plan(plan, static, dad)


topos = {"single_as": SingleAs}
