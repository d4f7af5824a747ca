import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, in6_chksum

from agents.runtime import offload

A, B = "fd00:c::1", "fd00:192:168:1::100"


def segment_of(
    payload: bytes, sequence: int = 1, flags: str = "A", options: bool = True, port: int = 80,
    **changes: int,
) -> bytes:  # fmt: skip
    chosen = [("NOP", None), ("NOP", None), ("Timestamp", (7, 9))] if options else []
    tcp = TCP(sport=1024, dport=port, seq=sequence & 0xFFFFFFFF, ack=5, flags=flags,
              options=chosen, window=501)  # fmt: skip
    for name, value in changes.items():
        setattr(tcp, name, value)
    return bytes(IPv6(src=A, dst=B, fl=77, hlim=61) / tcp / payload)


def super_packet(payload: bytes, size: int, sequence: int, flags: str) -> bytes:
    """What the kernel hands over: the checksum field holds the pseudo-header's sum."""
    packet = bytearray(segment_of(payload, sequence, flags))
    data = 40 + (packet[52] >> 4) * 4
    words = struct.unpack("!16H", packet[8:40])
    total = sum(words) + len(packet) - 40 + 6
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    packet[56:58] = struct.pack("!H", total)
    return offload.VNET_HEADER.pack(1, offload.GSO_TCPV6, data, size, 40, 16) + bytes(packet)


def checksum_is_right(packet: bytes) -> bool:
    parsed = IPv6(packet)
    return bool(in6_chksum(packet[6], parsed, packet[40:]) in (0, 0xFFFF))


@given(
    payload=st.binary(min_size=1, max_size=5000),
    size=st.integers(1, 1400).map(lambda n: max(n, 40)),
    sequence=st.integers(0, 2**32 - 1),
    flags=st.sampled_from(["A", "PA", "FPA", "CEPA", "CA"]),
)
def test_segments_are_what_scapy_builds(
    payload: bytes, size: int, sequence: int, flags: str
) -> None:
    segments = offload.split(memoryview(super_packet(payload, size, sequence, flags)))
    starts = range(0, len(payload), size)
    for start, segment in zip(starts, segments, strict=True):
        last, first = start + size >= len(payload), start == 0
        expected = "".join(
            each for each in flags if (last or each not in "FP") and (first or each != "C")
        )
        part = payload[start : start + size]
        assert segment == segment_of(part, sequence + start, expected)


@given(payload=st.binary(max_size=300), source_port=st.integers(1, 65535))
def test_partial_checksums_are_completed_as_scapy_computes_them(
    payload: bytes, source_port: int
) -> None:
    for layer, offset in ((UDP(sport=source_port), 6), (ICMPv6EchoRequest(id=source_port), 2)):
        whole = bytes(IPv6(src=A, dst=B) / layer / payload)
        partial = bytearray(whole)
        words = sum(struct.unpack("!16H", whole[8:40])) + len(whole) - 40 + whole[6]
        partial[40 + offset : 42 + offset] = struct.pack("!H", words % 65535)
        header = offload.VNET_HEADER.pack(1, 0, 0, 0, 40, offset)
        assert offload.split(memoryview(header + bytes(partial))) == [whole]


def test_a_udp_checksum_of_zero_is_sent_as_all_ones() -> None:
    # The two octets of payload are chosen so that the sum comes out as zero.
    base = bytearray(bytes(IPv6(src=A, dst=B) / UDP(sport=1, dport=2, chksum=0) / b"\0\0"))
    total = sum(struct.unpack("!16H", base[8:40])) + 10 + 17
    rest = sum(struct.unpack("!5H", base[40:50]))
    base[48:50] = struct.pack("!H", -(total + rest) % 65535)
    base[46:48] = struct.pack("!H", total % 65535)
    header = offload.VNET_HEADER.pack(1, 0, 0, 0, 40, 6)
    (packet,) = offload.split(memoryview(header + bytes(base)))
    assert packet[46:48] == b"\xff\xff"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        offload.PLAIN + bytes(39),
        offload.VNET_HEADER.pack(1, 0, 0, 0, 39, 6) + bytes(100),
        offload.VNET_HEADER.pack(1, 0, 0, 0, 90, 16) + bytes(100),
        offload.VNET_HEADER.pack(1, offload.GSO_TCPV6, 60, 0, 40, 16) + bytes(100),
        offload.VNET_HEADER.pack(1, offload.GSO_TCPV6, 60, 9, 90, 16) + bytes(100),
        offload.VNET_HEADER.pack(1, offload.GSO_TCPV6, 60, 9, 40, 16) + bytes(52) + b"\xf0" * 20,
        offload.VNET_HEADER.pack(0, offload.GSO_TCPV6, 60, 9, 40, 16) + bytes(100),
        offload.VNET_HEADER.pack(1, 1, 60, 9, 40, 16) + bytes(100),
    ],
)
def test_what_cannot_be_cut_is_refused(frame: bytes) -> None:
    with pytest.raises(offload.OffloadError):
        offload.split(memoryview(frame))


