"""The fields behind an inter-HA message's head: attributes <-> type-length-value."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from ipaddress import IPv6Address
from typing import Any

from agents.wire import tlv
from agents.wire.addresses import LENGTH as ADDRESS_LENGTH
from agents.wire.addresses import unicast_address
from agents.wire.errors import Reason, WireError
from agents.wire.inter_ha_entries import ENTRY_TYPES, Entry, FieldType
from agents.wire.inter_ha_messages import ENTRIES, MESSAGES, InterHaMessage
from agents.wire.status import InterHaStatus, Misconduct

FLAG_ATTRIBUTES = ("ready", "response", "solicited", "mutual")
"""Attributes that are bit 0x01 of the flags octet; a message has at most one of them."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A field that may stand once: how its octets become the values of these attributes."""

    attributes: tuple[str, ...]
    size: int
    encode: Callable[..., bytes]
    decode: Callable[[bytes], tuple[Any, ...]]


def _numbers(layout: str, *attributes: str) -> _Field:
    numbers = struct.Struct(layout)
    return _Field(attributes, numbers.size, numbers.pack, numbers.unpack)


def _decode_home_address(value: bytes) -> tuple[IPv6Address]:
    return (unicast_address(value, "home address"),)


def _decode_status(value: bytes) -> tuple[InterHaStatus]:
    return (InterHaStatus(value[0]),)


def _decode_accused(value: bytes) -> tuple[int, int, Misconduct]:
    accused, incarnation, misconduct = _ACCUSED.unpack(value)
    return accused, incarnation, Misconduct(misconduct)


_ACCUSED = struct.Struct("!BHB")
_FIELDS = {
    FieldType.HOME_ADDRESS: _Field(
        ("home_address",), ADDRESS_LENGTH, lambda value: value.packed, _decode_home_address
    ),
    FieldType.SPI: _numbers("!L", "spi"),
    FieldType.STATUS: _Field(("status",), 1, struct.Struct("!B").pack, _decode_status),
    FieldType.HELLO: _numbers("!HL", "incarnation", "interval_ms"),
    FieldType.ROLE: _numbers("!LB", "epoch", "index"),
    FieldType.WINDOW: _numbers("!LH", "first_segment", "window"),
    FieldType.SEGMENT: _numbers("!L", "number"),
    FieldType.TOTAL: _numbers("!L", "segments"),
    FieldType.SUCCESSOR: _numbers("!B", "successor"),
    FieldType.PREVIOUS: _numbers("!B", "previous"),
    FieldType.ACCUSED: _Field(
        ("accused", "accused_incarnation", "misconduct"),
        _ACCUSED.size,
        _ACCUSED.pack,
        _decode_accused,
    ),
    FieldType.PART: _numbers("!QLL", "digest", "length", "offset"),
}


def _layout(message: type[InterHaMessage]) -> tuple[tuple[FieldType, _Field, bool], ...]:
    """Return (type, field, may be absent) of each field of a message."""
    defaults = {attribute.name: attribute.default for attribute in fields(message)}
    return tuple(
        (kind, part, defaults[part.attributes[0]] is None)
        for kind, part in _FIELDS.items()
        if part.attributes[0] in defaults
    )


def _flag_attribute(message: type[InterHaMessage]) -> str | None:
    names = [attribute.name for attribute in fields(message)]
    return next((name for name in FLAG_ATTRIBUTES if name in names), None)


_LAYOUTS = {subtype: _layout(message) for subtype, message in MESSAGES.items()}
_FLAGS = {subtype: _flag_attribute(message) for subtype, message in MESSAGES.items()}


def flag(message: InterHaMessage) -> bool:
    """Return the flags octet's bit of a message."""
    name = _FLAGS[message.subtype]
    return bool(name and getattr(message, name))


def encode(message: InterHaMessage) -> bytes:
    """Return a message's fields, then its entries; ValueError, struct.error if one is wrong."""
    parts = []
    for kind, part, optional in _LAYOUTS[message.subtype]:
        values = [getattr(message, name) for name in part.attributes]
        if not (optional and values[0] is None):
            parts.append(tlv.encode(kind, part.encode(*values)))
    if _LAYOUTS[message.subtype] and not parts:
        raise ValueError(f"{type(message).__name__} needs a home address or an SPI")
    allowed = ENTRIES.get(message.subtype, ())
    for entry in getattr(message, "entries", ()):
        if not isinstance(entry, allowed):
            raise ValueError(f"{type(message).__name__} takes no {type(entry).__name__}")
        parts.append(tlv.encode(*entry.encode()))
    return b"".join(parts)


def decode(
    message: type[InterHaMessage], data: bytes, start: int, flag_bit: bool
) -> dict[str, Any]:
    """Return the attributes in `data[start:]`, for the message's constructor.

    Unknown fields are skipped.

    Raises:
        WireError: a field malformed, missing or twice, or an entry that does not belong here.
    """
    values, entries = _read(data, start)
    found: dict[str, Any] = {}
    layout = _LAYOUTS[message.subtype]
    for kind, part, optional in layout:
        value = values.get(kind)
        if value is None:
            if not optional:
                raise WireError(Reason.FIELD_MISSING, f"{message.__name__}: no {kind.name}")
            continue
        if len(value) != part.size:
            raise WireError(Reason.OPTION_LENGTH, f"inter-HA {kind.name} of {len(value)} octets")
        found.update(zip(part.attributes, part.decode(value), strict=True))
    if layout and not found:
        raise WireError(Reason.FIELD_MISSING, f"{message.__name__}: neither address nor SPI")
    allowed = ENTRIES.get(message.subtype)
    if allowed is not None:
        found["entries"] = tuple(entries)
    if not all(isinstance(entry, allowed or ()) for entry in entries):
        raise WireError(Reason.FIELD_VALUE, f"{message.__name__} with an entry of another kind")
    name = _FLAGS[message.subtype]
    return found | {name: flag_bit} if name else found


def _read(data: bytes, start: int) -> tuple[dict[int, bytes], list[Entry]]:
    """Return the values by type, and the entries in their order."""
    values: dict[int, bytes] = {}
    entries: list[Entry] = []
    for _, kind, value in tlv.walk(data, start):
        entry_type = ENTRY_TYPES.get(kind)
        if entry_type is not None:
            entries.append(entry_type.decode(value))
        elif kind in values and kind in _FIELDS:
            raise WireError(Reason.OPTION_TWICE, f"inter-HA field {kind} twice")
        else:
            values[kind] = value
    return values, entries
