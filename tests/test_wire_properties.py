"""Properties of every format: what is written is read back, and any octets at all are survived."""

from collections.abc import Callable
from dataclasses import fields
from ipaddress import IPv6Address
from itertools import pairwise
from typing import Any

import pytest
import wire_samples as samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.wire import ipv6
from agents.wire.addresses import is_unicast_routable
from agents.wire.destination_options import (
    HomeAddress,
    OriginIp,
    UnknownOption,
    parse_destination_options,
    serialize_destination_options,
)
from agents.wire.errors import Reason
from agents.wire.esp import make_cipher, peek
from agents.wire.inter_ha import (
    ENTRIES_LIMIT,
    MESSAGE_LIMIT,
    BindingEntry,
    FloorEntry,
    InterHaMessage,
    InterHaStatus,
    MemberEntry,
    Misconduct,
    OctetsEntry,
    PathEntry,
    SaEntry,
    TableSegment,
    fit,
    parse_inter_ha,
    serialize_inter_ha,
)
from agents.wire.inter_ha_messages import ENTRIES, MESSAGES
from agents.wire.mobility import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    MobilityMessage,
    UnknownMobilityMessage,
    parse_mobility,
    serialize_mobility,
)
from agents.wire.mobility_options import (
    AlternateCareOfAddress,
    BindingRefreshAdvice,
    CorrespondentMap,
    MapEntry,
    MultiSenderCapable,
    Priority,
    SidEntry,
    UnknownMobilityOption,
    join_sid_tables,
    sid_tables,
)
from agents.wire.routing import RoutingType2, parse_routing, serialize_routing
from agents.wire.status import BindingErrorStatus, Status
from agents.wire.transforms import Mode, Transform

# A busy machine is no failure: no example has to end within a time.
settings.register_profile("wire", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wire")

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
u64 = st.integers(0, 0xFFFF_FFFF_FFFF_FFFF)
addresses = st.ip_addresses(v=6)
unicast = addresses.filter(is_unicast_routable)

map_entries = st.builds(
    MapEntry,
    unicast,
    # SID 0, or that of a home agent: its index, from 1, in the upper 6 bits.
    st.one_of(st.just(0), st.integers(1 << 10, 0xFFFF)),
    unicast,
)
maps = st.builds(
    lambda entries: CorrespondentMap(tuple(entries)),
    st.lists(map_entries, unique_by=lambda each: each.correspondent, max_size=7),
)
mobility_options = st.lists(
    st.one_of(
        st.builds(AlternateCareOfAddress, unicast),
        st.builds(BindingRefreshAdvice, u16),
        st.builds(MultiSenderCapable, u32),
        st.builds(Priority, u8),
        maps,
    ),
    unique_by=type,
).map(tuple)
# Options of types that mean nothing here may repeat, and stand in any order with the others.
unknown_options = st.lists(
    st.builds(UnknownMobilityOption, st.integers(19, 255), st.binary(max_size=60)), max_size=3
)
tables = st.builds(
    sid_tables,
    u32,
    st.lists(
        st.builds(SidEntry, st.integers(1, 63), unicast), unique_by=lambda e: e.index, max_size=30
    ),
)
options = st.builds(
    lambda known, unknown, table: (*unknown, *known, *table),
    mobility_options,
    unknown_options,
    st.one_of(st.just(()), tables),
)
mobility_messages: st.SearchStrategy[MobilityMessage] = st.one_of(
    st.builds(BindingRefreshRequest, options),
    st.builds(
        BindingUpdate,
        u16,
        u16,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.integers(0, 0x0FFF),
        options,
    ),
    st.builds(
        BindingAcknowledgement, u8.map(Status), u16, u16, st.booleans(), st.booleans(), options
    ),
    st.builds(BindingError, u8.map(BindingErrorStatus), addresses),
    st.builds(
        UnknownMobilityMessage,
        st.integers(12, 255),
        st.integers(0, 20).flatmap(lambda n: st.binary(min_size=8 * n + 2, max_size=8 * n + 2)),
    ),
)

binding_entries = st.builds(
    BindingEntry,
    *(unicast, unicast, u16, u16, u32, u32, u8, u32),
    *(st.booleans(), u8, st.booleans(), u64, st.booleans()),
)
sa_entries = st.sampled_from(Transform).flatmap(
    lambda transform: st.builds(
        SaEntry,
        unicast,
        u32,
        unicast,
        unicast,
        st.sampled_from(Mode),
        st.just(transform),
        st.binary(min_size=transform.key_length, max_size=transform.key_length),
        u32,
        u8,
        u64,
        u32,
    )
)
floor_entries = st.builds(FloorEntry, u32, u16, u64, st.booleans())
times = st.one_of(st.none(), st.integers(0, 0xFFFF_FFFE))
path_entries = st.builds(PathEntry, unicast, unicast, u64, times, times)
_ENTRY_STRATEGIES = {
    BindingEntry: binding_entries,
    SaEntry: sa_entries,
    FloorEntry: floor_entries,
    PathEntry: path_entries,
    MemberEntry: st.builds(MemberEntry, st.integers(1, 63), unicast),
    OctetsEntry: st.builds(OctetsEntry, st.binary(max_size=255)),
}
_ATTRIBUTE_STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "identifier": st.integers(1, 0xFFFF),
    "receiver_incarnation": u16,
    "home_address": unicast,
    "status": u8.map(InterHaStatus),
    "incarnation": u16,
    "window": u16,
    "index": u8,
    "successor": u8,
    "previous": u8,
    "accused": u8,
    "accused_incarnation": u16,
    "misconduct": u8.map(Misconduct),
    "digest": u64,
    "length": u32,
    "offset": u32,
    "ready": st.booleans(),
    "response": st.booleans(),
    "solicited": st.booleans(),
    "mutual": st.booleans(),
}


