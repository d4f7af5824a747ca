"""Random histories with IKE as the source of keys: whoever lost the SAs agrees on others.

They run in memory, in virtual time, from a seed. The state machine (`test_state_machine.py`) checks
more, but with a key exchange that never dies half-way.
"""

import contextlib
from itertools import combinations

import pytest
from world import COA, COA2, HOA, World

from agents.config import HomeAgentTimers
from agents.core.events import Left
from agents.core.home_agent_list import LEFT
from agents.core.leaving import LeaveImpossible
from agents.core.renewal import RenewalImpossible

LEAVING = HomeAgentTimers(leave_least=0.3, leave_quiet=0.1, leave_most=1.0)
STEPS = 40
SETTLED = 3.0
COMES_BACK = 60.0
"""Seconds until a mobile node is served again: refresh, 7 s unanswered, three attempts at most."""


class History:
    """One random history: SAs are renewed all the time, home agents die or are put out."""

    def __init__(self, seed: int, *, peer_ike: bool = False) -> None:
        """With `peer_ike` home agents agree on theirs too, and renew them all the time."""
        self.world = World(
            3,
            seed=seed,
            ike=True,
            peer_ike=peer_ike,
            sequence_soft_limit=60,
            sequence_limit=2000,
            peer_soft_limit=150,
            timers=LEAVING,
        )
        self.world.start_all()
        self.world.start_mn(key_management=True, lifetime=20.0)
        self.world.trouble = self._trouble
        self.put_out: set[int] = set()
        self.loss = 0.0
        self.twice = 0.0
        self.at = COA
        self.versions: dict[tuple[int, int], tuple[object, int, int]] = {}

    def run(self) -> None:
        random = self.world.random
        moves = [self.kill, self.restart, self.cut, self.heal, self.move, self.weather]
        moves += [self.renew, self.renew, self.isolate]
        if self.world.peer_ike:
            moves += [self.join, self.leave]
        for _ in range(STEPS):
            random.choice(moves)()
            for _ in range(random.randrange(20)):
                self.traffic()
                self.world.run(random.random() * 0.02)
                self._watch()
            self.world.run(random.random() * 0.4)
            self._watch()

    def settle(self) -> None:
        """Everything is repaired; then a stated bound passes."""
        self.loss = self.twice = 0.0
        self.world.cut = set()
        for index in self.world.indexes:
            if index not in self.world.has:
                self._start(index)
        self.world.run(SETTLED)

    def kill(self) -> None:
        if len(self.world.has) > 1:
            self.world.kill(self.world.random.choice(sorted(self.world.has)))

    def restart(self) -> None:
        for index in self.world.indexes:
            if index not in self.world.has:
                self._start(index)
                return

    def isolate(self) -> None:
        """One is put out by those that live, and lives on until somebody kills it (rule 13)."""
        if len(self.world.has) > 1:
            index = self.world.random.choice(sorted(self.world.has))
            self.world.isolate(index)
            self.world.advertising.discard(index)
            self.put_out.add(index)
            self.world.run(self.world.random.random() * 0.1)
            self.world.kill(index)

    def _start(self, index: int) -> None:
        """Start one; the operator lets it in again where it was put out, and has it let in others.

        Not before its successor's incarnation speaks: `readmit` demands that.
        """
        self.put_out.discard(index)
        self.world.start_ha(index)
        for each in range(1, 5):
            if each not in self.put_out:
                self.world.readmit(each)

    def join(self) -> None:
        """By its certificate; where an operator has dismissed it, also by an operator's word."""
        gone = [each for each in (1, 2, 3, 4) if each not in self.world.indexes]
        if not gone:
            return
        index = gone[0]
        unwanted = [
            other
            for other, engine in self.world.has.items()
            if engine._context.peers.dismissed.get(index, (None, LEFT))[1] != LEFT
        ]
        self.world.join(index, introduce=unwanted)

    def leave(self) -> None:
        """One goes; those that do not hear of it have an operator."""
        world = self.world
        index = world.random.choice(sorted(world.has))
        if len(world.indexes) < 3:
            return
        try:
            world.leave(index)
        except LeaveImpossible:
            return
        for _ in range(80):
            self.traffic()
            world.run(0.1)
            if world.found(index, Left):
                break
        if not world.found(index, Left):
            assert world.has[index].status()["leaving"] == "here"  # nobody else is left
            return
        world.events[index].clear()
        world.gone(index)
        for engine in world.has.values():
            with contextlib.suppress(ValueError):
                engine.dismiss(index, "operator", world.now)
        world._collect()

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
        self.world.order = self.world.random.sample(self.world.indexes, len(self.world.indexes))

    def renew(self) -> None:
        world = self.world
        for engine in world.has.values():
            # A revocation that fails leaves no SA: then the mobile node would have to begin.
            whole = not world.cut and not self.loss
            verb = world.random.choice([engine.renew, engine.revoke if whole else engine.renew])
            with contextlib.suppress(RenewalImpossible):
                verb(HOA, world.now)

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


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("peer_ike", [False, True])
def test_histories_with_ike(seed: int, peer_ike: bool) -> None:
    """I1 and I3, and that it always comes back, with one generation everywhere."""
    history = History(seed, peer_ike=peer_ike)
    history.run()
    history.settle()
    world = history.world
    assert max(world.sealed.values()) == 1
    world.run(COMES_BACK)
    world.up()
    world.run(0.1)
    (primary,) = world.primaries()
    world.has[int(str(primary)[2:])].renew(HOA, world.now)
    world.run(15.0)
    held = [
        {(each["spi"], each["state"]) for each in world.has[index].sas()} for index in world.indexes
    ]
    assert all(each == held[0] for each in held)
    assert len(held[0]) == 4
    before = len(world.at_mobile), len(world.at_correspondent)
    for index in world.indexes:
        world.down(index)
    world.up()
    world.run(0.1)
    arrived = len(world.at_mobile) - before[0], len(world.at_correspondent) - before[1]
    assert arrived == (len(world.indexes), 1)
    for index in world.indexes:
        peers = world.has[index].status()["peers"]
        assert peers == {f"HA{each}": "up" for each in world.indexes if each != index}
    assert max(world.sealed.values()) == 1
    assert all(engine.status()["open_exchanges"] == 0 for engine in world.has.values())


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 400))
@pytest.mark.parametrize("peer_ike", [False, True])
def test_many_histories_with_ike(seed: int, peer_ike: bool) -> None:
    test_histories_with_ike(seed, peer_ike)
