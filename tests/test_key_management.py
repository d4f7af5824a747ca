"""IKEv2 between a mobile node and its home agents, end to end: from nothing to renewal."""

from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from test_renewal import Streams, generations, held, last_number, settled
from world import ANYCAST, COA, COA2, HOA, HOME, World, own_address

from agents.config import IkeGroup, MobileNodeConfig, Mode
from agents.core.events import (
    AssociationsRenewed,
    BindingAccepted,
    PrimaryChanged,
    RenewalBegan,
    RenewalFailed,
)
from agents.core.ike.events import ChildRekeyed, IkeDeleted, IkeEstablished, IkeFailed, IkeRekeyed
from agents.core.mobile_events import KeysRenewed, RegistrationAcknowledged
from agents.wire import ipv6
from agents.wire.ike.message import parse_message
from agents.wire.ike.numbers import ExchangeType
from agents.wire.udp import parse_udp
from topologies.certification import Authority

MODES = [Mode.HARDENED, Mode.DRAFT, Mode.DRAFT_CBC]


def registered(has: int = 3, mode: Mode = Mode.HARDENED, **options: object) -> World:
    key_management = bool(options.pop("key_management", True))
    world = World(has, mode, ike=True, **options)  # type: ignore[arg-type]
    world.start_all()
    world.start_mn(key_management=key_management)
    return world


def is_ike(packet: bytes) -> bool:
    return packet[6] == ipv6.UDP and ANYCAST.packed in (packet[8:24], packet[24:40])


def exchanges(world: World) -> list[int]:
    """The exchange types of the IKE messages sent so far, by either end."""
    found = []
    for packet in world.seen:
        if is_ike(packet) and packet[40:44] == b"\x01\xf4\x01\xf4":
            payload = parse_udp(packet[40:], IPv6Address(packet[8:24]), IPv6Address(packet[24:40]))
            message = parse_message(payload[2])
            if message.fragment is None or message.fragment.number == 1:
                found.append(message.header.exchange)
    return found


@pytest.mark.parametrize("mode", MODES)
def test_registration_from_nothing(mode: Mode) -> None:
    world = World(3, mode, ike=True)
    world.start_all()
    # IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, then the Binding Update: four round trips of 2 ms.
    world.start_mn(settle=0.0075)
    assert world.mn is not None
    assert not world.mn.registration.bound
    world.run(0.001)
    assert world.mn.registration.bound
    (accepted,) = world.found(1, BindingAccepted)
    assert accepted.fields()["care_of_address"] == str(COA)
    (acknowledged,) = world.found("mn", RegistrationAcknowledged)
    assert acknowledged.fields()["delay"] == pytest.approx(0.002)
    assert exchanges(world) == [34, 34, 35, 35, 36, 36]
    world.run(0.1)
    settled(world, 1)
    streams = Streams(world)
    streams.run(0.1)
    streams.assert_nothing_lost()
    assert {each.spi >> 24 for each in held(world, 2) if each.inbound} == {1}


def test_a_mobile_node_by_secret_and_home_agents_by_certificate() -> None:
    world = World(3, ike=True, mobile_secret=True)
    world.start_all()
    world.start_mn()
    settled(world, 1)
    world.kill(1)
    world.run(1.0)
    streams = Streams(world, (2, 3))
    streams.run(0.1)
    world.has[2].renew(HOA, world.now)  # HA2 begins, and both prove themselves the other way round
    streams.run(3.0)
    streams.assert_nothing_lost()
    assert len(world.found(2, IkeEstablished)) == 1


def test_a_mobile_node_whose_certificate_is_revoked_gets_no_new_sas(tmp_path: Path) -> None:
    """What it has stays until it is used up; a renewal by rekey would go on for ever."""
    operator = Authority(tmp_path)
    world = World(2, ike=True)
    for index in (1, 2):
        own = own_address(index)
        world.certificates[index] = operator.home_agent(f"HA{index}", index, own, ANYCAST, HOME)
    world.certificates["mn"] = operator.mobile_node("mn", HOA)
    world.start_all()
    world.start_mn()
    settled(world, 1)
    endpoint = world.has[1]._keys._endpoint  # type: ignore[union-attr]
    credentials = endpoint._context.config.credentials
    assert credentials is not None
    assert credentials.revocations.learn(operator.revoke("mn").read_bytes())
    world.seen.clear()
    world.has[1].renew(HOA, world.now)
    world.run(3.0)
    assert exchanges(world)[:4] == [34, 34, 35, 35]
    assert {each.fields()["detail"] for each in world.found(1, IkeFailed)} == {"revoked"}
    assert {each.generation for each in held(world, 1)} == {1}
    streams = Streams(world)
    streams.run(0.1)
    streams.assert_nothing_lost()


