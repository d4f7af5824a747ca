"""One example of each packet format, by the name under which FORMATS.md has its octets.

`python tests/wire_samples.py` prints the rows of FORMATS.md's tables of golden vectors.
"""

from collections.abc import Callable
from functools import cache
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple

import ike_samples

from agents.wire import ipv6
from agents.wire.checksum import pseudo_header_checksum
from agents.wire.destination_options import (
    HomeAddress,
    Option,
    OriginIp,
    UnknownOption,
    serialize_destination_options,
)
from agents.wire.errors import WireError
from agents.wire.esp import Transform, make_cipher
from agents.wire.inter_ha import (
    Accusation,
    BindingEntry,
    BindingInformationAcknowledgement,
    BindingInformationRequest,
    BindingInformationUpdate,
    FloorEntry,
    Hello,
    InterHaMessage,
    InterHaStatus,
    IsolationAcknowledgement,
    Keepalive,
    Leave,
    LeaveAcknowledgement,
    MemberEntry,
    Misconduct,
    Mode,
    OctetsEntry,
    PathCosts,
    PathEntry,
    PrimaryHaSwitch,
    PrimaryHaSwitchAcknowledgement,
    ReplayFloor,
    Revocations,
    SaEntry,
    SaInformationAcknowledgement,
    SaInformationRenewRequest,
    SaInformationRequest,
    SaInformationUpdate,
    TableEnd,
    TableRequest,
    TableSegment,
    serialize_inter_ha,
)
from agents.wire.mobility import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    MobilityMessage,
    UnknownMobilityMessage,
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
    sid_tables,
)
from agents.wire.routing import RoutingType2, serialize_routing
from agents.wire.status import BindingErrorStatus, Status

FORMATS = Path(__file__).parents[1] / "agents" / "wire" / "FORMATS.md"

HOA = IPv6Address("fd00:192:168:1::100")
HA = IPv6Address("fd00:192:168:1::254")
COA = IPv6Address("fd00:10:10:10::100")
HA1 = IPv6Address("fd00:1:1::1")
HA2 = IPv6Address("fd00:1:2::2")
HA3 = IPv6Address("fd00:1:3::3")
CN = IPv6Address("fd00:3:1::1")
CN2 = IPv6Address("fd00:3:2::2")
SENDERS = (SidEntry(1, HA1), SidEntry(2, HA2), SidEntry(3, HA3))

BINDING = BindingEntry(HOA, COA, 7, 0xC000, 59_500, 1, primary=1, epoch=2, priority=5, known=0b1110)
DELETED = BindingEntry(HOA, COA, 8, 0xC000, 0, 1, 1, 2, multi_sender=False, deleted=True)
SA = SaEntry(
    HOA,
    0x01000002,
    HOA,
    HA,
    Mode.TUNNEL,
    Transform.AES_128_GCM,
    bytes(range(20)),
    generation=1,
    state=2,
    highest=70_000,
    sid_table_version=3,
)
CBC_SA = SaEntry(
    HOA, 0x3039, HA, HOA, Mode.TRANSPORT, Transform.AES_128_CBC_HMAC_SHA2_256, bytes(range(48))
)

