"""IKEv2 between home agents: from nothing, restarts, simultaneous beginnings, renewal, loss."""

from collections import Counter
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import certified
import pytest
from test_renewal import Streams
from world import ANYCAST, COA, COA2, DELAY, HOME, World, own_address

from agents.config import CredentialFiles, Detector, Mode
from agents.core.events import (
    AdvertisePrefix,
    Notice,
    PeerAssociationEnded,
    PeerAssociationFailed,
    PeerAssociationMade,
    PeerChanged,
)
from agents.core.home_agent import HomeAgent
from agents.core.ike.config import IkeConfig, IkePeerConfig
from agents.core.ike.endpoint import IkeEndpoint
from agents.core.ike.events import IkeFailed, RevocationsLearned
from agents.core.ike_packets import to_datagram, to_packet
from agents.core.membership import FIRST_PEER_INTERVALS
from agents.core.peer_associations import PeerAssociations
from agents.core.peer_key_management import FORGOTTEN_AFTER, LONGEST_REPETITION, QUIET_TIME
from agents.core.timers import TimerQueue
from agents.wire import ipv6
from agents.wire.ike.header import parse_header
from agents.wire.ike.identity import Identity
from agents.wire.ike.message import parse_message
from agents.wire.udp import parse_udp, serialize_udp
from topologies.certification import EXPIRED, Authority

OTHER_HOME = IPv6Network("fd00:192:169:1::/64")


def world_of(has: int = 3, **options: object) -> World:
    return World(has, ike=True, peer_ike=True, **options)  # type: ignore[arg-type]


def registered(has: int = 3, **options: object) -> World:
    """Home agents that started one after the other, and a mobile node."""
    world = world_of(has, **options)
    for index in world.indexes:
        world.start_ha(index)
        world.run(0.4)
    world.start_mn()
    return world


def is_peer_ike(packet: bytes) -> bool:
    return packet[6] == ipv6.UDP and ANYCAST.packed not in (packet[8:24], packet[24:40])


def described(packet: bytes) -> tuple[int, int, bool]:
    """Return (source index, exchange type, whether it is a response) of an IKE message."""
    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    head = parse_header(parse_udp(packet[40:], source, destination)[2])
    return int(source) & 0xFFFF, head.exchange, head.response


def exchanges(world: World, since: int = 0) -> list[tuple[int, int, bool]]:
    """Return what `described` says of each message; the fragments of one count once."""
    return [
        described(each) for each in world.seen[since:] if is_peer_ike(each) and not continues(each)
    ]


def continues(packet: bytes) -> bool:
    """Whether an IKE message is a fragment of one, and not its first."""
    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    fragment = parse_message(parse_udp(packet[40:], source, destination)[2]).fragment
    return fragment is not None and fragment.number > 1


def held(world: World, index: int, other: int) -> PeerAssociations:
    peer = world.has[index]._context.peers.by_index(other)
    assert peer is not None
    return peer.associations


def agree(world: World, *indexes: int) -> None:
    """Each pair holds one SA, and both send on it; all are up, and advertise."""
    for index in indexes:
        assert index in world.advertising
        for other in indexes:
            if other == index:
                continue
            (mine,), (theirs,) = held(world, index, other), held(world, other, index)
            assert held(world, index, other).sending is mine
            assert mine.outbound.spi == theirs.inbound.spi
            assert mine.outbound.key == theirs.inbound.key
            assert world.has[index].status()["peers"][f"HA{other}"] == "up"  # type: ignore[index]


def lost(world: World, index: int) -> int:
    return world.has[index].counters["dropped.unknown-spi"]


def test_three_home_agents_from_nothing() -> None:
    world = world_of()
    for index in world.indexes:
        world.start_ha(index)
        world.run(0.4)
    agree(world, 1, 2, 3)
    # HA2 and HA3 begin with those that are there before them; HA1's own attempts end unanswered.
    counts = Counter(exchanges(world))
    assert counts[2, 35, False] == 1
    assert counts[3, 35, False] == 2
    assert counts[1, 35, False] == 0
    for index in (1, 2, 3):
        made = world.found(index, PeerAssociationMade)
        assert {each.fields()["peer"] for each in made} == ({"HA1", "HA2", "HA3"} - {f"HA{index}"})
        assert "peer-ike.sent.informational-request" not in world.has[index].key_counters()
    world.start_mn()
    assert world.primaries() == {"HA1"}
    streams = Streams(world)
    streams.run(0.1)
    streams.assert_nothing_lost()


