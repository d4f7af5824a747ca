"""What protects an IKE SA's messages: AES-GCM-16 (RFC 5282) or ChaCha20-Poly1305 (RFC 7634)."""

from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

SALT_LENGTH = 4
IV_LENGTH = 8
ICV_LENGTH = 16


class IkeCipher(StrEnum):
    """Both are used alike: key and salt in the keying material, 8 octets of IV, 16 of ICV."""

    AES_128_GCM = "aes-128-gcm"
    AES_256_GCM = "aes-256-gcm"
    CHACHA20_POLY1305 = "chacha20-poly1305"

    @property
    def key_length(self) -> int:
        """Octets of the key, without the salt."""
        return 16 if self is IkeCipher.AES_128_GCM else 32

    @property
    def material_length(self) -> int:
        """Octets of SK_ei or SK_er: key, then salt (RFC 5282 §7.1, RFC 7634 §2)."""
        return self.key_length + SALT_LENGTH


@dataclass(frozen=True, slots=True)
class SealingKey:
    """SK_e of one end: the cipher, and `material_length` octets."""

    cipher: IkeCipher
    octets: bytes = field(repr=False)

    def encrypt(self, iv: bytes, plain: bytes, authenticated: bytes) -> bytes:
        """Return the ciphertext and its ICV; `iv` must never repeat under this key."""
        return self._aead().encrypt(self._salt + iv, plain, authenticated)

    def decrypt(self, iv: bytes, sealed: bytes, authenticated: bytes) -> bytes:
        """Return what `encrypt` was given; raise `InvalidTag` for anything else."""
        return self._aead().decrypt(self._salt + iv, sealed, authenticated)

    @property
    def _salt(self) -> bytes:
        return self.octets[-SALT_LENGTH:]

    def _aead(self) -> AESGCM | ChaCha20Poly1305:
        kind = ChaCha20Poly1305 if self.cipher is IkeCipher.CHACHA20_POLY1305 else AESGCM
        return kind(self.octets[:-SALT_LENGTH])
