"""Packet Too Big about tunnel packets: the HA that gets it is seldom the one that sent."""

import random
from ipaddress import IPv6Address

import pytest

from agents.config import Mode
from agents.core.events import PathMtuEnded, PathMtuLowered
from agents.core.mtu import inner_mtu
from agents.core.path_mtu import HEEDED_PER_SECOND, LASTING, RECENT
from agents.keys import SaMode
from agents.wire import icmpv6, ipv6
from tests.world import ANYCAST, CN, COA, COA2, HOA, World, own_address, udp

ROUTER = IPv6Address("fd00:100:11::1")
NARROW = 1450
LARGE = 1402
MODES = pytest.mark.parametrize("mode", Mode)


def registered(mode: Mode = Mode.HARDENED, **options: object) -> World:
    world = World(mode=mode, **options)  # type: ignore[arg-type]
    world.start_all()
    world.start_mn()
    return world


def large(world: World, octets: int = LARGE) -> bytes:
    """Return an inner packet of so many octets."""
    packet = udp(CN, HOA, bytes(octets - len(udp(CN, HOA, b""))))
    assert len(packet) == octets
    return packet


def sent_by(world: World, index: int, inner: bytes) -> bytes:
    """Give HA `index` an inner packet; return the tunnel packet that it made of it."""
    world.seen.clear()
    world._give(index, inner)
    world._collect()
    (packet,) = [each for each in world.seen if IPv6Address(each[24:40]) == COA]
    return packet


def too_big(packet: bytes, mtu: int = NARROW) -> bytes:
    """What the router says of a tunnel packet; it goes to the packet's source."""
    answer = icmpv6.packet_too_big(ROUTER, packet, mtu)
    assert answer is not None
    assert IPv6Address(answer[24:40]) == ANYCAST
    return answer


def told(world: World, packet: bytes) -> None:
    """Let a Packet Too Big arrive where routing takes it: at HA1."""
    world.inject(packet)
    world.run(0.05)


def limits(world: World) -> dict[int, dict[IPv6Address, int]]:
    return {index: dict(each._context.inner_limits) for index, each in world.has.items()}


def drops(world: World, index: int) -> dict[str, int]:
    found = world.has[index].counters
    return {
        name.removeprefix("dropped.packet-too-big-"): count
        for name, count in found.items()
        if name.startswith("dropped.packet-too-big")
    }


@MODES
def test_the_one_that_sent_is_told_by_the_one_that_was_told(mode: Mode) -> None:
    """HA2's packet was too big, HA1 is nearest to the router: HA2 sends smaller ones, HA1 not."""
    world = registered(mode)
    told(world, too_big(sent_by(world, 2, large(world, inner_mtu(1500, mode)))))
    inside = inner_mtu(NARROW, mode)
    assert limits(world) == {1: {}, 2: {COA: inside}, 3: {}}
    assert world.has[1].counters["packet-too-big.received"] == 1
    assert world.has[1].counters["packet-too-big.relayed"] == 1
    assert world.has[2].counters["packet-too-big.relayed-here"] == 1
    assert world.has[2].counters["packet-too-big.adopted"] == 1
    assert world.found(2, PathMtuLowered) == [PathMtuLowered(COA, NARROW, inside, ROUTER)]
    # What is larger comes back to the correspondent, what fits fits the path.
    world._give(2, large(world, inside + 1))
    world.run(0.01)
    (answer,) = world.to_correspondent
    assert answer[40] == icmpv6.PACKET_TOO_BIG
    assert int.from_bytes(answer[44:48]) == inside
    assert IPv6Address(answer[8:24]) == own_address(2)
    assert world.has[2].counters["dropped.too-big-for-path"] == 1
    assert len(sent_by(world, 2, large(world, inside))) <= NARROW
    assert len(sent_by(world, 1, large(world, inner_mtu(1500, mode)))) > NARROW