def test_the_sa_is_there_in_time_for_a_table_before_advertising() -> None:
    """Rule 10: two round trips of IKE and the first HELLO fit into the wait many times over."""
    world = registered()
    world.kill(3)
    world.run(1.0)
    world.start_ha(3)
    began = world.now
    world.events[3].clear()
    world.run(12 * DELAY)
    assert 3 in world.advertising
    assert world.binding(3) is not None
    assert not [each for each in world.found(3, Notice) if "no peer" in str(each.fields())]
    assert world.now - began < FIRST_PEER_INTERVALS * 0.1


def test_the_start_waits_no_longer_when_peers_are_dead() -> None:
    world = world_of()
    world.start_ha(1)
    world.run(FIRST_PEER_INTERVALS * 0.1 - 0.001)
    assert world.advertising == set()
    world.run(0.002)
    assert world.advertising == {1}
    assert len(world.found(1, AdvertisePrefix)) == 1
    assert world.has[1].counters["dropped.no-peer-sa"] > 0
    assert world.has[1].counters["dropped.internal-error"] == 0
    # Absent peers cost one message a second each, and one key pair for every ten of them.
    world.run(10.0)
    before = len(world.seen)
    world.run(60.0)
    sent = exchanges(world, before)
    assert set(sent) == {(1, 34, False)}
    assert len(sent) <= 2 * 60 / LONGEST_REPETITION * 1.7
    assert Counter(each.fields()["reason"] for each in world.found(1, PeerAssociationFailed)) == {
        "timeout": 2
    }


def test_a_home_agent_that_comes_late_is_met_at_once() -> None:
    world = world_of(2)
    world.start_ha(1)
    world.run(300.0)
    world.start_ha(2)
    world.run(0.1)
    agree(world, 1, 2)


@pytest.mark.parametrize("index", [1, 2, 3])
def test_a_restarted_home_agent_begins_and_is_whole(index: int) -> None:
    world = registered()
    old = {other: held(world, other, index).sending for other in (1, 2, 3) if other != index}
    world.kill(index)
    world.run(1.0)
    before = len(world.seen)
    world.start_ha(index)
    world.run(0.1)
    assert {each[0] for each in exchanges(world, before) if not each[2]} == {index}
    assert index in world.advertising
    assert world.binding(index) is not None
    for other, association in old.items():
        assert held(world, other, index).sending is not association
    incarnations = {
        each["incarnation"]
        for other in old
        for each in world.has[other].peers()
        if each["name"] == f"HA{index}"
    }
    assert incarnations == {2}
    # What the restarted one does not have is forgotten without a word.
    before = len(world.seen)
    world.run(FORGOTTEN_AFTER + 2.0)
    assert exchanges(world, before) == []
    agree(world, 1, 2, 3)


def test_all_restarted_at_once() -> None:
    world = registered()
    for index in (1, 2, 3):
        world.kill(index)
    world.run(0.5)
    world.start_all(settle=FORGOTTEN_AFTER + 3.0)
    agree(world, 1, 2, 3)


def test_a_restart_while_the_peer_still_begins() -> None:
    """Dead for longer than the quiet time: the survivors have been asking for it meanwhile."""
    world = registered()
    world.kill(2)
    world.run(QUIET_TIME + 4.0)
    assert (1, 34, False) in exchanges(world, len(world.seen) - 200)
    world.start_ha(2)
    world.run(0.1)
    assert 2 in world.advertising
    world.run(FORGOTTEN_AFTER + 3.0)
    agree(world, 1, 2, 3)


