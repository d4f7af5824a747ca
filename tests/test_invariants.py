"""Attacks on shared security associations, and what each mode makes of them (I1, I2, I6; D5, D6).

What must hold in any history is for the state machine: `test_state_machine.py`.
"""

from ipaddress import IPv6Address

import pytest
from world import ANYCAST, COA, COA2, HOA, World, own_address

from agents.config import Mode
from agents.wire.destination_options import OriginIp, serialize_destination_options


@pytest.mark.parametrize("mode", [Mode.HARDENED, Mode.DRAFT, Mode.DRAFT_CBC])
def test_no_fresh_packet_is_taken_for_a_replay(mode: Mode) -> None:
    """I2, second half: equal numbers of several home agents are no replays (D1)."""
    world = World(3, mode)
    world.start_all()
    world.start_mn()
    for number in range(300):
        world.down(1 + number % 3, number.to_bytes(2, "big"))
        world.run(0.001)
    world.run(0.1)
    assert len(world.at_mobile) == 300
    assert world.mn is not None
    assert not [name for name in world.mn.counters if name.startswith("dropped.")]


def relabelled(packet: bytes, origin: IPv6Address) -> bytes:
    """Return the tunnel packet with another ORIGIN_IP: what anyone on the path can do."""
    option = serialize_destination_options(packet[40], [OriginIp(origin)])
    return packet[:40] + option + packet[40 + len(option) :]


@pytest.mark.parametrize(
    ("mode", "accepted"), [(Mode.HARDENED, 0), (Mode.DRAFT, 100), (Mode.DRAFT_CBC, 100)]
)
def test_relabelled_replays(mode: Mode, accepted: int) -> None:
    """D5, I2: each packet of HA1 replayed as HA2's. The draft takes all of them, we take none."""
    world = World(2, mode)
    world.start_all()
    world.start_mn()
    world.seen.clear()
    for number in range(100):
        world.down(1, bytes([number]))
    world.run(0.05)
    recorded = [each for each in world.seen if IPv6Address(each[24:40]) == COA]
    before = len(world.at_mobile)
    for packet in recorded:
        world.inject(relabelled(packet, own_address(2)))
    world.run(0.1)
    assert len(world.at_mobile) - before == accepted


@pytest.mark.parametrize(
    ("mode", "silenced"), [(Mode.HARDENED, False), (Mode.DRAFT, True), (Mode.DRAFT_CBC, True)]
)
def test_one_far_ahead_packet_silences_a_home_agent(mode: Mode, silenced: bool) -> None:
    """D5: HA1's packet number 100,000, relabelled as HA2's, moves HA2's window."""
    world = World(2, mode)
    world.start_all()
    world.start_mn()
    for each in world.has[1]._context.associations:
        if not each.inbound:
            each.counter = 100_000
    world.seen.clear()
    world.down(1)
    world.run(0.01)
    (packet,) = [each for each in world.seen if IPv6Address(each[24:40]) == COA]
    world.inject(relabelled(packet, own_address(2)))
    world.run(0.01)
    before = len(world.at_mobile)
    for number in range(50):
        world.down(2, bytes([number]))
    world.run(0.1)
    assert len(world.at_mobile) - before == (0 if silenced else 50)


def test_draft_mode_repeats_nonces_and_hardened_mode_does_not() -> None:
    """D6: two senders, one AES-GCM key."""
    for mode, collide in ((Mode.DRAFT, True), (Mode.HARDENED, False)):
        world = World(2, mode)
        world.start_all()
        world.start_mn()
        world.seen.clear()
        for _ in range(20):
            world.down(1)
            world.down(2)
        world.run(0.05)
        # SPI, sequence number and IV stand behind 40 octets of IPv6 and 24 of ORIGIN_IP.
        nonces = [
            (each[64:68], each[72:80])
            for each in world.seen
            if IPv6Address(each[24:40]) == COA and each[40] == 50
        ]
        assert len(nonces) == 40
        assert (len(set(nonces)) < 40) is collide


def test_replayed_binding_updates_change_nothing_anywhere() -> None:
    """I2: zero, at every home agent, also after a takeover."""
    world = World(3)
    world.start_all()
    world.start_mn()
    world.attach(COA2)
    world.detach(COA)
    world.run(0.5)
    recorded = [each for each in world.seen if each[24:40] == ANYCAST.packed and each[6] == 60]
    assert len(recorded) == 2
    world.kill(1)
    for order in ([2, 3], [3, 2]):
        world.order = order
        for packet in recorded:
            world.inject(packet)
        world.run(0.5)
    for index in (2, 3):
        binding = world.binding(index)
        assert binding is not None
        assert binding["care_of_address"] == str(COA2)
    assert world.primaries() == {"HA1"}


def test_home_address_is_the_only_inner_source() -> None:
    """I6's other side: nobody sends as another through the tunnel."""
    world = World(2)
    world.start_all()
    world.start_mn()
    other = IPv6Address("fd00:192:168:1::101")
    assert world.mn is not None
    from world import CN, udp

    world.mn.encapsulate(udp(other, CN), world.now)
    world.run(0.1)
    assert world.at_correspondent == []
    assert [name for name in world.mn.counters if name.startswith("dropped.")]
    assert other != HOA
