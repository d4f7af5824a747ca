"""Figure 2 under operators' source checks and route damping: `-m tests.multi_as_operators`.

Runs inside a sandbox. cn1 is nearest to AS 1, cn2 to AS 2, the mobile node's visited network to AS
1; so what cn2 sends comes back by another AS than it went.
"""

import socket
import sys
import tempfile
import time
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path

from agents.config import Mode
from agents.core.mtu import inner_mtu
from agents.wire import ipv6
from experiments.detection import configure
from tests.figure_1.lab import PATIENT
from topologies import addressing
from topologies.frr_config import RoutingOptions
from topologies.multi_as import MultiAs
from topologies.namespaces import call_in
from topologies.network import Network
from topologies.nodes import SixNode
from topologies.source_validation import SourceCheck, dropped, feasible_sources

HOME_ADDRESS = str(addressing.home_address())
TRANSITS = ("t1", "t2", "t3")
PINGS = 5
PATIENCE = 30.0


def main() -> int:
    with tempfile.TemporaryDirectory(dir="/run") as logs:
        network = Network(
            MultiAs(static=False, delays=False), Path(logs), RoutingOptions(detection=PATIENT)
        )
        try:
            network.start()
            network.start_agents()
            for part in (strict, feasible, loose, sizes, damping):
                part(network)
                print(f"{part.__name__}: as it should be", flush=True)
        finally:
            network.stop()
    return 0


def answered(network: Network) -> dict[str, int]:
    """Let each correspondent ping the mobile node; return how many were answered."""
    found = {}
    for name in ("cn1", "cn2"):
        words = ["ping", "-c", str(PINGS), "-i", "0.02", "-W", "1", HOME_ADDRESS]
        said = network.nodes[name].run(words).stdout
        found[name] = int(said.split(" received")[0].split()[-1])
    return found


def await_true(what: str, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)


def strict(network: Network) -> None:
    """cn1's packets go and come by AS 1. cn2's go by AS 2 and come by AS 1: two transits drop them.

    t3 has the home network by br12 and gets cn2's, as tunnel packets of HA21, from br22; t2 has it
    by br21 and gets the mobile node's answers, which left AS 1, from t3.
    """
    assert answered(network) == {"cn1": PINGS, "cn2": PINGS}
    for name, arrival in (("t3", "t3-br22"), ("t2", "t2-t3")):
        network.faults.check_sources(name, SourceCheck.STRICT)
        assert answered(network) == {"cn1": PINGS, "cn2": 0}, name
        counted = {way: count for way, count in dropped(network.nodes[name]).items() if count}
        assert counted == {arrival: PINGS}, counted
        network.faults.trust_sources(name)
    assert answered(network) == {"cn1": PINGS, "cn2": PINGS}


def feasible(network: Network) -> None:
    """Each AS announces the home network wherever it sends from: all of it is feasible."""
    aggregate = network.plan.homes[0].aggregate
    # What all neighbours announce, also by ways that nobody takes, is there a moment later than
    # the routes; and while home agents speak to one another, what came too early is dropped.
    until = time.monotonic() + PATIENCE
    while True:
        for name in TRANSITS:
            sources = feasible_sources(network.plan, network.routing.on[name])
            network.faults.check_sources(name, SourceCheck.FEASIBLE, sources)
        found = answered(network)
        drops = {name: dropped(network.nodes[name]) for name in TRANSITS}
        if not any(any(each.values()) for each in drops.values()):
            break
        assert time.monotonic() < until, drops
    assert {aggregate in sources[way] for way in ("t3-br12", "t3-br22", "t3-t1", "t3-t2")} == {True}
    assert aggregate not in sources["t3-v1"]
    assert found == {"cn1": PINGS, "cn2": PINGS}
    # A host of the visited network that sends in the mobile node's name is stopped at once.
    source, target = addressing.home_address(), network.plan.address_of("cn2")
    inject(network.nodes["v1"], ipv6.build(source, target, ipv6.UDP, bytes(8)))
    await_true("the drop", lambda: dropped(network.nodes["t3"])["t3-v1"] == 1)
    # Where AS 2's announcement is not taken (no ROA for it, say), its packets are not either.
    sources["t3-br22"].discard(aggregate)
    network.faults.check_sources("t3", SourceCheck.FEASIBLE, sources)
    assert answered(network) == {"cn1": PINGS, "cn2": 0}
    network.faults.heal()


