"""The mobile node and real home agents, back to back: registration, refresh, movement, losses."""

from collections.abc import Callable
from ipaddress import IPv6Address

import pytest

from agents.config import Mode
from agents.core.mobile_events import (
    Moved,
    Multihomed,
    OriginChanged,
    RegistrationAcknowledged,
    RegistrationEnded,
    RegistrationRenumbered,
    RegistrationSent,
    SidTableInstalled,
)
from agents.core.mobile_node import MobileNode
from agents.core.mobile_registration import State
from agents.wire import esp, ipv6
from agents.wire.mobility import BindingUpdate, parse_mobility
from agents.wire.mobility_options import AlternateCareOfAddress, MultiSenderCapable
from agents.wire.transforms import Mode as SaMode
from tests.world import ANYCAST, CN, COA, COA2, DELAY, HOA, World, own_address, udp

MODES = list(Mode)
LIFETIME = 400.0


def from_mobile(packet: bytes) -> bool:
    return packet[24:40] == ANYCAST.packed and packet[8:24] in (COA.packed, COA2.packed)


def is_update(packet: bytes) -> bool:
    """A Binding Update: the only thing that a mobile node sends behind an options header."""
    return from_mobile(packet) and packet[6] == ipv6.DESTINATION_OPTIONS


def is_acknowledgement(packet: bytes) -> bool:
    return packet[8:24] == ANYCAST.packed and packet[6] == ipv6.ROUTING


def losing(
    what: Callable[[bytes], bool], *which: int
) -> tuple[Callable[[bytes], list[bytes]], list[int]]:
    """Lose the packets numbered `which` (from 1) of those that `what` tells; and their count."""
    count = [0]

    def trouble(packet: bytes) -> list[bytes]:
        if not what(packet):
            return [packet]
        count[0] += 1
        return [] if count[0] in which else [packet]

    return trouble, count


def running(mode: Mode = Mode.HARDENED, **changes: object) -> tuple[World, MobileNode]:
    world = World(mode=mode)
    world.start_all()
    mobile = world.start_mn(lifetime=LIFETIME, **changes)
    assert mobile.registration.state is State.BOUND
    return world, mobile


def unregistered(mode: Mode = Mode.HARDENED) -> World:
    world = World(mode=mode)
    world.start_all()
    return world


def works(world: World, *indexes: int) -> bool:
    """Whether payload flows up, and down through each of the home agents."""
    arrived, reached = len(world.at_mobile), len(world.at_correspondent)
    for index in indexes:
        world.down(index, b"via %d" % index)
    world.up()
    world.run(0.05)
    down = world.at_mobile[arrived:] == [udp(CN, HOA, b"via %d" % index) for index in indexes]
    return down and [each for _, each in world.at_correspondent[reached:]] == [udp(HOA, CN, b"up")]


def updates(world: World) -> list[RegistrationSent]:
    return [each for each in world.events["mn"] if isinstance(each, RegistrationSent)]


# Registration


@pytest.mark.parametrize("mode", MODES)
def test_registers_and_every_home_agent_reaches_it(mode: Mode) -> None:
    world, mobile = running(mode)
    assert works(world, 1, 2, 3)
    assert works(world, 3, 2, 1)
    assert mobile.status()["multihomed"] is True
    assert world.found("mn", Multihomed) == [Multihomed(True)]
    tables = world.found("mn", SidTableInstalled)
    assert len(tables) == (1 if mode is Mode.HARDENED else 0)
    for table in tables:
        assert isinstance(table, SidTableInstalled)
        assert table.home_agents == {index: str(own_address(index)) for index in (1, 2, 3)}
    assert not any(name.startswith("dropped") for name in mobile.counters)


def test_the_binding_update_on_the_wire() -> None:
    """RFC 6275 §11.7.1: IPv6(CoA→HA) / DestOpt[HAO] / ESP transport / BU with Alternate CoA."""
    world = unregistered()
    mobile = world.start_mn(lifetime=LIFETIME, key_management=True)
    packet = ipv6.parse(next(each for each in world.seen if is_update(each)))
    assert (packet.source, packet.destination) == (COA, ANYCAST)
    assert packet.home_address == HOA
    assert packet.next_header == ipv6.ESP
    key = next(each for each in mobile._associations if each.mode is SaMode.TRANSPORT)
    payload, next_header = esp.make_cipher(key.transform, key.key).open(packet.payload)
    assert next_header == ipv6.MOBILITY
    update = parse_mobility(payload, HOA, ANYCAST)
    assert isinstance(update, BindingUpdate)
    assert (update.acknowledge, update.home_registration, update.key_management) == (True,) * 3
    assert update.link_local is False
    assert update.lifetime == 100
    assert update.options == (AlternateCareOfAddress(COA), MultiSenderCapable())


