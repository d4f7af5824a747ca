"""The one error of every parser, with a reason that serves as a drop counter."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a packet was refused; the values are counter names."""

    TRUNCATED = "truncated"
    VERSION = "bad-version"
    ADDRESS = "bad-address"
    CHECKSUM = "bad-checksum"
    PAYLOAD_PROTO = "bad-payload-proto"
    HEADER_LENGTH = "bad-header-length"
    NEXT_HEADER = "bad-next-header"
    FRAGMENT = "fragment"
    ROUTING_HEADER = "bad-routing-header"
    OPTION_LENGTH = "bad-option-length"
    OPTION_TWICE = "option-twice"
    OPTION_PLACE = "option-in-wrong-header"
    OPTION_UNKNOWN = "unknown-option"
    FIELD_MISSING = "field-missing"
    FIELD_VALUE = "bad-field-value"
    MESSAGE_TYPE = "unknown-message-type"
    SUBTYPE = "unknown-subtype"
    IDENTIFIER = "identifier-zero"
    SPI = "reserved-spi"
    SEQUENCE = "sequence-zero"
    ALIGNMENT = "bad-alignment"
    ICV = "bad-icv"
    PADDING = "bad-padding"


class WireError(ValueError):
    """A packet that cannot be taken.

    `pointer` is None where the packet is to be dropped in silence; otherwise it is the octet
    offset (from the start of what the parser was given) for an ICMPv6 Parameter Problem of code
    `code` (RFC 4443 §3.4).
    """

    def __init__(
        self, reason: Reason, message: str, pointer: int | None = None, code: int = 0
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.pointer = pointer
        self.code = code
