"""Packets that an agent must survive: each kind of damage, and the answer that is due."""

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
import wire_samples as samples
from wire_samples import with_checksum

from agents.wire import icmpv6, ipv6
from agents.wire.destination_options import (
    HomeAddress,
    OriginIp,
    UnknownOption,
    parse_destination_options,
    serialize_destination_options,
)
from agents.wire.errors import Reason, WireError
from agents.wire.inter_ha import (
    BindingInformationRequest,
    Hello,
    SaInformationUpdate,
    TableSegment,
    parse_inter_ha,
    serialize_inter_ha,
)
from agents.wire.mobility import (
    BindingAcknowledgement,
    BindingUpdate,
    UnknownMobilityMessage,
    parse_mobility,
    serialize_mobility,
)
from agents.wire.mobility_options import (
    CorrespondentMap,
    MapEntry,
    SidEntry,
    SidTable,
    join_sid_tables,
    sid_tables,
)
from agents.wire.routing import RoutingType2, serialize_routing
from agents.wire.status import Status
from agents.wire.tlv import padding

HEADERS = samples.control_headers()


def refusal_of_packet(packet: bytes) -> WireError:
    with pytest.raises(WireError) as refused:
        ipv6.parse(packet)
    return refused.value


def refusal_of_header(header: bytes, name: str) -> WireError:
    """Return why a damaged Mobility Header is refused by the parser that is meant for it."""
    _, source, destination = HEADERS[name]
    parse = parse_inter_ha if name in samples.INTER_HA else parse_mobility
    with pytest.raises(WireError) as refused:
        parse(header, source, destination)
    return refused.value


def damaged(name: str, *changes: tuple[int, int]) -> bytes:
    """Return a sample with some octets changed (offset, value) under a right checksum."""
    octets, source, destination = HEADERS[name]
    header = bytearray(octets)
    for offset, value in changes:
        header[offset] = value
    return with_checksum(bytes(header), source, destination)


