"""Which way packets go on a running network, asked hop by hop of each kernel; AS paths of FRR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address

from topologies.bgp_model import AsPath
from topologies.frr import NodeRouting
from topologies.netlink import RTN_UNICAST, Netlink
from topologies.nodes import SixNode
from topologies.path_model import first_speaker
from topologies.plan import Plan, Role


class WalkError(Exception):
    """A packet would get nowhere; the message says where it ends, and why."""


def fib_walk(
    plan: Plan, nodes: Mapping[str, SixNode], source: str, destination: IPv6Address
) -> tuple[str, ...]:
    """Return the nodes from ``source`` to a home agent, or to the node that has the address.

    At each node the kernel is asked for its route; the interface's name says who comes next. The
    home agent's TUN is the end of a way to a home network. Raises WalkError.
    """
    found = [source]
    while not any(end.address == destination for end in plan.ends_of(found[-1])):
        interface = next_interface(nodes[found[-1]], destination)
        neighbours = {end.interface: end.neighbour for end in plan.ends_of(found[-1])}
        if interface not in neighbours:
            if plan.nodes[found[-1]].role is Role.HOME_AGENT:
                return tuple(found)
            raise WalkError(f"{found[-1]} sends packets to {destination} to {interface}")
        if neighbours[interface] in found:
            raise WalkError(f"a loop to {destination}: {' '.join(found)} {neighbours[interface]}")
        found.append(neighbours[interface])
    return tuple(found)


def next_interface(node: SixNode, destination: IPv6Address) -> str:
    """Return the interface by which a node sends to an address. Raises WalkError."""
    request = Netlink(node.pid)
    try:
        route = request.route_to(destination)
        names = {state.index: state.name for state in request.links().values()}
    except OSError as error:
        raise WalkError(f"{node.name} has no way to {destination} ({error.strerror})") from error
    finally:
        request.close()
    if route.kind != RTN_UNICAST or route.paths != 1:
        raise WalkError(
            f"{node.name} has no single way to {destination}: route type {route.kind}, "
            f"{route.paths} paths"
        )
    return names[route.interface]


def as_path(
    plan: Plan, routing: Mapping[str, NodeRouting], nodes: Sequence[str], destination: IPv6Address
) -> AsPath:
    """Return the AS path of the first BGP speaker on a way, as its bgpd has it; () inside an AS.

    Raises WalkError where bgpd has no route, or more than one best.
    """
    speaker = first_speaker(plan, nodes)
    if speaker is None:
        return ()
    answer = routing[speaker].daemons["bgpd"].ask_json(f"show bgp ipv6 unicast {destination}")
    best = [path for path in answer.get("paths", ()) if path.get("bestpath", {}).get("overall")]
    if len(best) != 1:
        raise WalkError(f"{speaker}: bgpd has {len(best)} best routes to {destination}")
    return tuple(int(word) for word in best[0]["aspath"]["string"].split() if word.isdigit())