def test_a_mobile_node_without_the_secret_gets_nothing() -> None:
    world = World(2, ike=True, mobile_secret=True)
    world.start_all()
    secret, world.secret = world.secret, bytes(32)
    world.start_mn(settle=20.0)
    world.secret = secret
    assert world.mn is not None
    assert not world.mn.registration.bound
    failed = world.found("mn", IkeFailed)
    assert {each.fields()["reason"] for each in failed} == {"authentication-failed"}
    assert {each.fields()["detail"] for each in failed} == {"wrong-proof"}
    assert 3 <= len(failed) <= 6  # tried again, ever later
    for index in (1, 2):
        assert held(world, index) == []
        assert world.binding(index) is None


@pytest.mark.parametrize("mode", MODES)
def test_renewal_by_rekey_loses_nothing(mode: Mode) -> None:
    world = registered(mode=mode)
    streams = Streams(world)
    streams.run(0.1)
    world.seen.clear()
    world.has[1].renew(HOA, world.now)
    streams.run(3.0)
    streams.assert_nothing_lost()
    settled(world)
    # Two rekeys, and two Deletes; no new IKE SA.
    assert exchanges(world) == [36] * 4 + [37] * 4
    assert len(world.found(1, ChildRekeyed)) == 2
    assert len(world.found(1, IkeEstablished)) == 1


def test_the_ike_sa_is_renewed_when_it_is_old() -> None:
    """By the home agent that has it, again and again; a renewal of the SAs works on every one."""
    world = registered(ike_sa_lifetime=10.0)
    streams = Streams(world)
    streams.run(0.1)
    world.seen.clear()
    for generation in (2, 3, 4):
        world.run(10.0)
        world.has[1].renew(HOA, world.now)
        streams.run(3.0)
        streams.assert_nothing_lost()
        settled(world, generation)
    renewed = world.found(1, IkeRekeyed)
    assert 3 <= len(renewed) <= 4
    assert all(each.fields()["initiator"] for each in renewed)
    assert {each.fields()["reason"] for each in world.found("mn", IkeDeleted)} == {"rekeyed"}
    assert len(world.found(1, ChildRekeyed)) == 6
    assert 34 not in exchanges(world)


def test_key_exchange_methods_by_configuration() -> None:
    """The home agents' first choice counts; MODP-2048 where both ends name it."""

    class Old(World):
        def mn_config(self, number: int = 1) -> MobileNodeConfig:
            groups = (IkeGroup.X25519, IkeGroup.MODP_2048)
            return replace(super().mn_config(number), ike_groups=groups)

    for kind, wanted in ((World, IkeGroup.P256), (Old, IkeGroup.MODP_2048)):
        world = kind(1, ike=True, ike_groups=(wanted,))
        world.start_all()
        world.start_mn()
        assert world.binding(1) is not None
        management = world.has[1]._keys
        assert management is not None
        (sa,) = management._endpoint.sas()
        assert sa.group == {IkeGroup.P256: 19, IkeGroup.MODP_2048: 14}[wanted]


def test_an_old_ike_sa_is_renewed_by_way_of_the_nearest_home_agent() -> None:
    """Rule 8: whose the new IKE SA is can be seen from its SPI, too."""
    world = registered(ike_sa_lifetime=10.0)
    world.order = [2, 1, 3]
    world.run(11.0)
    (renewed,) = world.found(1, IkeRekeyed)
    assert isinstance(renewed, IkeRekeyed)
    assert renewed.successor.local_spi >> 56 == 1
    assert [each.fields()["reason"] for each in world.found("mn", IkeDeleted)] == ["rekeyed"]
    assert world.has[2].counters["ike.relayed"] >= 2
    world.has[1].renew(HOA, world.now)
    world.run(5.0)
    settled(world)


