"""Distance: frames in flight, the lines that shape a link, and what is said of both."""

import random
from ipaddress import IPv6Network

import pytest

from experiments.carrier import both_ends_saw, carrier_lost
from experiments.data import EventName
from experiments.watch import Observation
from topologies import delay
from topologies.delay import DelayLine, DelayLineError, Means, delay_caption, means_of
from topologies.delay_queue import FRAME_COST, DelayQueue
from topologies.figure_1 import figure_1
from topologies.figure_2 import multi_as
from topologies.plan import LinkPlan, Protocol
from topologies.shaping import end_commands, link_commands

MS = 1_000_000


def link(**shape: float) -> LinkPlan:
    return LinkPlan("a", "b", Protocol.OSPF, IPv6Network("fd00:1::/64"), 1, 2, **shape)


# Frames in flight.


def test_each_frame_leaves_after_its_delay_and_in_order() -> None:
    queue = DelayQueue(5 * MS)
    assert queue.due is None
    assert queue.put(b"first", 10 * MS)
    assert not queue.put(b"second", 12 * MS)  # not the next to arrive: nothing to be told
    assert queue.due == 15 * MS
    assert queue.arrived(15 * MS - 1) == []
    assert queue.arrived(15 * MS) == [b"first"]
    assert queue.due == 17 * MS
    assert not queue.put(b"third", 13 * MS)
    assert queue.arrived(100 * MS) == [b"second", b"third"]
    assert queue.put(b"next", 200 * MS)


def lost_of(queue: DelayQueue, count: int) -> list[int]:
    """Which of so many frames the queue loses."""
    for n in range(count):
        queue.put(n.to_bytes(4, "big"), 0)
    left = {int.from_bytes(frame, "big") for frame in queue.arrived(0)}
    return [n for n in range(count) if n not in left]


def test_loss_is_drawn_from_its_seed() -> None:
    first, again, other = (
        lost_of(DelayQueue(0, 0.1, seed), 20_000) for seed in ("7 a-b", "7 a-b", "7 b-a")
    )
    assert first == again
    assert first != other
    assert 1_800 < len(first) < 2_200  # 2,000, and a standard deviation of 42


def test_without_loss_nothing_is_lost() -> None:
    queue = DelayQueue(0)
    assert lost_of(queue, 1000) == []
    assert queue.counts.as_dict() == dict.fromkeys(queue.counts.as_dict(), 0)


def test_what_is_in_flight_is_bounded_and_counted() -> None:
    queue = DelayQueue(MS, limit=3 * (100 + FRAME_COST))
    for n in range(5):
        queue.put(bytes([n]) * 100, 0)
    assert queue.counts.overflowed == 2
    assert [frame[0] for frame in queue.arrived(MS)] == [0, 1, 2]
    assert queue.put(bytes(100), MS)  # room again


def test_a_cut_link_loses_what_is_in_flight() -> None:
    queue = DelayQueue(MS, limit=2 * (10 + FRAME_COST))
    queue.put(bytes(10), 0)
    queue.put(bytes(10), 0)
    queue.clear()
    assert queue.counts.cut == 2
    assert queue.arrived(MS) == []
    assert queue.put(bytes(10), MS)
    assert queue.counts.overflowed == 0


def test_frames_of_random_times_keep_their_order() -> None:
    draw = random.Random(1)
    queue, now, arrived = DelayQueue(3 * MS), 0, []
    for n in range(2000):
        now += draw.randrange(MS)
        queue.put(n.to_bytes(4, "big"), now)
        arrived += queue.arrived(now)
    arrived += queue.arrived(now + 3 * MS)
    assert arrived == [n.to_bytes(4, "big") for n in range(2000)]


# What links are shaped with.


def test_netem_delays_and_loses() -> None:
    assert end_commands("a-b", link(delay_ms=12.5, loss=0.015), netem=True) == [
        "qdisc replace dev a-b root handle 1: netem limit 100000 delay 12.5ms loss 1.5%"
    ]
    assert end_commands("a-b", link(loss=0.25), netem=True) == [
        "qdisc replace dev a-b root handle 1: netem limit 100000 loss 25%"
    ]


