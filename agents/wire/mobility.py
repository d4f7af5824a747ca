"""Mobility Header messages between a mobile node and its home agent (RFC 6275 §6.1)."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address

from agents.wire import tlv
from agents.wire.addresses import address
from agents.wire.mobility_header import HEAD, open_header, seal_header
from agents.wire.mobility_options import MobilityOption, encode, parse_options
from agents.wire.status import BindingErrorStatus, Status

BINDING_REFRESH_REQUEST = 0
BINDING_UPDATE = 5
BINDING_ACKNOWLEDGEMENT = 6
BINDING_ERROR = 7
EXPERIMENTAL = 11

BU_ACKNOWLEDGE = 0x8000
BU_HOME_REGISTRATION = 0x4000
BU_LINK_LOCAL = 0x2000
BU_KEY_MANAGEMENT = 0x1000
BU_OTHER_FLAGS = 0x0FFF
BA_KEY_MANAGEMENT = 0x80
BA_MULTIHOMED = 0x01  # the draft's M; the only bit that no RFC up to 9354 has taken

_REFRESH_REQUEST = struct.Struct("!6xH")
_UPDATE = struct.Struct("!6xHHH")
_ACKNOWLEDGEMENT = struct.Struct("!6xBBHH")
_ERROR = struct.Struct("!6xBx16s")


@dataclass(frozen=True, slots=True)
class BindingRefreshRequest:
    """A home agent asks for a Binding Update (RFC 6275 §6.1.2)."""

    options: tuple[MobilityOption, ...] = ()


@dataclass(frozen=True, slots=True)
class BindingUpdate:
    """A mobile node tells where it is (RFC 6275 §6.1.7).

    `lifetime` counts units of 4 s, 0 ends the binding. `other_flags` are the bits 0x0FFF of the
    flags field, which this testbed does not use.
    """

    sequence: int
    lifetime: int
    acknowledge: bool = True
    home_registration: bool = True
    link_local: bool = False
    key_management: bool = False
    other_flags: int = 0
    options: tuple[MobilityOption, ...] = ()

    @property
    def flags(self) -> int:
        """The 16-bit flags field."""
        return (
            BU_ACKNOWLEDGE * self.acknowledge
            | BU_HOME_REGISTRATION * self.home_registration
            | BU_LINK_LOCAL * self.link_local
            | BU_KEY_MANAGEMENT * self.key_management
            | self.other_flags
        )


@dataclass(frozen=True, slots=True)
class BindingAcknowledgement:
    """A home agent's answer to a Binding Update (RFC 6275 §6.1.8); `lifetime` in units of 4 s.

    `multihomed` is the draft's M (§3.1): other home agents will use this SA too.
    """

    status: Status
    sequence: int
    lifetime: int
    key_management: bool = False
    multihomed: bool = False
    options: tuple[MobilityOption, ...] = ()

    @property
    def flags(self) -> int:
        """The 8-bit flags field."""
        return BA_KEY_MANAGEMENT * self.key_management | BA_MULTIHOMED * self.multihomed


@dataclass(frozen=True, slots=True)
class BindingError:
    """Something about a binding is wrong (RFC 6275 §6.1.9); :: where no home address is meant."""

    status: BindingErrorStatus
    home_address: IPv6Address


@dataclass(frozen=True, slots=True)
class ExperimentalMessage:
    """Mobility Header type 11 (RFC 5096), what follows the checksum: `inter_ha` reads it."""

    body: bytes


@dataclass(frozen=True, slots=True)
class UnknownMobilityMessage:
    """Any other type, what follows the checksum; a Binding Error (status 2) answers it."""

    type: int
    body: bytes


MobilityMessage = (
    BindingRefreshRequest
    | BindingUpdate
    | BindingAcknowledgement
    | BindingError
    | ExperimentalMessage
    | UnknownMobilityMessage
)
_SMALLEST = {
    BINDING_REFRESH_REQUEST: 8,
    BINDING_UPDATE: 16,
    BINDING_ACKNOWLEDGEMENT: 16,
    BINDING_ERROR: 24,
    EXPERIMENTAL: 8,
}


def parse_mobility(data: bytes, source: IPv6Address, destination: IPv6Address) -> MobilityMessage:
    """Return the message in `data`, with the checks of RFC 6275 §9.2 in their order.

    `source` and `destination` are the pseudo-header's: the home address stands for the care-of
    address.

    Raises:
        WireError: with a pointer, from the start of the Mobility Header, where §9.2 wants a
            Parameter Problem; silent otherwise.
    """
    kind, header = open_header(data, source, destination, _SMALLEST)
    if kind == BINDING_UPDATE:
        return _parse_update(header)
    if kind == BINDING_ACKNOWLEDGEMENT:
        return _parse_acknowledgement(header)
    if kind == BINDING_REFRESH_REQUEST:
        return BindingRefreshRequest(parse_options(header, _REFRESH_REQUEST.size))
    if kind == BINDING_ERROR:
        status, home_address = _ERROR.unpack_from(header)
        return BindingError(BindingErrorStatus(status), address(home_address))
    if kind == EXPERIMENTAL:
        return ExperimentalMessage(header[HEAD:])
    return UnknownMobilityMessage(kind, header[HEAD:])


def _parse_update(header: bytes) -> BindingUpdate:
    sequence, flags, lifetime = _UPDATE.unpack_from(header)
    return BindingUpdate(
        sequence,
        lifetime,
        acknowledge=bool(flags & BU_ACKNOWLEDGE),
        home_registration=bool(flags & BU_HOME_REGISTRATION),
        link_local=bool(flags & BU_LINK_LOCAL),
        key_management=bool(flags & BU_KEY_MANAGEMENT),
        other_flags=flags & BU_OTHER_FLAGS,
        options=parse_options(header, _UPDATE.size),
    )


def _parse_acknowledgement(header: bytes) -> BindingAcknowledgement:
    status, flags, sequence, lifetime = _ACKNOWLEDGEMENT.unpack_from(header)
    return BindingAcknowledgement(
        Status(status),
        sequence,
        lifetime,
        key_management=bool(flags & BA_KEY_MANAGEMENT),
        multihomed=bool(flags & BA_MULTIHOMED),
        options=parse_options(header, _ACKNOWLEDGEMENT.size),
    )


def serialize_mobility(
    message: MobilityMessage, source: IPv6Address, destination: IPv6Address
) -> bytes:
    """Return a whole Mobility Header; addresses as for `parse_mobility`.

    Raises:
        ValueError: a field is out of its range, or the options do not fit.
    """
    try:
        kind, header = _serialize(message)
    except struct.error as error:
        raise ValueError(f"{type(message).__name__}: {error}") from None
    return seal_header(kind, header, source, destination)


def _serialize(message: MobilityMessage) -> tuple[int, bytes]:
    """Return the type and the header, of which the first six octets are still empty."""
    match message:
        case BindingUpdate():
            head = _UPDATE.pack(message.sequence, message.flags, message.lifetime)
            return BINDING_UPDATE, _with_options(head, message.options)
        case BindingAcknowledgement():
            head = _ACKNOWLEDGEMENT.pack(
                message.status, message.flags, message.sequence, message.lifetime
            )
            return BINDING_ACKNOWLEDGEMENT, _with_options(head, message.options)
        case BindingRefreshRequest(options):
            return BINDING_REFRESH_REQUEST, _with_options(_REFRESH_REQUEST.pack(0), options)
        case BindingError(status, home_address):
            return BINDING_ERROR, _ERROR.pack(status, home_address.packed)
        case ExperimentalMessage(body):
            return EXPERIMENTAL, bytes(HEAD) + body
        case UnknownMobilityMessage(kind, body):
            return kind, bytes(HEAD) + body


def _with_options(head: bytes, options: Iterable[MobilityOption]) -> bytes:
    return tlv.join(head, [encode(option) for option in options])
