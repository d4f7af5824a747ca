"""A home agent that turned is put out (draft §5; design §10, rule 13; case D12).

It stays in the world with all that it knew: its engine, the SAs, their keys, its IKE SAs.
"""

from pathlib import Path

import pytest
from test_renewal import Streams
from world import CN, COA, HOA, World, home_address, own_address, udp

from agents.config import Mode, PeerConfig
from agents.core.context import Context
from agents.core.esp_processing import EspProcessor
from agents.core.events import IsolationComplete, PeerIsolated, PrimaryChanged
from agents.core.ike.events import IkeEstablished
from agents.core.replay_window import sender_id
from agents.core.security_associations import SecurityAssociation
from agents.keys import SaMode
from agents.wire import ipv6

MODES = [Mode.HARDENED, Mode.DRAFT, Mode.DRAFT_CBC]
HA1 = PeerConfig("HA1", 1, own_address(1), Path("/nowhere"))
EXPOSED = 0.01
"""Seconds from the verb until no SA that it knew is held: four round trips of 2 ms, and 2 ms."""


def world_of(has: int = 3, mode: Mode = Mode.HARDENED, **options: object) -> World:
    world = World(has, mode, ike=True, **options)  # type: ignore[arg-type]
    world.start_all()
    world.start_mn()
    return world


def context(world: World, index: int) -> Context:
    return world.has[index]._context


def known_to(world: World, index: int) -> list[SecurityAssociation]:
    """Copies of all SAs that an HA holds, as it may keep them."""
    kept = []
    for each in context(world, index).associations:
        copy = SecurityAssociation(
            each.spi,
            each.home_address,
            each.source,
            each.destination,
            each.mode,
            each.transform,
            each.key,
        )
        copy.counter = 5000
        kept.append(copy)
    return kept


def isolate(world: World, index: int, at: list[int] | None = None) -> None:
    """The operator's verb at every honest HA, or at some; who is isolated goes on as it was."""
    for honest in at or [each for each in world.has if each != index]:
        world.has[honest].isolate(index, "verb", world.now)
    world._collect()


def spis(world: World, index: int) -> set[int]:
    return {each.spi for each in context(world, index).associations}


class Hostile:
    """What one that was isolated does with what it knew."""

    def __init__(self, world: World, index: int) -> None:
        self.world = world
        self.index = index
        self.kept = known_to(world, index)

    def forge(self) -> None:
        """Tunnel packets to the mobile node as each HA, and as the mobile node to the others."""
        world = self.world
        for sid in [sender_id(each, 1) for each in world.indexes]:
            esp = EspProcessor(world.random.randbytes, sid if world.mode is Mode.HARDENED else None)
            for each in self.kept:
                if each.mode is not SaMode.TUNNEL:
                    continue
                if each.inbound:
                    inner = udp(HOA, CN, b"forged")
                    sealed = esp.seal(each, inner, ipv6.IPV6, 0)
                    packet = ipv6.build(COA, each.destination, ipv6.ESP, sealed)
                    for honest in world.has:
                        if honest != self.index:
                            world.has[honest].receive(packet, world.now)
                else:
                    inner = udp(CN, HOA, b"forged")
                    sealed = esp.seal(each, inner, ipv6.IPV6, 0)
                    world.inject(ipv6.build(each.source, COA, ipv6.ESP, sealed))
        world._collect()


def test_it_takes_no_longer_than_the_messages() -> None:
    """Nearest and primary: another HA takes its role and renews, on a new IKE SA."""
    world = world_of()
    hostile = Hostile(world, 1)
    world.order = [2, 3, 1]  # fencing: its first-hop router has shut its link
    before = spis(world, 2)
    isolate(world, 1)
    world.run(EXPOSED)
    for index in (2, 3):
        assert world.found(index, PeerIsolated) == [PeerIsolated("HA1", 1, "verb")]
        assert not before & spis(world, index)
        assert len(spis(world, index)) == 4
        assert len(world.found(index, IsolationComplete)) == 1
    assert world.found(2, PrimaryChanged)[-1] == PrimaryChanged(HOA, 2, 2, "isolated")
    assert len(world.found(2, IkeEstablished)) == 1
    assert world.mn is not None
    assert not before & {each.spi for each in world.mn._associations}
    hostile.forge()
    world.run(0.1)
    assert world.at_mobile == []
    assert [each for each in world.at_correspondent if each[0] != 1] == []
    assert not {each.spi for each in hostile.kept} & spis(world, 2)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hostile", [1, 2, 3])
