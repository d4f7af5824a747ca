"""The same packets by scapy, an encoder and decoder of another hand, in both directions."""

from ipaddress import IPv6Address

import pytest
import wire_samples as samples
from scapy.layers import inet6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Raw

from agents.wire import icmpv6, ipv6
from agents.wire.destination_options import (
    HomeAddress,
    OriginIp,
    UnknownOption,
    serialize_destination_options,
)
from agents.wire.esp import Transform, make_cipher
from agents.wire.mobility import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    parse_mobility,
    serialize_mobility,
)
from agents.wire.mobility_options import AlternateCareOfAddress, BindingRefreshAdvice
from agents.wire.routing import RoutingType2, serialize_routing
from agents.wire.status import BindingErrorStatus, Status

HOA, HA, COA = str(samples.HOA), str(samples.HA), str(samples.COA)


def with_home_address(message: bytes) -> bytes:
    """Return the packet of a message from a mobile node away from home."""
    header = serialize_destination_options(ipv6.MOBILITY, [HomeAddress(samples.HOA)])
    return ipv6.build(samples.COA, samples.HA, ipv6.DESTINATION_OPTIONS, header + message)


def with_routing_header(message: bytes) -> bytes:
    """Return the packet of a message to a mobile node away from home."""
    header = serialize_routing(ipv6.MOBILITY, samples.ROUTING)
    return ipv6.build(samples.HA, samples.COA, ipv6.ROUTING, header + message)


def home_address_option() -> inet6.IPv6ExtHdrDestOpt:
    # scapy pads by itself, and its checksum code looks for the option in first place.
    return inet6.IPv6ExtHdrDestOpt(options=[inet6.HAO(hoa=HOA)])


def test_binding_update_with_home_address_option() -> None:
    message = BindingUpdate(7, 15, options=(AlternateCareOfAddress(samples.COA),))
    ours = with_home_address(serialize_mobility(message, samples.HOA, samples.HA))
    theirs = (
        inet6.IPv6(src=COA, dst=HA, hlim=64)
        / home_address_option()
        / inet6.MIP6MH_BU(seq=7, flags="HA", mhtime=15, options=[inet6.MIP6OptAltCoA(acoa=COA)])
    )
    assert bytes(theirs) == ours
    decoded = inet6.IPv6(ours)
    assert decoded[inet6.HAO].hoa == HOA
    assert decoded[inet6.MIP6MH_BU].seq == 7
    assert decoded[inet6.MIP6OptAltCoA].acoa == COA
    packet = ipv6.parse(bytes(theirs))
    assert packet.home_address == samples.HOA
    assert parse_mobility(packet.payload, samples.HOA, packet.destination) == message


def test_binding_acknowledgement_with_routing_header_and_m() -> None:
    message = BindingAcknowledgement(
        Status.ACCEPTED,
        7,
        15,
        key_management=True,
        multihomed=True,
        options=(BindingRefreshAdvice(12),),
    )
    ours = with_routing_header(serialize_mobility(message, samples.HA, samples.HOA))
    theirs = (
        inet6.IPv6(src=HA, dst=COA, hlim=64)
        / inet6.IPv6ExtHdrRouting(type=2, segleft=1, addresses=[HOA])
        # scapy calls the draft's M, the lowest bit of the flags, reserved.
        / inet6.MIP6MH_BA(
            status=0,
            flags="K",
            res2=1,
            seq=7,
            mhtime=15,
            options=[inet6.MIP6OptBRAdvice(rinter=12)],
        )
    )
    assert bytes(theirs) == ours
    decoded = inet6.IPv6(ours)[inet6.MIP6MH_BA]
    assert (decoded.status, int(decoded.flags), decoded.res2, decoded.seq) == (0, 4, 1, 7)
    packet = ipv6.parse(bytes(theirs))
    assert packet.routing == RoutingType2(samples.HOA)
    assert parse_mobility(packet.payload, packet.source, samples.HOA) == message


