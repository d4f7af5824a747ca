"""Home agents and a mobile node in memory: registration, failover, takeover, restart, rejoin."""

from ipaddress import IPv6Address

import pytest
from world import ANYCAST, CN, COA, COA2, HOA, World, opened, own_address, udp

from agents.config import ConfigError, Mode
from agents.core.events import (
    AdvertisePrefix,
    BindingAccepted,
    BindingLearnt,
    Notice,
    PeerChanged,
    PeersInSync,
    PrimaryChanged,
    TableReceived,
    WithdrawPrefix,
)
from agents.wire import inter_ha, ipv6
from agents.wire.transforms import Transform

MODES = [Mode.HARDENED, Mode.DRAFT, Mode.DRAFT_CBC]


def registered(has: int = 3, mode: Mode = Mode.HARDENED, **options: object) -> World:
    world = World(has, mode, **options)
    world.start_all()
    world.start_mn()
    return world


@pytest.mark.parametrize("mode", MODES)
def test_registration_reaches_every_home_agent(mode: Mode) -> None:
    world = registered(mode=mode)
    for index in (1, 2, 3):
        binding = world.binding(index)
        assert binding is not None
        assert binding["care_of_address"] == str(COA)
        assert (binding["primary"], binding["epoch"]) == ("HA1", 1)
    assert world.found(1, BindingAccepted)
    assert world.found(2, BindingLearnt)
    assert world.found(1, PeersInSync)
    assert world.found(1, PrimaryChanged)[0].fields()["cause"] == "bu"


@pytest.mark.parametrize("mode", MODES)
def test_every_home_agent_tunnels_straight_to_the_mobile_node(mode: Mode) -> None:
    world = registered(mode=mode)
    for number in range(5):
        for index in (1, 2, 3):
            world.down(index, bytes([number, index]))
    world.run(0.1)
    assert len(world.at_mobile) == 15
    assert world.mn is not None
    assert not any(name.startswith("dropped") for name in world.mn.counters)
    world.up(b"reply")
    world.run(0.1)
    assert world.at_correspondent == [(1, udp(HOA, CN, b"reply"))]


def test_chacha20_poly1305_shared_by_all_in_hardened_mode() -> None:
    """RFC 7634 §2: its IV has 64 bits, too, for the SID to stand in. Draft mode takes it not."""
    world = World()
    world.transform = Transform.CHACHA20_POLY1305
    world.start_all()
    world.start_mn()
    for index in (1, 2, 3):
        world.down(index, bytes([index]))
    world.kill(1)
    world.up(b"after")
    world.run(0.1)
    assert len(world.at_mobile) == 3
    assert world.at_correspondent == [(2, udp(HOA, CN, b"after"))]
    assert {each["transform"] for each in world.has[2].sas()} == {"chacha20-poly1305"}
    draft = World(mode=Mode.DRAFT)
    draft.transform = Transform.CHACHA20_POLY1305
    draft.start_all()
    with pytest.raises(ConfigError, match="does not fit mode draft; use aes-128-gcm"):
        draft.start_mn()


@pytest.mark.parametrize("mode", MODES)
def test_failover_needs_nothing_but_routing(mode: Mode) -> None:
    world = registered(mode=mode)
    world.up()
    world.down(1)
    world.run(0.2)
    signalling = sum(engine.counters["received.binding-update"] for engine in world.has.values())
    world.kill(1)
    world.up(b"after")
    world.down(2, b"after")
    world.run(0.1)
    assert world.at_correspondent[-1] == (2, udp(HOA, CN, b"after"))
    assert world.at_mobile[-1] == udp(CN, HOA, b"after")
    # I8: no Binding Update since (HA1's one is gone with it).
    assert sum(each.counters["received.binding-update"] for each in world.has.values()) == 0
    assert signalling == 1


def test_takeover_only_when_primary_is_invalid_and_traffic_comes() -> None:
    world = registered()
    world.kill(1)
    world.run(1.0)
    # Rule 1: a peer marked invalid changes no primary by itself.
    assert world.found(2, PeerChanged)[-1].fields()["state"] == "invalid"
    assert world.primaries() == {"HA1"}
    world.up()
    world.run(0.1)
    assert world.primaries() == {"HA2"}
    binding = world.binding(3)
    assert binding is not None
    assert binding["epoch"] == 2
    assert world.found(2, PrimaryChanged)[-1].fields()["cause"] == "takeover"