def messages_of(message: type[InterHaMessage]) -> st.SearchStrategy[InterHaMessage]:
    """Return the strategy of one kind of inter-HA message."""
    arguments: dict[str, st.SearchStrategy[Any]] = {}
    for attribute in fields(message):
        strategy = _ATTRIBUTE_STRATEGIES.get(attribute.name, u32)
        if attribute.name == "entries":
            kinds = [_ENTRY_STRATEGIES[kind] for kind in ENTRIES[message.subtype]]
            strategy = st.lists(st.one_of(kinds), max_size=8).map(tuple)
        arguments[attribute.name] = strategy
        if attribute.name == "spi" and attribute.default is None:
            arguments["spi"] = st.one_of(st.none(), u32)
    return st.builds(message, **arguments)


@given(mobility_messages, addresses, addresses)
def test_mobility_messages_are_read_back(
    message: MobilityMessage, source: IPv6Address, destination: IPv6Address
) -> None:
    octets = serialize_mobility(message, source, destination)
    assert len(octets) % 8 == 0
    assert len(octets) == (octets[1] + 1) * 8
    assert parse_mobility(octets, source, destination) == message
    # RFC 8200 §4.7: what follows a header that says "no next header" is not read.
    assert parse_mobility(octets + b"\1\2\3", source, destination) == message