def test_the_one_that_sent_is_told_itself() -> None:
    world = registered()
    told(world, too_big(sent_by(world, 1, large(world))))
    assert limits(world) == {1: {COA: inner_mtu(NARROW, Mode.HARDENED)}, 2: {}, 3: {}}
    assert world.has[1].counters["packet-too-big.relayed"] == 0


def test_without_origin_ip_it_is_the_primarys() -> None:
    """A mobile node that knows nothing of ORIGIN_IP is served by its primary (rule 7)."""
    world = World()
    world.start_all()
    world.start_mn(multi_sender=False)
    packet = sent_by(world, 1, large(world))
    world.order = [3, 1, 2]
    told(world, too_big(packet))
    assert world.has[3].counters["packet-too-big.relayed"] == 1
    assert set(limits(world)[1]) == {COA}


def test_another_path_has_its_own() -> None:
    world = registered()
    told(world, too_big(sent_by(world, 1, large(world))))
    world.attach(COA2)
    world.run(0.1)
    world._give(1, large(world))
    world.run(0.01)
    assert world.has[1].counters["dropped.too-big-for-path"] == 0


def test_a_path_that_was_left_is_nobodys() -> None:
    world = registered()
    packet = sent_by(world, 1, large(world))
    world.attach(COA2)
    world.detach(COA)
    world.run(0.1)
    told(world, too_big(packet))
    assert drops(world, 1) == {"unknown": 1}
    assert limits(world)[1] == {}


def test_strangers_do_not_use_up_the_limit() -> None:
    world = registered()
    packet = sent_by(world, 1, large(world))
    for _ in range(10 * HEEDED_PER_SECOND):
        world._give(1, forge(packet, "spi"))
    told(world, too_big(packet))
    assert set(limits(world)[1]) == {COA}


def test_lower_still_is_taken_higher_is_not_and_all_ends_with_time() -> None:
    world = registered()
    for mtu, wanted in ((1450, 1450), (1420, 1420), (1450, 1420), (1420, 1420), (1500, 1420)):
        # As it was sent before the first report: what is larger is not sent any more.
        packet = sent_by(world, 1, large(world, 1300))
        told(world, too_big(packet, mtu))
        assert limits(world)[1] == {COA: inner_mtu(wanted, Mode.HARDENED)}
    assert drops(world, 1) == {"known": 2, "size": 1}
    assert world.has[1].counters["packet-too-big.adopted"] == 2
    world.run(LASTING - 1)
    assert limits(world)[1]
    world.run(2)
    assert not limits(world)[1]
    assert world.found(1, PathMtuEnded) == [PathMtuEnded(COA)]


@pytest.mark.parametrize("mtu", [0, 68, 1279])
def test_less_than_ipv6_promises_changes_nothing(mtu: int) -> None:
    world = registered()
    told(world, too_big(sent_by(world, 1, large(world)), mtu))
    assert limits(world)[1] == {}
    assert drops(world, 1) == {"size": 1}


def test_inner_packets_of_1280_always_pass() -> None:
    """The least that a router may say, or an attacker who sees the packets."""
    world = registered()
    told(world, too_big(sent_by(world, 1, large(world)), ipv6.MINIMUM_MTU))
    assert limits(world)[1] == {COA: ipv6.MINIMUM_MTU}
    assert sent_by(world, 1, large(world, ipv6.MINIMUM_MTU))


# What strangers may say.


FORGED = {
    "number-ahead": "not-sent",
    "number-long-ago": "not-sent",
    "spi": "unknown",
    "care-of": "unknown",
    "source": "unknown",
    "origin": "unknown",
    "protocol": "unknown",
    "checksum": "malformed",
    "truncated": "malformed",
}
"""Which part of a Packet Too Big is wrong, and what the counter says."""

_NUMBER = slice(40 + 24 + 4, 40 + 24 + 8)  # behind IPv6, ORIGIN_IP and the SPI
_QUOTED = 40 + 8


