"""Links: pairs of virtual Ethernet interfaces, and rate caps by HTB, which every kernel has."""

from __future__ import annotations

from typing import Any

from mininet.link import Link

from topologies.nodes import SixNode
from topologies.plan import Plan

FIRST_INDEX = 100


class VethLink(Link):  # type: ignore[misc]
    """A veth pair whose interfaces have indices that no other interface of the network has.

    Left alone each namespace counts from 2, and then many pairs have the same index at both ends.
    Linux takes such an interface for one without a peer, and tells of its carrier only once a
    second (``linkwatch_urgent_event``): a cut would be noticed late, a handover takes 1 s.
    """

    def __init__(self, node1: SixNode, node2: SixNode, number: int = 0, **params: Any) -> None:
        """``number``: the link's place in the plan."""
        self._index = FIRST_INDEX + 2 * number
        super().__init__(node1, node2, **params)

    def makeIntfPair(  # noqa: N802
        self, name1: str, name2: str, *_addresses: Any, **_params: Any
    ) -> None:
        """Make the pair with each end in its node."""
        a, b = _addresses[2], _addresses[3]
        result = a.run(
            ["ip", "link", "add", "name", name1, "index", str(self._index), "type", "veth",
             "peer", "name", name2, "index", str(self._index + 1), "netns", str(b.pid)]
        )  # fmt: skip
        if result.returncode != 0:
            raise RuntimeError(f"link {name1}: {result.stderr.strip()}")


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
