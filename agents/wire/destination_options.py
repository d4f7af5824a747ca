"""Destination options in front of ESP: Home Address, ORIGIN_IP, and what is not known."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address

from agents.wire import tlv
from agents.wire.addresses import LENGTH as ADDRESS_LENGTH
from agents.wire.addresses import unicast_address
from agents.wire.errors import Reason, WireError

HOME_ADDRESS = 0xC9
ORIGIN_IP = 0x1E  # RFC 4727's experimental option that a node which does not know it skips
_HEAD = 2
_MAX_HEADER = 256 * 8


@dataclass(frozen=True, slots=True)
class HomeAddress:
    """Home Address option (RFC 6275 §6.3): the mobile node that sends from a care-of address."""

    address: IPv6Address


@dataclass(frozen=True, slots=True)
class OriginIp:
    """ORIGIN_IP option (draft §3.1): the home agent that sent a packet on the shared SA."""

    address: IPv6Address


@dataclass(frozen=True, slots=True)
class UnknownOption:
    """An option to be skipped, as its two highest type bits ask (RFC 8200 §4.2)."""

    type: int
    data: bytes


Option = HomeAddress | OriginIp | UnknownOption
_ADDRESS_OPTIONS: dict[int, type[HomeAddress] | type[OriginIp]] = {
    HOME_ADDRESS: HomeAddress,
    ORIGIN_IP: OriginIp,
}


def parse_options(
    header: bytes, hop_by_hop: bool = False, multicast: bool = False
) -> tuple[Option, ...]:
    """Return the options of one whole Destination (or Hop-by-Hop) Options header.

    `multicast` says that the packet's destination is a group, which changes what an unknown
    option asks for. Options of ours mean nothing in a Hop-by-Hop header.

    Raises:
        WireError: with a pointer from the start of the header where an answer is due.
    """
    found: list[Option] = []
    for offset, kind, value in tlv.walk(header, _HEAD, answer=True):
        make = None if hop_by_hop else _ADDRESS_OPTIONS.get(kind)
        if make is None:
            found.append(_unknown(offset, kind, value, multicast))
            continue
        if len(value) != ADDRESS_LENGTH:
            raise WireError(
                Reason.OPTION_LENGTH, f"option {kind:#x} of {len(value)} octets", offset + 1
            )
        if any(isinstance(other, make) for other in found):
            raise WireError(Reason.OPTION_TWICE, f"option {kind:#x} twice")
        found.append(make(unicast_address(value, make.__name__)))
    return tuple(found)


def _unknown(offset: int, kind: int, value: bytes, multicast: bool) -> UnknownOption:
    """Do as the two highest bits of an unknown type ask (RFC 8200 §4.2)."""
    action = kind >> 6
    if action == 0:
        return UnknownOption(kind, value)
    answered = action == 2 or (action == 3 and not multicast)
    pointer = offset if answered else None
    raise WireError(Reason.OPTION_UNKNOWN, f"option {kind:#x} is not known", pointer, code=2)


def parse_destination_options(data: bytes) -> tuple[int, tuple[Option, ...]]:
    """Return (next header, options) of a Destination Options header that fills `data`.

    Raises:
        WireError: with a pointer from the start of the header where an answer is due.
    """
    if len(data) < 8 or len(data) != (data[1] + 1) * 8:
        raise WireError(Reason.TRUNCATED, f"options header of {len(data)} octets")
    return data[0], parse_options(bytes(data))


def serialize_destination_options(next_header: int, options: Iterable[Option]) -> bytes:
    """Return a Destination Options header with these options in this order, padded.

    Raises:
        ValueError: the options do not fit into one header.
    """
    whole = tlv.join(bytes(_HEAD), [_encode(option) for option in options])
    if len(whole) > _MAX_HEADER:
        raise ValueError(f"an options header of {len(whole)} octets, at most {_MAX_HEADER} fit")
    return bytes((next_header, len(whole) // 8 - 1)) + whole[_HEAD:]


def _encode(option: Option) -> tuple[int, int, bytes]:
    """Return (n, m, octets): an option that starts at an offset of the form n·x+m."""
    if isinstance(option, HomeAddress):
        return 8, 6, tlv.encode(HOME_ADDRESS, option.address.packed)
    if isinstance(option, OriginIp):
        return 8, 6, tlv.encode(ORIGIN_IP, option.address.packed)
    return 1, 0, tlv.encode(option.type, option.data)
