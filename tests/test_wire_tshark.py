"""What Wireshark makes of the packets: nothing malformed, and with the dissector every field."""

import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wire_samples as samples

from agents.wire import icmpv6, ipv6
from agents.wire.destination_options import serialize_destination_options
from agents.wire.esp import Transform
from agents.wire.inter_ha import Subtype
from agents.wire.routing import serialize_routing

DISSECTOR = samples.FORMATS.with_name("manyhomes.lua")
RAW_IP = 101

pytestmark = pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")


def esp_packet(name: str) -> bytes:
    """Return a sample with ORIGIN_IP and a type 2 routing header in front."""
    sealed = samples.ESP_SAMPLES[name].seal()
    options = serialize_destination_options(ipv6.ESP, samples.DESTINATION_OPTIONS["ORIGIN_IP"])
    routing = serialize_routing(ipv6.DESTINATION_OPTIONS, samples.ROUTING)
    return ipv6.build(samples.HA, samples.COA, ipv6.ROUTING, routing + options + sealed)


def packets() -> dict[str, bytes]:
    """Return a whole packet for every sample, by name."""
    found = {
        name: ipv6.build(source, destination, ipv6.MOBILITY, header)
        for name, (header, source, destination) in samples.control_headers().items()
    }
    for name, options in samples.DESTINATION_OPTIONS.items():
        header = serialize_destination_options(ipv6.NO_NEXT_HEADER, options)
        found[name] = ipv6.build(samples.COA, samples.HA, ipv6.DESTINATION_OPTIONS, header)
    for name in samples.ESP_SAMPLES:
        found[name] = esp_packet(name)
    for error in (
        icmpv6.parameter_problem(samples.HA, found["Home Address"], 2, 44),
        icmpv6.destination_unreachable(samples.HA, samples.INNER),
        icmpv6.packet_too_big(samples.HA, samples.INNER, 1402),
    ):
        assert error is not None
        found[f"ICMPv6 {error[40]}"] = error
    return found


def write_capture(path: Path, chosen: list[bytes]) -> None:
    """Write a pcap file of raw IPv6 packets."""
    octets = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, RAW_IP)
    for second, packet in enumerate(chosen):
        octets += struct.pack("<IIII", second, 0, len(packet), len(packet)) + packet
    path.write_bytes(octets)


