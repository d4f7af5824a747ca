"""The 2048-bit MODP group (RFC 3526 §3): a key exchange for peers that know no curve.

Python's own integers do the arithmetic: `cryptography` has announced the end of Diffie-Hellman over
finite fields. They take a time that depends on the exponent; an exponent serves one exchange.
"""

from agents.wire.ike.numbers import Group

GENERATOR = 2
LENGTH = 256
"""Octets of the modulus, of a public value and of the shared secret (RFC 7296 §2.14)."""
EXPONENT_LENGTH = 40
"""Octets of a private value: 320 bits, the larger estimate of RFC 3526 §8."""
MODULUS = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05"
    "98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB"
    "9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
    "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)


class Modp2048Key:
    """256 octets each way, the shared secret too: zeroes in front are part of it."""

    group = Group.MODP_2048

    def __init__(self, private: bytes) -> None:
        """`private`: `EXPONENT_LENGTH` octets."""
        # With its highest bit set it is never 0 or 1, and as long as it is meant to be.
        self._private = int.from_bytes(private) | 1 << (8 * EXPONENT_LENGTH - 1)
        self.public = pow(GENERATOR, self._private, MODULUS).to_bytes(LENGTH)

    def shared(self, peer: bytes) -> bytes:
        """Return g^ir; `ValueError` for what is not between 1 and p - 1 (RFC 6989 §2.1)."""
        value = int.from_bytes(peer)
        if len(peer) != LENGTH or not 1 < value < MODULUS - 1:
            raise ValueError(f"a public value of {len(peer)} octets, or out of its range")
        return pow(value, self._private, MODULUS).to_bytes(LENGTH)
