"""Mobility options of binding messages (RFC 6275 §6.2), and ours in option 18 (RFC 5096)."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address

from agents.wire import tlv
from agents.wire.addresses import LENGTH as ADDRESS_LENGTH
from agents.wire.addresses import unicast_address
from agents.wire.errors import Reason, WireError

BINDING_REFRESH_ADVICE = 2
ALTERNATE_CARE_OF_ADDRESS = 3
EXPERIMENTAL = 18
SID_ENTRIES_PER_OPTION = 12
MAX_MAP_ENTRIES = 7
MAX_HA_INDEX = 63

_FIRST = 0x80
_INTERVAL = struct.Struct("!H")
_MULTI_SENDER = struct.Struct("!BxL")
_SID_HEAD = struct.Struct("!BBL")
_SID_ENTRY = struct.Struct("!Bx16s")
_SID_SHIFT = 10
_MAP_HEAD = 2
_MAP_ENTRY = struct.Struct("!H16s16s")


class Subtype(IntEnum):
    """The first octet in option 18."""

    MULTI_SENDER_CAPABLE = 1
    PRIORITY = 2
    SID_TABLE = 3
    CORRESPONDENT_MAP = 4


@dataclass(frozen=True, slots=True)
class AlternateCareOfAddress:
    """The care-of address under ESP's protection (RFC 6275 §6.2.5); in a BU."""

    address: IPv6Address


@dataclass(frozen=True, slots=True)
class BindingRefreshAdvice:
    """When to refresh, in units of 4 s (RFC 6275 §6.2.4); in a BA."""

    interval: int


@dataclass(frozen=True, slots=True)
class MultiSenderCapable:
    """The mobile node knows M and ORIGIN_IP; in a BU.

    `table_version` names the SID table that it holds, 0 without one.
    """

    table_version: int = 0


@dataclass(frozen=True, slots=True)
class Priority:
    """Which home agent the mobile node would like to be served by (draft §2); in a BU.

    `agents.core.wishes` says what the octet `value` means.
    """

    value: int


@dataclass(frozen=True, slots=True)
class SidEntry:
    """A home agent that may send on the SA: its index (1 to 63) and own address."""

    index: int
    address: IPv6Address


@dataclass(frozen=True, slots=True)
class SidTable:
    """Up to 12 of the senders on the SA; in a BA.

    A longer table takes several options of one version, of which `first` marks the first one:
    `sid_tables` and `join_sid_tables` convert.
    """

    version: int
    entries: tuple[SidEntry, ...]
    first: bool = True


@dataclass(frozen=True, slots=True)
class MapEntry:
    """Packets to `correspondent` are meant for the home agent `sid`, at its own `address`.

    `sid` is the home agent's sender id, incarnation included; 0 where SIDs are not used.
    """

    correspondent: IPv6Address
    sid: int
    address: IPv6Address


@dataclass(frozen=True, slots=True)
class CorrespondentMap:
    """Which home agent is best for which correspondent node, at most 7 of these; in a BA."""

    entries: tuple[MapEntry, ...]


@dataclass(frozen=True, slots=True)
class UnknownMobilityOption:
    """An option that is skipped (RFC 6275 §6.2.1)."""

    type: int
    data: bytes


MobilityOption = (
    AlternateCareOfAddress
    | BindingRefreshAdvice
    | MultiSenderCapable
    | Priority
    | SidTable
    | CorrespondentMap
    | UnknownMobilityOption
)
_REPEATABLE = (SidTable, UnknownMobilityOption)


def sid_tables(version: int, entries: Sequence[SidEntry]) -> tuple[SidTable, ...]:
    """Return the options that carry a table of any length; one option for an empty table."""
    starts = range(0, max(len(entries), 1), SID_ENTRIES_PER_OPTION)
    return tuple(
        SidTable(version, tuple(entries[start : start + SID_ENTRIES_PER_OPTION]), start == 0)
        for start in starts
    )


def join_sid_tables(
    options: Iterable[MobilityOption],
) -> tuple[int, tuple[SidEntry, ...]] | None:
    """Return (version, entries) of the table among the options; None where there is none.

    Raises:
        WireError: (`bad-field-value`) the parts do not make one table.
    """
    parts = [option for option in options if isinstance(option, SidTable)]
    if not parts:
        return None
    version = parts[0].version
    entries = tuple(entry for part in parts for entry in part.entries)
    whole = all(part.version == version and part.first == (part is parts[0]) for part in parts)
    if not whole or len({entry.index for entry in entries}) != len(entries):
        raise WireError(Reason.FIELD_VALUE, "the SID table's parts do not fit together")
    return version, entries


def parse_options(data: bytes, start: int) -> tuple[MobilityOption, ...]:
    """Return the options in `data[start:]`, `data` being a whole Mobility Header.

    Raises:
        WireError: an option of a wrong length, beyond the header, or twice.
    """
    found: list[MobilityOption] = []
    for _, kind, value in tlv.walk(data, start):
        option = _decode(kind, value)
        again = any(type(other) is type(option) for other in found)
        if again and not isinstance(option, _REPEATABLE):
            raise WireError(Reason.OPTION_TWICE, f"{type(option).__name__} twice")
        found.append(option)
    return tuple(found)


