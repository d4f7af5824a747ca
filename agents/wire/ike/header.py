"""The IKE header (RFC 7296 §3.1): 28 octets."""

import struct
from dataclasses import dataclass

from agents.wire.errors import Reason, WireError

LENGTH = 28
MAJOR_VERSION = 2
FLAG_INITIATOR = 0x08
FLAG_RESPONSE = 0x20

_HEADER = struct.Struct("!QQBBBBLL")


@dataclass(frozen=True, slots=True)
class Header:
    """All but the version and the length; `initiator` is the original one's flag.

    `spi_responder` is 0 in the first message. `exchange` is any octet: unknown ones are the
    receiver's to refuse.
    """

    spi_initiator: int
    spi_responder: int
    exchange: int
    message_id: int
    initiator: bool
    response: bool
    next_payload: int = 0

    def serialize(self, length: int) -> bytes:
        """Return the header of a message of `length` octets, itself included."""
        flags = FLAG_INITIATOR * self.initiator | FLAG_RESPONSE * self.response
        return _HEADER.pack(
            self.spi_initiator,
            self.spi_responder,
            self.next_payload,
            MAJOR_VERSION << 4,
            self.exchange,
            flags,
            self.message_id,
            length,
        )


def parse_header(data: bytes) -> Header:
    """Return the header of a whole message; a minor version above 0 is ignored (RFC 7296 §2.5).

    Raises:
        WireError: `truncated`, `bad-version`, `bad-field-value` (initiator's SPI 0; octets behind
            the message).
    """
    if len(data) < LENGTH:
        raise WireError(Reason.TRUNCATED, f"an IKE message of {len(data)} octets")
    initiator, responder, following, version, exchange, flags, message_id, length = (
        _HEADER.unpack_from(data)
    )
    if version >> 4 != MAJOR_VERSION:
        raise WireError(Reason.VERSION, f"IKE version {version >> 4}")
    if length > len(data):
        raise WireError(Reason.TRUNCATED, f"an IKE message of {length} octets in {len(data)}")
    if length != len(data):
        raise WireError(Reason.FIELD_VALUE, f"an IKE message of {length} octets in {len(data)}")
    if not initiator:
        raise WireError(Reason.FIELD_VALUE, "the initiator's SPI is 0")
    return Header(
        initiator,
        responder,
        exchange,
        message_id,
        bool(flags & FLAG_INITIATOR),
        bool(flags & FLAG_RESPONSE),
        following,
    )


def has_higher_version(data: bytes) -> bool:
    """Whether `data` is long enough for a header, and of a major version above 2."""
    return len(data) >= LENGTH and data[17] >> 4 > MAJOR_VERSION
