"""The SK payload with AES-GCM-16 (RFC 5282): sealing and opening protected messages."""

from collections.abc import Sequence
from dataclasses import replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agents.core.ike.keys import SALT_LENGTH
from agents.wire.errors import Reason, WireError
from agents.wire.ike import header
from agents.wire.ike.header import Header
from agents.wire.ike.message import GENERIC, Message, parse_chain, serialize_chain
from agents.wire.ike.numbers import PayloadType
from agents.wire.ike.payloads import Encrypted, Payload

IV_LENGTH = 8
ICV_LENGTH = 16
OVERHEAD = header.LENGTH + GENERIC.size + IV_LENGTH + 1 + ICV_LENGTH
"""Octets of a protected message without any payload inside; one is the pad length."""


def seal(key: bytes, counter: int, head: Header, payloads: Sequence[Payload]) -> bytes:
    """Return a message with `payloads` inside SK.

    `key` is SK_e of the sender, `counter` becomes the IV and must never repeat under that key
    (RFC 5282 §3.1).

    Raises:
        ValueError: the message is longer than a payload can be.
    """
    first, chain = serialize_chain(payloads)
    plain = chain + b"\0"  # no padding: the ciphertext needs no alignment (RFC 5282 §3)
    iv = counter.to_bytes(IV_LENGTH)
    length = IV_LENGTH + len(plain) + ICV_LENGTH + GENERIC.size
    if length > 0xFFFF:
        raise ValueError(f"a protected payload of {length} octets")
    whole = replace(head, next_payload=PayloadType.SK).serialize(header.LENGTH + length)
    authenticated = whole + GENERIC.pack(first, 0, length)
    nonce = key[-SALT_LENGTH:] + iv
    return authenticated + iv + AESGCM(key[:-SALT_LENGTH]).encrypt(nonce, plain, authenticated)


def open_sealed(key: bytes, data: bytes, encrypted: Encrypted) -> bytes:
    """Return the octets of the chain inside `encrypted`, the last payload of message `data`.

    Raises:
        WireError: `truncated`, `bad-icv`, `bad-padding`.
    """
    if len(encrypted.data) < IV_LENGTH + 1 + ICV_LENGTH:
        raise WireError(Reason.TRUNCATED, f"a protected payload of {len(encrypted.data)} octets")
    authenticated = data[: len(data) - len(encrypted.data)]
    iv, sealed = encrypted.data[:IV_LENGTH], encrypted.data[IV_LENGTH:]
    try:
        plain = AESGCM(key[:-SALT_LENGTH]).decrypt(key[-SALT_LENGTH:] + iv, sealed, authenticated)
    except InvalidTag:
        raise WireError(Reason.ICV, "the ICV is wrong") from None
    end = len(plain) - 1 - plain[-1]
    if end < 0:
        raise WireError(Reason.PADDING, "the padding is longer than the payload")
    return plain[:end]


def open_message(key: bytes, data: bytes, message: Message) -> tuple[Payload, ...]:
    """Return the payloads inside the SK payload of `message`, whose octets are `data`.

    Raises:
        WireError: as `open_sealed` for what is not authentic, and for an authentic chain that
            is malformed as `parse_chain`. `field-missing`: nothing in it is encrypted.
    """
    encrypted = message.encrypted
    if encrypted is None:
        raise WireError(Reason.FIELD_MISSING, "no encrypted payload")
    return parse_chain(encrypted.first, open_sealed(key, data, encrypted))
