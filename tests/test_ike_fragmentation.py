"""RFC 7383: long messages in fragments; in any order, twice, lost, forged, and too many of them."""

import random
from dataclasses import replace

import pytest
from ike_world import (
    COA,
    HA,
    PAYLOAD,
    IkeWorld,
    home_config,
    mirrored,
    mobile_config,
)

from agents.core.counters import Dropped
from agents.core.ike.ciphers import IkeCipher, SealingKey
from agents.core.ike.config import IkeTimers
from agents.core.ike.endpoint import Datagram
from agents.core.ike.events import ChildEstablished, ChildRekeyed, IkeEstablished
from agents.core.ike.fragmentation import (
    MOST_FRAGMENTS,
    MOST_MESSAGES,
    MOST_OCTETS,
    Reassembly,
    seal_within,
)
from agents.core.ike.protection import FRAGMENT_OVERHEAD, open_sealed, seal
from agents.core.timers import TimerQueue
from agents.wire.errors import Reason, WireError
from agents.wire.ike.header import Header
from agents.wire.ike.message import parse_message
from agents.wire.ike.numbers import NON_ESP_MARKER, ExchangeType, NotifyType, PayloadType
from agents.wire.ike.payloads import EncryptedFragment, Notify

SMALL = 200
"""Octets of a packet, so that IKE_AUTH takes several fragments."""
KEY = SealingKey(IkeCipher.AES_128_GCM, bytes(range(20)))
HEAD = Header(1, 2, ExchangeType.INFORMATIONAL, 5, initiator=True, response=False)
NAME = (2, False)


def small_world(mobile: int = SMALL, home: int = SMALL, **more: object) -> IkeWorld:
    return IkeWorld(
        mobile_config(PAYLOAD, fragment_size=mobile, **more),
        home_config(mirrored(PAYLOAD), fragment_size=home, **more),
    )


def fragments(datagrams: list[Datagram]) -> list[EncryptedFragment]:
    found = [
        parse_message(each.payload.removeprefix(NON_ESP_MARKER)).fragment for each in datagrams
    ]
    return [each for each in found if each is not None]


@pytest.mark.parametrize("encapsulation", [False, True])
def test_a_long_message_goes_in_fragments(encapsulation: bool) -> None:
    """IKE_AUTH of both ends; IKE_SA_INIT cannot be cut, and says that the rest can."""
    world = small_world(encapsulation=encapsulation)
    world.establish()
    assert len(world.mn.of(ChildEstablished)) == len(world.ha.of(ChildEstablished)) == 1
    for end in (world.mn, world.ha):
        init, *rest = end.sent
        kinds = [each.kind for each in parse_message(init.payload).payloads if type(each) is Notify]
        assert NotifyType.IKEV2_FRAGMENTATION_SUPPORTED in kinds
        assert all(len(each.payload) + 48 <= SMALL for each in rest)
        assert len(rest[0].payload) + 48 == SMALL
        cut = fragments(rest)
        assert len(cut) == len(rest) >= 2
        assert [(each.number, each.total) for each in cut] == [
            (number, len(rest)) for number in range(1, len(rest) + 1)
        ]
        identity = PayloadType.ID_I if end is world.mn else PayloadType.ID_R
        assert [each.first for each in cut] == [identity] + [0] * (len(rest) - 1)
        assert len({each.data[:8] for each in cut}) == len(rest)  # an IV each
        assert end.engine.counters["fragments-sent"] == len(rest)
        assert (
            end.engine.counters["sent.ike-auth-request"]
            + (end.engine.counters["sent.ike-auth-response"])
            == 1
        )


def test_what_fits_in_one_message_is_not_cut() -> None:
    """At 1280 octets nothing is, without certificates; and a message that just fits is not."""
    world = IkeWorld()
    world.establish()
    assert len(world.mn.of(ChildEstablished)) == 2
    assert fragments(world.log) == []
    chain = (PayloadType.NOTIFY, bytes(100))
    (whole,) = seal_within(KEY, 0, HEAD, chain, 57 + 100)
    assert len(whole) == 57 + 100
    assert len(seal_within(KEY, 0, HEAD, chain, 57 + 99)) == 2


@pytest.mark.parametrize("sizes", [(0, SMALL), (SMALL, 0), (0, 0)])
def test_fragments_take_two(sizes: tuple[int, int]) -> None:
    world = small_world(*sizes)
    world.establish()
    assert len(world.mn.of(ChildEstablished)) == 1
    assert fragments(world.log) == []
    assert world.mn.sa.fragmentation is world.ha.sa.fragmentation is False
    whole = world.mn.sa
    message = seal_within(KEY, 0, whole.header(37, whole.next_request, False), (0, bytes(300)), 200)
    world.inject(Datagram(COA, 500, HA, 500, message[0]))
    world.run(0.1)
    assert world.ha.engine.counters["dropped.unexpected-fragment"] == 1


