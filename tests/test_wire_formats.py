"""Golden vectors: those of FORMATS.md, and published-address ones made by other encoders."""

import re
from ipaddress import IPv6Address

import pytest
import wire_samples as samples

from agents.wire import ipv6
from agents.wire.destination_options import (
    HomeAddress,
    OriginIp,
    parse_destination_options,
    serialize_destination_options,
)
from agents.wire.esp import Transform, make_cipher, peek
from agents.wire.inter_ha import Subtype, parse_inter_ha
from agents.wire.inter_ha_entries import FieldType
from agents.wire.inter_ha_fields import FLAG_ATTRIBUTES
from agents.wire.inter_ha_messages import MESSAGES
from agents.wire.mobility import (
    BindingAcknowledgement,
    BindingUpdate,
    ExperimentalMessage,
    MobilityMessage,
    UnknownMobilityMessage,
    parse_mobility,
    serialize_mobility,
)
from agents.wire.mobility_options import AlternateCareOfAddress
from agents.wire.routing import RoutingType2, parse_routing, serialize_routing
from agents.wire.status import InterHaStatus, Status

DOCUMENTED = samples.documented_vectors()


def test_every_sample_and_nothing_else_is_documented() -> None:
    assert DOCUMENTED.keys() == samples.vectors().keys()


@pytest.mark.parametrize("name", DOCUMENTED)
def test_serializers_make_the_documented_octets(name: str) -> None:
    assert samples.vectors()[name] == DOCUMENTED[name]


@pytest.mark.parametrize("name", samples.MOBILITY)
def test_documented_mobility_messages_parse(name: str) -> None:
    message, source, destination = samples.MOBILITY[name]
    assert parse_mobility(bytes.fromhex(DOCUMENTED[name]), source, destination) == message


@pytest.mark.parametrize("name", samples.INTER_HA)
def test_documented_inter_ha_messages_parse(name: str) -> None:
    octets = bytes.fromhex(DOCUMENTED[name])
    assert parse_inter_ha(octets, samples.HA1, samples.HA2) == samples.INTER_HA[name]
    # Without knowledge of inter-HA messages it is an experimental message (RFC 5096).
    outside = parse_mobility(octets, samples.HA1, samples.HA2)
    assert outside == ExperimentalMessage(octets[6:])


@pytest.mark.parametrize("name", samples.DESTINATION_OPTIONS)
def test_documented_options_parse(name: str) -> None:
    parsed = parse_destination_options(bytes.fromhex(DOCUMENTED[name]))
    assert parsed == (ipv6.ESP, samples.DESTINATION_OPTIONS[name])


def test_documented_routing_header_parses() -> None:
    octets = bytes.fromhex(DOCUMENTED["Type 2 routing header"])
    assert parse_routing(octets) == samples.ROUTING


@pytest.mark.parametrize("name", samples.ESP_SAMPLES)
def test_documented_esp_packets_open(name: str) -> None:
    sample, packet = samples.ESP_SAMPLES[name], bytes.fromhex(DOCUMENTED[name])
    assert peek(packet) == (sample.spi, sample.sequence, sample.iv[:8])
    opened = make_cipher(sample.transform, sample.key).open(packet)
    assert opened == (sample.payload, sample.next_header)


def test_every_inter_ha_message_has_a_sample() -> None:
    assert {message.subtype for message in samples.INTER_HA.values()} == set(Subtype)
    assert MESSAGES.keys() == set(Subtype)


def _rows(title: str) -> list[list[str]]:
    """Return the cells of the first table behind a line of FORMATS.md that contains `title`."""
    text = samples.FORMATS.read_text()
    table = re.search(r"\n\n(\|.*?)\n\n", text[text.index(title) :] + "\n\n", re.DOTALL)
    assert table
    lines = table[1].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_subtypes_is_the_code() -> None:
    text = samples.FORMATS.read_text()
    section = text[text.index("| subtype | message |") :]
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| ([a-z]*)", section.split("\n\n")[0], re.MULTILINE)
    assert {int(number): name.lower() for number, name, _ in rows} == {
        subtype.value: subtype.name.replace("_", " ").lower() for subtype in Subtype
    }
    for number, _, flag in rows:
        names = MESSAGES[int(number)].__dataclass_fields__.keys()
        assert [name for name in FLAG_ATTRIBUTES if name in names] == ([flag] if flag else [])


def test_the_table_of_fields_is_the_code() -> None:
    text = samples.FORMATS.read_text()
    section = text[text.index("| field | type | length |") :].split("\n\n")[0]
    rows = re.findall(r"^\| ([A-Za-z ]+) \| (\d+) \|", section, re.MULTILINE)
    assert {int(number): name.lower() for name, number in rows} == {
        kind.value: kind.name.replace("_", " ").lower() for kind in FieldType
    }
    statuses = re.search(r"\| status \|.*", section)
    assert statuses
    for status in InterHaStatus:
        words = status.name.replace("_", " ").lower()
        assert f"{status.value} {words}" in statuses[0].lower()


