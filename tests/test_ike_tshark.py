"""What Wireshark makes of a whole conversation: nothing malformed, and inside SK with its keys."""

import json
import shutil
import struct
import subprocess
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import certified
import pytest
from ike_world import COA, DELAY, HA, HOA, MN_ID, PAYLOAD, IkeWorld, home_config, mobile_config

from agents.core.ike.ciphers import IkeCipher
from agents.core.ike.config import IkeConfig, IkePeerConfig
from agents.core.ike.endpoint import Datagram
from agents.core.ike.sa import IkeSa
from agents.wire import ipv6
from agents.wire.checksum import pseudo_header_checksum
from agents.wire.ike.identity import Identity
from agents.wire.ike.numbers import Encryption, Group, NotifyType
from topologies.certification import EXPIRED, Authority

RAW_IP = 101
_UDP = struct.Struct("!HHHH")

pytestmark = pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")


def packet(datagram: Datagram) -> bytes:
    """Return the whole IPv6 packet of a datagram."""
    length = _UDP.size + len(datagram.payload)
    ports = (datagram.source_port, datagram.destination_port, length)
    ends = (datagram.source, datagram.destination)
    bare = _UDP.pack(*ports, 0) + datagram.payload
    checksum = pseudo_header_checksum(*ends, ipv6.UDP, bare) or 0xFFFF
    return ipv6.build(*ends, ipv6.UDP, _UDP.pack(*ports, checksum) + datagram.payload)