@pytest.mark.parametrize("lose", [None, (1, 35, False), (2, 35, True), (1, 34, True)])
def test_simultaneous_beginnings(lose: tuple[int, int, bool] | None) -> None:
    """Both start in the same instant: two SAs stand, both are received on, one of them stays."""
    world = world_of(2)
    spent: list[bytes] = []

    def trouble(packet: bytes) -> list[bytes]:
        if is_peer_ike(packet) and described(packet) == lose and not spent:
            spent.append(packet)
            return []
        return [packet]

    world.trouble = trouble
    for index in (1, 2):
        world.start_ha(index)
    world.run(0.3)
    assert world.advertising == {1, 2}
    assert not [each for i in (1, 2) for each in world.found(i, PeerChanged) if "inv" in str(each)]
    assert bool(spent) == (lose is not None)
    made = [len(world.found(index, PeerAssociationMade)) for index in (1, 2)]
    # Who hears IKE_AUTH before its own IKE_SA_INIT was answered gives that up.
    assert made == ([1, 1] if lose == (1, 34, True) else [2, 2])
    world.run(FORGOTTEN_AFTER + 3.0)
    agree(world, 1, 2)
    for index in (1, 2):
        reasons = {each.fields()["reason"] for each in world.found(index, PeerAssociationEnded)}
        assert reasons <= {"deleted", "by-peer", "replaced"}
        assert world.found(index, PeerChanged)[-1].fields()["state"] == "up"


IKE_MESSAGES = [(2, 34, False), (1, 34, True), (2, 35, False), (1, 35, True)]


@pytest.mark.parametrize("message", IKE_MESSAGES)
@pytest.mark.parametrize("fate", ["lost", "twice lost", "repeated", "late"])
def test_each_message_of_a_beginning_lost_or_repeated(
    message: tuple[int, int, bool], fate: str
) -> None:
    """HA2 restarts; whatever happens to one message, it has the binding before it advertises."""
    world = registered(2)
    world.kill(2)
    world.run(1.0)
    hits: list[bytes] = []

    def trouble(packet: bytes) -> list[bytes]:
        if not is_peer_ike(packet) or described(packet) != message:
            return [packet]
        hits.append(packet)
        if fate == "lost":
            return [packet] if len(hits) > 1 else []
        if fate == "twice lost":
            return [packet] if len(hits) > 2 else []
        if fate == "late":
            world.after(0.07, lambda: world.inject(packet))
            return []
        return [packet] * 3

    world.trouble = trouble
    world.start_ha(2)
    world.run(0.29)
    assert hits
    assert 2 in world.advertising
    assert world.binding(2) is not None
    world.run(FORGOTTEN_AFTER + 3.0)
    agree(world, 1, 2)


RENEWALS: dict[str, dict[str, object]] = {
    "numbers": {"peer_soft_limit": 120},
    "lifetime": {"peer_sa_lifetime": 8.0},
}


@pytest.mark.parametrize("cause", list(RENEWALS))
def test_renewal_under_traffic_loses_no_message(cause: str) -> None:
    """Make before break: no message of a peer is without an SA at either end, ever."""
    world = registered(**RENEWALS[cause])
    for events in world.events.values():
        events.clear()
    addresses = [COA, COA2]
    for turn in range(40):
        world.attach(addresses[(turn + 1) % 2])
        world.detach(addresses[turn % 2])
        world.run(1.0)
        bindings = [world.binding(index) for index in (1, 2, 3)]
        expected = str(addresses[(turn + 1) % 2])
        assert {each["care_of_address"] for each in bindings if each} == {expected}
    for index in (1, 2, 3):
        made = world.found(index, PeerAssociationMade)
        assert 2 * 3 <= len(made) <= 2 * 12
        assert lost(world, index) == 0
        assert world.has[index].counters["dropped.replay"] == 0
        assert world.found(index, PeerChanged) == []
        reasons = Counter(
            each.fields()["reason"] for each in world.found(index, PeerAssociationEnded)
        )
        assert set(reasons) <= {"deleted", "by-peer"}
        assert all(len(held(world, index, other)) <= 3 for other in (1, 2, 3) if other != index)
    assert world.now - 1000.0 < 50.0
    assert max(world.sealed.values()) == 1


