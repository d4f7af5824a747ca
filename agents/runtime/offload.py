"""Segmentation and checksum offload in Python: pure functions on whole IPv6 packets.

With TSO on a TUN device the kernel hands over TCP super-packets of up to 64 kB and takes the same:
one system call for forty packets, and system calls are what costs (not AES). Here a super-packet
becomes packets that fit the tunnel, and packets out of the tunnel become super-packets.

Sums are ones' complement sums (RFC 1071): the bytes as one big-endian integer, modulo 65535.
"""

import struct
from collections.abc import Sequence
from typing import Final

IPV6_HEADER: Final = 40
NEXT_HEADER_TCP: Final = 6

GSO_NONE: Final = 0
GSO_TCPV6: Final = 4
GSO_ECN: Final = 0x80
NEEDS_CHECKSUM: Final = 1

VNET_HEADER: Final = struct.Struct("=BBHHHH")
"""`struct virtio_net_hdr`: flags, GSO type, header length, segment size, checksum start, offset."""

PLAIN: Final = bytes(VNET_HEADER.size)
"""The virtio header of a packet with nothing left to do."""

Buffer = bytes | bytearray | memoryview

_TCP_CHECKSUM_OFFSET: Final = 16
_UDP_CHECKSUM_OFFSET: Final = 6
_FIN: Final = 0x01
_PSH: Final = 0x08
_ACK: Final = 0x10
_ECE: Final = 0x40
_CWR: Final = 0x80
_LAST_ONLY: Final = _FIN | _PSH
_MERGEABLE: Final = _ACK | _PSH | _FIN | _ECE
_MAX_PAYLOAD: Final = 65535 - 120
"""Octets of TCP payload in one super-packet: the IPv6 length field is 16 bits wide."""

_put_16 = struct.Struct("!H").pack_into
_put_32 = struct.Struct("!I").pack_into
_from_bytes = int.from_bytes


class OffloadError(ValueError):
    """A super-packet that cannot be cut: malformed, or of a kind that was never asked for."""


def sum_16(data: Buffer) -> int:
    """Return the ones' complement sum of `data`, an odd octet padded with zero, modulo 65535."""
    total = _from_bytes(data, "big") % 65535
    return total * 256 if len(data) & 1 else total


def split(frame: memoryview) -> list[bytes]:
    """Turn one read from the TUN (virtio header, then the packet) into complete packets.

    Raises `OffloadError`.
    """
    if len(frame) < VNET_HEADER.size + IPV6_HEADER:
        raise OffloadError("a read shorter than an IPv6 header")
    flags, kind, _, size, start, offset = VNET_HEADER.unpack_from(frame)
    packet = frame[VNET_HEADER.size :]
    if kind == GSO_NONE:
        return [complete(packet, start, offset)] if flags & NEEDS_CHECKSUM else [bytes(packet)]
    if kind & ~GSO_ECN != GSO_TCPV6 or not flags & NEEDS_CHECKSUM:
        raise OffloadError(f"segmentation offload of kind {kind} with flags {flags}")
    return segment(packet, start, size)


def complete(packet: memoryview, start: int, offset: int) -> bytes:
    """Finish a checksum: the field at `start + offset` holds the pseudo-header's sum so far."""
    if start < IPV6_HEADER or start + offset + 2 > len(packet):
        raise OffloadError("a checksum outside of its packet")
    whole = bytearray(packet)
    checksum = 65535 - sum_16(packet[start:]) % 65535
    if checksum == 65535 and offset != _UDP_CHECKSUM_OFFSET:
        checksum = 0  # only UDP (RFC 768) must not write zero, where it means "none"
    _put_16(whole, start + offset, checksum)
    return bytes(whole)


def segment(packet: memoryview, transport: int, size: int) -> list[bytes]:
    """Cut a TCP super-packet into packets of `size` octets of payload with right checksums.

    `transport` is the offset of the TCP header; its checksum field holds the pseudo-header's sum.
    Raises `OffloadError`.
    """
    end = len(packet)
    if transport < IPV6_HEADER or transport + 20 > end or size == 0:
        raise OffloadError("a TCP header outside of its packet")
    data = transport + (packet[transport + 12] >> 4) * 4
    if not transport + 20 <= data <= end:
        raise OffloadError("a TCP header longer than its packet")
    header = bytearray(packet[:data])
    sequence = _from_bytes(header[transport + 4 : transport + 8], "big")
    flags = header[transport + 13]
    at_check = transport + _TCP_CHECKSUM_OFFSET
    # What all segments share, summed once: the pseudo-header, which covers the whole length, less
    # that length; and the TCP header without sequence number, flags and checksum.
    header[transport + 4 : transport + 8] = bytes(4)
    header[transport + 13] = 0
    pseudo = _from_bytes(header[at_check : at_check + 2], "big")
    header[at_check : at_check + 2] = bytes(2)
    shared = pseudo + 65535 * 2 - (end - transport) + sum_16(header[transport:])
    overhead = data - transport
    # Only the last segment ends the burst (PSH, FIN), only the first reports CWR (RFC 3168 §6.1.2).
    inner_flags = flags & ~_LAST_ONLY
    packets = []
    for at in range(data, end, size):
        payload = packet[at : at + size]
        length = len(payload)
        octet = inner_flags if at + length < end else flags
        if at != data:
            octet &= ~_CWR
        total = shared + sequence + octet + overhead + length + sum_16(payload)
        _put_16(header, 4, data - IPV6_HEADER + length)
        _put_32(header, transport + 4, sequence)
        header[transport + 13] = octet
        # A sum that is zero modulo 65535 folds to 0xffff, whose complement is 0.
        _put_16(header, at_check, -total % 65535)
        packets.append(b"".join((header, payload)))
        sequence = (sequence + length) & 0xFFFFFFFF
    return packets