def test_a_renewal_of_the_sas_that_waits_for_one_of_the_ike_sa() -> None:
    """Its requests move to the new IKE SA; both ends know what they are about."""
    world = registered()
    streams = Streams(world)
    streams.run(0.1)
    management = world.has[1]._keys
    assert management is not None
    (sa,) = management._endpoint.sas()
    management._endpoint.rekey_ike(sa, world.now)
    world.has[1].renew(HOA, world.now)
    assert len(sa.queue) == 2
    streams.run(3.0)
    streams.assert_nothing_lost()
    settled(world)
    assert [each.sa for each in world.found(1, ChildRekeyed)] == [sa.heir] * 2
    assert sa.heir is not sa


@pytest.mark.parametrize("mode", MODES)
def test_takeover_then_renewal_by_the_new_primary(mode: Mode) -> None:
    """Rule 8: its own IKE_SA_INIT, once a renewal is due, and not because of the takeover."""
    world = registered(mode=mode)
    world.kill(1)
    world.run(1.0)
    world.seen.clear()
    streams = Streams(world, (2, 3))
    streams.run(0.5)
    assert exchanges(world) == []
    last_number(world, 2)
    streams.run(3.0)
    streams.assert_nothing_lost()
    assert world.primaries() == {"HA2"}
    assert exchanges(world) == [34, 34, 35, 35, 36, 36]
    assert world.found(2, IkeEstablished)[0].fields()["initiator"] is True
    world.run(15.0)  # the old SAs, which no Delete of HA2 can name, have ended
    streams.run(0.1)
    streams.assert_nothing_lost()
    settled(world)
    assert {each.spi >> 24 for each in held(world, 3) if each.inbound} == {2}
    # The mobile node has one IKE SA, the new one: it replaced the older.
    assert [each.fields()["reason"] for each in world.found("mn", IkeDeleted)] == ["forgotten"]
    # The next renewal is a rekey within it.
    world.seen.clear()
    world.has[2].renew(HOA, world.now)
    streams.run(3.0)
    streams.assert_nothing_lost()
    settled(world, 3)
    assert exchanges(world) == [36] * 4 + [37] * 4


def test_i8_a_failover_causes_no_ike_message() -> None:
    world = registered()
    streams = Streams(world, (2, 3))
    streams.run(0.1)
    world.seen.clear()
    world.kill(1)
    streams.run(2.0)
    streams.assert_nothing_lost()
    assert world.primaries() == {"HA2"}
    assert exchanges(world) == []
    assert not any(is_ike(packet) for packet in world.seen)


@pytest.mark.parametrize("moves", [True, False])
def test_movement_with_and_without_k(moves: bool) -> None:
    """RFC 6275 §10.3.1, §11.7.3. SAs survive in either case, and no packet of IKE is needed."""
    world = registered(key_management=moves)
    world.seen.clear()
    world.attach(COA2)
    world.detach(COA)
    world.run(0.5)
    assert exchanges(world) == []
    ended = [each.fields()["reason"] for each in world.found("mn", IkeDeleted)]
    assert ended == ([] if moves else ["forgotten"])
    assert len(world.found(1, IkeDeleted)) == len(ended)
    streams = Streams(world)
    streams.run(0.1)
    world.has[1].renew(HOA, world.now)
    streams.run(3.0)
    streams.assert_nothing_lost()
    if moves:
        assert exchanges(world) == [36] * 4 + [37] * 4
        settled(world)
    else:
        assert exchanges(world)[:6] == [34, 34, 35, 35, 36, 36]
        world.run(15.0)
        settled(world)
    ike = [packet for packet in world.seen if is_ike(packet)]
    assert {COA2.packed, ANYCAST.packed} == {
        part for each in ike for part in (each[8:24], each[24:40])
    }


def test_movement_while_another_home_agent_is_nearer() -> None:
    """The IKE SA is at HA1, the Binding Update goes to HA2: HA1 follows, as HA2 told it."""
    world = registered()
    world.order = [2, 1, 3]
    world.attach(COA2)
    world.detach(COA)
    world.run(0.5)
    assert world.primaries() == {"HA2"}
    assert world.found(1, IkeDeleted) == []
    world.seen.clear()
    streams = Streams(world)
    world.has[2].renew(HOA, world.now)  # it has no IKE SA
    streams.run(3.0)
    streams.assert_nothing_lost()
    assert exchanges(world)[:6] == [34, 34, 35, 35, 36, 36]
    # HA1's IKE SA is of no use any more: the mobile node has a newer one.
    assert [each.fields()["reason"] for each in world.found(1, IkeDeleted)] == ["forgotten"]


