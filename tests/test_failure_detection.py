"""Both failure detectors: D8, takeover, wake-up, partition and heal (D17, I3), learnt incarnations.

Time runs in memory; every bound is the formula of `failure_detection`, not a number.
"""

from itertools import combinations

import pytest
from world import COA, COA2, DELAY, World, opened

from agents.config import Detector, HomeAgentConfig, HomeAgentTimers, Mode
from agents.core.events import AdvertisePrefix, PeerChanged, PrimaryChanged, TableReceived
from agents.core.failure_detection import agreement_bound, detection_bound
from agents.wire import inter_ha

DETECTORS = list(Detector)
ROUND_TRIP = 2 * DELAY
SLOW = HomeAgentTimers(hello_interval=1.0, keepalive_interval=1.0)
ALL = [frozenset(pair) for pair in combinations((1, 2, 3), 2)]


def started(detector: Detector, has: int = 3, **options: object) -> World:
    world = World(has, detector=detector, **options)
    world.start_all()
    return world


def registered(detector: Detector, has: int = 3, **options: object) -> World:
    world = started(detector, has, **options)
    world.start_mn()
    return world


def timers(interval: float, misses: int) -> HomeAgentTimers:
    return HomeAgentTimers(
        hello_interval=interval,
        hello_misses=misses,
        keepalive_interval=interval,
        keepalive_misses=misses,
    )


def bound(world: World) -> float:
    return agreement_bound(world.ha_config(1), ROUND_TRIP)


def state_of(world: World, observer: int, peer: int) -> str:
    (found,) = [each for each in world.has[observer].peers() if each["index"] == peer]
    return str(found["state"])


def agreed(world: World, number: int = 1) -> bool:
    """Whether all home agents hold the same binding, primary and epoch included."""
    bindings = [world.binding(index, number) for index in world.has]
    versions = {
        (each["care_of_address"], each["sequence"], each["primary"], each["epoch"])
        for each in bindings
        if each is not None
    }
    return None not in bindings and len(versions) == 1


def lose(world: World, kind: type[inter_ha.InterHaMessage], count: int) -> list[float]:
    """Lose the next `count` HELLOs, or questions, to HA2; return when each was sent."""
    sent: list[float] = []

    def trouble(packet: bytes) -> list[bytes]:
        message = opened(world, packet)
        answer = isinstance(message, inter_ha.Keepalive) and message.response
        if not isinstance(message, kind) or answer or packet[24:40] != OWN_2:
            return [packet]
        sent.append(world.now)
        return [] if len(sent) <= count else [packet]

    world.trouble = trouble
    return sent


OWN_2 = World(2).ha_config(2).address.packed


@pytest.mark.parametrize("misses", [1, 2, 3, 5])
@pytest.mark.parametrize("detector", DETECTORS)
def test_misses(detector: Detector, misses: int) -> None:
    """D8: k-1 in a row missed: not yet; k: invalid, within the bound; and back."""
    world = started(detector, 2, timers=timers(0.1, misses))
    kind = inter_ha.Hello if detector is Detector.HELLO else inter_ha.Keepalive
    watcher, silent = (2, 1) if detector is Detector.HELLO else (1, 2)
    sent = lose(world, kind, misses - 1)
    world.run(0.1 * (misses + 3))
    assert len(sent) >= misses
    seen = [each.fields()["state"] for each in world.found(watcher, PeerChanged)]
    assert "invalid" not in seen
    assert seen.count("suspect") == (1 if misses > 1 else 0)
    assert state_of(world, watcher, silent) == "up"
    sent = lose(world, kind, misses)
    world.run(0.1 * (misses + 3))
    seen = [each.fields()["state"] for each in world.found(watcher, PeerChanged)]
    assert seen.count("invalid") == 1
    assert state_of(world, watcher, silent) == "up"


@pytest.mark.parametrize("interval", [0.03, 0.1, 1.0])
@pytest.mark.parametrize("detector", DETECTORS)
def test_a_dead_home_agent_is_invalid_within_the_bound(detector: Detector, interval: float) -> None:
    for phase in range(8):
        world = started(detector, 2, timers=timers(interval, 3))
        world.run(4 * interval + phase * interval / 8)
        world.kill(1)
        world.run(2 * interval)
        assert state_of(world, 2, 1) in ("up", "suspect")
        world.run(detection_bound(world.ha_config(2)) - 2 * interval + DELAY)
        assert state_of(world, 2, 1) == "invalid"


@pytest.mark.parametrize("detector", DETECTORS)
def test_one_direction_lost(detector: Detector) -> None:
    """Messages to HA2 are lost: HA2 misses HELLOs; keepalives show the path both ways."""
    world = started(detector, 2)
    world.trouble = lambda packet: [] if packet[24:40] == OWN_2 else [packet]
    world.run(1.5)
    assert state_of(world, 2, 1) == "invalid"
    assert state_of(world, 1, 2) == ("up" if detector is Detector.HELLO else "invalid")
    states = [each.fields()["state"] for each in world.found(1, PeerChanged)]
    assert states.count("invalid") == (0 if detector is Detector.HELLO else 1)  # no flapping


