"""The topologies by name: their plans, and their Mininet classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from topologies.figure_1 import figure_1
from topologies.figure_2 import Shape, multi_as, multi_hoa
from topologies.plan import Plan


@dataclass(frozen=True, slots=True)
class Topology:
    """``plan`` and ``topo`` take the same keyword arguments for the network's size.

    ``topo`` imports Mininet only when it is called: pictures and models need none.
    """

    plan: Callable[..., Plan]
    topo: Callable[..., Any]


def _single_as(**size: Any) -> Any:
    from topologies.single_as import SingleAs

    return SingleAs(static=False, **size)


def _multi_as(**size: Any) -> Any:
    from topologies.multi_as import MultiAs

    return MultiAs(static=False, **size)


def _multi_hoa(**size: Any) -> Any:
    from topologies.multi_hoa import MultiHoa

    return MultiHoa(static=False, **size)


TOPOLOGIES: Mapping[str, Topology] = {
    "single_as": Topology(figure_1, _single_as),
    "multi_as": Topology(lambda **size: multi_as(Shape(**size)), _multi_as),
    "multi_hoa": Topology(lambda **size: multi_hoa(Shape(**size)), _multi_hoa),
}
