"""Two endpoints establish an IKE SA and its Child SAs in memory."""

from ike_world import IkeWorld

from agents.core.ike.events import ChildEstablished, IkeEstablished
from agents.wire.ike.numbers import ExchangeType


def pairs(world: IkeWorld) -> list[tuple[ChildEstablished, ChildEstablished]]:
    """Return the Child SAs of both ends, matched by SPI."""
    home = {event.child.inbound_spi: event for event in world.ha.of(ChildEstablished)}
    return [(event, home[event.child.outbound_spi]) for event in world.mn.of(ChildEstablished)]


def test_an_ike_sa_and_two_children_in_three_exchanges() -> None:
    world = IkeWorld()
    world.establish()
    assert world.mn.kinds() == ["ike-established", "child-established", "child-established"]
    assert world.ha.kinds() == world.mn.kinds()
    assert [event.initiator for event in world.mn.of(IkeEstablished)] == [True]
    assert [datagram.payload[18] for datagram in world.log] == [
        exchange
        for exchange in (
            ExchangeType.IKE_SA_INIT,
            ExchangeType.IKE_AUTH,
            ExchangeType.CREATE_CHILD_SA,
        )
        for _ in range(2)
    ]
    assert len(pairs(world)) == 2
    for ours, theirs in pairs(world):
        assert ours.child.inbound_key == theirs.child.outbound_key
        assert ours.child.outbound_key == theirs.child.inbound_key
        assert ours.child.inbound_key != ours.child.outbound_key
        assert ours.child.local == theirs.child.remote
        assert ours.child.mode is theirs.child.mode
        assert ours.child.name == theirs.child.name
        assert len(ours.child.inbound_key) == 20
