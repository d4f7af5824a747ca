"""What the hijacker sends is well formed by our own parsers: only the key is wrong."""

from ipaddress import IPv6Address, IPv6Network

import pytest

from agents.keys import Transform
from agents.wire import esp, ipv6
from agents.wire.destination_options import HomeAddress
from agents.wire.errors import WireError
from agents.wire.mobility import (
    BindingAcknowledgement,
    BindingUpdate,
    ExperimentalMessage,
    parse_mobility,
)
from agents.wire.mobility_options import AlternateCareOfAddress
from experiments import hijack_forgeries as forgeries
from experiments import hijacker as hijacker_module
from experiments.hijack_forgeries import Known
from experiments.hijacker import ESP, Drawn, Hijacker

KNOWN = Known(
    home_agent=IPv6Address("fd00:192:168:1::254"),
    home_address=IPv6Address("fd00:192:168:1::100"),
    care_of=IPv6Address("fd00:10:10:10::100"),
    correspondent=IPv6Address("fd00:11:301::1"),
    spi_ack=0x80000001,
    spi_down=0x80000002,
    spi_update=0x01000001,
    spi_up=0x01000002,
    sid=1 << 10 | 3,
    peers=(IPv6Address("fd00:1:1::1"), IPv6Address("fd00:2:2::2")),
    spi_peers=0x04FF0001,
)
ELSEWHERE = IPv6Address("fd00:3::1")


def opened(packet: bytes) -> tuple[int, int, int]:
    """SPI, number and sender id of an ESP packet, none of whose keys is ours."""
    parsed = ipv6.parse(packet)
    assert parsed.next_header == ipv6.ESP
    cipher = esp.make_cipher(Transform.AES_128_GCM, bytes(20))
    with pytest.raises(WireError, match="ICV is wrong"):
        cipher.open(parsed.payload)
    spi, number, iv = parsed.payload[:4], parsed.payload[4:8], parsed.payload[8:16]
    assert iv[2:] == number.rjust(6, b"\0")
    return int.from_bytes(spi), int.from_bytes(number), int.from_bytes(iv[:2])


def test_acknowledgements() -> None:
    clear = ipv6.parse(forgeries.acknowledgement(KNOWN, 7, None))
    assert (clear.source, clear.destination) == (KNOWN.home_agent, KNOWN.care_of)
    assert clear.routing is not None
    assert clear.routing.home_address == KNOWN.home_address
    message = parse_mobility(clear.payload, KNOWN.home_agent, KNOWN.home_address)
    assert isinstance(message, BindingAcknowledgement)
    assert (int(message.status), message.sequence) == (0, 7)
    sealed = forgeries.acknowledgement(KNOWN, 7, 1000)
    assert ipv6.parse(sealed).routing == clear.routing
    assert opened(sealed) == (KNOWN.spi_ack, 1000, KNOWN.sid)


def test_updates() -> None:
    clear = ipv6.parse(forgeries.update(KNOWN, 8, None, ELSEWHERE))
    assert clear.source == ELSEWHERE
    assert clear.destination_options == (HomeAddress(KNOWN.home_address),)
    message = parse_mobility(clear.payload, KNOWN.home_address, KNOWN.home_agent)
    assert isinstance(message, BindingUpdate)
    assert (message.sequence, message.home_registration, message.acknowledge) == (8, True, True)
    assert AlternateCareOfAddress(ELSEWHERE) in message.options
    sealed = forgeries.update(KNOWN, 8, 1000, ELSEWHERE)
    assert ipv6.parse(sealed).destination_options == clear.destination_options
    assert opened(sealed) == (KNOWN.spi_update, 1000, 0)


def test_tunnel_packets() -> None:
    clear = ipv6.parse(forgeries.tunnel_down(KNOWN, None, 0, b"mark"))
    assert clear.next_header == ipv6.IPV6
    inner = ipv6.parse(clear.payload)
    assert (inner.source, inner.destination) == (KNOWN.correspondent, KNOWN.home_address)
    assert inner.payload.endswith(b"mark")
    down = forgeries.tunnel_down(KNOWN, KNOWN.spi_down, 5, b"mark")
    assert opened(down) == (KNOWN.spi_down, 5, KNOWN.sid)
    up = forgeries.tunnel_up(KNOWN, 6, b"mark")
    assert opened(up) == (KNOWN.spi_up, 6, 0)
    assert b"mark" not in down + up
    assert ipv6.parse(up).source == KNOWN.care_of