@pytest.mark.parametrize("seed", range(20))
def test_any_order_twice_and_lost(seed: int) -> None:
    """Both ends come to the same, and hold no fragment when all is said."""
    chance = random.Random(seed)
    world = small_world(timers=IkeTimers(tries=40, retransmit_longest=2.0))

    def weather(datagram: Datagram) -> list[tuple[float, Datagram]]:
        copies = chance.choice([0, 1, 1, 1, 2])
        return [(chance.random() * 0.3, datagram) for _ in range(copies)]

    world.filter = weather
    world.begin()
    world.run(100.0)
    sa = world.mn.sa
    world.mn.engine.rekey_child(sa, sa.children[0].inbound_spi, world.now)
    world.run(100.0)
    for end in (world.mn, world.ha):
        assert len(end.of(IkeEstablished)) == len(end.of(ChildRekeyed)) == 1
        assert len(end.engine._context.reassembly) == 0
    (ours,), (theirs,) = (each.of(ChildRekeyed) for each in (world.mn, world.ha))
    assert ours.child.inbound_key == theirs.child.outbound_key


def test_a_repeated_request_gets_its_answer_once() -> None:
    """RFC 7383 §2.6.1: fragment 1 of it asks for the answer again, the others are ignored."""
    world = small_world()
    world.establish()
    request = [each for each in world.mn.sent if each.payload[18] == ExchangeType.IKE_AUTH]
    answer = [each for each in world.ha.sent if each.payload[18] == ExchangeType.IKE_AUTH]
    assert len(request) >= 3
    for datagram in request:
        world.inject(datagram)
    world.run(0.5)
    assert world.ha.sent[-len(answer) :] == answer
    assert len(world.ha.sent) == 1 + 2 * len(answer)
    counters = world.ha.engine.counters
    assert counters["responses-repeated"] == 1
    assert counters["dropped.message-id"] == len(request) - 1
    assert world.mn.engine.counters["dropped.message-id"] == len(answer)
    assert len(world.mn.of(IkeEstablished)) == 1


def test_what_is_not_authentic_is_not_kept() -> None:
    """A forged fragment in the place of a true one: nothing of it is held, the true one serves."""
    world = small_world()
    forged = []

    def forge(datagram: Datagram) -> list[tuple[float, Datagram]]:
        if parse_message(datagram.payload).fragment is None:
            return [(0.0, datagram)]
        octets = bytearray(datagram.payload)
        octets[-1] ^= 1
        forged.append(datagram)
        return [(0.0, replace(datagram, payload=bytes(octets))), (0.1, datagram)]

    world.filter = forge
    world.begin()
    world.run(0.05)
    assert world.ha.engine.counters["dropped.bad-icv"] >= 3
    assert len(world.ha.engine._context.reassembly) == 0
    world.run(1.0)
    assert len(world.mn.of(ChildEstablished)) == 1
    bad = (world.mn.engine.counters + world.ha.engine.counters)["dropped.bad-icv"]
    assert bad == len(forged)


def opened(octets: bytes) -> bytes:
    """Return what is inside a message with a fragment or, if it was made one, with SK."""
    message = parse_message(octets)
    protected = message.fragment or message.encrypted
    if protected is None:
        raise WireError(Reason.FIELD_MISSING, "nothing is protected")
    return open_sealed(KEY, octets, protected)


def test_every_octet_of_a_fragment_is_covered() -> None:
    """Its number and the total are, too (RFC 7383 §2.5: associated data)."""
    octets = seal_within(KEY, 9, HEAD, (PayloadType.NOTIFY, bytes(300)), 160)[1]
    fragment = parse_message(octets).fragment
    assert fragment is not None
    assert (fragment.first, fragment.number, fragment.total) == (0, 2, 4)
    assert opened(octets) == bytes(160 - FRAGMENT_OVERHEAD)
    for place in range(len(octets)):
        wrong = bytearray(octets)
        wrong[place] ^= 1
        with pytest.raises(WireError):
            opened(bytes(wrong))


@pytest.mark.parametrize(("number", "total"), [(0, 2), (3, 2), (0, 0)])
def test_numbers_that_cannot_be(number: int, total: int) -> None:
    octets = bytearray(seal_within(KEY, 0, HEAD, (0, bytes(300)), 200)[0])
    octets[32:36] = number.to_bytes(2) + total.to_bytes(2)
    with pytest.raises(WireError) as refused:
        parse_message(bytes(octets))
    assert refused.value.reason == Reason.FIELD_VALUE


