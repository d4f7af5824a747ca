"""Source address validation on routers (uRPF, RFC 3704, RFC 8704), as nftables rules.

An anycast source comes from wherever a home agent is, not from where the best route to it points:
what each kind of check makes of that is in ``docs/anycast.md``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from ipaddress import IPv6Network

from topologies.frr import NodeRouting
from topologies.nodes import SixNode
from topologies.plan import Plan, Protocol

TABLE = "source_validation"


class SourceCheck(StrEnum):
    """What a router asks of a packet's source."""

    STRICT = "strict"  # the best route to the source leads out where the packet came in
    FEASIBLE = "feasible"  # some route to the source, best or not, was learnt there
    LOOSE = "loose"  # there is a route to the source


Feasible = Mapping[str, Iterable[IPv6Network]]
"""By interface, the sources that may come in there."""


def rules(check: SourceCheck, interfaces: Iterable[str], feasible: Feasible | None = None) -> str:
    """Return the nftables commands that check what comes in by ``interfaces``.

    ``feasible`` is for the check of that name, which looks at the interfaces in it alone.
    Link-local sources and the unspecified one are of the link itself, and pass.
    """
    lines, feasible = [], feasible or {}
    interfaces = list(feasible if check is SourceCheck.FEASIBLE else interfaces)
    for interface in interfaces:
        if check is SourceCheck.FEASIBLE:
            prefixes = sorted(feasible[interface])
            condition = f"ip6 saddr != {{ {', '.join(map(str, prefixes))} }}"
        elif check is SourceCheck.STRICT:
            condition = "fib saddr . iif oif missing"
        else:
            condition = "fib saddr oif missing"
        lines.append(f'iifname "{interface}" {condition} counter name "{interface}" drop')
    counters = [f"counter {interface} {{ }}" for interface in interfaces]
    inside = "\n    ".join(lines)
    return (
        f"table ip6 {TABLE}\ndelete table ip6 {TABLE}\ntable ip6 {TABLE} {{\n  "
        + "\n  ".join(counters)
        + "\n  chain arriving {\n    type filter hook prerouting priority raw; policy accept;\n"
        f"    ip6 saddr {{ ::, fe80::/10 }} accept\n    {inside}\n  }}\n}}\n"
    )


def removal() -> str:
    """Return the commands that end the check, whether there is one or not."""
    return f"table ip6 {TABLE}\ndelete table ip6 {TABLE}\n"


def checked_interfaces(plan: Plan, name: str) -> list[str]:
    """Return the interfaces of a router by which packets of others come in."""
    return [
        end.interface
        for end in plan.ends_of(name)
        if end.link.protocol in (Protocol.OSPF, Protocol.BGP)
    ]


def dropped(node: SixNode) -> dict[str, int]:
    """Return how many packets a router's check has dropped, by the interface of their arrival."""
    listing = node.run(["nft", "-j", "list", "counters", "table", "ip6", TABLE], check=True)
    found = (each.get("counter") for each in json.loads(listing.stdout)["nftables"])
    return {each["name"]: each["packets"] for each in found if each}


def feasible_sources(plan: Plan, routing: NodeRouting) -> dict[str, set[IPv6Network]]:
    """Return what a router that speaks BGP would take by each of its links (RFC 3704 §2.3).

    From a neighbour AS: every prefix for which it announced a route, best or not. From inside: the
    AS's own prefixes and its home network; but what another border router passes on may come from
    anywhere, and is checked there.
    """
    node = plan.nodes[routing.node.name]
    own = set(plan.originate.get(node.asn, ()))
    own |= {home.aggregate for home in plan.homes if node.asn in home.ases}
    found: dict[str, set[IPv6Network]] = {}
    interfaces: dict[str, str] = {}
    for end in plan.ends_of(node.name):
        if end.link.protocol is Protocol.BGP:
            interfaces[str(end.neighbour_address)] = end.interface
            # Routers speak to their neighbours, BGP for one, by the addresses of the link.
            found[end.interface] = {end.link.prefix}
        elif end.link.protocol is Protocol.OSPF and end not in plan.interior_peers(node.name):
            found[end.interface] = {end.link.prefix, *own}
    if not interfaces:
        return {}
    answer = routing.daemons["bgpd"].ask_json("show bgp ipv6 unicast")
    for prefix, paths in answer.get("routes", {}).items():
        for path in paths:
            if path.get("peerId") in interfaces:
                found[interfaces[path["peerId"]]].add(IPv6Network(prefix))
    return found
