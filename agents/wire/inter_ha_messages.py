"""Messages between home agents, one dataclass each (draft §3.2; FORMATS.md has the octets).

Which wire field holds which attribute is one table for all of them, in `inter_ha_fields`.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv6Address
from typing import ClassVar

from agents.wire.inter_ha_entries import (
    BindingEntry,
    Entry,
    FloorEntry,
    MemberEntry,
    OctetsEntry,
    PathEntry,
    SaEntry,
)
from agents.wire.status import InterHaStatus, Misconduct


class Subtype(IntEnum):
    """The first octet behind the checksum."""

    HELLO = 1
    KEEPALIVE = 2
    BINDING_INFORMATION_REQUEST = 3
    BINDING_INFORMATION_UPDATE = 4
    BINDING_INFORMATION_ACKNOWLEDGEMENT = 5
    SA_INFORMATION_REQUEST = 6
    SA_INFORMATION_UPDATE = 7
    SA_INFORMATION_ACKNOWLEDGEMENT = 8
    SA_INFORMATION_RENEW_REQUEST = 9
    REPLAY_FLOOR = 10
    PRIMARY_HA_SWITCH = 11
    PRIMARY_HA_SWITCH_ACKNOWLEDGEMENT = 12
    TABLE_REQUEST = 13
    TABLE_SEGMENT = 14
    TABLE_END = 15
    PATH_COSTS = 16
    LEAVE = 17
    LEAVE_ACKNOWLEDGEMENT = 18
    ACCUSATION = 32
    REVOCATIONS = 33
    ISOLATION_ACKNOWLEDGEMENT = 34


@dataclass(frozen=True, slots=True)
class InterHaMessage:
    """What every message has.

    `identifier` is 1 to 65535; an answer copies it. `receiver_incarnation` is the receiver's
    incarnation as the sender knows it, 0 if it does not: a message recorded before a restart of
    the receiver tells itself apart.
    """

    subtype: ClassVar[Subtype]

    identifier: int = field(kw_only=True)
    receiver_incarnation: int = field(default=0, kw_only=True)


@dataclass(frozen=True, slots=True)
class Hello(InterHaMessage):
    """I am alive, in this incarnation; the next comes in `interval_ms`.

    `ready` tells that the sender has its peers' tables and advertises the home prefix.
    """

    subtype = Subtype.HELLO
    incarnation: int
    interval_ms: int
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Keepalive(InterHaMessage):
    """Are you alive? The response copies the identifier."""

    subtype = Subtype.KEEPALIVE
    response: bool = False


@dataclass(frozen=True, slots=True)
class _Request(InterHaMessage):
    """Asks by home address, by the SPI of a packet that came, or by both."""

    home_address: IPv6Address | None = None
    spi: int | None = None


@dataclass(frozen=True, slots=True)
class BindingInformationRequest(_Request):
    """Send me the binding of this home address, or of the mobile node with this SPI."""

    subtype = Subtype.BINDING_INFORMATION_REQUEST


@dataclass(frozen=True, slots=True)
class SaInformationRequest(_Request):
    """Send me the security associations of this home address, or the one with this SPI."""

    subtype = Subtype.SA_INFORMATION_REQUEST


@dataclass(frozen=True, slots=True)
class BindingInformationUpdate(InterHaMessage):
    """These are bindings as they stand; `solicited` answers a request."""

    subtype = Subtype.BINDING_INFORMATION_UPDATE
    entries: tuple[BindingEntry, ...]
    solicited: bool = False


@dataclass(frozen=True, slots=True)
class SaInformationUpdate(InterHaMessage):
    """These are security associations as they stand; `solicited` answers a request."""

    subtype = Subtype.SA_INFORMATION_UPDATE
    entries: tuple[SaEntry, ...]
    solicited: bool = False


@dataclass(frozen=True, slots=True)
class _Acknowledgement(InterHaMessage):
    """Copies the identifier of what it acknowledges."""

    status: InterHaStatus = InterHaStatus.ACCEPTED


@dataclass(frozen=True, slots=True)
class BindingInformationAcknowledgement(_Acknowledgement):
    """The Binding Information Update came."""

    subtype = Subtype.BINDING_INFORMATION_ACKNOWLEDGEMENT


@dataclass(frozen=True, slots=True)
class SaInformationAcknowledgement(_Acknowledgement):
    """The SA Information Update came."""

    subtype = Subtype.SA_INFORMATION_ACKNOWLEDGEMENT


@dataclass(frozen=True, slots=True)
class SaInformationRenewRequest(InterHaMessage):
    """The numbers on this SA run out here: renew it (draft §3.3)."""

    subtype = Subtype.SA_INFORMATION_RENEW_REQUEST
    home_address: IPv6Address
    spi: int


@dataclass(frozen=True, slots=True)
class ReplayFloor(InterHaMessage):
    """So far have the numbers come; the next one supersedes it, nobody acknowledges it."""

    subtype = Subtype.REPLAY_FLOOR
    entries: tuple[FloorEntry, ...]


@dataclass(frozen=True, slots=True)
class PrimaryHaSwitch(InterHaMessage):
    """The home agent of this index is primary for this mobile node, from this epoch on.

    `previous` is the index of the one whose role it takes.
    """

    subtype = Subtype.PRIMARY_HA_SWITCH
    home_address: IPv6Address
    epoch: int
    index: int
    previous: int


@dataclass(frozen=True, slots=True)
class PrimaryHaSwitchAcknowledgement(_Acknowledgement):
    """The Primary HA Switch came."""

    subtype = Subtype.PRIMARY_HA_SWITCH_ACKNOWLEDGEMENT


@dataclass(frozen=True, slots=True)
class TableRequest(InterHaMessage):
    """Send up to `window` segments of your table, from `first_segment` on.

    The receiver drives: it repeats the request, same identifier, as it advances. `mutual` asks
    to fetch the sender's table too: its changes were not told while the other counted as gone.
    """

    subtype = Subtype.TABLE_REQUEST
    first_segment: int
    window: int
    mutual: bool = False


@dataclass(frozen=True, slots=True)
class TableSegment(InterHaMessage):
    """One numbered part of a table; `inter_ha.fit` cuts a table into such parts."""

    subtype = Subtype.TABLE_SEGMENT
    number: int
    entries: tuple[BindingEntry | SaEntry | MemberEntry, ...]


@dataclass(frozen=True, slots=True)
class TableEnd(InterHaMessage):
    """The table has this many segments."""

    subtype = Subtype.TABLE_END
    segments: int


@dataclass(frozen=True, slots=True)
class PathCosts(InterHaMessage):
    """So long are the paths by way of the sender; the next supersedes it, nobody acknowledges it.

    From a primary it also asks for the same paths by way of the receiver.
    """

    subtype = Subtype.PATH_COSTS
    entries: tuple[PathEntry, ...]


@dataclass(frozen=True, slots=True)
class Leave(InterHaMessage):
    """The sender goes: it is no peer any more, and `successor` has every role that it had."""

    subtype = Subtype.LEAVE
    successor: int


@dataclass(frozen=True, slots=True)
class LeaveAcknowledgement(_Acknowledgement):
    """The sender of the Leave is no peer any more."""

    subtype = Subtype.LEAVE_ACKNOWLEDGEMENT


@dataclass(frozen=True, slots=True)
class Accusation(InterHaMessage):
    """The home agent `accused`, in this incarnation, has proved to the sender that it lies."""

    subtype = Subtype.ACCUSATION
    accused: int
    accused_incarnation: int
    misconduct: Misconduct


@dataclass(frozen=True, slots=True)
class Revocations(InterHaMessage):
    """A part of a revocation list that an issuer has signed; `inter_ha.cut` makes the parts.

    `offset` is where the octets of `entries` stand in the whole, of `length` octets, and `digest`
    the first 8 octets of its SHA-256, which tells parts of different lists apart.
    """

    subtype = Subtype.REVOCATIONS
    digest: int
    length: int
    offset: int
    entries: tuple[OctetsEntry, ...]


@dataclass(frozen=True, slots=True)
class IsolationAcknowledgement(_Acknowledgement):
    """The Accusation, or the part of a revocation list, came."""

    subtype = Subtype.ISOLATION_ACKNOWLEDGEMENT


MESSAGES: dict[int, type[InterHaMessage]] = {
    message.subtype: message
    for message in (
        Hello,
        Keepalive,
        BindingInformationRequest,
        BindingInformationUpdate,
        BindingInformationAcknowledgement,
        SaInformationRequest,
        SaInformationUpdate,
        SaInformationAcknowledgement,
        SaInformationRenewRequest,
        ReplayFloor,
        PrimaryHaSwitch,
        PrimaryHaSwitchAcknowledgement,
        TableRequest,
        TableSegment,
        TableEnd,
        PathCosts,
        Leave,
        LeaveAcknowledgement,
        Accusation,
        Revocations,
        IsolationAcknowledgement,
    )
}

ENTRIES: dict[int, tuple[type[Entry], ...]] = {
    Subtype.BINDING_INFORMATION_UPDATE: (BindingEntry,),
    Subtype.SA_INFORMATION_UPDATE: (SaEntry,),
    Subtype.REPLAY_FLOOR: (FloorEntry,),
    Subtype.TABLE_SEGMENT: (BindingEntry, SaEntry, MemberEntry),
    Subtype.PATH_COSTS: (PathEntry,),
    Subtype.REVOCATIONS: (OctetsEntry,),
}
"""Which entries a message may hold."""
