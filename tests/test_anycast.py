"""What routing can do to one SA behind one address, without a network: packets dealt out."""

import itertools
from ipaddress import IPv6Address

import pytest

from agents.config import Mode
from agents.core.events import TrafficBegan
from tests.world import ANYCAST, World

RATE = 1000
PACKETS = 2000


def dealt(world: World, way_of: dict[int, float]) -> None:
    """Let the mobile node send; its packets reach these HAs in turn, each after its own delay."""
    turn = itertools.cycle(way_of)

    def deal(packet: bytes) -> list[bytes]:
        if IPv6Address(packet[24:40]) != ANYCAST:
            return [packet]
        index = next(turn)
        world.after(way_of[index], lambda: world._give(index, packet))
        return []

    world.trouble = deal
    for _ in range(PACKETS):
        world.up()
        world.run(1 / RATE)
    world.run(0.2)
    world.trouble = lambda packet: [packet]


@pytest.mark.parametrize("mode", Mode)
def test_packets_of_one_sa_in_turn_to_two_home_agents(mode: Mode) -> None:
    """Ways of equal length: a floor of one HA passes nothing that is still on its way."""
    world = World(mode=mode)
    world.start_all()
    world.start_mn()
    dealt(world, {1: 0.001, 2: 0.001})
    assert len(world.at_correspondent) == PACKETS
    assert {index for index, _ in world.at_correspondent} == {1, 2}


def test_ways_of_unequal_length_lose_what_a_floor_overtakes() -> None:
    """Rule 5's price: 10 ms behind, HA2 is told every 100 ms of numbers that it still waits for."""
    world = World()
    world.start_all()
    world.start_mn()
    dealt(world, {1: 0.001, 2: 0.011})
    lost = PACKETS - len(world.at_correspondent)
    reports = world.has[2].counters["received.ReplayFloor"]
    # Every second packet of what is sent in those 10 ms, less the way of the floor itself.
    assert reports <= lost <= reports * RATE * 0.010 / 2
    assert world.has[2].counters["dropped.replay"] == lost
    assert world.has[1].counters["dropped.replay"] == 0
    # Each floor makes HA2 begin to serve anew, which its journal tells.
    assert len(world.found(2, TrafficBegan)) > reports / 2
    world.up(b"by the nearest alone")
    world.run(0.1)
    assert world.at_correspondent[-1][1].endswith(b"by the nearest alone")