MOBILITY: dict[str, tuple[MobilityMessage, IPv6Address, IPv6Address]] = {
    "Binding Refresh Request": (BindingRefreshRequest(), HA, HOA),
    "Binding Update": (
        BindingUpdate(
            7,
            15,
            options=(AlternateCareOfAddress(COA), MultiSenderCapable(0xA1B2C3D4), Priority(5)),
        ),
        HOA,
        HA,
    ),
    "Binding Update that ends a binding": (BindingUpdate(8, 0), HOA, HA),
    "Binding Acknowledgement": (
        BindingAcknowledgement(
            Status.ACCEPTED,
            7,
            15,
            multihomed=True,
            options=(BindingRefreshAdvice(12), *sid_tables(3, SENDERS)),
        ),
        HA,
        HOA,
    ),
    "Binding Acknowledgement with a map": (
        BindingAcknowledgement(
            Status.ACCEPTED,
            7,
            15,
            multihomed=True,
            options=(
                CorrespondentMap((MapEntry(CN, 0x0803, HA2), MapEntry(CN2, 0x0C01, HA3))),
                BindingRefreshAdvice(5),
            ),
        ),
        HA,
        HOA,
    ),
    "Binding Acknowledgement that refuses": (
        BindingAcknowledgement(Status.SEQUENCE_NUMBER_OUT_OF_WINDOW, 9, 0),
        HA,
        HOA,
    ),
    "Binding Error": (BindingError(BindingErrorStatus.UNKNOWN_BINDING, HOA), HA, COA),
    "Heartbeat, a type not known here": (
        UnknownMobilityMessage(13, bytes.fromhex("00000000000701020000")),
        HA1,
        HA2,
    ),
    "Binding Update with an unknown option": (
        BindingUpdate(9, 15, options=(UnknownMobilityOption(200, b"abc"), Priority(1))),
        HOA,
        HA,
    ),
}

_TO_HA2 = {"identifier": 0x1234, "receiver_incarnation": 4}
INTER_HA: dict[str, InterHaMessage] = {
    "Hello": Hello(3, 100, True, **_TO_HA2),
    "Keepalive": Keepalive(True, identifier=1),
    "Binding Information Request": BindingInformationRequest(HOA, **_TO_HA2),
    "Binding Information Request by SPI": BindingInformationRequest(None, 0x01000002, **_TO_HA2),
    "Binding Information Update": BindingInformationUpdate((BINDING, DELETED), True, **_TO_HA2),
    "Binding Information Acknowledgement": BindingInformationAcknowledgement(**_TO_HA2),
    "SA Information Request": SaInformationRequest(HOA, 0x01000002, **_TO_HA2),
    "SA Information Update": SaInformationUpdate((SA, CBC_SA), **_TO_HA2),
    "SA Information Acknowledgement": SaInformationAcknowledgement(
        InterHaStatus.SPI_OUT_OF_RANGE, **_TO_HA2
    ),
    "SA Information Renew Request": SaInformationRenewRequest(HOA, 0x01000002, **_TO_HA2),
    "Replay Floor": ReplayFloor(
        (FloorEntry(0x01000002, 0, 1_000), FloorEntry(0x3039, 0x0401, 1 << 40, True)), **_TO_HA2
    ),
    "Primary HA Switch": PrimaryHaSwitch(HOA, 3, 2, 3, **_TO_HA2),
    "Primary HA Switch Acknowledgement": PrimaryHaSwitchAcknowledgement(**_TO_HA2),
    "Table Request": TableRequest(8, 16, **_TO_HA2),
    "Table Segment": TableSegment(8, (BINDING, SA, MemberEntry(3, HA3)), **_TO_HA2),
    "Table End": TableEnd(9, **_TO_HA2),
    "Path Costs": PathCosts(
        (PathEntry(HOA, CN, 1 << 33, 20_500, 4_000), PathEntry(HOA, CN2, 0)), **_TO_HA2
    ),
    "Leave": Leave(2, **_TO_HA2),
    "Leave Acknowledgement": LeaveAcknowledgement(**_TO_HA2),
    "Accusation": Accusation(3, 7, Misconduct.ROLE_OF_ANOTHER, **_TO_HA2),
    "Revocations": Revocations(
        0x0102030405060708, 8, 2, (OctetsEntry(b"abcd"), OctetsEntry(b"ef")), **_TO_HA2
    ),
    "Isolation Acknowledgement": IsolationAcknowledgement(**_TO_HA2),
}

DESTINATION_OPTIONS: dict[str, tuple[Option, ...]] = {
    "Home Address": (HomeAddress(HOA),),
    "ORIGIN_IP": (OriginIp(HA2),),
    "Home Address and an option to skip": (UnknownOption(0x3E, b"\x01\x02\x03"), HomeAddress(HOA)),
}
ROUTING = RoutingType2(HOA)

