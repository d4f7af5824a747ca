"""A stateful machine: home agents and two mobile nodes in memory, anything in any order.

Registration, movement, expiry; packets lost, repeated, late, replayed; agents killed, restarted,
paused; home agents that join, leave, are cut off from one another; new keys. `reference_model`
checks I1, I2, I4 and I5 after everything that an engine does, and I3 once all is repaired and the
bound has passed.
"""

import contextlib
import itertools
import os
from collections.abc import Callable
from ipaddress import IPv6Address
from itertools import combinations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from reference_model import Reference, WatchedWorld
from world import COA, COA2, home_address, own_address

from agents.config import HomeAgentTimers, MobileNodeTimers
from agents.core.events import Left
from agents.core.generations import IDLE_TIME, LARVAL_TIME
from agents.core.leaving import LeaveImpossible
from agents.core.mobile_registration import State
from agents.core.renewal import RenewalImpossible

INDEXES = (1, 2, 3, 4)
"""Home agents; the last one is not there at first, and each may go (rule 6)."""
MOBILES = (1, 2)
LIFETIME = 8.0
BOUND = 3.0
"""Seconds after a heal within which I3 holds: 3 HELLO intervals, tables, and their repetitions."""

TIMERS = MobileNodeTimers(
    first_registration_timeout=0.3, acknowledgement_timeout=0.2, max_acknowledgement_timeout=1.6
)
LEAVING = HomeAgentTimers(leave_least=0.3, leave_quiet=0.1, leave_most=1.0)
PLACES = {1: (COA, COA2), 2: (COA + 1, COA2 + 1)}
OWN = {own_address(index).packed for index in INDEXES}
SHORT = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=True,
    print_blob=True,
)
LONG_STEPS = int(os.environ.get("MACHINE_STEPS", "100000"))

home_agents = st.sampled_from(INDEXES)
mobile_nodes = st.sampled_from(MOBILES)
counts = st.integers(0, 6)