@pytest.mark.parametrize("detector", DETECTORS)
def test_incarnation_and_readiness_are_learnt(detector: Detector) -> None:
    """A restart that nobody missed: tables first, then the prefix, then the peers know."""
    world = registered(detector)
    world.kill(1)
    events = len(world.events[1])
    world.start_ha(1)
    world.run(0.4)
    kinds = [type(each) for each in world.events[1][events:]]
    assert kinds.index(TableReceived) < kinds.index(AdvertisePrefix)
    for observer in (2, 3):
        (peer,) = [each for each in world.has[observer].peers() if each["index"] == 1]
        assert (peer["incarnation"], peer["ready"], peer["state"]) == (2, True, "up")
    assert agreed(world)


def test_keepalives_alone_when_nothing_changes() -> None:
    world = started(Detector.KEEPALIVE)
    world.run(2.0)
    for engine in world.has.values():
        engine.counters.clear()
    world.run(1.05)
    for engine in world.has.values():
        assert engine.counters["sent.Hello"] == 0
        assert engine.counters["sent.Keepalive"] == pytest.approx(2 * 2 * 10, abs=4)
        assert not [name for name in engine.counters if name.startswith("dropped.")]


def test_home_agents_with_different_detectors_find_each_other() -> None:
    world = World(2)
    world.start_ha(1, detector=Detector.KEEPALIVE)
    world.start_ha(2)
    world.run(1.0)
    assert (state_of(world, 1, 2), state_of(world, 2, 1)) == ("up", "up")


def test_answer_longer_on_its_way_than_an_interval() -> None:
    """A path slower than the interval is no dead peer."""
    world = World(2, detector=Detector.KEEPALIVE)
    world.delay = lambda packet: 0.12
    world.start_all(3.0)
    assert state_of(world, 1, 2) == "up"
    world.run(3.0)
    states = [each.fields()["state"] for each in world.found(1, PeerChanged)]
    assert "invalid" not in states[states.index("up") :]


def test_an_answer_that_nobody_asked_for_is_no_sign_of_life() -> None:
    world = started(Detector.KEEPALIVE, 2)
    context = world.has[1]._context
    (peer,) = context.peers
    context.send_to_peer(peer, inter_ha.Keepalive(response=True, identifier=4711))
    world.run(0.01)
    assert world.has[2].counters["dropped.keepalive-unexpected"] == 1


@pytest.mark.parametrize("detector", DETECTORS)
def test_takeover_follows_the_detector(detector: Detector) -> None:
    """Rule 1 with either detector: invalid, then a packet of the mobile node, then takeover."""
    world = registered(detector)
    world.kill(1)
    world.up()
    world.run(0.15)
    assert world.primaries() == {"HA1"}
    world.run(detection_bound(world.ha_config(2)))
    world.up()
    world.run(0.01)
    assert world.found(2, PrimaryChanged)[-1].fields()["cause"] == "takeover"
    assert world.primaries() == {"HA2"}


@pytest.mark.parametrize("noticed", [True, False])
@pytest.mark.parametrize("detector", DETECTORS)
def test_stopped_primary_that_wakes_up(detector: Detector, noticed: bool) -> None:
    """Two primaries, until the sleeper has heard; also where nothing tells it that it slept."""
    world = registered(detector)
    frozen = world.has.pop(1)
    world.advertising.discard(1)
    world.run(1.0)
    world.up()
    world.attach(COA2)
    world.detach(COA)
    world.run(0.3)
    assert world.primaries() == {"HA2"}
    world.has[1] = frozen
    assert world.primaries() == {"HA1", "HA2"}
    if noticed:
        frozen.resynchronise(world.now)
    world.run(bound(world))
    assert world.primaries() == {"HA2"}
    assert agreed(world)


