"""Entries of inter-HA messages: a binding, an SA, a floor, a path, a home agent, octets."""

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv6Address
from typing import Self

from agents.wire.addresses import address, is_unicast_routable, unicast_address
from agents.wire.errors import Reason, WireError
from agents.wire.mobility_options import MAX_HA_INDEX
from agents.wire.transforms import Mode, Transform


class FieldType(IntEnum):
    """Types of the fields of an inter-HA message; 0 and 1 are padding."""

    HOME_ADDRESS = 2
    SPI = 3
    STATUS = 4
    HELLO = 5
    ROLE = 6
    WINDOW = 7
    SEGMENT = 8
    TOTAL = 9
    SUCCESSOR = 10
    BINDING_ENTRY = 16
    SA_ENTRY = 17
    FLOOR_ENTRY = 18
    PATH_ENTRY = 19
    MEMBER_ENTRY = 20
    PREVIOUS = 32
    ACCUSED = 33
    PART = 34
    OCTETS = 35


EVERYBODY = (1 << 64) - 1
"""Every HA index, as a set of bits."""

_BINDING = struct.Struct("!16s16sHHLLLBBBxQ")
_MULTI_SENDER = 0x80
_DELETED = 0x40
_UNORDERED = 0x20
_SA = struct.Struct("!16s16s16sLLLQBBBx")
_FLOOR = struct.Struct("!LHQB")
_OUTBOUND = 0x80
_PATH = struct.Struct("!16s16sQLL")
_MEMBER = struct.Struct("!Bx16s")
_UNKNOWN_TIME = 0xFFFF_FFFF

_MODE_NUMBERS = {Mode.TRANSPORT: 1, Mode.TUNNEL: 2}
_TRANSFORM_NUMBERS = {
    Transform.AES_128_GCM: 1,
    Transform.AES_128_CBC_HMAC_SHA2_256: 2,
    Transform.CHACHA20_POLY1305: 3,
}
_MODES = {number: mode for mode, number in _MODE_NUMBERS.items()}
_TRANSFORMS = {number: transform for transform, number in _TRANSFORM_NUMBERS.items()}


@dataclass(frozen=True, slots=True)
class BindingEntry:
    """One binding as its sender holds it.

    `sequence` and `flags` are the Binding Update's, `remaining_ms` is what is left of the
    lifetime, `registration` the registration instance, `primary` the index of the primary home
    agent, `epoch` the version of that role, `multi_sender` and `priority` what the mobile node
    said; `deleted` says that the binding has ended, `unordered` that the sequence does
    not show whether a Binding Update stands behind the role: numbers have come round. Bit i of
    `known` says that the mobile node takes packets of the HA with index i.
    """

    home_address: IPv6Address
    care_of_address: IPv6Address
    sequence: int
    flags: int
    remaining_ms: int
    registration: int
    primary: int
    epoch: int
    multi_sender: bool = True
    priority: int = 0
    deleted: bool = False
    known: int = EVERYBODY
    unordered: bool = False

    def encode(self) -> tuple[FieldType, bytes]:
        """Return the field's type and value."""
        bits = (
            _MULTI_SENDER * self.multi_sender
            | _DELETED * self.deleted
            | _UNORDERED * self.unordered
        )
        value = _BINDING.pack(
            self.home_address.packed,
            self.care_of_address.packed,
            self.sequence,
            self.flags,
            self.remaining_ms,
            self.registration,
            self.epoch,
            self.primary,
            bits,
            self.priority,
            self.known,
        )
        return FieldType.BINDING_ENTRY, value

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read the field's value; WireError on a wrong length or a bad address."""
        _expect(len(value) == _BINDING.size, "binding entry", value)
        home, care_of, sequence, flags, remaining, registration, *rest = _BINDING.unpack(value)
        epoch, primary, bits, priority, known = rest
        return cls(
            unicast_address(home, "home address"),
            unicast_address(care_of, "care-of address"),
            sequence,
            flags,
            remaining,
            registration,
            primary,
            epoch,
            bool(bits & _MULTI_SENDER),
            priority,
            bool(bits & _DELETED),
            known,
            bool(bits & _UNORDERED),
        )


