"""Figure 1 with what operators set for other reasons: source checks, small MTUs, route damping.

What happens and what to do is told in docs/anycast.md; here it is shown.
"""

import hashlib
import random
import socket
import time
from ipaddress import IPv6Address

import pytest

from agents.config import HomeAgentTimers
from agents.core.mtu import inner_mtu
from agents.wire import ipv6
from experiments.detection import configure
from tests.figure_1.inside import inside
from tests.figure_1.lab import CORRESPONDENTS, HOME_ADDRESS, Lab
from tests.figure_1.transfer import transfer
from topologies.addressing import HOME_AGGREGATE
from topologies.figure_1 import figure_1 as figure_1_plan
from topologies.namespaces import call_in
from topologies.netlink import RouteMonitor
from topologies.source_validation import SourceCheck, dropped, feasible_sources

pytestmark = [
    pytest.mark.emulation,
    pytest.mark.parametrize("figure_1", ["hardened+hold-down"], indirect=True),
]

PLAN = figure_1_plan()

# Source validation.


def answered(lab: Lab) -> dict[str, int]:
    """Let the mobile node and each correspondent ping each other; return how many were answered."""
    found = {}
    for name in CORRESPONDENTS:
        said = lab.ping(name, HOME_ADDRESS, 5, 56, "-W", "1").stdout
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
        forged = ipv6.build(IPv6Address(HOME_ADDRESS), PLAN.address_of("cn1"), ipv6.UDP, bytes(8))
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
            forged = ipv6.build(
                IPv6Address(HOME_ADDRESS), PLAN.address_of("cn1"), ipv6.UDP, bytes(8)
            )
            inject(figure_1, "v1", forged)
            figure_1.wait("it", lambda: forged[40:] in [p.octets[40:] for p in capture.packets()])
        for name in ("br", "t1", "r1", "r2", "r3"):
            assert not any(dropped(figure_1.node(name)).values()), name
        # Where there is no default route, a source that nobody announces is dropped.
        nobody = ipv6.build(IPv6Address("fd00:dead::1"), PLAN.address_of("cn1"), ipv6.UDP, bytes(8))
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


# Packet sizes.

NARROW = 1450


def set_mtu(lab: Lab, a: str, b: str, mtu: int) -> None:
    """Set what both ends of a link take."""
    for one, other in ((a, b), (b, a)):
        command = ("ip", "link", "set", f"{one}-{other}", "mtu", str(mtu))
        lab.run(one, *command, check=True)


@inside
def test_packet_too_big_reaches_the_home_agent_that_sent(figure_1: Lab) -> None:
    """cn2's packets go by HA2; the narrow link's router is nearest to HA1, which relays."""
    figure_1.wait_settled()
    set_mtu(figure_1, "t1", "v1", NARROW)
    before = {name: figure_1.counters(name) for name in figure_1.home_agents}

    def grown(name: str, counter: str) -> int:
        name_of = f"packet-too-big.{counter}"
        return figure_1.count(name, name_of) - before[name].get(name_of, 0)

    try:
        data = random.Random(1).randbytes(1_000_000)
        assert transfer(figure_1, "cn2", "mn", data) == hashlib.sha256(data).hexdigest()
        assert grown("HA1", "received") == grown("HA1", "relayed") == grown("HA2", "relayed-here")
        assert [grown(name, "adopted") for name in ("HA1", "HA2", "HA3")] == [0, 1, 0]
        (lowered,) = [e for e in figure_1.events("HA2") if e["kind"] == "path-mtu-lowered"]
        assert lowered["path_mtu"] == NARROW
        # The correspondent has learnt what goes inside, and HA1's own packets have not shrunk.
        route = figure_1.run("cn2", "ip", "-6", "route", "get", HOME_ADDRESS).stdout
        assert f" mtu {inner_mtu(NARROW, figure_1.mode)} " in route
        assert grown("HA1", "relayed-here") == 0
    finally:
        set_mtu(figure_1, "t1", "v1", 1500)


@inside
def test_packet_too_big_about_an_inner_packet_finds_the_mobile_node(figure_1: Lab) -> None:
    """Out by HA1, but r2, whose next link is narrow, answers the HoA by way of HA2: it serves."""
    figure_1.wait_settled()
    set_mtu(figure_1, "r2", "cn2", 1300)
    sent = figure_1.count("HA2", "tunnel.sent")
    try:
        said = figure_1.ping("mn", figure_1.address("cn2"), 1, 1300, "-M", "do", "-w2")
        assert "Packet too big: mtu=1300" in said.stdout + said.stderr
        assert figure_1.count("HA2", "tunnel.sent") == sent + 1
        source = ("-I", HOME_ADDRESS)
        figure_1.pings("mn", figure_1.address("cn2"), 2, 1300, "-M", "dont", *source)
    finally:
        set_mtu(figure_1, "r2", "cn2", 1500)