def test_a_node_that_knows_nothing_of_several_senders() -> None:
    """D14: no option in the BU, M clear; served by its primary, the others relay to it."""
    world, mobile = running(multi_sender=False)
    assert mobile.status()["multihomed"] is False
    for index in (2, 1, 3, 2, 1):
        world.down(index, b"x")
    world.run(0.05)
    assert len(world.at_mobile) == 5
    assert works(world, 1)
    assert not any(name.startswith("dropped") for name in mobile.counters)


def test_naive_sharing_drops_what_another_home_agent_numbered_alike() -> None:
    """Draft §3.1: without ORIGIN_IP the second sender's numbers look like replays."""
    world = World(mode=Mode.DRAFT, origin_option=False)
    world.start_all()
    mobile = world.start_mn(origin_option=False)
    for _ in range(10):
        world.down(1)
        world.down(2)
    world.run(0.05)
    assert len(world.at_mobile) == 10
    assert mobile.counters["dropped.replay"] == 10


def test_before_the_binding_nothing_is_sent() -> None:
    world = unregistered()
    world.trouble, _ = losing(is_acknowledgement, 1)
    mobile = world.start_mn(lifetime=LIFETIME)
    assert mobile.registration.state is State.REGISTERING
    world.up()
    world.run(0.05)
    assert world.at_correspondent == []
    assert mobile.counters["dropped.not-bound"] == 1
    world.run(2.0)
    assert works(world, 1, 2, 3)


# Loss of each message


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", [is_update, is_acknowledgement])
@pytest.mark.parametrize("lost", [1, 2, 3])
def test_registration_survives_loss(mode: Mode, what: Callable[[bytes], bool], lost: int) -> None:
    world = unregistered(mode)
    world.trouble, _ = losing(what, *range(1, lost + 1))
    mobile = world.start_mn(lifetime=LIFETIME)
    began = updates(world)[0].sequence
    world.run(12.0)
    assert mobile.registration.state is State.BOUND
    assert [each.sequence for each in updates(world)] == [
        (began + step) & 0xFFFF for step in range(lost + 1)
    ]
    assert works(world, 1, 2, 3)
    acknowledged = world.found("mn", RegistrationAcknowledged)
    assert len(acknowledged) == 1
    # The mobile node never believes in its binding for longer than the home agent does.
    binding = world.binding(1)
    assert binding is not None
    assert mobile.registration.expires is not None
    remaining = binding["remaining"]
    assert isinstance(remaining, float)
    assert mobile.registration.expires - world.now <= remaining + 0.1


@pytest.mark.parametrize("what", [is_update, is_acknowledgement])
@pytest.mark.parametrize("lost", [1, 3])
def test_refresh_survives_loss_without_a_gap(what: Callable[[bytes], bool], lost: int) -> None:
    world, mobile = running()
    world.trouble, count = losing(what, *range(1, lost + 1))
    while count[0] <= lost:
        world.run(5.0)
        assert mobile.registration.bound
        assert works(world, 1, 2, 3)
        assert world.now < 1000 + 2 * LIFETIME
    world.run(5.0)
    assert mobile.registration.state is State.BOUND
    assert world.found("mn", RegistrationEnded) == []


@pytest.mark.parametrize("what", [is_update, is_acknowledgement])
def test_movement_survives_loss(what: Callable[[bytes], bool]) -> None:
    world, mobile = running()
    world.trouble, _ = losing(what, 1, 2)
    world.attach(COA2)
    world.detach(COA)
    world.run(5.0)
    assert mobile.registration.state is State.BOUND
    assert works(world, 1, 2, 3)
    assert all((world.binding(each) or {})["care_of_address"] == str(COA2) for each in (1, 2, 3))


