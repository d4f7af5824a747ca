"""ESP packets (RFC 4303) with AES-128-GCM, ChaCha20-Poly1305, or AES-128-CBC and HMAC-SHA2-256-128.

These are of RFC 4106, RFC 7634, and RFC 3602 with RFC 4868.
Sequence numbers, windows and the choice of IVs are the caller's business.
"""

import struct
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import ciphers, hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.constant_time import bytes_eq

from agents.wire.errors import Reason, WireError
from agents.wire.transforms import Mode, Transform

__all__ = ["Cipher", "Mode", "Transform", "make_cipher", "peek"]

ICV_LENGTH = 16
LOWEST_SPI = 256  # RFC 4303 §2.1: 0 is local, 1 to 255 are reserved

Octets = bytes | bytearray | memoryview

_SALT_LENGTH = 4
_IPV6 = 41
_HEAD = struct.Struct("!LL")
_PEEK = struct.Struct("!LL8s")
_LENGTH = struct.Struct("!H")
_PADDING = bytes(range(1, 256))
# The trailer (padding, pad length) that brings a payload up to its alignment, by pad length.
_TRAILER = tuple(_PADDING[:length] + bytes((length,)) for length in range(16))
_OCTET = tuple(bytes((value,)) for value in range(256))


class Cipher(Protocol):
    """One SA's key, ready for use; shows nothing of the key."""

    def seal(self, spi: int, sequence: int, iv: bytes, payload: Octets, next_header: int) -> bytes:
        """Return an ESP packet, from the SPI to the ICV."""
        ...

    def open(self, packet: Octets) -> tuple[bytes, int]:
        """Return (payload, next header) of an ESP packet that begins with its SPI.

        From an inner IPv6 packet (next header 41) traffic flow padding is removed.

        Raises:
            WireError: `truncated`, `bad-alignment`, `bad-icv`, `bad-padding`.
        """
        ...


def make_cipher(transform: Transform, key: bytes) -> Cipher:
    """Return the cipher for a key as it stands in key files.

    Raises:
        ValueError: the key's length does not fit the transform.
    """
    if len(key) != transform.key_length:
        raise ValueError(f"a key of {len(key)} octets; {transform} takes {transform.key_length}")
    if transform is Transform.AES_128_CBC_HMAC_SHA2_256:
        return _Cbc(key)
    bare, salt = key[:-_SALT_LENGTH], key[-_SALT_LENGTH:]
    aead = AESGCM(bare) if transform is Transform.AES_128_GCM else ChaCha20Poly1305(bare)
    return _Aead(aead, salt)


def peek(packet: Octets) -> tuple[int, int, bytes]:
    """Return (SPI, sequence number, first 8 octets of the IV) of what is not yet authenticated.

    With AES-GCM and ChaCha20-Poly1305 these 8 octets are the whole IV.

    Raises:
        WireError: `truncated`, `reserved-spi`, `sequence-zero`.
    """
    if len(packet) < _PEEK.size:
        raise WireError(Reason.TRUNCATED, f"an ESP packet of {len(packet)} octets")
    spi, sequence, iv = _PEEK.unpack_from(packet)
    if spi < LOWEST_SPI:
        raise WireError(Reason.SPI, f"SPI {spi} is reserved")
    if not sequence:
        raise WireError(Reason.SEQUENCE, "sequence number 0")
    return spi, sequence, iv


def _strip(plain: bytes) -> tuple[bytes, int]:
    """Check and remove the trailer (RFC 4303 §2.4), and traffic flow padding (§2.7)."""
    end = len(plain) - 2
    length = plain[end]
    end -= length
    if end < 0 or plain[end:-2] != _PADDING[:length]:
        raise WireError(Reason.PADDING, "the ESP padding is not 1, 2, 3, ...")
    next_header = plain[-1]
    if next_header != _IPV6:
        return plain[:end], next_header
    if end < 40:
        raise WireError(Reason.TRUNCATED, f"an inner packet of {end} octets")
    inner = 40 + _LENGTH.unpack_from(plain, 4)[0]
    if inner > end:
        raise WireError(Reason.TRUNCATED, f"an inner packet of {inner} octets in {end}")
    return plain[:inner], next_header


class _Aead:
    """AES-128-GCM or ChaCha20-Poly1305, used alike: ICV of 16 octets, nonce of salt and IV."""

    __slots__ = ("_aead", "_salt")

    _IV = slice(8, 16)
    _SMALLEST = 16 + 4 + ICV_LENGTH

    def __init__(self, aead: AESGCM | ChaCha20Poly1305, salt: bytes) -> None:
        self._aead = aead
        self._salt = salt

    def seal(self, spi: int, sequence: int, iv: bytes, payload: Octets, next_header: int) -> bytes:
        head = _HEAD.pack(spi, sequence)
        plain = b"".join((payload, _TRAILER[-(len(payload) + 2) % 4], _OCTET[next_header]))
        return head + iv + self._aead.encrypt(self._salt + iv, plain, head)

    def open(self, packet: Octets) -> tuple[bytes, int]:
        if len(packet) < self._SMALLEST:
            raise WireError(Reason.TRUNCATED, f"an ESP packet of {len(packet)} octets")
        if len(packet) % 4:
            raise WireError(Reason.ALIGNMENT, f"an ESP packet of {len(packet)} octets")
        view = memoryview(packet)
        try:
            plain = self._aead.decrypt(self._salt + view[self._IV], view[16:], view[:8])
        except InvalidTag:
            raise WireError(Reason.ICV, "the ICV is wrong") from None
        return _strip(plain)


class _Cbc:
    """AES-128-CBC, then HMAC-SHA2-256 over SPI to ciphertext, truncated to 16 octets."""

    __slots__ = ("_algorithm", "_authenticator")

    _BLOCK = 16
    _SMALLEST = 8 + 16 + 16 + ICV_LENGTH

    def __init__(self, key: bytes) -> None:
        self._algorithm = AES(key[:16])
        self._authenticator = hmac.HMAC(key[16:], hashes.SHA256())

    def seal(self, spi: int, sequence: int, iv: bytes, payload: Octets, next_header: int) -> bytes:
        encryptor = ciphers.Cipher(self._algorithm, CBC(iv)).encryptor()
        plain = b"".join(
            (payload, _TRAILER[-(len(payload) + 2) % self._BLOCK], _OCTET[next_header])
        )
        packet = _HEAD.pack(spi, sequence) + iv + encryptor.update(plain)
        return packet + self._icv(packet)

    def open(self, packet: Octets) -> tuple[bytes, int]:
        if len(packet) < self._SMALLEST:
            raise WireError(Reason.TRUNCATED, f"an ESP packet of {len(packet)} octets")
        if (len(packet) - 8) % self._BLOCK:
            raise WireError(Reason.ALIGNMENT, f"an ESP packet of {len(packet)} octets")
        view = memoryview(packet)
        if not bytes_eq(self._icv(view[:-ICV_LENGTH]), bytes(view[-ICV_LENGTH:])):
            raise WireError(Reason.ICV, "the ICV is wrong")
        decryptor = ciphers.Cipher(self._algorithm, CBC(bytes(view[8:24]))).decryptor()
        return _strip(decryptor.update(view[24:-ICV_LENGTH]))

    def _icv(self, authenticated: Octets) -> bytes:
        authenticator = self._authenticator.copy()
        authenticator.update(authenticated)
        return authenticator.finalize()[:ICV_LENGTH]