def forge(packet: bytes, part: str) -> bytes:
    """Return a Packet Too Big about `packet` in which one part is not as it was."""
    quoted = bytearray(packet)
    sent = int.from_bytes(packet[_NUMBER])
    match part:
        case "number-ahead":
            quoted[_NUMBER] = (sent + 1).to_bytes(4)
        case "number-long-ago":
            quoted[_NUMBER] = (sent - RECENT).to_bytes(4)
        case "spi":
            quoted[64] ^= 1
        case "care-of":
            quoted[39] ^= 1
        case "origin":
            quoted[62] ^= 0x40
        case "protocol":
            quoted[40] = ipv6.UDP
    answer = bytearray(too_big(bytes(quoted)))
    match part:
        case "checksum":
            answer[60] ^= 1
        case "source":
            answer[_QUOTED + 23] ^= 1
            sign(answer)
        case "truncated":
            del answer[_QUOTED + 40 :]
            sign(answer)
    return bytes(answer)


@pytest.mark.parametrize("part", FORGED)
def test_what_was_not_sent_lately_by_this_home_agent_changes_nothing(part: str) -> None:
    world = registered()
    (outbound,) = [
        each
        for each in world.has[1]._context.associations
        if not each.inbound and each.mode is SaMode.TUNNEL
    ]
    outbound.counter = 10 * RECENT
    packet = sent_by(world, 1, large(world))
    told(world, forge(packet, part))
    assert drops(world, 1) == {FORGED[part]: 1}
    assert limits(world)[1] == {}
    told(world, too_big(packet))
    assert set(limits(world)[1]) == {COA}, "the genuine one is taken"


def sign(answer: bytearray) -> None:
    """Make length and checksum fit what the packet has become."""
    answer[4:6] = (len(answer) - 40).to_bytes(2)
    answer[42:44] = bytes(2)
    source, destination = IPv6Address(bytes(answer[8:24])), IPv6Address(bytes(answer[24:40]))
    checksum = icmpv6.pseudo_header_checksum(source, destination, ipv6.ICMPV6, bytes(answer[40:]))
    answer[42:44] = checksum.to_bytes(2)


def test_a_report_about_an_invalid_peer_ends_here() -> None:
    world = registered()
    packet = sent_by(world, 2, large(world))
    world.kill(2)
    world.run(1)
    told(world, too_big(packet))
    assert drops(world, 1) == {"of-another": 1}


def test_a_relayed_one_is_not_relayed_again() -> None:
    """HA1 is told by HA2 of a packet of HA3: none of its business."""
    world = registered()
    packet = too_big(sent_by(world, 3, large(world)))
    context = world.has[2]._context
    context.send_sealed(context.peers.by_index(1), packet, ipv6.IPV6)
    world.run(0.05)
    assert drops(world, 1) == {"of-another": 1}
    assert limits(world) == {1: {}, 2: {}, 3: {}}


def test_a_flood_costs_no_more_than_its_limit() -> None:
    world = registered()
    report = too_big(sent_by(world, 2, large(world)))
    relayed = world.has[1].counters["packet-too-big.relayed"]
    for _ in range(10 * HEEDED_PER_SECOND):
        world._give(1, report)
    world._collect()
    assert world.has[1].counters["packet-too-big.relayed"] - relayed == HEEDED_PER_SECOND
    assert drops(world, 1)["limit"] == 9 * HEEDED_PER_SECOND


def test_any_octets_in_a_packet_too_big_break_nothing() -> None:
    world = registered()
    genuine = too_big(sent_by(world, 2, large(world)))
    chance = random.Random(7)
    for _ in range(500):
        forged = bytearray(genuine)
        for _ in range(chance.randrange(1, 9)):
            forged[chance.randrange(44, len(forged))] = chance.randrange(256)
        if chance.random() < 0.3:
            del forged[chance.randrange(40, len(forged)) :]
            forged[4:6] = (len(forged) - 40).to_bytes(2)
        world._give(1, bytes(forged))
        world.run(1 / HEEDED_PER_SECOND)
    assert "limit" not in drops(world, 1)
    for each in limits(world).values():
        assert all(limit >= ipv6.MINIMUM_MTU for limit in each.values())
    told(world, genuine)
    world.up()
    world.run(0.1)
    assert world.at_correspondent
