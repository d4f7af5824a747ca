"""Figure 1: the mobile node moves between visited networks, deregisters, restarts with new keys."""

import time

import pytest

from tests.figure_1.inside import inside
from tests.figure_1.lab import CARE_OF, CORRESPONDENTS, HOME_ADDRESS, HOME_AGENT_ADDRESS, Lab
from tests.figure_1.tshark import decode
from topologies.faults import FaultError

pytestmark = pytest.mark.emulation


@pytest.mark.parametrize(("origin", "target"), [("v1", "v2"), ("v2", "v1")])
@inside
def test_move_to_another_network(figure_1: Lab, origin: str, target: str) -> None:
    """A new care-of address, one Binding Update for it, and traffic goes on through each HA."""
    figure_1.wait_settled(origin)
    with figure_1.capture("mn", f"mn-{target}") as capture, figure_1.streams() as streams:
        streams.await_running(0)
        moved = figure_1.network.faults.move("mn", target)
        figure_1.wait_settled(target)
        streams.await_running(time.monotonic_ns())
        settled = time.monotonic_ns()
        streams.finish()
        packets = capture.packets()
    assert not any(each.lost(settled) for each in streams.all)
    assert figure_1.agent("mn").ask("status")["care_of_address"] == CARE_OF[target]
    # On the new link: registration first, then payload from every home agent, all at the new CoA.
    protected = [each for each in packets if each.spi is not None]
    assert protected[0].signalling
    assert protected[0].outgoing
    signalling = [each for each in protected if each.signalling]
    updates = decode(figure_1, [each for each in signalling if each.outgoing])
    assert {each.one("ipv6.src") for each in updates} == {CARE_OF[target]}
    assert {each.one("mip6.acoa.acoa") for each in updates} == {CARE_OF[target]}
    assert {each.one("ipv6.opt.mipv6.home_address") for each in updates} == {HOME_ADDRESS}
    (answer, *_) = decode(figure_1, [each for each in signalling if not each.outgoing])
    assert answer.one("ipv6.src") == HOME_AGENT_ADDRESS
    assert answer.one("ipv6.dst") == CARE_OF[target]
    assert answer.one("mip6.ba.status") == "0"
    down = [each for each in protected if not each.outgoing and not each.signalling]
    assert {each.origin for each in down} == {figure_1.address(f"HA{n}") for n in (1, 2, 3)}
    # The same registration goes on: its number rises, the SAs stay.
    journal = figure_1.events("mn", moved - 1_000_000_000)
    assert "registration-ended" not in [each["kind"] for each in journal]
    assert {each.spi for each in protected} <= {each.spi for each in figure_1.own_associations()}


@inside
def test_no_way_to_a_network_that_is_not_there(figure_1: Lab) -> None:
    with pytest.raises(FaultError, match="it can to v1, v2"):
        figure_1.network.faults.move("mn", "v9")


@inside
def test_deregistration_and_return(figure_1: Lab) -> None:
    """After lifetime 0 no HA forwards to the mobile node; a CN is told; then all is as before."""
    figure_1.wait_settled()
    mobile_node = figure_1.agent("mn")
    mobile_node.ask("deregister")
    for name in figure_1.home_agents:
        figure_1.wait(f"{name} to forget", lambda: not figure_1.binding(name))  # noqa: B023
    received = figure_1.count("mn", "tunnel.received")
    for correspondent in CORRESPONDENTS:
        refused = figure_1.ping(correspondent, HOME_ADDRESS, 1).stdout
        assert " 0 received" in refused
        assert "Destination unreachable: Address unreachable" in refused
    assert figure_1.count("mn", "tunnel.received") == received
    mobile_node.ask("register")
    figure_1.wait_settled()
    for correspondent in CORRESPONDENTS:
        figure_1.pings(correspondent, HOME_ADDRESS)


@inside
def test_restart_with_fresh_keys(figure_1: Lab) -> None:
    """A restarted mobile node has new SAs; every HA learns them and forgets the old ones."""
    figure_1.wait_settled()
    old = {each.spi: each.key for each in figure_1.own_associations()}
    with figure_1.capture("mn", "mn-v1") as capture, figure_1.streams() as streams:
        streams.await_running(0)
        killed = figure_1.network.agents.restart_mobile_node("mn")
        streams.await_running(killed)
        settled = time.monotonic_ns()
        packets = capture.packets(settled)
        streams.finish()
    assert not any(each.lost(settled) for each in streams.all)
    new = {each.spi: each.key for each in figure_1.own_associations()}
    assert not set(old) & set(new)
    assert not set(old.values()) & set(new.values())
    figure_1.wait_settled()
    for name in figure_1.home_agents:
        figure_1.wait(f"{name} to hold the new SAs alone", lambda: figure_1.spis(name) == set(new))  # noqa: B023
    for correspondent in CORRESPONDENTS:
        figure_1.pings(correspondent, HOME_ADDRESS)
    assert {each.spi for each in packets if each.spi is not None} <= set(new)
