"""Random verbs at both ends over a bad network; afterwards both ends agree on everything."""

import os
import random
from collections.abc import Callable

import ike_samples as samples
import pytest
from ike_world import (
    COA,
    HA,
    HA_ID,
    MN_ID,
    PAYLOAD,
    SIGNALLING,
    End,
    IkeWorld,
    home_config,
    mirrored,
    mobile_config,
)

from agents.core.ike.endpoint import Datagram
from agents.core.ike.events import (
    ChildDeleted,
    ChildEstablished,
    ChildRekeyed,
    IkeDeleted,
    IkeEstablished,
    IkeFailed,
    IkeRekeyed,
)
from agents.core.ike.sa import IkeSa
from agents.core.ike.states import ChildState, IkeState
from agents.wire.errors import WireError
from agents.wire.ike.message import parse_chain, parse_message, serialize_chain, serialize_message

ROUNDS = 25
VERBS = ("create", "rekey", "rekey", "delete", "live", "both", "end", "renew", "both-renew")


class Chaos:
    """A world, a source of chance, and what may happen."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        both = (PAYLOAD, SIGNALLING), (mirrored(PAYLOAD), mirrored(SIGNALLING))
        size = self.chance.choice([1280, 220])
        self.world = IkeWorld(
            mobile_config(*both[0], fragment_size=size),
            home_config(*both[1], fragment_size=size),
            seed=seed,
        )
        self.rate = self.chance.choice([0.0, 0.1, 0.3])
        self.world.filter = self.weather

    def weather(self, datagram: Datagram) -> list[tuple[float, Datagram]]:
        found = []
        if self.chance.random() >= self.rate:
            found.append((self.chance.random() * self.rate * 3.0, datagram))
        if self.chance.random() < self.rate:
            found.append((self.chance.random() * 10.0, datagram))
        return found

    def act(self) -> None:
        """Let one end do something."""
        world = self.world
        end, peer = self.chance.choice([(world.mn, HA_ID), (world.ha, MN_ID)])
        sa = end.engine.find(peer)
        if sa is None:
            local, remote = (COA, HA) if end is world.mn else (HA, COA)
            if not end.engine.sas():
                end.engine.initiate(peer, local, remote, world.now)
            return
        child = self.chance.choice(sa.children) if sa.children else None
        verb = self.chance.choice(VERBS)
        if verb == "create" and len(sa.children) < 8:
            wanted = self.chance.choice([PAYLOAD, SIGNALLING])
            end.engine.create_child(sa, wanted if end is world.mn else mirrored(wanted), world.now)
        elif verb == "live":
            end.engine.check_liveness(sa, world.now)
        elif verb == "renew":
            end.engine.rekey_ike(sa, world.now)
        elif verb == "both-renew":
            self.both_renew()
        elif verb == "end" and self.chance.random() < 0.2:
            end.engine.delete(sa, world.now)
        elif child is not None and verb == "rekey":
            end.engine.rekey_child(sa, child.inbound_spi, world.now)
        elif child is not None and verb == "delete":
            end.engine.delete_child(sa, child.inbound_spi, world.now)
        elif child is not None and verb == "both":
            self.both_rekey(child.inbound_spi, child.outbound_spi, end)

    def both_renew(self) -> None:
        for each in (self.world.mn, self.world.ha):
            for sa in each.engine.sas():
                if sa.established:
                    each.engine.rekey_ike(sa, self.world.now)

    def both_rekey(self, ours: int, theirs: int, end: End) -> None:
        other = self.world.ha if end is self.world.mn else self.world.mn
        for each, spi in ((end, ours), (other, theirs)):
            for sa in each.engine.sas():
                if sa.established:
                    each.engine.rekey_child(sa, spi, self.world.now)


def pairs(end: End) -> dict[str, IkeSa]:
    return {str(sa): sa for sa in end.engine.sas()}


def reported(end: End, sa: IkeSa) -> set[int]:
    """Return the inbound SPIs that the host believes to be there, from events alone."""
    there: set[int] = set()
    for event in end.events:
        if event.sa.heir is not sa:
            continue
        if isinstance(event, ChildEstablished | ChildRekeyed):
            assert event.child.inbound_spi not in there
            there.add(event.child.inbound_spi)
        elif isinstance(event, ChildDeleted):
            assert event.spi in there
            there.remove(event.spi)
    return there


def living(end: End) -> list[IkeSa]:
    """Return the IKE SAs that the host believes to be there, from events alone."""
    there: list[IkeSa] = []
    for event in end.events:
        if isinstance(event, IkeEstablished):
            there.append(event.sa)
        elif isinstance(event, IkeRekeyed):
            assert event.successor not in there
            there.append(event.successor)
        elif isinstance(event, IkeDeleted):
            there.remove(event.sa)
    return there


def check(world: IkeWorld) -> int:
    """Check what has to hold after a quiet time; return the number of Child SAs."""
    ours, theirs = pairs(world.mn), pairs(world.ha)
    assert ours.keys() == theirs.keys()
    count = 0
    for name, sa in ours.items():
        other = theirs[name]
        assert sa.established
        assert other.established
        assert not sa.outstanding
        assert not other.outstanding
        there = {child.outbound_spi: child for child in other.children}
        assert {child.inbound_spi for child in sa.children} == set(there)
        for child in sa.children:
            pair = there[child.inbound_spi]
            assert (child.inbound_key, child.outbound_key) == (pair.outbound_key, pair.inbound_key)
            assert (child.local, child.remote, child.name) == (pair.remote, pair.local, pair.name)
        count += len(sa.children)
    for end in (world.mn, world.ha):
        for sa in end.engine.sas():
            assert reported(end, sa) == {child.inbound_spi for child in sa.children}
            for record in sa.children_by_spi.values():
                assert record.state in (ChildState.INSTALLED, ChildState.REKEYED)
        context = end.engine._context
        assert context.child_spis == {
            child.inbound_spi for sa in context.sas.values() for child in sa.children
        }
        assert len(context.half_open) == 0
        left = [sa for sa in context.sas.values() if sa.state is not IkeState.DEAD]
        assert left == end.engine.sas()
        assert len(context.reassembly) == 0
        for event in end.events:
            assert not isinstance(event, IkeFailed) or event.reason == "timeout"
            if isinstance(event, IkeDeleted):
                over = ("deleted", "by-peer") if event.sa.successor is None else ("rekeyed",)
                assert event.reason in over
        assert set(map(str, living(end))) == pairs(end).keys()
    return count


@pytest.mark.parametrize("seed", range(30))
def test_both_ends_agree_after_anything(seed: int) -> None:
    chaos = Chaos(seed)
    world = chaos.world
    for _ in range(ROUNDS):
        chaos.act()
        world.run(chaos.chance.choice([0.0, 0.0, 0.02, 0.3, 5.0]))
    world.filter = lambda datagram: [(0.0, datagram)]
    world.run(300.0)  # longer than a request is repeated
    check(world)
    assert world.mn.of(IkeEstablished)
    assert keys(world.mn)
    assert keys(world.ha)


def keys(end: End) -> list[bytes]:
    """Return every outbound key that the host was ever given: none twice."""
    found = [
        event.child.outbound_key
        for event in end.events
        if isinstance(event, ChildEstablished | ChildRekeyed)
    ]
    assert len(set(found)) == len(found)
    return found


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_both_ends_agree_after_anything_many_times() -> None:
    for seed in range(1000, 1000 + int(os.environ.get("IKE_CHAOS", "2000"))):
        test_both_ends_agree_after_anything(seed)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_million_damaged_messages() -> None:
    """Each is a message or a refusal, whatever was changed, cut or put together."""
    chance = random.Random(4306)
    whole = [serialize_message(*message) for message in samples.MESSAGES.values()]
    whole += samples.fragments()
    chains = [serialize_chain(chain) for chain in (*samples.CHAINS.values(), samples.OTHERS)]
    taken = 0
    for _ in range(500_000):
        octets = bytearray(chance.choice(whole))
        first, chain = chance.choice(chains)
        inner = bytearray(chain)
        for target in (octets, inner):
            for _ in range(chance.randint(1, 3)):
                target[chance.randrange(len(target))] = chance.randrange(256)
            del target[chance.randint(len(target) // 2, len(target)) :]
        octets[24:28] = len(octets).to_bytes(4)
        taken += survives(lambda octets=octets: parse_message(bytes(octets)))
        taken += survives(lambda first=first, inner=inner: parse_chain(first, bytes(inner)))
    assert 1000 < taken < 999_000


def survives(parse: Callable[[], object]) -> bool:
    """Return whether something was parsed; any other error than a refusal fails the test."""
    try:
        parse()
    except WireError:
        return False
    return True