# What is held, and how much of it


class Heap:
    """A reassembly and its clock."""

    def __init__(self) -> None:
        self.timers = TimerQueue()
        self.reassembly = Reassembly(self.timers, 15.0)
        self.now = 100.0

    def take(
        self,
        number: int,
        total: int,
        plain: bytes = b"part",
        name: tuple[int, bool] = NAME,
        message_id: int = 5,
    ) -> tuple[int, bytes] | None:
        fragment = EncryptedFragment(41 if number == 1 else 0, number, total, b"")
        self.reassembly.check(name, message_id, fragment)
        return self.reassembly.add(name, message_id, fragment, plain, self.now)

    def refused(self, number: int, total: int, plain: bytes = b"part") -> str:
        with pytest.raises(Dropped) as dropped:
            self.take(number, total, plain)
        return dropped.value.reason


def test_put_together_in_order_of_numbers() -> None:
    heap = Heap()
    assert heap.take(3, 3, b"c") is None
    assert heap.take(1, 3, b"a") is None
    assert heap.refused(3, 3) == "repeated-fragment"
    assert heap.take(2, 3, b"b") == (41, b"abc")
    assert len(heap.reassembly) == 0
    assert heap.timers.next_time() is None


def test_cut_anew_into_more() -> None:
    """RFC 7383 §2.6: then it starts over; what is left of the old cut is ignored."""
    heap = Heap()
    heap.take(1, 2, b"old")
    assert heap.take(2, 3, b"b") is None
    assert heap.refused(2, 2) == "fragment-of-fewer"
    assert heap.take(1, 3, b"a") is None
    assert heap.take(3, 3, b"c") == (41, b"abc")


def test_another_message_of_the_same_sa_takes_its_place() -> None:
    heap = Heap()
    heap.take(1, 2, b"of the last one")
    assert heap.take(2, 2, b"b", message_id=6) is None
    assert heap.take(1, 2, b"a", message_id=6) == (41, b"ab")
    assert heap.take(1, 2, b"x", name=(2, True)) is heap.take(1, 2, b"y", name=(3, False)) is None
    assert heap.take(2, 2, b"z", name=(2, True)) == (41, b"xz")


def test_fragments_are_bounded_in_number_size_and_time() -> None:
    heap = Heap()
    assert heap.refused(1, MOST_FRAGMENTS + 1) == "too-many-fragments"
    heap.take(1, 3, bytes(MOST_OCTETS // 2))
    heap.take(2, 3, bytes(MOST_OCTETS // 2))
    assert heap.refused(3, 3, bytes(2)) == "fragments-too-long"
    assert len(heap.reassembly) == 0
    heap.take(1, 2)
    heap.now += 14.0
    heap.timers.run(heap.now)
    assert len(heap.reassembly) == 1
    heap.timers.run(heap.now + 1.0)
    assert len(heap.reassembly) == 0
    for spi in range(MOST_MESSAGES + 10):
        heap.take(1, 2, name=(spi, False))
    assert len(heap.reassembly) == MOST_MESSAGES
    assert heap.take(2, 2, b"-", name=(5, False)) is None  # given up: this one begins anew
    assert heap.take(2, 2, b"-", name=(MOST_MESSAGES + 9, False)) == (41, b"part-")


def test_an_sa_that_is_over_holds_no_fragment() -> None:
    world = small_world()
    world.establish()
    sa = world.mn.sa
    chain = (PayloadType.NOTIFY, bytes(300))
    first = seal_within(
        sa.sealing_key(), sa.sent, sa.header(37, sa.next_request, False), chain, 200
    )[0]
    world.inject(Datagram(COA, 500, HA, 500, first))
    world.run(0.1)
    assert len(world.ha.engine._context.reassembly) == 1
    world.ha.engine.forget(world.ha.sa)
    assert len(world.ha.engine._context.reassembly) == 0


def test_what_is_too_long_for_all_fragments() -> None:
    with pytest.raises(ValueError, match="octets in fragments of 10"):
        seal_within(KEY, 0, HEAD, (41, bytes(700)), FRAGMENT_OVERHEAD + 10)
    with pytest.raises(ValueError, match="fragments of -1"):
        seal_within(KEY, 0, HEAD, (41, bytes(700)), FRAGMENT_OVERHEAD - 1)
    with pytest.raises(ValueError, match="65536"):
        seal_within(KEY, 0, HEAD, (41, bytes(MOST_OCTETS + 1)), 1200)
    assert len(seal(KEY, 0, HEAD, [Notify(16400, bytes(60000))])) > 60000