def test_a_primary_that_is_not_nearest_renews_by_way_of_its_peers() -> None:
    """The IKE SPI names the HA: the nearest one relays to it."""
    world = registered()
    world.order = [2, 3, 1]
    streams = Streams(world)
    streams.run(0.1)
    world.has[1].renew(HOA, world.now)
    streams.run(3.0)
    streams.assert_nothing_lost()
    settled(world)
    assert world.primaries() == {"HA1"}
    assert world.has[2].counters["ike.relayed"] == 4


@pytest.mark.parametrize("after", range(1, 6))
def test_routing_moves_in_the_middle_of_the_first_exchange(after: int) -> None:
    """To an HA without the half-open SA: it relays, or, when the other is dead, says so."""
    for dead in (False, True):
        world = World(3, ike=True)
        world.start_all()
        count = 0

        def trouble(packet: bytes, world: World = world, dead: bool = dead) -> list[bytes]:
            nonlocal count
            count += is_ike(packet)
            if count == after and is_ike(packet):
                world.order = [2, 3, 1]
                if dead:
                    world.after(0.0, lambda: world.kill(1))
            return [packet]

        world.trouble = trouble
        world.start_mn(settle=0.2)
        assert world.mn is not None
        if not dead:
            assert world.mn.registration.bound
        world.run(6.0)
        assert world.mn.registration.bound
        streams = Streams(world)
        streams.run(0.1)
        streams.assert_nothing_lost()


@pytest.mark.parametrize("what", ["lost", "twice"])
@pytest.mark.parametrize("number", range(14))
def test_each_ike_message_lost_or_repeated(number: int, what: str) -> None:
    """Registration and one renewal: 6 messages, and 8."""
    world = World(3, ike=True)
    world.start_all()
    count = 0

    def trouble(packet: bytes) -> list[bytes]:
        nonlocal count
        if not is_ike(packet):
            return [packet]
        count += 1
        if count - 1 != number:
            return [packet]
        return [] if what == "lost" else [packet, packet]

    world.trouble = trouble
    world.start_mn(settle=1.0)
    streams = Streams(world)
    streams.run(0.1)
    world.has[1].renew(HOA, world.now)
    streams.run(1.0)
    streams.run(3.0)
    world.run(1.0)
    streams.assert_nothing_lost()
    settled(world)
    assert count > number


@pytest.mark.parametrize("nearest", [1, 2])
def test_a_restarted_mobile_node_begins_anew(nearest: int) -> None:
    """New IKE, a new generation; the old SAs are gone from every HA."""
    world = registered()
    streams = Streams(world)
    streams.run(0.1)
    old = {each.spi for index in (1, 2, 3) for each in held(world, index)}
    recorded = list(world.seen)
    world.order.remove(nearest)
    world.order.insert(0, nearest)
    world.mn_addresses.clear()
    world.start_mn()
    settled_generation = {2: {"mature"}}
    for index in (1, 2, 3):
        assert generations(world, index) == settled_generation
        assert not {each.spi for each in held(world, index)} & old
    before = len(world.at_correspondent)
    for packet in recorded:
        if packet[24:40] == ANYCAST.packed:
            world.inject(packet)
    world.run(0.5)
    assert len(world.at_correspondent) == before
    streams.run(0.1)
    streams.assert_nothing_lost()
    assert world.primaries() == {f"HA{nearest}"}


def test_revocation() -> None:
    world = registered()
    world.has[1].revoke(HOA, world.now)
    world.run(0.05)
    settled(world)
    streams = Streams(world)
    streams.run(0.2)
    streams.assert_nothing_lost()
    assert len(world.found("mn", KeysRenewed)) == 2


