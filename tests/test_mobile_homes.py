"""A mobile node with two home addresses: real engines on all sides, in memory (draft §4.2)."""

import pytest

from agents.config import ConfigError, MobileNodeTimers
from agents.core.home_choice import Standing
from agents.core.wishes import Wish
from agents.keys import KeyedAssociation, SaMode, Transform
from agents.wire import icmpv6, ipv6
from tests.homes_world import (
    CN,
    COA,
    COA2,
    HOMES,
    INDEXES,
    ROUTER,
    TO_HOME_AGENT,
    TwoHomes,
    anycast,
    home_address,
    is_update,
    prefix,
)
from tests.world import DELAY, own_address, udp

TIMERS = MobileNodeTimers()
VERDICT = TIMERS.home_silence + TIMERS.home_probes * TIMERS.home_probe_interval
STEP = 0.02


def talk(world: TwoHomes, home: int, seconds: float) -> int:
    """Send every 20 ms, the correspondent answers; return how many answers came."""
    before, heard = len(world.at_host), len(world.at_correspondent)
    end = world.now + seconds
    while world.now < end - 1e-9:
        world.up(home)
        world.run(STEP / 2)
        for index, packet in world.at_correspondent[heard:]:
            if packet[8:24] == home_address(home).packed:
                world.down(index, home)
        heard = len(world.at_correspondent)
        world.run(STEP / 2)
    return len(world.at_host) - before


def test_each_home_is_a_scenario_of_its_own() -> None:
    world = TwoHomes().bind()
    rows = world.mn.bindings()
    assert [row["home_address"] for row in rows] == [str(home_address(n)) for n in HOMES]
    assert [row["destination"] for row in rows] == [str(anycast(n)) for n in HOMES]
    assert {row["care_of_address"] for row in rows} == {str(COA)}
    assert [row["new_flows"] for row in rows] == [True, False]
    assert [row["primary"] for row in rows] == [str(own_address(INDEXES[n][0])) for n in HOMES]
    assert len(world.mn.sas()) == 8
    listed = {(row["home"], row["index"]) for row in world.mn.peers()}
    assert listed == {(home, index) for home in HOMES for index in INDEXES[home]}
    assert all(row["multihomed"] for row in world.mn.status()["homes"])  # type: ignore[attr-defined]
    for home in HOMES:
        for index in INDEXES[home]:
            [binding] = world.has[index].bindings()
            assert binding["home_address"] == str(home_address(home))
            assert binding["primary"] == f"HA{INDEXES[home][0]}"


def test_home_agents_of_different_homes_never_speak_to_one_another() -> None:
    world = TwoHomes().bind()
    talk(world, 1, 2)
    world.kill_home(1)
    world.run(5)
    own = {own_address(index).packed: home for home in HOMES for index in INDEXES[home]}
    between = {
        (own[packet[8:24]], own[packet[24:40]])
        for packet in world.seen
        if packet[8:24] in own and packet[24:40] in own
    }
    assert between == {(1, 1), (2, 2)}


def test_payload_takes_the_home_of_its_source() -> None:
    world = TwoHomes().bind()
    for home in HOMES:
        before = len(world.at_correspondent)
        world.up(home, b"from %d" % home)
        world.run(2 * DELAY)
        [(index, packet)] = world.at_correspondent[before:]
        assert index in INDEXES[home]
        assert packet == udp(home_address(home), CN, b"from %d" % home)
        # Any home agent of that home, under the one SA.
        for other in INDEXES[home]:
            world.down(other, home, b"to %d" % home)
            world.run(2 * DELAY)
            assert world.at_host[-1] == udp(CN, home_address(home), b"to %d" % home)
    assert world.mn.counters["tunnel.sent"] == 2
    assert world.mn.counters["tunnel.received"] == 4


def test_one_home_cannot_speak_for_the_other() -> None:
    """A packet under home 1's SA with home 2's address outside, and the reverse, is dropped."""
    world = TwoHomes().bind()
    before = len(world.seen)
    world.down(1, 1)
    [packet] = [each for each in world.seen[before:] if each[8:24] == anycast(1).packed]
    forged = packet[:8] + anycast(2).packed + packet[24:]
    delivered, dropped = len(world.at_host), sum_of_drops(world)
    world.mn.receive(forged, world.now)
    assert world.mn.packets_to_deliver() == []
    assert sum_of_drops(world) == dropped + 1
    world.run(2 * DELAY)
    assert len(world.at_host) == delivered + 1  # the true one still counts