def test_traffic_before_the_primary_is_invalid_takes_nothing_over() -> None:
    world = registered()
    world.order = [2, 3, 1]
    world.up()
    world.run(0.5)
    assert world.primaries() == {"HA1"}


@pytest.mark.parametrize("mode", [Mode.DRAFT, Mode.DRAFT_CBC])
def test_draft_mode_takes_over_only_for_a_renewal(mode: Mode) -> None:
    world = registered(mode=mode)
    world.kill(1)
    world.run(1.0)
    world.up()
    world.run(0.1)
    assert world.primaries() == {"HA1"}
    for each in world.has[2]._context.associations:
        each.soft_limit = 0  # the end of the numbers is near
    world.up()
    world.run(0.1)
    assert world.primaries() == {"HA2"}


def test_binding_update_moves_the_role() -> None:
    world = registered()
    world.order = [3, 1, 2]
    world.attach(COA2)
    world.detach(COA)
    world.run(0.5)
    assert world.primaries() == {"HA3"}
    for index in (1, 2, 3):
        binding = world.binding(index)
        assert binding is not None
        assert binding["care_of_address"] == str(COA2)
        assert binding["epoch"] == 2
        world.down(index, bytes([index]))
    world.run(0.1)
    assert len(world.at_mobile) == 3


def test_restarted_home_agent_learns_before_it_advertises() -> None:
    world = registered()
    world.up()
    world.down(1)
    world.run(0.2)
    world.kill(1)
    world.run(0.5)
    world.up()
    world.run(0.1)
    events = len(world.events[1])
    engine = world.start_ha(1)
    world.run(0.5)
    kinds = [type(each) for each in world.events[1][events:]]
    assert kinds.index(TableReceived) < kinds.index(AdvertisePrefix)
    assert engine.bindings()[0]["primary"] == "HA2"
    # A restart repeats no number (rule 3): its packets are accepted at once.
    before = len(world.at_mobile)
    for number in range(10):
        world.down(1, bytes([number]))
    world.up(b"again")
    world.run(0.1)
    assert len(world.at_mobile) == before + 10
    assert world.at_correspondent[-1] == (1, udp(HOA, CN, b"again"))


def test_restarted_home_agent_in_draft_mode_stays_silent_and_says_so() -> None:
    world = registered(mode=Mode.DRAFT)
    world.kill(1)
    world.run(0.5)
    world.start_ha(1)
    world.run(1.0)
    assert 1 not in world.advertising
    assert any("draft mode" in each.fields()["text"] for each in world.found(1, Notice))  # type: ignore[operator]
    world.down(1)
    world.run(0.1)
    assert world.at_mobile == []
    assert world.has[1].counters["dropped.silent-after-restart"] == 1


def test_restart_in_draft_mode_without_silence_repeats_numbers() -> None:
    world = registered(mode=Mode.DRAFT, reuse_after_restart=True)
    for _ in range(5):
        world.down(1)
    world.run(0.1)
    world.kill(1)
    world.run(0.5)
    world.start_ha(1)
    world.run(1.0)
    before = len(world.at_mobile)
    world.down(1, b"again")
    world.run(0.1)
    assert len(world.at_mobile) == before  # the hole: its numbers were used before
    assert world.mn is not None
    assert world.mn.counters["dropped.replay"] == 1


def test_lost_incarnation_counter_keeps_the_agent_out() -> None:
    world = World(2)
    world.incarnations[1] = -1
    engine = world.start_ha(2)
    from agents.core.home_agent import HomeAgent

    lost = HomeAgent(world.ha_config(1), None, world.random.randbytes, world.peer_keys[1])
    world.has[1] = lost
    lost.start(world.now)
    world.run(2.0)
    assert 1 not in world.advertising
    assert 2 in world.advertising
    assert engine.peers()[0]["state"] == "invalid"
    assert "counter" in str(world.found(1, Notice)[0].fields()["text"])


def test_lonely_home_agent_advertises_after_waiting_and_says_so() -> None:
    world = World(3)
    world.start_ha(1)
    world.run(0.25)
    assert 1 not in world.advertising
    world.run(0.1)
    assert 1 in world.advertising
    assert "no peer answered" in str(world.found(1, Notice)[0].fields()["text"])


