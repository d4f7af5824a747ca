"""Switch a running network to another detection setting: trials of all settings share a network.

FRR takes the same lines as in its configuration files, told over each daemon's vty socket.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace

from experiments.run import RunError
from topologies.frr import Daemon
from topologies.frr_config import (
    DETECTIONS,
    EXTERIOR_PROFILE,
    INTERIOR_PROFILE,
    Detection,
    bfd_lines,
)
from topologies.network import Network
from topologies.plan import Protocol

END_OF_ANSWER = b"\0\0\0"


def switch(network: Network, name: str) -> None:
    """Let every router of the network notice a silent neighbour by this setting from now on.

    Returns when all sessions that it needs are up. Hello and dead intervals are those of the
    network's start: the settings of this experiment share them.
    """
    old, new = network.options.detection, DETECTIONS[name]
    if old.name == name:
        return
    if not shares_timers(old, new):
        raise RunError(f"cannot switch from {old.name} to {name}: not only BFD differs")
    for node, routing in network.routing.on.items():
        for daemon, lines in _lines(network, node, old, new).items():
            if lines and daemon in routing.daemons:
                configure(routing.daemons[daemon], lines)
    network.options = network.routing.options = replace(network.options, detection=new)
    await_sessions(network)


def shares_timers(old: Detection, new: Detection) -> bool:
    """Return whether a running network can change from one setting to the other."""
    timers = [(d.hello, d.dead, d.bgp_keepalive, d.bgp_hold) for d in (old, new)]
    return timers[0] == timers[1]


def await_sessions(network: Network) -> None:
    """Wait until every BFD session is up; at once where BFD is not in use."""
    if network.options.detection.bfd_interval_ms is not None:
        network.wait_detection()


def _lines(network: Network, node: str, old: Detection, new: Detection) -> dict[str, list[str]]:
    lines: dict[str, list[str]] = {"bfdd": [], "ospf6d": [], "bgpd": []}
    if new.bfd_interval_ms is not None:
        lines["bfdd"] += bfd_lines(network.plan, network.plan.nodes[node], new)
    if (old.bfd_interval_ms is None) == (new.bfd_interval_ms is None):
        return lines
    on = new.bfd_interval_ms is not None
    interior = network.plan.interior_peers(node)
    for end in network.plan.ends_of(node):
        if end.link.protocol is Protocol.OSPF:
            lines["ospf6d"] += [
                f"interface {end.interface}",
                f"ipv6 ospf6 bfd profile {INTERIOR_PROFILE}" if on else "no ipv6 ospf6 bfd",
                "exit",
            ]
        if end.link.protocol is Protocol.BGP or end in interior:
            peer = f"neighbor {end.neighbour_address} bfd"
            lines["bgpd"] += [peer, f"{peer} profile {EXTERIOR_PROFILE}"] if on else [f"no {peer}"]
    if lines["bgpd"]:
        lines["bgpd"].insert(0, f"router bgp {network.plan.nodes[node].asn}")
    return lines


def configure(daemon: Daemon, lines: Sequence[str], timeout: float = 5.0) -> None:
    """Give a daemon configuration lines; RunError names the one that it does not take."""
    with socket.socket(socket.AF_UNIX) as vty:
        vty.settimeout(timeout)
        vty.connect(str(daemon.vty))
        for line in ("enable", "configure terminal", *lines, "end"):
            text, code = _exchange(vty, line)
            if code != 0:
                raise RunError(f"{daemon.node.name}: {daemon.name} does not take {line!r}: {text}")


def _exchange(vty: socket.socket, line: str) -> tuple[str, int]:
    """Send a line; return the answer's text and the result code (0: taken)."""
    vty.sendall(line.encode() + b"\0")
    answer = b""
    while not (len(answer) >= 4 and answer[-4:-1] == END_OF_ANSWER):
        chunk = vty.recv(1 << 16)
        if not chunk:
            raise RunError("a routing daemon closed its vty")
        answer += chunk
    return answer[:-4].decode(errors="replace").strip(), answer[-1]
