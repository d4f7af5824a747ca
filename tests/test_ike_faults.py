"""Loss, duplication, reordering and delay of each message; giving up; windows; unknown SPIs."""

import random
from collections.abc import Callable
from dataclasses import replace

import ike_samples as samples
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ike_world import (
    COA,
    DELAY,
    HA,
    HA_ID,
    PAYLOAD,
    SIGNALLING,
    End,
    IkeWorld,
    home_config,
    mirrored,
    mobile_config,
)

from agents.core.ike.config import IkeTimers
from agents.core.ike.endpoint import Datagram
from agents.core.ike.events import (
    ChildDeleted,
    ChildEstablished,
    ChildRekeyed,
    IkeEstablished,
    IkeFailed,
    IkeRekeyed,
)
from agents.core.ike.states import IkeState
from agents.wire.ike.message import parse_message, serialize_message
from agents.wire.ike.numbers import ExchangeType, NotifyType
from agents.wire.ike.payloads import Notify

FAST = IkeTimers(retransmit_first=0.1, tries=4, half_open_timeout=5.0)


def conversation(world: IkeWorld) -> None:
    """Establish; each end renews a child, deletes the old one, renews the IKE SA; life, delete."""
    world.begin()
    world.run(60.0)
    for end in (world.mn, world.ha):
        child = end.sa.children[0]
        end.engine.rekey_child(end.sa, child.inbound_spi, world.now)
        world.run(60.0)
        end.engine.delete_child(end.sa, child.inbound_spi, world.now)
        world.run(60.0)
        end.engine.rekey_ike(end.sa, world.now)
        world.run(60.0)
    world.mn.engine.check_liveness(world.mn.sa, world.now)
    world.run(60.0)
    world.ha.engine.delete(world.ha.sa, world.now)
    world.run(60.0)


def outcome(world: IkeWorld) -> list[tuple[str, ...]]:
    return [tuple(sorted(end.kinds())) for end in (world.mn, world.ha)]


def cut_world() -> IkeWorld:
    """Return two ends that cut IKE_AUTH and CREATE_CHILD_SA in two or three."""
    return IkeWorld(mobile_config(fragment_size=220), home_config(fragment_size=220))


def plain(world: IkeWorld) -> tuple[list[tuple[str, ...]], int]:
    conversation(world)
    assert world.mn.kinds()[0] == "ike-established"
    assert world.mn.kinds()[-1] == "ike-deleted"
    assert len(world.mn.of(ChildRekeyed)) == len(world.mn.of(ChildDeleted)) == 2
    assert len(world.mn.of(IkeRekeyed)) == len(world.ha.of(IkeRekeyed)) == 2
    return outcome(world), len(world.log)


OUTCOME, MESSAGES = plain(IkeWorld())
CUT_OUTCOME, CUT_MESSAGES = plain(cut_world())


class Nth:
    """Does something to the n-th datagram, and to that one alone."""

    def __init__(
        self, number: int, change: Callable[[Datagram], list[tuple[float, Datagram]]]
    ) -> None:
        self._number = number
        self._change = change
        self._seen = 0

    def __call__(self, datagram: Datagram) -> list[tuple[float, Datagram]]:
        self._seen += 1
        return self._change(datagram) if self._seen == self._number else [(0.0, datagram)]


def lost(_: Datagram) -> list[tuple[float, Datagram]]:
    return []


def doubled(datagram: Datagram) -> list[tuple[float, Datagram]]:
    return [(0.0, datagram), (0.0, datagram)]


def doubled_late(datagram: Datagram) -> list[tuple[float, Datagram]]:
    return [(0.0, datagram), (20.0, datagram)]


def late(datagram: Datagram) -> list[tuple[float, Datagram]]:
    """Later than its own repetition."""
    return [(0.7, datagram)]


def damaged(datagram: Datagram) -> list[tuple[float, Datagram]]:
    """An octet near the end is another one; where that is authentic, it must be noticed."""
    place = len(datagram.payload) - 5
    octets = bytearray(datagram.payload)
    octets[place] ^= 0x40
    if datagram.payload[18] == ExchangeType.IKE_SA_INIT:
        return []  # IKE_SA_INIT is authenticated by IKE_AUTH alone: see below
    return [(0.0, replace(datagram, payload=bytes(octets)))]