def test_one_that_joins_waits_until_it_is_let_in() -> None:
    """With what it has it would draw packets that it cannot deliver; once it has lived it may."""
    world = registered()
    world.kill(3)
    world.last_advertised[3] = None  # it has never served
    world.cut = {frozenset((1, 3)), frozenset((2, 3))}
    world.start_ha(3, joins=True)
    world.run(5.0)
    assert 3 not in world.advertising
    assert "let this one in" in str(world.found(3, Notice)[-1].fields()["text"])
    world.cut = set()
    world.run(1.0)
    assert 3 in world.advertising
    assert world.binding(3) is not None
    for index in (1, 2, 3):
        world.kill(index)
    world.start_ha(3, joins=True)
    world.run(0.4)
    assert 3 in world.advertising


def test_one_that_joins_meets_those_that_are_far_too() -> None:
    world = registered()
    world.kill(3)
    world.last_advertised[3] = None
    far = own_address(1).packed
    world.delay = lambda packet: 0.2 if far in (packet[8:24], packet[24:40]) else 0.001
    world.start_ha(3, joins=True)
    while 3 not in world.advertising:
        world.run(0.01)
    assert world.has[3].status()["peers"] == {"HA1": "up", "HA2": "up"}


def test_cut_off_home_agent_withdraws_and_learns_before_it_returns() -> None:
    world = registered()
    world.has[1].connectivity(False, world.now)
    world.cut = {frozenset((1, 2)), frozenset((1, 3))}
    world.run(0.01)
    assert world.found(1, WithdrawPrefix)[-1].fields()["reason"] == "cut-off"
    world.run(1.0)
    world.attach(COA2)
    world.detach(COA)
    world.run(0.5)
    stale = world.binding(1)
    assert stale is not None
    assert stale["care_of_address"] == str(COA)
    world.cut = set()
    world.has[1].connectivity(True, world.now)
    world.run(0.5)
    fresh = world.binding(1)
    assert fresh is not None
    assert fresh["care_of_address"] == str(COA2)
    kinds = [type(each) for each in world.events[1]]
    assert kinds[::-1].index(AdvertisePrefix) < kinds[::-1].index(TableReceived)


def test_stopped_home_agent_resynchronises() -> None:
    world = registered()
    frozen = world.has.pop(1)
    world.run(1.0)
    world.attach(COA2)
    world.detach(COA)
    world.run(0.5)
    world.has[1] = frozen
    frozen.resynchronise(world.now)
    world.run(0.5)
    binding = world.binding(1)
    assert binding is not None
    assert binding["care_of_address"] == str(COA2)
    assert world.primaries() == {"HA2"}
    assert 1 in world.advertising


@pytest.mark.parametrize("misses", [2, 3, 5])
def test_hello_misses(misses: int) -> None:
    """D8: after k-1 missed HELLOs not yet, after k invalid."""
    from agents.config import HomeAgentTimers

    world = World(2)
    timers = HomeAgentTimers(hello_misses=misses)
    world.start_ha(1, timers=timers)
    world.start_ha(2, timers=timers)
    world.run(1.05)  # half an interval after a HELLO
    world.cut = {frozenset((1, 2))}
    world.run(0.1 * misses - 0.05)
    assert world.has[1].peers()[0]["state"] in ("up", "suspect")
    world.run(0.1)
    assert world.has[1].peers()[0]["state"] == "invalid"
    world.cut = set()
    world.run(0.5)
    assert world.has[1].peers()[0]["state"] == "up"


def test_partition_heals_without_losing_a_binding() -> None:
    """D17: HA1 and HA3 against HA2; the winner of the role adopts the freshest binding."""
    world = registered()
    world.cut = {frozenset((1, 2)), frozenset((2, 3))}
    world.run(1.0)
    world.order = [2, 1, 3]
    world.attach(COA2)  # accepted by HA2 alone: epoch 2
    world.detach(COA)
    world.run(0.5)
    world.order = [1, 2, 3]
    world.attach(COA)  # accepted by HA1, whose role is still of epoch 1
    world.detach(COA2)
    world.run(0.5)
    at_1, at_2 = world.binding(1), world.binding(2)
    assert at_1 is not None
    assert at_2 is not None
    assert (at_1["epoch"], at_2["epoch"]) == (1, 2)
    assert at_1["sequence"] != at_2["sequence"]
    world.cut = set()
    world.run(1.0)
    for index in (1, 2, 3):
        binding = world.binding(index)
        assert binding is not None
        assert binding["care_of_address"] == str(COA)
        assert (binding["primary"], binding["epoch"]) == ("HA2", 2)


