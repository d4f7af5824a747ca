"""Distance on a real kernel, as an ordinary user: delay, loss, rate, carrier; frames as they were.

What is timed is tried until it is right once: others use this machine too.
"""

import contextlib
import hashlib
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from experiments.carrier import both_ends_saw, carrier_lost
from experiments.data import EventName
from experiments.testbed import watch_delay_line
from experiments.watch import Observation
from tests.distance.lab import CAP_MBIT, FAR_MS, LOSS, NEAR_MS, Lab
from tests.distance.traffic import (
    CHECKSUM_NOT_READY,
    ETHERTYPE,
    Load,
    checksum_holds,
    routing_protocol,
    sniffer,
)
from tests.figure_1.inside import inside
from topologies.delay import DelayLineError, Means
from topologies.delay_bench import NAMES, PORT, Pair, await_link, joined
from topologies.namespaces import call_in
from topologies.plan import LinkPlan, Protocol
from topologies.shaping import end_commands, rate_commands

pytestmark = pytest.mark.emulation

PATIENCE_SECONDS = 30.0
"""For which a busy machine may go without one calm window. An idle one needs the first."""
ACCURATE_MS = 0.2
CEILING = 20_000
"""Packets a second up to which a delay is held to be accurate; a line passes many more."""

TOLD_MS = 500.0
"""A carrier that is not told at once is told after up to 1 s."""


