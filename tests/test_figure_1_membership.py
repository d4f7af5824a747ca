"""Figure 1: home agents join and leave while packets flow; one is fenced, one put out.

One network for all. Streams run at 1 kHz in each direction, and none of their packets is lost by a
home agent that comes or goes.
"""

import contextlib
import time
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from tests.figure_1.inside import inside
from tests.figure_1.lab import HOME_ADDRESS, HOME_PREFIX, Lab
from tests.figure_1.streams import Streams
from topologies.certification import Authority
from topologies.network import RUNTIME

pytestmark = [
    pytest.mark.emulation,
    pytest.mark.parametrize("figure_1", ["hardened+ike"], indirect=True, scope="module"),
]

PERIOD = 0.001


def table(lab: Lab) -> set[int]:
    """The indexes of the home agents that the mobile node knows."""
    return {int(each["index"]) for each in lab.agent("mn").ask("peers")}


def sessions_lost(lab: Lab) -> dict[str, int]:
    """How many BFD sessions each router has lost so far; those that ended by plan are not there."""
    found = {}
    for name, routing in lab.network.routing.on.items():
        for peer in routing.daemons["bfdd"].ask_json("show bfd peers counters"):
            found[f"{name} {peer['peer']}"] = peer["session-down"]
    return found


@contextlib.contextmanager
def nothing_is_lost(lab: Lab) -> Iterator[Streams]:
    """Streams through whatever happens; every packet of theirs arrives, every session stays."""
    before = sessions_lost(lab)
    with lab.streams("cn1", "cn2", period=PERIOD) as streams:
        streams.await_running(0)
        yield streams
        streams.await_running(time.monotonic_ns())
        streams.finish()
    assert {each.name: each.lost() for each in streams.all} == {
        each.name: [] for each in streams.all
    }
    after = sessions_lost(lab)
    kept = before.keys() & after.keys()
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


def await_primary(lab: Lab, name: str, members: set[str]) -> None:
    """Wait until all these, and no others, are home agents in step, with this one as primary."""
    assert set(lab.home_agents) == members
    lab.wait(
        f"{name} to be primary everywhere",
        lambda: {lab.binding(each).get("primary") for each in members} == {name},
    )
    indexes = {lab.network.plan.nodes[each].index for each in members}
    lab.wait(f"the mobile node to know {indexes}", lambda: table(lab) == indexes)


@inside
def test_one_that_joins_disturbs_nobody(figure_1: Lab) -> None:
    """HA4 comes nearest to the border: it draws cn1's packets and the mobile node's."""
    figure_1.wait_settled()
    network = figure_1.network
    with nothing_is_lost(figure_1) as streams:
        network.add_home_agent("HA4", at="br")
        figure_1.wait("br to route by HA4", lambda: figure_1.home_route("br") == "br-HA4")
        streams.await_running(time.monotonic_ns())
        figure_1.wait("the mobile node to know it", lambda: table(figure_1) == {1, 2, 3, 4})
        figure_1.wait("HA4 to tunnel", lambda: figure_1.count("HA4", "tunnel.sent") > 100)
    assert figure_1.count("HA4", "tunnel.received") > 0
    assert network.plan.nodes["HA4"].index == 4
    kinds = figure_1.kinds("HA4")
    assert kinds.index("table-received") < kinds.index("advertise-prefix")
    others = [name for name in figure_1.home_agents if name != "HA4"]
    assert all(figure_1.agent(n).ask("status")["peers"]["HA4"] == "up" for n in others)


@inside
def test_the_primary_leaves_without_loss(figure_1: Lab) -> None:
    """HA4, nearest and primary, goes; the next one takes over, without a new registration."""
    figure_1.register_anew()
    await_primary(figure_1, "HA4", {"HA1", "HA2", "HA3", "HA4"})
    with nothing_is_lost(figure_1):
        figure_1.network.remove_home_agent("HA4")
        assert figure_1.home_route("br") == "br-r1"
        await_primary(figure_1, "HA1", {"HA1", "HA2", "HA3"})
    assert "HA4" not in figure_1.network.plan.nodes
    assert "br-HA4" not in figure_1.run("br", "ip", "-br", "link").stdout


@inside
def test_one_of_the_first_leaves_and_comes_again(figure_1: Lab) -> None:
    figure_1.wait_settled()
    with nothing_is_lost(figure_1):
        figure_1.network.remove_home_agent("HA1")
        figure_1.network.add_home_agent("HA1")
        figure_1.wait("br to route by r1", lambda: figure_1.home_route("br") == "br-r1")
        figure_1.wait("the mobile node to know it", lambda: table(figure_1) == {1, 2, 3})
    assert figure_1.agent("HA1").ask("status")["incarnation"] == 2
    figure_1.wait_settled()


