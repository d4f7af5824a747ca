"""Names of ESP transforms and modes, and the length of their keys."""

from enum import StrEnum


class Transform(StrEnum):
    """An ESP transform; the value is its name in key files."""

    AES_128_GCM = "aes-128-gcm"
    AES_128_CBC_HMAC_SHA2_256 = "aes-128-cbc-hmac-sha2-256"
    CHACHA20_POLY1305 = "chacha20-poly1305"

    @property
    def key_length(self) -> int:
        """Octets: key and salt (RFC 4106 §8.1, RFC 7634 §2), or AES and HMAC key (RFC 4868)."""
        return _LENGTHS[self][0]

    @property
    def iv_length(self) -> int:
        """Octets of the explicit IV; 8 where it is a counter, which must not repeat."""
        return _LENGTHS[self][1]


_LENGTHS = {
    Transform.AES_128_GCM: (20, 8),
    Transform.AES_128_CBC_HMAC_SHA2_256: (48, 16),
    Transform.CHACHA20_POLY1305: (36, 8),
}


class Mode(StrEnum):
    """What an ESP packet carries: an upper-layer message or a whole inner packet."""

    TRANSPORT = "transport"
    TUNNEL = "tunnel"