def sum_of_drops(world: TwoHomes) -> int:
    return sum(n for name, n in world.mn.counters.items() if name.startswith("dropped."))


@pytest.mark.parametrize("ike", [False, True])
@pytest.mark.parametrize("fault", ["lost", "killed"])
def test_as_1_fails(fault: str, ike: bool) -> None:
    """Flows on home 1 stop, those on home 2 do not; new flows choose home 2 in bounded time."""
    world = TwoHomes(ike).bind()
    assert talk(world, 1, 1) == talk(world, 2, 1) == 50
    if fault == "lost":
        world.lost = {1}
    else:
        world.kill_home(1)
    failed = world.now
    answers = 0
    while world.mn.choice.chosen == 1:
        world.up(1)
        answers += talk(world, 2, STEP)
        assert world.now < failed + 10
    assert world.now - failed <= VERDICT + STEP + 1e-6
    assert answers == round((world.now - failed) / STEP)  # home 2 lost nothing
    assert world.kinds("home-chosen") == [
        {"home": 2, "home_address": str(home_address(2)), "previous": 1}
    ]
    # Nothing of home 2 was renegotiated or registered anew (I8).
    assert not [p for p in world.seen if is_update(p, 2)][1:]
    assert talk(world, 1, 0.5) == 0
    assert talk(world, 2, 0.5) == 25


def test_an_unreachable_message_shortens_the_silence_and_decides_nothing() -> None:
    world = TwoHomes().bind()
    talk(world, 1, 0.5)
    world.lost, world.unreachable = {1}, True
    failed = world.now
    while world.mn.choice.chosen == 1:
        talk(world, 1, STEP)
    series = TIMERS.home_probes * TIMERS.home_probe_interval
    assert series <= world.now - failed <= series + 2 * STEP


def test_a_forged_unreachable_message_moves_nothing() -> None:
    world = TwoHomes().bind()
    updates = len(world.seen)
    for _ in range(500):
        talk(world, 1, STEP)
        quoted = ipv6.build(COA, anycast(1), ipv6.ESP, bytes(40))
        forged = icmpv6.destination_unreachable(ROUTER, quoted)
        assert forged is not None
        world.up(1)
        world.mn.receive(forged, world.now)
    assert world.standing(1) == Standing.WORKING
    assert world.kinds("home-chosen") == []
    sent = [each for each in world.seen[updates:] if is_update(each, 1)]
    assert len(sent) <= 500 * STEP / TIMERS.home_silence + 1


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (lambda error: error[:-1] + bytes((error[-1] ^ 1,)), "bad-checksum"),
        (lambda error: ipv6.build(ROUTER, COA, ipv6.ICMPV6, b"\x80" + bytes(60)),
         "unknown-message-type"),
        (lambda error: ipv6.build(ROUTER, COA, ipv6.ICMPV6, b"\x01" + bytes(20)), "truncated"),
        (lambda error: icmpv6.destination_unreachable(
            ROUTER, ipv6.build(COA, CN, ipv6.ESP, bytes(40))), "error-not-ours"),
        (lambda error: icmpv6.destination_unreachable(
            ROUTER, ipv6.build(COA2, anycast(1), ipv6.ESP, bytes(40))), "error-not-ours"),
    ],
)  # fmt: skip
def test_other_errors_are_counted(packet: object, reason: str) -> None:
    world = TwoHomes().bind()
    world.up(1)
    error = icmpv6.destination_unreachable(ROUTER, ipv6.build(COA, anycast(1), ipv6.ESP, bytes(40)))
    assert callable(packet)
    before = len(world.seen)
    world.mn.receive(packet(error), world.now)
    assert world.mn.counters[f"dropped.{reason}"] == 1
    assert world.mn.packets_to_send(world.now) == []
    assert len(world.seen) == before
    world.run(3 * DELAY)
    assert talk(world, 1, 0.1) == 5  # it lives on


def test_the_way_back() -> None:
    world = TwoHomes().bind()
    talk(world, 1, 0.5)
    world.lost = {1}
    talk(world, 1, 3)
    assert world.mn.choice.chosen == 2
    away = world.now
    world.lost = set()
    while world.standing(1) == Standing.FAILED:
        world.run(STEP)
        assert world.now - away < 8  # RFC 6275 §11.8: it waited less than twice as long as before
    heard = world.now
    while world.mn.choice.chosen == 2:
        world.run(STEP)
    assert TIMERS.home_hold - STEP <= world.now - heard <= TIMERS.home_hold + STEP
    assert talk(world, 1, 0.5) == 25