def window(pair: Pair, delay_ms: float, rate: float) -> tuple[float, float]:
    """Return what a link adds to its delay for a moment, in ms: median and p95."""
    count = 40 if rate < 10_000 else 400
    delays = sorted(pair.one_way(count, rate))
    assert len(delays) == count
    assert delays[0] > delay_ms - 0.05  # never early, however busy the machine
    return (delays[count // 2] - delay_ms, delays[count * 95 // 100] - delay_ms)


def is_accurate(far: tuple[float, float], near: tuple[float, float]) -> bool:
    """Judge a link's window; one of the line alone, just before, tells how busy the machine is."""
    if near[1] < ACCURATE_MS:
        return max(map(abs, far)) < ACCURATE_MS
    return all(abs(one - other) < ACCURATE_MS for one, other in zip(far, near, strict=True))


# Delay.


@inside
def test_the_network_says_what_delays(distance: Lab) -> None:
    assert distance.network.delay is Means.LINE
    distance.network.check_alive()


@inside
@pytest.mark.parametrize("rate", [1000, CEILING])
def test_one_way_delay_is_accurate(distance: Lab, rate: int) -> None:
    for pair in (distance.pair("x", "y"), distance.pair("y", "x")):
        deadline, seen = time.monotonic() + PATIENCE_SECONDS, []
        while not seen or not is_accurate(*seen[-1]):
            assert time.monotonic() < deadline, seen
            near = window(distance.pair("x", "z"), NEAR_MS, rate)
            seen.append((window(pair, FAR_MS, rate), near))


@inside
def test_the_ceiling_is_beyond_what_is_claimed(distance: Lab) -> None:
    """Reckoned by the processor time that the line takes, whoever else wants it."""
    line, pair = distance.network.topo.delay_line, distance.pair("x", "z")
    clock = Path(f"/proc/{line.pid}/schedstat")  # its first number: ns on a processor
    before, begin = line.counters()["x-z"]["passed"], int(clock.read_text().split()[0])
    pair.flood(1400, 0.3)
    passed = line.counters()["x-z"]["passed"] - before
    seconds = (int(clock.read_text().split()[0]) - begin) / 1e9
    assert passed > 500
    assert passed / seconds > 2 * CEILING


# Frames.


@inside
def test_frames_of_all_sizes_arrive_whole_and_in_order(distance: Lab) -> None:
    nodes, draw = distance.network.nodes, random.Random(3)
    addresses = b"\x02\0\0\0\0\2" + b"\x02\0\0\0\0\1"
    with (
        sniffer(nodes["x"].pid, "x-y", ETHERTYPE) as sender,
        sniffer(nodes["y"].pid, "y-x", ETHERTYPE) as receiver,
    ):
        sizes = [*range(60, 1515), *(draw.randrange(60, 1515) for _ in range(545))]
        for begin in range(0, len(sizes), 200):  # as many in flight at a time
            frames = [
                addresses + ETHERTYPE.to_bytes(2, "big") + draw.randbytes(size - 14)
                for size in sizes[begin : begin + 200]
            ]
            for frame in frames:
                sender.send(frame)
            assert [receiver.recv(2000) for _ in frames] == frames


@inside
def test_checksums_are_right_or_said_to_be_left_to_the_end(distance: Lab) -> None:
    pair, pid = distance.pair("x", "y"), distance.network.nodes["y"].pid
    with pair.open() as (sender, receiver), sniffer(pid, "y-x", 0x86DD) as seen:
        for size in range(0, 1452, 11):
            pair.send(sender, random.Random(size).randbytes(size))
            assert len(receiver.recv(2000)) == size
            while True:  # routing's own packets are seen too
                data, ancillary, _, _ = seen.recvmsg(2000, socket.CMSG_SPACE(20))
                if data[20] == 17 and data[56:58] == PORT.to_bytes(2, "big"):
                    break
            (status,) = struct.unpack_from("=I", ancillary[0][2])
            assert status & CHECKSUM_NOT_READY or checksum_holds(data[14:]), size


@inside
def test_tcp_arrives_as_it_was_sent_over_two_links(distance: Lab) -> None:
    """From y by x to z: merged segments cross one link, are forwarded, and cross the next."""
    content = random.Random(4).randbytes(4 << 20)
    z = distance.pair("x", "z").target
    y = distance.pair("x", "y").target
    there = (z.address, PORT)
    listener = call_in(z.pid, lambda: socket.create_server(there, family=socket.AF_INET6))
    sender = call_in(y.pid, lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
    nodes = distance.network.nodes
    by_x = distance.pair("y", "x").target.address
    nodes["y"].run(["ip", "-6", "route", "add", z.address, "via", by_x], check=True)
    before = distance.network.topo.delay_line.counters()
    with listener, sender:
        sender.connect(there)
        receiver, _ = listener.accept()
        thread = threading.Thread(target=lambda: (sender.sendall(content), sender.close()))
        thread.start()
        with receiver:
            received = b"".join(iter(lambda: receiver.recv(1 << 18), b""))
        thread.join()
    nodes["y"].run(["ip", "-6", "route", "del", z.address, "via", by_x], check=True)
    assert hashlib.sha256(received).digest() == hashlib.sha256(content).digest()
    after = distance.network.topo.delay_line.counters()
    for interface in ("y-x", "x-z"):
        frames = after[interface]["passed"] - before[interface]["passed"]
        assert frames < len(content) / 1500, f"{interface}: not one merged segment"


# Loss and rate.


@inside
def test_loss_is_the_fraction_asked_for_each_way(distance: Lab) -> None:
    for pair in (distance.pair("w", "x"), distance.pair("x", "w")):
        delays = pair.one_way(2000, 10_000)
        assert LOSS - 0.05 < 1 - len(delays) / 2000 < LOSS + 0.05  # 5.6 standard deviations


@inside
def test_a_cap_holds(distance: Lab) -> None:
    line, pair = distance.network.topo.delay_line, distance.pair("t", "x")
    size = 1400
    loaded = Load([pair], size, 5 * CAP_MBIT)
    before, begin = line.counters()["t-x"]["passed"], time.monotonic()
    time.sleep(1.0)  # the rate is a number of packets in a time
    passed, seconds = line.counters()["t-x"]["passed"] - before, time.monotonic() - begin
    loaded.end()
    mbit = passed * (size + 14) * 8 / seconds / 1e6
    assert 0.6 * CAP_MBIT < mbit < 1.2 * CAP_MBIT


@inside
def test_routing_sends_with_traffic_class_cs6(distance: Lab) -> None:
    found: dict[str, set[int]] = {}
    for node, interface, wanted in (("y", "y-z", {"OSPFv3", "BFD"}), ("t", "t-x", {"BGP", "BFD"})):
        with sniffer(distance.network.nodes[node].pid, interface, 0x86DD) as seen:
            here: set[str] = set()
            while here != wanted:  # or the socket's own deadline passes
                frame = seen.recv(2000)
                if protocol := routing_protocol(frame):
                    here.add(protocol)
                    traffic_class = int.from_bytes(frame[14:16], "big") >> 4 & 0xFF
                    found.setdefault(protocol, set()).add(traffic_class)
    assert found == {"OSPFv3": {0xC0}, "BFD": {0xC0}, "BGP": {0xC0}}


def lost_session(distance: Lab, seconds: float, **where: str) -> Observation | None:
    """Await a BFD session that goes down; None if there is none for so long."""
    return distance.watcher.wait_for(
        EventName.BFD, time.monotonic_ns(), seconds, outgoing=True, state="Down", **where
    )


def keeps_its_sessions(distance: Lab, seconds: float) -> bool:
    """Whether no BFD session is down for so long; a very busy machine may lose one by itself."""
    return any(lost_session(distance, seconds) is None for _ in range(4))


def capped(distance: Lab) -> list[Pair]:
    return [distance.pair(a, b) for a, b in (("y", "z"), ("z", "y"), ("t", "x"), ("x", "t"))]


@inside
def test_routing_passes_full_tcp(distance: Lab) -> None:
    flows = [threading.Thread(target=pair.tcp, args=(2.0,)) for pair in capped(distance)]
    for flow in flows:
        flow.start()
    assert keeps_its_sessions(distance, 1.5)
    for flow in flows:
        flow.join()


@inside
def test_routing_passes_a_full_queue_and_would_not_without_its_class(distance: Lab) -> None:
    """BFD, OSPFv3 and BGP send with CS6; a session is lost once the filter is gone."""
    nodes, ends = distance.network.nodes, (("y", "y-z"), ("z", "z-y"))
    loaded = Load(capped(distance), 1400, 5 * CAP_MBIT)
    try:
        assert keeps_its_sessions(distance, 3.0)
        for node, interface in (("y", "y-z"), ("t", "t-x")):
            said = nodes[node].run(["tc", "-s", "qdisc", "show", "dev", interface]).stdout
            data, routing = (part.split("dropped ")[1] for part in said.split("pfifo")[1:])
            assert int(data.split(",")[0]) > 100, said  # the queue was full
            assert routing.startswith("0,"), said
        for node, interface in ends:
            nodes[node].run(["tc", "filter", "del", "dev", interface, "parent", "1:"], check=True)
        # Either end goes down with the other; a busy machine may lose a session elsewhere as well.
        assert lost_session(distance, 10.0, node="y", interface="y-z") is not None
    finally:
        loaded.end()
        for node, interface in ends:
            nodes[node].run(["tc", *rate_commands(interface, CAP_MBIT)[-1].split()])
    distance.network.wait_detection()


@inside
def test_tc_takes_the_lines_for_netem(distance: Lab) -> None:
    """Where the kernel has none it refuses what tc has understood."""
    link = LinkPlan("x", "w", Protocol.STUB, IPv6Network("fd00::/64"), 1, 2, None, delay_ms=2.5,
                    loss=0.015)  # fmt: skip
    (line,) = end_commands("x-w", link, netem=True)
    tried = distance.network.nodes["x"].run(["tc", *line.split()])
    assert tried.returncode == 0 or "qdisc kind is unknown" in tried.stderr, tried.stderr
    distance.network.nodes["x"].run(["tc", "qdisc", "del", "dev", "x-w", "root"])


# Carrier.


@inside
@pytest.mark.parametrize(("near", "far"), [("x", "y"), ("y", "x")])
def test_the_far_end_sees_a_link_set_down_at_once_and_back(
    distance: Lab, near: str, far: str
) -> None:
    link = distance.network.plan.link_between(near, far)
    index, request = distance.index(near, f"{near}-{far}"), distance.request(near)
    for _ in range(3):  # within a second: the kernel tells of every later change late by itself
        for up, state in ((False, "down"), (True, "up")):
            moment = time.monotonic_ns()
            request.set_link(index, up=up)
            told = distance.watcher.wait_for(
                EventName.LINK, moment, 5.0, node=far, interface=f"{far}-{near}", state=state
            )
            assert told is not None, (near, up)
            assert (told.time_ns - moment) / 1e6 < TOLD_MS
            if not up:
                assert both_ends_saw(distance.watcher.since(moment), link, moment)


@inside
def test_a_cut_takes_both_carriers_and_a_mend_returns_them(distance: Lab) -> None:
    link, faults = distance.network.plan.link_between("x", "y"), distance.network.faults
    moment = faults.cut("x", "y")
    assert distance.watcher.wait(
        lambda: both_ends_saw(distance.watcher.since(moment), link, moment), 5.0
    )
    lost = carrier_lost(distance.watcher.since(moment), link, moment)
    assert max(lost.values()) - moment < TOLD_MS * 1e6
    mended = faults.mend("x", "y")
    for node, interface, _ in link.ends():
        distance.watcher.wait_for(
            EventName.LINK, moment, 5.0, node=node, interface=interface, state="up"
        )
    assert len(distance.pair("x", "y").one_way(10)) == 10
    assert time.monotonic_ns() > mended


# The end of things.


@inside
def test_a_link_goes_with_the_namespace_of_its_node(distance: Lab) -> None:
    with joined(1.0) as (line, pair):
        os.kill(pair.target.pid, signal.SIGKILL)
        await_link(pair.source.pid, NAMES[0], running=None)
        line.check_alive()
        assert line.counters() == {}


@inside
def test_the_line_ends_with_who_started_it(distance: Lab) -> None:
    code = (
        "from topologies.delay_bench import joined\n"
        "with joined(1.0) as (line, pair):\n"
        "    print(line.pid, flush=True)\n"
        "    input()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    descriptor = os.pidfd_open(int(parent.stdout.readline()))
    with contextlib.closing(os.fdopen(descriptor)):
        parent.kill()
        parent.communicate()
        assert select.select([descriptor], [], [], 5)[0], "the line outlived its parent"


@inside
def test_a_dead_line_is_named_with_its_links(distance: Lab) -> None:
    """The last test here: its links are gone afterwards."""
    line, requests = distance.network.topo.delay_line, [distance.request(n) for n in ("x", "y")]
    assert line.pid is not None
    watch_delay_line(distance.watcher, distance.network)
    os.kill(line.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"the delay line ended with signal 9"):
        distance.watcher.wait(lambda: False, 10.0)
    with pytest.raises(DelayLineError, match=r"signal 9.*: t-x, w-x, x-y, x-z, y-z"):
        distance.network.check_alive()
    assert {name for request in requests for name in request.links()} == {"lo"}
