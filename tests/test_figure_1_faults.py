"""Figure 1 with one fault at a time: traffic goes on through the next home agent, and comes back.

One network for all; each test leaves it as it was, and says so by `wait_settled` of the next.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.figure_1.capture import Captured
from tests.figure_1.inside import inside
from tests.figure_1.keys import files_with_keys
from tests.figure_1.lab import HOME_ADDRESS, Lab
from tests.figure_1.streams import Stream

pytestmark = pytest.mark.emulation

IKE_PORTS = (500, 4500)
ROW = 20
"""Packets in a row after which a stream is said to run, all of them by the path in use."""


@dataclass(frozen=True)
class Fault:
    """A fault of a home agent: how it is made (returns when), and how it is repaired.

    `noticed`: what the agent itself or its watchdog writes; `left`: the end of its service.
    """

    inject: Callable[[Lab, str], int]
    repair: Callable[[Lab, str], Any]
    left: str
    noticed: bool = True


def kill(lab: Lab, victim: str) -> int:
    return lab.agent(victim).kill()


def start(lab: Lab, victim: str) -> None:
    lab.agent(victim).start()


def restart(lab: Lab, victim: str) -> int:
    moment = kill(lab, victim)
    start(lab, victim)
    return moment


def hang(lab: Lab, victim: str) -> int:
    return lab.agent(victim).hang()


def resume(lab: Lab, victim: str) -> int:
    return lab.agent(victim).resume()


def silence(lab: Lab, victim: str) -> int:
    return lab.network.faults.silence(victim)


def cut(lab: Lab, victim: str) -> int:
    return lab.network.faults.cut(router_of(victim), victim)


def heal(lab: Lab, _victim: str) -> None:
    lab.network.faults.heal()


def nothing(_lab: Lab, _victim: str) -> None:
    """It repairs itself."""


FAULTS = {
    "agent-kill": Fault(kill, start, "agent-started", noticed=False),
    "agent-hang": Fault(hang, resume, "watchdog-trip"),
    "agent-restart": Fault(restart, nothing, "agent-started"),
    "node-silent": Fault(silence, heal, "withdraw-prefix"),
    "link-cut": Fault(cut, heal, "withdraw-prefix"),
}


@pytest.mark.parametrize("name", FAULTS)
@inside
def test_failover(figure_1: Lab, name: str) -> None:
    """HA1, nearest and primary, fails: HA2 carries on with the same SA, until HA1 is back."""
    fault, survivors = FAULTS[name], ("HA2", "HA3")
    figure_1.wait_settled()
    spis = {each.spi for each in figure_1.own_associations()}
    with figure_1.capture("mn", "mn-v1") as capture, figure_1.streams() as streams:
        streams.await_running(0)
        before = signalling(figure_1, *survivors, "mn")
        began = time.monotonic_ns()
        broken = fault.inject(figure_1, "HA1")
        streams.await_running(broken, count=ROW)
        recovered = time.monotonic_ns()
        assert signalling(figure_1, *survivors, "mn") == before
        repair_and_return(figure_1, "HA1", fault, began)
        back = time.monotonic_ns()
        streams.await_running(back)
        unharmed = [streams.between(cn, "mn") for cn in ("cn2", "cn3")]
        streams.finish()
        seen = capture.packets(began)
    # What went through home agents that did not fail was not touched, and all is well again.
    check_nothing_lost(unharmed)
    check_nothing_lost(streams.all, back)
    # I8: no registration, no new SA, no IKE, from the fault to the return.
    check_no_signalling(seen, spis)
    # HA1's packets come from its successors while it is away, and from itself in the end.
    addresses = {figure_1.address(f"HA{n}") for n in (1, 2, 3)}
    assert origins(seen, back) == addresses
    if fault.repair is not nothing:
        rest = addresses - {figure_1.address("HA1")}
        assert latest_origins(seen, recovered, streams=3) == rest
    check_resynchronised_first(figure_1, "HA1", fault, began)


@pytest.mark.parametrize("name", ["agent-kill", "link-cut"])
@inside
def test_failure_of_another_home_agent(figure_1: Lab, name: str) -> None:
    """HA2 fails: only what correspondents near it send is interrupted."""
    fault = FAULTS[name]
    figure_1.wait_settled()
    spis = {each.spi for each in figure_1.own_associations()}
    with figure_1.capture("mn", "mn-v1") as capture, figure_1.streams() as streams:
        streams.await_running(0)
        began = time.monotonic_ns()
        broken = fault.inject(figure_1, "HA2")
        streams.await_running(broken)
        repair_and_return(figure_1, "HA2", fault, began)
        back = time.monotonic_ns()
        streams.await_running(back)
        streams.finish()
        seen = capture.packets(began)
    check_nothing_lost([each for each in streams.all if each.sender != "cn2"])
    check_nothing_lost(streams.all, back)
    check_no_signalling(seen, spis)
    check_resynchronised_first(figure_1, "HA2", fault, began)


def router_of(home_agent: str) -> str:
    return home_agent.replace("HA", "r")


def repair_and_return(lab: Lab, victim: str, fault: Fault, began_ns: int) -> None:
    """Repair once everybody has noticed; wait until the home agent draws traffic again."""
    router, way = router_of(victim), f"{router_of(victim)}-{victim}"
    if fault.repair is not nothing:
        lab.wait(f"{router} to leave {victim}", lambda: lab.home_route(router) != way)
    if fault.noticed:
        lab.wait(f"{fault.left} of {victim}", lambda: fault.left in lab.kinds(victim, began_ns))
    fault.repair(lab, victim)
    lab.wait(
        f"{victim} to advertise again",
        lambda: "advertise-prefix" in after(fault.left, lab.kinds(victim, began_ns)),
    )
    lab.wait(f"{router} to return to {victim}", lambda: lab.home_route(router) == way)
    lab.wait("br to return to HA1", lambda: lab.home_route("br") == "br-r1")


def after(kind: str, kinds: list[str]) -> list[str]:
    """Return what follows the first of a kind; nothing where there is none."""
    return kinds[kinds.index(kind) + 1 :] if kind in kinds else []


def origins(packets: list[Captured], since_ns: int, until_ns: int = 1 << 63) -> set[str]:
    """Return who sent to the mobile node in that time."""
    return {each.origin for each in packets if each.origin and since_ns <= each.time_ns < until_ns}


def latest_origins(packets: list[Captured], until_ns: int, streams: int) -> set[str]:
    """Return who sent the last packets to the mobile node by then, half a row of each stream.

    By their number and not by time: whoever waits for a row may be told of it late.
    """
    sent = [each.origin for each in packets if each.origin and each.time_ns < until_ns]
    return set(sent[-streams * ROW // 2 :])


def check_nothing_lost(streams: list[Stream], since_ns: int = 0) -> None:
    lost = {each.name: each.lost(since_ns) for each in streams}
    assert not any(lost.values()), lost


def signalling(lab: Lab, *agents: str) -> dict[str, int]:
    """Count what a failover must not cause."""
    names = ("sent.BindingUpdate", "sent.SaInformation", "sent.ike")
    return {
        f"{agent} {counter}": count
        for agent in agents
        for counter, count in lab.counters(agent).items()
        if counter.startswith(names)
    }


def check_no_signalling(packets: list[Captured], spis: set[int]) -> None:
    """I8, from a capture of the mobile node's link."""
    protected = [each for each in packets if each.spi is not None]
    assert len(protected) > 100
    assert not [each for each in protected if each.signalling]
    assert {each.spi for each in protected} <= spis
    udp = [each.parsed for each in packets if each.parsed and each.parsed.next_header == 17]
    ports = {int.from_bytes(each.payload[at : at + 2]) for each in udp for at in (0, 2)}
    assert not ports & set(IKE_PORTS)