class Multihoming(RuleBasedStateMachine):
    """What people, agents and networks may do; `steps` counts them over all examples."""

    steps = 0

    @initialize(seed=st.integers(0, 2**16), short_of_numbers=st.booleans())
    def begin(self, seed: int, short_of_numbers: bool) -> None:
        limits = {"sequence_soft_limit": 60, "sequence_limit": 2000} if short_of_numbers else {}
        self.world = world = WatchedWorld(seed, timers=LEAVING, **limits)
        assert world.reference is not None
        self.reference: Reference = world.reference
        self.tags = itertools.count(1)
        self.spis = itertools.count(1)
        self.loss = {"between": 0.0, "access": 0.0}
        self.twice = {"between": 0.0, "access": 0.0}
        self.late = {"between": 0.0, "access": 0.0}
        world.trouble, world.delay = self._trouble, self._delay
        world.start_all(0.5)
        self.at: dict[int, IPv6Address | None] = {}
        for number in MOBILES:
            self.at[number] = PLACES[number][0]
            self._fresh_start(number, 1)
        world.run(0.3)

    def teardown(self) -> None:
        if hasattr(self, "reference"):
            self.settle()

    # Networks.

    def _channel(self, packet: bytes) -> str:
        return "between" if packet[24:40] in OWN else "access"

    def _trouble(self, packet: bytes) -> list[bytes]:
        channel = self._channel(packet)
        if self.world.random.random() < self.loss[channel]:
            return []
        if self.world.random.random() < self.twice[channel]:
            self.reference.copied(packet, 1)
            return [packet, packet]
        return [packet]

    def _delay(self, packet: bytes) -> float:
        late = self.late[self._channel(packet)]
        return 0.001 + (self.world.random.random() * 0.03 if late else 0.0)

    @rule(
        channel=st.sampled_from(["between", "access"]),
        loss=st.sampled_from([0.0, 0.1, 0.5]),
        twice=st.sampled_from([0.0, 0.3]),
        late=st.booleans(),
    )
    def weather(self, channel: str, loss: float, twice: float, late: bool) -> None:
        self.loss[channel], self.twice[channel], self.late[channel] = loss, twice, late
        self._pass(0.01)

    @rule(order=st.permutations(INDEXES))
    def reroute(self, order: list[int]) -> None:
        self.world.order = list(order)
        self._pass(0.01)

    @rule(pairs=st.sets(st.sampled_from([frozenset(each) for each in combinations(INDEXES, 2)])))
    def partition(self, pairs: set[frozenset[int]]) -> None:
        self.world.cut = set(pairs)
        self._pass(0.01)

    @rule()
    def heal(self) -> None:
        self.world.cut = set()
        self._pass(0.01)

    # Home agents.

    def _working(self) -> list[int]:
        return [index for index in self.world.has if index not in self.world.stopped]

    @rule(index=home_agents)
    def join(self, index: int) -> None:
        """An operator has one that is not there start, and tells all others."""
        if index not in self.world.indexes and not self.world.stopped:
            self.world.join(index)
        self._pass(0.05)

    @rule(index=home_agents)
    def leave(self, index: int) -> None:
        """It goes by itself; an operator tells those that did not hear of it."""
        world = self.world
        with contextlib.suppress(LeaveImpossible):
            if index in self._working() and not world.stopped and len(world.indexes) > 2:
                world.leave(index)
                for _ in range(80):
                    self._pass(0.1)
                    if any(isinstance(each, Left) for each in world.events[index]):
                        break
                if world.found(index, Left):
                    self.reference.left(index)
                    world.gone(index)
                    self._tell_all_that(index)
                else:  # nobody else is left
                    assert world.has[index].status()["leaving"] == "here"
        self._pass(0.05)

    @rule(index=home_agents)
    def dismiss(self, index: int) -> None:
        """An operator takes one out that is dead, or that lives."""
        world = self.world
        rest = [each for each in self._working() if each != index]
        if index in world.indexes and rest and not world.stopped and len(world.indexes) > 2:
            if index in world.has:
                world.kill(index)
            world._forget(index)
            self.reference.left(index)
            self._tell_all_that(index)
        self._pass(0.05)

    def _tell_all_that(self, gone: int) -> None:
        for engine in self.world.has.values():
            with contextlib.suppress(ValueError):
                engine.dismiss(gone, "operator", self.world.now)
        self.world._collect()

    @precondition(lambda self: len(self.world.has) > 1)
    @rule(index=home_agents)
    def kill(self, index: int) -> None:
        if index in self.world.has:
            self.world.kill(index)
        self._pass(0.01)

    @precondition(lambda self: len(self.world.has) < len(self.world.indexes))
    @rule()
    def restart(self) -> None:
        for index in self.world.indexes:
            if index not in self.world.has:
                self.world.start_ha(index)
                break
        self._pass(0.05)

    @precondition(lambda self: len(self._working()) > 1)
    @rule(index=home_agents)
    def stop(self, index: int) -> None:
        if index in self._working():
            self.world.stop(index)
        self._pass(0.01)

    @precondition(lambda self: self.world.stopped)
    @rule()
    def wake(self) -> None:
        self.world.wake(min(self.world.stopped))
        self._pass(0.05)

    # Mobile nodes.

    @rule(number=mobile_nodes)
    def register(self, number: int) -> None:
        engine = self.world.mobiles[number].engine
        assert engine is not None
        if engine.registration.state is State.NONE:
            engine.start(self.world.now)
        self._pass(0.02)

    @rule(number=mobile_nodes)
    def move(self, number: int) -> None:
        one, other = PLACES[number]
        self._go(number, other if self.at[number] == one else one)
        self._pass(0.02)

    def _go(self, number: int, place: IPv6Address | None) -> None:
        old, self.at[number] = self.at[number], place
        if place is not None:
            self.world.attach(place, number)
        if old is not None:
            self.world.detach(old, number)

    @rule(number=mobile_nodes)
    def deregister(self, number: int) -> None:
        engine = self.world.mobiles[number].engine
        assert engine is not None
        engine.deregister(self.world.now)
        self._pass(0.05)

    @rule(number=mobile_nodes)
    def expire(self, number: int) -> None:
        """Out of reach until the binding has run out everywhere."""
        self._go(number, None)
        self._pass(LIFETIME + 2.0)
        for index in self._working():
            binding = self.world.binding(index, number)
            assert binding is None or binding["state"] != "bound", f"HA{index} {binding}"

    @rule(number=mobile_nodes, where=st.integers(0, 2))
    def restart_mobile_node(self, number: int, where: int) -> None:
        """With new keys, loaded at a home agent that holds the present ones."""
        self._at_a_holder(number, where, Multihoming._fresh_start)

    @rule(number=mobile_nodes, where=st.integers(0, 2), how=st.sampled_from(["load", "renew"]))
    def renew(self, number: int, where: int, how: str) -> None:
        """New keys under a mobile node that goes on."""
        self._at_a_holder(number, where, RENEWALS[how])

    @rule(fate=st.sampled_from(["agreed", "failed", "request-lost", "answer-lost"]))
    def key_exchanges_end(self, fate: str) -> None:
        self.world.fate = fate
        self._pass(0.01)

    def _at_a_holder(self, number: int, where: int, act: "Renewal") -> None:
        holders = self.reference.holders(number)
        able = [index for index in self._working() if index in holders or not holders]
        if able:
            act(self, number, able[where % len(able)])
        self._pass(0.05)

    def _keys(self, number: int, holder: int):  # type: ignore[no-untyped-def]
        home = home_address(number)
        first = holder << 24 | next(self.spis) << 16
        self.reference.keyed(number)
        return self.world.keys_from(first, home)

    def _fresh_start(self, number: int, holder: int) -> None:
        keys = self._keys(number, holder)
        place = self.at[number] or PLACES[number][0]
        if number in self.world.mobiles:
            self.reference.replaced(number)
            self.world.mobiles[number].addresses.clear()
        self.at[number] = place
        self.world.start_mn(0.0, number, keys, holder, place, lifetime=LIFETIME, timers=TIMERS)

    @rule(number=mobile_nodes, order=st.permutations(INDEXES))
    def two_sides(self, number: int, order: list[int]) -> None:
        """D17: cut off from one another, two home agents take Binding Updates in turn."""
        one, other, *_ = order
        self.world.cut = {frozenset((one, index)) for index in INDEXES if index != one}
        for nearest in (other, one):
            self.world.order = [nearest, *(each for each in order if each != nearest)]
            self.move(number)
            self._pass(0.4)

    # Traffic.

    def _tag(self) -> bytes:
        return next(self.tags).to_bytes(8)

    @rule(number=mobile_nodes, up=counts, down=counts, via=home_agents)
    def traffic(self, number: int, up: int, down: int, via: int) -> None:
        for _ in range(up):
            self.world.up(self._tag(), number)
            self.world.run(0.001)
        for _ in range(down):
            self.world.down(via, self._tag(), number)
            self.world.run(0.001)
        self._pass(0.005)

    @rule(everything=st.booleans(), which=st.integers(0, 10_000))
    def replay(self, everything: bool, which: int) -> None:
        """Somebody on the path repeats what was seen, all of it in order or one packet."""
        recorded = self.world.recorded
        one = which % len(recorded)
        for packet in recorded[:] if everything else [recorded[one]]:
            self.reference.copied(packet, 1)
            self.world.inject(packet)
        self._pass(0.05)

    @rule(number=mobile_nodes, order=st.permutations(INDEXES))
    def replay_elsewhere(self, number: int, order: list[int]) -> None:
        """What one home agent took is repeated once another one is nearest."""
        self.traffic(number, 3, 0, 1)
        self._pass(0.3)
        self.reroute(order)
        self.replay(True, 0)

    @rule(seconds=st.sampled_from([0.02, 0.15, 0.5, 1.5]))
    def wait(self, seconds: float) -> None:
        self._pass(seconds)

    def _pass(self, seconds: float) -> None:
        type(self).steps += 1
        self.world.run(seconds)
        troubled = self.loss["between"] or self.world.cut or self.world.stopped
        if troubled or len(self.world.has) < len(self.world.indexes):
            # What peers were told meanwhile may be lost, and they need a while to be told again.
            self.reference.disturbed = self.world.now + 1.0

    # The end of every history, and any point in it.

    @rule()
    def settle(self) -> None:
        """All is repaired; I3 and I4 hold after the bound, and traffic passes everywhere."""
        world, reference = self.world, self.reference
        world.fate = "agreed"
        for channel in ("between", "access"):
            self.loss[channel] = self.twice[channel] = self.late[channel] = 0.0
        known = {n: (reference.strongest(n), reference.holders(n)) for n in MOBILES}
        world.cut = set()
        for index in sorted(world.stopped):
            world.wake(index)
        for index in world.indexes:
            if index not in world.has:
                world.start_ha(index)
        self._pass(BOUND)
        for number in MOBILES:
            reference.check_agreement(number, *known[number])
        for number in MOBILES:
            self._serve(number)

    def _serve(self, number: int) -> None:
        """Bring the mobile node back, with new keys if no home agent knows its own."""
        world = self.world
        engine = world.mobiles[number].engine
        assert engine is not None
        if not self.reference.holders(number):
            self._fresh_start(number, 1)
        elif engine.registration.state is State.NONE:
            engine.start(world.now)
        if self.at[number] is None:
            self._go(number, PLACES[number][0])
        for _ in range(40):  # its next refresh mends what died with the last that knew it
            world.run(0.25)
            if self._served(number):
                break
        assert self._served(number), [world.binding(index, number) for index in world.indexes]
        received, sent = world.mobiles[number].received, len(world.at_correspondent)
        before = len(received)
        for index in world.indexes:
            world.down(index, self._tag(), number)
        world.up(self._tag(), number)
        world.run(0.01)
        assert len(received) == before + len(world.indexes)
        assert len(world.at_correspondent) == sent + 1

    @rule(number=mobile_nodes)
    def one_generation(self, number: int) -> None:
        """After a last renewal all hold one generation of SAs, and nothing is left unanswered."""
        self.settle()
        world = self.world
        (primary,) = world.primaries(number)
        world.has[int(str(primary)[2:])].renew(home_address(number), world.now)
        self._pass(LARVAL_TIME + IDLE_TIME + 2.0)
        held = [self.reference.spis_at(index, number) for index in world.indexes]
        assert all(each == self.reference.spis(number) for each in held)
        assert len(held[0]) == 4
        assert all(engine.status()["open_exchanges"] == 0 for engine in world.has.values())

    def _served(self, number: int) -> bool:
        world = self.world
        bindings = [world.binding(index, number) for index in world.indexes]
        return all(
            each is not None
            and each["state"] == "bound"
            and each["care_of_address"] == str(self.at[number])
            for each in bindings
        )