# Flapping.


def damping(lab: Lab, *, on: bool) -> None:
    """Let t1 damp routes: suppressed at 2000, 1000 for each withdrawal, halved in a minute."""
    line = "bgp dampening 1 750 2000 2" if on else "no bgp dampening"
    daemon = lab.network.routing.on["t1"].daemons["bgpd"]
    configure(daemon, ["router bgp 100", "address-family ipv6 unicast", line])


def flap(lab: Lab, *routers: str) -> None:
    """Cut the border from these routers, and mend it when BGP has said what it has to say."""
    heard = announced(lab)
    for router in routers:
        lab.network.faults.cut("br", router)
    lab.wait("br to notice", lambda: lab.home_route("br") != "br-r1")
    if len(routers) == 3:
        lab.wait("t1 to hear", lambda: announced(lab) != heard)
    lab.network.faults.heal()
    lab.wait("br to return", lambda: lab.home_route("br") == "br-r1")
    lab.wait("t1 to hear of it", lambda: "history" not in announced(lab))


def announced(lab: Lab) -> set[str]:
    """Return what t1's BGP thinks of its path to the home network; with damping a lost one is kept.

    From the whole table: FRR 8.4's bgpd ends by a fault when asked about one damped path.
    """
    table = lab.network.routing.on["t1"].daemons["bgpd"].ask_json("show bgp ipv6 unicast")
    (path,) = table["routes"].get(str(HOME_AGGREGATE), [{}])
    return {"valid", "bestpath", "damped", "history"} & set(path)


@inside
def test_one_home_agent_that_flaps_is_not_seen_outside(figure_1: Lab) -> None:
    """The aggregate stays as long as one of them is there: no penalty anywhere."""
    figure_1.wait_settled()
    damping(figure_1, on=True)
    try:
        changes = RouteMonitor(figure_1.node("t1").pid)
        for _ in range(3):
            flap(figure_1, "r1")
        assert not [c for c in changes.changes() if c.route.destination == HOME_AGGREGATE]
        changes.close()
        assert announced(figure_1) == {"valid", "bestpath"}
        figure_1.pings("cn1", HOME_ADDRESS)
    finally:
        damping(figure_1, on=False)


@inside
def test_an_as_that_flaps_is_damped_though_its_home_agents_live(figure_1: Lab) -> None:
    figure_1.wait_settled()
    damping(figure_1, on=True)
    try:
        for _ in range(3):
            flap(figure_1, "r1", "r2", "r3")
        figure_1.wait("it to be suppressed", lambda: "damped" in announced(figure_1))
        assert figure_1.home_route("t1") is None
        assert answered(figure_1) == dict.fromkeys(CORRESPONDENTS, 0)  # nor does the MN reach an HA
        assert figure_1.home_route("br") == "br-r1"
        for name in figure_1.home_agents:
            assert figure_1.binding(name)["primary"] == "HA1"
    finally:
        damping(figure_1, on=False)
        # FRR 8.4 goes on suppressing what it has suppressed; a new session begins without history.
        border = next(e.neighbour_address for e in PLAN.ends_of("t1") if e.neighbour == "br")
        figure_1.network.routing.on["t1"].daemons["bgpd"].ask(f"clear bgp ipv6 {border}")
    figure_1.wait("all", lambda: answered(figure_1) == dict.fromkeys(CORRESPONDENTS, 5))


@inside
def test_a_home_agent_that_flaps_is_held_down(figure_1: Lab) -> None:
    """Two returns are free, the third waits: HA2 serves until then, and loses nothing."""
    figure_1.wait_settled()
    waited = []
    for _ in range(3):
        killed = figure_1.agent("HA1").kill()
        figure_1.wait("HA1 to be missed", lambda: figure_1.home_route("br") == "br-r2")
        figure_1.agent("HA1").start()
        figure_1.wait("its tables", lambda: "table-received" in figure_1.kinds("HA1", killed))  # noqa: B023
        ready = time.monotonic_ns()
        with figure_1.streams() as streams:
            figure_1.wait("its return", lambda: figure_1.home_route("br") == "br-r1")
            back = time.monotonic_ns()
            streams.await_running(back)
            streams.finish()
        waited.append("held-down" in figure_1.kinds("HA1", killed))
        assert not any(each.lost() for each in streams.all)
    assert waited == [False, False, True]
    assert back - ready > 0.9 * HomeAgentTimers().hold_first * 1e9
    figure_1.wait_settled()