@pytest.mark.parametrize("peer_ike", [False, True])
def test_nothing_of_it_is_taken_and_nothing_goes_to_it(
    mode: Mode, hostile: int, peer_ike: bool
) -> None:
    """Primary or not; and honest flows go on, with what was in flight lost at most."""
    world = world_of(mode=mode, peer_ike=peer_ike)
    kept = Hostile(world, hostile)
    honest = [each for each in world.indexes if each != hostile]
    world.order = [*honest, hostile]
    world.run(0.5)
    streams = Streams(world, via=tuple(honest))
    streams.run(0.2)
    accepted = world.has[hostile].counters["tunnel.received"]
    isolate(world, hostile)
    streams.run(0.5)
    # What was on its way on the old SA when its other end dropped it: 1 ms each way and 1 ms more.
    world.run(0.1)
    assert len(streams.up - {packet for _, packet in world.at_correspondent}) <= 4
    assert len(streams.down - set(world.at_mobile)) <= 4
    world.seen.clear()
    kept.forge()
    world.run(0.1)
    assert b"forged" not in {each[48:] for each in world.at_mobile}
    assert b"forged" not in {each[1][48:] for each in world.at_correspondent}
    streams.run(0.5)
    assert world.has[hostile].counters["tunnel.received"] == accepted
    to_it = own_address(hostile).packed
    assert [each for each in world.seen if each[24:40] == to_it and each[8:24] != to_it] == []
    for index in honest:
        assert world.has[index].counters["dropped.inter-ha-from-stranger"] > 0
        peers = world.has[index].status()["peers"]
        assert f"HA{hostile}" not in peers  # type: ignore[operator]
    (primary,) = {world.binding(index)["primary"] for index in honest}  # type: ignore[index]
    assert primary != f"HA{hostile}"
    if mode is Mode.HARDENED:
        assert world.mn is not None
        assert set(world.mn._senders.table or ()) == set(honest)


def test_an_idle_mobile_node_is_renewed_too() -> None:
    world = world_of()
    world.start_mn(number=2, at=COA + 1)
    world.run(5.0)
    old = spis(world, 2)
    world.order = [2, 3, 1]
    isolate(world, 1)
    world.run(0.1)
    assert not old & spis(world, 3)
    for number in (1, 2):
        assert len(list(context(world, 3).associations.of(home_address(number)))) == 4


def test_one_that_nobody_reaches_loses_its_sas_in_bounded_time() -> None:
    """Better none than such as a hostile HA knows: it begins anew when it is back."""
    world = world_of()
    world.order = [2, 3, 1]
    world.detach(COA)
    isolate(world, 1)
    world.run(2.2)
    for index in (2, 3):
        assert spis(world, index) == set()
    world.attach(COA)
    world.run(15.0)
    assert len(spis(world, 2)) == 4
    assert world.binding(2)["state"] == "bound"  # type: ignore[index]


def test_who_should_take_over_is_gone_itself() -> None:
    """HA2 died just before, and nobody has noticed yet: HA3 takes over once it has."""
    world = world_of()
    world.order = [3, 2, 1]
    world.kill(2)
    isolate(world, 1)
    world.run(0.6)
    assert world.found(3, PrimaryChanged)[-1].fields()["primary"] == 3
    assert {each.spi >> 24 for each in context(world, 3).associations if each.inbound} == {3}


def test_it_comes_back_only_by_verb_and_in_another_incarnation() -> None:
    world = world_of()
    world.order = [2, 3, 1]
    isolate(world, 1)
    world.run(1.0)
    engine = world.has[2]
    with pytest.raises(ValueError, match="isolated"):
        engine.add_peer(HA1, world.peer_keys[2][1], world.now)
    with pytest.raises(ValueError, match="cannot isolate itself"):
        engine.isolate(2, "verb", world.now)
    with pytest.raises(ValueError, match="not isolated"):
        engine.readmit(3, world.now)
    for index in (2, 3):
        world.has[index].readmit(1, world.now)
        world.has[index].add_peer(HA1, world.peer_keys[index][1], world.now)
    world.run(1.0)
    assert engine.counters["dropped.isolated-incarnation"] > 0
    assert engine.status()["peers"]["HA1"] != "up"  # type: ignore[index]
    world.kill(1)
    world.start_ha(1)
    world.run(1.0)
    assert engine.status()["peers"]["HA1"] == "up"  # type: ignore[index]
    assert spis(world, 1) == spis(world, 2)
