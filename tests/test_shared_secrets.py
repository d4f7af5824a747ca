"""Secret files and UDP: round trips, and what is refused."""

from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path

import pytest
import wire_samples as samples
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6

from agents.config import ConfigError
from agents.shared_secrets import (
    read_secret_file,
    read_secret_files,
    write_secret_file,
)
from agents.wire import ipv6
from agents.wire.errors import WireError
from agents.wire.udp import parse_udp, serialize_udp

HOA = IPv6Address("fd00:192:168:1::100")
OTHER = IPv6Address("fd00:192:168:1::101")
SECRETS = {HOA: bytes(range(32)), OTHER: bytes(range(16))}


def test_round_trip_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "secrets.toml"
    write_secret_file(path, SECRETS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_secret_file(path) == SECRETS
    other = tmp_path / "more.toml"
    write_secret_file(other, {IPv6Address("fd00:192:168:1::102"): bytes(16)})
    assert len(read_secret_files([path, other])) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace('secret = "0', 'secret = "z'), ["secret[0]", "hexadecimal"]),
        (lambda text: text.replace("::101", "::100"), ["secret[1]", "twice"]),
        (lambda text: text.replace("fd00:192:168:1::100", "here"), ["home_address", "here"]),
        (lambda text: text.replace('"0001', '"'), ["14 octets", "at least 16"]),
        (lambda text: text.replace("home_address", "home", 1), ["secret[0]", "home_address"]),
        (lambda text: text + "\n[other]\n", ["nothing else"]),
        (lambda text: text + "\n[[", ["not TOML"]),
        (lambda text: "", ["[[secret]]"]),
    ],
)
def test_mistakes(tmp_path: Path, change: Callable[[str], str], words: list[str]) -> None:
    path = tmp_path / "secrets.toml"
    write_secret_file(path, {OTHER: bytes(range(16))} | SECRETS if "14" in words[0] else SECRETS)
    path.write_text(change(path.read_text()))
    with pytest.raises(ConfigError) as caught:
        read_secret_file(path)
    assert "\n" not in str(caught.value)
    for word in [str(path), *words]:
        assert word in str(caught.value)
    assert SECRETS[HOA].hex() not in str(caught.value)


def test_files_that_others_can_read_or_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "secrets.toml"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_secret_file(path)
    write_secret_file(path, SECRETS)
    with pytest.raises(ConfigError, match="another secret file"):
        read_secret_files([path, path])
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secret_file(path)


@given(st.integers(1, 65535), st.integers(1, 65535), st.binary(max_size=64))
def test_udp_agrees_with_scapy(source: int, destination: int, payload: bytes) -> None:
    ours = serialize_udp(HOA, source, OTHER, destination, payload)
    packet = IPv6(src=str(HOA), dst=str(OTHER)) / UDP(sport=source, dport=destination) / payload
    assert ipv6.build(HOA, OTHER, ipv6.UDP, ours) == bytes(packet)
    assert parse_udp(ours, HOA, OTHER) == (source, destination, payload)
    assert parse_udp(ours + b"padding", HOA, OTHER) == (source, destination, payload)


def test_udp_that_is_cut_short_or_changed() -> None:
    octets = serialize_udp(HOA, 500, OTHER, 500, b"payload")
    for length in range(len(octets)):
        with pytest.raises(WireError):
            parse_udp(octets[:length], HOA, OTHER)
    for bit in range(8 * len(octets)):
        changed = bytearray(octets)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            parse_udp(bytes(changed), HOA, OTHER)
    with pytest.raises(WireError) as caught:
        parse_udp(octets[:6] + bytes(2) + octets[8:], HOA, OTHER)
    assert caught.value.reason == "bad-checksum"  # RFC 8200 §8.1: none is none


@given(st.binary(max_size=64))
def test_udp_takes_any_octets(octets: bytes) -> None:
    error = samples.refusal(parse_udp, octets, HOA, OTHER)
    assert error is None or error.reason in ("truncated", "bad-checksum")