def decode(folder: Path, log: list[Datagram], sa: IkeSa | None) -> list[dict[str, Any]]:
    """Return each packet as tshark's JSON has it, decrypted if there are keys for AES-128-GCM."""
    capture = folder / "ike.pcap"
    octets = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, RAW_IP)
    for second, each in enumerate(packet(datagram) for datagram in log):
        octets += struct.pack("<IIII", second, 0, len(each), len(each)) + each
    capture.write_bytes(octets)
    options = [] if sa is None else ["-o", f"uat:ikev2_decryption_table:{key_row(sa)}"]
    run = subprocess.run(
        ["tshark", "-r", str(capture), "-T", "json", "--no-duplicate-keys", *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [each["_source"]["layers"] for each in json.loads(run.stdout)]


def key_row(sa: IkeSa) -> str:
    """Return what tshark has to know of an IKE SA."""
    assert sa.keys is not None
    return ",".join(
        (
            f"{sa.spi_initiator:016x}",
            f"{sa.spi_responder:016x}",
            sa.keys.encrypt_initiator.octets.hex(),
            sa.keys.encrypt_responder.octets.hex(),
            '"AES-GCM-128 with 16 octet ICV [RFC5282]"',
            '""',
            '""',
            '"NONE [RFC4306]"',
        )
    )


def fields(tree: Any, found: dict[str, list[str]] | None = None) -> dict[str, list[str]]:
    """Return the values of every field, in their order."""
    found = {} if found is None else found
    for name, branch in tree.items():
        for each in branch if isinstance(branch, list) else [branch]:
            if isinstance(each, dict):
                fields(each, found)
            else:
                found.setdefault(name, []).append(each)
    return found


@pytest.mark.parametrize("encapsulation", [False, True])
def test_a_whole_conversation_decrypts(tmp_path: Path, encapsulation: bool) -> None:
    world = IkeWorld(
        mobile_config(encapsulation=encapsulation), home_config(encapsulation=encapsulation)
    )
    world.establish()
    sa = world.mn.sa
    child = sa.children[0]
    world.mn.engine.rekey_child(sa, child.inbound_spi, world.now)
    world.run(4 * DELAY)
    world.mn.engine.delete_child(sa, child.inbound_spi, world.now)
    world.run(4 * DELAY)
    world.mn.engine.check_liveness(sa, world.now)
    world.run(4 * DELAY)
    world.mn.engine.rekey_ike(sa, world.now)
    world.run(4 * DELAY)
    old, renewed = len(world.log), world.mn.sa
    world.ha.engine.delete(world.ha.sa, world.now)
    world.run(1.0)
    layers = decode(tmp_path, world.log[:old], sa) + decode(tmp_path, world.log[old:], renewed)
    assert len(layers) == len(world.log) >= 18
    for each in layers:
        text = json.dumps(each)
        for complaint in ("alformed", "_ws.expert", "ecryption failed"):
            assert complaint not in text
    assert ["udpencap" in each for each in layers[1:4]] == [False, encapsulation, encapsulation]
    auth, rekey = fields(layers[2]), fields(layers[6])
    assert auth["isakmp.id.data.ipv6_addr"] == [str(HOA)]
    assert auth["isakmp.id.data.fqdn"] == ["ha.home.example"]
    assert auth["isakmp.ts.protoid"] == ["135", "135"]
    assert auth["isakmp.notify.msgtype"] == [str(NotifyType.USE_TRANSPORT_MODE.value)]
    assert rekey["isakmp.notify.msgtype"][0] == str(NotifyType.REKEY_SA.value)
    assert int(rekey["isakmp.spi"][0].replace(":", ""), 16) == child.inbound_spi
    renewal = fields(layers[12])
    assert renewal["isakmp.key_exchange.dh_group"] == [str(Group.X25519.value)]
    assert int(renewal["isakmp.spi"][0].replace(":", ""), 16) == renewed.local_spi
    deleted = [fields(each).get("isakmp.delete.spi") for each in layers[8:10]]
    assert deleted == [
        [spi.to_bytes(4).hex(":")] for spi in (child.inbound_spi, child.outbound_spi)
    ]


def test_a_conversation_in_fragments_is_put_together(tmp_path: Path) -> None:
    """RFC 7383: each fragment decrypts, and tshark puts together what we have cut."""
    world = IkeWorld(mobile_config(fragment_size=220), home_config(fragment_size=220))
    world.establish()
    sa = world.mn.sa
    layers = decode(tmp_path, world.log, sa)
    assert len(layers) == len(world.log)
    for each in layers:
        text = json.dumps(each)
        for complaint in ("alformed", "_ws.expert", "ecryption failed"):
            assert complaint not in text
    found = [fields(each) for each in layers]
    assert [each.get("isakmp.frag.number") for each in found[:5]] == [
        None,
        None,
        ["1"],
        ["2"],
        ["3"],
    ]
    whole = found[4]
    assert whole["isakmp.fragment.count"] == ["3"]
    assert whole["isakmp.id.data.ipv6_addr"] == [str(HOA)]
    assert whole["isakmp.notify.msgtype"] == [str(NotifyType.USE_TRANSPORT_MODE.value)]
    assert "isakmp.ts.start_ipv6" not in found[3]


def test_the_other_suites_are_known(tmp_path: Path) -> None:
    """MODP-2048 and ChaCha20-Poly1305 in the proposals, under the numbers of IANA."""
    groups, ciphers = (Group.MODP_2048,), (IkeCipher.CHACHA20_POLY1305,)
    world = IkeWorld(
        mobile_config(groups=groups, ciphers=ciphers), home_config(groups=groups, ciphers=ciphers)
    )
    world.establish()
    layers = decode(tmp_path, world.log, None)
    for each in layers[:2]:
        assert "alformed" not in json.dumps(each)
        found = fields(each)
        assert found["isakmp.tf.id.encr"] == [str(Encryption.CHACHA20_POLY1305.value)]
        assert found["isakmp.tf.id.dh"] == [str(Group.MODP_2048.value)]
        assert found["isakmp.key_exchange.dh_group"] == [str(Group.MODP_2048.value)]
        assert str(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED.value) in found["isakmp.notify.msgtype"]


def test_certificates_are_read_and_why_one_is_refused(tmp_path: Path) -> None:
    """Without lists of revocation, which tshark takes for certificates."""
    operator, home = Authority(tmp_path), IPv6Network("fd00:192:168:1::/64")
    own = operator.mobile_node("mn", HOA)
    other = operator.home_agent("HA1", 1, IPv6Address("fd00:1:1::1"), HA, home, lifetime=EXPIRED)
    ends = [certified.credentials(replace(each, revocations=Path())) for each in (own, other)]
    identity = Identity.of(HA)
    ours = (IkePeerConfig(identity, children=(PAYLOAD,)),)
    world = IkeWorld(
        IkeConfig(MN_ID, ours, credentials=ends[0], fragment_size=0),
        IkeConfig(identity, (IkePeerConfig(MN_ID),), credentials=ends[1], fragment_size=0),
    )
    sa = world.mn.engine.initiate(identity, COA, HA, world.now)
    world.run(1.0)
    layers = decode(tmp_path, world.log, sa)
    text = json.dumps(layers)
    assert "alformed" not in text
    assert "ecryption failed" not in text
    init, request, answer, refusal = (fields(layers[place]) for place in (1, 2, 3, 4))
    assert init["isakmp.certreq.type"] == ["4"]
    for proof in (request, answer):
        assert proof["isakmp.cert.encoding"] == ["4", "4"]
        assert proof["isakmp.auth.method"] == ["14"]
        assert proof["pkix1explicit.addressFamily"] == ["00:02"] * 2
    serial = operator.serials["HA1"].to_bytes(20).lstrip(b"\0").hex(":")
    assert answer["x509af.serialNumber"][0].removeprefix("00:") == serial
    assert "HA1" in answer["x509sat.uTF8String"]
    assert refusal["isakmp.notify.msgtype"] == [
        str(each.value) for each in (NotifyType.AUTHENTICATION_FAILED, NotifyType.REFUSAL_REASON)
    ]
    assert b"expired".hex(":") in json.dumps(layers[4])