def _decode(kind: int, value: bytes) -> MobilityOption:
    if kind == ALTERNATE_CARE_OF_ADDRESS:
        _expect(kind, value, ADDRESS_LENGTH)
        return AlternateCareOfAddress(unicast_address(value, "alternate care-of address"))
    if kind == BINDING_REFRESH_ADVICE:
        _expect(kind, value, _INTERVAL.size)
        return BindingRefreshAdvice(_INTERVAL.unpack(value)[0])
    if kind == EXPERIMENTAL and value:
        return _decode_experimental(kind, value)
    return UnknownMobilityOption(kind, value)


def _decode_experimental(kind: int, value: bytes) -> MobilityOption:
    """Read option 18; another experiment's subtype is not known, and no error."""
    if value[0] == Subtype.MULTI_SENDER_CAPABLE:
        _expect(kind, value, _MULTI_SENDER.size)
        return MultiSenderCapable(_MULTI_SENDER.unpack(value)[1])
    if value[0] == Subtype.PRIORITY:
        _expect(kind, value, 2)
        return Priority(value[1])
    if value[0] == Subtype.SID_TABLE:
        return _decode_sid_table(value)
    if value[0] == Subtype.CORRESPONDENT_MAP:
        return _decode_map(value)
    return UnknownMobilityOption(kind, value)


def _decode_sid_table(value: bytes) -> SidTable:
    count, rest = divmod(len(value) - _SID_HEAD.size, _SID_ENTRY.size)
    if not 0 <= count <= SID_ENTRIES_PER_OPTION or rest:
        raise WireError(Reason.OPTION_LENGTH, f"SID table option of {len(value)} octets")
    _, flags, version = _SID_HEAD.unpack_from(value)
    entries = tuple(
        SidEntry(index, unicast_address(octets, "sender's address"))
        for index, octets in _SID_ENTRY.iter_unpack(value[_SID_HEAD.size :])
    )
    indices = {entry.index for entry in entries}
    if len(indices) != count or not all(1 <= index <= MAX_HA_INDEX for index in indices):
        raise WireError(Reason.FIELD_VALUE, "SID table with an index twice or out of range")
    return SidTable(version, entries, bool(flags & _FIRST))


def _decode_map(value: bytes) -> CorrespondentMap:
    count, rest = divmod(len(value) - _MAP_HEAD, _MAP_ENTRY.size)
    if not 0 <= count <= MAX_MAP_ENTRIES or rest:
        raise WireError(Reason.OPTION_LENGTH, f"CN → HA map option of {len(value)} octets")
    entries = tuple(
        MapEntry(
            unicast_address(correspondent, "correspondent's address"),
            sid,
            unicast_address(own, "home agent's address"),
        )
        for sid, correspondent, own in _MAP_ENTRY.iter_unpack(value[_MAP_HEAD:])
    )
    if len({each.correspondent for each in entries}) != count:
        raise WireError(Reason.FIELD_VALUE, "CN → HA map with a correspondent twice")
    if any(each.sid and not each.sid >> _SID_SHIFT for each in entries):
        raise WireError(Reason.FIELD_VALUE, "CN → HA map with the SID of no home agent")
    return CorrespondentMap(entries)


def _expect(kind: int, value: bytes, length: int) -> None:
    if len(value) != length:
        raise WireError(
            Reason.OPTION_LENGTH, f"mobility option {kind}: {len(value)} octets, not {length}"
        )


def encode(option: MobilityOption) -> tuple[int, int, bytes]:
    """Return (n, m, octets): an option that starts at an offset of the form n·x+m.

    Raises:
        ValueError, struct.error: a field does not fit.
    """
    match option:
        case AlternateCareOfAddress(address):
            return 8, 6, tlv.encode(ALTERNATE_CARE_OF_ADDRESS, address.packed)
        case BindingRefreshAdvice(interval):
            return 2, 0, tlv.encode(BINDING_REFRESH_ADVICE, _INTERVAL.pack(interval))
        case MultiSenderCapable(version):
            value = _MULTI_SENDER.pack(Subtype.MULTI_SENDER_CAPABLE, version)
            return 4, 0, tlv.encode(EXPERIMENTAL, value)
        case Priority(value):
            return 2, 0, tlv.encode(EXPERIMENTAL, bytes((Subtype.PRIORITY, value)))
        case SidTable():
            return 4, 0, tlv.encode(EXPERIMENTAL, _encode_sid_table(option))
        case CorrespondentMap():
            return 2, 0, tlv.encode(EXPERIMENTAL, _encode_map(option))
        case UnknownMobilityOption(kind, data):
            return 1, 0, tlv.encode(kind, data)


def _encode_sid_table(table: SidTable) -> bytes:
    if len(table.entries) > SID_ENTRIES_PER_OPTION:
        raise ValueError(f"{len(table.entries)} entries in a SID table option, at most 12 fit")
    head = _SID_HEAD.pack(Subtype.SID_TABLE, _FIRST if table.first else 0, table.version)
    entries = (_SID_ENTRY.pack(entry.index, entry.address.packed) for entry in table.entries)
    return head + b"".join(entries)


def _encode_map(option: CorrespondentMap) -> bytes:
    if len(option.entries) > MAX_MAP_ENTRIES:
        raise ValueError(f"{len(option.entries)} entries in a CN → HA map option, at most 7 fit")
    entries = (
        _MAP_ENTRY.pack(each.sid, each.correspondent.packed, each.address.packed)
        for each in option.entries
    )
    return bytes((Subtype.CORRESPONDENT_MAP, 0)) + b"".join(entries)