@pytest.mark.parametrize("what", [is_update, is_acknowledgement])
def test_deregistration_survives_loss(what: Callable[[bytes], bool]) -> None:
    """A lost acknowledgement makes the second one say 133: no such binding. Both end it."""
    world, mobile = running()
    world.trouble, _ = losing(what, 1)
    mobile.deregister(world.now)
    world.run(5.0)
    assert mobile.registration.state is State.NONE
    assert world.found("mn", RegistrationEnded) == [RegistrationEnded("deregistered")]
    assert all((world.binding(each) or {}).get("state") != "bound" for each in (1, 2, 3))
    world.up()
    world.run(0.05)
    assert mobile.counters["dropped.not-bound"] == 1


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mode", MODES)
def test_loss_duplication_and_reordering_on_the_access_link(mode: Mode, seed: int) -> None:
    """With everything on the access link at risk, one quiet minute puts all right."""
    world = World(mode=mode, seed=seed)
    world.start_all()
    mobile = world.start_mn(lifetime=40.0)

    def trouble(packet: bytes) -> list[bytes]:
        if not (from_mobile(packet) or packet[24:40] in (COA.packed, COA2.packed)):
            return [packet]
        return [packet] * world.random.choice((0, 0, 1, 1, 1, 2))

    world.trouble = trouble
    world.delay = lambda packet: DELAY * world.random.choice((1, 1, 1, 400, 1500))
    for _ in range(25):
        move = world.random.choice((None, COA, COA2))
        if move is not None and move not in world.mn_addresses:
            world.attach(move)
            world.detach(COA if move == COA2 else COA2)
        for index in (1, 2, 3):
            world.down(index)
        world.up()
        world.run(world.random.uniform(0, 4))
    world.trouble = lambda packet: [packet]
    world.delay = lambda packet: DELAY
    world.run(60.0)
    assert mobile.registration.bound
    assert works(world, 1, 2, 3)
    (address,) = world.mn_addresses
    assert all((world.binding(each) or {})["care_of_address"] == str(address) for each in (1, 2, 3))


# Refresh, sequence numbers


def test_refreshes_before_the_end_for_many_lifetimes() -> None:
    world = unregistered()
    mobile = world.start_mn(lifetime=40.0)
    for _ in range(40):
        world.run(40 / 8)
        assert mobile.registration.bound
        assert (world.binding(1) or {})["state"] == "bound"
    sent = updates(world)
    assert 5 <= len(sent) - 1 <= 40 / 8 / 0.75 + 1
    assert all(each.attempt == 1 for each in sent)
    assert len(world.found("mn", RegistrationAcknowledged)) == len(sent)


@pytest.mark.parametrize("behind", [1, 100, 0x7FFF])
def test_numbers_that_fell_behind_continue_where_the_home_agent_stands(behind: int) -> None:
    """Status 135 and the number returned with it (RFC 6275 §11.7.3)."""
    world, mobile = running()
    stands = mobile.registration.sequence
    mobile.registration.sequence = (stands - behind) & 0xFFFF
    mobile.registration.refresh(world.now)
    world._collect()
    world.run(0.1)
    assert world.found("mn", RegistrationRenumbered) == [RegistrationRenumbered(stands)]
    assert mobile.registration.state is State.BOUND
    assert mobile.registration.sequence == (stands + 1) & 0xFFFF


# Movement


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make_before_break", [True, False])
def test_movement(mode: Mode, make_before_break: bool) -> None:
    world, mobile = running(mode)
    if make_before_break:
        world.attach(COA2)
        world.detach(COA)
    else:
        world.detach(COA)
        before = len(world.seen)
        world.up()
        world.run(0.5)
        assert not any(map(from_mobile, world.seen[before:]))
        assert mobile.counters["dropped.not-bound"] == 1
        assert mobile.registration.state is State.DETACHED
        world.attach(COA2)
    # At once, and payload goes from the new address without waiting for the acknowledgement.
    assert updates(world)[-1].care_of_address == COA2
    world.up()
    assert world.seen[-1][8:24] == COA2.packed
    world.run(0.1)
    assert mobile.registration.state is State.BOUND
    assert works(world, 1, 2, 3)
    moves = [each for each in world.events["mn"] if isinstance(each, Moved)]
    assert moves[-1].care_of_address == COA2
    assert len(updates(world)) == 2


def test_loss_of_the_newer_address_falls_back_to_the_older() -> None:
    world, mobile = running()
    world.attach(COA2)
    world.run(0.1)
    world.detach(COA2)
    world.run(0.1)
    assert mobile.registration.care_of_address == COA
    assert works(world, 1, 2, 3)


