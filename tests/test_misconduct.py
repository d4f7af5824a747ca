"""What proves that a home agent lies, and what does not (draft §5; design §10, rule 13).

A liar is HA1 of three, with its own keys and its own SID, that sends one message of its choice.
That nobody honest is accused every test in the world of `tests/world.py` shows: it fails if one is.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from test_renewal import registered
from world import HOA, World, own_address

from agents.config import MAX_SEQUENCE, RouteOptimisation
from agents.core.esp_processing import EspProcessor
from agents.core.events import MisconductProven, PeerAccused, PeerIsolated
from agents.core.replay_window import sender_id
from agents.keys import Transform
from agents.wire import inter_ha, ipv6
from agents.wire.inter_ha import Misconduct, SaEntry
from agents.wire.transforms import Mode as EspMode

LIAR, VICTIM = 1, 2


def say(world: World, message: inter_ha.InterHaMessage, to: int = VICTIM, sid: int = 0) -> None:
    """The liar sends `message` on its own SA, with its own SID or another one."""
    world.liars.add(LIAR)
    engine = world.has[LIAR]
    peer = engine._context.peers.by_index(to)
    assert peer is not None
    sending = peer.associations.sending
    assert sending is not None
    esp = EspProcessor(world.random.randbytes, sid or sender_id(LIAR, 1))
    message = replace(message, receiver_incarnation=peer.incarnation)
    own = own_address(LIAR)
    header = inter_ha.serialize_inter_ha(message, own, peer.address)
    sealed = esp.seal(sending.outbound, header, ipv6.MOBILITY)
    world.inject(ipv6.build(own, peer.address, ipv6.ESP, sealed))


def primary_is_victim() -> World:
    """The liar knows that HA2 is primary: it has acknowledged that."""
    world = registered(has=3)
    world.order = [VICTIM, 3, LIAR]
    assert world.mn is not None
    world.mn.registration.refresh(world.now)
    world.run(0.5)
    assert world.primaries() == {"HA2"}
    return world


def entry(world: World, **changes: object) -> inter_ha.BindingEntry:
    """The binding as the liar holds it, changed."""
    binding = world.has[LIAR]._context.cache.get(HOA)
    assert binding is not None
    return replace(binding.to_wire(world.now), **changes)  # type: ignore[arg-type]


def association(world: World, spi: int, **changes: object) -> SaEntry:
    made = SaEntry(
        HOA,
        spi,
        HOA,
        world.has[LIAR]._context.config.home_agent_address,
        EspMode.TUNNEL,
        Transform.AES_128_GCM,
        world.random.randbytes(20),
        generation=9,
        state=1,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def hello(world: World) -> inter_ha.InterHaMessage:
    return inter_ha.Hello(9, 100, True, identifier=7)


def another_is_primary(world: World) -> inter_ha.InterHaMessage:
    return inter_ha.BindingInformationUpdate((entry(world, primary=3, epoch=9),), identifier=7)


def victim_is_primary_later(world: World) -> inter_ha.InterHaMessage:
    return inter_ha.PrimaryHaSwitch(HOA, 9, VICTIM, LIAR, identifier=7)


def takes_over_whom_it_speaks_to(world: World) -> inter_ha.InterHaMessage:
    return inter_ha.PrimaryHaSwitch(HOA, 9, LIAR, VICTIM, identifier=7)


def role_without_update(world: World) -> inter_ha.InterHaMessage:
    return inter_ha.BindingInformationUpdate((entry(world, primary=LIAR, epoch=9),), identifier=7)


def older_update(world: World) -> inter_ha.InterHaMessage:
    stale = entry(world, primary=LIAR, epoch=9)
    stale = replace(stale, sequence=(stale.sequence - 5) & 0xFFFF)
    return inter_ha.BindingInformationUpdate((stale,), identifier=7)


def sa_of_the_victim(world: World) -> inter_ha.InterHaMessage:
    entries = (association(world, VICTIM << 24 | 0xABCDEF),)
    return inter_ha.SaInformationUpdate(entries, identifier=7)


def floor(world: World) -> inter_ha.InterHaMessage:
    spi = next(e.spi for e in world.has[LIAR]._context.associations if e.inbound)
    return inter_ha.ReplayFloor((inter_ha.FloorEntry(spi, 0, MAX_SEQUENCE + 1),), identifier=7)


LIES: dict[Callable[[World], inter_ha.InterHaMessage], Misconduct] = {
    hello: Misconduct.INCARNATION_CONTRADICTS_SID,
    another_is_primary: Misconduct.ROLE_OF_ANOTHER,
    victim_is_primary_later: Misconduct.ROLE_OF_ANOTHER,
    takes_over_whom_it_speaks_to: Misconduct.ROLE_WITHOUT_UPDATE,
    role_without_update: Misconduct.ROLE_WITHOUT_UPDATE,
    older_update: Misconduct.ROLE_WITHOUT_UPDATE,
    sa_of_the_victim: Misconduct.SA_NEVER_MADE,
    floor: Misconduct.FLOOR_BEYOND_NUMBERS,
}


@pytest.mark.parametrize("lie", LIES)
def test_each_lie_is_caught(lie: Callable[[World], inter_ha.InterHaMessage]) -> None:
    """Who is lied to isolates the liar at once and tells the others, which note it."""
    world = primary_is_victim()
    say(world, lie(world))
    world.run(0.002)
    (proven,) = world.found(VICTIM, MisconductProven)
    assert proven.fields()["misconduct"] == LIES[lie].slug
    assert world.found(VICTIM, PeerIsolated) == [PeerIsolated("HA1", LIAR, "misconduct")]
    world.run(0.1)
    accused = world.found(3, PeerAccused)
    assert accused == [PeerAccused("HA2", LIAR, LIES[lie].slug)]
    assert world.found(3, PeerIsolated) == []  # one word of three is no majority
    binding = world.binding(VICTIM)
    assert binding is not None
    assert (binding["primary"], binding["state"]) == ("HA2", "bound")


def test_another_ones_sid_is_caught() -> None:
    world = primary_is_victim()
    say(world, hello(world), sid=sender_id(3, 1))
    world.run(0.01)
    (proven,) = world.found(VICTIM, MisconductProven)
    assert proven.fields()["misconduct"] == Misconduct.SID_OF_ANOTHER.slug


def newer_update(world: World) -> inter_ha.InterHaMessage:
    fresher = entry(world, primary=LIAR, epoch=9)
    fresher = replace(fresher, sequence=(fresher.sequence + 1) & 0xFFFF)
    return inter_ha.BindingInformationUpdate((fresher,), identifier=7)


def inherited_role(world: World) -> inter_ha.InterHaMessage:
    inherited = entry(world, primary=LIAR, epoch=9, unordered=True)
    return inter_ha.BindingInformationUpdate((inherited,), identifier=7)


def answer_nobody_asked_for(world: World) -> inter_ha.InterHaMessage:
    forged = entry(world, primary=3, epoch=9)
    return inter_ha.BindingInformationUpdate((forged,), solicited=True, identifier=7)


def sas_nobody_asked_for(world: World) -> inter_ha.InterHaMessage:
    entries = (association(world, VICTIM << 24 | 0xABCDEF),)
    return inter_ha.SaInformationUpdate(entries, solicited=True, identifier=7)


def takes_over_a_third(world: World) -> inter_ha.InterHaMessage:
    return inter_ha.PrimaryHaSwitch(HOA, 9, LIAR, 3, identifier=7)


def sa_of_a_third(world: World) -> inter_ha.InterHaMessage:
    entries = (association(world, 3 << 24 | 0xABCDEF),)
    return inter_ha.SaInformationUpdate(entries, identifier=7)


def new_key_though_not_primary(world: World) -> inter_ha.InterHaMessage:
    entries = (association(world, LIAR << 24 | 0xABCDEF),)
    return inter_ha.SaInformationUpdate(entries, identifier=7)


@pytest.mark.parametrize(
    "suspicious",
    [
        newer_update,
        inherited_role,
        answer_nobody_asked_for,
        sas_nobody_asked_for,
        takes_over_a_third,
        sa_of_a_third,
        new_key_though_not_primary,
    ],
)
def test_what_an_honest_home_agent_may_say_is_no_proof(
    suspicious: Callable[[World], inter_ha.InterHaMessage],
) -> None:
    """It may have had it from a Binding Update, a partition, the mobile node, or another liar."""
    world = primary_is_victim()
    say(world, suspicious(world))
    world.run(0.3)
    for index in (VICTIM, 3):
        assert world.found(index, MisconductProven) == []
        assert world.found(index, PeerIsolated) == []


@pytest.mark.parametrize("unasked", [answer_nobody_asked_for, sas_nobody_asked_for])
def test_answers_that_nobody_asked_for_are_not_taken(
    unasked: Callable[[World], inter_ha.InterHaMessage],
) -> None:
    world = primary_is_victim()
    before = world.binding(VICTIM), len(world.has[VICTIM].sas())
    say(world, unasked(world))
    world.run(0.0015)
    assert world.has[VICTIM].counters["answers-unasked"] == 1
    now = world.binding(VICTIM)
    assert before[0] is not None
    assert now is not None
    assert (now["primary"], now["epoch"]) == (before[0]["primary"], before[0]["epoch"])
    assert len(world.has[VICTIM].sas()) == before[1]


def test_an_older_message_of_an_honest_one_that_comes_late() -> None:
    """HA1 was primary by a Binding Update; its Update comes after HA2 took a newer one."""
    world = registered(has=3)
    late = [packet for packet in world.seen if packet[24:40] == own_address(VICTIM).packed]
    world.order = [VICTIM, 3, LIAR]
    assert world.mn is not None
    held = inter_ha.BindingInformationUpdate((entry(world),), identifier=9)
    world.mn.registration.refresh(world.now)
    world.run(0.5)
    say(world, held)
    world.liars.clear()
    for packet in late:
        world.inject(packet)
    world.run(0.5)
    assert world.found(VICTIM, MisconductProven) == []


def test_a_restarted_home_agent_may_not_know_what_it_made() -> None:
    """In a later life an SA of its own range may be of an earlier one."""
    world = primary_is_victim()
    world.kill(VICTIM)
    world.start_ha(VICTIM)
    world.run(0.5)
    say(world, sa_of_the_victim(world))
    world.run(0.1)
    assert world.found(VICTIM, MisconductProven) == []


def test_whom_a_liar_has_poisoned_says_nothing_that_proves_it_a_liar() -> None:
    """HA1 tells HA3 of an SA that HA2 is said to have made; HA3 does not repeat it to HA2."""
    world = primary_is_victim()
    forged = association(world, VICTIM << 24 | 0xABCDEF)
    peer = world.has[3]._context.peers.by_index(LIAR)
    assert peer is not None
    world.has[3]._synchronisation.learning.learn(peer, forged, world.now, solicited=True)
    (held,) = [e for e in world.has[3]._context.associations if e.spi == forged.spi]
    assert not held.vouched
    world.has[3]._synchronisation.announce_associations([held], world.now)
    to_victim = world.has[3]._context.peers.by_index(VICTIM)
    assert to_victim is not None
    world.has[3]._synchronisation.tell_unasked(to_victim, [held], world.now)
    world.run(0.5)
    assert world.found(VICTIM, MisconductProven) == []
    assert world.has[VICTIM]._context.associations.by_spi(forged.spi) is None


def test_switching_the_role_of_a_living_primary_is_an_arm_of_its_own() -> None:
    """Rule 1 (c): where draft §4.1 is tried, a living primary is taken over from."""
    world = World(3, key_exchange=True, route_optimisation=RouteOptimisation.SWITCH)
    world.start_all()
    world.start_mn()
    world.has[VICTIM]._role.take(
        world.has[VICTIM]._context.cache.get(HOA),
        "switch",
        world.now,  # type: ignore[arg-type]
    )
    world.run(0.1)
    assert world.primaries() == {"HA2"}
    assert world.found(LIAR, MisconductProven) == []


@pytest.mark.parametrize(("accusers", "isolated"), [(2, False), (3, True)])
def test_more_than_half_have_to_accuse(accusers: int, isolated: bool) -> None:
    """Of five, two liars cannot put an honest one out; three that were lied to can."""
    world = World(5, key_exchange=True)
    world.start_all()
    world.start_mn()
    for index in (2, 3, 4)[:accusers]:
        engine = world.has[index]
        peer = engine._context.peers.by_index(LIAR)
        assert peer is not None
        engine._isolation._accuse(peer, Misconduct.ROLE_OF_ANOTHER, world.now)
    world._collect()
    world.run(0.1)
    found = world.found(5, PeerIsolated)
    assert found == ([PeerIsolated("HA1", LIAR, "accused")] if isolated else [])
    assert len(world.found(5, PeerAccused)) == accusers


def test_versions_that_a_liar_drives_to_their_end_break_nobody() -> None:
    world = primary_is_victim()
    last = 0xFFFF_FFFF
    forged = entry(world, primary=LIAR, epoch=last, registration=last, deleted=True)
    say(world, inter_ha.BindingInformationUpdate((forged,), identifier=7))
    fresh = association(world, LIAR << 24 | 5, generation=(1 << 24) - 1)
    say(world, inter_ha.SaInformationUpdate((fresh,), identifier=8))
    beyond = association(world, LIAR << 24 | 7, generation=1 << 24)
    say(world, inter_ha.SaInformationUpdate((beyond,), identifier=9))
    world.run(0.1)
    assert world.mn is not None
    world.mn.registration.refresh(world.now)
    world.run(0.5)
    binding = world.has[VICTIM]._context.cache.get(HOA)
    assert binding is not None
    assert binding.role == (last, VICTIM)
    assert world.has[VICTIM]._context.associations.by_spi(LIAR << 24 | 7) is None
    assert world.has[VICTIM]._context.next_generation(HOA) == (1 << 24) - 1


def test_the_incarnation_counter_ends_before_another_ones_sid_begins() -> None:
    world = World(2)
    world.incarnations[1] = 1023
    engine = world.start_ha(1)
    assert engine.incarnation is None