def test_home_agents_that_lost_everything_come_back_by_ike() -> None:
    """Rule 8: unanswered Binding Updates lead to IKE with whoever is there again."""
    world = TwoHomes(ike=True).bind()
    talk(world, 1, 0.5)
    world.kill_home(1)
    talk(world, 1, 3)
    assert world.mn.choice.chosen == 2
    world.start_home(1)
    began = world.now
    while world.mn.choice.chosen == 2:
        world.run(0.1)
        assert world.now - began < 60
    assert talk(world, 1, 0.5) == 25
    assert talk(world, 2, 0.5) == 25


def test_a_failover_within_a_home_is_none_of_the_choice() -> None:
    world = TwoHomes().bind()
    talk(world, 1, 1)
    world.has.pop(1)
    world.run(0.3)  # routing takes its time
    world.advertising.discard(1)
    before = len(world.seen)
    talk(world, 1, 3)
    assert world.mn.choice.chosen == 1
    assert not [each for each in world.seen[before:] if is_update(each, 1)]


def test_movement_takes_both_homes_along() -> None:
    world = TwoHomes().bind()
    world.attach(COA2)
    world.run(0.1)
    assert {row["care_of_address"] for row in world.mn.bindings()} == {str(COA2)}
    for home in HOMES:
        assert talk(world, home, 0.2) == 10
    world.detach(COA)
    world.detach(COA2)
    world.up(1)
    world.run(100)
    assert [world.standing(home) for home in HOMES] == [Standing.WORKING] * 2  # nobody is judged
    world.attach(COA)
    world.run(0.1)
    for home in HOMES:
        assert talk(world, home, 0.2) == 10
    assert world.kinds("home-chosen") == []


def test_an_address_of_a_home_network_is_no_care_of_address() -> None:
    world = TwoHomes().bind()
    world.attach(prefix(2)[0x777])
    assert {row["care_of_address"] for row in world.mn.bindings()} == {str(COA)}
    assert world.mn.counters["addresses-ignored"] == 1


def test_a_lifetime_that_ends_unnoticed_cannot_be() -> None:
    """A refresh without an answer is silence too, whether or not anything else is sent."""
    world = TwoHomes().bind()
    world.lost = {1}
    while world.mn.choice.chosen == 1:
        world.run(1)
        assert world.now < 1000 + 0.75 * 420 + VERDICT + 5
    assert world.mn.bindings()[0]["state"] == "refreshing"


def test_keys_find_their_home() -> None:
    world = TwoHomes().bind()
    stray = KeyedAssociation(
        0x300, prefix(1)[0x999], anycast(1), SaMode.TUNNEL, Transform.AES_128_GCM, bytes(20)
    )
    with pytest.raises(ConfigError, match="not of one of this node's home addresses"):
        world.mn.load_keys([stray], world.now)
    spis = {each.spi for each in world.mn.keyed()}
    assert spis >= set(TO_HOME_AGENT.values())


def test_verbs_for_all_homes() -> None:
    world = TwoHomes().bind()
    before = len(world.seen)
    world.mn.wish(Wish(1, 2), world.now)
    world.run(0.1)
    assert [bool([p for p in world.seen[before:] if is_update(p, home)]) for home in HOMES] == [
        True,
        True,
    ]
    world.mn.deregister(world.now)
    world.run(0.1)
    assert world.mn.bindings() == []
    assert not world.mn.status()["bound"]
    assert [world.standing(home) for home in HOMES] == [Standing.NONE] * 2
    world.mn.start(world.now)
    world.run(1)  # MAX_UPDATE_RATE: this is the fourth Binding Update within a second
    assert world.mn.status()["bound"]
    assert world.mn.choice.chosen == 1


def test_every_home_is_refreshed() -> None:
    world = TwoHomes().bind()
    before = len(world.seen)
    world.mn.refresh(world.now)
    world.run(0.1)
    assert all(any(is_update(packet, home) for packet in world.seen[before:]) for home in HOMES)
    assert world.mn.status()["bound"]


def test_what_belongs_to_nobody_is_counted_and_harms_nothing() -> None:
    world = TwoHomes().bind()
    world.mn.encapsulate(udp(CN, COA), world.now)
    assert world.mn.counters["dropped.inner-source"] == 1
    for octets in (b"", b"\x60", bytes(40), udp(CN, COA), udp(anycast(2), COA)):
        world.mn.receive(octets, world.now)
    assert sum_of_drops(world) == 6
    with pytest.raises(ValueError, match="no home 3"):
        world.mn.home(3)
    assert talk(world, 2, 0.1) == 5
