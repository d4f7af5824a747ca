"""The SK and SKF payloads (RFC 5282, RFC 7383): sealing and opening protected messages."""

import struct
from collections.abc import Sequence
from dataclasses import replace

from cryptography.exceptions import InvalidTag

from agents.core.ike.ciphers import ICV_LENGTH, IV_LENGTH, SealingKey
from agents.wire.errors import Reason, WireError
from agents.wire.ike import header
from agents.wire.ike.header import Header
from agents.wire.ike.message import GENERIC, Message, parse_chain, serialize_chain
from agents.wire.ike.numbers import PayloadType
from agents.wire.ike.payloads import Encrypted, EncryptedFragment, Payload

OVERHEAD = header.LENGTH + GENERIC.size + IV_LENGTH + 1 + ICV_LENGTH
"""Octets of a protected message without any payload inside; one is the pad length."""

_NUMBERS = struct.Struct("!HH")
FRAGMENT_OVERHEAD = OVERHEAD + _NUMBERS.size
"""The same of a message with a fragment."""


def seal(key: SealingKey, counter: int, head: Header, payloads: Sequence[Payload]) -> bytes:
    """Return a message with `payloads` inside SK.

    `key` is SK_e of the sender, `counter` becomes the IV and must never repeat under that key
    (RFC 5282 §3.1).

    Raises:
        ValueError: the message is longer than a payload can be.
    """
    first, chain = serialize_chain(payloads)
    return seal_chain(key, counter, head, first, chain)


def seal_chain(key: SealingKey, counter: int, head: Header, first: int, chain: bytes) -> bytes:
    """The same for payloads that are octets already; `first` is the type of the first one."""
    return _seal(key, counter, head, PayloadType.SK, first, b"", chain)


def seal_fragment(
    key: SealingKey, counter: int, head: Header, first: int, place: tuple[int, int], part: bytes
) -> bytes:
    """Return a message with `part` of a chain inside SKF (RFC 7383 §2.5).

    `first` is the type of the chain's first payload in fragment 1, 0 in others; `place` is the
    fragment's number, from 1, and how many there are. `counter` as in `seal`.
    """
    return _seal(key, counter, head, PayloadType.SKF, first, _NUMBERS.pack(*place), part)


def _seal(
    key: SealingKey,
    counter: int,
    head: Header,
    kind: PayloadType,
    first: int,
    numbers: bytes,
    chain: bytes,
) -> bytes:
    plain = chain + b"\0"  # no padding: the ciphertext needs no alignment (RFC 5282 §3)
    iv = counter.to_bytes(IV_LENGTH)
    length = GENERIC.size + len(numbers) + IV_LENGTH + len(plain) + ICV_LENGTH
    if length > 0xFFFF:
        raise ValueError(f"a protected payload of {length} octets")
    whole = replace(head, next_payload=kind).serialize(header.LENGTH + length)
    authenticated = whole + GENERIC.pack(first, 0, length) + numbers
    return authenticated + iv + key.encrypt(iv, plain, authenticated)


def open_sealed(key: SealingKey, data: bytes, encrypted: Encrypted | EncryptedFragment) -> bytes:
    """Return the octets inside `encrypted`, the last payload of message `data`.

    Raises:
        WireError: `truncated`, `bad-icv`, `bad-padding`.
    """
    if len(encrypted.data) < IV_LENGTH + 1 + ICV_LENGTH:
        raise WireError(Reason.TRUNCATED, f"a protected payload of {len(encrypted.data)} octets")
    authenticated = data[: len(data) - len(encrypted.data)]
    try:
        plain = key.decrypt(encrypted.data[:IV_LENGTH], encrypted.data[IV_LENGTH:], authenticated)
    except InvalidTag:
        raise WireError(Reason.ICV, "the ICV is wrong") from None
    end = len(plain) - 1 - plain[-1]
    if end < 0:
        raise WireError(Reason.PADDING, "the padding is longer than the payload")
    return plain[:end]


def open_message(key: SealingKey, data: bytes, message: Message) -> tuple[Payload, ...]:
    """Return the payloads inside the SK payload of `message`, whose octets are `data`.

    Raises:
        WireError: as `open_sealed` for what is not authentic, and for an authentic chain that
            is malformed as `parse_chain`. `field-missing`: nothing in it is encrypted.
    """
    encrypted = message.encrypted
    if encrypted is None:
        raise WireError(Reason.FIELD_MISSING, "no encrypted payload")
    return parse_chain(encrypted.first, open_sealed(key, data, encrypted))