@pytest.mark.parametrize("kind", MESSAGES.values(), ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_inter_ha_messages_are_read_back(kind: type[InterHaMessage], data: st.DataObject) -> None:
    message = data.draw(messages_of(kind))
    octets = serialize_inter_ha(message, samples.HA1, samples.HA2)
    assert len(octets) % 8 == 0
    assert parse_inter_ha(octets, samples.HA1, samples.HA2) == message


@given(tables)
def test_sid_tables_of_any_length(parts: tuple[Any, ...]) -> None:
    joined = join_sid_tables((Priority(1), *parts))
    assert joined is not None
    assert sid_tables(*joined) == parts


destination_options = st.lists(
    st.one_of(
        st.builds(HomeAddress, unicast),
        st.builds(OriginIp, unicast),
        st.builds(
            UnknownOption,
            st.integers(2, 0x3F).filter(lambda kind: kind != 0x1E),
            st.binary(max_size=100),
        ),
    ),
    unique_by=lambda option: (type(option), option.type if hasattr(option, "type") else 0),
    max_size=6,
)


@given(u8, destination_options)
def test_destination_options_are_read_back(next_header: int, chosen: list[Any]) -> None:
    octets = serialize_destination_options(next_header, chosen)
    assert len(octets) % 8 == 0
    assert parse_destination_options(octets) == (next_header, tuple(chosen))


@given(
    addresses, addresses, st.one_of(st.none(), unicast), destination_options, st.binary(), u8, u8
)
def test_packets_are_read_back(
    source: IPv6Address,
    destination: IPv6Address,
    home_address: IPv6Address | None,
    chosen: list[Any],
    payload: bytes,
    hop_limit: int,
    traffic_class: int,
) -> None:
    headers, first = b"", ipv6.ESP
    if chosen:
        headers, first = serialize_destination_options(first, chosen), ipv6.DESTINATION_OPTIONS
    routing = None if home_address is None else RoutingType2(home_address)
    if routing is not None:
        headers, first = serialize_routing(first, routing) + headers, ipv6.ROUTING
        assert parse_routing(headers[:24]) == routing
    packet = ipv6.build(source, destination, first, headers + payload, hop_limit, traffic_class)
    parsed = ipv6.parse(packet)
    assert parsed.source == source
    assert parsed.destination == destination
    assert (parsed.hop_limit, parsed.traffic_class) == (hop_limit, traffic_class)
    assert (parsed.next_header, parsed.payload) == (ipv6.ESP, payload)
    assert packet[parsed.next_header_offset] == ipv6.ESP
    assert packet[parsed.payload_offset :] == payload
    assert parsed.destination_options == tuple(chosen)
    assert parsed.routing == routing


@given(
    st.sampled_from(Transform),
    st.data(),
    st.integers(256, 0xFFFF_FFFF),
    st.integers(1, 0xFFFF_FFFF),
    st.binary(max_size=200),
    u8.filter(lambda next_header: next_header != ipv6.IPV6),
)
def test_esp_is_read_back(
    transform: Transform,
    data: st.DataObject,
    spi: int,
    sequence: int,
    payload: bytes,
    next_header: int,
) -> None:
    key = data.draw(st.binary(min_size=transform.key_length, max_size=transform.key_length))
    iv = data.draw(st.binary(min_size=transform.iv_length, max_size=transform.iv_length))
    cipher = make_cipher(transform, key)
    packet = cipher.seal(spi, sequence, iv, payload, next_header)
    assert peek(packet) == (spi, sequence, iv[:8])
    assert cipher.open(memoryview(packet)) == (payload, next_header)


@given(st.lists(st.one_of(binding_entries, sa_entries), max_size=60))
def test_segments_fit_into_1280_octets(entries: list[BindingEntry | SaEntry]) -> None:
    runs = fit(entries)
    assert [entry for run in runs for entry in run] == entries
    for number, run in enumerate(runs):
        message = TableSegment(0xFFFF_FFFF - number, run, identifier=0xFFFF)
        octets = serialize_inter_ha(message, samples.HA1, samples.HA2)
        assert len(octets) <= MESSAGE_LIMIT
    for run, following in pairwise(runs):
        used = sum(2 + len(entry.encode()[1]) for entry in (*run, following[0]))
        assert used > ENTRIES_LIMIT


def test_a_full_message_fills_1280_octets() -> None:
    """The limit is right for either transform, and cannot be raised by 8 octets."""
    for length, fits in ((MESSAGE_LIMIT, True), (MESSAGE_LIMIT + 8, False)):
        longest = 0
        for transform in Transform:
            cipher = make_cipher(transform, bytes(transform.key_length))
            packet = cipher.seal(256, 1, bytes(transform.iv_length), bytes(length), 135)
            longest = max(longest, ipv6.HEADER_LENGTH + len(packet))
        assert (longest <= ipv6.MINIMUM_MTU) is fits


PARSERS: dict[str, Callable[[bytes], object]] = {
    "ipv6": ipv6.parse,
    "destination options": parse_destination_options,
    "mobility": lambda data: parse_mobility(data, samples.HOA, samples.HA),
    "inter-HA": lambda data: parse_inter_ha(data, samples.HA1, samples.HA2),
    "ESP head": peek,
    "AES-GCM": make_cipher(Transform.AES_128_GCM, samples.SA.key).open,
    "AES-CBC": make_cipher(Transform.AES_128_CBC_HMAC_SHA2_256, samples.CBC_SA.key).open,
}


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.one_of(st.binary(max_size=80), st.binary(min_size=80, max_size=2100)))
def test_any_octets_make_a_message_or_a_wire_error(name: str, data: bytes) -> None:
    error = samples.refusal(PARSERS[name], data)
    assert error is None or error.pointer is None or 0 <= error.pointer < len(data)