@pytest.mark.parametrize("change", [lost, doubled, doubled_late, late, damaged])
@pytest.mark.parametrize("number", range(1, MESSAGES + 1))
def test_each_message_once(
    number: int, change: Callable[[Datagram], list[tuple[float, Datagram]]]
) -> None:
    world = IkeWorld()
    world.filter = Nth(number, change)
    conversation(world)
    assert outcome(world) == OUTCOME
    assert world.mn.engine.sas() == world.ha.engine.sas() == []


@pytest.mark.parametrize("change", [lost, doubled, doubled_late, late, damaged])
@pytest.mark.parametrize("number", range(1, CUT_MESSAGES + 1))
def test_each_fragment_once(
    number: int, change: Callable[[Datagram], list[tuple[float, Datagram]]]
) -> None:
    assert CUT_OUTCOME == OUTCOME
    assert CUT_MESSAGES >= MESSAGES + 8
    world = cut_world()
    world.filter = Nth(number, change)
    conversation(world)
    assert outcome(world) == OUTCOME
    assert world.mn.engine.sas() == world.ha.engine.sas() == []


def test_requests_are_repeated_octet_by_octet() -> None:
    """RFC 7296 §2.1: and answers too, from memory."""
    world = IkeWorld()
    world.filter = lambda datagram: [] if world.now < 1003.0 else [(0.0, datagram)]
    world.begin()
    world.run(30.0)
    first, *others = [each.payload for each in world.mn.sent if each.payload[18] == 34]
    assert len(others) >= 2
    assert set(others) == {first}
    world = IkeWorld()
    world.filter = lambda datagram: (
        [] if datagram.source == HA and world.now < 1003 else [(0.0, datagram)]
    )
    world.begin()
    world.run(30.0)
    answers = [each.payload for each in world.ha.sent if each.payload[18] == 34]
    assert len(answers) >= 2
    assert len(set(answers)) == 1
    assert world.ha.engine.counters["responses-repeated"] == len(answers) - 1
    assert len(world.ha.of(IkeEstablished)) == 1


def test_intervals_of_repetition() -> None:
    world = IkeWorld(mobile_config(timers=IkeTimers(retransmit_longest=4.0, tries=6)))
    times: list[float] = []

    def note(_: Datagram) -> list[tuple[float, Datagram]]:
        times.append(world.now - 1000.0)
        return []

    world.filter = note
    world.begin()
    world.run(100.0)
    assert times == [0.0, 0.5, 1.5, 3.5, 7.5, 11.5]
    assert [each.reason for each in world.mn.of(IkeFailed)] == ["timeout"]
    assert world.mn.engine.sas() == []


@pytest.mark.parametrize("silent_from", range(1, 5))
def test_giving_up_at_each_point(silent_from: int) -> None:
    """Whoever waits for an answer gives up; a half-open SA ends by itself."""
    world = IkeWorld(mobile_config(timers=FAST), home_config(timers=FAST))
    seen = 0

    def silence(datagram: Datagram) -> list[tuple[float, Datagram]]:
        nonlocal seen
        seen += 1
        return [] if seen >= silent_from else [(0.0, datagram)]

    world.filter = silence
    world.begin()
    world.run(30.0)
    assert [each.reason for each in world.mn.of(IkeFailed)] == ["timeout"]
    assert world.mn.engine.sas() == []
    assert len(world.ha.of(IkeEstablished)) == (silent_from == 4)
    assert len(world.ha.engine.sas()) == (silent_from == 4)


@pytest.mark.parametrize("rate", [0.1, 0.3])
@pytest.mark.parametrize("seed", range(10))
def test_random_faults_of_many(seed: int, rate: float) -> None:
    """Loss, repetition and delay at random: both ends come to the same end."""
    chance = random.Random(seed)

    def weather(datagram: Datagram) -> list[tuple[float, Datagram]]:
        found = []
        if chance.random() > rate:
            found.append((chance.random() * 2.0, datagram))
        if chance.random() < rate:
            found.append((chance.random() * 5.0, datagram))
        return found

    world = IkeWorld(seed=seed)
    world.filter = weather
    world.begin()
    world.run(300.0)
    for end in (world.mn, world.ha):
        for child in end.engine.find(HA_ID if end is world.mn else world.ha.sa.peer).children:  # type: ignore[union-attr, arg-type]
            end.engine.rekey_child(end.sa, child.inbound_spi, world.now)
    world.run(600.0)
    world.filter = lambda datagram: [(0.0, datagram)]
    world.run(60.0)
    ours = {child.inbound_spi: child.outbound_spi for child in world.mn.sa.children}
    theirs = {child.outbound_spi: child.inbound_spi for child in world.ha.sa.children}
    assert ours == theirs
    assert len(ours) == 4  # two, and a successor of each
    assert len(world.mn.of(IkeEstablished)) == len(world.ha.of(IkeEstablished)) == 1
    for child in world.mn.sa.children:
        (pair,) = (each for each in world.ha.sa.children if each.inbound_spi == child.outbound_spi)
        assert (child.inbound_key, child.outbound_key) == (pair.outbound_key, pair.inbound_key)


