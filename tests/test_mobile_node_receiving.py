"""What a mobile node takes and what it drops: cases D1 to D5, and packets that it must survive."""

import struct
from ipaddress import IPv6Address

import pytest

from agents.config import ConfigError, Mode
from agents.core.mobile_events import Multihomed, OriginChanged, SidTableInstalled
from agents.core.mobile_node import MobileNode
from agents.core.mobile_registration import State
from agents.core.replay_window import MAX_ORIGINS
from agents.keys import SaMode
from agents.wire import ipv6
from agents.wire.destination_options import (
    OriginIp,
    UnknownOption,
    serialize_destination_options,
)
from agents.wire.mobility import (
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    UnknownMobilityMessage,
    serialize_mobility,
)
from agents.wire.mobility_options import BindingRefreshAdvice, MultiSenderCapable, SidEntry
from agents.wire.routing import RoutingType2, serialize_routing
from agents.wire.status import BindingErrorStatus
from tests.mobile_bench import (
    ANYCAST,
    CN,
    COA,
    COA2,
    HA,
    HOA,
    INNER,
    TABLE,
    TO_HOME_AGENT,
    TO_MOBILE_NODE,
    UP,
    Bench,
    with_options,
)

MODES = list(Mode)
DRAFT_MODES = [Mode.DRAFT, Mode.DRAFT_CBC]


def alive(bench: Bench, number: int, index: int = 1) -> None:
    """The positive probe after a packet to which no answer is expected."""
    assert bench.take(bench.tunnel(number, index)) == [INNER]


# D1, D2


@pytest.mark.parametrize("mode", MODES)
def test_d1_equal_numbers_of_several_home_agents(mode: Mode) -> None:
    bench = Bench(mode).bind()
    for number in (1, 2, 500, 3):
        for index in (1, 2, 3):
            assert bench.take(bench.tunnel(number, index)) == [INNER]
    assert bench.dropped() == 0


@pytest.mark.parametrize("mode", MODES)
def test_d2_same_origin_and_number(mode: Mode) -> None:
    bench = Bench(mode).bind()
    packet = bench.tunnel(7, 2)
    assert bench.take(packet) == [INNER]
    bench.drops(packet, "replay")
    bench.drops(bench.tunnel(7, 2), "replay")
    alive(bench, 8, 2)


# D3


@pytest.mark.parametrize("mode", DRAFT_MODES)
def test_d3_draft_origin_missing_though_m_was_set(mode: Mode) -> None:
    bench = Bench(mode).bind(multihomed=True)
    bench.drops(bench.tunnel(1, origin=None), "origin-missing")
    alive(bench, 1)


def test_d3_hardened_origin_missing_though_m_was_set() -> None:
    """The SID names the sender; taking the option away gives an attacker nothing."""
    bench = Bench().bind()
    packet = bench.tunnel(1, 2, origin=None)
    assert bench.take(packet) == [INNER]
    bench.drops(packet, "replay")
    bench.drops(bench.tunnel(1, 2), "replay")
    alive(bench, 2, 2)


@pytest.mark.parametrize("mode", DRAFT_MODES)
def test_d3_draft_origin_present_though_m_was_clear(mode: Mode) -> None:
    """Ignored, as for any mobile node that is not multihomed: one window."""
    bench = Bench(mode).bind(multihomed=False)
    assert bench.take(bench.tunnel(1, 1)) == [INNER]
    bench.drops(bench.tunnel(1, 2), "replay")
    assert bench.take(bench.tunnel(2, 2)) == [INNER]
    bench.drops(bench.tunnel(2, origin=None), "replay")
    assert bench.take(bench.tunnel(3, origin=None)) == [INNER]


def test_d3_hardened_origin_present_though_m_was_clear() -> None:
    bench = Bench().bind(multihomed=False, table=None)
    for index in (1, 2):
        assert bench.take(bench.tunnel(1, index)) == [INNER]
        bench.drops(bench.tunnel(1, index), "replay")


@pytest.mark.parametrize("mode", MODES)
def test_d3_origin_before_the_acknowledgement_that_sets_m(mode: Mode) -> None:
    """I2: no fresh packet is refused because another HA used its number, not even then."""
    bench = Bench(mode)
    assert bench.take(bench.tunnel(1, 2)) == [INNER]
    assert bench.take(bench.tunnel(1, 3)) == [INNER]
    bench.drops(bench.tunnel(1, 3), "replay")
    bench.bind()
    bench.drops(bench.tunnel(1, 3), "replay")
    alive(bench, 1)
    alive(bench, 2, 3)


