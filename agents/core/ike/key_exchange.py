"""Key exchange with X25519 (RFC 8031), P-256 (RFC 5903) and MODP-2048 (RFC 3526).

Keys are made from outside randomness.
"""

from collections.abc import Callable
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agents.core.ike.modp import EXPONENT_LENGTH, Modp2048Key
from agents.wire.ike.numbers import Group

GROUPS = (Group.X25519, Group.P256, Group.MODP_2048)
"""What this module can do."""

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P256_DRAWN = 40
"""Octets drawn for a scalar: 64 bits more than the order has, so that the remainder is even."""
_UNCOMPRESSED = b"\x04"
_P256_PUBLIC = 64


class PrivateKey(Protocol):
    """One end's half of a key exchange; shows nothing of the key."""

    @property
    def group(self) -> int:
        """The number of the group."""
        ...

    @property
    def public(self) -> bytes:
        """What goes into the KE payload."""
        ...

    def shared(self, peer: bytes) -> bytes:
        """Return g^ir with the peer's public value; raise `ValueError` for one that is no good."""
        ...


MakePrivateKey = Callable[[int], PrivateKey]


class X25519Key:
    """32 octets each way."""

    group = Group.X25519

    def __init__(self, private: bytes) -> None:
        """`private`: 32 octets."""
        self._key = x25519.X25519PrivateKey.from_private_bytes(private)
        self.public = self._key.public_key().public_bytes_raw()

    def shared(self, peer: bytes) -> bytes:
        """Return the shared secret, 32 octets; `ValueError` for a point of small order."""
        return self._key.exchange(x25519.X25519PublicKey.from_public_bytes(peer))


class P256Key:
    """x and y each way, 64 octets; the shared secret is x alone (RFC 5903 §7)."""

    group = Group.P256

    def __init__(self, private: int) -> None:
        """`private`: from 1 to the group's order less 1."""
        self._key = ec.derive_private_key(private, ec.SECP256R1())
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public = point[1:]

    def shared(self, peer: bytes) -> bytes:
        """Return the shared secret, 32 octets; `ValueError` for what is no point."""
        if len(peer) != _P256_PUBLIC:
            raise ValueError(f"a public value of {len(peer)} octets")
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _UNCOMPRESSED + peer)
        return self._key.exchange(ec.ECDH(), point)


def private_keys(random_bytes: Callable[[int], bytes]) -> MakePrivateKey:
    """Return a maker of private keys that draws on `random_bytes` alone.

    The maker raises `ValueError` for a group that is not in `GROUPS`.
    """

    def make(group: int) -> PrivateKey:
        if group == Group.X25519:
            return X25519Key(random_bytes(32))
        if group == Group.P256:
            drawn = int.from_bytes(random_bytes(_P256_DRAWN))
            return P256Key(1 + drawn % (_P256_ORDER - 1))
        if group == Group.MODP_2048:
            return Modp2048Key(random_bytes(EXPONENT_LENGTH))
        raise ValueError(f"group {group} is not supported")

    return make
