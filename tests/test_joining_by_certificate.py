"""A home agent joins by its certificate alone (draft §5; design §10, rule 6)."""

from ipaddress import IPv6Address, IPv6Network

import certified
import pytest
from test_joining import PROMPT, served, streams, table
from world import ANYCAST, HOME, World, own_address

from agents.config import CredentialFiles
from agents.core.events import (
    AdvertisePrefix,
    Left,
    PeerAssociationFailed,
    PeerIntroduced,
)
from agents.core.ike.events import IkeFailed
from agents.wire import ipv6
from topologies.certification import EXPIRED, Authority


def running(has: int = 3, **options: object) -> World:
    world = World(has, ike=True, peer_ike=True, timers=PROMPT, **options)  # type: ignore[arg-type]
    world.start_all(2.0)
    world.start_mn()
    return world


def all_up(world: World) -> None:
    for index in world.has:
        peers = world.has[index].status()["peers"]
        assert peers == {f"HA{each}": "up" for each in world.has if each != index}
    assert world.advertising == set(world.has)


@pytest.mark.parametrize("told", [(1, 2, 3), (3,)])
def test_its_certificate_lets_it_in(told: tuple[int, ...]) -> None:
    """Also one that knows of one HA alone: its table tells of the others. Nothing is lost."""
    world = running()
    world.join(4, told=told)
    assert streams(world, 3.0) == (0, 0)
    all_up(world)
    for index in (1, 2, 3):
        assert world.found(index, PeerIntroduced) == [PeerIntroduced("HA4", 4, own_address(4))]
    assert {each.fields()["peer"] for each in world.found(4, PeerIntroduced)} == {
        f"HA{each}" for each in (1, 2, 3) if each not in told
    }
    assert table(world) == [1, 2, 3, 4]
    served(world)


def test_those_it_learns_of_are_met_before_it_advertises() -> None:
    world = running()
    world.join(4, told=(2,))
    for _ in range(2000):
        world.run(0.001)
        if 4 in world.advertising:
            break
    assert len(world.found(4, AdvertisePrefix)) == 1
    all_up(world)


def test_one_that_does_not_answer_holds_nobody_up() -> None:
    world = running()
    world.cut = {frozenset((3, 4))}
    world.join(4, told=(1, 2))
    began = world.now
    while 4 not in world.advertising:
        world.run(0.01)
    assert 0.9 < world.now - began < 2.0
    world.cut = set()
    world.run(15.0)
    world.kill(4)
    world.start_ha(4)
    world.run(3.0)
    all_up(world)


def test_two_join_at_once() -> None:
    world = running(2)
    world.join(3, told=(1,))
    world.join(4, told=(2,))
    assert streams(world, 3.0) == (0, 0)
    all_up(world)
    served(world)


REFUSED = {
    "unknown-issuer": lambda: certified.home_agent(4, "somebody else"),
    "expired": lambda: made(lifetime=EXPIRED),
    "prefix-not-delegated": lambda: made(prefix=IPv6Network("fd00:192:169:1::/64")),
    "index-taken": lambda: made(index=2),
}


def made(index: int = 4, prefix: IPv6Network = HOME, **changes: object) -> CredentialFiles:
    """A certificate for HA4's address that says something else."""
    authority = certified.authority()
    anycast = ANYCAST if prefix == HOME else IPv6Address("fd00:192:169:1::254")
    return authority.home_agent("odd HA4", index, own_address(4), anycast, prefix, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", REFUSED)
def test_one_that_is_not_authorised_gets_nothing_and_is_told_why(reason: str) -> None:
    world = running()
    world.certificates[4] = REFUSED[reason]()
    held = world.mn.peers()  # type: ignore[union-attr]
    world.seen.clear()
    world.join(4)
    assert streams(world, 5.0)[1] == 0
    told = {each.fields()["detail"] for each in world.found(4, PeerAssociationFailed)}
    assert told == {reason}
    for index in (1, 2, 3):
        assert world.has[index].key_counters()[f"peer-ike.not-authorised.{reason}"] >= 1
        assert "HA4" not in world.has[index].status()["peers"]  # type: ignore[operator]
        assert world.found(index, PeerIntroduced) == []
    to_it = [each for each in world.seen if each[24:40] == own_address(4).packed]
    assert {each[6] for each in to_it} == {ipv6.UDP}, "IKE alone goes to it"
    assert world.mn.peers() == held  # type: ignore[union-attr]
    assert world.has[4].bindings() == world.has[4].sas() == []
    world.kill(4)
    world.order = [1, 2, 3]
    world.indexes.remove(4)
    served(world)


def test_a_revoked_certificate_lets_nobody_in() -> None:
    authority = Authority(certified.directory(), "revoking")
    world = World(3, ike=True, peer_ike=True, mobile_secret=True)
    for index in (1, 2, 3, 4):
        world.certificates[index] = authority.home_agent(
            f"HA{index}", index, own_address(index), ANYCAST, HOME
        )
    authority.revoke("HA4")
    for index in (1, 2, 3):
        world.start_ha(index)
    world.run(2.0)
    assert world.advertising == {1, 2, 3}
    world.join(4)
    world.run(3.0)
    for index in (1, 2, 3):
        assert world.has[index].key_counters()["peer-ike.not-authorised.revoked"] >= 1
        assert world.found(index, PeerIntroduced) == []


def test_one_that_left_comes_back_by_itself() -> None:
    world = running()
    world.leave(3)
    assert streams(world, 2.0) == (0, 0)
    assert len(world.found(3, Left)) == 1
    world.gone(3)
    world.join(3)
    assert streams(world, 2.0) == (0, 0)
    all_up(world)
    served(world)
    assert max(world.sealed.values()) == 1


def test_one_that_an_operator_dismissed_does_not() -> None:
    world = running()
    world.dismiss(3)
    world.run(6.0)
    for index in (1, 2):
        assert "HA3" not in world.has[index].status()["peers"]  # type: ignore[operator]
        assert world.has[index].key_counters()["peer-ike.not-authorised.dismissed"] >= 1
    failed = world.found(3, PeerAssociationFailed)
    assert {each.fields()["detail"] for each in failed} == {"dismissed"}
    world.indexes.append(3)
    world.order.append(3)
    for index in (1, 2):
        world.introduce(index, 3)
    world.run(40.0)
    all_up(world)


@pytest.mark.parametrize("seed", range(3))
def test_joining_goes_through_losses(seed: int) -> None:
    world = running(seed=seed)
    world.trouble = lambda packet: [] if world.random.random() < 0.15 else [packet]
    world.join(4, told=(2,))
    world.run(20.0)
    world.trouble = lambda packet: [packet]
    world.run(20.0)
    all_up(world)
    assert table(world) == [1, 2, 3, 4]
    served(world)
    assert world.found("mn", IkeFailed) == []
