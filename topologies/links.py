"""What a link does to packets: for now a rate cap by HTB, which every kernel has."""

from __future__ import annotations

from topologies.nodes import SixNode
from topologies.plan import Plan


def rate_commands(interface: str, mbit: float) -> list[str]:
    """Return the lines for ``tc -batch`` that cap what leaves an interface.

    The queue holds about 20 ms at the given rate, at least 30 full packets: enough for TCP to
    fill the link, short enough not to swamp a delay measurement.
    """
    packets = max(30, int(mbit * 1e6 * 0.02 / 12000))
    burst = max(3200, int(mbit * 1e6 / 8 / 250))  # what HTB may send at once: 4 ms
    rate = f"{mbit * 1e6:.0f}bit"
    return [
        f"qdisc replace dev {interface} root handle 1: htb default 1",
        f"class replace dev {interface} parent 1: classid 1:1 htb rate {rate} ceil {rate} "
        f"burst {burst} cburst {burst} quantum 1514",
        f"qdisc replace dev {interface} parent 1:1 handle 10: pfifo limit {packets}",
    ]


def apply_rates(plan: Plan, nodes: dict[str, SixNode]) -> None:
    """Cap every link of the plan that has a rate, in both directions."""
    for name, node in nodes.items():
        lines: list[str] = []
        for end in plan.ends_of(name):
            if end.link.rate_mbit is not None:
                lines += rate_commands(end.interface, end.link.rate_mbit)
        if lines:
            node.run(["tc", "-batch", "-"], "\n".join(lines) + "\n", check=True)