@given(st.binary(max_size=200), st.integers(0, 255), st.integers(0, 255))
def test_every_frame_is_cut_or_refused(data: bytes, flags: int, kind: int) -> None:
    try:
        offload.split(memoryview(bytes((flags, kind)) + data))
    except offload.OffloadError:
        return


def written(packets: list[bytes]) -> list[bytes]:
    """Merge, then cut what was merged: what a receiver of the super-packets sees."""
    received: list[bytes] = []
    for buffers in offload.merge(packets):
        received += offload.split(memoryview(b"".join(buffers)))
    return received


def test_a_burst_becomes_one_write_and_is_cut_back_to_the_same_packets() -> None:
    payload = random.Random(1).randbytes(20_000)
    sent = offload.split(memoryview(super_packet(payload, 1342, 2**32 - 5000, "PA")))
    assert len(sent) == 15
    writes = offload.merge(sent)
    assert len(writes) == 1
    assert written(sent) == sent


def test_what_differs_is_not_merged() -> None:
    first = segment_of(b"a" * 100, 1)
    follower = {"sequence": 101, "payload": b"b" * 100}
    assert len(offload.merge([first, segment_of(**follower)])) == 1
    for change in (
        {"sequence": 102},
        {"sequence": 100},
        {"payload": b"b" * 101},
        {"flags": "SA"},
        {"flags": "RA"},
        {"flags": "UA"},
        {"flags": "CA"},
        {"flags": "EA"},
        {"flags": ""},
        {"options": False},
        {"port": 81},
        {"ack": 6},
        {"window": 500},
        {"urgptr": 1},
    ):
        other = segment_of(**{**follower, **change})
        assert len(offload.merge([first, other])) == 2, change
        assert written([first, other]) == [first, other], change


def test_a_wrong_checksum_is_passed_on_untouched() -> None:
    first, second = segment_of(b"a" * 100, 1), segment_of(b"b" * 100, 101)
    broken = second[:-1] + b"!"
    third = segment_of(b"c" * 100, 201)
    assert written([first, broken, third]) == [first, broken, third]
    assert not checksum_is_right(broken)


def test_the_last_segment_ends_a_burst() -> None:
    short = [segment_of(b"a" * 100, 1), segment_of(b"b" * 50, 101), segment_of(b"c" * 50, 151)]
    assert [len(each) for each in offload.merge(short)] == [4, 2]
    pushed = [segment_of(b"a" * 100, 1, "PA"), segment_of(b"b" * 100, 101)]
    assert len(offload.merge(pushed)) == 2


def test_a_super_packet_stays_below_the_length_field() -> None:
    payload = bytes(65_000) + bytes(3_000)
    sent = [segment_of(payload[at : at + 1000], at) for at in range(0, len(payload), 1000)]
    writes = offload.merge(sent)
    assert len(writes) == 2
    assert max(sum(map(len, each)) for each in writes) <= 65535 + 40
    assert written(sent) == sent


segments = st.builds(
    segment_of,
    payload=st.integers(0, 3).map(lambda n: bytes(50 * n)),
    sequence=st.sampled_from([1, 51, 101, 151, 201, 301]),
    flags=st.sampled_from(["A", "A", "A", "PA", "SA", "FA"]),
    options=st.booleans(),
    port=st.sampled_from([80, 81]),
)
datagrams = st.builds(
    lambda n: bytes(IPv6(src=A, dst=B) / UDP(sport=n, dport=9) / bytes(n)), st.integers(1, 40)
)
damaged = st.builds(lambda packet, at: packet[: 40 + at], segments, st.integers(0, 60))


@given(st.lists(st.one_of(segments, datagrams, damaged), max_size=12))
def test_no_flow_is_reordered_and_no_octet_changes(packets: list[bytes]) -> None:
    received = written(packets)
    assert sorted(received) == sorted(packets)
    for port in (b"\x00\x50", b"\x00\x51"):
        flow = [each for each in packets if each[6] == 6 and each[42:44] == port]
        assert [each for each in received if each[6] == 6 and each[42:44] == port] == flow