def decode(path: Path, *options: str) -> list[dict[str, Any]]:
    """Return each packet's layers, as tshark's JSON has them."""
    command = ["tshark", "-r", str(path), "-T", "json", "--no-duplicate-keys", *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "Lua" not in run.stderr, run.stderr
    return [packet["_source"]["layers"] for packet in json.loads(run.stdout)]


def walk(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (field, value) of a packet's every field."""
    if isinstance(tree, dict):
        for name, branch in tree.items():
            yield from walk(branch, name)
    elif isinstance(tree, list):
        for branch in tree:
            yield from walk(branch, path)
    else:
        yield path, str(tree)


def values(layers: dict[str, Any], field: str) -> list[str]:
    """Return the values of a field, in the packet's order."""
    return [value for name, value in walk(layers) if name == field]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("capture") / "all.pcap"
    write_capture(path, list(packets().values()))
    return path


@pytest.fixture(scope="module")
def plain(capture: Path) -> dict[str, dict[str, Any]]:
    """What tshark shows without the dissector."""
    return dict(zip(packets(), decode(capture), strict=True))


@pytest.fixture(scope="module")
def dissected(capture: Path) -> dict[str, dict[str, Any]]:
    """What tshark shows with the dissector, and with the keys."""
    options = ["-X", f"lua_script:{DISSECTOR}", "-o", "esp.enable_encryption_decode:TRUE"]
    for sample in samples.ESP_SAMPLES.values():
        if sample.transform is Transform.AES_128_GCM:
            encryption = f'"AES-GCM with 16 octet ICV [RFC4106]","0x{sample.key.hex()}","NULL",""'
            options += ["-o", f'uat:esp_sa:"IPv6","*","*","{sample.spi:#010x}",{encryption}']
    return dict(zip(packets(), decode(capture, *options), strict=True))


@pytest.mark.parametrize("name", packets())
@pytest.mark.parametrize("view", ["plain", "dissected"])
def test_nothing_is_malformed(name: str, view: str, request: pytest.FixtureRequest) -> None:
    layers = request.getfixturevalue(view)[name]
    text = json.dumps(layers).lower()
    assert "malformed" not in text
    assert "manyhomes.short" not in text
    # An unknown message of a later time, and the option that nobody knows, are only notes.
    if "unknown" not in name and "not known" not in name:
        assert "_ws.expert" not in text or "undecoded" in text


def test_a_damaged_packet_would_be_seen(tmp_path: Path) -> None:
    """The positive probe for the test above."""
    header = bytearray(samples.control_headers()["Binding Information Update"][0])
    header[15] += 190  # the first field reaches beyond the message
    short = bytes(header)
    path = tmp_path / "bad.pcap"
    write_capture(path, [ipv6.build(samples.HA1, samples.HA2, ipv6.MOBILITY, short)])
    layers = decode(path, "-X", f"lua_script:{DISSECTOR}")
    assert "manyhomes.short" in json.dumps(layers)


def test_wireshark_itself_reads_the_standard_part(plain: dict[str, dict[str, Any]]) -> None:
    update = plain["Binding Update"]
    assert values(update, "mip6.bu.seqnr") == ["7"]
    assert values(update, "mip6.bu.a_flag") == ["1"]
    assert values(update, "mip6.bu.lifetime") == ["15"]
    assert values(update, "mip6.acoa.acoa") == [str(samples.COA)]
    assert values(plain["Binding Acknowledgement"], "mip6.ba.status") == ["0"]
    assert values(plain["Binding Acknowledgement"], "mip6.bra.interval") == ["12"]
    assert values(plain["Binding Error"], "mip6.be.haddr") == [str(samples.HOA)]
    assert values(plain["Home Address"], "ipv6.opt.mipv6.home_address") == [str(samples.HOA)]
    tunnel = plain["AES-128-GCM, tunnel"]
    assert values(tunnel, "ipv6.routing.mipv6.home_address") == [str(samples.HOA)]
    assert values(tunnel, "esp.spi") == [f"{0x3039:#010x}"]
    for kind in (1, 2, 4):
        assert values(plain[f"ICMPv6 {kind}"], "icmpv6.checksum.status") == ["1"]


@pytest.mark.parametrize("name", samples.INTER_HA)
def test_inter_ha_messages_are_named(name: str, dissected: dict[str, dict[str, Any]]) -> None:
    message, layers = samples.INTER_HA[name], dissected[name]
    assert values(layers, "manyhomes.subtype") == [str(int(message.subtype))]
    assert values(layers, "manyhomes.identifier") == [f"{message.identifier:#06x}"]
    incarnation = [str(message.receiver_incarnation)]
    assert values(layers, "manyhomes.receiver_incarnation") == incarnation
    assert not values(layers, "manyhomes.unknown")


# What the dissector must show of each message, behind the head: field -> values in their order.
HOA, COA, HA = str(samples.HOA), str(samples.COA), str(samples.HA)
SPI = "0x01000002"
FIELDS: dict[str, dict[str, list[str]]] = {
    "Hello": {"manyhomes.incarnation": ["3"], "manyhomes.interval_ms": ["100"]},
    "Keepalive": {"manyhomes.flags": ["0x01"]},
    "Binding Information Request": {"manyhomes.home_address": [HOA], "manyhomes.spi": []},
    "Binding Information Request by SPI": {
        "manyhomes.home_address": [],
        "manyhomes.spi": [SPI],
    },
    "Binding Information Update": {
        "manyhomes.home_address": [HOA, HOA],
        "manyhomes.care_of_address": [COA, COA],
        "manyhomes.sequence": ["7", "8"],
        "manyhomes.bu_flags": ["0xc000", "0xc000"],
        "manyhomes.remaining_ms": ["59500", "0"],
        "manyhomes.registration": ["1", "1"],
        "manyhomes.epoch": ["2", "2"],
        "manyhomes.primary": ["1", "1"],
        "manyhomes.multi_sender": ["1", "0"],
        "manyhomes.deleted": ["0", "1"],
        "manyhomes.priority": ["5", "0"],
        "manyhomes.known": ["0x000000000000000e", "0xffffffffffffffff"],
    },
    "Binding Information Acknowledgement": {"manyhomes.status": ["0"]},
    "SA Information Request": {"manyhomes.home_address": [HOA], "manyhomes.spi": [SPI]},
    "SA Information Update": {
        "manyhomes.sa.source": [HOA, HA],
        "manyhomes.sa.destination": [HA, HOA],
        "manyhomes.spi": [SPI, "0x00003039"],
        "manyhomes.sa.generation": ["1", "0"],
        "manyhomes.sid_table.version": ["3", "0"],
        "manyhomes.sa.highest": ["70000", "0"],
        "manyhomes.sa.mode": ["2", "1"],
        "manyhomes.sa.transform": ["1", "2"],
        "manyhomes.sa.state": ["2", "0"],
        "manyhomes.sa.key_length": ["20", "48"],
    },
    "SA Information Acknowledgement": {"manyhomes.status": ["131"]},
    "SA Information Renew Request": {"manyhomes.home_address": [HOA], "manyhomes.spi": [SPI]},
    "Replay Floor": {
        "manyhomes.spi": [SPI, "0x00003039"],
        "manyhomes.sid": ["0x0000", "0x0401"],
        "manyhomes.floor": ["1000", str(1 << 40)],
        "manyhomes.floor.outbound": ["0", "1"],
    },
    "Primary HA Switch": {
        "manyhomes.home_address": [HOA],
        "manyhomes.epoch": ["3"],
        "manyhomes.index": ["2"],
        "manyhomes.previous": ["3"],
    },
    "Primary HA Switch Acknowledgement": {"manyhomes.status": ["0"]},
    "Table Request": {"manyhomes.first_segment": ["8"], "manyhomes.window": ["16"]},
    "Table Segment": {
        "manyhomes.segment": ["8"],
        "manyhomes.sequence": ["7"],
        "manyhomes.sa.highest": ["70000"],
        "manyhomes.index": ["3"],
        "manyhomes.member": [str(samples.HA3)],
    },
    "Leave": {"manyhomes.successor": ["2"]},
    "Leave Acknowledgement": {"manyhomes.status": ["0"]},
    "Table End": {"manyhomes.segments": ["9"]},
    "Path Costs": {
        "manyhomes.home_address": [HOA, HOA],
        "manyhomes.path.correspondent": [str(samples.CN), str(samples.CN2)],
        "manyhomes.path.octets": [str(1 << 33), "0"],
        "manyhomes.path.mobile_us": ["20500", str(0xFFFFFFFF)],
        "manyhomes.path.correspondent_us": ["4000", str(0xFFFFFFFF)],
    },
    "Accusation": {
        "manyhomes.accused": ["3"],
        "manyhomes.incarnation": ["7"],
        "manyhomes.misconduct": ["3"],
    },
    "Revocations": {
        "manyhomes.part.digest": ["0x0102030405060708"],
        "manyhomes.part.length": ["8"],
        "manyhomes.part.offset": ["2"],
        "manyhomes.part": ["61:62:63:64", "65:66"],
    },
    "Isolation Acknowledgement": {"manyhomes.status": ["0"]},
    "Binding Update": {
        "manyhomes.option": ["1", "2"],
        "manyhomes.option.priority": ["5"],
        "manyhomes.option.version": [str(0xA1B2C3D4)],
    },
    "Binding Acknowledgement": {
        "manyhomes.multihomed": ["1"],
        "manyhomes.option.version": ["3"],
        "manyhomes.option.first": ["1"],
        "manyhomes.option.index": ["1", "2", "3"],
        "manyhomes.option.address": [str(sender.address) for sender in samples.SENDERS],
    },
    "Binding Acknowledgement with a map": {
        "manyhomes.option": ["4"],
        "manyhomes.option.sid": ["0x0803", "0x0c01"],
        "manyhomes.option.correspondent": [str(samples.CN), str(samples.CN2)],
        "manyhomes.option.address": [str(samples.HA2), str(samples.HA3)],
    },
    "Binding Acknowledgement that refuses": {"manyhomes.multihomed": ["0"]},
    "ORIGIN_IP": {"manyhomes.origin": [str(samples.HA2)]},
    "Home Address": {"manyhomes.origin": []},
    "AES-128-GCM, tunnel": {
        "manyhomes.origin": [str(samples.HA2)],
        "ipv6.src": [HA, str(samples.CN)],
        "udp.dstport": ["50002"],
    },
    "AES-128-GCM, transport, Binding Update": {
        "manyhomes.option": ["1", "2"],
        "mip6.bu.seqnr": ["7"],
        "manyhomes.origin": [str(samples.HA2)],
    },
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_are_named(name: str, dissected: dict[str, dict[str, Any]]) -> None:
    shown = {field: values(dissected[name], field) for field in FIELDS[name]}
    assert shown == FIELDS[name]


def test_every_subtype_is_looked_at() -> None:
    assert {samples.INTER_HA[name].subtype for name in FIELDS if name in samples.INTER_HA} == set(
        Subtype
    )


def test_no_key_is_shown_by_name(dissected: dict[str, dict[str, Any]]) -> None:
    fields = dict(walk(dissected["SA Information Update"]))
    ours = " ".join(value for name, value in fields.items() if name.startswith("manyhomes"))
    assert samples.SA.key.hex(":") not in ours


def test_aes_cbc_is_decrypted(tmp_path: Path) -> None:
    name = "AES-128-CBC with HMAC-SHA2-256-128, tunnel"
    key = samples.ESP_SAMPLES[name].key
    path = tmp_path / "cbc.pcap"
    write_capture(path, [esp_packet(name)])
    association = (
        '"IPv6","*","*","0x303a","AES-CBC [RFC3602]",'
        f'"0x{key[:16].hex()}","HMAC-SHA-256-128 [RFC4868]","0x{key[16:].hex()}"'
    )
    (layers,) = decode(
        path,
        *("-o", "esp.enable_encryption_decode:TRUE"),
        *("-o", "esp.enable_authentication_check:TRUE"),
        *("-o", f"uat:esp_sa:{association}"),
    )
    assert values(layers, "udp.dstport") == ["50002"]
    assert values(layers, "esp.icv_good") == ["1"]
