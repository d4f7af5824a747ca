"""Figure 1 with what operators set for other reasons: source checks, small MTUs, route damping.

What happens and what to do is told in docs/anycast.md; here it is shown.
"""

import socket
import time
from ipaddress import IPv6Address

import pytest

from agents.wire import ipv6
from experiments.detection import configure
from tests.figure_1.inside import inside
from tests.figure_1.lab import CORRESPONDENTS, HOME_ADDRESS, HOME_AGENT_ADDRESS, Lab
from topologies.figure_1 import figure_1 as figure_1_plan
from topologies.namespaces import call_in
from topologies.source_validation import SourceCheck, dropped, feasible_sources

pytestmark = pytest.mark.emulation

ADDRESS_OF = {"cn1": figure_1_plan().address_of("cn1")}

# Source validation.


def answered(lab: Lab) -> dict[str, int]:
    """Let the mobile node and each correspondent ping each other; return how many were answered."""
    found = {}
    for name in CORRESPONDENTS:
        said = lab.ping(name, HOME_ADDRESS, 5, 56, "-W", "0.3").stdout
        found[name] = int(said.split(" received")[0].split()[-1])
    return found


@inside
def test_strict_source_checks_drop_an_anycast_source(figure_1: Lab) -> None:
    """From the border HA1 is nearest: tunnel packets of HA2 and HA3 come in by other links."""
    figure_1.wait_settled()
    figure_1.network.faults.check_sources("br", SourceCheck.STRICT)
    try:
        assert answered(figure_1) == {"cn1": 5, "cn2": 0, "cn3": 0}
        assert dropped(figure_1.node("br")) == {"br-r1": 0, "br-r2": 5, "br-r3": 5, "br-t1": 0}
        # The other direction, HoA to CN: HA1 takes it, and r2's best way to the HoA is HA2.
        figure_1.network.faults.trust_sources("br")
        figure_1.network.faults.check_sources("r2", SourceCheck.STRICT)
        assert answered(figure_1) == {"cn1": 5, "cn2": 0, "cn3": 0}
        assert dropped(figure_1.node("r2"))["r2-r1"] == 10
    finally:
        figure_1.network.faults.heal()
    figure_1.wait_settled()


@inside
def test_feasible_sources_let_it_pass_and_nothing_else(figure_1: Lab) -> None:
    figure_1.wait_settled()
    faults, plan = figure_1.network.faults, figure_1.network.plan
    try:
        for name in ("br", "t1"):
            routing = figure_1.network.routing.on[name]
            faults.check_sources(name, SourceCheck.FEASIBLE, feasible_sources(plan, routing))
        assert answered(figure_1) == dict.fromkeys(CORRESPONDENTS, 5)
        for name in ("br", "t1"):
            assert not any(dropped(figure_1.node(name)).values()), name
        # A home address that a visited network's host has made up does not pass.
        forged = ipv6.build(IPv6Address(HOME_ADDRESS), ADDRESS_OF["cn1"], ipv6.UDP, bytes(8))
        inject(figure_1, "v1", forged)
        figure_1.wait("the drop", lambda: dropped(figure_1.node("t1"))["t1-v1"] == 1)
    finally:
        faults.heal()


@inside
def test_loose_source_checks_let_it_pass_and_anything_else(figure_1: Lab) -> None:
    figure_1.wait_settled()
    try:
        for name in ("br", "t1", "r1", "r2", "r3"):
            figure_1.network.faults.check_sources(name, SourceCheck.LOOSE)
        assert answered(figure_1) == dict.fromkeys(CORRESPONDENTS, 5)
        with figure_1.capture("cn1", "cn1-t1") as capture:
            forged = ipv6.build(IPv6Address(HOME_ADDRESS), ADDRESS_OF["cn1"], ipv6.UDP, bytes(8))
            inject(figure_1, "v1", forged)
            figure_1.wait("it", lambda: forged[40:] in [p.octets[40:] for p in capture.packets()])
        for name in ("br", "t1", "r1", "r2", "r3"):
            assert not any(dropped(figure_1.node(name)).values()), name
        # Where there is no default route, a source that nobody announces is dropped.
        nobody = ipv6.build(IPv6Address("fd00:dead::1"), ADDRESS_OF["cn1"], ipv6.UDP, bytes(8))
        inject(figure_1, "v1", nobody)
        figure_1.wait("the drop", lambda: dropped(figure_1.node("t1"))["t1-v1"] == 1)
    finally:
        figure_1.network.faults.heal()


def inject(lab: Lab, node: str, packet: bytes) -> None:
    """Send a packet, whole as it is, from a node."""
    with call_in(
        lab.node(node).pid,
        lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
    ) as raw:
        raw.sendto(packet, (str(IPv6Address(packet[24:40])), 0))