def test_an_address_seen_again_is_no_movement() -> None:
    world, mobile = running()
    sent = len(updates(world))
    world.attach(COA)
    mobile.care_of_address_removed(COA2, world.now)
    for useless in ("fe80::1", "ff02::1", "::1", "::", str(HOA), "fd00:192:168:1::77"):
        mobile.care_of_address_added(IPv6Address(useless), "mn-v1", world.now)
    world.run(0.1)
    assert len(updates(world)) == sent
    assert mobile.registration.care_of_address == COA
    assert mobile.counters["addresses-ignored"] == 6


def test_tunnel_packets_to_either_current_address_only() -> None:
    world, _ = running()
    world.down(1)
    world.run(0.05)
    world.attach(COA2)
    # HA2 still sends to the old address while the update is on its way.
    world.down(2)
    world.run(0.05)
    assert len(world.at_mobile) == 2
    world.detach(COA)
    assert world.mn is not None
    stale = [each for each in world.seen if each[24:40] == COA.packed][-1]
    world.mn.receive(stale, world.now)
    assert world.mn.counters["dropped.outer-destination"] == 1


def test_rapid_movement_keeps_the_update_rate() -> None:
    """MAX_UPDATE_RATE (RFC 6275 §12), and the last address wins."""
    world, mobile = running()
    before = len(world.seen)
    for step in range(20):
        there, back = (COA2, COA) if step % 2 == 0 else (COA, COA2)
        world.attach(there)
        world.detach(back)
        world.run(0.02)
    assert sum(map(is_update, world.seen[before:])) <= 3
    world.run(3.0)
    assert mobile.registration.state is State.BOUND
    assert mobile.registration.care_of_address == COA
    assert works(world, 1, 2, 3)


# Failover


@pytest.mark.parametrize("mode", MODES)
def test_failover_needs_nothing_of_the_mobile_node(mode: Mode) -> None:
    """I8: no BU, no SA; the origin changes, and that is reported for the time line."""
    world, mobile = running(mode)
    assert works(world, 1)
    sent, held = len(updates(world)), mobile.sas()
    world.kill(1)
    world.run(2.0)
    assert works(world, 2, 3)
    assert len(updates(world)) == sent
    assert [each["spi"] for each in mobile.sas()] == [each["spi"] for each in held]
    changes = [each for each in world.events["mn"] if isinstance(each, OriginChanged)]
    assert [each.origin for each in changes] == [str(own_address(index)) for index in (1, 2, 3)]
    assert changes[1].previous == str(own_address(1))
    # The next refresh reaches HA2, whose acknowledgement has numbers of its own.
    world.run(LIFETIME)
    assert mobile.registration.bound
    assert world.primaries() == {"HA2"}
    assert not any(name.startswith("dropped") for name in mobile.counters)


def test_a_restarted_home_agent_opens_its_own_window() -> None:
    """Design §10, rule 3: the higher incarnation is taken on its ICV, the lower one closed."""
    world, mobile = running()
    for _ in range(5):
        world.down(2)
    world.run(0.05)
    old = [each for each in world.seen if each[24:40] == COA.packed][-1]
    world.kill(2)
    world.run(1.0)
    world.start_ha(2)
    world.run(1.0)
    assert works(world, 1, 2, 3)
    before = len(world.at_mobile)
    mobile.receive(old, world.now)
    world._collect()
    assert len(world.at_mobile) == before
    assert mobile.counters["dropped.old-incarnation"] == 1


def test_two_senders_that_alternate_are_reported_once() -> None:
    world, _ = running()
    for _ in range(50):
        world.down(1)
        world.down(2)
        world.run(0.02)
    assert len(world.found("mn", OriginChanged)) == 2
    world.run(3.0)
    world.down(3)
    world.run(3.0)
    world.down(1)
    world.run(0.05)
    assert len(world.found("mn", OriginChanged)) == 4


# What a person may ask


@pytest.mark.parametrize("mode", MODES)
def test_status_is_json_and_shows_no_key(mode: Mode) -> None:
    import json

    world, mobile = running(mode)
    text = json.dumps(
        [mobile.status(), mobile.bindings(), mobile.sas(), mobile.peers(), dict(mobile.counters)]
        + [{"kind": each.kind, **each.fields()} for each in world.events["mn"]]
    )
    for each in mobile._associations:
        assert each.key.hex() not in text
        assert repr(each.key) not in repr(each)
    assert str(HOA) in text
