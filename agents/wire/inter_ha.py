"""Inter-HA messages: Mobility Header type 11 (RFC 5096) with a subtype, between own addresses.

Everything that a user of these messages needs can be imported from here.
"""

import struct
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import TypeVar

from agents.wire import inter_ha_fields as fields
from agents.wire import tlv
from agents.wire.errors import Reason, WireError
from agents.wire.inter_ha_entries import (
    EVERYBODY,
    BindingEntry,
    Entry,
    FieldType,
    FloorEntry,
    MemberEntry,
    OctetsEntry,
    PathEntry,
    SaEntry,
)
from agents.wire.inter_ha_messages import (
    MESSAGES,
    Accusation,
    BindingInformationAcknowledgement,
    BindingInformationRequest,
    BindingInformationUpdate,
    Hello,
    InterHaMessage,
    IsolationAcknowledgement,
    Keepalive,
    Leave,
    LeaveAcknowledgement,
    PathCosts,
    PrimaryHaSwitch,
    PrimaryHaSwitchAcknowledgement,
    ReplayFloor,
    Revocations,
    SaInformationAcknowledgement,
    SaInformationRenewRequest,
    SaInformationRequest,
    SaInformationUpdate,
    Subtype,
    TableEnd,
    TableRequest,
    TableSegment,
)
from agents.wire.mobility import EXPERIMENTAL
from agents.wire.mobility_header import open_header, seal_header
from agents.wire.status import InterHaStatus, Misconduct
from agents.wire.transforms import Mode, Transform

__all__ = [
    "ENTRIES_LIMIT",
    "EVERYBODY",
    "MESSAGE_LIMIT",
    "PART_LIMIT",
    "Accusation",
    "BindingEntry",
    "BindingInformationAcknowledgement",
    "BindingInformationRequest",
    "BindingInformationUpdate",
    "Entry",
    "FieldType",
    "FloorEntry",
    "Hello",
    "InterHaMessage",
    "InterHaStatus",
    "IsolationAcknowledgement",
    "Keepalive",
    "Leave",
    "LeaveAcknowledgement",
    "MemberEntry",
    "Misconduct",
    "Mode",
    "OctetsEntry",
    "PathCosts",
    "PathEntry",
    "PrimaryHaSwitch",
    "PrimaryHaSwitchAcknowledgement",
    "ReplayFloor",
    "Revocations",
    "SaEntry",
    "SaInformationAcknowledgement",
    "SaInformationRenewRequest",
    "SaInformationRequest",
    "SaInformationUpdate",
    "Subtype",
    "TableEnd",
    "TableRequest",
    "TableSegment",
    "Transform",
    "cut",
    "fit",
    "parse_inter_ha",
    "serialize_inter_ha",
]

# 1280 less the IPv6 header, and with AES-CBC: ESP header, IV, ICV, trailer up to 16 octets;
# a multiple of 8. AES-GCM needs less.
MESSAGE_LIMIT = 1192
_HEAD = struct.Struct("!6xBBHHxx")
_SEGMENT_FIELD = 6
ENTRIES_LIMIT = MESSAGE_LIMIT - _HEAD.size - _SEGMENT_FIELD
_PART_FIELD = 18
PART_LIMIT = tlv.MAX_VALUE * ((ENTRIES_LIMIT - _PART_FIELD) // (tlv.HEAD + tlv.MAX_VALUE))
"""Octets of something longer that go in one message; parts begin at multiples of it."""
_FLAG = 0x01
_SMALLEST = {EXPERIMENTAL: 16}

_EntryT = TypeVar("_EntryT", bound=Entry)


def fit(entries: Sequence[_EntryT], limit: int = ENTRIES_LIMIT) -> list[tuple[_EntryT, ...]]:
    """Cut entries into runs, each for one Table Segment, Update or Replay Floor.

    With the default limit (octets of the entries' fields) the ESP packet around each message
    has at most 1280 octets.
    """
    runs: list[tuple[_EntryT, ...]] = []
    start = used = 0
    for position, entry in enumerate(entries):
        size = tlv.HEAD + len(entry.encode()[1])
        if used and used + size > limit:
            runs.append(tuple(entries[start:position]))
            start, used = position, 0
        used += size
    if start < len(entries):
        runs.append(tuple(entries[start:]))
    return runs


def cut(octets: bytes) -> list[tuple[int, tuple[OctetsEntry, ...]]]:
    """Cut octets into (offset, entries), each for one message of at most 1280 octets of ESP."""
    size = tlv.MAX_VALUE
    return [
        (
            offset,
            tuple(
                OctetsEntry(octets[start : start + size])
                for start in range(offset, min(offset + PART_LIMIT, len(octets)), size)
            ),
        )
        for offset in range(0, len(octets), PART_LIMIT)
    ]


def parse_inter_ha(data: bytes, source: IPv6Address, destination: IPv6Address) -> InterHaMessage:
    """Return the message in a whole Mobility Header of type 11.

    Unknown fields are skipped, reserved bits ignored.

    Raises:
        WireError: as for every Mobility Header; also for an unknown subtype, the identifier 0,
            and missing, repeated or malformed fields.
    """
    kind, header = open_header(data, source, destination, _SMALLEST)
    if kind != EXPERIMENTAL:
        raise WireError(Reason.MESSAGE_TYPE, f"Mobility Header type {kind}, not 11")
    subtype, flags, identifier, incarnation = _HEAD.unpack_from(header)
    message = MESSAGES.get(subtype)
    if message is None:
        raise WireError(Reason.SUBTYPE, f"inter-HA subtype {subtype}")
    if not identifier:
        raise WireError(Reason.IDENTIFIER, f"{message.__name__} with identifier 0")
    found = fields.decode(message, header, _HEAD.size, bool(flags & _FLAG))
    return message(identifier=identifier, receiver_incarnation=incarnation, **found)


def serialize_inter_ha(
    message: InterHaMessage, source: IPv6Address, destination: IPv6Address
) -> bytes:
    """Return a whole Mobility Header of type 11.

    Raises:
        ValueError: the identifier is 0, a field is out of its range, or there are too many.
    """
    if not message.identifier:
        raise ValueError("identifier 0 is not to be used")
    flags = _FLAG * fields.flag(message)
    try:
        head = _HEAD.pack(message.subtype, flags, message.identifier, message.receiver_incarnation)
        body = fields.encode(message)
    except struct.error as error:
        raise ValueError(f"{type(message).__name__}: {error}") from None
    return seal_header(EXPERIMENTAL, tlv.join(head, [(1, 0, body)]), source, destination)