# Windows and strangers


@pytest.fixture
def world() -> IkeWorld:
    made = IkeWorld(mobile_config(PAYLOAD), home_config(mirrored(PAYLOAD), mirrored(SIGNALLING)))
    made.establish()
    for end in (made.mn, made.ha):
        end.events.clear()
    return made


@pytest.mark.parametrize("message_id", [0, 1, 3, 4, 100, 2**32 - 1])
def test_requests_outside_the_window(world: IkeWorld, message_id: int) -> None:
    """1 was the last and is answered from memory, 2 is next; all others change nothing."""
    sent = len(world.ha.sent)
    world.speak(world.mn, ExchangeType.INFORMATIONAL, [], message_id=message_id)
    world.run(0.1)
    if message_id == 1:
        assert world.ha.sent[sent].payload == world.ha.sent[sent - 1].payload
    else:
        assert len(world.ha.sent) == sent
        assert world.ha.engine.counters["dropped.message-id"] == 1
    world.mn.sa.next_request = 2
    world.mn.engine.check_liveness(world.mn.sa, world.now)
    world.run(1.0)
    assert world.mn.engine.counters["requests-repeated"] == 0


def test_responses_that_nobody_awaits(world: IkeWorld) -> None:
    for message_id in (0, 1, 2):
        world.speak(world.ha, ExchangeType.INFORMATIONAL, [], message_id, response=True)
    world.run(0.1)
    assert world.mn.engine.counters["dropped.message-id"] == 3
    world.mn.engine.check_liveness(world.mn.sa, world.now)
    world.filter = lambda datagram: []
    world.speak(world.ha, ExchangeType.CREATE_CHILD_SA, [], 2, response=True)
    world.run(0.1)
    assert world.mn.engine.counters["dropped.wrong-exchange"] == 1
    assert world.mn.sa.established


def test_a_message_that_is_reflected(world: IkeWorld) -> None:
    """What an end sent itself must not be taken for the other's."""
    for datagram in [*world.mn.sent, *world.ha.sent]:
        back = replace(datagram, source=datagram.destination, destination=datagram.source)
        world.inject(back)
    world.run(1.0)
    assert world.mn.events == world.ha.events == []
    assert world.mn.sa.established
    assert world.mn.engine.counters["dropped.reflected"] == 1
    assert len(world.ha.sa.children) == 1


def test_an_old_conversation_replayed_changes_nothing(world: IkeWorld) -> None:
    for datagram in list(world.log):
        world.inject(datagram, 0.001)
    world.run(40.0)
    assert world.mn.events == world.ha.events == []
    assert world.mn.sa.established
    assert world.ha.sa.established
    world.mn.engine.create_child(world.mn.sa, SIGNALLING, world.now)
    world.run(1.0)
    assert len(world.ha.of(ChildEstablished)) == 1


def test_a_replay_shows_no_life_and_moves_no_address() -> None:
    more = {"encapsulation": True}
    world = IkeWorld(mobile_config(**more), home_config(**more))
    world.establish()
    world.mn.engine.check_liveness(world.mn.sa, world.now)
    world.run(1.0)
    heard = world.ha.sa.last_heard
    answered = len(world.ha.sent)
    for datagram in list(world.mn.sent):
        world.inject(replace(datagram, source=COA + 1, source_port=4711))
    world.run(1.0)
    assert len(world.ha.sent) == answered + 1  # the last request's answer, to who asked
    assert (world.ha.sa.remote, world.ha.sa.remote_port) == (COA, 4500)
    assert world.ha.sa.last_heard == heard


def request_of_nobody(world: IkeWorld, spi_r: int = 0x4242) -> Datagram:
    head = replace(
        parse_message(world.mn.sent[-1].payload).header, spi_responder=spi_r, message_id=9
    )
    return Datagram(COA, 500, HA, 500, serialize_message(head, []))