def test_renewal_goes_through_losses() -> None:
    world = registered(2, peer_sa_lifetime=8.0)

    def trouble(packet: bytes) -> list[bytes]:
        return [] if world.random.random() < 0.1 else [packet]

    world.trouble = trouble
    world.run(200.0)
    world.trouble = lambda packet: [packet]
    for index in (1, 2):
        assert len(world.found(index, PeerAssociationMade)) >= 15
    world.run(1.0)
    for index, other in ((1, 2), (2, 1)):
        state = held(world, index, other)
        assert state.sending is not None
        assert held(world, other, index).find(state.sending.outbound.spi) is not None
        assert world.has[index].status()["peers"] == {f"HA{other}": "up"}


WRONG = {
    "unknown-issuer": lambda operator: certified.home_agent(2, "stranger"),
    "expired": lambda operator: of_ha2(operator, lifetime=EXPIRED),
    "prefix-not-delegated": lambda operator: of_ha2(operator, prefix=OTHER_HOME),
    "wrong-index": lambda operator: of_ha2(operator, index=7),
    "wrong-identity": lambda operator: of_ha2(operator, address=own_address(9)),
}


def of_ha2(operator: Authority, **changes: object) -> CredentialFiles:
    values = {"index": 2, "address": own_address(2), "prefix": HOME, **changes}
    return operator.home_agent("other", home_agent_address=ANYCAST, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", WRONG)
def test_a_wrong_certificate_is_said_once_and_the_peer_stays_unknown(reason: str) -> None:
    """HA2's own is not believed; with another operator's it believes nobody either."""
    world = world_of(3)
    world.start_ha(1)
    world.start_ha(3)
    world.certificates[2] = WRONG[reason](certified.authority())
    world.start_ha(2)
    world.run(120.0)
    assert world.has[1].status()["peers"] == {"HA2": "invalid", "HA3": "up"}
    assert world.has[2].status()["peers"] == {"HA1": "invalid", "HA3": "invalid"}
    for index, other in ((1, "HA2"), (2, "HA1")):
        failed = [each.fields() for each in world.found(index, PeerAssociationFailed)]
        said = [each for each in failed if each["reason"] == "authentication-failed"]
        wanted = [(other, reason)] if index == 1 else [(other, reason), ("HA3", reason)]
        assert sorted((each["peer"], each["detail"]) for each in said) == wanted
        count = world.has[index].counters["peer-ike-failed.authentication-failed"]
        assert 5 <= count <= 50  # tried again, ever later
        assert not list(held(world, index, 3 - index))
    assert world.binding(2) is None
    world.kill(2)
    del world.certificates[2]
    world.start_ha(2)
    world.run(FORGOTTEN_AFTER + 3.0)
    agree(world, 1, 2, 3)


def test_a_revocation_list_goes_from_one_to_the_next(tmp_path: Path) -> None:
    """HA3 alone starts with the newest list; with it the others refuse HA2 from then on."""
    operator = Authority(tmp_path)
    world = world_of(3)
    for index in (1, 2, 3):
        world.certificates[index] = operator.home_agent(
            f"HA{index}", index, own_address(index), ANYCAST, HOME
        )
    world.start_ha(1)
    world.run(0.4)
    operator.revoke("HA2")
    world.start_ha(3)
    world.run(0.4)
    learnt = world.found(1, RevocationsLearned)
    assert [each.fields()["number"] for each in learnt] == [2]
    world.certificates[2] = replace(world.certificates[2], revocations=Path())
    world.start_ha(2)
    world.run(3.0)
    for index in (1, 3):
        assert world.has[index].status()["peers"]["HA2"] != "up"  # type: ignore[index]
        assert world.has[index].key_counters()["peer-ike.not-authorised.revoked"] >= 1
    failed = [each.fields() for each in world.found(2, PeerAssociationFailed)]
    assert {each["detail"] for each in failed} == {"revoked"}


def test_replay_of_everything_after_a_restart_changes_nothing() -> None:
    """D7: keys are fresh after a restart; IKE messages of before make half-open SAs at most."""
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
    assert world.has[1].counters["dropped.unknown-spi"] > 0
    for packet in recorded:
        world.inject(packet)
    world.run(FORGOTTEN_AFTER + 3.0)
    agree(world, 1, 2, 3)
    assert len(world.found(1, PeerAssociationMade)) <= 2 * 4


def test_replay_of_everything_to_a_survivor_changes_nothing() -> None:
    world = registered()
    recorded = list(world.seen)
    world.kill(2)
    world.run(1.0)
    world.start_ha(2)
    world.run(FORGOTTEN_AFTER + 3.0)
    before = {index: len(world.found(index, PeerAssociationMade)) for index in (1, 2, 3)}
    chosen = {(i, j): held(world, i, j).sending for i in (1, 2, 3) for j in (1, 2, 3) if i != j}
    for packet in recorded:
        if IPv6Address(packet[24:40]) in {own_address(index) for index in (1, 2, 3)}:
            world.inject(packet)
    world.run(5.0)
    assert {i: len(world.found(i, PeerAssociationMade)) for i in (1, 2, 3)} == before
    for (index, other), sending in chosen.items():
        assert held(world, index, other).sending is sending
    agree(world, 1, 2, 3)


@pytest.mark.parametrize("seconds", [1.0, QUIET_TIME + 5.0, 100.0])
def test_partition_and_heal(seconds: float) -> None:
    world = registered()
    world.cut = {frozenset((1, 2)), frozenset((1, 3))}
    world.run(seconds)
    assert world.has[1].status()["peers"] == {"HA2": "invalid", "HA3": "invalid"}
    world.cut = set()
    world.run(0.6)
    # What was there before is as good as ever: nobody waits for IKE.
    assert world.has[1].status()["peers"] == {"HA2": "up", "HA3": "up"}
    world.run(FORGOTTEN_AFTER + 5.0)
    agree(world, 1, 2, 3)


def test_one_direction_cut_for_long() -> None:
    world = registered(2)

    def trouble(packet: bytes) -> list[bytes]:
        deaf = packet[8:24] == own_address(1).packed and packet[24:40] == own_address(2).packed
        return [] if deaf else [packet]

    world.trouble = trouble
    world.run(30.0)
    world.trouble = lambda packet: [packet]
    world.run(2.0)
    assert world.has[1].status()["peers"] == {"HA2": "up"}
    assert world.has[2].status()["peers"] == {"HA1": "up"}
    world.run(FORGOTTEN_AFTER + 5.0)
    agree(world, 1, 2)


def test_an_sa_that_only_one_end_holds_is_replaced() -> None:
    """A peer may have lost it without having restarted, and cannot say so."""
    world = registered(2)
    (lonely,) = held(world, 2, 1)
    held(world, 2, 1).remove(lonely)
    world.run(QUIET_TIME + 2.0)
    assert world.has[1].status()["peers"] == {"HA2": "up"}
    world.run(FORGOTTEN_AFTER + 3.0)
    agree(world, 1, 2)


@pytest.mark.parametrize("seconds", [0.5, 30.0])
def test_a_stopped_home_agent_that_wakes_up(seconds: float) -> None:
    world = registered()
    world.stop(1)
    world.run(seconds)
    world.wake(1)
    world.run(1.0)
    assert 1 in world.advertising
    assert world.has[1].status()["peers"] == {"HA2": "up", "HA3": "up"}
    world.run(FORGOTTEN_AFTER + 5.0)
    agree(world, 1, 2, 3)


@pytest.mark.parametrize("mode", [Mode.DRAFT, Mode.DRAFT_CBC])
def test_draft_modes_use_the_same(mode: Mode) -> None:
    world = registered(mode=mode)
    agree(world, 1, 2, 3)
    assert world.primaries() == {"HA1"}


def test_keepalives_with_ike() -> None:
    world = registered(detector=Detector.KEEPALIVE)
    agree(world, 1, 2, 3)
    world.kill(2)
    world.run(0.41)
    assert world.has[1].status()["peers"] == {"HA2": "invalid", "HA3": "up"}
    world.start_ha(2)
    world.run(0.1)
    assert 2 in world.advertising
    assert world.binding(2) is not None


def test_any_octets_at_the_own_address_change_nothing() -> None:
    """Cut short, changed, or of another port: counted and dropped, and the next HELLO comes."""
    world = registered(2)
    messages = [each for each in world.seen if is_peer_ike(each)][:4]
    before = [world.has[index].peers() for index in (1, 2)]
    sending = [held(world, 1, 2).sending, held(world, 2, 1).sending]
    source, destination = own_address(2), own_address(1)
    for message in messages:
        datagram = message[48:]
        for _ in range(300):
            octets = bytearray(datagram[: world.random.randrange(len(datagram) + 1)])
            for _ in range(world.random.randrange(3)):
                if octets:
                    octets[world.random.randrange(len(octets))] ^= 1 << world.random.randrange(8)
            port = world.random.choice([500, 500, 500, 4500, 53])
            udp = serialize_udp(source, 500, destination, port, bytes(octets))
            world.has[1].receive(ipv6.build(source, destination, ipv6.UDP, udp), world.now)
    assert world.has[1].counters["dropped.not-ike"] > 0
    world.run(40.0)
    assert [world.has[index].peers() for index in (1, 2)] == before
    assert [held(world, 1, 2).sending, held(world, 2, 1).sending] == sending
    agree(world, 1, 2)


def test_d8_misses_with_ike() -> None:
    """D8: a dead peer is invalid in the usual time; IKE makes it neither earlier nor later."""
    world = registered()
    world.kill(2)
    world.run(0.24)
    assert world.has[1].status()["peers"] == {"HA2": "suspect", "HA3": "up"}
    world.run(0.12)
    assert world.has[1].status()["peers"] == {"HA2": "invalid", "HA3": "up"}


def test_i8_a_failover_causes_no_ike_message() -> None:
    world = registered()
    world.run(2.0)
    world.kill(1)
    before = len(world.seen)
    counters = {index: mobile_ike(world, index) for index in (2, 3)}
    streams = Streams(world, via=(2, 3))
    streams.run(2.0)
    assert world.primaries() == {"HA2"}
    assert exchanges(world, before) == []
    world.run(QUIET_TIME)
    assert set(exchanges(world, before)) == {(2, 34, False), (3, 34, False)}
    assert {index: mobile_ike(world, index) for index in (2, 3)} == counters


def mobile_ike(world: World, index: int) -> dict[str, int]:
    found = world.has[index].key_counters()
    return {name: value for name, value in found.items() if name.startswith("ike.")}


def test_a_stranger_is_told_why_and_an_idle_home_agent_says_nothing() -> None:
    """HA9 has a certificate, for another home network; what it gets is one word."""
    world = world_of(2)
    world.start_ha(1)
    world.start_ha(2)
    world.run(0.4)
    own = world.has[1]
    stranger = own_address(9)
    elsewhere = certified.authority().home_agent(
        "HA9 elsewhere", 9, stranger, OTHER_HOME[0x254], OTHER_HOME
    )
    config = IkeConfig(
        Identity.of(stranger),
        (IkePeerConfig(Identity.of(own_address(1)), prefix=HOME),),
        credentials=certified.credentials(elsewhere),
    )
    end = IkeEndpoint(config, TimerQueue(), world.random.randbytes, lambda: 0x09000001)
    end.initiate(config.peers[0].identity, stranger, own_address(1), world.now)
    for _ in range(2):
        for datagram in end.datagrams_to_send():
            own.receive(to_packet(datagram), world.now)
        for packet in own.packets_to_send(world.now):
            if IPv6Address(packet[24:40]) == stranger:
                end.receive(to_datagram(ipv6.parse(packet)), world.now)
    (failed,) = [event for event in iter(end.next_event, None) if isinstance(event, IkeFailed)]
    assert (failed.reason, failed.detail) == (
        "authentication-failed",
        "prefix-not-delegated",
    )
    assert own.key_counters()["peer-ike.not-authorised.prefix-not-delegated"] == 1
    # HA2 cannot read its incarnation counter: it stays out, and answers nobody.
    init = next(each for each in world.seen if is_peer_ike(each))
    out = HomeAgent(
        world.ha_config(2), None, world.random.randbytes, {}, credentials=world.credentials(2)
    )
    out.start(world.now)
    out.receive(init, world.now)
    assert out.counters["dropped.peer-ike-not-here"] == 1
    assert out.packets_to_send(world.now) == []
    world.run(FORGOTTEN_AFTER + 3.0)
    agree(world, 1, 2)
