"""Names of ESP transforms and modes, and the length of their keys."""

from enum import StrEnum


class Transform(StrEnum):
    """An ESP transform; the value is its name in key files."""

    AES_128_GCM = "aes-128-gcm"
    AES_128_CBC_HMAC_SHA2_256 = "aes-128-cbc-hmac-sha2-256"

    @property
    def key_length(self) -> int:
        """Octets: AES key and salt (RFC 4106 §8.1), or AES key and HMAC key (RFC 4868)."""
        return 20 if self is Transform.AES_128_GCM else 48

    @property
    def iv_length(self) -> int:
        """Octets of the explicit IV."""
        return 8 if self is Transform.AES_128_GCM else 16


class Mode(StrEnum):
    """What an ESP packet carries: an upper-layer message or a whole inner packet."""

    TRANSPORT = "transport"
    TUNNEL = "tunnel"
