"""Cookies (RFC 7296 §2.6): a responder under load keeps no state for who cannot receive."""

from collections.abc import Callable
from ipaddress import IPv6Address

from cryptography.hazmat.primitives.constant_time import bytes_eq

from agents.core.ike.keys import prf

SECRET_LENGTH = 32


class Cookies:
    """Made of a secret, the nonce, the address and the SPI; a secret serves `lifetime` seconds."""

    def __init__(self, random_bytes: Callable[[int], bytes], lifetime: float) -> None:
        self._random_bytes = random_bytes
        self._lifetime = lifetime
        self._secrets: list[bytes] = []
        self._until = 0.0

    def make(self, nonce: bytes, address: IPv6Address, spi: int, now: float) -> bytes:
        """Return the cookie for an IKE_SA_INIT with this Ni and SPIi from this address."""
        self._renew(now)
        return _cookie(self._secrets[0], nonce, address, spi)

    def valid(
        self, cookie: bytes, nonce: bytes, address: IPv6Address, spi: int, now: float
    ) -> bool:
        """Whether `cookie` was made here, under the present secret or the one before."""
        self._renew(now)
        return any(
            bytes_eq(cookie, _cookie(secret, nonce, address, spi)) for secret in self._secrets
        )

    def _renew(self, now: float) -> None:
        if self._secrets and now < self._until:
            return
        keep = self._secrets[:1] if now < self._until + self._lifetime else []
        self._secrets = [self._random_bytes(SECRET_LENGTH), *keep]
        self._until = now + self._lifetime


def _cookie(secret: bytes, nonce: bytes, address: IPv6Address, spi: int) -> bytes:
    return prf(secret, nonce + address.packed + spi.to_bytes(8))