def test_revocation_of_which_the_mobile_node_hears_nothing() -> None:
    """All SAs are dead at the home agents: unanswered Binding Updates make it begin (rule 8)."""
    world = registered()
    world.trouble = lambda packet: (
        [] if is_ike(packet) and packet[8:24] == ANYCAST.packed else [packet]
    )
    world.has[1].revoke(HOA, world.now)
    world.run(12.0)
    for index in (1, 2, 3):
        assert held(world, index) == []
    world.trouble = lambda packet: [packet]
    world.attach(COA2)
    world.detach(COA)
    world.run(6.9)
    assert len(world.found("mn", IkeEstablished)) == 1
    world.run(0.2)
    assert len(world.found("mn", IkeEstablished)) == 2
    streams = Streams(world)
    streams.run(0.1)
    streams.assert_nothing_lost()
    world.run(15.0)
    settled(world)


def test_all_home_agents_restarted_at_once() -> None:
    world = registered()
    for index in (1, 2, 3):
        world.kill(index)
    world.run(1.0)
    for index in (1, 2, 3):
        world.start_ha(index)
    world.run(1.0)
    assert world.mn is not None
    world.mn.registration.refresh(world.now)
    world._collect()
    world.run(7.2)
    streams = Streams(world)
    streams.run(0.1)
    streams.assert_nothing_lost()


@pytest.mark.parametrize("to_mobile", [False, True])
def test_a_renewal_that_nobody_answers_is_given_up_and_begun_anew(to_mobile: bool) -> None:
    world = registered()
    deaf = ANYCAST.packed
    side = slice(24, 40) if not to_mobile else slice(8, 24)
    world.trouble = lambda packet: [] if is_ike(packet) and packet[side] == deaf else [packet]
    last_number(world, 1)
    streams = Streams(world)
    streams.run(0.1)
    world.run(9.8)
    assert world.found(1, RenewalFailed) == []
    world.run(0.3)
    assert len(world.found(1, RenewalFailed)) == 1
    world.trouble = lambda packet: [packet]
    streams.run(3.5)
    streams.assert_nothing_lost()
    world.run(30.0)
    streams.run(0.1)
    streams.assert_nothing_lost()
    for index in (1, 2, 3):
        assert len(held(world, index)) == 4
    assert world.mn is not None
    assert len(world.mn.sas()) == 4


def test_a_mobile_node_whose_sas_have_all_ended_begins() -> None:
    world = registered()
    assert world.mn is not None
    spis = [each.spi for each in world.mn._associations if each.destination == HOA]
    world.mn.delete_keys(spis, world.now)
    world._collect()
    world.run(1.0)
    assert world.mn.registration.bound
    assert len(world.found("mn", IkeEstablished)) == 2
    streams = Streams(world)
    streams.run(0.1)
    streams.assert_nothing_lost()
    settled(world)


@pytest.mark.parametrize("index", [1, 2])
def test_a_restarted_home_agent_in_draft_mode_comes_back(index: int) -> None:
    """Rule 3: HA1, primary itself, by its own IKE_SA_INIT, whose answers its peers relay."""
    world = registered(mode=Mode.DRAFT)
    streams = Streams(world)
    streams.run(0.1)
    world.kill(index)
    world.run(0.2)
    world.seen.clear()
    world.start_ha(index)
    streams.via = tuple({1, 2, 3} - {index})
    streams.run(1.0)
    assert index in world.advertising
    assert exchanges(world).count(ExchangeType.IKE_SA_INIT) == (2 if index == 1 else 0)
    streams.via = (1, 2, 3)
    streams.run(2.0)
    world.run(12.0)
    streams.run(0.1)
    streams.assert_nothing_lost()
    settled(world)


def test_a_home_agent_with_an_ike_sa_that_was_replaced_makes_a_new_one() -> None:
    """The role wanders HA1, HA2, HA1: HA1 has learnt that its IKE SA is gone at the other end."""
    world = registered()
    for order in ([2, 1, 3], [1, 2, 3]):
        world.order = order
        world.attach(COA2 if order[0] == 2 else COA)
        world.detach(COA if order[0] == 2 else COA2)
        world.run(0.5)
        assert world.primaries() == {f"HA{order[0]}"}
        world.has[order[0]].renew(HOA, world.now)
        world.run(14.0)
    settled(world, 3)
    assert len(world.found("mn", IkeEstablished)) == 3
    renewed = [*world.found(2, AssociationsRenewed), *world.found(1, AssociationsRenewed)]
    assert len(renewed) == 2


