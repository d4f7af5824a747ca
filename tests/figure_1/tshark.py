"""What Wireshark makes of captured packets, with the run's keys and the project's dissector."""

import json
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from agents.wire.esp import Transform
from tests.figure_1.capture import Captured, write_pcap
from tests.figure_1.lab import Association, Lab

DISSECTOR = Path(__file__).resolve().parents[2] / "agents/wire/manyhomes.lua"
NOT_ROOT = ["unshare", "--user", "--map-user=1", "--"]
"""Wireshark 4.4 loads no Lua script of a superuser's, and in the sandbox everybody is one."""


class Decoded:
    """One packet as tshark shows it."""

    def __init__(self, layers: dict[str, Any]) -> None:
        self.fields = list(_walk(layers))
        self.headers = [
            name
            for name in self.one("frame.protocols").split(":")
            if not name.startswith(("raw", "manyhomes"))
        ]
        """The protocols from the outermost header inwards."""
        text = json.dumps(layers)
        self.malformed = "alformed" in text or "manyhomes.short" in text

    def all(self, field: str) -> list[str]:
        """Return the values of a field, in the packet's order."""
        return [value for name, value in self.fields if name == field]

    def one(self, field: str) -> str:
        """Return the value of a field that must be there once."""
        (value,) = self.all(field)
        return value


def decode(lab: Lab, packets: Iterable[Captured]) -> list[Decoded]:
    """Return what tshark shows of packets; it decrypts with the mobile node's keys."""
    path = lab.folder / "decode.pcap"
    write_pcap(path, packets)
    options = ["-o", "esp.enable_encryption_decode:TRUE", "-X", f"lua_script:{DISSECTOR}"]
    options += ["-o", "esp.enable_authentication_check:TRUE"]
    for each in lab.own_associations():
        options += ["-o", f"uat:esp_sa:{_row(each)}"]
    command = [
        *NOT_ROOT,
        "tshark",
        "-n",
        "-r",
        str(path),
        "-T",
        "json",
        "--no-duplicate-keys",
        *options,
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Lua:" not in run.stderr, run.stderr
    return [Decoded(packet["_source"]["layers"]) for packet in json.loads(run.stdout)]


def _row(association: Association) -> str:
    key, spi = association.key, f"{association.spi:#010x}"
    if association.transform is Transform.AES_128_GCM:
        secrets = f'"AES-GCM with 16 octet ICV [RFC4106]","0x{key.hex()}","NULL",""'
    else:
        secrets = (
            f'"AES-CBC [RFC3602]","0x{key[:16].hex()}",'
            f'"HMAC-SHA-256-128 [RFC4868]","0x{key[16:].hex()}"'
        )
    return f'"IPv6","*","*","{spi}",{secrets}'


def _walk(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict):
        for name, branch in tree.items():
            yield from _walk(branch, name)
    elif isinstance(tree, list):
        for branch in tree:
            yield from _walk(branch, path)
    else:
        yield path, str(tree)