@pytest.mark.parametrize("detector", DETECTORS)
def test_partition_of_home_agents_heals(detector: Detector) -> None:
    """D17: HA1 and HA3 against HA2, Binding Updates accepted on both sides; I3 within the bound."""
    world = registered(detector)
    world.cut = {frozenset((1, 2)), frozenset((2, 3))}
    world.run(1.0)
    for order, new, old in (([2, 1, 3], COA2, COA), ([1, 2, 3], COA, COA2)):
        world.order = order
        world.attach(new)
        world.detach(old)
        world.run(0.5)
    assert world.primaries() == {"HA1", "HA2"}
    world.cut = set()
    world.run(bound(world))
    assert world.primaries() == {"HA2"}
    assert agreed(world)
    binding = world.binding(3)
    assert binding is not None
    assert binding["care_of_address"] == str(COA)


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("seed", range(12))
def test_agreement_within_the_bound(detector: Detector, slow: bool, seed: int) -> None:
    """I3: any partition of the HAs alone, of any length, movement and traffic meanwhile, heal."""
    world = World(3, seed=seed, detector=detector, timers=SLOW if slow else HomeAgentTimers())
    world.start_all(4.0)
    world.start_mn()
    world.start_mn(number=2, at=COA + 1)
    random, at = world.random, {1: COA, 2: COA + 1}
    one_way: set[tuple[bytes, bytes]] = set()

    def trouble(packet: bytes) -> list[bytes]:
        return [] if (packet[8:24], packet[24:40]) in one_way else [packet]

    world.trouble = trouble
    own = {index: world.ha_config(index).address.packed for index in world.indexes}
    scale = detection_bound(world.ha_config(1))
    for _ in range(4):
        pairs = [(a, b) for a in own for b in own if a != b and random.random() < 0.6]
        one_way.update((own[a], own[b]) for a, b in pairs)
        for _ in range(random.randrange(1, 5)):
            world.run(random.random() * scale * 0.6)
            world.order = random.sample(world.indexes, 3)
            for number, old in list(at.items()):
                if random.random() < 0.5:
                    at[number] = (COA2 if old < COA2 else COA) + number - 1
                    world.attach(at[number], number)
                    world.detach(old, number)
                world.up(number=number)
        one_way.clear()
        world.run(bound(world))
        for number in at:
            assert len(world.primaries(number)) == 1
            assert agreed(world, number)


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_change_told_to_nobody_is_fetched(detector: Detector) -> None:
    """HA2 is invalid at HA1 alone: HA2 never missed HA1, and learns all the same."""
    world = registered(detector)
    own = {index: world.ha_config(index).address.packed for index in (1, 2)}
    world.trouble = lambda packet: [] if packet[8:40] == own[2] + own[1] else [packet]
    world.run(0.5)
    assert state_of(world, 1, 2) == "invalid"
    if detector is Detector.HELLO:
        assert state_of(world, 2, 1) == "up"
    world.attach(COA2)
    world.detach(COA)
    world.run(0.2)
    assert not agreed(world)
    world.trouble = lambda packet: [packet]
    world.run(bound(world))
    assert agreed(world)


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_peer_that_acknowledges_nothing_is_invalid(detector: Detector) -> None:
    """Alive to the detector, deaf to Updates: invalid at the last repetition, told afterwards."""
    world = registered(detector, 2, timers=SLOW)
    world.run(5.0)

    def trouble(packet: bytes) -> list[bytes]:
        deaf = isinstance(opened(world, packet), inter_ha.BindingInformationUpdate)
        return [] if deaf else [packet]

    world.trouble = trouble
    world.attach(COA2)
    world.detach(COA)
    world.run(5.0)
    assert [each.fields()["state"] for each in world.found(1, PeerChanged)].count("invalid") == 1
    assert agreed(world)  # by the table, which HA2 was asked to fetch
    assert all(engine.status()["open_exchanges"] == 0 for engine in world.has.values())


@pytest.mark.parametrize(
    "kind",
    [inter_ha.Hello, inter_ha.Keepalive, inter_ha.TableRequest, inter_ha.TableEnd],
)
@pytest.mark.parametrize("what", ["lost", "twice"])
def test_each_message_of_the_keepalive_detector_lost_or_repeated(
    kind: type[inter_ha.InterHaMessage], what: str
) -> None:
    """D7: the first of each kind on each path is lost, or every one comes twice."""
    world = World(3, detector=Detector.KEEPALIVE)
    hit: set[tuple[bytes, bytes]] = set()

    def trouble(packet: bytes) -> list[bytes]:
        if not isinstance(opened(world, packet), kind):
            return [packet]
        path = (packet[8:24], packet[24:40])
        first = path not in hit
        hit.add(path)
        return [packet, packet] if what == "twice" else [] if first else [packet]

    world.trouble = trouble
    world.start_all()
    world.start_mn()
    world.kill(1)
    world.run(0.6)
    world.up()
    world.run(0.5)
    world.start_ha(1)
    world.run(1.5)
    assert len(hit) == 6
    assert world.primaries() == {"HA2"}
    assert agreed(world)
    assert world.advertising == {1, 2, 3}
    assert all(engine.status()["open_exchanges"] == 0 for engine in world.has.values())


@pytest.mark.parametrize("mode", [Mode.DRAFT, Mode.DRAFT_CBC])
def test_keepalive_in_draft_modes(mode: Mode) -> None:
    world = World(3, mode, detector=Detector.KEEPALIVE)
    world.start_all()
    world.start_mn()
    world.kill(1)
    world.run(detection_bound(world.ha_config(2)))
    assert (state_of(world, 2, 1), state_of(world, 3, 1)) == ("invalid", "invalid")
    assert world.primaries() == {"HA1"}


def test_bounds_follow_the_configured_intervals() -> None:
    def config(detector: Detector, interval: float, misses: int) -> HomeAgentConfig:
        return World(2, detector=detector, timers=timers(interval, misses)).ha_config(1)

    assert detection_bound(config(Detector.HELLO, 0.1, 3)) == pytest.approx(0.35)
    assert detection_bound(config(Detector.KEEPALIVE, 0.1, 3)) == pytest.approx(0.4)
    # (k + 2) intervals, a repetition, and three round trips.
    assert agreement_bound(config(Detector.KEEPALIVE, 1.0, 2), 0.01) == pytest.approx(
        4.0 + 0.05 + 0.03
    )
