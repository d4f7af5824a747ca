"""The draft's §4.2: Figure 2's network, a home network, an HA address and an HoA for each AS.

The picture is that of ``topologies/multi_as.py``. Each AS is a whole basic scenario (Figure 1), and
its home agents know nothing of those in another AS; the mobile node registers with each.

Works with plain Mininet, as any topology file, and without root::

    .venv/bin/mn --custom topologies/multi_hoa.py --topo multi_hoa

That gives nodes, links, addresses and static routes, no agents. ``make lab TOPO=multi_hoa`` gives
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

from topologies.figure_2 import Shape, multi_hoa
from topologies.plan_topo import PlanTopo


class MultiHoa(PlanTopo):
    """Figure 2, a home network in each AS; arguments are those of `topologies.figure_2.Shape`."""

    def build(self, static: bool = True, dad: str = "optimistic", **shape: Any) -> None:
        """Add Figure 2's nodes and links."""
        self.add_plan(multi_hoa(Shape(**shape)), static, dad)


topos = {"multi_hoa": MultiHoa}
