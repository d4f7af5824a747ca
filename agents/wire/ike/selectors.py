"""Traffic selectors (RFC 7296 §3.13): inclusive ranges of addresses and ports."""

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from agents.wire.errors import Reason, WireError
from agents.wire.ike.numbers import TsType

ANY_PORT = (0, 65535)
OPAQUE_PORT = (65535, 0)
"""Ports that are not available (RFC 7296 §3.13.1)."""

_HEAD = struct.Struct("!BBHHH")
_IPV6_LENGTH = _HEAD.size + 32


@dataclass(frozen=True, slots=True)
class TrafficSelector:
    """IPv6 addresses from `first` to `last`; protocol 0 is any.

    For the Mobility Header (protocol 135) the upper octet of a port is its type (RFC 4301
    §4.4.1.1).
    """

    protocol: int
    first: IPv6Address
    last: IPv6Address
    first_port: int = 0
    last_port: int = 65535

    @classmethod
    def of(cls, what: IPv6Address | IPv6Network, protocol: int = 0) -> "TrafficSelector":
        """Return the selector of one address or one network, all ports."""
        if isinstance(what, IPv6Address):
            return cls(protocol, what, what)
        return cls(protocol, what.network_address, what.broadcast_address)

    def __str__(self) -> str:
        ports = "" if (self.first_port, self.last_port) == ANY_PORT else (
            f"[{self.first_port}-{self.last_port}]"
        )  # fmt: skip
        protocol = f"/{self.protocol}" if self.protocol else ""
        last = "" if self.first == self.last else f"-{self.last}"
        return f"{self.first}{last}{protocol}{ports}"

    def serialize(self) -> bytes:
        """Return one selector as it stands in TSi or TSr."""
        head = _HEAD.pack(
            TsType.IPV6_ADDR_RANGE, self.protocol, _IPV6_LENGTH, self.first_port, self.last_port
        )
        return head + self.first.packed + self.last.packed


@dataclass(frozen=True, slots=True)
class OtherSelector:
    """A selector of another type than IPv6 ranges: no packet here matches it."""

    kind: int
    protocol: int
    body: bytes

    def serialize(self) -> bytes:
        """Return one selector as it stands in TSi or TSr."""
        return struct.pack("!BBH", self.kind, self.protocol, 4 + len(self.body)) + self.body


Selector = TrafficSelector | OtherSelector


def parse_selectors(body: bytes) -> tuple[Selector, ...]:
    """Return the selectors in the body of TSi or TSr.

    Raises:
        WireError: `truncated`, or `bad-field-value` for lengths and counts that do not agree.
    """
    if len(body) < 4:
        raise WireError(Reason.TRUNCATED, f"a traffic selector payload of {len(body)} octets")
    selectors: list[Selector] = []
    offset = 4
    while offset < len(body):
        if len(body) - offset < 4:
            raise WireError(Reason.TRUNCATED, "a traffic selector is cut")
        length = int.from_bytes(body[offset + 2 : offset + 4])
        if length < 4 or offset + length > len(body):
            raise WireError(Reason.TRUNCATED, f"a traffic selector of {length} octets")
        selectors.append(_parse(body[offset : offset + length]))
        offset += length
    if not selectors or len(selectors) != body[0]:
        raise WireError(Reason.FIELD_VALUE, f"{len(selectors)} selectors where {body[0]} are said")
    return tuple(selectors)


def serialize_selectors(selectors: tuple[Selector, ...]) -> bytes:
    """Return the body of TSi or TSr; at most 255 selectors."""
    return bytes((len(selectors), 0, 0, 0)) + b"".join(each.serialize() for each in selectors)


def _parse(data: bytes) -> Selector:
    if data[0] != TsType.IPV6_ADDR_RANGE:
        return OtherSelector(data[0], data[1], data[4:])
    if len(data) != _IPV6_LENGTH:
        raise WireError(Reason.FIELD_VALUE, f"an IPv6 traffic selector of {len(data)} octets")
    _, protocol, _, first_port, last_port = _HEAD.unpack_from(data)
    first, last = IPv6Address(data[8:24]), IPv6Address(data[24:40])
    if first > last:
        raise WireError(Reason.FIELD_VALUE, "a traffic selector's addresses are the wrong way")
    if first_port > last_port and (first_port, last_port) != OPAQUE_PORT:
        raise WireError(Reason.FIELD_VALUE, "a traffic selector's ports are the wrong way")
    return TrafficSelector(protocol, first, last, first_port, last_port)