def check_resynchronised_first(lab: Lab, victim: str, fault: Fault, since_ns: int) -> None:
    """The journal of who failed: the table of a peer, and only then the home route."""
    kinds = after(fault.left, lab.kinds(victim, since_ns))
    assert "table-received" in kinds, kinds
    assert kinds.index("table-received") < kinds.index("advertise-prefix"), kinds


# Every process of a home agent's agent, killed in turn.


@inside
def test_death_of_any_process_takes_the_route(figure_1: Lab) -> None:
    figure_1.wait_settled()
    agent = figure_1.agent("HA2")
    roles = range(len(family(agent.process.pid)))
    assert len(roles) == 2  # the agent and its watchdog
    for role in roles:
        members = family(agent.process.pid)
        assert figure_1.has_own_home_route("HA2")
        os.kill(members[role], signal.SIGKILL)
        figure_1.wait("the route to go", lambda: not figure_1.has_own_home_route("HA2"))
        figure_1.wait("the rest to go", lambda: not any(map(alive, members)))  # noqa: B023
        figure_1.wait("r2 to leave HA2", lambda: figure_1.home_route("r2") not in (None, "r2-HA2"))
        figure_1.pings("cn2", HOME_ADDRESS)
        agent.start()
        figure_1.wait("r2 to return", lambda: figure_1.home_route("r2") == "r2-HA2")
        figure_1.pings("cn2", HOME_ADDRESS)


@inside
def test_killed_while_stopped_leaves_no_route(figure_1: Lab) -> None:
    """A hung agent's watchdog has taken the route; nothing puts it back when both are killed."""
    figure_1.wait_settled()
    agent = figure_1.agent("HA2")
    members = family(agent.process.pid)
    agent.hang()
    figure_1.wait("the route to go", lambda: not figure_1.has_own_home_route("HA2"))
    agent.kill()
    figure_1.wait("the rest to go", lambda: not any(map(alive, members)))
    assert not figure_1.has_own_home_route("HA2")
    figure_1.pings("cn2", HOME_ADDRESS)
    agent.start()
    figure_1.wait("r2 to return", lambda: figure_1.home_route("r2") == "r2-HA2")


def family(process: int) -> list[int]:
    """Return a process and all its descendants."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(each for child in children for each in family(int(child)))]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@inside
def test_no_key_in_the_logs_after_all_that(figure_1: Lab) -> None:
    """I7, with crashes and restarts behind it."""
    assert not files_with_keys(figure_1.logs, figure_1.keys())