@pytest.mark.parametrize("mode", MODES)
def test_d3_outer_source_not_the_home_agent_address(mode: Mode) -> None:
    bench = Bench(mode).bind()
    for source in (HA[1], CN, HOA, COA):
        bench.drops(bench.tunnel(1, source=source), "outer-source")
    bench.drops(
        bench.signal(BindingRefreshRequest(), 2).replace(ANYCAST.packed, CN.packed, 1),
        "outer-source",
    )
    alive(bench, 1)


@pytest.mark.parametrize("mode", DRAFT_MODES)
def test_m_cleared_later_does_not_join_the_windows(mode: Mode) -> None:
    bench = Bench(mode).bind(multihomed=True)
    packet = bench.tunnel(5, 1)
    assert bench.take(packet) == [INNER]
    bench.engine.registration.refresh(bench.now)
    bench.take(bench.ack(2, multihomed=False))
    assert Multihomed(False) in bench.events()
    bench.drops(packet, "replay")
    bench.drops(bench.tunnel(5, origin=None), "origin-missing")


# D4


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("origin", ["::", "::1", "ff02::1", "ff0e::5", "fe80::1"])
def test_d4_origin_that_is_no_unicast_address(mode: Mode, origin: str) -> None:
    bench = Bench(mode)
    bench.drops(bench.tunnel(1, origin=IPv6Address(origin)), "bad-address")
    bench.bind()
    reason = "origin-mismatch" if mode is Mode.HARDENED else "bad-address"
    bench.drops(bench.tunnel(1, origin=IPv6Address(origin)), reason)
    alive(bench, 1)


@pytest.mark.parametrize("mode", DRAFT_MODES)
def test_d4_draft_windows_for_sixteen_origins_only(mode: Mode) -> None:
    bench = Bench(mode).bind()
    for index in range(1, MAX_ORIGINS + 1):
        assert bench.take(bench.tunnel(1, index)) == [INNER]
    bench.drops(bench.tunnel(1, MAX_ORIGINS + 1), "too-many-origins")
    alive(bench, 2)


@pytest.mark.parametrize("mode", DRAFT_MODES)
def test_d4_a_forged_packet_allocates_nothing(mode: Mode) -> None:
    bench = Bench(mode).bind()
    for index in range(1, 60):
        packet = bytearray(bench.tunnel(1, index))
        packet[-1] ^= 1
        bench.drops(bytes(packet), "bad-icv")
    alive(bench, 1, 60)


def test_d4_hardened_sid_that_is_not_in_the_table() -> None:
    bench = Bench().bind()
    for index in (4, 63, 0):
        bench.drops(bench.tunnel(1, index, origin=None), "unknown-sid")
    bench.drops(bench.tunnel(1, 4), "unknown-sid")
    alive(bench, 1)