def test_unknown_spis_get_a_hint_at_a_limited_rate(world: IkeWorld) -> None:
    sent = len(world.ha.sent)
    for _ in range(100):
        world.ha.engine.receive(request_of_nobody(world), world.now)
    world.collect()
    assert len(world.ha.sent) - sent == 20
    hint = parse_message(world.ha.sent[-1].payload)
    assert hint.payloads == (Notify(NotifyType.INVALID_IKE_SPI),)
    assert hint.header.response
    assert (hint.header.message_id, hint.header.spi_responder) == (9, 0x4242)
    assert world.ha.engine.counters["dropped.unknown-ike-spi"] == 100
    # Such a hint gets no hint.
    stray = replace(hint.header, response=True)
    octets = serialize_message(stray, hint.payloads)
    sent = len(world.mn.sent)
    world.mn.engine.receive(Datagram(HA, 500, COA, 500, octets), world.now)
    world.collect()
    assert len(world.mn.sent) == sent


def hint_for(world: IkeWorld, message_id: int) -> Datagram:
    sa = world.mn.sa
    head = replace(sa.header(ExchangeType.IKE_AUTH, message_id, True), initiator=not sa.initiator)
    return Datagram(
        HA, 500, COA, 500, serialize_message(head, [Notify(NotifyType.INVALID_IKE_SPI)])
    )


def test_a_hint_does_not_end_an_established_sa(world: IkeWorld) -> None:
    for message_id in range(4):
        world.inject(hint_for(world, message_id))
    world.run(1.0)
    assert world.mn.events == []
    assert world.mn.sa.established
    assert world.mn.engine.counters["received.invalid-ike-spi"] == 4


def test_routing_moves_in_the_middle_of_the_exchange() -> None:
    """IKE_AUTH reaches another home agent: its hint makes the mobile node begin anew at once."""
    world = IkeWorld()
    second = End(home_config(), 77, 0x03000000)

    def move() -> None:
        world.ha = second
        world.addresses[HA] = second

    world.begin()
    world.run(1.5 * DELAY)
    assert world.ha.sa.state is IkeState.HALF_OPEN
    move()
    world.run(1.0)
    assert len(world.mn.of(IkeEstablished)) == len(second.of(IkeEstablished)) == 1
    assert world.mn.of(IkeFailed) == []
    assert world.mn.engine.counters["requests-repeated"] == 0
    assert len(world.mn.sent) == 2 + 3  # two in vain
    assert {child.outbound_spi >> 24 for child in world.mn.sa.children} == {3}


def test_hints_about_something_else_are_not_taken() -> None:
    """Another message number, or another responder's SPI, is about another conversation."""
    world = IkeWorld()
    world.begin()
    world.run(2.5 * DELAY)
    assert world.mn.sa.state is IkeState.AUTH_SENT
    for message_id in (0, 2):
        world.mn.engine.receive(hint_for(world, message_id), world.now)
    head = parse_message(hint_for(world, 1).payload).header
    octets = serialize_message(
        replace(head, spi_responder=head.spi_responder ^ 1), [Notify(NotifyType.INVALID_IKE_SPI)]
    )
    world.mn.engine.receive(Datagram(HA, 500, COA, 500, octets), world.now)
    assert world.mn.sa.state is IkeState.AUTH_SENT
    world.run(1.0)
    assert world.mn.sa.retries == 0
    assert len(world.mn.of(IkeEstablished)) == 1


def test_hints_for_ever_end_the_attempt() -> None:
    """A liar can delay an attempt that it can see, and not keep it going."""
    world = IkeWorld(mobile_config(timers=FAST))

    def lie(datagram: Datagram) -> list[tuple[float, Datagram]]:
        if datagram.payload[18] == ExchangeType.IKE_AUTH:
            if datagram.source == COA:
                world.inject(hint_for(world, 1))
            return []
        return [(0.0, datagram)]

    world.filter = lie
    world.begin()
    world.run(20.0)
    assert [each.reason for each in world.mn.of(IkeFailed)] == ["timeout"]
    assert len([each for each in world.mn.sent if each.payload[18] == 34]) <= 6


def test_a_higher_version_is_answered_with_ours() -> None:
    world = IkeWorld()
    world.begin()
    octets = bytearray(world.log[0].payload)
    octets[17] = 0x30
    world.ha.engine.receive(replace(world.log[0], payload=bytes(octets)), world.now)
    (answer,) = (parse_message(each.payload) for each in world.ha.engine.datagrams_to_send())
    assert answer.payloads == (Notify(NotifyType.INVALID_MAJOR_VERSION),)
    assert answer.header.response
    octets[19] |= 0x20
    world.ha.engine.receive(replace(world.log[0], payload=bytes(octets)), world.now)
    assert world.ha.engine.datagrams_to_send() == []
    assert world.ha.engine.counters["dropped.bad-version"] == 2