@pytest.mark.parametrize("title", ["### Binding entry", "### SA entry", "### Floor entry"])
def test_the_layouts_have_no_hole(title: str) -> None:
    offset = 0
    for start, length, what in _rows(title):
        assert int(start) == offset, what
        offset += int(length.split()[0])
    kind = FieldType[title.removeprefix("### ").upper().replace(" ", "_")]
    sample = {
        FieldType.BINDING_ENTRY: samples.BINDING,
        FieldType.SA_ENTRY: samples.SA,
        FieldType.FLOOR_ENTRY: samples.INTER_HA["Replay Floor"].entries[0],  # type: ignore[attr-defined]
    }[kind]
    assert len(sample.encode()[1]) == offset


# Vectors over documentation addresses, made with an encoder of another hand and, for Binding
# Update, Binding Acknowledgement, Home Address option and ESP, byte-identical to scapy 2.8.0.
COA = IPv6Address("2001:db8:f::100")
HOA = IPv6Address("2001:db8:1::100")
HA = IPv6Address("2001:db8:1::fe")
HA1 = IPv6Address("2001:db8:a1::1")
HA2 = IPv6Address("2001:db8:a2::1")
FOREIGN: dict[str, tuple[MobilityMessage, IPv6Address, IPv6Address, str]] = {
    "Binding Update A H L K": (
        BindingUpdate(
            1,
            15,
            link_local=True,
            key_management=True,
            options=(AlternateCareOfAddress(COA),),
        ),
        HOA,
        HA,
        "3b0305003efa0001f000000f0100031020010db8000f00000000000000000100",
    ),
    "Binding Acknowledgement K": (
        BindingAcknowledgement(Status.ACCEPTED, 1, 15, key_management=True),
        HA,
        HOA,
        "3b0106005f6300800001000f01020000",
    ),
    "Binding Acknowledgement K M": (
        BindingAcknowledgement(Status.ACCEPTED, 1, 15, key_management=True, multihomed=True),
        HA,
        HOA,
        "3b0106005f6200810001000f01020000",
    ),
    "Experimental, empty": (ExperimentalMessage(b"\0\0"), HA1, HA2, "3b000b005cb90000"),
    "Heartbeat": (
        UnknownMobilityMessage(13, bytes.fromhex("00000000000701020000")),
        HA1,
        HA2,
        "3b010d0059a700000000000701020000",
    ),
    "Home Agent Switch": (
        UnknownMobilityMessage(12, b"\x01\0" + HA2.packed),
        HA,
        HOA,
        "3b020c002b90010020010db800a200000000000000000001",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_mobility_messages_of_another_encoder(name: str) -> None:
    message, source, destination, octets = FOREIGN[name]
    assert serialize_mobility(message, source, destination).hex() == octets
    assert parse_mobility(bytes.fromhex(octets), source, destination) == message


def test_options_of_another_encoder() -> None:
    for option, octets in (
        (HomeAddress(HOA), "320201020000c91020010db8000100000000000000000100"),
        (OriginIp(HA2), "3202010200001e1020010db800a200000000000000000001"),
    ):
        assert serialize_destination_options(ipv6.ESP, [option]).hex() == octets
        assert parse_destination_options(bytes.fromhex(octets)) == (ipv6.ESP, (option,))


def test_routing_header_of_another_encoder() -> None:
    octets = "320202010000000020010db8000100000000000000000100"
    assert serialize_routing(ipv6.ESP, RoutingType2(HOA)).hex() == octets


@pytest.mark.parametrize(
    ("iv", "ciphertext"),
    [
        (
            "0100000000000001",
            "938ad9fca72de8877e0b6a22c744b88991d5e933d74be0ca180f5c2e377b7203e355d3a4030dd8f295b441cd"
            "e72cf15a66a1504afed581e746d018e5190493beff1b1c33594dc28c",
        ),
        (
            "0200000000000001",
            "99ca271715efd19525a7b4c35fd7e506afd9c97ac9d2e3170e8c01041296516432b48a9dd712450c7d4d3de1"
            "033d3d88c0a72636a619704ec85ba55d34e925f0be7418d08fece1b9",
        ),
    ],
)
def test_esp_of_another_encoder(iv: str, ciphertext: str) -> None:
    inner = bytes.fromhex(
        "60000000000c114020010db8000c0000000000000000000120010db8000100000000000000000100"
        "045708ae000c11cb41424344"
    )
    key = bytes(range(16)) + bytes.fromhex("a0a1a2a3")
    cipher = make_cipher(Transform.AES_128_GCM, key)
    packet = cipher.seal(0x1001, 1, bytes.fromhex(iv), inner, ipv6.IPV6)
    assert packet.hex() == f"0000100100000001{iv}{ciphertext}"
    assert cipher.open(packet) == (inner, ipv6.IPV6)
    outer = ipv6.build(
        HA, COA, 60, serialize_destination_options(ipv6.ESP, [OriginIp(HA2)]) + packet
    )
    assert len(outer) == 152
    assert ipv6.parse(outer).origin == HA2