def test_netem_under_a_cap_holds_the_queue_and_what_is_in_flight() -> None:
    lines = end_commands("a-b", link(rate_mbit=120.0, delay_ms=10.0), netem=True)
    leaves = [line for line in lines if "netem" in line]
    # 20 ms of queue are 200 packets, 10 ms in flight 100 more.
    assert leaves == [
        f"qdisc replace dev a-b parent 1:{name} handle {name}: netem limit 300 delay 10ms"
        for name in ("10", "20")
    ]


def test_without_netem_only_the_rate_is_left_to_the_kernel() -> None:
    assert end_commands("a-b", link(delay_ms=5.0, loss=0.1), netem=False) == []
    capped = end_commands("a-b", link(rate_mbit=10.0), netem=False)
    assert end_commands("a-b", link(rate_mbit=10.0, delay_ms=5.0), netem=False) == capped
    assert sum("pfifo limit 30" in line for line in capped) == 2
    assert sum(line.startswith("class") and "ceil 10000000bit" in line for line in capped) == 3


def test_routing_has_a_class_of_its_own_on_a_capped_link() -> None:
    lines = end_commands("a-b", link(rate_mbit=10.0), netem=False)
    (rule,) = [line for line in lines if line.startswith("filter")]
    assert rule.endswith("match ip6 priority 0xc0 0xfc flowid 1:20")
    assert any("classid 1:20 htb rate 1000000bit" in line and "prio 0" in line for line in lines)
    assert any("classid 1:10 htb rate 9000000bit" in line and "prio 1" in line for line in lines)
    assert lines[0].endswith("default 10")


def test_plain_links_are_left_alone() -> None:
    plan = figure_1()
    assert [link_commands(plan, name, netem=True) for name in plan.nodes] == [[]] * len(plan.nodes)


# What is said of it.


@pytest.mark.parametrize(("netem", "means"), [(True, Means.NETEM), (False, Means.LINE)])
def test_a_network_says_what_delays_its_packets(
    monkeypatch: pytest.MonkeyPatch, netem: bool, means: Means
) -> None:
    monkeypatch.setattr(delay, "has_netem", lambda: netem)
    assert means_of(multi_as()) is means
    assert means_of(figure_1()) is Means.NONE


def test_captions_say_which_was_used() -> None:
    assert delay_caption("none") == ""
    assert delay_caption("netem") == "links delayed by netem"
    assert delay_caption("delay-line") == "links delayed by a userspace delay line"


def told(time_ns: int, node: str, interface: str, state: str) -> Observation:
    fields = {"node": node, "interface": interface, "state": state}
    return Observation(time_ns, EventName.LINK, fields)


def test_a_cut_is_told_by_both_ends_or_by_one() -> None:
    near = [told(90, "b", "b-a", "down"), told(95, "b", "b-a", "up")]  # an earlier cut
    near += [told(110, "a", "a-b", "down"), told(130, "a", "a-b", "down")]
    near += [told(115, "b", "b-c", "down"), told(118, "b", "b-a", "up")]  # another link; no loss
    assert carrier_lost(near, link(), 100) == {"a": 110}
    assert not both_ends_saw(near, link(), 100)
    both = [*near, told(112, "b", "b-a", "down")]
    assert carrier_lost(both, link(), 100) == {"a": 110, "b": 112}
    assert both_ends_saw(both, link(), 100)


def test_a_link_that_cannot_be_is_refused_in_one_line() -> None:
    line = DelayLine()
    ends = (("one", 900, 1 << 22), ("two", 901, 1 << 22))  # process ids that no node has
    try:
        with pytest.raises(DelayLineError, match="delay line"):
            line.add("one-two", ends, 1.0, 0.0)
    finally:
        line.stop()