UDP_PORTS = (50001, 50002)  # of no protocol that a dissector would guess
INNER = ipv6.build(CN, HOA, ipv6.UDP, bytes.fromhex("c351c352000c") + b"\xf6\xa9ABCD")


class EspSample(NamedTuple):
    transform: Transform
    key: bytes
    spi: int
    sequence: int
    iv: bytes
    payload: bytes
    next_header: int

    def seal(self) -> bytes:
        cipher = make_cipher(self.transform, self.key)
        return cipher.seal(self.spi, self.sequence, self.iv, self.payload, self.next_header)


ESP_SAMPLES = {
    "AES-128-GCM, tunnel": EspSample(
        Transform.AES_128_GCM, SA.key, 0x3039, 1, bytes.fromhex("0801000000000001"), INNER, 41
    ),
    "AES-128-CBC with HMAC-SHA2-256-128, tunnel": EspSample(
        Transform.AES_128_CBC_HMAC_SHA2_256, CBC_SA.key, 0x303A, 2, bytes(range(16)), INNER, 41
    ),
    "ChaCha20-Poly1305, tunnel": EspSample(
        Transform.CHACHA20_POLY1305,
        bytes(range(36)),
        0x303B,
        4,
        bytes.fromhex("0801000000000004"),
        INNER,
        41,
    ),
    "AES-128-GCM, transport, Binding Update": EspSample(
        Transform.AES_128_GCM,
        SA.key,
        0x01000001,
        3,
        bytes(7) + b"\x03",
        serialize_mobility(*MOBILITY["Binding Update"]),
        ipv6.MOBILITY,
    ),
}


@cache
def control_headers() -> dict[str, tuple[bytes, IPv6Address, IPv6Address]]:
    """Return every Mobility Header: octets and pseudo-header addresses, by name."""
    headers = {
        name: (serialize_mobility(*sample), sample[1], sample[2])
        for name, sample in MOBILITY.items()
    }
    for name, message in INTER_HA.items():
        headers[name] = (serialize_inter_ha(message, HA1, HA2), HA1, HA2)
    return headers


def with_checksum(header: bytes, source: IPv6Address, destination: IPv6Address) -> bytes:
    """Return a Mobility Header whose checksum is right, whatever else is wrong."""
    cleared = header[:4] + b"\0\0" + header[6:]
    checksum = pseudo_header_checksum(source, destination, ipv6.MOBILITY, cleared)
    return header[:4] + checksum.to_bytes(2, "big") + header[6:]


def refusal(parse: Callable[..., object], *arguments: object) -> WireError | None:
    """Return the error with which a parser refuses its input; None if it does not."""
    try:
        parse(*arguments)
    except WireError as error:
        return error
    return None


def vectors() -> dict[str, str]:
    """Return the octets of every sample in hexadecimal, by name."""
    found = {name: header.hex() for name, (header, _, _) in control_headers().items()}
    for name, options in DESTINATION_OPTIONS.items():
        found[name] = serialize_destination_options(ipv6.ESP, options).hex()
    found["Type 2 routing header"] = serialize_routing(ipv6.ESP, ROUTING).hex()
    for name, sample in ESP_SAMPLES.items():
        found[name] = sample.seal().hex()
    return found | ike_samples.vectors()


def documented_vectors() -> dict[str, str]:
    """Return the golden vectors that stand in FORMATS.md: rows `| name | `hex` |`."""
    found: dict[str, str] = {}
    for line in FORMATS.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 2 and cells[1].startswith("`") and len(cells[1]) > 16:
            assert cells[0] not in found, f"{cells[0]} stands twice in FORMATS.md"
            found[cells[0]] = cells[1].strip("`")
    return found


if __name__ == "__main__":
    for name, octets in vectors().items():
        print(f"| {name} | `{octets}` |")