def test_what_is_no_ike_at_port_4500() -> None:
    world = IkeWorld()
    for octets, reason in ((b"\xff", "nat-keepalive"), (b"\1\0\0\1esp", "not-ike")):
        world.ha.engine.receive(Datagram(COA, 4500, HA, 4500, octets), world.now)
        assert world.ha.engine.counters[f"dropped.{reason}"] == 1
    world.ha.engine.receive(Datagram(COA, 4500, HA, 4500, bytes(4)), world.now)
    assert world.ha.engine.counters["dropped.truncated"] == 1


def test_a_changed_init_message_is_noticed_by_auth() -> None:
    """IKE_SA_INIT is not protected; AUTH covers it octet by octet (RFC 7296 §2.15)."""

    def weaken(datagram: Datagram) -> list[tuple[float, Datagram]]:
        """Take the notification type that nobody here knows for another one."""
        if datagram.source == COA and datagram.payload[18] == ExchangeType.IKE_SA_INIT:
            message = parse_message(datagram.payload)
            octets = serialize_message(message.header, [*message.payloads, Notify(40000)])
            return [(0.0, replace(datagram, payload=octets))]
        return [(0.0, datagram)]

    world = IkeWorld()
    world.filter = weaken
    world.establish()
    assert [each.reason for each in world.mn.of(IkeFailed)] == ["authentication-failed"]
    assert world.ha.of(IkeEstablished) == []


# Anything at all


def survivors(world: IkeWorld) -> bool:
    """Whether both ends still have what they had, and can talk about it."""
    sa, peer = world.mn.engine.find(HA_ID), world.ha.engine.sas()[0]
    if sa is None or not peer.established:
        return False
    world.mn.engine.check_liveness(sa, world.now)
    heard = sa.last_heard
    world.run(1.0)
    return sa.last_heard > heard and len(sa.children) == len(peer.children) == 1


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_octets_at_either_port(data: st.DataObject) -> None:
    world = IkeWorld(mobile_config(PAYLOAD), home_config(mirrored(PAYLOAD)))
    world.establish()
    log = [datagram.payload for datagram in world.log]
    for _ in range(10):
        port = data.draw(st.sampled_from([500, 4500]))
        octets = data.draw(st.one_of(st.binary(max_size=120), damage(log)))
        for end, source, destination in ((world.mn, HA, COA), (world.ha, COA, HA)):
            end.engine.receive(Datagram(source, port, destination, port, octets), world.now)
    world.run(0.5)
    assert survivors(world)


@st.composite
def damage(draw: st.DrawFn, log: list[bytes]) -> bytes:
    """Return a true message with a few octets changed, cut or added."""
    octets = bytearray(draw(st.sampled_from(log)))
    for _ in range(draw(st.integers(1, 4))):
        octets[draw(st.integers(0, len(octets) - 1))] = draw(st.integers(0, 255))
    octets = octets[: draw(st.integers(1, len(octets)))]
    octets[24:28] = len(octets).to_bytes(4)  # the length is right, so that parsing goes on
    return bytes(octets)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_peer_that_says_anything(data: st.DataObject) -> None:
    """Authentic nonsense: any payloads under any exchange. The engine answers or ends the SA."""
    pool = [each for chain in (*samples.CHAINS.values(), samples.OTHERS) for each in chain] + [
        each for _, payloads in samples.MESSAGES.values() for each in payloads
    ]
    world = IkeWorld(mobile_config(PAYLOAD), home_config(mirrored(PAYLOAD)))
    world.establish()
    for _ in range(8):
        if not world.mn.engine.sas() or not world.ha.engine.sas():
            break
        exchange = data.draw(st.sampled_from([34, 35, 36, 37, 38, 0, 255]))
        payloads = data.draw(st.lists(st.sampled_from(pool), max_size=6))
        end = data.draw(st.sampled_from([world.mn, world.ha]))
        if data.draw(st.booleans()):
            end.engine.rekey_child(end.sa, next(iter(end.sa.children_by_spi), 0), world.now)
        response = data.draw(st.booleans())
        number = data.draw(st.sampled_from([None, 0, 1, 2]))
        before = end.sa.next_request
        world.speak(end, exchange, payloads, number, response)
        if end.engine.sas():
            end.sa.next_request = before
        world.run(0.2)
    world.run(400.0)
    for end in (world.mn, world.ha):
        for event in end.events:
            assert event.fields()
