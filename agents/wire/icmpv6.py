"""ICMPv6 (RFC 4443), whole packets: errors in answer to what cannot be taken, and echoes.

Two kinds are also read here: Packet Too Big and Echo Reply.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

from agents.wire import ipv6
from agents.wire.addresses import address
from agents.wire.checksum import is_valid, pseudo_header_checksum
from agents.wire.errors import Reason, WireError

DESTINATION_UNREACHABLE = 1
PACKET_TOO_BIG = 2
PARAMETER_PROBLEM = 4
ECHO_REQUEST = 128
ECHO_REPLY = 129

NO_ROUTE = 0
ADMINISTRATIVELY_PROHIBITED = 1
ADDRESS_UNREACHABLE = 3

ERRONEOUS_HEADER_FIELD = 0
UNRECOGNIZED_NEXT_HEADER = 1
UNRECOGNIZED_OPTION = 2

_HEAD = struct.Struct("!BBHL")
_ECHO = struct.Struct("!BBHHH")
_CHECKSUM = struct.Struct("!H")
_QUOTED_LENGTH = struct.Struct("!H")
_QUOTED = ipv6.MINIMUM_MTU - ipv6.HEADER_LENGTH - _HEAD.size
_LAST_ERROR_TYPE = 127


def parameter_problem(source: IPv6Address, packet: bytes, code: int, pointer: int) -> bytes | None:
    """Answer `packet`; `pointer` is the offending octet's offset in it (RFC 4443 §3.4)."""
    to_group = code == UNRECOGNIZED_OPTION
    return _error(source, packet, PARAMETER_PROBLEM, code, pointer, to_group)


def destination_unreachable(
    source: IPv6Address, packet: bytes, code: int = ADDRESS_UNREACHABLE
) -> bytes | None:
    """Answer a packet that cannot be delivered (RFC 4443 §3.1)."""
    return _error(source, packet, DESTINATION_UNREACHABLE, code, 0, to_group=False)


def parse_destination_unreachable(packet: bytes) -> bytes:
    """Return the packet that an error is about, as much as it quotes: its whole header, at least.

    Raises:
        WireError: it is no Destination Unreachable, or its checksum is wrong; no answer is due.
    """
    parsed = ipv6.parse(packet)
    message = parsed.payload
    if parsed.next_header != ipv6.ICMPV6:
        raise WireError(Reason.NEXT_HEADER, f"next header {parsed.next_header}")
    if len(message) < _HEAD.size + ipv6.HEADER_LENGTH:
        raise WireError(Reason.TRUNCATED, f"an ICMPv6 error of {len(message)} octets")
    if message[0] != DESTINATION_UNREACHABLE:
        raise WireError(Reason.MESSAGE_TYPE, f"ICMPv6 type {message[0]}")
    if not is_valid(parsed.source, parsed.destination, ipv6.ICMPV6, message):
        raise WireError(Reason.CHECKSUM, "ICMPv6 checksum")
    return message[_HEAD.size :]


def packet_too_big(source: IPv6Address, packet: bytes, mtu: int) -> bytes | None:
    """Answer a packet longer than `mtu` octets (RFC 4443 §3.2)."""
    return _error(source, packet, PACKET_TOO_BIG, 0, mtu, to_group=True)


@dataclass(frozen=True, slots=True)
class PacketTooBig:
    """A router's answer: the octets that its next link takes, and as much of the packet as fits."""

    router: IPv6Address
    mtu: int
    quoted: ipv6.Packet


def is_packet_too_big(packet: ipv6.Packet) -> bool:
    """Tell whether it is one by its type alone."""
    return packet.next_header == ipv6.ICMPV6 and packet.payload[:1] == bytes([PACKET_TOO_BIG])