@pytest.mark.parametrize("after", ["before-update", "update-sent", "acknowledged"])
def test_primary_dies_around_synchronisation(after: str) -> None:
    """D9, I4: what was acknowledged by a living HA is not lost."""
    world = World(3)
    world.start_all()

    def trouble(packet: bytes) -> list[bytes]:
        message = opened(world, packet)
        if after == "before-update" and isinstance(message, inter_ha.BindingInformationUpdate):
            return []
        return [packet]

    world.trouble = trouble
    if after == "before-update":
        world.start_mn(settle=0.02)
        world.kill(1)
    elif after == "update-sent":
        world.start_mn(settle=0.0045)
        world.kill(1)
    else:
        world.start_mn(settle=0.5)
        world.kill(1)
    world.trouble = lambda packet: [packet]
    world.run(1.0)
    known = [index for index in (2, 3) if world.binding(index) is not None]
    if after == "before-update":
        assert known == []
    else:
        assert known == [2, 3]


@pytest.mark.parametrize(
    "kind",
    [
        inter_ha.BindingInformationUpdate,
        inter_ha.BindingInformationAcknowledgement,
        inter_ha.SaInformationUpdate,
        inter_ha.SaInformationAcknowledgement,
        inter_ha.TableRequest,
        inter_ha.TableSegment,
        inter_ha.TableEnd,
        inter_ha.Hello,
        inter_ha.PrimaryHaSwitch,
        inter_ha.PrimaryHaSwitchAcknowledgement,
    ],
)
@pytest.mark.parametrize("what", ["lost", "twice"])
def test_each_inter_ha_message_lost_or_repeated(
    kind: type[inter_ha.InterHaMessage], what: str
) -> None:
    """D7: the first of each kind on each path is lost, or every one comes twice."""
    world = World(3)
    hit: set[tuple[bytes, bytes]] = set()

    def trouble(packet: bytes) -> list[bytes]:
        if not isinstance(opened(world, packet), kind):
            return [packet]
        path = (packet[8:24], packet[24:40])
        if what == "twice":
            hit.add(path)
            return [packet, packet]
        if path in hit:
            return [packet]
        hit.add(path)
        return []

    world.trouble = trouble
    world.start_all()
    world.start_mn()
    world.kill(1)
    world.run(0.6)
    world.up()
    world.run(0.5)
    world.start_ha(1)
    world.run(1.5)
    assert hit
    for index in (1, 2, 3):
        binding = world.binding(index)
        assert binding is not None
        assert (binding["primary"], binding["epoch"]) == ("HA2", 2)
        world.down(index, bytes([index]))
    world.run(0.1)
    assert len(world.at_mobile) == 3
    assert all(engine.status()["open_exchanges"] == 0 for engine in world.has.values())


def test_reordering_between_home_agents() -> None:
    world = World(3)
    world.delay = lambda packet: 0.001 + world.random.random() * 0.03
    world.start_all()
    world.start_mn()
    for number in range(10):
        world.attach(COA2 if number % 2 == 0 else COA)
        world.detach(COA if number % 2 == 0 else COA2)
        world.run(0.4)
    world.run(0.5)
    assert {str(world.binding(index)["care_of_address"]) for index in (1, 2, 3)} == {str(COA)}  # type: ignore[index]


def test_replay_of_everything_after_a_restart_changes_nothing() -> None:
    """D7: what was recorded before a restart names another incarnation."""
    world = registered()
    recorded = [each for each in world.seen if IPv6Address(each[24:40]) == own_address(1)]
    world.attach(COA2)
    world.detach(COA)
    world.run(0.5)
    world.kill(1)
    world.run(1.0)
    world.start_ha(1)
    for packet in recorded:
        world.inject(packet)
    world.run(1.0)
    binding = world.binding(1)
    assert binding is not None
    assert binding["care_of_address"] == str(COA2)
    drops = world.has[1].counters
    refused = drops["dropped.stale-receiver-incarnation"] + drops["dropped.replay"]
    assert refused + drops["dropped.left-of-window"] > 0
    assert world.has[1].status()["advertising"]