def message(body: bytes) -> bytes:
    """Return an inter-HA header from HA1 to HA2 with this behind the checksum."""
    body += bytes(-(len(body) + 6) % 8)
    header = bytes((59, (len(body) + 6) // 8 - 1, 11, 0, 0, 0)) + body
    return with_checksum(header, samples.HA1, samples.HA2)


# Mobility Header


@pytest.mark.parametrize("name", HEADERS)
def test_every_truncation_of_a_mobility_header(name: str) -> None:
    header = HEADERS[name][0]
    for length in range(len(header)):
        assert refusal_of_header(header[:length], name).reason == Reason.TRUNCATED


@pytest.mark.parametrize("name", HEADERS)
def test_every_shorter_header_length(name: str) -> None:
    """Header Len 0 and up, with the checksum right for it: read as if it ended there."""
    octets, source, destination = HEADERS[name]
    parse = parse_inter_ha if name in samples.INTER_HA else parse_mobility
    for units in range(len(octets) // 8 - 1):
        cut = bytes((octets[0], units)) + octets[2 : (units + 1) * 8]
        header = with_checksum(cut, source, destination)
        error = samples.refusal(parse, header, source, destination)
        if error:
            assert error.reason != Reason.CHECKSUM
            assert (error.pointer == 1) == (error.reason == Reason.HEADER_LENGTH)


@pytest.mark.parametrize(
    "name",
    ["Binding Update", "Binding Acknowledgement", "Binding Error", "Hello"],
)
def test_header_len_0_points_at_header_len(name: str) -> None:
    octets, source, destination = HEADERS[name]
    short = with_checksum(bytes((59, 0)) + octets[2:8], source, destination)
    refused = refusal_of_header(short, name)
    assert (refused.reason, refused.pointer, refused.code) == (Reason.HEADER_LENGTH, 1, 0)


@pytest.mark.parametrize("name", [name for name in HEADERS if not name.startswith("Heartbeat")])
def test_wrong_payload_proto_points_at_it(name: str) -> None:
    for proto in (0, 58, 60, 255):
        refused = refusal_of_header(damaged(name, (0, proto)), name)
        assert (refused.reason, refused.pointer, refused.code) == (Reason.PAYLOAD_PROTO, 0, 0)


@pytest.mark.parametrize("name", HEADERS)
def test_every_wrong_bit_fails_the_checksum(name: str) -> None:
    header = HEADERS[name][0]
    for bit in range(len(header) * 8):
        wrong = bytearray(header)
        wrong[bit // 8] ^= 0x80 >> bit % 8
        # A longer header length reaches beyond the packet before the checksum can be seen.
        expected = {Reason.CHECKSUM} | ({Reason.TRUNCATED} if bit // 8 == 1 else set())
        refused = refusal_of_header(bytes(wrong), name)
        assert refused.reason in expected
        assert refused.pointer is None


def test_checksum_over_other_addresses() -> None:
    header, source, destination = HEADERS["Binding Update"]
    for pair in ((samples.COA, destination), (source, samples.HA1)):
        with pytest.raises(WireError) as refused:
            parse_mobility(header, *pair)
        assert refused.value.reason == Reason.CHECKSUM


def test_unknown_type_is_handed_over() -> None:
    for kind in (8, 12, 200, 255):
        header = damaged("Binding Error", (2, kind), (0, 7))
        found = parse_mobility(header, samples.HA, samples.COA)
        assert found == UnknownMobilityMessage(kind, header[6:])


def test_reserved_bits_are_ignored() -> None:
    clean, source, destination = HEADERS["Binding Acknowledgement"]
    dirty = damaged("Binding Acknowledgement", (3, 0xFF), (7, clean[7] | 0x7E))
    assert parse_mobility(dirty, source, destination) == parse_mobility(clean, source, destination)
    for name in samples.INTER_HA:
        clean = HEADERS[name][0]
        dirty = damaged(name, (3, 0xFF), (7, clean[7] | 0xFE), (12, 0xFF), (13, 0xFF))
        assert parse_inter_ha(dirty, samples.HA1, samples.HA2) == samples.INTER_HA[name]


def test_reserved_bits_of_a_binding_update_are_kept_apart() -> None:
    header = damaged("Binding Update that ends a binding", (8, 0xFF), (9, 0xFF))
    found = parse_mobility(header, samples.HOA, samples.HA)
    assert isinstance(found, BindingUpdate)
    assert found.other_flags == 0x0FFF
    assert (found.acknowledge, found.home_registration) == (True, True)
    assert (found.link_local, found.key_management) == (True, True)


def mobility_with_options(options: bytes) -> bytes:
    head = serialize_mobility(BindingUpdate(1, 1), samples.HOA, samples.HA)[:12]
    header = head + options + bytes(-(12 + len(options)) % 8)
    header = bytes((59, len(header) // 8 - 1)) + header[2:]
    return with_checksum(header, samples.HOA, samples.HA)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("0310" + "00" * 2, Reason.OPTION_LENGTH),  # beyond the header
        ("01ff0000", Reason.OPTION_LENGTH),  # padding beyond the header
        ("00000003", Reason.OPTION_LENGTH),  # a type in the last octet, no length
        ("0304fd000001" + "0100", Reason.OPTION_LENGTH),  # a care-of address of 4 octets
        ("0203000a0a", Reason.OPTION_LENGTH),
        ("020101", Reason.OPTION_LENGTH),
        ("12020100", Reason.OPTION_LENGTH),  # multi-sender capable without a version
        ("1203020500", Reason.OPTION_LENGTH),
        ("1205038000000001", Reason.OPTION_LENGTH),  # SID table without a whole version
        ("1207038000000001ff00", Reason.OPTION_LENGTH),  # half an entry
        ("0202000a0202000b", Reason.OPTION_TWICE),
        ("120601000000000112060100000000ff", Reason.OPTION_TWICE),
        ("1202020112020202", Reason.OPTION_TWICE),
        ("0310" + "00" * 16, Reason.ADDRESS),
        ("0310ff02" + "00" * 13 + "01", Reason.ADDRESS),
        ("0310fe80" + "00" * 13 + "01", Reason.ADDRESS),
    ],
)
def test_mobility_options_that_are_refused(options: str, reason: Reason) -> None:
    with pytest.raises(WireError) as refused:
        parse_mobility(mobility_with_options(bytes.fromhex(options)), samples.HOA, samples.HA)
    assert refused.value.reason == reason
    assert refused.value.pointer is None


@pytest.mark.parametrize(
    "options", ["0000000000000000", "0100", "0106000102030405", "c800", "1200"]
)
def test_odd_padding_and_unknown_options_are_skipped(options: str) -> None:
    found = parse_mobility(mobility_with_options(bytes.fromhex(options)), samples.HOA, samples.HA)
    assert isinstance(found, BindingUpdate)
    assert (found.sequence, found.lifetime) == (1, 1)


def test_a_header_full_of_options() -> None:
    header = mobility_with_options(b"\xc8\0" * 1018)
    assert len(header) == 2048
    found = parse_mobility(header, samples.HOA, samples.HA)
    assert isinstance(found, BindingUpdate)
    assert len(found.options) == 1018


def test_sid_tables_that_are_refused() -> None:
    one, two = SidEntry(1, samples.HA1), SidEntry(2, samples.HA2)
    for entries in ((one, one), (SidEntry(0, samples.HA1),), (SidEntry(64, samples.HA1),)):
        update = BindingAcknowledgement(Status.ACCEPTED, 1, 1, options=(SidTable(1, entries),))
        header = serialize_mobility(update, samples.HA, samples.HOA)
        with pytest.raises(WireError) as refused:
            parse_mobility(header, samples.HA, samples.HOA)
        assert refused.value.reason == Reason.FIELD_VALUE
    for parts in (
        (SidTable(1, (one,)), SidTable(1, (two,))),  # two beginnings
        (SidTable(1, (one,), first=False),),  # no beginning
        (SidTable(1, (one,)), SidTable(2, (two,), first=False)),  # two versions
        (SidTable(1, (one,)), SidTable(1, (one,), first=False)),  # an index twice
    ):
        with pytest.raises(WireError) as refused:
            join_sid_tables(parts)
        assert refused.value.reason == Reason.FIELD_VALUE
    assert join_sid_tables(()) is None
    assert join_sid_tables(sid_tables(5, ())) == (5, ())


def test_correspondent_maps_that_are_refused() -> None:
    one = MapEntry(samples.CN, 0x0401, samples.HA1)
    for entries in ((one, MapEntry(samples.CN, 0x0801, samples.HA2)), (replace(one, sid=0x03FF),)):
        answer = BindingAcknowledgement(Status.ACCEPTED, 1, 1, options=(CorrespondentMap(entries),))
        with pytest.raises(WireError) as refused:
            parse_mobility(
                serialize_mobility(answer, samples.HA, samples.HOA), samples.HA, samples.HOA
            )
        assert refused.value.reason == Reason.FIELD_VALUE
    eight = tuple(replace(one, correspondent=samples.CN + number) for number in range(8))
    answer = BindingAcknowledgement(Status.ACCEPTED, 1, 1, options=(CorrespondentMap(eight),))
    with pytest.raises(ValueError, match="8 entries"):
        serialize_mobility(answer, samples.HA, samples.HOA)


# Inter-HA messages

HEAD = "0101123400000000"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("0001123400000000", Reason.SUBTYPE),
        ("7f01123400000000", Reason.SUBTYPE),
        ("ff01123400000000", Reason.SUBTYPE),
        ("0101000000000000" + "0506000300000064", Reason.IDENTIFIER),
        (HEAD, Reason.FIELD_MISSING),
        ("0301123400000000", Reason.FIELD_MISSING),  # a request for nothing
        (HEAD + "05050003000000", Reason.OPTION_LENGTH),
        (HEAD + "050700030000006400", Reason.OPTION_LENGTH),
        (HEAD + "0506000300000064" * 2, Reason.OPTION_TWICE),
        (HEAD + "05ff", Reason.OPTION_LENGTH),
        ("0301123400000000" + "0210" + "00" * 16, Reason.ADDRESS),
        ("0301123400000000" + "0210ff02" + "00" * 13 + "01", Reason.ADDRESS),
        ("0401123400000000" + "1034" + "00" * 52, Reason.OPTION_LENGTH),
        ("1101123400000000", Reason.FIELD_MISSING),  # a Leave without a successor
        ("1101123400000000" + "0a020102", Reason.OPTION_LENGTH),
        ("0701123400000000" + "1104" + "00" * 4, Reason.OPTION_LENGTH),
        ("0a01123400000000" + "120e" + "00" * 14, Reason.OPTION_LENGTH),
        ("0401123400000000" + "120f" + "00" * 15, Reason.FIELD_VALUE),  # a floor in an update
        ("0e01123400000000" + "080400000001" + "1411" + "01" * 17, Reason.OPTION_LENGTH),
        ("0e01123400000000" + "080400000001" + "1412" + "40" * 18, Reason.FIELD_VALUE),
        ("0401123400000000" + "1412" + "01" * 18, Reason.FIELD_VALUE),  # a member in an update
        ("0101123400000000" + "0506000300000064" + "120f" + "00" * 15, Reason.FIELD_VALUE),
    ],
)
def test_inter_ha_messages_that_are_refused(body: str, reason: Reason) -> None:
    with pytest.raises(WireError) as refused:
        parse_inter_ha(message(bytes.fromhex(body)), samples.HA1, samples.HA2)
    assert refused.value.reason == reason


def test_unknown_fields_are_skipped() -> None:
    body = bytes.fromhex(HEAD + "c8050102030405" + "0506000300000064" + "c80100")
    found = parse_inter_ha(message(body), samples.HA1, samples.HA2)
    assert found == Hello(3, 100, True, identifier=0x1234)


def test_another_type_is_no_inter_ha_message() -> None:
    for name in ("Binding Update", "Binding Error"):
        header, source, destination = HEADERS[name]
        with pytest.raises(WireError) as refused:
            parse_inter_ha(header, source, destination)
        assert refused.value.reason == Reason.MESSAGE_TYPE


@pytest.mark.parametrize(("offset", "value"), [(68, 0), (68, 3), (69, 0), (69, 2), (69, 9)])
def test_sa_entries_that_are_refused(offset: int, value: int) -> None:
    # 14 octets of head and 2 of the field's; transform 2 would take a longer key.
    name = "SA Information Update"
    refused = refusal_of_header(damaged(name, (16 + offset, value)), name)
    wrong_key = (offset, value) == (69, 2)
    assert refused.reason == (Reason.OPTION_LENGTH if wrong_key else Reason.FIELD_VALUE)


def test_no_key_is_shown() -> None:
    key = samples.SA.key
    update = SaInformationUpdate((samples.SA,), identifier=1)
    segment = TableSegment(1, (samples.SA,), identifier=1)
    for shown in (repr(samples.SA), str(update), f"{segment!r}"):
        assert "key" not in shown
        assert key.hex() not in shown
        assert repr(key)[2:-1] not in shown
    wrong = replace(samples.SA, key=b"secret-secret")
    with pytest.raises(ValueError, match="13 octets") as refused:
        serialize_inter_ha(SaInformationUpdate((wrong,), identifier=1), samples.HA1, samples.HA2)
    assert "secret" not in str(refused.value)


def test_what_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="identifier 0"):
        serialize_inter_ha(Hello(1, 1, identifier=0), samples.HA1, samples.HA2)
    with pytest.raises(ValueError, match="Hello"):
        serialize_inter_ha(Hello(1 << 16, 1, identifier=1), samples.HA1, samples.HA2)
    with pytest.raises(ValueError, match="home address or an SPI"):
        serialize_inter_ha(BindingInformationRequest(identifier=1), samples.HA1, samples.HA2)
    long = SaInformationUpdate((samples.SA,) * 30, identifier=1)
    with pytest.raises(ValueError, match="2048"):
        serialize_inter_ha(long, samples.HA1, samples.HA2)
    with pytest.raises(ValueError, match="BindingUpdate"):
        serialize_mobility(BindingUpdate(1 << 16, 0), samples.HOA, samples.HA)
    with pytest.raises(ValueError, match="13 entries"):
        serialize_mobility(
            BindingAcknowledgement(
                Status.ACCEPTED,
                1,
                1,
                options=(SidTable(1, (SidEntry(1, samples.HA1),) * 13),),
            ),
            samples.HA,
            samples.HOA,
        )
    with pytest.raises(ValueError, match="at most 255"):
        serialize_destination_options(50, [UnknownOption(0x3E, bytes(256))])
    with pytest.raises(ValueError, match="65535"):
        ipv6.build(samples.HA, samples.COA, 59, bytes(1 << 16))


# IPv6 and its extension headers


def outer(*options: HomeAddress | OriginIp | UnknownOption) -> bytes:
    header = serialize_destination_options(ipv6.ESP, options)
    return ipv6.build(samples.COA, samples.HA, ipv6.DESTINATION_OPTIONS, header + b"payload!")


def with_options(options: bytes, destination: IPv6Address = samples.HA, first: int = 60) -> bytes:
    header = bytes((ipv6.ESP, (len(options) + 2) // 8 - 1)) + options
    assert len(header) % 8 == 0
    return ipv6.build(samples.COA, destination, first, header + b"payload!")


def test_every_truncation_of_a_packet() -> None:
    routing = serialize_routing(ipv6.DESTINATION_OPTIONS, RoutingType2(samples.HOA))
    options = serialize_destination_options(ipv6.ESP, [OriginIp(samples.HA1)])
    packet = ipv6.build(samples.HA, samples.COA, ipv6.ROUTING, routing + options + b"payload!")
    for length in range(len(packet)):
        assert refusal_of_packet(packet[:length]).reason == Reason.TRUNCATED
        if length < 40:
            continue
        # The same with a payload length that fits: now the headers themselves are cut.
        shorter = packet[:4] + (length - 40).to_bytes(2, "big") + packet[6:length]
        if length < 88:
            assert refusal_of_packet(shorter).reason == Reason.TRUNCATED
        else:
            assert ipv6.parse(shorter).payload == b"payload!"[: length - 88]


def test_a_destination_options_header_alone() -> None:
    header = serialize_destination_options(ipv6.ESP, [OriginIp(samples.HA1)])
    for wrong in (b"", header[:7], header[:-1], header + b"\0", b"\x32\0" + header[2:]):
        with pytest.raises(WireError) as refused:
            parse_destination_options(wrong)
        assert refused.value.reason == Reason.TRUNCATED


def test_octets_behind_the_payload_are_link_padding() -> None:
    assert ipv6.parse(outer(HomeAddress(samples.HOA)) + b"padding").payload == b"payload!"


def test_lengths_beyond_the_packet() -> None:
    packet = bytearray(outer(HomeAddress(samples.HOA)))
    packet[41] = 4  # five units of 8 octets, where three and a payload of one are
    assert refusal_of_packet(bytes(packet)).reason == Reason.TRUNCATED
    packet[5] += 1
    assert refusal_of_packet(bytes(packet)).reason == Reason.TRUNCATED


def test_another_ip_version() -> None:
    for version in (0, 4, 5, 7, 15):
        packet = bytes((version << 4,)) + outer()[1:]
        assert refusal_of_packet(packet).reason == Reason.VERSION


@pytest.mark.parametrize("kind", [HomeAddress, OriginIp])
def test_address_options_that_are_refused(kind: type[HomeAddress] | type[OriginIp]) -> None:
    for text in ("::", "::1", "ff02::1", "fe80::1"):
        assert refusal_of_packet(outer(kind(IPv6Address(text)))).reason == Reason.ADDRESS
    option = kind(samples.HOA)
    refused = refusal_of_packet(outer(option, option))
    assert (refused.reason, refused.pointer) == (Reason.OPTION_TWICE, None)
    number = {HomeAddress: 0xC9, OriginIp: 0x1E}[kind]
    for length in (0, 4, 15, 17):
        options = b"\0" + bytes((number, length)) + bytes(length)
        refused = refusal_of_packet(with_options(options + padding(-(len(options) + 2) % 8)))
        # 40 octets of IPv6, 2 of the options header, 1 of padding: the type at 43.
        assert (refused.reason, refused.pointer, refused.code) == (Reason.OPTION_LENGTH, 44, 0)


@pytest.mark.parametrize("kind", [HomeAddress, OriginIp])
def test_address_options_in_the_wrong_place(kind: type[HomeAddress] | type[OriginIp]) -> None:
    option = kind(samples.HOA)
    again = serialize_destination_options(ipv6.ESP, [option])
    first = serialize_destination_options(ipv6.DESTINATION_OPTIONS, [option])
    packet = ipv6.build(samples.COA, samples.HA, ipv6.DESTINATION_OPTIONS, first + again)
    assert refusal_of_packet(packet).reason == Reason.OPTION_TWICE
    in_front = serialize_destination_options(ipv6.ROUTING, [option])
    routing = serialize_routing(ipv6.ESP, RoutingType2(samples.HOA))
    packet = ipv6.build(samples.HA, samples.COA, ipv6.DESTINATION_OPTIONS, in_front + routing)
    refused = refusal_of_packet(packet)
    assert (refused.reason, refused.pointer) == (Reason.OPTION_PLACE, None)


def test_address_options_in_a_hop_by_hop_header() -> None:
    """There they are options that nobody knows, and their highest bits say what follows."""
    header = serialize_destination_options(ipv6.ESP, [OriginIp(samples.HA1)])
    packet = ipv6.build(samples.HA, samples.COA, ipv6.HOP_BY_HOP, header + b"payload!")
    assert ipv6.parse(packet).origin is None
    header = serialize_destination_options(ipv6.ESP, [HomeAddress(samples.HOA)])
    packet = ipv6.build(samples.COA, samples.HA, ipv6.HOP_BY_HOP, header + b"payload!")
    refused = refusal_of_packet(packet)
    assert (refused.reason, refused.pointer, refused.code) == (Reason.OPTION_UNKNOWN, 46, 2)


@pytest.mark.parametrize(
    ("kind", "to_node", "to_group"),
    [(0x5E, None, None), (0x9E, 42, 42), (0xDE, 42, None), (0x7E, None, None), (0xFE, 42, None)],
)
def test_unknown_options_say_what_they_want(
    kind: int, to_node: int | None, to_group: int | None
) -> None:
    for destination, pointer in ((samples.HA, to_node), (IPv6Address("ff0e::1"), to_group)):
        refused = refusal_of_packet(with_options(bytes((kind, 4, 1, 2, 3, 4)), destination))
        assert (refused.reason, refused.pointer, refused.code) == (
            Reason.OPTION_UNKNOWN,
            pointer,
            2,
        )


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ("c910" + "00" * 4, 43),  # beyond the header
        ("01ff" + "00" * 4, 43),  # padding beyond it
        ("00000000003e", 47),  # a type in the last octet: points at it
    ],
)
def test_options_beyond_their_header(options: str, pointer: int) -> None:
    refused = refusal_of_packet(with_options(bytes.fromhex(options)))
    assert (refused.reason, refused.pointer, refused.code) == (Reason.OPTION_LENGTH, pointer, 0)


def test_pointers_count_from_the_packet_behind_other_headers() -> None:
    routing = serialize_routing(ipv6.DESTINATION_OPTIONS, RoutingType2(samples.HOA))
    options = bytes((ipv6.ESP, 0, 0x9E, 4, 1, 2, 3, 4))
    packet = ipv6.build(samples.HA, samples.COA, ipv6.ROUTING, routing + options)
    refused = refusal_of_packet(packet)
    assert refused.pointer == 40 + 24 + 2
    answer = icmpv6.parameter_problem(samples.COA, packet, refused.code, refused.pointer)
    assert answer is not None
    assert answer[40:42] == bytes((4, 2))
    assert answer[44:48] == (66).to_bytes(4, "big")


@pytest.mark.parametrize(
    "options", ["000000000000", "0104ffffffff", "010000010000", "3e0401020304"]
)
def test_odd_padding_is_survived(options: str) -> None:
    assert ipv6.parse(with_options(bytes.fromhex(options))).next_header == ipv6.ESP


def test_routing_headers() -> None:
    good = bytearray(serialize_routing(ipv6.ESP, RoutingType2(samples.HOA)))

    def packet(header: bytes) -> bytes:
        return ipv6.build(samples.HA, samples.COA, ipv6.ROUTING, header + bytes(16))

    for offset, value in ((3, 0), (3, 2), (1, 0), (1, 4)):
        wrong = bytearray(good)
        wrong[offset] = value
        refused = refusal_of_packet(packet(bytes(wrong)))
        assert (refused.reason, refused.pointer) == (Reason.ROUTING_HEADER, None)
    for kind in (0, 1, 3, 4, 253):
        other = bytearray(good)
        other[2] = kind
        refused = refusal_of_packet(packet(bytes(other)))
        assert (refused.reason, refused.pointer, refused.code) == (Reason.ROUTING_HEADER, 42, 0)
        other[3] = 0
        assert ipv6.parse(packet(bytes(other))).routing is None
    for text in ("::", "ff02::1", "fe80::1"):
        bad = serialize_routing(ipv6.ESP, RoutingType2(IPv6Address(text)))
        assert refusal_of_packet(packet(bad)).reason == Reason.ADDRESS
    twice = serialize_routing(ipv6.ROUTING, RoutingType2(samples.HOA)) + bytes(good)
    assert refusal_of_packet(packet(twice)).reason == Reason.ROUTING_HEADER


def test_fragments() -> None:
    for offset_and_more, whole in ((0, True), (6, True), (1, False), (8, False), (0xFFF8, False)):
        header = bytes((ipv6.ESP, 0)) + offset_and_more.to_bytes(2, "big") + bytes(4)
        packet = ipv6.build(samples.COA, samples.HA, ipv6.FRAGMENT, header + b"payload!")
        if whole:
            assert ipv6.parse(packet).payload == b"payload!"
        else:
            assert refusal_of_packet(packet).reason == Reason.FRAGMENT


def test_hop_by_hop_options_in_second_place() -> None:
    second = serialize_destination_options(ipv6.ESP, [])
    first = serialize_destination_options(ipv6.HOP_BY_HOP, [])
    packet = ipv6.build(samples.COA, samples.HA, ipv6.DESTINATION_OPTIONS, first + second)
    refused = refusal_of_packet(packet)
    assert (refused.reason, refused.pointer, refused.code) == (Reason.NEXT_HEADER, 40, 1)


# ICMPv6 errors


def test_where_no_icmpv6_error_may_go() -> None:
    group = IPv6Address("ff0e::1")
    error = icmpv6.destination_unreachable(samples.HA, outer())
    assert error is not None
    hidden = ipv6.build(
        samples.COA,
        samples.HA,
        ipv6.DESTINATION_OPTIONS,
        serialize_destination_options(ipv6.ICMPV6, []) + error[40:],
    )
    to_group = ipv6.build(samples.COA, group, ipv6.UDP, bytes(8))
    for packet in (
        b"",
        outer()[:39],
        error,
        hidden,
        to_group,
        ipv6.build(group, samples.HA, ipv6.UDP, bytes(8)),
        ipv6.build(IPv6Address("::"), samples.HA, ipv6.UDP, bytes(8)),
    ):
        assert icmpv6.destination_unreachable(samples.HA, packet) is None
    # RFC 4443 §2.4 (e.3): these two are due to a group's packet too.
    assert icmpv6.packet_too_big(samples.HA, to_group, 1402) is not None
    assert icmpv6.parameter_problem(samples.HA, to_group, 2, 40) is not None
    assert icmpv6.parameter_problem(samples.HA, to_group, 0, 40) is None
    echo = ipv6.build(samples.COA, samples.HA, ipv6.ICMPV6, b"\x80\0\0\0\0\0\0\0")
    assert icmpv6.destination_unreachable(samples.HA, echo) is not None


def test_destination_unreachable_is_read_whole_or_not_at_all() -> None:
    error = icmpv6.destination_unreachable(samples.HA, outer())
    assert error is not None
    assert icmpv6.parse_destination_unreachable(error) == outer()[: 1280 - 48]
    assert icmpv6.parse_destination_unreachable(error + b"padding of the link") == outer()[:1232]
    for length in range(len(error)):
        with pytest.raises(WireError):
            icmpv6.parse_destination_unreachable(error[:length])
    for place in range(40, len(error)):
        changed = error[:place] + bytes((error[place] ^ 0x80,)) + error[place + 1 :]
        with pytest.raises(WireError) as refused:
            icmpv6.parse_destination_unreachable(changed)
        assert refused.value.pointer is None  # RFC 4443 §2.4 (e.1): no answer to an error
