"""ESP packets that are damaged, and ciphers that keep their keys to themselves."""

import pytest
import wire_samples as samples
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agents.wire import ipv6
from agents.wire.errors import Reason, WireError
from agents.wire.esp import Transform, make_cipher, peek

KEY = samples.SA.key


def refusal(transform: Transform, packet: bytes) -> Reason:
    key = next(s.key for s in samples.ESP_SAMPLES.values() if s.transform is transform)
    with pytest.raises(WireError) as refused:
        make_cipher(transform, key).open(packet)
    assert refused.value.pointer is None
    return refused.value.reason


def seal_plain(plain: bytes) -> bytes:
    """Return a GCM packet whose trailer is whatever `plain` ends with."""
    head, iv = bytes.fromhex("0000303900000001"), bytes(8)
    return head + iv + AESGCM(KEY[:16]).encrypt(KEY[16:] + iv, plain, head)


def sample(transform: Transform) -> bytes:
    return next(s.seal() for s in samples.ESP_SAMPLES.values() if s.transform is transform)


@pytest.mark.parametrize("transform", Transform)
def test_any_one_wrong_bit(transform: Transform) -> None:
    """SPI, sequence, IV, ciphertext, ICV: the ICV covers all of them (AES-GCM's IV as nonce)."""
    packet = sample(transform)
    for bit in range(len(packet) * 8):
        wrong = bytearray(packet)
        wrong[bit // 8] ^= 0x80 >> bit % 8
        assert refusal(transform, bytes(wrong)) == Reason.ICV


@pytest.mark.parametrize("transform", Transform)
def test_every_truncation(transform: Transform) -> None:
    packet = sample(transform)
    cbc = transform is Transform.AES_128_CBC_HMAC_SHA2_256
    smallest, unit = (56, 16) if cbc else (36, 4)
    head = len(packet) % unit
    for length in range(len(packet)):
        if length < smallest:
            expected = Reason.TRUNCATED
        else:
            expected = Reason.ICV if length % unit == head else Reason.ALIGNMENT
        assert refusal(transform, packet[:length]) == expected


@pytest.mark.parametrize("transform", Transform)
def test_octets_behind_the_packet(transform: Transform) -> None:
    packet = sample(transform)
    assert refusal(transform, packet + b"\0") == Reason.ALIGNMENT
    assert refusal(transform, packet + bytes(16)) == Reason.ICV


@pytest.mark.parametrize("transform", Transform)
def test_another_key(transform: Transform) -> None:
    cipher = make_cipher(transform, bytes(transform.key_length))
    with pytest.raises(WireError) as refused:
        cipher.open(sample(transform))
    assert refused.value.reason == Reason.ICV


@pytest.mark.parametrize(
    ("trailer", "good"),
    [
        ("010202", True),  # 2 octets of padding, next header below
        ("00", True),
        ("0102030405060706", False),  # longer than it says, which is data, but 7 is not 6 there
        ("0002", False),
        ("0203" + "02", False),
        ("0103" + "02", False),
        ("ff", False),  # 255 octets of padding in a shorter packet
    ],
)
def test_padding(trailer: str, good: bool) -> None:
    end = bytes.fromhex(trailer) + bytes((ipv6.MOBILITY,))
    plain = bytes(-len(end) % 4 + 8) + end
    packet = seal_plain(plain)
    if good:
        payload, next_header = make_cipher(Transform.AES_128_GCM, KEY).open(packet)
        assert next_header == ipv6.MOBILITY
        assert payload == plain[: -2 - plain[-2]]
    else:
        assert refusal(Transform.AES_128_GCM, packet) == Reason.PADDING


def test_the_longest_padding() -> None:
    plain = b"abc" + bytes(range(1, 256)) + bytes((255, ipv6.MOBILITY))
    packet = seal_plain(plain)
    opened = make_cipher(Transform.AES_128_GCM, KEY).open(packet)
    assert opened == (b"abc", ipv6.MOBILITY)


def test_traffic_flow_padding_is_removed_from_an_inner_packet() -> None:
    cipher = make_cipher(Transform.AES_128_GCM, KEY)
    for padding in (0, 1, 500):
        packet = cipher.seal(0x3039, 1, bytes(8), samples.INNER + bytes(padding), ipv6.IPV6)
        assert cipher.open(packet) == (samples.INNER, ipv6.IPV6)


def test_an_inner_packet_longer_than_what_carries_it() -> None:
    cipher = make_cipher(Transform.AES_128_GCM, KEY)
    for inner in (b"", samples.INNER[:39], samples.INNER[:-1]):
        packet = cipher.seal(0x3039, 1, bytes(8), inner, ipv6.IPV6)
        assert refusal(Transform.AES_128_GCM, packet) == Reason.TRUNCATED


@pytest.mark.parametrize("transform", Transform)
def test_a_dummy_packet_is_reported(transform: Transform) -> None:
    """RFC 4303 §2.6: next header 59 is traffic flow padding, for the caller to drop."""
    key = bytes(transform.key_length)
    packet = make_cipher(transform, key).seal(256, 1, bytes(transform.iv_length), b"noise", 59)
    assert make_cipher(transform, key).open(packet) == (b"noise", 59)


def test_reserved_spis_and_sequence_0() -> None:
    def head(spi: int, sequence: int) -> bytes:
        return spi.to_bytes(4, "big") + sequence.to_bytes(4, "big") + b"IVIVIVIV"

    def reason(packet: bytes) -> Reason | None:
        error = samples.refusal(peek, packet)
        return error and error.reason

    for spi in range(256):
        assert reason(head(spi, 1)) == Reason.SPI
    assert reason(head(256, 0)) == Reason.SEQUENCE
    for length in range(16):
        assert reason(head(256, 1)[:length]) == Reason.TRUNCATED
    assert peek(head(256, 1)) == (256, 1, b"IVIVIVIV")
    assert peek(memoryview(head(0xFFFFFFFF, 0xFFFFFFFF))) == (0xFFFFFFFF, 0xFFFFFFFF, b"IVIVIVIV")


@pytest.mark.parametrize("transform", Transform)
def test_keys_of_a_wrong_length(transform: Transform) -> None:
    for length in (0, 16, transform.key_length - 1, transform.key_length + 1):
        key = b"k" * length
        with pytest.raises(ValueError, match=f"{length} octets") as refused:
            make_cipher(transform, key)
        assert "kk" not in str(refused.value)


@pytest.mark.parametrize("transform", Transform)
def test_a_cipher_shows_no_key(transform: Transform) -> None:
    key = b"secret" * 8
    cipher = make_cipher(transform, key[: transform.key_length])
    assert "secret" not in f"{cipher!r} {cipher}"
    assert b"secret".hex() not in f"{cipher!r} {cipher}"
    assert not hasattr(cipher, "__dict__")


def test_chacha20_poly1305_as_in_rfc_7634() -> None:
    """Appendix A: an ICMP echo of IPv4 (next header 4) in tunnel mode."""
    inner = bytes.fromhex(
        "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec100007362708090a0b0c0d0e0f"
        "101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637"
    )
    packet = bytes.fromhex(
        "0102030400000005101112131415161724039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef"
        "407ae5c614ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b50"
        "2773f6fb94e664da9165b82829f641e076aaa8266b7fb0f7b11b369907e1ad43"
    )
    key = bytes(range(0x80, 0xA0)) + bytes.fromhex("a0a1a2a3")
    cipher = make_cipher(Transform.CHACHA20_POLY1305, key)
    assert cipher.seal(0x01020304, 5, bytes(range(0x10, 0x18)), inner, 4) == packet
    assert cipher.open(packet) == (inner, 4)
