"""Status codes of binding messages; one that is not listed keeps its number."""

from enum import IntEnum
from typing import Self


class _OpenStatus(IntEnum):
    """An octet of which only some values have names."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int) or not 0 <= value <= 0xFF:
            return None
        member = int.__new__(cls, value)
        member._name_ = f"STATUS_{value}"
        member._value_ = value
        return cls._value2member_map_.setdefault(value, member)  # type: ignore[return-value]


class Status(_OpenStatus):
    """Status of a Binding Acknowledgement (RFC 6275 §6.1.8)."""

    ACCEPTED = 0
    ACCEPTED_PREFIX_DISCOVERY_NECESSARY = 1
    REASON_UNSPECIFIED = 128
    ADMINISTRATIVELY_PROHIBITED = 129
    INSUFFICIENT_RESOURCES = 130
    HOME_REGISTRATION_NOT_SUPPORTED = 131
    NOT_HOME_SUBNET = 132
    NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE = 133
    DUPLICATE_ADDRESS_DETECTION_FAILED = 134
    SEQUENCE_NUMBER_OUT_OF_WINDOW = 135
    EXPIRED_HOME_NONCE_INDEX = 136
    EXPIRED_CARE_OF_NONCE_INDEX = 137
    EXPIRED_NONCES = 138
    REGISTRATION_TYPE_CHANGE_DISALLOWED = 139
    INVALID_CARE_OF_ADDRESS = 174

    @property
    def accepted(self) -> bool:
        """Whether the binding was made: values under 128."""
        return self < 128


class BindingErrorStatus(_OpenStatus):
    """Status of a Binding Error (RFC 6275 §6.1.9)."""

    UNKNOWN_BINDING = 1
    UNRECOGNIZED_MESSAGE_TYPE = 2


class InterHaStatus(_OpenStatus):
    """Status of an acknowledgement between home agents."""

    ACCEPTED = 0
    ROLE_SUPERSEDED = 1  # taken, but the receiver knows a later primary
    REASON_UNSPECIFIED = 128
    ADMINISTRATIVELY_PROHIBITED = 129
    INSUFFICIENT_RESOURCES = 130
    SPI_OUT_OF_RANGE = 131  # not of the sender's range, and not held
    NOT_FOUND = 132
    SUPERSEDED = 133  # the receiver knows something newer
    NOT_PRIMARY = 134

    @property
    def accepted(self) -> bool:
        """Whether the receiver did what was asked: values under 128."""
        return self < 128


class Misconduct(_OpenStatus):
    """What a home agent proved to another one by its own authentic messages (design §10, rule 13).

    `agents.core.misconduct` says what makes each of them proof.
    """

    SID_OF_ANOTHER = 1
    INCARNATION_CONTRADICTS_SID = 2
    ROLE_OF_ANOTHER = 3
    ROLE_WITHOUT_UPDATE = 4
    SA_NEVER_MADE = 5
    FLOOR_BEYOND_NUMBERS = 6

    @property
    def slug(self) -> str:
        """The name in events and counters."""
        return self.name.lower().replace("_", "-")