Renewal = Callable[[Multihoming, int, int], None]


def load_keys(machine: Multihoming, number: int, holder: int) -> None:
    """By hand: the same new keys at the mobile node and at a home agent."""
    keys = machine._keys(number, holder)
    world, engine = machine.world, machine.world.mobiles[number].engine
    assert engine is not None
    engine.load_keys(keys, world.now)
    world.has[holder].load_keys(keys, world.now)
    world._collect()
    engine.registration.refresh(world.now)
    world._collect()


def renew(machine: Multihoming, number: int, holder: int) -> None:
    """By the verb of a home agent: make before break (rule 9)."""
    with contextlib.suppress(RenewalImpossible):
        machine.world.has[holder].renew(home_address(number), machine.world.now)
    machine.world._collect()


RENEWALS: dict[str, Renewal] = {"load": load_keys, "renew": renew}


def test_machine() -> None:
    run_state_machine_as_test(Multihoming, settings=SHORT)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_machine_for_long(capsys: pytest.CaptureFixture[str]) -> None:
    """As many histories as make MACHINE_STEPS steps; the count is printed."""
    Multihoming.steps = 0
    long = settings(
        SHORT, max_examples=max(1, LONG_STEPS // 60), stateful_step_count=80, derandomize=False
    )
    run_state_machine_as_test(Multihoming, settings=long)
    with capsys.disabled():
        print(f"\nthe machine ran {Multihoming.steps} steps")