def parse_packet_too_big(packet: ipv6.Packet) -> PacketTooBig:
    """Read a Packet Too Big (RFC 4443 §3.2). Its `quoted` ends where the router cut it off.

    Raises:
        WireError: `truncated`, `bad-checksum`, or whatever is wrong with the quoted headers; the
            pointer is None, since errors are not answered by errors (RFC 4443 §2.4 (e.1)).
    """
    body = packet.payload
    if len(body) < _HEAD.size + ipv6.HEADER_LENGTH:
        raise WireError(Reason.TRUNCATED, f"a Packet Too Big of {len(body)} octets")
    if not is_valid(packet.source, packet.destination, ipv6.ICMPV6, body):
        raise WireError(Reason.CHECKSUM, "ICMPv6")
    quoted = bytearray(body[_HEAD.size :])
    # The length field tells of the whole packet; what is here is shorter.
    _QUOTED_LENGTH.pack_into(quoted, 4, len(quoted) - ipv6.HEADER_LENGTH)
    try:
        parsed = ipv6.parse(bytes(quoted))
    except WireError as error:
        raise WireError(error.reason, f"quoted: {error.message}") from error
    return PacketTooBig(packet.source, _HEAD.unpack_from(body)[3], parsed)


def _error(
    source: IPv6Address, packet: bytes, kind: int, code: int, value: int, to_group: bool
) -> bytes | None:
    """Return an ICMPv6 error from `source` to the packet's source, at most 1280 octets.

    None where RFC 4443 §2.4 (e) forbids one: in answer to an ICMPv6 error, to a group (unless
    `to_group`), or to a source that is not one node.
    """
    if len(packet) < ipv6.HEADER_LENGTH or _is_error(packet):
        return None
    destination = address(bytes(packet[8:24]))
    if destination.is_unspecified or destination.is_multicast:
        return None
    if packet[24] == 0xFF and not to_group:
        return None
    body = bytearray(_HEAD.pack(kind, code, 0, value) + packet[:_QUOTED])
    return _finish(source, destination, body)


def echo(
    source: IPv6Address,
    destination: IPv6Address,
    identifier: int,
    sequence: int,
    data: bytes,
    kind: int = ECHO_REQUEST,
) -> bytes:
    """Return an Echo Request, or a reply (RFC 4443 §4); the two numbers have 16 bits."""
    body = bytearray(_ECHO.pack(kind, 0, 0, identifier, sequence) + data)
    return _finish(source, destination, body)


def parse_echo_reply(
    payload: bytes, source: IPv6Address, destination: IPv6Address
) -> tuple[int, int, bytes]:
    """Return (identifier, sequence, data) of an Echo Reply.

    Raises:
        WireError: too short, a wrong checksum, or another ICMPv6 message.
    """
    if len(payload) < _ECHO.size:
        raise WireError(Reason.TRUNCATED, f"ICMPv6 of {len(payload)} octets")
    if not is_valid(source, destination, ipv6.ICMPV6, payload):
        raise WireError(Reason.CHECKSUM, "ICMPv6")
    kind, _, _, identifier, sequence = _ECHO.unpack_from(payload)
    if kind != ECHO_REPLY:
        raise WireError(Reason.MESSAGE_TYPE, f"ICMPv6 type {kind}, not an Echo Reply")
    return identifier, sequence, payload[_ECHO.size :]


def _finish(source: IPv6Address, destination: IPv6Address, body: bytearray) -> bytes:
    checksum = pseudo_header_checksum(source, destination, ipv6.ICMPV6, bytes(body))
    _CHECKSUM.pack_into(body, 2, checksum)
    return ipv6.build(source, destination, ipv6.ICMPV6, bytes(body))


def _is_error(packet: bytes) -> bool:
    """Tell whether the packet is an ICMPv6 error, also behind extension headers."""
    next_header, offset = packet[6], ipv6.HEADER_LENGTH
    while next_header in (ipv6.HOP_BY_HOP, ipv6.ROUTING, ipv6.DESTINATION_OPTIONS, ipv6.FRAGMENT):
        if offset + 8 > len(packet):
            return False
        length = 8 if next_header == ipv6.FRAGMENT else (packet[offset + 1] + 1) * 8
        next_header, offset = packet[offset], offset + length
    if next_header != ipv6.ICMPV6 or offset >= len(packet):
        return False
    return packet[offset] <= _LAST_ERROR_TYPE