def test_messages_between_home_agents() -> None:
    clear = ipv6.parse(forgeries.inter_ha(KNOWN, None))
    assert (clear.source, clear.destination) == KNOWN.peers
    assert isinstance(parse_mobility(clear.payload, *KNOWN.peers), ExperimentalMessage)
    sealed = forgeries.inter_ha(KNOWN, 1000)
    assert (ipv6.parse(sealed).source, ipv6.parse(sealed).destination) == KNOWN.peers
    assert opened(sealed) == (KNOWN.spi_peers, 1000, KNOWN.sid)


def test_an_answer_turns_a_question_around() -> None:
    question = Drawn(ipv6.parse(forgeries.tunnel_down(KNOWN, None, 0, b"mark")).payload)
    assert (question.source, question.destination) == (KNOWN.correspondent, KNOWN.home_address)
    answer = ipv6.parse(forgeries.answer(question, b"lie"))
    assert (answer.source, answer.destination) == (KNOWN.home_address, KNOWN.correspondent)
    assert answer.payload.endswith(b"lie")


@pytest.mark.parametrize(
    "packet",
    [forgeries.tunnel_up(KNOWN, 6, b"mark"), forgeries.update(KNOWN, 8, 1000, ELSEWHERE)],
    ids=["tunnel", "update"],
)
def test_what_is_reflected_is_the_same_esp(packet: bytes) -> None:
    drawn = Drawn(packet)
    assert drawn.esp() == ipv6.parse(packet).payload
    back = ipv6.parse(forgeries.reflected(drawn, KNOWN))
    assert (back.source, back.destination) == (KNOWN.home_agent, KNOWN.care_of)
    assert (back.next_header, back.payload) == (ESP, drawn.esp())


class Port:
    """A port of nobody's: gives frames and notes what is sent."""

    def __init__(self, frames: list[tuple[bytes, int]]) -> None:
        self.frames, self.sent = frames, []  # type: ignore[var-annotated]

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[object, ...]]:
        if not self.frames:
            raise BlockingIOError
        frame, kind = self.frames.pop(0)
        return frame, ("h3-t3", 0, kind, 1, b"")

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)


def hijacker_at(port: Port) -> Hijacker:
    found = object.__new__(Hijacker)
    found._target = IPv6Network("fd00:192:168::/48")
    found._port, found._own, found._next_hop = port, b"\2own__", b"\2next_"  # type: ignore[assignment]
    found.drawn, found.injected = [], 0
    return found


def frame(packet: bytes) -> bytes:
    return bytes(12) + b"\x86\xdd" + packet


def test_only_what_arrives_for_the_target_is_drawn() -> None:
    up = forgeries.tunnel_up(KNOWN, 6, b"mark")
    down = forgeries.tunnel_down(KNOWN, 1, 5, b"mark")
    other = bytes(12) + b"\x08\x00" + up
    port = Port([(frame(down), 0), (frame(up), 4), (other, 0), (frame(up), 0)])
    hijacker = hijacker_at(port)
    hijacker.read()
    assert [each.octets for each in hijacker.drawn] == [up]


def test_a_hijacker_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    up = forgeries.tunnel_up(KNOWN, 6, b"mark")
    monkeypatch.setattr(hijacker_module, "MOST_DRAWN", 2)
    monkeypatch.setattr(hijacker_module, "MOST_INJECTED", 2)
    port = Port([(frame(up), 0)] * 3)
    hijacker = hijacker_at(port)
    hijacker.read()
    assert len(hijacker.drawn) == 2
    hijacker.inject(up)
    hijacker.inject(up)
    with pytest.raises(RuntimeError, match="more than 2 packets"):
        hijacker.inject(up)
    assert [each[14:] for each in port.sent] == [up, up]
    assert {each[:12] for each in port.sent} == {b"\2next_\2own__"}