@inside
def test_a_fence_holds_against_the_node_and_against_heal(figure_1: Lab) -> None:
    figure_1.wait_settled()
    faults = figure_1.network.faults
    before = time.monotonic_ns()
    assert before <= faults.fence("HA3") <= time.monotonic_ns()
    figure_1.run("HA3", "ip", "link", "set", "HA3-r3", "down", check=True)
    figure_1.run("HA3", "ip", "link", "set", "HA3-r3", "up", check=True)
    assert faults.heal() == []
    assert "NO-CARRIER" in figure_1.run("HA3", "ip", "link", "show", "HA3-r3").stdout
    figure_1.wait("r3 to route by r2", lambda: figure_1.home_route("r3") == "r3-r2")
    figure_1.pings("cn3", HOME_ADDRESS)
    faults.cut("HA3", "r3")
    assert faults.heal() == ["link HA3-r3 cut"]
    assert "NO-CARRIER" in figure_1.run("HA3", "ip", "link", "show", "HA3-r3").stdout
    faults.unfence("HA3")
    figure_1.wait_settled()


@pytest.mark.parametrize("why", ["prefix-not-delegated", "unknown-issuer"])
@inside
def test_a_rogue_gets_nothing_and_is_told_why(figure_1: Lab, why: str) -> None:
    """Its certificate is for another prefix, or of a stranger's authority.

    With one that its agent can see to be another's it would not even start.
    """
    network, honest = figure_1.network, list(figure_1.home_agents)
    if why == "prefix-not-delegated":
        authority, prefix = network.agents.authority, next(HOME_PREFIX.subnets())
    else:
        authority, prefix = Authority(RUNTIME / "stranger", "stranger"), HOME_PREFIX
    address = IPv6Address("fd00:1:5::5")
    credentials = authority.home_agent("HA5", 5, address, HOME_PREFIX[0x254], prefix)
    begun = time.monotonic_ns()
    network.add_home_agent("HA5", at="br", credentials=credentials)

    def told() -> set[tuple[str, str]]:
        failed = [
            each for each in figure_1.events("HA5", begun) if each["kind"] == "peer-sa-failed"
        ]
        return {(each["peer"], each["detail"]) for each in failed}

    figure_1.wait("all to have refused it", lambda: {(name, why) for name in honest} <= told())
    figure_1.wait("it to give up", lambda: "notice" in figure_1.kinds("HA5", begun))
    assert told() == {(name, why) for name in honest}
    for name in honest:
        assert figure_1.count(name, f"peer-ike.not-authorised.{why}") > 0
        assert "HA5" not in figure_1.agent(name).ask("status")["peers"]
    status = figure_1.agent("HA5").ask("status")
    assert (status["bindings"], status["sas"], status["advertising"]) == (0, 0, False)
    counters = figure_1.counters("HA5")
    assert not any(n.startswith(("received.", "tunnel.")) for n in counters), counters
    # Nor do packets come to it, nearest to the border though it is.
    figure_1.pings("cn1", HOME_ADDRESS)
    assert figure_1.home_route("br") == "br-r1"
    figure_1.agent("HA5").kill()
    network.remove_home_agent("HA5")


@inside
def test_one_that_is_put_out_stays_out(figure_1: Lab) -> None:
    """The operator's word reaches all; `heal` does not bring it back, its name may come again."""
    figure_1.wait_settled()
    network, before = figure_1.network, time.monotonic_ns()
    known = figure_1.spis("HA3")
    begun = network.isolate("HA3")
    assert before <= begun <= time.monotonic_ns()
    for name in ("HA1", "HA2"):
        figure_1.wait("the end", lambda: "isolation-complete" in figure_1.kinds(name, begun))  # noqa: B023
        assert not known & figure_1.spis(name)
        assert "HA3" not in figure_1.agent(name).ask("status")["peers"]
    assert network.faults.heal() == []
    assert network.membership.isolated == {"HA3": begun}
    figure_1.wait("r3 to route by r2", lambda: figure_1.home_route("r3") == "r3-r2")
    figure_1.wait("the mobile node to know", lambda: table(figure_1) == {1, 2})
    figure_1.pings("cn1", HOME_ADDRESS)
    figure_1.pings("cn3", HOME_ADDRESS)
    network.remove_home_agent("HA3")
    network.add_home_agent("HA3")
    figure_1.wait("the mobile node to know it", lambda: table(figure_1) == {1, 2, 3})
    figure_1.wait_settled()
    figure_1.pings("cn3", HOME_ADDRESS)
