"""Figure 1 with IKEv2 as the source of all keys: registration, renewal, failover, a return."""

import time
from functools import partial
from ipaddress import IPv6Address

import pytest

from agents.wire.ike.message import parse_message
from tests.figure_1.capture import Captured
from tests.figure_1.inside import inside
from tests.figure_1.keys import files_with_keys
from tests.figure_1.lab import Lab
from topologies.network import RUNTIME

pytestmark = [
    pytest.mark.emulation,
    pytest.mark.parametrize("figure_1", ["hardened+ike"], indirect=True),
]


def is_ike(packet: Captured) -> bool:
    """Whether it is an IKE message, or the first fragment of one."""
    parsed = packet.parsed
    if parsed is None or parsed.next_header != 17:
        return False
    if parsed.payload[:4] != b"\x01\xf4\x01\xf4":
        return False
    message = parse_message(parsed.payload[8:])
    return message.fragment is None or message.fragment.number == 1


def messages(packets: list[Captured]) -> list[tuple[bytes, int]]:
    """Return source and exchange type of each IKE message, in order.

    A message that a busy machine had repeated counts once: it is the same, octet for octet (RFC
    7296 §2.1).
    """
    found = dict.fromkeys(
        (each.source, each.parsed.payload[8:]) for each in packets if is_ike(each) and each.parsed
    )
    return [(source, octets[18]) for source, octets in found]


def exchanges(packets: list[Captured]) -> list[int]:
    return [exchange for _, exchange in messages(packets)]


def generations(lab: Lab, *agents: str) -> set[tuple[int, str]]:
    """Return (generation, state) of every SA that the agents hold."""
    found = [each for name in agents for each in lab.agent(name).ask("sas")]
    return {(each["generation"], each["state"]) for each in found}


def wait_renewed(lab: Lab, *agents: str) -> int:
    """Wait until the home agents hold one generation, all of it mature; return its number."""
    lab.wait("one generation", lambda: len(generations(lab, *agents)) == 1)
    ((generation, state),) = generations(lab, *agents)
    assert state == "mature"
    return generation


@inside
def test_registers_from_nothing(figure_1: Lab) -> None:
    figure_1.wait_settled()
    packets = figure_1.registration
    assert exchanges(packets)[:6] == [34, 34, 35, 35, 36, 36]
    first_update = next(each for each in packets if each.signalling)
    assert max(each.time_ns for each in packets if is_ike(each)) < first_update.time_ns
    assert wait_renewed(figure_1, "HA1", "HA2", "HA3") == 1
    kinds = figure_1.kinds("HA2")
    assert kinds.count("sa-learnt") == 4
    assert "ike-established" not in kinds


@inside
def test_renewal_loses_nothing(figure_1: Lab) -> None:
    """1 kHz each way through each home agent, before, during and after."""
    figure_1.wait_settled()
    before = wait_renewed(figure_1, "HA1", "HA2", "HA3")
    with figure_1.capture("mn", "mn-v1") as capture, figure_1.streams() as streams:
        streams.await_running(0)
        began = time.monotonic_ns()
        figure_1.agent("HA1").ask("renew", home_address=figure_1.address("mn"))
        figure_1.wait("the end", lambda: "sa-deleted" in figure_1.kinds("HA1", began))
        streams.await_running(time.monotonic_ns())
        streams.finish()
        packets = capture.packets(began)
    assert {each.name: each.lost() for each in streams.all if each.lost()} == {}
    assert wait_renewed(figure_1, "HA1", "HA2", "HA3") == before + 1
    assert exchanges(packets) == [36] * 4 + [37] * 4
    for name in ("HA1", "HA2", "HA3", "mn"):
        assert not figure_1.count(name, "dropped.internal-error")


@inside
def test_failover_without_ike_then_renewal_by_the_new_primary(figure_1: Lab) -> None:
    """I8; then HA2's own IKE_SA_INIT, since HA1's IKE SA died with it (rule 8)."""
    figure_1.wait_settled()
    before = wait_renewed(figure_1, "HA1", "HA2", "HA3")
    with figure_1.capture("mn", "mn-v1") as capture, figure_1.streams() as streams:
        streams.await_running(0)
        broken = figure_1.agent("HA1").kill()
        streams.await_running(broken)
        figure_1.wait("HA2 primary", lambda: figure_1.binding("HA2").get("primary") == "HA2")
        took_over = time.monotonic_ns()
        figure_1.agent("HA2").ask("renew", home_address=figure_1.address("mn"))
        figure_1.wait("the renewal", lambda: "sa-renewed" in figure_1.kinds("HA2", took_over))
        streams.await_running(time.monotonic_ns())
        streams.finish()
        packets = [each for each in capture.packets(broken) if is_ike(each)]
    assert [each for each in packets if each.time_ns < took_over] == []
    assert exchanges(packets)[:6] == [34, 34, 35, 35, 36, 36]
    assert {each.name: n for each in streams.all if (n := each.lost(took_over))} == {}
    figure_1.agent("HA1").start()
    figure_1.wait("HA1 to advertise", partial(figure_1.has_own_home_route, "HA1"))
    figure_1.wait_settled()
    assert wait_renewed(figure_1, "HA1", "HA2", "HA3") == before + 1
    for correspondent in ("cn1", "cn2", "cn3"):
        figure_1.pings(correspondent, figure_1.address("mn"))


@inside
def test_a_restarted_mobile_node_needs_no_fresh_certificate(figure_1: Lab) -> None:
    figure_1.wait_settled()
    before = wait_renewed(figure_1, "HA1", "HA2", "HA3")
    figure_1.network.agents.restart_mobile_node("mn")
    figure_1.agent("mn").wait("bound", lambda status: bool(status["bound"]), 30)
    figure_1.wait_settled()
    assert wait_renewed(figure_1, "HA1", "HA2", "HA3") == before + 1
    for correspondent in ("cn1", "cn2", "cn3"):
        figure_1.pings(correspondent, figure_1.address("mn"))