def test_messages_of_strangers_and_in_the_clear_are_counted() -> None:
    world = registered(has=2)
    engine = world.has[1]
    stranger = IPv6Address("fd00:bad::1")
    hello = inter_ha.Hello(incarnation=9, interval_ms=1, identifier=1)
    for source, reason in (
        (stranger, "dropped.inter-ha-from-stranger"),
        (own_address(2), "dropped.inter-ha-in-the-clear"),
    ):
        header = inter_ha.serialize_inter_ha(hello, source, own_address(1))
        engine.receive(ipv6.build(source, own_address(1), ipv6.MOBILITY, header), world.now)
        assert engine.counters[reason] == 1
    world.down(1)
    world.run(0.1)
    assert len(world.at_mobile) == 1


def test_spi_out_of_range_is_refused() -> None:
    """D18, rule 4: HA2 tells, unasked, of an SPI of HA1's range that HA3 does not hold.

    HA1 itself knows that it has not made it, and that is proof (`tests/test_misconduct.py`).
    """
    world = registered(has=3)
    world.cut = {frozenset((1, 2))}
    context = world.has[2]._context
    forged = next(each for each in context.associations if each.inbound)
    copy = type(forged)(
        spi=0x01FFFF00,
        home_address=forged.home_address,
        source=forged.source,
        destination=forged.destination,
        mode=forged.mode,
        transform=forged.transform,
        key=world.random.randbytes(20),
    )
    world.has[2]._synchronisation.announce_associations([copy], world.now)
    world.run(0.1)
    assert world.has[3].counters["sa-refused.spi_out_of_range"] == 1
    assert world.has[3]._context.associations.by_spi(0x01FFFF00) is None
    assert world.has[2].counters["refused-by-peer.spi_out_of_range"] == 1


def test_unknown_home_address_is_asked_for_then_unreachable() -> None:
    """Rule 10: nobody knows it, so the correspondent hears so."""
    world = registered()
    nobody = IPv6Address("fd00:192:168:1::dead")
    world.has[2].receive(udp(CN, nobody), world.now)
    world._collect()
    assert world.has[2].counters["dropped.no-binding"] == 0
    world.run(0.2)
    assert world.has[2].counters["dropped.no-binding"] == 1
    assert world.has[2].counters["sent.BindingInformationRequest"] == 2
    (answer,) = world.to_correspondent
    assert answer[6] == ipv6.ICMPV6
    assert answer[40] == 1


def test_packets_wait_for_a_binding_that_a_peer_knows() -> None:
    world = registered()
    context = world.has[2]._context
    binding = context.cache.get(HOA)
    assert binding is not None
    del context.cache._bindings[HOA], context.cache._by_octets[HOA.packed]
    for number in range(40):
        world.down(2, bytes([number]))
    world.run(0.2)
    assert len(world.at_mobile) == world.ha_config(2).timers.hold_packets
    assert world.has[2].counters["dropped.no-binding"] == 8


def test_new_key_of_a_restarted_mobile_node_replaces_the_old_one_everywhere() -> None:
    world = registered()
    old = {each.spi for each in world.has[3]._context.associations}
    keys = world.mobile_keys(0x01800000)
    assert world.mn is not None
    world.detach(COA)
    world.has[1].load_keys(keys, world.now)
    world.mn.load_keys(keys, world.now)
    world.run(0.1)
    world.attach(COA)
    world.run(3.0)
    for index in (1, 2, 3):
        held = {each.spi for each in world.has[index]._context.associations}
        assert not held & old
        world.down(index, bytes([index]))
    world.run(0.1)
    assert len(world.at_mobile) == 3


def test_floors_close_the_window_at_the_next_home_agent() -> None:
    """Rule 5: replays to HA2 after HA1's death, up to the last floor."""
    world = registered()
    world.seen.clear()
    for _ in range(50):
        world.up()
        world.run(0.01)
    world.run(0.2)
    recorded = [each for each in world.seen if IPv6Address(each[24:40]) == ANYCAST]
    assert len(recorded) == 50
    world.kill(1)
    delivered = len(world.at_correspondent)
    for packet in recorded:
        world.inject(packet)
    world.run(0.1)
    assert len(world.at_correspondent) == delivered
    assert world.has[2].counters["dropped.replay"] == 50
    world.up(b"fresh")
    world.run(0.1)
    assert world.at_correspondent[-1] == (2, udp(HOA, CN, b"fresh"))


