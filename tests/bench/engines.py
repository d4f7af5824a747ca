"""What the engines and the offloads cost in Python alone: µs a packet, no system calls.

.venv/bin/python -m tests.bench.engines [MODE]
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.config import Mode, load_home_agent, load_mobile_node
from agents.core.home_agent import HomeAgent
from agents.core.mobile_node import MobileNode
from agents.keys import read_key_file
from agents.runtime import offload
from tests import runtime_lab as lab
from tests.runtime_scenarios import with_peer
from tests.test_runtime_offload import super_packet

COUNT = 20_000


def measure(name: str, count: int, work: Callable[[], object]) -> None:
    best = min(timed(work) for _ in range(5))
    print(f"{name:34} {best / count * 1e6:6.2f} µs")


def timed(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def feed(receive: Callable[[bytes, float], None], packets: Sequence[bytes]) -> None:
    for packet in packets:
        receive(packet, 1.0)


def main() -> None:
    mode = Mode(sys.argv[1]) if len(sys.argv) > 1 else Mode.HARDENED
    directory = Path(tempfile.mkdtemp())
    lab.configure(directory, mode)
    config = with_peer(directory)
    peer_keys = {2: read_key_file(config.peers[0].key_file)}
    ha = HomeAgent(load_home_agent(directory / "ha.toml"), 1, os.urandom, peer_keys)
    mn = MobileNode(load_mobile_node(directory / "mn.toml"), os.urandom)
    keys = read_key_file(directory / "mn.keys")
    for engine in (ha, mn):
        engine.load_keys(keys, 0.0)
        engine.start(0.0)
    mn.care_of_address_added(lab.CARE_OF, "wire", 0.0)
    for packet in mn.packets_to_send(0.0):
        ha.receive(packet, 0.0)
    for packet in ha.packets_to_send(0.0):
        mn.receive(packet, 0.0)
    ha.packets_to_send(0.0)
    assert mn.registration.bound

    burst = super_packet(os.urandom(60_000), 1342, 1, "A")
    count = len(offload.split(memoryview(burst)))
    inner = offload.split(memoryview(burst))[0]
    measure("split a super-packet", count, lambda: offload.split(memoryview(burst)))
    pieces = offload.split(memoryview(burst))
    measure("merge into a super-packet", count, lambda: offload.merge(pieces))

    def down() -> None:
        feed(ha.receive, [inner] * COUNT)
        outer.append(ha.packets_to_send(1.0))

    outer: list[list[bytes]] = []
    measure("home agent, down", COUNT, down)
    assert len(outer[0]) == COUNT
    measure("mobile node, down", COUNT, lambda: feed(mn.receive, outer.pop(0)))
    assert len(mn.packets_to_deliver()) == 5 * COUNT, mn.counters

    back = inner[:8] + inner[24:40] + inner[8:24] + inner[40:]

    def up() -> None:
        feed(mn.encapsulate, [back] * COUNT)
        outer.append(mn.packets_to_send(1.0))

    measure("mobile node, up", COUNT, up)
    measure("home agent, up", COUNT, lambda: feed(ha.receive, outer.pop(0)))
    assert len(ha.packets_to_deliver()) == 5 * COUNT, ha.counters


if __name__ == "__main__":
    main()