@dataclass(frozen=True, slots=True)
class SaEntry:
    """One security association, key included; `repr` leaves the key out.

    `source` and `destination` are the SA's selectors, `generation` counts renewals, `state` is
    the SA's state number, `highest` the highest number received (inbound) or the floor of the
    numbers to send (outbound), `sid_table_version` the table that the mobile node holds.
    """

    home_address: IPv6Address
    spi: int
    source: IPv6Address
    destination: IPv6Address
    mode: Mode
    transform: Transform
    key: bytes = field(repr=False)
    generation: int = 0
    state: int = 0
    highest: int = 0
    sid_table_version: int = 0

    def encode(self) -> tuple[FieldType, bytes]:
        """Return the field's type and value; ValueError if the key does not fit the transform."""
        if len(self.key) != self.transform.key_length:
            raise ValueError(f"SA entry: a key of {len(self.key)} octets for {self.transform}")
        head = _SA.pack(
            self.home_address.packed,
            self.source.packed,
            self.destination.packed,
            self.spi,
            self.generation,
            self.sid_table_version,
            self.highest,
            _MODE_NUMBERS[self.mode],
            _TRANSFORM_NUMBERS[self.transform],
            self.state,
        )
        return FieldType.SA_ENTRY, head + self.key

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read the field's value; WireError on a wrong length, mode, transform or address."""
        _expect(len(value) >= _SA.size, "SA entry", value)
        home, source, destination, spi, generation, version, highest, mode, transform, state = (
            _SA.unpack_from(value)
        )
        if mode not in _MODES or transform not in _TRANSFORMS:
            raise WireError(Reason.FIELD_VALUE, f"SA entry: mode {mode}, transform {transform}")
        key = value[_SA.size :]
        _expect(len(key) == _TRANSFORMS[transform].key_length, "SA entry's key", key)
        return cls(
            # The zero home address marks an SA that belongs to no mobile node.
            _address_or_unspecified(home),
            spi,
            unicast_address(source, "SA source"),
            unicast_address(destination, "SA destination"),
            _MODES[mode],
            _TRANSFORMS[transform],
            key,
            generation,
            state,
            highest,
            version,
        )


@dataclass(frozen=True, slots=True)
class FloorEntry:
    """How far numbers on one SA have come for one sender (`sid`), seen or sent (`outbound`)."""

    spi: int
    sid: int
    number: int
    outbound: bool = False

    def encode(self) -> tuple[FieldType, bytes]:
        """Return the field's type and value."""
        value = _FLOOR.pack(self.spi, self.sid, self.number, _OUTBOUND * self.outbound)
        return FieldType.FLOOR_ENTRY, value

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read the field's value; WireError on a wrong length."""
        _expect(len(value) == _FLOOR.size, "floor entry", value)
        spi, sid, number, bits = _FLOOR.unpack(value)
        return cls(spi, sid, number, bool(bits & _OUTBOUND))


@dataclass(frozen=True, slots=True)
class PathEntry:
    """What the sender knows of the path between a mobile node and a correspondent by way of it.

    `octets` is the traffic between the two, in both directions; the round-trip times, in
    microseconds, are between the sender and the mobile node's care-of address, and between the
    sender and the correspondent; None where none is known.
    """

    home_address: IPv6Address
    correspondent: IPv6Address
    octets: int
    mobile_us: int | None = None
    correspondent_us: int | None = None

    def encode(self) -> tuple[FieldType, bytes]:
        """Return the field's type and value."""
        times = (self.mobile_us, self.correspondent_us)
        value = _PATH.pack(
            self.home_address.packed,
            self.correspondent.packed,
            self.octets,
            *(_UNKNOWN_TIME if each is None else each for each in times),
        )
        return FieldType.PATH_ENTRY, value

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read the field's value; WireError on a wrong length or a bad address."""
        _expect(len(value) == _PATH.size, "path entry", value)
        home, correspondent, octets, *times = _PATH.unpack(value)
        return cls(
            unicast_address(home, "home address"),
            unicast_address(correspondent, "correspondent's address"),
            octets,
            *(None if each == _UNKNOWN_TIME else each for each in times),
        )


@dataclass(frozen=True, slots=True)
class MemberEntry:
    """A home agent that the sender has as its peer: index (1 to 63) and own address."""

    index: int
    address: IPv6Address

    def encode(self) -> tuple[FieldType, bytes]:
        """Return the field's type and value."""
        return FieldType.MEMBER_ENTRY, _MEMBER.pack(self.index, self.address.packed)

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read the field's value; WireError on a wrong length, index or address."""
        _expect(len(value) == _MEMBER.size, "member entry", value)
        index, octets = _MEMBER.unpack(value)
        if not 1 <= index <= MAX_HA_INDEX:
            raise WireError(Reason.FIELD_VALUE, f"member entry with index {index}")
        return cls(index, unicast_address(octets, "home agent's address"))


@dataclass(frozen=True, slots=True)
class OctetsEntry:
    """Octets of something that is longer than one field; at most 255."""

    octets: bytes

    def encode(self) -> tuple[FieldType, bytes]:
        """Return the field's type and value."""
        return FieldType.OCTETS, self.octets

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read the field's value."""
        return cls(value)


Entry = BindingEntry | SaEntry | FloorEntry | PathEntry | MemberEntry | OctetsEntry
ENTRY_TYPES: dict[int, type[Entry]] = {
    FieldType.BINDING_ENTRY: BindingEntry,
    FieldType.SA_ENTRY: SaEntry,
    FieldType.FLOOR_ENTRY: FloorEntry,
    FieldType.PATH_ENTRY: PathEntry,
    FieldType.MEMBER_ENTRY: MemberEntry,
    FieldType.OCTETS: OctetsEntry,
}


def _expect(fits: bool, what: str, value: bytes) -> None:
    if not fits:
        raise WireError(Reason.OPTION_LENGTH, f"{what} of {len(value)} octets")


def _address_or_unspecified(octets: bytes) -> IPv6Address:
    found = address(octets)
    if found.is_unspecified or is_unicast_routable(found):
        return found
    raise WireError(Reason.ADDRESS, f"home address {found} is not a unicast routable address")
