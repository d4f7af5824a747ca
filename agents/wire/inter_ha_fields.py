"""The fields behind an inter-HA message's head, as the message dataclasses read and write them."""

import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address
from typing import Any, TypeVar

from agents.wire import tlv
from agents.wire.addresses import LENGTH as ADDRESS_LENGTH
from agents.wire.addresses import unicast_address
from agents.wire.errors import Reason, WireError
from agents.wire.inter_ha_entries import ENTRY_TYPES, Entry, FieldType

_EntryT = TypeVar("_EntryT", bound=Entry)
_FORMATS = {
    FieldType.SPI: struct.Struct("!L"),
    FieldType.STATUS: struct.Struct("!B"),
    FieldType.HELLO: struct.Struct("!HL"),
    FieldType.ROLE: struct.Struct("!LB"),
    FieldType.WINDOW: struct.Struct("!LH"),
    FieldType.SEGMENT: struct.Struct("!L"),
    FieldType.TOTAL: struct.Struct("!L"),
}


class Fields:
    """What one received message holds: fields that may stand once, and any number of entries."""

    __slots__ = ("_entries", "_values")

    def __init__(self, data: bytes, start: int) -> None:
        """Read `data[start:]`; skips unknown types. WireError on anything malformed."""
        self._values: dict[int, bytes] = {}
        self._entries: list[Entry] = []
        for _, kind, value in tlv.walk(data, start):
            entry_type = ENTRY_TYPES.get(kind)
            if entry_type is not None:
                self._entries.append(entry_type.decode(value))
            elif kind in self._values:
                raise WireError(Reason.OPTION_TWICE, f"inter-HA field {kind} twice")
            else:
                self._values[kind] = value

    def entries(self, *kinds: type[_EntryT]) -> tuple[_EntryT, ...]:
        """Return all entries, which must be of these kinds."""
        found = tuple(entry for entry in self._entries if isinstance(entry, kinds))
        if len(found) != len(self._entries):
            raise WireError(Reason.FIELD_VALUE, "an entry that does not belong to the message")
        return found

    def unpack(self, kind: FieldType) -> tuple[Any, ...]:
        """Return the numbers of a field that must be there."""
        layout = _FORMATS[kind]
        value = self._value(kind)
        if len(value) != layout.size:
            raise WireError(Reason.OPTION_LENGTH, f"inter-HA field {kind.name}: {len(value)}")
        return layout.unpack(value)

    def home_address(self) -> IPv6Address:
        """Return the home address, which must be there."""
        value = self._value(FieldType.HOME_ADDRESS)
        if len(value) != ADDRESS_LENGTH:
            raise WireError(Reason.OPTION_LENGTH, f"home address of {len(value)} octets")
        return unicast_address(value, "home address")

    def subject(self) -> tuple[IPv6Address | None, int | None]:
        """Return (home address, SPI), of which at least one must be there."""
        asked = self._values.keys()
        home_address = self.home_address() if FieldType.HOME_ADDRESS in asked else None
        spi = self.unpack(FieldType.SPI)[0] if FieldType.SPI in asked else None
        if home_address is None and spi is None:
            raise WireError(Reason.FIELD_MISSING, "neither a home address nor an SPI")
        return home_address, spi

    def _value(self, kind: FieldType) -> bytes:
        value = self._values.get(kind)
        if value is None:
            raise WireError(Reason.FIELD_MISSING, f"inter-HA field {kind.name} is missing")
        return value


def numbers(kind: FieldType, *values: int) -> bytes:
    """Return a field of numbers; struct.error if one is out of its range."""
    return tlv.encode(kind, _FORMATS[kind].pack(*values))


def home_address(value: IPv6Address) -> bytes:
    """Return a home address field."""
    return tlv.encode(FieldType.HOME_ADDRESS, value.packed)


def subject(address: IPv6Address | None, spi: int | None) -> bytes:
    """Return the fields that name a binding or SA by home address, SPI or both."""
    if address is None and spi is None:
        raise ValueError("a request needs a home address or an SPI")
    named = b"" if address is None else home_address(address)
    return named if spi is None else named + numbers(FieldType.SPI, spi)


def entries(values: Iterable[Entry]) -> bytes:
    """Return the fields of these entries."""
    return b"".join(tlv.encode(*entry.encode()) for entry in values)


def fit(values: Sequence[_EntryT], limit: int) -> list[tuple[_EntryT, ...]]:
    """Cut the entries into runs whose fields take at most `limit` octets each."""
    runs: list[tuple[_EntryT, ...]] = []
    start = used = 0
    for position, entry in enumerate(values):
        size = 2 + len(entry.encode()[1])
        if used and used + size > limit:
            runs.append(tuple(values[start:position]))
            start, used = position, 0
        used += size
    if start < len(values):
        runs.append(tuple(values[start:]))
    return runs