def test_replays_above_the_floor_end_with_the_first_fresh_packet() -> None:
    world = registered()
    world.seen.clear()
    for _ in range(20):  # within 100 ms: no floor has been sent yet
        world.up()
    world.run(0.01)
    recorded = [each for each in world.seen if IPv6Address(each[24:40]) == ANYCAST]
    world.kill(1)
    world.up(b"fresh")
    world.run(0.01)
    delivered = len(world.at_correspondent)
    for packet in recorded:
        world.inject(packet)
    world.run(0.1)
    assert len(world.at_correspondent) == delivered


def test_mobile_node_without_multi_sender_support() -> None:
    """D14, rule 7: relayed to the primary; after its death the next one continues above."""
    world = World(3)
    world.start_all()
    world.start_mn(multi_sender=False)
    for index in (1, 2, 3):
        for number in range(20):
            world.down(index, bytes([index, number]))
    world.run(0.3)
    assert len(world.at_mobile) == 60
    assert world.has[2].counters["relayed-to-primary"] == 20
    world.kill(1)
    world.run(0.5)
    world.up()
    world.run(0.1)
    assert world.primaries() == {"HA2"}
    for index in (2, 3):
        world.down(index, bytes([index]))
    world.run(0.1)
    assert len(world.at_mobile) == 62
    assert world.mn is not None
    assert not any(name.startswith("dropped") for name in world.mn.counters)


def test_deregistration_and_late_updates() -> None:
    world = registered()
    stale = world.has[1]._context.cache.get(HOA)
    assert stale is not None
    entry = stale.to_wire(world.now)
    assert world.mn is not None
    world.mn.deregister(world.now)
    world._collect()
    world.run(0.5)
    for index in (1, 2, 3):
        binding = world.binding(index)
        assert binding is not None
        assert binding["state"] == "ended"
    peer = world.has[2]._context.peers.by_index(1)
    assert peer is not None
    world.has[2]._synchronisation.learn_binding(peer, entry, world.now)
    revived = world.binding(2)
    assert revived is not None
    assert revived["state"] == "ended"


def test_deregistration_under_a_new_key_reaches_every_home_agent() -> None:
    """Its number says nothing against those under the old key: a new instance begins (rule 2)."""
    world = registered()
    keys = world.mobile_keys(0x01800000)
    assert world.mn is not None
    world.has[1].load_keys(keys, world.now)
    world.mn.load_keys(keys, world.now)
    world.run(0.1)
    world.mn.registration.sequence -= 1000  # as of a node that has restarted
    world.mn.deregister(world.now)
    world.run(0.5)
    for index in (1, 2, 3):
        binding = world.binding(index)
        assert binding is not None
        assert binding["state"] == "ended", f"HA{index}"
        assert binding["registration"] == 2 * 256


def test_lifetime_runs_out_everywhere() -> None:
    world = registered()
    world.mn = None
    world.run(421.0)
    for index in (1, 2, 3):
        binding = world.binding(index)
        assert binding is not None
        assert binding["state"] == "ended"
    world.down(2)
    world.run(0.1)
    assert world.has[2].counters["dropped.no-binding"] == 1


def test_duplicate_address_detection_delays_the_first_binding_only() -> None:
    world = World(3, duplicate_detection=1.0)
    world.start_all()
    world.start_mn(settle=0.9)
    assert not world.found(1, BindingAccepted)
    world.run(2.0)
    accepted = len(world.found(1, BindingAccepted))
    assert accepted >= 1
    start = world.now
    world.attach(COA2)
    world.detach(COA)
    world.run(0.05)
    assert world.now - start < 1.0
    assert len(world.found(1, BindingAccepted)) == accepted + 1


def test_one_home_agent_alone_sets_no_multihomed_bit() -> None:
    world = registered(has=1)
    assert world.mn is not None
    world.down(1)
    world.run(0.1)
    assert len(world.at_mobile) == 1
    tunnelled = [each for each in world.seen if IPv6Address(each[24:40]) == COA][-1]
    assert tunnelled[6] == ipv6.ESP  # no ORIGIN_IP where there is one sender


@pytest.mark.parametrize("has", [3, 5, 8])
def test_messages_for_a_binding_change_grow_with_the_number_of_home_agents(has: int) -> None:
    world = registered(has=has)
    for engine in world.has.values():
        engine.counters.clear()
    world.attach(COA2)
    world.detach(COA)
    world.run(0.05)
    sent = world.has[1].counters["sent.BindingInformationUpdate"]
    received = world.has[1].counters["received.BindingInformationAcknowledgement"]
    assert (sent, received) == (has - 1, has - 1)
