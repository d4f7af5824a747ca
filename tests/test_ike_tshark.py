"""What Wireshark makes of a whole conversation: nothing malformed, and inside SK with its keys."""

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ike_world import DELAY, IkeWorld, home_config, mobile_config

from agents.core.ike.endpoint import Datagram
from agents.core.ike.sa import IkeSa
from agents.wire import ipv6
from agents.wire.checksum import pseudo_header_checksum

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


def decode(folder: Path, log: list[Datagram], sa: IkeSa) -> list[dict[str, Any]]:
    """Return each packet as tshark's JSON has it, decrypted."""
    capture = folder / "ike.pcap"
    octets = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, RAW_IP)
    for second, each in enumerate(packet(datagram) for datagram in log):
        octets += struct.pack("<IIII", second, 0, len(each), len(each)) + each
    capture.write_bytes(octets)
    assert sa.keys is not None
    row = ",".join(
        (
            f"{sa.spi_initiator:016x}",
            f"{sa.spi_responder:016x}",
            sa.keys.encrypt_initiator.hex(),
            sa.keys.encrypt_responder.hex(),
            '"AES-GCM-128 with 16 octet ICV [RFC5282]"',
            '""',
            '""',
            '"NONE [RFC4306]"',
        )
    )
    run = subprocess.run(
        ["tshark", "-r", str(capture), "-T", "json", "--no-duplicate-keys"]
        + ["-o", f"uat:ikev2_decryption_table:{row}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [each["_source"]["layers"] for each in json.loads(run.stdout)]


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
    world.mn.engine.check_liveness(sa, world.now)
    world.run(4 * DELAY)
    world.ha.engine.delete(world.ha.sa, world.now)
    world.run(1.0)
    layers = decode(tmp_path, world.log, sa)
    texts = [json.dumps(each) for each in layers]
    assert len(layers) == len(world.log) >= 14
    for text in texts:
        assert "alformed" not in text
        assert "expert" not in text
        assert "ecryption failed" not in text
    inside = "\n".join(texts)
    for name in ("IDi", "IDr", "AUTH", "TSi", "TSr", "D (", "USE_TRANSPORT_MODE", "REKEY_SA"):
        assert name in inside or name.replace("D (", "Delete") in inside, name
    assert texts[2].count("135") >= 2  # Mobility Header selectors, seen through the encryption
    assert ("udpencap" in texts[2]) is encapsulation