@pytest.mark.parametrize(
    ("message", "theirs"),
    [
        (BindingRefreshRequest(), inet6.MIP6MH_BRR()),
        (
            BindingError(BindingErrorStatus.UNKNOWN_BINDING, samples.HOA),
            inet6.MIP6MH_BE(status=1, ha=HOA),
        ),
    ],
)
def test_messages_without_extension_headers(
    message: BindingRefreshRequest | BindingError, theirs: inet6.MIP6MH_BRR
) -> None:
    ours = ipv6.build(
        samples.HA, samples.COA, ipv6.MOBILITY, serialize_mobility(message, samples.HA, samples.COA)
    )
    assert bytes(inet6.IPv6(src=HA, dst=COA, hlim=64) / theirs) == ours
    assert type(inet6.IPv6(ours).payload) is type(theirs)
    parsed = parse_mobility(bytes(ipv6.parse(ours).payload), samples.HA, samples.COA)
    assert parsed == message


def test_origin_ip_option() -> None:
    ours = serialize_destination_options(ipv6.NO_NEXT_HEADER, [OriginIp(samples.HA2)])
    option = inet6.HBHOptUnknown(otype=0x1E, optdata=samples.HA2.packed)
    theirs = inet6.IPv6ExtHdrDestOpt(
        nh=59, options=[inet6.PadN(optdata=b"\0\0"), option], autopad=0
    )
    assert bytes(theirs) == ours
    packet = ipv6.parse(bytes(inet6.IPv6(src=HA, dst=COA) / theirs))
    assert packet.origin == samples.HA2


def test_options_to_skip_and_padding_of_scapy() -> None:
    theirs = (
        inet6.IPv6(src=COA, dst=HA)
        / inet6.IPv6ExtHdrHopByHop(options=[inet6.RouterAlert()])
        / inet6.IPv6ExtHdrDestOpt(
            options=[inet6.HBHOptUnknown(otype=0x3E, optdata=b"abc"), inet6.HAO(hoa=HOA)]
        )
        / inet6.UDP(sport=1, dport=2)
    )
    packet = ipv6.parse(bytes(theirs))
    assert packet.destination_options == (UnknownOption(0x3E, b"abc"), HomeAddress(samples.HOA))
    assert packet.next_header == ipv6.UDP
    assert bytes(theirs)[packet.next_header_offset] == ipv6.UDP


SCAPY_ALGORITHMS = {
    Transform.AES_128_GCM: {"crypt_algo": "AES-GCM", "split": 20},
    Transform.CHACHA20_POLY1305: {"crypt_algo": "CHACHA20-POLY1305", "split": 36},
    Transform.AES_128_CBC_HMAC_SHA2_256: {
        "crypt_algo": "AES-CBC",
        "auth_algo": "SHA2-256-128",
        "split": 16,
    },
}


def scapy_association(transform: Transform, key: bytes, tunnel: bool) -> SecurityAssociation:
    arguments = dict(SCAPY_ALGORITHMS[transform])
    split = int(str(arguments.pop("split")))
    header = inet6.IPv6(src=COA, dst=HA) if tunnel else None
    return SecurityAssociation(
        ESP,
        spi=0x3039,
        crypt_key=key[:split],
        auth_key=key[split:] or None,
        tunnel_header=header,
        **arguments,
    )


@pytest.mark.parametrize("transform", Transform)
@pytest.mark.parametrize("length", [0, 1, 2, 3, 13, 14, 1300])
def test_esp_tunnel_both_ways(transform: Transform, length: int) -> None:
    key = bytes(range(transform.key_length))
    iv = bytes(range(transform.iv_length))
    inner = ipv6.build(samples.HOA, samples.CN, ipv6.UDP, b"\0\1\0\2" + bytes(4) + b"x" * length)
    association = scapy_association(transform, key, tunnel=True)
    theirs = bytes(association.encrypt(inet6.IPv6(inner), seq_num=9, iv=iv))
    cipher = make_cipher(transform, key)
    ours = cipher.seal(0x3039, 9, iv, inner, ipv6.IPV6)
    assert ours == bytes(ipv6.parse(theirs).payload)
    opened, next_header = cipher.open(ipv6.parse(theirs).payload)
    assert next_header == ipv6.IPV6
    assert ipv6.parse(opened).destination == samples.CN
    outer = ipv6.build(samples.COA, samples.HA, ipv6.ESP, ours)
    assert bytes(association.decrypt(inet6.IPv6(outer)))[8:] == inner[8:]


