"""What true and false announcements come to by the model: what routers hold, who reaches whom.

In the words of routers and tables; the experiment measures beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from topologies.bgp_model import as_text
from topologies.import_policy import ImportFilter
from topologies.path_model import NoWay, PathModel
from topologies.plan import Role

HIJACKER = "hijacker"
NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Internet:
    """Every AS of a plan and the ways between them; `filters`, by router, are in `ways` already."""

    ways: PathModel
    filters: Mapping[str, ImportFilter]

    def path(self, node: str, prefix: IPv6Network) -> str | None:
        """Return the AS path of a node's best route to exactly this prefix, None without one."""
        route = self.ways.bgp.best(node, prefix)
        return None if route is None else as_text(route.as_path)

    def paths(self, node: str, prefix: IPv6Network) -> set[str]:
        """Return the AS paths of all routes that a node takes from its neighbours, best or not."""
        return {as_text(route.as_path) for route in self.ways.bgp.held(node, prefix)}

    def way(self, node: str, prefix: IPv6Network) -> str | None:
        """Return the interface by which a node's kernel forwards by this route, None for none."""
        route = self.ways.bgp.best(node, prefix)
        return None if route is None or route.end is None else route.end.interface

    def reached(self, node: str, address: IPv6Address) -> str:
        """Return who gets what a node sends to an address: `AS 1`, `hijacker`, `nowhere`."""
        try:
            last = self.ways.path(node, address)[-1]
        except NoWay:
            return NOWHERE
        end = self.ways.plan.nodes[last]
        return HIJACKER if end.role is Role.HIJACKER else f"AS {end.asn}"
