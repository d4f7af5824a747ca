"""Invariants over random histories: home agents die, restart, are cut off; packets get lost.

The histories run in memory, in virtual time, from a seed; what must hold is in each assertion.
"""

import contextlib
from ipaddress import IPv6Address
from itertools import combinations
from typing import Any

import pytest
from world import ANYCAST, COA, COA2, HOA, World, own_address

from agents.config import Mode
from agents.core.renewal import RenewalImpossible
from agents.wire.destination_options import OriginIp, serialize_destination_options

STEPS = 60
SEEDS = range(12)


class History:
    """One random history; `moves` may be cut down to leave out what a test does not want."""

    def __init__(self, seed: int, mode: Mode = Mode.HARDENED, **options: Any) -> None:
        self.world = World(3, mode, seed=seed, **options)
        self.world.start_all()
        self.world.start_mn()
        self.world.trouble = self._trouble
        self.loss = 0.0
        self.twice = 0.0
        self.at = COA
        self.versions: dict[tuple[int, int], tuple[object, int, int]] = {}
        self.moves = [self.kill, self.restart, self.cut, self.heal, self.move, self.weather]

    def run(self, steps: int = STEPS) -> None:
        random = self.world.random
        for _ in range(steps):
            random.choice(self.moves)()
            for _ in range(random.randrange(20)):
                self.traffic()
                self.world.run(random.random() * 0.02)
                self._watch()
            self.world.run(random.random() * 0.4)
            self._watch()

    def settle(self) -> None:
        """Everything is repaired; then a stated bound of 3 s passes."""
        self.loss = self.twice = 0.0
        self.world.cut = set()
        for index in self.world.indexes:
            if index not in self.world.has:
                self.world.start_ha(index)
        self.world.run(3.0)

    def kill(self) -> None:
        """Kill any home agent but the last that acknowledged what it knows: I4 promises no more."""
        victim = self.world.random.choice(sorted(self.world.has))
        known = self._knows(victim)
        left = [self._knows(index) for index in self.world.has if index != victim]
        if known is None or known in left:
            self.world.kill(victim)

    def _knows(self, index: int) -> tuple[object, ...] | None:
        """Return the version of the binding at an HA that can also serve it."""
        binding = self.world.binding(index)
        if binding is None or binding["state"] != "bound" or not self.world.has[index].sas():
            return None
        return binding["registration"], binding["sequence"]

    def restart(self) -> None:
        for index in self.world.indexes:
            if index not in self.world.has:
                self.world.start_ha(index)
                return

    def cut(self) -> None:
        pairs = [frozenset(pair) for pair in combinations(self.world.indexes, 2)]
        self.world.cut = {pair for pair in pairs if self.world.random.random() < 0.5}

    def heal(self) -> None:
        self.world.cut = set()

    def move(self) -> None:
        old, self.at = self.at, COA2 if self.at == COA else COA
        self.world.attach(self.at)
        self.world.detach(old)

    def weather(self) -> None:
        self.loss, self.twice = self.world.random.choice([(0, 0), (0.1, 0), (0, 0.1), (0.1, 0.1)])
        self.world.order = self.world.random.sample(self.world.indexes, 3)

    def traffic(self) -> None:
        self.world.up(self.world.random.randbytes(8))
        self.world.down(self.world.random.choice(sorted(self.world.has)))

    def _trouble(self, packet: bytes) -> list[bytes]:
        if self.world.random.random() < self.loss:
            return []
        return [packet] * (2 if self.world.random.random() < self.twice else 1)

    def _watch(self) -> None:
        """I5: within an instance and an incarnation, sequence and epoch never go back."""
        for index in self.world.has:
            binding = self.world.binding(index)
            if binding is None:
                continue
            key = (index, self.world.incarnations[index])
            registration, sequence, epoch = self.versions.get(key, (None, 0, 0))
            now = (binding["registration"], binding["sequence"], binding["epoch"])
            assert isinstance(now[1], int)
            assert isinstance(now[2], int)
            if registration == now[0]:
                assert (now[1] - sequence) & 0xFFFF < 0x8000
                assert now[2] >= epoch
            self.versions[key] = now  # type: ignore[assignment]


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


def test_history_is_the_same_for_the_same_seed() -> None:
    def fingerprint() -> object:
        history = History(3)
        history.run(10)
        world = history.world
        return world.now, len(world.seen), hash(tuple(world.seen)), sorted(world.sealed)[-1]

    assert fingerprint() == fingerprint()


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


class Renewing(History):
    """Histories in which SAs are renewed all the time, by numbers and by word."""

    def __init__(self, seed: int, mode: Mode = Mode.HARDENED) -> None:
        super().__init__(seed, mode, key_exchange=True, sequence_soft_limit=60, sequence_limit=2000)
        self.moves += [self.renew, self.renew, self.change_fate]

    def _knows(self, index: int) -> tuple[object, ...] | None:
        """The keys too: those that a home agent renews while it is cut off can die with it."""
        known = super()._knows(index)
        newest = self.world.has[index]._context.associations.generation(HOA)
        return None if known is None else (*known, newest)

    def renew(self) -> None:
        world = self.world
        for engine in world.has.values():
            # A revocation that fails leaves no SA: then the mobile node would have to begin.
            whole = world.fate == "agreed" and not world.cut and not self.loss
            verb = world.random.choice([engine.renew, engine.revoke if whole else engine.renew])
            with contextlib.suppress(RenewalImpossible):
                verb(HOA, world.now)

    def change_fate(self) -> None:
        self.world.fate = self.world.random.choice(
            ["agreed", "agreed", "failed", "request-lost", "answer-lost"]
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_histories_with_renewals(seed: int) -> None:
    """I1, I3 and I4 as above, over many generations; then one generation, everywhere the same."""
    history = Renewing(seed)
    history.run(40)
    world = history.world
    world.fate = "agreed"
    history.settle()
    assert max(world.sealed.values()) == 1
    world.run(8.0)
    world.up()
    world.run(0.1)
    primary = next(iter(world.primaries()))
    assert len(world.primaries()) == 1
    world.has[int(str(primary)[2:])].renew(HOA, world.now)
    world.run(15.0)
    held = [
        {(each.spi, str(each.state)) for each in world.has[index]._context.associations}
        for index in world.indexes
    ]
    assert held[0] == held[1] == held[2]
    assert len(held[0]) == 4
    before = len(world.at_mobile), len(world.at_correspondent)
    for index in world.indexes:
        world.down(index)
    world.up()
    world.run(0.1)
    assert (len(world.at_mobile), len(world.at_correspondent)) == (before[0] + 3, before[1] + 1)
    assert max(world.sealed.values()) == 1
    assert all(engine.status()["open_exchanges"] == 0 for engine in world.has.values())


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 400))
def test_many_histories_with_renewals(seed: int) -> None:
    test_histories_with_renewals(seed)
