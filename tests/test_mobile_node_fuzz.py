"""Arbitrary and mutated packets: never an exception, never a change of state, always a count."""

from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.config import Mode
from agents.wire import ipv6
from agents.wire.mobility import BindingError, BindingRefreshRequest, serialize_mobility
from agents.wire.status import BindingErrorStatus
from tests.mobile_bench import ANYCAST, COA, HOA, INNER, TABLE, UP, Bench

MODES = st.sampled_from(list(Mode))
FUZZ = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@cache
def bench_of(mode: Mode) -> Bench:
    """One bound node a mode for all examples: what earlier ones left behind is part of the test."""
    return Bench(mode).bind()


def samples(bench: Bench) -> list[bytes]:
    """One good packet of each form, with numbers that were not used yet."""
    number = next(_numbers)
    return [
        bench.tunnel(number),
        bench.tunnel(number, 2, origin=None),
        bench.signal(BindingRefreshRequest(), number),
        bench.ack(number, 3, table=TABLE, version=1),
        ipv6.build(
            ANYCAST,
            COA,
            ipv6.MOBILITY,
            serialize_mobility(BindingError(BindingErrorStatus(1), HOA), ANYCAST, COA),
        ),
    ]


_numbers = iter(range(10, 2**31))


def survives(bench: Bench, packet: bytes) -> None:
    """`packet`, which nobody authentic sent, is dropped with a count and changes nothing."""
    state, dropped = bench.snapshot(), bench.dropped()
    believed = sum(n for name, n in bench.engine.counters.items() if "binding-error" in name)
    assert bench.take(packet) == []
    ignored = sum(n for name, n in bench.engine.counters.items() if "binding-error" in name)
    assert bench.dropped() + ignored == dropped + believed + 1
    assert bench.snapshot() == state
    for answer in bench.sent():
        assert ipv6.parse(answer).next_header == ipv6.ICMPV6
    number = next(_numbers)
    assert bench.take(bench.tunnel(number)) == [INNER]


@FUZZ
@given(MODES, st.binary(max_size=300))
def test_arbitrary_octets(mode: Mode, packet: bytes) -> None:
    survives(bench_of(mode), packet)


@FUZZ
@given(
    MODES,
    st.sampled_from([0, 6, 17, 41, 43, 44, 50, 51, 58, 59, 60, 135, 253]),
    st.binary(max_size=200),
)
def test_arbitrary_payload_behind_a_good_header(mode: Mode, kind: int, payload: bytes) -> None:
    survives(bench_of(mode), ipv6.build(ANYCAST, COA, kind, payload))


@FUZZ
@given(
    MODES,
    st.integers(0, 4),
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_mutated_packets(mode: Mode, which: int, changes: list[tuple[int, int]]) -> None:
    """Octets flipped anywhere but where they mean nothing to the receiver."""
    bench = bench_of(mode)
    packet = bytearray(samples(bench)[which])
    for place, flip in changes:
        packet[place % len(packet)] ^= flip
    # What ESP covers, or the checksum: a change in it must be noticed. The rest may be harmless.
    before = bench.snapshot()
    delivered = bench.take(bytes(packet))
    assert delivered in ([], [INNER])
    if delivered == [] and which < 2:
        assert bench.snapshot() == before
    bench.sent()
    assert bench.take(bench.tunnel(next(_numbers))) == [INNER]


@FUZZ
@given(MODES, st.integers(0, 3), st.integers(0, 10_000), st.integers(1, 255))
def test_any_change_under_esp_is_noticed(mode: Mode, which: int, place: int, flip: int) -> None:
    bench = bench_of(mode)
    packet = bytearray(samples(bench)[which])
    start = packet.index(b"\0\0\x10", 40)  # the SPI
    packet[start + place % (len(packet) - start)] ^= flip
    survives(bench, bytes(packet))


@FUZZ
@given(MODES, st.binary(max_size=200))
def test_arbitrary_octets_under_our_own_keys(mode: Mode, payload: bytes) -> None:
    """A home agent with a fault: authentic nonsense is dropped and counted all the same."""
    bench = bench_of(mode)
    for kind in (ipv6.MOBILITY, ipv6.UDP, ipv6.NO_NEXT_HEADER):
        dropped, state = bench.dropped(), bench.engine.registration.state
        assert bench.take(bench.signal(payload, next(_numbers), next_header=kind)) == []
        assert bench.dropped() == dropped + 1
        assert bench.engine.registration.state is state
    for kind in (ipv6.IPV6, ipv6.UDP):
        dropped = bench.dropped()
        packet = bench.tunnel(next(_numbers), inner=payload, next_header=kind)
        assert bench.take(packet) == []
        assert bench.dropped() == dropped + 1
    bench.sent()


@FUZZ
@given(MODES, st.binary(max_size=120), st.booleans())
def test_arbitrary_packets_from_the_host(mode: Mode, packet: bytes, from_home: bool) -> None:
    bench = bench_of(mode)
    if from_home:
        packet = UP[:24] + packet
    bench.engine.encapsulate(packet, bench.now)
    sent = bench.sent()
    assert len(sent) <= 1
    if sent:
        assert packet[8:24] == HOA.packed


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("origin", [True, False])
def test_every_octet_harmed_in_turn(mode: Mode, origin: bool) -> None:
    """Each octet counts but for a few; after a drop the unharmed packet is still fresh."""
    bench = Bench(mode).bind(multihomed=origin)
    ignored = {0, 1, 2, 3, 7}  # traffic class, flow label, hop limit
    if origin:
        ignored |= {42, 44, 45}  # padding, or an option that asks to be skipped
        if mode is not Mode.HARDENED:
            ignored |= set(range(48, 64))  # ORIGIN_IP itself: the draft's weakness (D5)
    number = 1
    for place in range(len(bench.tunnel(number, origin=origin))):
        number += 1
        packet = bench.tunnel(number, origin=origin)
        harmed = bytearray(packet)
        harmed[place] ^= 1 << place % 8
        delivered = bench.take(bytes(harmed))
        assert delivered == [] or place in ignored, place
        assert bench.take(packet) == [INNER] or delivered