def loose(network: Network) -> None:
    for name in TRANSITS:
        network.faults.check_sources(name, SourceCheck.LOOSE)
    assert answered(network) == {"cn1": PINGS, "cn2": PINGS}
    network.faults.heal()


def sizes(network: Network) -> None:
    """HA21 sends, t3's Packet Too Big reaches HA12 in the other AS, HA21 is told by it."""
    for name, other in (("t3", "v1"), ("v1", "t3")):
        command = ["ip", "link", "set", f"{name}-{other}", "mtu", "1450"]
        network.nodes[name].run(command, check=True)
    full = ["ping", "-c", "3", "-i", "0.3", "-W", "0.5", "-s", "1354", "-M", "do", HOME_ADDRESS]
    said = network.nodes["cn2"].run(full)
    assert f"Packet too big: mtu={inner_mtu(1450, Mode.HARDENED)}" in said.stdout + said.stderr
    counted = {name: network.agents[name].ask("counters") for name in network.agents.home_agents}
    for home_agent, what in (("HA12", "relayed"), ("HA21", "relayed-here"), ("HA21", "adopted")):
        assert counted[home_agent].get(f"packet-too-big.{what}") == 1, (home_agent, counted)


def damping(network: Network) -> None:
    """AS 1 comes and goes until the transits suppress it: AS 2 serves everybody meanwhile."""
    for name, asn in (("t1", 101), ("t3", 103)):
        daemon = network.routing.on[name].daemons["bgpd"]
        line = "bgp dampening 1 750 2000 2"
        configure(daemon, [f"router bgp {asn}", "address-family ipv6 unicast", line])
    agents = [network.agents[name] for name in ("HA11", "HA12")]
    flaps = 0
    while state(network, "t3", "br12") != "damped":
        for agent in agents:
            agent.kill()
        await_true("AS 1 to withdraw", lambda: state(network, "t3", "br12") in ("", "history"))
        for agent in agents:
            agent.start()
        await_true(
            "its return", lambda: state(network, "t3", "br12") in ("bestpath", "valid", "damped")
        )
        flaps += 1
        assert flaps < 5, "never suppressed"
    assert flaps > 1
    assert state(network, "t3", "br22") == "bestpath"
    for agent in agents:
        agent.wait("advertising", lambda status: bool(status["advertising"]))
    before = {name: served(network, name) for name in ("HA11", "HA12")}
    assert answered(network) == {"cn1": PINGS, "cn2": PINGS}
    assert {name: served(network, name) for name in before} == before


def state(network: Network, router: str, neighbour: str) -> str:
    """Return what a transit's BGP thinks of the path to the home network by a neighbour.

    A withdrawn path is kept by damping: "history", whatever else is said of it.
    """
    (peer,) = [e for e in network.plan.ends_of(router) if e.neighbour == neighbour]
    table = network.routing.on[router].daemons["bgpd"].ask_json("show bgp ipv6 unicast")
    paths = table["routes"].get(str(network.plan.homes[0].aggregate), [])
    (path,) = [p for p in paths if p.get("peerId") == str(peer.neighbour_address)] or [{}]
    states = ("history", "damped", "bestpath", "valid")
    return next((each for each in states if each in path), "")


def served(network: Network, home_agent: str) -> int:
    """Return how many packets of the mobile node, or to it, an HA has carried."""
    counters = network.agents[home_agent].ask("counters")
    return sum(counters.get(f"tunnel.{way}", 0) for way in ("sent", "received"))


def inject(node: SixNode, packet: bytes) -> None:
    """Send a packet, whole as it is, from a node."""
    with call_in(
        node.pid, lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
    ) as raw:
        raw.sendto(packet, (str(IPv6Address(packet[24:40])), 0))


if __name__ == "__main__":
    sys.exit(main())