def ike_between(packets: list[Captured], one: str, other: str) -> list[tuple[str, int]]:
    """Return who of two home agents sent which IKE exchange type, in order."""
    ends = {IPv6Address(one).packed: one, IPv6Address(other).packed: other}
    between = [each for each in packets if {each.source, each.destination} == set(ends)]
    return [(ends[source], exchange) for source, exchange in messages(between)]


def with_mobile_node(lab: Lab, *agents: str) -> int:
    """Return how many IKE messages were protected by these agents, as `make failover` counts."""
    counters = [lab.counters(name) for name in agents]
    return sum(
        count for each in counters for name, count in each.items() if name.startswith("ike.sent.")
    )


@inside
def test_home_agents_agree_by_ike(figure_1: Lab) -> None:
    figure_1.wait_settled()
    for name, home_agent in figure_1.home_agents.items():
        others = {each for each in figure_1.home_agents if each != name}
        configuration = home_agent.configuration.read_text()
        assert configuration.count('key_file = "."') == len(others)
        assert f'chain = "{RUNTIME}/keys/authority/{name}.pem"' in configuration
        made = [each for each in figure_1.events(name) if each["kind"] == "peer-sa-made"]
        assert {each["peer"] for each in made} == others
        counters = figure_1.counters(name)
        answered = ("peer-ike.received.ike-auth-request", "peer-ike.received.ike-auth-response")
        assert sum(counters.get(each, 0) for each in answered) >= 2
        assert not counters.get("dropped.internal-error", 0)
        assert "peer-sa-failed" not in figure_1.kinds(name, made[-1]["t"])


@inside
def test_no_private_key_is_in_what_a_run_leaves_behind(figure_1: Lab) -> None:
    """I7: those of three home agents and the mobile node, and no certificate authority's."""
    keys = figure_1.keys()
    assert len(keys) == len(figure_1.home_agents) + 1
    assert not files_with_keys(figure_1.logs, keys)


@inside
def test_a_home_agent_restarts_and_rejoins_by_ike(figure_1: Lab) -> None:
    """I8 for the mobile node; what home agents say is caused by the return, not by the failover."""
    figure_1.wait_settled()
    own, other = figure_1.address("HA1"), figure_1.address("HA2")
    before = with_mobile_node(figure_1, "HA2", "HA3", "mn")
    spis = {each["inbound_spi"] for each in figure_1.events("HA2") if "inbound_spi" in each}
    with figure_1.capture("HA2", "HA2-r2") as capture, figure_1.streams() as streams:
        streams.await_running(0)
        broken = figure_1.agent("HA1").kill()
        streams.await_running(broken)
        taken_over = time.monotonic_ns()
        figure_1.agent("HA1").start()
        figure_1.wait("HA1 to advertise", partial(figure_1.has_own_home_route, "HA1"))
        figure_1.wait_settled()
        streams.await_running(time.monotonic_ns())
        streams.finish()
        packets = capture.packets(broken)
    assert ike_between([each for each in packets if each.time_ns < taken_over], own, other) == []
    assert ike_between(packets, own, other)[:4] == [(own, 34), (other, 34), (own, 35), (other, 35)]
    assert with_mobile_node(figure_1, "HA2", "HA3", "mn") == before
    assert with_mobile_node(figure_1, "HA1") == 0
    kinds = figure_1.kinds("HA1", taken_over)
    assert kinds.index("peer-sa-made") < kinds.index("table-received")
    assert kinds.index("table-received") < kinds.index("advertise-prefix")
    made = [e for e in figure_1.events("HA2", taken_over) if e["kind"] == "peer-sa-made"]
    assert [(each["peer"], each["began_here"]) for each in made] == [("HA1", False)]
    assert made[0]["inbound_spi"] not in spis
    assert figure_1.counters("HA1")["peer-ike.sent.ike-auth-request"] == 2
    for correspondent in ("cn1", "cn2", "cn3"):
        figure_1.pings(correspondent, figure_1.address("mn"))


@inside
def test_a_home_agent_is_put_out_and_let_in_again(figure_1: Lab) -> None:
    """Rule 13, by verbs of the control socket: no SA that it knew is left; then another life."""
    figure_1.wait_settled()
    others, before = ("HA1", "HA2"), figure_1.spis("HA3")
    began = time.monotonic_ns()
    for name in others:
        assert figure_1.agent(name).ask("isolate", name="HA3")
    for name in others:
        figure_1.wait("the end", lambda: "isolation-complete" in figure_1.kinds(name, began))  # noqa: B023
        assert not before & figure_1.spis(name)
        assert "HA3" not in figure_1.agent(name).ask("status")["peers"]
    figure_1.wait("fresh SAs", lambda: figure_1.spis("HA1") == figure_1.spis("HA2"))
    for correspondent in ("cn1", "cn2"):
        figure_1.pings(correspondent, figure_1.address("mn"))
    figure_1.agent("HA3").kill()
    for name in others:
        agent = figure_1.agent(name)
        agent.ask("readmit", index=3)
        agent.ask("add-peer", name="HA3", index=3, address=figure_1.address("HA3"))
    figure_1.agent("HA3").start()
    figure_1.wait_settled()
    wait_renewed(figure_1, "HA1", "HA2", "HA3")
    for correspondent in ("cn1", "cn2", "cn3"):
        figure_1.pings(correspondent, figure_1.address("mn"))
    for name in ("HA1", "HA2", "HA3", "mn"):
        assert not figure_1.count(name, "dropped.internal-error")
