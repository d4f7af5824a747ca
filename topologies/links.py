"""Links: pairs of virtual Ethernet interfaces; those with delay may be two TAPs of a process."""

from __future__ import annotations

from typing import Any

from mininet.link import Link

from topologies import delay
from topologies.delay import DelayLine
from topologies.nodes import SixNode
from topologies.plan import LinkPlan

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


class DistantLink(VethLink):
    """A link with delay or loss: a veth pair that netem shapes, or two TAPs of the delay line."""

    def __init__(self, node1: SixNode, node2: SixNode, link: LinkPlan, line: DelayLine,
                 number: int = 0, **params: Any) -> None:  # fmt: skip
        """``link``: its plan; ``line`` takes it where the kernel has no netem."""
        self._link, self._line = link, line
        super().__init__(node1, node2, number, **params)

    def makeIntfPair(  # noqa: N802
        self, name1: str, name2: str, *_addresses: Any, **_params: Any
    ) -> None:
        """Make the pair with each end in its node."""
        if delay.has_netem():
            super().makeIntfPair(name1, name2, *_addresses, **_params)
            return
        a, b = _addresses[2], _addresses[3]
        ends = ((name1, self._index, a.pid), (name2, self._index + 1, b.pid))
        self._line.add(self._link.name, ends, self._link.delay_ms, self._link.loss)