def test_lifetime_renewals_go_on_over_movement_and_failover() -> None:
    world = registered(sa_lifetime=5.0)
    streams = Streams(world)
    at = COA
    for step in range(8):
        world.run(1.5)
        old, at = at, COA2 if at == COA else COA
        world.attach(at)
        world.detach(old)
        world.run(0.05)
        streams.run(0.02)
        if step == 4:
            world.kill(1)
            streams.via = (2, 3)
            world.run(0.5)
    streams.run(0.1)
    streams.assert_nothing_lost()
    began = [len(world.found(index, RenewalBegan)) for index in (1, 2, 3)]
    assert began[0] >= 1
    assert began[1] >= 1
    assert max(world.sealed.values()) == 1
    assert world.found(2, PrimaryChanged)


def test_datagrams_of_strangers_change_nothing() -> None:
    world = registered(has=2)
    from agents.wire.udp import serialize_udp

    stranger = IPv6Address("fd00:bad::1")
    for octets in (b"", b"\0" * 27, b"\1" * 28, bytes(range(256)) * 4):
        for port in (500, 4500, 9):
            udp = serialize_udp(stranger, 500, ANYCAST, port, octets)
            packet = ipv6.build(stranger, ANYCAST, ipv6.UDP, udp)
            world.has[1].receive(packet, world.now)
            world.has[1].receive(packet[:-1], world.now)
            broken = packet[:47] + bytes([packet[47] ^ 1]) + packet[48:]
            world.has[1].receive(broken, world.now)
    assert world.has[1].counters["dropped.not-ike"] == 4
    assert world.has[1].counters["dropped.bad-checksum"] == 12
    # A peer relays nothing but IKE to the home agent address.
    peer = world.has[2]._context.peers.by_index(1)
    assert peer is not None
    inner = ipv6.build(own_address(2), ANYCAST, ipv6.MOBILITY, bytes(8))
    world.has[2]._context.send_sealed(peer, inner, ipv6.IPV6)
    world.has[2]._context.send_sealed(peer, inner[:39] + b"\0", ipv6.IPV6)
    world.run(0.01)
    assert world.has[1].counters["dropped.relayed-to-home-agent"] >= 1
    streams = Streams(world, (1, 2))
    streams.run(0.05)
    streams.assert_nothing_lost()


def test_a_flood_of_spis_is_relayed_at_a_limited_rate() -> None:
    world = registered(has=2)
    from agents.wire.udp import serialize_udp

    stranger = IPv6Address("fd00:bad::1")
    # A response to IKE_AUTH on an IKE SA that HA2 would have begun.
    octets = bytes((2, *bytes(6), 1, *bytes(7), 1, 0, 0x20, 35, 0x20, *bytes(3), 1, 0, 0, 0, 28))
    packet = ipv6.build(
        stranger, ANYCAST, ipv6.UDP, serialize_udp(stranger, 500, ANYCAST, 500, octets)
    )
    for _ in range(500):
        world.has[1].receive(packet, world.now)
    assert world.has[1].counters["ike.relayed"] == 200
    assert world.has[1].counters["dropped.ike-relay-limit"] == 300
    world.run(0.1)
    assert world.has[2].key_counters()["ike.dropped.unknown-ike-spi"] == 200
    assert world.to_correspondent == []
    streams = Streams(world, (1, 2))
    streams.run(0.05)
    streams.assert_nothing_lost()


def test_no_secret_and_no_key_is_in_any_event() -> None:
    world = registered(mobile_secret=True)
    world.has[1].renew(HOA, world.now)
    world.run(3.0)
    assert world.secret is not None
    hidden = {each.key.hex() for each in held(world, 1)} | {world.secret.hex()}
    events = [each for found in world.events.values() for each in found]
    text = repr([each.fields() for each in events]) + repr(events)
    private = world.credentials(1).private_key
    assert private is not None
    number = private.private_numbers().private_value
    hidden |= {str(number), f"{number:064x}"}
    assert not any(each in text for each in hidden)
    raw = {repr(each.key) for each in held(world, 1)} | {repr(world.secret)}
    assert not any(each in text for each in raw)
