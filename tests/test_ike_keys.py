"""Primitives of IKE against published vectors, key derivation against a second writing of it."""

import hashlib
import hmac
import random

import pytest
from cryptography.hazmat.primitives.asymmetric import dh

from agents.core.ike.ciphers import IkeCipher
from agents.core.ike.key_exchange import GROUPS, P256Key, X25519Key, private_keys
from agents.core.ike.keys import (
    IkeKeys,
    derive_child_keys,
    derive_ike_keys,
    key_seed,
    prf,
    prf_plus,
    shared_key_proof,
    signed_octets,
)
from agents.core.ike.modp import LENGTH, MODULUS, Modp2048Key
from agents.wire.ike.numbers import Group

octets = bytes.fromhex


def test_x25519_as_in_rfc_7748() -> None:
    """§6.1: Bob's end of the example."""
    bob = X25519Key(octets("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    assert bob.public == octets("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    alice = octets("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    shared = octets("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert bob.shared(alice) == shared


def test_p256_as_in_rfc_5903() -> None:
    """§8.1: both ends of the example; the shared secret is the x coordinate."""
    initiator = P256Key(0xC88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433)
    responder = P256Key(0xC6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53)
    assert initiator.public == octets(
        "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180"
        "5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3"
    )
    assert responder.public == octets(
        "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63"
        "56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB"
    )
    shared = octets("D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE")
    assert initiator.shared(responder.public) == responder.shared(initiator.public) == shared


def test_modp_2048_as_in_rfc_3526() -> None:
    """§3: 2^2048 - 2^1984 - 1 + 2^64 ( [2^1918 pi] + 124476 ), and p and (p - 1) / 2 are prime."""
    pi = pi_times_a_power_of_two(1918)
    assert 2**2048 - 2**1984 - 1 + 2**64 * (pi + 124476) == MODULUS
    for number in (MODULUS, MODULUS // 2):
        assert all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7))


def pi_times_a_power_of_two(bits: int) -> int:
    """Return floor(2^bits pi), by Machin: 16 arctan(1/5) - 4 arctan(1/239)."""
    spare = 64

    def arctan(inverse: int) -> int:
        term = total = (1 << bits + spare) // inverse
        divisor, sign = 1, 1
        while term:
            term //= inverse * inverse
            divisor, sign = divisor + 2, -sign
            total += sign * (term // divisor)
        return total

    return (16 * arctan(5) - 4 * arctan(239)) >> spare


@pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields")
def test_modp_2048_against_the_library() -> None:
    """The other end is OpenSSL's, while `cryptography` still has it."""
    group = dh.DHParameterNumbers(MODULUS, 2)
    ours = private_keys(random.Random(5).randbytes)(Group.MODP_2048)
    theirs = group.parameters().generate_private_key()
    public = dh.DHPublicNumbers(int.from_bytes(ours.public), group).public_key()
    value = theirs.public_key().public_numbers().y.to_bytes(LENGTH)
    assert ours.shared(value) == theirs.exchange(public)
    assert len(ours.public) == len(ours.shared(value)) == LENGTH


@pytest.mark.parametrize("value", [0, 1, MODULUS - 1, MODULUS, MODULUS + 1, 2**2048 - 1])
def test_modp_2048_and_values_out_of_range(value: int) -> None:
    """RFC 6989 §2.1; and the smallest and largest good ones are taken."""
    key = Modp2048Key(bytes(40))
    with pytest.raises(ValueError, match="range"):
        key.shared(value.to_bytes(LENGTH))
    for good in (2, MODULUS - 2):
        assert len(key.shared(good.to_bytes(LENGTH))) == LENGTH


def test_hmac_sha2_256_as_in_rfc_4231() -> None:
    """Test cases 1 and 2."""
    assert prf(b"\x0b" * 20, b"Hi There") == octets(
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    )
    assert prf(b"Jefe", b"what do ya want for nothing?") == octets(
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


@pytest.mark.parametrize("group", GROUPS)
def test_public_values_that_are_no_good(group: int) -> None:
    key = private_keys(random.Random(1).randbytes)(group)
    for public in (b"", bytes(len(key.public)), b"\xff" * len(key.public), key.public + b"\0"):
        if group == Group.X25519 and public == b"\xff" * 32:
            continue  # any 32 octets but a few are a point of that curve
        with pytest.raises(ValueError):  # noqa: PT011 - of the library
            key.shared(public)


def test_keys_come_from_the_given_randomness_alone() -> None:
    for group in GROUPS:
        first, again, other = (private_keys(random.Random(n).randbytes)(group) for n in (1, 1, 2))
        assert first.public == again.public != other.public
        assert first.group == group
        assert first.shared(other.public) == other.shared(again.public)
        assert "0x" not in repr(first).replace(" object at 0x", "")
    with pytest.raises(ValueError, match="group 15"):
        private_keys(random.Random(1).randbytes)(15)


# RFC 7296 §2.13 and §2.14 once more, written with Python's own hmac


def second_prf(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)


def second_prf_plus(key: bytes, seed: bytes, length: int) -> bytes:
    first = second_prf(key, seed + b"\x01")
    second = second_prf(key, first + seed + b"\x02")
    third = second_prf(key, second + seed + b"\x03")
    fourth = second_prf(key, third + seed + b"\x04")
    fifth = second_prf(key, fourth + seed + b"\x05")
    sixth = second_prf(key, fifth + seed + b"\x06")
    return (first + second + third + fourth + fifth + sixth)[:length]


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 40, 96, 136, 192])
def test_prf_plus(length: int) -> None:
    assert prf_plus(b"key", b"seed", length) == second_prf_plus(b"key", b"seed", length)


@pytest.mark.parametrize("cipher", IkeCipher)
def test_keys_of_an_ike_sa(cipher: IkeCipher) -> None:
    """Order and length: SK_d, SK_ei, SK_er, SK_pi, SK_pr, no SK_a (RFC 5282 §7)."""
    nonces, shared = bytes(range(64)), bytes(32)
    seed = second_prf(nonces, shared)
    assert key_seed(nonces, shared) == seed
    key_length = 16 if cipher is IkeCipher.AES_128_GCM else 32
    length = 32 + 2 * (key_length + 4) + 64
    stream = second_prf_plus(seed, nonces + bytes(7) + b"\x01" + bytes(7) + b"\x02", length)
    made = derive_ike_keys(seed, nonces, 1, 2, cipher)
    found = [getattr(made, name) for name in IkeKeys.__dataclass_fields__]
    assert b"".join(getattr(each, "octets", each) for each in found) == stream
    for key in (made.encrypt_initiator, made.encrypt_responder):
        assert (key.cipher, len(key.octets)) == (cipher, key_length + 4)
        assert "b'" not in repr(key)
    assert repr(made).startswith("<")


def test_keys_of_a_child_sa() -> None:
    keys = derive_ike_keys(bytes(32), bytes(64), 1, 2, IkeCipher.AES_128_GCM)
    nonces = bytes(range(64))
    for shared in (b"", bytes(range(32))):
        made = derive_child_keys(keys, nonces, 20, shared)
        stream = second_prf_plus(keys.derive, shared + nonces, 40)
        assert (made.from_initiator, made.from_responder) == (stream[:20], stream[20:])
        assert stream.hex()[:8] not in repr(made)
        assert "b'" not in repr(made)


def test_proof_of_a_shared_key() -> None:
    """RFC 7296 §2.15: prf(prf(secret, pad), message | nonce | prf(SK_p, ID))."""
    octets = signed_octets(b"message", b"nonce", b"key", b"identity")
    proof = shared_key_proof(b"secret", octets)
    signed = b"message" + b"nonce" + second_prf(b"key", b"identity")
    assert proof == second_prf(second_prf(b"secret", b"Key Pad for IKEv2"), signed)
