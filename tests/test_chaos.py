"""Chaos on Figure 1: random fault schedules, and the invariants judged from what was recorded.

A schedule follows from its seed, which names the test: `-k 17` replays the one that failed, and
`CHAOS_SEED=1017` runs that one instead of the two that `make test` has.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from agents.core.binding_cache import newer_sequence
from tests.figure_1 import chaos, histories
from tests.figure_1.capture import Capture, Captured
from tests.figure_1.inside import inside
from tests.figure_1.keys import files_with_keys
from tests.figure_1.lab import CARE_OF, HOME_ADDRESS, Lab
from tests.figure_1.replays import replay
from tests.figure_1.streams import Streams
from topologies import addressing

pytestmark = pytest.mark.emulation

FIXED = [int(each) for each in os.environ.get("CHAOS_SEED", "1 2").split()]
MANY = range(1000, 1050)
BOUND = 3.0
"""Seconds after which I3 holds, once all home agents are in step with their peers again."""

FLOORS = 0.3
"""Seconds for the last replay floors to arrive (rule 5: sent within 100 ms)."""

HOME = addressing.home_address().packed


@pytest.mark.parametrize("seed", FIXED)
@inside
def test_chaos(figure_1: Lab, seed: int) -> None:
    run(figure_1, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", MANY)
@inside
def test_much_chaos(figure_1: Lab, seed: int) -> None:
    run(figure_1, seed)


def run(lab: Lab, seed: int) -> None:
    """Play the schedule of a seed and judge it; says seed and schedule when that fails."""
    steps = chaos.schedule(seed)
    doing = chaos.Doing(lab)
    try:
        _run(lab, doing, steps)
    except BaseException as error:
        told = "\n".join(doing.log)
        raise AssertionError(f"seed {seed}: {error}\n{told}\nreplay: CHAOS_SEED={seed}") from error
    finally:
        doing.unfilter()
        doing.close()


def _run(lab: Lab, doing: chaos.Doing, steps: list[chaos.Step]) -> None:
    if lab.agent("mn").ask("status")["care_of_address"] != CARE_OF["v1"]:
        lab.network.faults.move("mn", "v1")
    lab.wait_settled()
    doing.learn_keys()
    began = time.monotonic_ns()
    with captures(lab) as on_links, lab.streams() as streams:
        streams.await_running(0)
        chaos.play(doing, steps, lambda: drain(on_links))
        before = {name: known_at(lab, name, began, doing) for name in lab.home_agents}
        check_agreement(lab, before)
        streams.await_running(time.monotonic_ns(), seconds=60.0)
        settled = time.monotonic_ns()
        streams.finish()
        drain(on_links)
        packets = [each for link in on_links for each in link.packets(began)]
        check_replays(lab, packets, streams)
    check_links(packets, doing.spis)
    check_journals(lab, began, settled, doing)
    egress = lab.__dict__.setdefault("egress", histories.Egress())
    assert egress.check(lab.logs) > 1000
    assert not files_with_keys(lab.logs, doing.keys), "I7"


@contextmanager
def captures(lab: Lab) -> Iterator[list[Capture]]:
    """Capture on both of the mobile node's links."""
    with ExitStack() as stack:
        node = lab.node("mn")
        yield [stack.enter_context(Capture(node, f"mn-{v}", 16384)) for v in CARE_OF]


def drain(links: list[Capture]) -> None:
    """Take what was captured out of the rings, before they are full."""
    for link in links:
        link.packets(1 << 63)


def known_at(lab: Lab, name: str, began: int, doing: chaos.Doing) -> int | None:
    """Return the newest number that a home agent which lives has acknowledged."""
    since = max([began, *keyed(lab, began)])
    return histories.known(histories.read(lab.agent(name).events), since)


def keyed(lab: Lab, began: int) -> list[int]:
    """Return when the mobile node's agent was started: with new keys."""
    return [each["t"] for each in lab.events("mn", began) if each["kind"] == "agent-started"]


def check_agreement(lab: Lab, before: dict[str, int | None]) -> None:
    """I3 and I4: one primary, one binding, as new as what any living home agent knew."""
    for agent in lab.home_agents.values():
        agent.wait("advertising", lambda s: bool(s["advertising"]), 60)
        agent.wait("in step", lambda s: set(s["peers"].values()) == {"up"}, 60)
    lab.agent("mn").wait("bound", lambda s: s["state"] == "bound", 60)
    care_of = lab.agent("mn").ask("status")["care_of_address"]

    def agreed() -> bool:
        held = [lab.binding(name) for name in lab.home_agents]
        return len({each.get("primary") for each in held}) == 1 and all(
            each.get("care_of_address") == care_of for each in held
        )

    lab.wait("I3, I4: one primary, one care-of address", agreed, BOUND)
    for name in lab.home_agents:
        held = lab.binding(name)
        for other, number in before.items():
            stale = number is not None and newer_sequence(number, held["sequence"])
            assert not stale, f"I4: {name} holds {held}, {other} acknowledged {number}"


def check_links(packets: list[Captured], spis: set[int]) -> None:
    """I6: nothing of the home address in the clear; I8: no SA but those of the key files."""
    protected = [each for each in packets if each.spi is not None]
    assert len(protected) > 100
    clear = [each for each in packets if HOME in (each.source, each.destination)]
    assert not clear, f"I6: {clear[:3]}"
    inside_others = [
        each for each in packets if each.spi is None and HOME in each.octets and not bounced(each)
    ]
    assert not inside_others, f"I6: {inside_others[:3]}"
    assert {each.spi for each in protected} <= spis, "I8: an SA of no key file"


def bounced(packet: Captured) -> bool:
    """An ICMPv6 error quotes what it is about, Home Address option or routing header included."""
    return packet.parsed is not None and packet.parsed.next_header == 58


def check_journals(lab: Lab, began: int, settled: int, doing: chaos.Doing) -> None:
    """I2 for Binding Updates, I5, I8; and nobody is accused, since nobody lies (rule 13)."""
    journals = {name: lab.events(name, began) for name in lab.home_agents}
    accused = [e for events in journals.values() for e in events if e["kind"] == "misconduct"]
    assert not accused, f"rule 13: {accused}"
    starts = keyed(lab, began)
    for name, events in journals.items():
        histories.check_versions(name, events, starts)
    for since in [began, *starts]:
        until = min([each for each in starts if each > since], default=1 << 63)
        part = {n: [e for e in es if e["t"] < until] for n, es in journals.items()}
        histories.check_updates_taken_once(part, since)
    histories.check_registrations_explained(lab.events("mn"), began)


def check_replays(lab: Lab, packets: list[Captured], streams: Streams) -> None:
    """I2: all that was seen is repeated once the floors have travelled: nothing is taken again.

    What was lost the first time is fresh, and may be taken: within the window ESP asks no more. A
    Binding Update is not: others came after it.
    """
    time.sleep(FLOORS)  # the bound of rule 5, and a way to the peers
    repeated = time.monotonic_ns()
    count = replay(lab, packets, "t1")
    assert count > 100
    lab.pings("cn2", HOME_ADDRESS, 1)  # behind the replays, and answered: all of them arrived
    taken = {each.name: len(each.repeated) for each in streams.all if each.repeated}
    assert not taken, f"I2: taken twice: {taken}"
    for name in lab.home_agents:
        accepted = [e for e in lab.events(name, repeated) if e["kind"] == "binding-accepted"]
        assert not accepted, f"I2: {name} accepted {accepted}"