class _Burst:
    """Consecutive TCP segments of one flow that will be one super-packet."""

    __slots__ = ("data", "first", "flags", "next_head", "payloads", "segment_size", "size", "tail")

    def __init__(self, packet: bytes, data: int) -> None:
        self.first = packet
        self.data = data
        self.flags = packet[53]
        self.segment_size = len(packet) - data
        self.size = 0
        self.payloads: list[Buffer] = []
        # What must be equal in all segments of a burst, as in the kernel's own GRO: everything but
        # length, sequence number, flags and checksum. `next_head`, up to the flags, is what the
        # next segment begins with if it has the same size.
        self.next_head = packet[:53]
        self.tail = packet[54:56] + packet[58:data]
        self._add(packet)

    def extend(self, packet: bytes) -> bool:
        """Add `packet` if it is the flow's next segment; say whether it was."""
        data, length = self.data, len(packet) - self.data
        if (
            (packet[:53] != self.next_head and not self._is_shorter(packet, length))
            or packet[54:56] + packet[58:data] != self.tail
            or self.size + length > _MAX_PAYLOAD
            or (packet[53] ^ self.flags) & _ECE
        ):
            return False
        self._add(packet)
        return True

    def _add(self, packet: bytes) -> None:
        payload = memoryview(packet)[self.data :]
        self.payloads.append(payload)
        self.size += len(payload)
        self.flags |= packet[53]
        sequence = (_from_bytes(packet[44:48], "big") + len(payload)) & 0xFFFFFFFF
        head = self.next_head
        self.next_head = head[:44] + sequence.to_bytes(4, "big") + head[48:]

    def _is_shorter(self, packet: bytes, length: int) -> bool:
        """Does only the length tell `packet` from the expected one, and is it smaller?"""
        head = self.next_head
        return (
            0 < length < self.segment_size and packet[:4] == head[:4] and packet[6:53] == head[6:]
        )

    @property
    def complete(self) -> bool:
        """Whether no segment may follow: one that pushes or ends, or a smaller one, is the last."""
        return bool(self.flags & _LAST_ONLY) or len(self.payloads[-1]) < self.segment_size

    def buffers(self) -> list[Buffer]:
        """Return what to write: virtio header, headers, payloads."""
        if len(self.payloads) == 1:
            return [PLAIN, self.first]
        header = bytearray(self.first[: self.data])
        length = self.data - IPV6_HEADER + self.size
        _put_16(header, 4, length)
        header[53] = self.flags
        _put_16(header, 56, (sum_16(header[8:40]) + length + NEXT_HEADER_TCP) % 65535)
        offload = VNET_HEADER.pack(
            NEEDS_CHECKSUM,
            GSO_TCPV6,
            self.data,
            self.segment_size,
            IPV6_HEADER,
            _TCP_CHECKSUM_OFFSET,
        )
        return [offload, header, *self.payloads]


def merge(packets: Sequence[bytes]) -> list[list[Buffer]]:
    """Turn packets into writes for the TUN; consecutive TCP segments of a flow become one.

    No packet passes another one of its flow. A write is a list of buffers for `writev`. Segments
    are merged only when their checksums are right: the super-packet gets a new one, which must not
    hide an error made before the tunnel.
    """
    if len(packets) == 1:
        return [[PLAIN, packets[0]]]
    order: list[_Burst | bytes] = []
    bursts: dict[bytes, _Burst] = {}
    for packet in packets:
        if len(packet) < 60 or packet[6] != NEXT_HEADER_TCP or packet[0] >> 4 != 6:
            order.append(packet)
            continue
        flow = packet[8:44]
        burst = bursts.get(flow)
        data = 40 + (packet[52] >> 4) * 4
        if not _mergeable(packet, data):
            if burst is not None:
                del bursts[flow]
            order.append(packet)
            continue
        if burst is None or not burst.extend(packet):
            bursts[flow] = burst = _Burst(packet, data)
            order.append(burst)
        if burst.complete:
            del bursts[flow]
    return [[PLAIN, each] if isinstance(each, bytes) else each.buffers() for each in order]


def _mergeable(packet: bytes, data: int) -> bool:
    """Is this a TCP segment that carries data and nothing unusual, with a right checksum?"""
    length = len(packet) - IPV6_HEADER
    if not 60 <= data < len(packet) or _from_bytes(packet[4:6], "big") != length:
        return False
    flags = packet[53]
    if not flags & _ACK or flags & ~_MERGEABLE:
        return False
    return (sum_16(packet[8:]) + length + NEXT_HEADER_TCP) % 65535 == 0
