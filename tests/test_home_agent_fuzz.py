"""Arbitrary and mutated packets: never an exception, never state; and the agent still lives."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from world import ANYCAST, COA, HOA, World, own_address

from agents.wire import inter_ha, ipv6

WORLD = World(2)
WORLD.start_all()
WORLD.start_mn()
WORLD.up()
WORLD.down(1)
WORLD.run(0.3)
SAMPLES = [
    packet for packet in WORLD.seen if packet[24:40] in (ANYCAST.packed, own_address(1).packed)
][-40:]
addresses = st.sampled_from([ANYCAST, HOA, COA, own_address(1), own_address(2)])


def state() -> object:
    engine = WORLD.has[1]
    return [(each["home_address"], each["sequence"], each["primary"]) for each in engine.bindings()]


def still_lives() -> None:
    """The positive probe after packets that get no answer (test matrix)."""
    engine, before = WORLD.has[1], len(WORLD.at_mobile)
    engine.packets_to_send(WORLD.now)
    WORLD.down(1)
    WORLD.run(0.01)
    assert len(WORLD.at_mobile) == before + 1
    WORLD.seen.clear()


def give(packet: bytes) -> None:
    before = state()
    WORLD.has[1].receive(packet, WORLD.now)
    assert state() == before
    still_lives()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_any_octets(octets: bytes) -> None:
    give(octets)


@settings(max_examples=300, deadline=None)
@given(addresses, addresses, st.integers(0, 255), st.binary(max_size=120))
def test_any_payload(source: object, destination: object, header: int, payload: bytes) -> None:
    give(ipv6.build(source, destination, header, payload))  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SAMPLES), st.integers(0, 10_000), st.integers(1, 255))
def test_one_octet_changed(packet: bytes, where: int, change: int) -> None:
    octets = bytearray(packet)
    octets[where % len(octets)] ^= change
    give(bytes(octets))


def test_every_truncation() -> None:
    before = state()
    for packet in SAMPLES[:5]:
        for length in range(len(packet)):
            WORLD.has[1].receive(packet[:length], WORLD.now)
    assert state() == before
    still_lives()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100), st.integers(0, 255))
def test_any_octets_under_a_peers_key(payload: bytes, next_header: int) -> None:
    """A peer that is out of its mind: authentic, and still no exception."""
    peer = WORLD.has[2]._context.peers.by_index(1)
    assert peer is not None
    context = WORLD.has[2]._context
    context.send_sealed(peer, payload, next_header)
    give(context.to_send.pop())


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([each.value for each in inter_ha.Subtype]), st.binary(max_size=80))
def test_any_body_of_every_subtype_under_a_peers_key(subtype: int, body: bytes) -> None:
    from agents.wire import mobility

    message = mobility.ExperimentalMessage(
        bytes((subtype, 0, 0, 7, 0, 1, 0, 0)) + body + bytes(-len(body) % 8)
    )
    header = mobility.serialize_mobility(message, own_address(2), own_address(1))
    context = WORLD.has[2]._context
    peer = context.peers.by_index(1)
    assert peer is not None
    context.send_sealed(peer, header, ipv6.MOBILITY)
    give(context.to_send.pop())
