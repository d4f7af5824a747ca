"""The home agent that turns, in memory: it can do what the isolation experiment says it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.core.events import BindingLearnt, MisconductProven, PeerIsolated, PrimaryChanged
from agents.wire import ipv6
from experiments import hostile_home_agent
from experiments.data import DataError
from experiments.hostile_forgeries import STRANGER_HOST, Form, Lie
from experiments.hostile_home_agent import LONGEST_S, MOST_DEEDS, TICK_S, HostileHomeAgent
from experiments.hostile_records import Deed, Drawn, Record, RecordFile, read_records
from experiments.probe import PACKET
from tests import world as worlds
from tests.world import ANYCAST, CN, HOA, HOME, World, own_address, udp

INDEX, OTHER = 2, 3
PLAUSIBLE = (Lie.STRANGER, Lie.THEFT)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[World, HostileHomeAgent]:
    """Three home agents with IKE; HA2 can turn, HA1 is nearest and primary."""
    world = World(ike=True, peer_ike=True)
    world.liars.add(INDEX)
    world.start_ha(1)
    world.start_ha(OTHER)
    monkeypatch.setattr(worlds, "HomeAgent", HostileHomeAgent)
    engine = world.start_ha(INDEX)
    assert isinstance(engine, HostileHomeAgent)
    engine.deeds = RecordFile(tmp_path / "hostile.bin")
    world.run(1.0)
    world.start_mn()
    return world, engine


def deeds(engine: HostileHomeAgent, tmp_path: Path) -> list[Record]:
    engine.deeds.flush()
    return read_records(tmp_path / "hostile.bin")


def act(world: World, engine: HostileHomeAgent, seconds: float) -> None:
    for _ in range(round(seconds / TICK_S)):
        if engine.busy:
            engine.tick(world.now)
        world.run(TICK_S)


def test_until_it_is_told_it_is_a_home_agent(
    hostile: tuple[World, HostileHomeAgent], tmp_path: Path
) -> None:
    world, engine = hostile
    assert not engine.busy
    world.down(via=INDEX)
    world.run(0.1)
    assert len(world.at_mobile) == 1
    assert world.primaries() == {"HA1"}
    assert deeds(engine, tmp_path) == []


def test_before_isolation_everything_it_does_succeeds(
    hostile: tuple[World, HostileHomeAgent], tmp_path: Path
) -> None:
    world, engine = hostile
    engine.turn(PLAUSIBLE, OTHER, world.now)
    act(world, engine, 1.6)
    for index in (1, OTHER):
        learnt = [
            each for each in world.found(index, BindingLearnt)
            if isinstance(each, BindingLearnt) and each.peer == "HA2"
        ]  # fmt: skip
        addresses = {each.home_address for each in learnt}
        assert addresses == {HOA, HOME[STRANGER_HOST]}
        [*_, role] = world.found(index, PrimaryChanged)
        assert isinstance(role, PrimaryChanged)
        assert (role.primary, role.cause) == (INDEX, "peer")
    flows = [PACKET.unpack_from(each, 48)[1] for each in world.at_mobile]
    assert flows.count(Form.OWN_SID.flow) >= 79
    assert flows.count(Form.OTHER_SID.flow) >= 79
    assert {each.kind for each in world.events[1]} >= {"peer-sa-made"}
    began = [each for each in deeds(engine, tmp_path) if each.deed is Deed.IKE]
    assert {(each.which, each.peer) for each in began} == {(0, 1), (0, OTHER), (1, 0)}
    made = [each for each in world.events["mn"] if each.kind == "ike-established"]
    assert len(made) == 2  # with HA1 at first, then with the one that turned


@pytest.mark.parametrize(
    ("lie", "proof"),
    [
        (Lie.STRANGER, None),
        (Lie.THEFT, None),
        (Lie.KEY, None),
        (Lie.SWITCH, "role-without-update"),
        (Lie.SPI, "sa-never-made"),
        (Lie.THIRD_PARTY, "role-of-another"),
    ],
)
def test_what_others_can_know_of_its_lies(
    hostile: tuple[World, HostileHomeAgent], lie: Lie, proof: str | None
) -> None:
    """Each is an authentic message; some of them prove what it is (rule 13)."""
    world, engine = hostile
    received = sum(count for name, count in world.has[1].counters.items() if "received." in name)
    engine.turn([lie], None, world.now)
    act(world, engine, 0.2)
    counters = world.has[1].counters
    assert sum(count for name, count in counters.items() if "received." in name) > received
    assert not any("icv" in name or "stale" in name for name in counters if "dropped" in name)
    told = world.found(1, MisconductProven)
    assert [each.misconduct for each in told if isinstance(each, MisconductProven)] == (
        [] if proof is None else [proof]
    )
    assert bool(world.found(1, PeerIsolated)) is (proof is not None)


def test_what_it_draws_it_drops_and_notes(
    hostile: tuple[World, HostileHomeAgent], tmp_path: Path
) -> None:
    world, engine = hostile
    engine.turn([], None, world.now)
    own = own_address(INDEX)
    engine.receive(udp(CN, HOA), world.now)
    engine.receive(ipv6.build(CN, ANYCAST, ipv6.ESP, bytes(40)), world.now)
    engine.receive(ipv6.build(CN, ANYCAST, ipv6.UDP, bytes(40)), world.now)
    engine.receive(ipv6.build(own, ANYCAST, ipv6.ICMPV6, bytes(40)), world.now)  # its own kernel
    assert engine.packets_to_send(world.now) == []
    drawn = [each.which for each in deeds(engine, tmp_path) if each.deed is Deed.DRAWN]
    assert drawn == [Drawn.CORRESPONDENT, Drawn.MOBILE, Drawn.KEY_EXCHANGE]


def test_it_keeps_keys_that_its_agent_has_given_up(
    hostile: tuple[World, HostileHomeAgent],
) -> None:
    world, engine = hostile
    engine.turn(PLAUSIBLE, OTHER, world.now)
    act(world, engine, TICK_S)
    for association in list(engine._context.associations):
        engine._context.associations.bury(association)
    before = len(world.at_mobile)
    act(world, engine, 0.1)
    assert len(world.at_mobile) >= before + 8


def test_it_never_takes_its_route_away(hostile: tuple[World, HostileHomeAgent]) -> None:
    world, engine = hostile
    engine.turn([], None, world.now)
    engine.connectivity(False, world.now)
    world.run(0.1)
    assert INDEX in world.advertising


def test_it_stops_by_itself(
    hostile: tuple[World, HostileHomeAgent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, engine = hostile
    monkeypatch.setattr(hostile_home_agent, "LONGEST_S", 0.5)
    engine.turn(PLAUSIBLE, OTHER, world.now)
    act(world, engine, 1.0)
    assert not engine.busy
    assert deeds(engine, tmp_path)[-1].deed is Deed.STOPPED
    assert len(deeds(engine, tmp_path)) / 0.5 * LONGEST_S < MOST_DEEDS


def test_a_file_that_holds_no_records_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hostile.bin"
    for content, words in ((b"12345", "whole number"), (bytes(16), "0 is not a valid Deed")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=words):
            read_records(path)