@given(
    st.sampled_from([0, 5, 6, 7, 11, 13]),
    st.integers(0, 15),
    st.lists(
        st.tuples(st.one_of(st.sampled_from([0, 1, 2, 3, 16, 17, 18]), u8), st.binary(max_size=80))
    ),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 12),
)
def test_any_fields_under_a_right_checksum(
    kind: int, subtype: int, chosen: list[tuple[int, bytes]], head: bytes, cut: int
) -> None:
    """Behind the checksum the options are read: what stands there is nearly right, or not."""
    body = bytes((subtype,)) + head[:7]
    body += b"".join(bytes((option, len(value))) + value for option, value in chosen)
    body = body[: 2042 - cut]
    body += bytes(-(len(body) + 6) % 8)
    header = bytes((59, (len(body) + 6) // 8 - 1, kind, 0, 0, 0)) + body
    header = samples.with_checksum(header, samples.HA1, samples.HA2)
    for parse in (parse_mobility, parse_inter_ha):
        error = samples.refusal(parse, header, samples.HA1, samples.HA2)
        assert error is None or error.reason != Reason.CHECKSUM


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 43, 44, 60]), st.binary(min_size=7, max_size=7), st.binary())
    ),
    st.binary(max_size=60),
)
def test_any_chain_of_extension_headers(
    chain: list[tuple[int, bytes, bytes]], payload: bytes
) -> None:
    octets, following = payload, 59
    for kind, head, rest in reversed(chain):
        rest += bytes(-len(rest) % 8)
        length = 0 if kind == 44 else len(rest) // 8
        header = bytes((following, length)) + head[:6] + (b"" if kind == 44 else rest)
        octets, following = header + octets, kind
    packet = ipv6.build(samples.COA, samples.HA, following, octets)
    error = samples.refusal(ipv6.parse, packet)
    if error is None:
        parsed = ipv6.parse(packet)
        assert parsed.payload == payload
        assert packet[parsed.next_header_offset] == 59
    else:
        assert error.pointer is None or error.pointer < len(packet)


def check_damaged(data: st.DataObject) -> None:
    """Change some octets of a golden Mobility Header under a right checksum, and read it.

    What is still taken as a message must be one that can be written and read again.
    """
    name = data.draw(st.sampled_from(sorted(samples.control_headers())))
    octets, source, destination = samples.control_headers()[name]
    header = bytearray(octets)
    places = st.integers(3, len(header) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, u8), min_size=1, max_size=4)):
        header[place] = value
    damaged = samples.with_checksum(bytes(header), source, destination)
    for parse, write in (
        (parse_mobility, serialize_mobility),
        (parse_inter_ha, serialize_inter_ha),
    ):
        error = samples.refusal(parse, damaged, source, destination)
        if error is None:
            message: Any = parse(damaged, source, destination)
            again = write(message, source, destination)
            assert parse(again, source, destination) == message
        else:
            assert error.reason != Reason.CHECKSUM


@given(st.data())
def test_damaged_messages(data: st.DataObject) -> None:
    check_damaged(data)


@pytest.mark.long
@settings(max_examples=50_000)
@given(st.data())
def test_many_damaged_messages(data: st.DataObject) -> None:
    check_damaged(data)


@pytest.mark.long
@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=20_000)
@given(data=st.one_of(st.binary(max_size=80), st.binary(min_size=80, max_size=2100)))
def test_very_many_octets(name: str, data: bytes) -> None:
    samples.refusal(PARSERS[name], data)