@pytest.mark.parametrize("transform", Transform)
def test_esp_transport_both_ways(transform: Transform) -> None:
    key = bytes(range(transform.key_length))
    iv = bytes(range(transform.iv_length))
    message = serialize_mobility(*samples.MOBILITY["Binding Update"])
    association = scapy_association(transform, key, tunnel=False)
    clear = inet6.IPv6(src=COA, dst=HA, nh=ipv6.MOBILITY) / Raw(message)
    theirs = bytes(association.encrypt(clear, seq_num=9, iv=iv))
    cipher = make_cipher(transform, key)
    assert cipher.open(ipv6.parse(theirs).payload) == (message, ipv6.MOBILITY)
    ours = ipv6.build(
        samples.COA, samples.HA, ipv6.ESP, cipher.seal(0x3039, 9, iv, message, ipv6.MOBILITY)
    )
    assert bytes(association.decrypt(inet6.IPv6(ours)).payload) == message


def test_icmpv6_echoes() -> None:
    request = icmpv6.echo(samples.HA1, samples.CN, 0x0102, 7, b"12345678")
    theirs = inet6.IPv6(src=str(samples.HA1), dst=str(samples.CN)) / inet6.ICMPv6EchoRequest(
        id=0x0102, seq=7, data=b"12345678"
    )
    assert request == bytes(theirs)
    reply = inet6.IPv6(src=str(samples.CN), dst=str(samples.HA1)) / inet6.ICMPv6EchoReply(
        id=0x0102, seq=7, data=b"12345678"
    )
    payload = bytes(reply)[ipv6.HEADER_LENGTH :]
    found = icmpv6.parse_echo_reply(payload, samples.CN, samples.HA1)
    assert found == (0x0102, 7, b"12345678")
    for wrong in (payload[:-1] + b"9", payload[:7], bytes(theirs)[ipv6.HEADER_LENGTH :]):
        assert samples.refusal(icmpv6.parse_echo_reply, wrong, samples.CN, samples.HA1) is not None


def test_icmpv6_errors() -> None:
    asked = ipv6.build(samples.COA, samples.HA, ipv6.UDP, bytes(1400))
    for ours, kind, field, value in (
        (icmpv6.parameter_problem(samples.HA, asked, 2, 42), inet6.ICMPv6ParamProblem, "ptr", 42),
        (icmpv6.destination_unreachable(samples.HA, asked), inet6.ICMPv6DestUnreach, "code", 3),
        (icmpv6.packet_too_big(samples.HA, asked, 1402), inet6.ICMPv6PacketTooBig, "mtu", 1402),
    ):
        assert ours is not None
        assert len(ours) == 1280
        decoded = inet6.IPv6(ours)
        assert decoded.dst == COA
        assert getattr(decoded[kind], field) == value
        # A checksum over a message that holds its checksum is zero.
        assert inet6.in6_chksum(ipv6.ICMPV6, decoded, ours[40:]) == 0


def test_a_packet_too_big_of_scapys_is_read() -> None:
    asked = ipv6.build(samples.COA, samples.HA, ipv6.UDP, bytes(1400))
    quoting = inet6.ICMPv6PacketTooBig(mtu=1300) / Raw(asked[:1232])
    theirs = bytes(inet6.IPv6(src=HA, dst=COA) / quoting)
    found = icmpv6.parse_packet_too_big(ipv6.parse(theirs))
    assert (found.router, found.mtu) == (samples.HA, 1300)
    assert (found.quoted.source, found.quoted.destination) == (samples.COA, samples.HA)
    assert found.quoted.payload == bytes(1232 - 40)


@pytest.mark.parametrize("length", [8, 9, 1001])
def test_checksum(length: int) -> None:
    from agents.wire.checksum import pseudo_header_checksum

    body = bytes(range(256)) * 4
    source, destination = IPv6Address("fd00::1"), IPv6Address("fd00::2")
    header = inet6.IPv6(src=str(source), dst=str(destination))
    theirs = inet6.in6_chksum(ipv6.MOBILITY, header, body[:length])
    assert pseudo_header_checksum(source, destination, ipv6.MOBILITY, body[:length]) == theirs
