"""The keys of SET that say how large each topology is, and the network that comes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from experiments.parameters import one_of, positive, whole_number
from topologies.figure_2 import TransitGraph
from topologies.plan import MultipathHash
from topologies.registry import TOPOLOGIES

_FIGURE_2: Mapping[str, Callable[[str], Any]] = {
    "ases": whole_number(1, 4),
    "has": whole_number(1, 4),
    "cns": whole_number(1, 4),
    "mns": whole_number(1, 9),
    "transit": one_of(TransitGraph),
    "delays": lambda text: one_of(("on", "off"))(text) == "on",
    "hijacker": lambda text: one_of(("on", "off"))(text) == "on",
    "rate_mbit": positive,
}
SIZES: Mapping[str, Mapping[str, Callable[[str], Any]]] = {
    "single_as": {
        "has": whole_number(1, 9),
        "mns": whole_number(1, 9),
        "ecmp": one_of(MultipathHash),
    },
    "multi_as": _FIGURE_2,
    "multi_hoa": _FIGURE_2,
}
"""By topology. ``has`` counts the home agents of each AS; ``rate_mbit`` caps links between ASes."""


def topology(name: str, settings: Mapping[str, Any]) -> Any:
    """Return a topology's Mininet class, made in the size that SET asks for."""
    wanted = {key: value for key, value in settings.items() if key in SIZES[name]}
    return TOPOLOGIES[name].topo(**wanted)