def _option(kind: int, octets: bytes) -> bytes:
    return bytes((kind, len(octets))) + octets


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (bytes((1, 2, 0, 0)) + _option(0x1E, HA[1].packed[:15]) + b"\0", "bad-option-length"),
        (_option(0x1E, HA[1].packed + bytes(4)), "bad-option-length"),
        (
            bytes((1, 2, 0, 0)) + _option(0x1E, HA[1].packed) + bytes((1, 4, 0, 0, 0, 0))
            + _option(0x1E, HA[2].packed),
            "option-twice",
        ),
        (bytes((1, 2, 0, 0)) + bytes((0x1E, 200)) + HA[1].packed, "bad-option-length"),
    ],
)  # fmt: skip
def test_d4_origin_of_wrong_length_or_twice(mode: Mode, options: bytes, reason: str) -> None:
    bench = Bench(mode).bind()
    sealed = bench.tunnel(1, origin=None)[40:]
    assert (len(options) + 2) % 8 == 0
    header = bytes((ipv6.ESP, (len(options) + 2) // 8 - 1)) + options
    packet = ipv6.build(ANYCAST, COA, ipv6.DESTINATION_OPTIONS, header + sealed)
    before = bench.dropped()
    state = bench.snapshot()
    assert bench.take(packet) == []
    assert bench.dropped() == before + 1
    assert bench.snapshot() == state
    assert bench.engine.counters[f"dropped.{reason}"] == 1, dict(bench.engine.counters)
    alive(bench, 1)


@pytest.mark.parametrize("mode", MODES)
def test_d4_origin_in_the_wrong_header(mode: Mode) -> None:
    """In Hop-by-Hop Options it means nothing; before the routing header it is out of place."""
    bench = Bench(mode).bind()
    sealed = bench.tunnel(1, origin=None)[40:]
    header = serialize_destination_options(ipv6.ESP, (OriginIp(HA[1]),))
    packet = ipv6.build(ANYCAST, COA, ipv6.HOP_BY_HOP, header + sealed)
    if mode is Mode.HARDENED:
        assert bench.take(packet) == [INNER]  # no ORIGIN_IP there, and none is needed
    else:
        bench.drops(packet, "origin-missing")
    message = bench.signal(BindingRefreshRequest(), 5, origin=False)
    routed = message[40:64]
    front = serialize_destination_options(ipv6.ROUTING, (OriginIp(HA[1]),))
    packet = ipv6.build(ANYCAST, COA, ipv6.DESTINATION_OPTIONS, front + routed + message[64:])
    bench.drops(packet, "option-in-wrong-header")
    alive(bench, 2)


# D5


@pytest.mark.parametrize("mode", DRAFT_MODES)
def test_d5_draft_relabelled_packets_are_taken(mode: Mode) -> None:
    """The weakness of an unauthenticated ORIGIN_IP, shown: one replay for each other origin."""
    bench = Bench(mode).bind()
    for number in range(1, 101):
        assert bench.take(bench.tunnel(number, 1)) == [INNER]
    taken = 0
    for number in range(1, 101):
        taken += len(bench.take(bench.tunnel(number, 1, origin=HA[2])))
    assert taken == 100
    # A far-ahead packet relabelled silences HA2.
    assert bench.take(bench.tunnel(1_000_000, 1, origin=HA[2])) == [INNER]
    bench.drops(bench.tunnel(101, 2), "left-of-window")


def test_d5_hardened_relabelled_packets_are_refused() -> None:
    bench = Bench().bind()
    for number in range(1, 101):
        assert bench.take(bench.tunnel(number, 1)) == [INNER]
    for number in range(1, 101):
        bench.drops(bench.tunnel(number, 1, origin=HA[2]), "origin-mismatch")
    far = bench.tunnel(1_000_000, 1)
    bench.drops(far.replace(HA[1].packed, HA[2].packed, 1), "origin-mismatch")
    alive(bench, 1, 2)
    # With the SID in the IV rewritten too, the ICV fails; HA1's genuine packet is still fresh.
    forged = bytearray(far.replace(HA[1].packed, HA[2].packed, 1))
    forged[64 + 8 : 64 + 10] = (2 << 10 | 1).to_bytes(2, "big")
    bench.drops(bytes(forged), "bad-icv")
    assert bench.take(far) == [INNER]


# SIDs: incarnations and tables (design §10, rules 3 and 6)


def test_a_higher_incarnation_closes_the_lower_one() -> None:
    bench = Bench().bind()
    assert bench.take(bench.tunnel(100_000, 2)) == [INNER]
    forged = bytearray(bench.tunnel(1, 2, incarnation=2))
    forged[-1] ^= 1
    bench.drops(bytes(forged), "bad-icv")
    alive(bench, 100_001, 2)
    assert bench.take(bench.tunnel(1, 2, incarnation=2)) == [INNER]
    bench.drops(bench.tunnel(100_002, 2), "old-incarnation")
    bench.drops(bench.tunnel(1, 2, incarnation=2), "replay")
    assert bench.take(bench.tunnel(2, 2, incarnation=2)) == [INNER]


def test_a_table_without_a_home_agent_stops_it_and_keeps_its_window() -> None:
    bench = Bench().bind()
    old = bench.tunnel(5, 3)
    assert bench.take(old) == [INNER]
    bench.engine.registration.refresh(bench.now)
    bench.take(bench.ack(2, table=TABLE[:2], version=2))
    assert [each for each in bench.events() if isinstance(each, SidTableInstalled)] == [
        SidTableInstalled(2, {1: str(HA[1]), 2: str(HA[2])})
    ]
    bench.drops(bench.tunnel(6, 3), "unknown-sid")
    bench.engine.registration.refresh(bench.now)
    bench.take(bench.ack(3, version=3))
    bench.drops(old, "replay")
    alive(bench, 6, 3)


def test_the_table_of_the_newest_acknowledgement_counts() -> None:
    """A version names a content: what is newer, the order of acknowledgements says."""
    bench = Bench().bind(version=5)
    bench.engine.registration.refresh(bench.now)
    earlier = bench.engine.registration.sequence
    bench.engine.registration.refresh(bench.now)
    bench.take(bench.ack(2, table=TABLE[:1], version=4))
    assert bench.engine.status()["sid_table_version"] == 4
    bench.take(bench.ack(3, sequence=earlier, version=5))
    assert bench.engine.counters["dropped.acknowledgement-unexpected"] == 1
    assert bench.engine.status()["sid_table_version"] == 4
    assert len(bench.engine.peers()) == 1


def test_another_table_is_confirmed_by_one_more_update() -> None:
    """Home agents that are new in it wait for that (rule 6); the first table needs none."""
    bench = Bench()
    first = bench.updates()
    assert [_told(each) for each in first] == [0]
    bench.take(bench.ack(1, version=7))
    assert bench.updates() == []
    bench.engine.registration.refresh(bench.now)
    bench.take(bench.ack(2, version=8, table=TABLE[:2]))
    assert [_told(each) for each in bench.updates()] == [7, 8]
    bench.take(bench.ack(3, version=8, table=TABLE[:2]))
    assert bench.updates() == []


def _told(update: BindingUpdate) -> int:
    (option,) = [each for each in update.options if isinstance(each, MultiSenderCapable)]
    return option.table_version


def test_an_unlisted_home_agent_may_acknowledge_with_a_table_that_lists_it() -> None:
    """It holds the key, and else a node whose listed agents are gone could never register."""
    bench = Bench().bind()
    bench.engine.registration.refresh(bench.now)
    bench.take(bench.ack(1, 4, version=2))
    assert bench.engine.counters["dropped.unknown-sid"] == 1
    assert bench.engine.registration.state is State.REFRESHING
    bench.take(bench.ack(2, 4, version=2, table=(*TABLE, SidEntry(4, HA[4]))))
    bench.take(bench.ack(3, 4, version=2, table=(*TABLE, SidEntry(4, HA[4]))))
    assert bench.engine.registration.state is State.BOUND
    alive(bench, 1, 4)


@pytest.mark.parametrize("mode", MODES)
def test_new_keys_begin_anew(mode: Mode) -> None:
    bench = Bench(mode).bind()
    alive(bench, 9)
    bench.engine.load_keys(bench.keys, bench.now)
    assert bench.engine.status()["multihomed"] is None
    alive(bench, 9)


# Acknowledgements


@pytest.mark.parametrize("mode", MODES)
def test_acknowledgement_must_carry_our_routing_header(mode: Mode) -> None:
    bench = Bench(mode)
    bench.drops(bench.ack(1, routing=IPv6Address("fd00:192:168:1::101")), "routing-header-not-ours")
    bench.drops(bench.ack(1, routing=None), "routing-header-missing")
    bench.bind()


@pytest.mark.parametrize("mode", MODES)
def test_replayed_acknowledgement(mode: Mode) -> None:
    bench = Bench(mode)
    packet = bench.ack(1)
    bench.take(packet)
    bench.drops(packet, "replay")
    bench.engine.registration.refresh(bench.now)
    bench.drops(packet, "replay")


@pytest.mark.parametrize("mode", MODES)
def test_an_acknowledgement_of_nothing_is_dropped(mode: Mode) -> None:
    bench = Bench(mode).bind()
    state = bench.engine.registration.state
    bench.take(bench.ack(2, sequence=12345))
    assert bench.engine.counters["dropped.acknowledgement-unexpected"] == 1
    assert bench.engine.registration.state is state


def test_status_135_and_refresh_advice() -> None:
    bench = Bench()
    first = bench.updates()[0]
    bench.take(bench.ack(1, status=135, sequence=(first.sequence + 50) & 0xFFFF, lifetime=0))
    (second,) = bench.updates()
    assert second.sequence == (first.sequence + 51) & 0xFFFF
    bench.take(bench.ack(2, options=(BindingRefreshAdvice(10),)))
    assert bench.engine.next_timer() == bench.now + 40


@pytest.mark.parametrize("mode", MODES)
def test_refusals_install_nothing(mode: Mode) -> None:
    bench = Bench(mode)
    bench.take(bench.ack(1, status=129, lifetime=0))
    assert bench.engine.registration.state is State.REFUSED
    assert bench.engine.status()["multihomed"] is None
    assert bench.engine.peers() == []


def test_binding_refresh_request_is_answered_at_once() -> None:
    bench = Bench().bind()
    bench.take(bench.signal(BindingRefreshRequest(), 2))
    assert len(bench.updates()) == 1
    assert bench.engine.registration.state is State.REFRESHING
    bench.take(bench.signal(BindingRefreshRequest(), 1, 9))  # an index that is not listed
    assert bench.engine.counters["dropped.unknown-sid"] == 1
    # Unprotected it means nothing.
    plain = serialize_mobility(BindingRefreshRequest(), ANYCAST, COA)
    bench.drops(ipv6.build(ANYCAST, COA, ipv6.MOBILITY, plain), "unprotected")
    assert bench.updates() == []


def test_many_refresh_requests_keep_the_update_rate() -> None:
    bench = Bench().bind()
    for number in range(2, 40):
        bench.take(bench.signal(BindingRefreshRequest(), number))
    assert len(bench.updates()) <= 3


@pytest.mark.parametrize("status", [1, 2, 77])
def test_binding_error_is_counted_and_believed_by_nobody(status: int) -> None:
    """RFC 6275 §11.3.6; anybody can send one, so the registration stays as it is."""
    bench = Bench().bind()
    state = bench.snapshot()
    message = BindingError(BindingErrorStatus(status), HOA)
    plain = serialize_mobility(message, ANYCAST, COA)
    assert bench.take(ipv6.build(ANYCAST, COA, ipv6.MOBILITY, plain)) == []
    assert bench.engine.counters[f"binding-error.{status}"] == 1
    bench.take(bench.signal(message, 2))
    assert bench.engine.counters[f"binding-error.{status}"] == 2
    assert bench.snapshot()[:8] == state[:8]
    # From anybody but the home agent there is no entry that it could concern.
    other = serialize_mobility(message, CN, COA)
    bench.drops(ipv6.build(CN, COA, ipv6.MOBILITY, other), "outer-source")
    alive(bench, 1)


def test_unknown_protected_message() -> None:
    bench = Bench().bind()
    bench.take(bench.signal(UnknownMobilityMessage(99, bytes(2)), 2))
    unknown = BindingErrorStatus.UNRECOGNIZED_MESSAGE_TYPE
    assert bench.signals() == [BindingError(unknown, IPv6Address("::"))]
    bench.take(bench.signal(b"\x3b\x00\x05", 3))
    bench.take(bench.signal(b"\x3b\x02rubbish rubbish rubbish", 4))
    bench.take(bench.signal(bytes(8), 5, next_header=ipv6.UDP))
    bench.take(bench.signal(b"", 6, next_header=ipv6.NO_NEXT_HEADER))
    counters = bench.engine.counters
    assert counters["dropped.unknown-message-type"] == 1
    assert counters["dropped.truncated"] == 1
    assert counters["dropped.bad-checksum"] == 1
    assert counters["dropped.inner-protocol"] == 1
    assert counters["dropped.dummy"] == 1
    alive(bench, 1)


# Tunnel packets


def test_tunnel_packets_that_are_not_for_the_host() -> None:
    bench = Bench().bind()
    numbers = iter(range(1, 100))
    other = ipv6.build(CN, IPv6Address("fd00:192:168:1::101"), ipv6.UDP, bytes(8))
    for inner, next_header, reason in (
        (other, ipv6.IPV6, "inner-destination"),
        (bytes(60), ipv6.IPV6, "inner-malformed"),
        (INNER[:30], ipv6.IPV6, "truncated"),
        (INNER[:-1], ipv6.IPV6, "truncated"),
        (INNER, ipv6.NO_NEXT_HEADER, "dummy"),
        (INNER, ipv6.UDP, "inner-protocol"),
        (b"", ipv6.IPV6, "truncated"),
    ):
        packet = bench.tunnel(next(numbers), inner=inner, next_header=next_header)
        assert bench.take(packet) == []
        assert bench.engine.counters[f"dropped.{reason}"] >= 1, (reason, bench.engine.counters)
    alive(bench, 50)


def test_traffic_flow_padding_is_removed() -> None:
    bench = Bench().bind()
    assert bench.take(bench.tunnel(1, inner=INNER + bytes(77))) == [INNER]


@pytest.mark.parametrize("mode", MODES)
def test_window_edges(mode: Mode) -> None:
    bench = Bench(mode).bind()
    bench.drops(bench.tunnel(0), "sequence-zero")
    assert bench.take(bench.tunnel(2_000_000)) == [INNER]
    bench.drops(bench.tunnel(2_000_000 - 1024), "left-of-window")
    assert bench.take(bench.tunnel(2_000_000 - 1023)) == [INNER]
    bench.drops(bench.tunnel(2_000_000 - 1023), "replay")
    assert bench.take(bench.tunnel(0xFFFFFFFF)) == [INNER]
    bench.drops(bench.tunnel(0), "sequence-zero")


@pytest.mark.parametrize("mode", MODES)
def test_every_bit_of_the_icv_counts(mode: Mode) -> None:
    bench = Bench(mode).bind()
    packet = bench.tunnel(1)
    for bit in range(128):
        forged = bytearray(packet)
        forged[-1 - bit // 8] ^= 1 << bit % 8
        bench.drops(bytes(forged), "bad-icv")
    assert bench.take(packet) == [INNER]


@pytest.mark.parametrize("mode", MODES)
def test_every_truncation(mode: Mode) -> None:
    bench = Bench(mode).bind()
    for packet in (
        bench.tunnel(1),
        bench.tunnel(2, origin=None),
        bench.signal(BindingRefreshRequest(), 2),
        bench.ack(3),
    ):
        state = bench.snapshot()
        for length in range(len(packet)):
            short = packet[:length]
            assert bench.take(short) == []
            if length >= 40:  # and with a payload length that fits
                assert bench.take(short[:4] + struct.pack("!H", length - 40) + short[6:]) == []
        assert bench.snapshot() == state
    alive(bench, 1)


def test_unknown_spi_and_wrong_sa() -> None:
    bench = Bench().bind()
    for spi in (0, 1, 255, 0x01000100, 0xFFFFFFFF):
        packet = bytearray(bench.tunnel(1))
        packet[64:68] = spi.to_bytes(4, "big")
        bench.drops(bytes(packet), "unknown-spi")
    # A tunnel packet on the signalling SA and the other way round.
    transport = TO_MOBILE_NODE[SaMode.TRANSPORT]
    bench.drops(bench.tunnel(9, spi=transport), "routing-header-missing")
    routed = serialize_routing(ipv6.ESP, RoutingType2(HOA)) + bench.tunnel(1, origin=None)[40:]
    bench.drops(ipv6.build(ANYCAST, COA, ipv6.ROUTING, routed), "routing-header-on-tunnel")
    # What this node itself sent, reflected.
    bench.engine.encapsulate(UP, bench.now)
    (own,) = bench.sent()
    reflected = bytearray(own)
    reflected[8:40] = ANYCAST.packed + COA.packed
    bench.drops(bytes(reflected), "unknown-spi")
    assert TO_HOME_AGENT[SaMode.TUNNEL] not in TO_MOBILE_NODE.values()
    alive(bench, 1)


def test_unprotected_packets() -> None:
    bench = Bench().bind()
    bench.drops(ipv6.build(ANYCAST, COA, ipv6.UDP, bytes(8)), "unprotected")
    bench.drops(ipv6.build(ANYCAST, COA, ipv6.ICMPV6, bytes(8)), "unprotected")
    bench.drops(ipv6.build(ANYCAST, COA, ipv6.ESP, b""), "unprotected")
    bench.drops(ipv6.build(ANYCAST, COA2, ipv6.UDP, bytes(8)), "outer-destination")
    alive(bench, 1)


def test_options_beside_origin_ip() -> None:
    """An option to be skipped is; one to be refused earns the Parameter Problem of RFC 8200."""
    bench = Bench().bind()
    sealed = bench.tunnel(1, origin=None)[40:]
    friendly = with_options(sealed, (UnknownOption(0x3E, b"xy"), OriginIp(HA[1])))
    assert bench.take(friendly) == [INNER]
    bench.sent()
    bench.drops(with_options(sealed, (UnknownOption(0x5E, b"xy"),)), "unknown-option")
    assert bench.sent() == []
    refused = with_options(sealed, (UnknownOption(0x9E, b"xy"),))
    bench.drops(refused, "unknown-option")
    (answer,) = map(ipv6.parse, bench.sent())
    assert (answer.source, answer.destination) == (COA, ANYCAST)
    assert answer.payload[:2] == bytes((4, 2))
    pointer = int.from_bytes(answer.payload[4:8])
    assert refused[pointer] == 0x9E
    for _ in range(100):
        bench.engine.receive(refused, bench.now)
    assert len(bench.sent()) < 20
    assert bench.engine.counters["errors-suppressed"] > 80


def test_link_padding_behind_the_packet_is_ignored() -> None:
    bench = Bench().bind()
    assert bench.take(bench.tunnel(1) + b"trailing") == [INNER]
    assert bench.take(bench.tunnel(2, origin=None) + b"trailing") == [INNER]


def test_origin_changed_names_the_home_agent() -> None:
    bench = Bench().bind()
    alive(bench, 1, 1)
    alive(bench, 1, 2)
    assert bench.take(bench.tunnel(1, 2, incarnation=2)) == [INNER]
    assert bench.events() == [
        OriginChanged(str(HA[1]), 1, ""),
        OriginChanged(str(HA[2]), 1, str(HA[1])),
        OriginChanged(str(HA[2]), 2, str(HA[2])),
    ]


# The way up


@pytest.mark.parametrize("mode", MODES)
def test_encapsulation(mode: Mode) -> None:
    bench = Bench(mode).bind()
    bench.engine.encapsulate(UP, bench.now)
    bench.engine.encapsulate(UP, bench.now)
    packets = [ipv6.parse(each) for each in bench.sent()]
    assert [(each.source, each.destination, each.next_header) for each in packets] == [
        (COA, ANYCAST, ipv6.ESP)
    ] * 2
    cipher = bench.ciphers[TO_HOME_AGENT[SaMode.TUNNEL]]
    assert [cipher.open(each.payload) for each in packets] == [(UP, ipv6.IPV6)] * 2
    assert [each.payload[4:8] for each in packets] == [b"\0\0\0\1", b"\0\0\0\2"]
    if mode is Mode.HARDENED:  # SID 0: the HA address is meant (design §10, rule 11)
        assert packets[0].payload[8:16] == bytes(7) + b"\1"


def test_what_is_not_encapsulated() -> None:
    bench = Bench().bind()
    for packet, reason in (
        (b"", "inner-malformed"),
        (UP[:39], "inner-malformed"),
        (b"\x45" + UP[1:], "inner-malformed"),
        (ipv6.build(COA, CN, ipv6.UDP, bytes(8)), "inner-source"),
        (ipv6.build(HOA, IPv6Address("ff02::2"), ipv6.UDP, bytes(8)), "inner-destination"),
        (ipv6.build(HOA, IPv6Address("fe80::2"), ipv6.UDP, bytes(8)), "inner-destination"),
    ):
        before = bench.engine.counters[f"dropped.{reason}"]
        bench.engine.encapsulate(packet, bench.now)
        assert bench.sent() == []
        assert bench.engine.counters[f"dropped.{reason}"] == before + 1
    bench.engine.encapsulate(UP, bench.now)
    assert len(bench.sent()) == 1


def test_the_last_number_is_the_last_packet() -> None:
    bench = Bench().bind()
    out = bench.engine._associations.outbound(HOA, SaMode.TUNNEL)
    assert out is not None
    out.counter = out.limit - 1
    bench.engine.encapsulate(UP, bench.now)
    bench.engine.encapsulate(UP, bench.now)
    assert len(bench.sent()) == 1
    assert bench.engine.counters["dropped.sequence-exhausted"] == 1


def test_without_keys_nothing_leaves() -> None:
    bench = Bench(start=False)
    engine = MobileNode(bench.config, bench.random.randbytes)
    engine.care_of_address_added(COA, "mn-v1", bench.now)
    engine.start(bench.now)
    assert engine.packets_to_send(bench.now) == []
    assert engine.counters["dropped.no-sa"] == 1


def test_keys_that_do_not_fit_are_refused() -> None:
    bench, other = Bench(start=False), Bench(Mode.DRAFT_CBC, start=False)
    with pytest.raises(ConfigError, match=r"mn\.toml.*does not fit mode hardened"):
        bench.engine.load_keys(other.keys, bench.now)
    foreign = Bench(start=False)
    object.__setattr__(foreign.keys[0], "source", CN)
    with pytest.raises(ConfigError, match=r"mn\.toml.*is not between"):
        bench.engine.load_keys(foreign.keys, bench.now)
