"""Figure 2 with one fault at a time: what takes over, what is not touched, and the way back.

One network for all, run by an ordinary user; each test leaves it as it was.
"""

import tempfile
import time
from ipaddress import IPv6Network

import pytest

from experiments.faults import DOWN_STATES
from tests.figure_1.inside import inside
from tests.figure_1.lab import CARE_OF, HOME_ADDRESS
from tests.figure_2.lab import SERVING, Figure2
from tests.test_figure_1_faults import (
    check_no_signalling,
    check_nothing_lost,
    latest_origins,
    signalling,
)
from tests.topology_scenarios import typed
from topologies import addressing
from topologies.plan import Role

pytestmark = pytest.mark.emulation

AGGREGATE = addressing.HOME_AGGREGATE
FIRST, SECOND = ("HA11", "HA12"), ("HA21", "HA22")

# By fault: streams that it does not touch, and who sends to the mobile node while it lasts.
BY_HA11_AND_HA21 = [("cn1", "mn"), ("cn2", "mn")]
FAULTS = {
    "agent-kill": (BY_HA11_AND_HA21, {"HA11", "HA21"}),
    "agent-hang": (BY_HA11_AND_HA21, {"HA11", "HA21"}),
    "agent-restart": (BY_HA11_AND_HA21, None),
    "node-silent": (BY_HA11_AND_HA21, {"HA11", "HA21"}),
    "link-cut": (BY_HA11_AND_HA21, {"HA11", "HA21"}),
    "as-loss": ([("cn2", "mn")], set(SECOND)),
    "as-cut": ([("cn2", "mn")], set(SECOND)),
    "transit-loss": ([("cn2", "mn"), ("mn", "cn2")], {"HA12", "HA21"}),
    "ha-partition": ([("cn1", "mn"), ("mn", "cn1"), ("cn2", "mn"), ("mn", "cn2")],
                     {"HA11", "HA21"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
@inside
def test_each_fault_once(figure_2: Figure2, name: str) -> None:
    """The traffic goes on by those that the scenario names, with the same SA, and comes back."""
    case = figure_2.scenario.cases[name]
    unharmed, carriers = FAULTS[name]
    figure_2.wait_settled()
    spis = {each.spi for each in figure_2.own_associations()}
    sequence = figure_2.binding(SERVING)["sequence"]
    survivors = [each for each in figure_2.home_agents if each not in case.lost]
    with figure_2.capture("mn", "mn-v1") as capture, figure_2.streams() as streams:
        streams.await_running(0)
        before = signalling(figure_2, *survivors, "mn")
        began = time.monotonic_ns()
        broken = case.fault.inject(figure_2.network)
        for way in case.moves:
            figure_2.wait(f"{way.router} to move", lambda: not figure_2.goes(way))  # noqa: B023
        streams.await_running(broken)
        if not case.fault.repairs_itself:
            for node, peer in case.estranged:
                figure_2.wait(f"{node} to miss {peer}", lambda: peer_state(figure_2, node, peer)  # noqa: B023
                              == "invalid")  # fmt: skip
        streams.await_running(time.monotonic_ns())
        recovered = time.monotonic_ns()
        assert signalling(figure_2, *survivors, "mn") == before
        case.fault.repair(figure_2.network)
        figure_2.wait("sessions", figure_2.sessions_up)
        for way in case.moves:
            figure_2.wait(f"{way.router} to return", lambda: figure_2.goes(way))  # noqa: B023
        for agent in figure_2.home_agents.values():
            agent.wait("advertising", lambda s: bool(s["advertising"]), 30)
            agent.wait("in step", lambda s: set(s["peers"].values()) == {"up"}, 30)
        figure_2.wait("one primary", lambda: len(figure_2.primaries()) == 1)
        back = time.monotonic_ns()
        streams.await_running(back)
        spared = [streams.between(*ends) for ends in unharmed]
        streams.finish()
        seen = capture.packets(began)
    check_nothing_lost(spared)
    check_nothing_lost(streams.all, back)
    # I8: no registration, no new SA, no IKE; the binding is the one that was acknowledged (I4).
    check_no_signalling(seen, spis)
    assert {figure_2.binding(each)["sequence"] for each in figure_2.home_agents} == {sequence}
    if carriers is not None:
        addresses = {figure_2.address(each) for each in carriers}
        assert latest_origins(seen, recovered, streams=2) == addresses


def peer_state(lab: Figure2, node: str, peer: str) -> str | None:
    """Return what a home agent that runs holds of a peer."""
    return lab.agent(node).ask("status")["peers"].get(peer)


@inside
def test_an_as_announces_the_home_network_only_while_it_has_a_home_agent(
    figure_2: Figure2,
) -> None:
    """D19: one by one the agents of AS 1 end; with the last its /48 is gone everywhere."""
    figure_2.wait_settled()
    first = {"t1", "t3"}  # AS 1's providers
    assert {name for name in providers(figure_2) if tells(figure_2, name, 1)} == first
    figure_2.agent("HA12").kill()
    figure_2.wait("br12 to use HA11", lambda: by(figure_2, "br12") == "br12-br11")
    assert {name for name in providers(figure_2) if tells(figure_2, name, 1)} == first
    figure_2.pings("cn1", HOME_ADDRESS)
    figure_2.agent("HA11").kill()
    figure_2.wait(
        "AS 1's end", lambda: not any(reaches(figure_2, n, 1) for n in speakers(figure_2))
    )
    assert not any(tells(figure_2, name, 1) for name in providers(figure_2))
    for name in ("br11", "br12"):  # and its own routers reach the other AS's home agents
        figure_2.wait(f"{name} to have none of its own", lambda: by(figure_2, name) is None)  # noqa: B023
        figure_2.wait(f"{name} to use AS 2's", lambda: figure_2.way_of(name, AGGREGATE)  # noqa: B023
                      not in (None, "lo"))  # fmt: skip
    for correspondent in ("cn1", "cn2"):
        figure_2.pings(correspondent, HOME_ADDRESS)
    for name in FIRST:
        figure_2.agent(name).start()
    figure_2.wait("AS 1's return", lambda: all(tells(figure_2, name, 1) for name in first))
    figure_2.wait_settled()
    figure_2.pings("cn1", HOME_ADDRESS)


def speakers(lab: Figure2) -> list[str]:
    return [name for name in lab.bgp_speakers() if lab.plan.nodes[name].asn not in (1, 2)]


def providers(lab: Figure2) -> list[str]:
    return [node.name for node in lab.plan.of_role(Role.TRANSIT)]


def by(lab: Figure2, router: str, prefix: IPv6Network = addressing.HOME_PREFIX) -> str | None:
    return lab.way_of(router, prefix)


def paths(lab: Figure2, router: str) -> list[str]:
    """Return all AS paths that a router knows to the home network."""
    return [each["aspath"]["string"] for each in
            lab.bgp(router, f"show bgp ipv6 unicast {AGGREGATE}").get("paths", [])]  # fmt: skip


def tells(lab: Figure2, provider: str, asn: int) -> bool:
    """Does an AS announce the home network to this provider?"""
    return str(asn) in paths(lab, provider)


def reaches(lab: Figure2, router: str, asn: int) -> bool:
    """Does any path that a router knows end in this AS?"""
    return any(path.split()[-1:] == [str(asn)] for path in paths(lab, router))


@inside
def test_two_primaries_in_a_partition_are_one_after_it(figure_2: Figure2) -> None:
    """I3, I4: the mobile node moves to the other side, which alone hears of it."""
    figure_2.wait_settled()
    partition = figure_2.scenario.cases["ha-partition"].fault
    partition.inject(figure_2.network)
    try:
        figure_2.wait("parted", lambda: all(peer_state(figure_2, *pair) == "invalid"
                      for pair in figure_2.scenario.cases["ha-partition"].estranged))  # fmt: skip
        figure_2.network.faults.move("mn", "v3")
        agent = figure_2.agent("mn")
        agent.wait("at v3", lambda s: s["care_of_address"] == V3 and s["state"] == "bound", 30)
        views = {name: figure_2.binding(name) for name in figure_2.home_agents}
        assert {views[name]["primary"] for name in FIRST} == {"HA12"}
        assert {views[name]["primary"] for name in SECOND} == {"HA21"}
        assert {views[name]["care_of_address"] for name in FIRST} == {CARE_OF["v1"]}
    finally:
        partition.repair(figure_2.network)
    figure_2.wait("one primary", lambda: figure_2.primaries() == {"HA21"})
    figure_2.wait("the newer binding", lambda: figure_2.care_of_addresses() == {V3})
    for correspondent in ("cn1", "cn2"):
        figure_2.pings(correspondent, HOME_ADDRESS)
    figure_2.network.faults.move("mn", "v1")
    figure_2.wait_settled()


V3 = str(addressing.care_of_address(3))


@inside
def test_a_cut_takes_the_carrier_at_both_ends(figure_2: Figure2) -> None:
    figure_2.wait_settled()
    fault = figure_2.scenario.cases["as-cut"].fault
    ends = [f"{a}-{b}" for link in fault.cut for a, b in (link, link[::-1])]
    assert len(ends) == 4
    fault.inject(figure_2.network)
    try:
        figure_2.wait(
            "both ends of each to see it",
            lambda: {carrier(figure_2, end) for end in ends} <= set(DOWN_STATES),
        )
    finally:
        fault.repair(figure_2.network)
    figure_2.wait("carriers", lambda: all(carrier(figure_2, end) == "up" for end in ends))
    figure_2.wait_settled()


SCRIPT = """
show routes
show routes t3
fail HA12
status
show peers HA22
cut br11 t1
silence t2
partition 1
partition 7
status
heal
move mn v3
show bul
move mn v1
exit
"""


@inside
def test_the_lab_prompt_on_figure_2(figure_2: Figure2) -> None:
    figure_2.wait_settled()
    with tempfile.TemporaryFile("w+") as stdin:
        stdin.write(SCRIPT)
        stdin.seek(0)
        said = typed(figure_2.network, stdin)
    for wanted in (
        "br12-HA12", "t3-br12", "c1-t1", "agent of HA12 killed at", "does not run",
        "link br11-t1 cut at", "t2 silent at", "HA11, HA12 parted from HA21, HA22 at",
        "usage: partition AS, one of several with home agents; there are 1, 2",
        "fault: HA11 parted from other home agents", "fault: t2 silent",
        "healed: link t1-br11 cut, t2 silent", "agent of HA12 started", "mn at v3 at",
    ):  # fmt: skip
        assert wanted in said, f"{wanted!r} is not in\n{said}"
    figure_2.wait_settled()
    figure_2.pings("cn1", HOME_ADDRESS)


def carrier(lab: Figure2, interface: str) -> str:
    """Return an interface's operational state, as its node has it."""
    node = interface.partition("-")[0]
    return lab.run(node, "cat", f"/sys/class/net/{interface}/operstate").stdout.strip()
