"""Home agents join and go while mobile nodes are served (draft §5; design §10, rule 6)."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from world import ANYCAST, COA, HOA, World, opened, own_address

from agents.config import Detector, HomeAgentTimers, Mode, PeerConfig
from agents.core.events import (
    AdvertisePrefix,
    Left,
    PeerDismissed,
    PeerIntroduced,
    PrimaryChanged,
)
from agents.core.key_loading import make_peer
from agents.core.leaving import LINGER_TIME, LeaveImpossible
from agents.core.mobile_registration import State
from agents.core.sid_tables import PACE
from agents.wire import ipv6
from agents.wire.inter_ha import Leave, LeaveAcknowledgement

MODES = [Mode.HARDENED, Mode.DRAFT, Mode.DRAFT_CBC]
EMPTY = 10
"""Seconds after which everything that a change set off is through."""


def served(world: World, number: int = 1) -> None:
    """Every living HA serves the mobile node, in both directions."""
    mobile = world.mobiles[number]
    before = len(mobile.received), len(world.at_correspondent)
    for index in world.has:
        world.down(index, b"served", number)
    world.run(0.05)
    for index in sorted(world.advertising):
        world.order = [index, *(each for each in world.order if each != index)]
        world.up(b"served", number)
        world.run(0.05)
    assert len(mobile.received) == before[0] + len(world.has)
    assert len(world.at_correspondent) == before[1] + len(world.advertising)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("detector", list(Detector))
def test_a_home_agent_joins(mode: Mode, detector: Detector) -> None:
    """It has every table before it advertises, and is told of every change after that."""
    world = World(3, mode, detector=detector)
    world.start_all()
    world.start_mn()
    world.join(4)
    world.run(1.0)
    assert 4 in world.advertising
    held = [{**world.binding(index), "remaining": 0} for index in (1, 4)]  # type: ignore[dict-item]
    assert held[0] == held[1]
    for index in (1, 2, 3):
        assert world.found(index, PeerIntroduced) == [PeerIntroduced("HA4", 4, own_address(4))]
        assert world.has[index].status()["peers"]["HA4"] == "up"  # type: ignore[index]
    world.run(EMPTY)
    served(world)
    assert world.mn is not None
    world.mn.registration.refresh(world.now)
    world.run(0.5)
    assert len({world.binding(index)["sequence"] for index in world.has}) == 1  # type: ignore[index]
    assert mode is not Mode.HARDENED or max(world.sealed.values()) == 1


def test_one_that_nobody_was_told_of_gets_nothing() -> None:
    world = World(2)
    world.start_all()
    world.start_mn()
    world.join(3, introduce=[1])
    world.seen.clear()
    world.run(1.0)
    to_it = [each for each in world.seen if each[24:40] == own_address(3).packed]
    assert {each[8:24] for each in to_it} == {own_address(1).packed}
    assert world.has[2].counters["dropped.inter-ha-from-stranger"] > 5
    assert "HA3" not in world.has[2].status()["peers"]  # type: ignore[operator]


def test_alone_and_then_two() -> None:
    """A lone HA sets no M and sends no ORIGIN_IP; with the second one both are needed."""
    for mode in MODES:
        world = World(1, mode)
        world.start_all()
        world.start_mn()
        assert world.mn is not None
        assert world.mn.status()["multihomed"] is False
        world.join(2)
        world.run(EMPTY)
        world.mn.registration.refresh(world.now)
        world.run(0.5)
        assert world.mn.status()["multihomed"] is True
        for _ in range(20):
            world.down(1)
            world.down(2)
        before = len(world.at_mobile)
        world.run(0.1)
        assert len(world.at_mobile) == before + 40
        served(world)


def test_an_index_or_an_address_that_is_taken() -> None:
    world = World(2)
    world.start_all()
    engine = world.has[1]
    world._add_peer_keys(9)
    world._add_peer_keys(2)

    def peer(index: int, own: int) -> None:
        config = PeerConfig("HA9", index, own_address(own))
        engine.introduce_peer(
            make_peer(engine._context.config, config, world.peer_keys[1][own]), world.now
        )

    with pytest.raises(ValueError, match="must be its own; HA2 has 2"):
        peer(2, 9)
    with pytest.raises(ValueError, match="must be its own; HA2 has 2"):
        peer(9, 2)
    with pytest.raises(ValueError, match="is HA1's"):
        peer(1, 9)
    with pytest.raises(ValueError, match="no peer has index 9"):
        engine.dismiss(9, "operator", world.now)
    assert world.found(1, PeerIntroduced) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("detector", list(Detector))
def test_a_peer_is_dismissed(mode: Mode, detector: Detector) -> None:
    """Nothing goes to it, nothing of it is taken; its roles pass on, though nobody sends."""
    world = World(3, mode, detector=detector)
    world.start_all()
    world.start_mn()
    world.start_mn(number=2)
    assert world.primaries() == {"HA1"}
    world.dismiss(1)
    world.advertising.discard(1)
    world.seen.clear()
    world.run(1.0)
    for index in (2, 3):
        assert world.found(index, PeerDismissed) == [PeerDismissed("HA1", 1, "operator")]
        for number in (1, 2):
            assert world.binding(index, number)["primary"] == "HA2"  # type: ignore[index]
        assert world.has[index].counters["dropped.inter-ha-from-stranger"] > 5
        assert world.has[index].status()["open_exchanges"] == 0
    changes = [each for each in world.found(2, PrimaryChanged) if each.fields()["primary"] == 2]
    assert Counter(each.fields()["cause"] for each in changes) == {"operator": 2}
    between = {(each[8:24], each[24:40]) for each in world.seen}
    assert not [pair for pair in between if pair[1] == own_address(1).packed]
    del world.has[1]
    served(world)


def test_a_peer_dismissed_in_the_middle_of_everything() -> None:
    """A table on its way, a renewal that waits for its answer, a question: none stays open."""
    world = World(3, key_exchange=True)
    world.start_all()
    world.start_mn()
    world.cut = {frozenset((1, 3)), frozenset((2, 3))}
    world.has[1].renew(HOA, world.now)
    world.run(0.03)
    assert world.has[1].status()["open_exchanges"] != 0
    world.dismiss(3)
    world.run(0.01)
    assert world.has[1].status()["open_exchanges"] == 0
    del world.has[3]
    world.run(15.0)
    served(world)


def test_a_dismissed_home_agent_comes_back() -> None:
    """By an operator's word. No number of any SA comes twice, nothing recorded is taken."""
    world = World(3)
    world.start_all()
    world.start_mn()
    world.run(1.0)
    recorded = [each for each in world.seen if each[24:40] == own_address(1).packed]
    world.dismiss(3)
    world.run(1.0)
    world.indexes.append(3)
    world.order.append(3)
    for index in (1, 2):
        world.introduce(index, 3)
    world.run(1.0)
    assert world.has[1].status()["peers"] == {"HA2": "up", "HA3": "up"}
    taken = world.has[1].counters["received.Hello"]
    for packet in recorded:
        world.inject(packet)
    at_once = world.now
    world.run(0.002)
    assert world.now - at_once < 0.01
    assert world.has[1].counters["received.Hello"] <= taken + 2
    world.kill(3)
    world.start_ha(3)
    world.run(1.0)
    assert world.has[1].status()["peers"] == {"HA2": "up", "HA3": "up"}
    served(world)
    assert max(world.sealed.values()) == 1


def test_another_home_agent_with_the_index_of_one_that_went() -> None:
    """It needs a higher incarnation: the SIDs of the other are used up."""
    world = World(3)
    world.start_all()
    world.start_mn()
    world.dismiss(3)
    world.kill(3)
    before = world.has[1]._context.peers.dismissed[3].peer
    config = PeerConfig("other", 3, own_address(7))
    world._add_peer_keys(7)
    peer = make_peer(world.ha_config(1), config, world.peer_keys[1][7])
    world.has[1].introduce_peer(peer, world.now)
    assert peer.incarnation == before.incarnation + 1 == 2


def test_the_start_waits_for_nobody_who_was_dismissed() -> None:
    world = World(2)
    world.start_ha(1)
    world.has[1].dismiss(2, "operator", world.now)
    world._collect()
    world.run(1.0)
    assert len(world.found(1, AdvertisePrefix)) == 1


# SID tables.


def table(world: World, number: int = 1) -> list[object]:
    """Return the indexes that the mobile node takes packets from."""
    engine = world.mobiles[number].engine
    assert engine is not None
    return [each["index"] for each in engine.peers()]


def is_signalling(packet: bytes) -> bool:
    """Whether it is a message to the first mobile node: behind a type 2 routing header."""
    return packet[24:40] == COA.packed and packet[6] == ipv6.ROUTING


def streams(world: World, seconds: float) -> tuple[int, int]:
    """Send to the mobile node by every HA that serves, and from it; return how many were lost."""
    down, up = len(world.at_mobile), len(world.at_correspondent)
    sent = 0
    for number in range(round(seconds * 200)):
        for index in sorted(world.advertising):
            world.down(index, number.to_bytes(4))
            sent += 1
        world.up(number.to_bytes(4))
        world.run(0.005)
    world.run(0.05)
    received = len(world.at_mobile) - down, len(world.at_correspondent) - up
    return sent - received[0], round(seconds * 200) - received[1]


def test_a_new_home_agent_relays_until_the_mobile_node_knows_it() -> None:
    """Nothing is lost, though its SID would be refused at first."""
    world = World(3)
    world.start_all()
    world.start_mn()
    assert table(world) == [1, 2, 3]
    world.trouble = lambda packet: [] if is_signalling(packet) else [packet]
    world.join(4)
    assert streams(world, 0.7) == (0, 0)
    assert "tunnel.sent" not in world.has[4].counters
    assert table(world) == [1, 2, 3]
    world.trouble = lambda packet: [packet]
    assert streams(world, 0.7) == (0, 0)
    new = world.has[4].counters
    assert new["relayed-to-primary"] > 10
    assert new["tunnel.sent"] > 20
    assert table(world) == [1, 2, 3, 4]
    assert world.mn is not None
    assert "dropped.unknown-sid" not in world.mn.counters
    assert world.has[1].counters["sid-table.requests"] == 2


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_lost_while_one_joins_and_is_dismissed(mode: Mode) -> None:
    world = World(2, mode)
    world.start_all()
    world.start_mn()
    world.join(3)
    assert streams(world, 1.0) == (0, 0)
    world.dismiss(3)
    world.kill(3)
    assert streams(world, 1.0) == (0, 0)
    if mode is Mode.HARDENED:
        assert table(world) == [1, 2]


def test_a_table_that_lacks_an_index_closes_its_window_at_once() -> None:
    world = World(3)
    world.start_all()
    world.start_mn()
    world.dismiss(3)
    world.run(0.1)
    assert table(world) == [1, 2]
    assert world.mn is not None
    world.down(3)
    world.run(0.01)
    assert world.at_mobile == []
    assert world.mn.counters["dropped.unknown-sid"] == 1


def test_binding_refresh_requests_are_paced_and_repeated() -> None:
    world = World(2)
    world.start_all()
    for number in range(1, 5):
        world.start_mn(number=number, at=COA + number - 1)
    lost = {"count": 0}

    def lose(packet: bytes) -> list[bytes]:
        if not is_signalling(packet) or lost["count"] >= 2:
            return [packet]
        lost["count"] += 1
        return []

    world.trouble = lose
    world.seen.clear()
    world.join(3)
    world.run(0.1)
    assert table(world) == [1, 2]
    world.run(5.0)
    assert table(world) == [1, 2, 3]
    assert world.has[1].counters["sid-table.requests"] == 4 + 2


def test_requests_for_a_thousand_mobile_nodes() -> None:
    """500 a second, and none twice: who has a request on its way gets no other."""
    world = World(2)
    world.start_all()
    world.start_mn()
    engine = world.has[1]
    (model,) = list(engine._context.cache)
    for number in range(1, 1000):
        engine._context.cache.put(replace(model, home_address=HOA + 0x1000 + number))
    asked: list[float] = []
    engine._tables._ask_for_update = lambda binding: asked.append(world.now)
    world.join(3)
    world.run(0.5)
    world.join(4)
    world.run(0.4)
    assert 440 <= len(asked) <= 460
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert min(gaps) == pytest.approx(PACE)


@pytest.mark.parametrize("lost", ["request", "acknowledgement", "confirmation"])
def test_each_message_of_a_change_lost(lost: str) -> None:
    world = World(2)
    world.start_all()
    world.start_mn()
    gone: list[bytes] = []
    place = {"request": 0, "acknowledgement": 1, "confirmation": 1}[lost]

    def lose(packet: bytes) -> list[bytes]:
        update = packet[24:40] == ANYCAST.packed and packet[6] == ipv6.DESTINATION_OPTIONS
        if not (update if lost == "confirmation" else is_signalling(packet)):
            return [packet]
        gone.append(packet)
        return [] if len(gone) == place + 1 else [packet]

    world.trouble = lose
    world.join(3)
    assert streams(world, 3.0) == (0, 0)
    assert table(world) == [1, 2, 3]
    assert world.has[3].counters["tunnel.sent"] > 50


def test_the_new_home_agent_is_nearest_and_so_primary() -> None:
    """It acknowledges, and yet has packets of its own relayed until that is confirmed."""
    world = World(3)
    world.start_all()
    world.start_mn()
    world.join(4)
    world.order = [4, 1, 2, 3]
    assert streams(world, 1.0) == (0, 0)
    assert world.primaries() == {"HA4"}
    assert table(world) == [1, 2, 3, 4]


def test_the_primary_dies_while_one_joins() -> None:
    """Who takes over asks for the update, and until then the new one relays to who is known."""
    world = World(3)
    world.start_all()
    world.start_mn()
    world.trouble = lambda packet: [] if packet[24:40] == COA.packed else [packet]
    world.join(4)
    world.run(0.6)
    world.kill(1)
    world.run(0.6)
    world.trouble = lambda packet: [packet]
    assert streams(world, 3.0) == (0, 0)
    assert table(world) == [1, 2, 3, 4]  # HA1 is dead, not dismissed
    assert world.primaries() == {"HA2"}


def test_a_mobile_node_that_knows_no_m_is_asked_for_nothing() -> None:
    world = World(2)
    world.start_all()
    world.start_mn(multi_sender=False)
    world.join(3)
    assert streams(world, 1.0) == (0, 0)
    assert world.has[1].counters["sid-table.requests"] == 0
    world.dismiss(1)
    world.kill(1)
    assert streams(world, 1.0) == (0, 0)


def test_all_restart_and_the_mobile_node_goes_on_with_its_table() -> None:
    world = World(3)
    world.start_all()
    world.start_mn()
    for index in (1, 2, 3):
        world.kill(index)
    for index in (1, 2, 3):
        world.start_ha(index)
    world.run(1.0)
    world.has[1].load_keys(world.mn.keyed(), world.now)  # type: ignore[union-attr]
    world.mn.registration.refresh(world.now)  # type: ignore[union-attr]
    world.run(0.5)
    assert world.has[1].counters["sid-table.requests"] == 0
    served(world)


# Leaving.

PROMPT = HomeAgentTimers(leave_least=0.3, leave_quiet=0.2, leave_most=2.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("multi_sender", [True, False])
@pytest.mark.parametrize("leaver", [1, 3])
def test_a_home_agent_leaves(mode: Mode, multi_sender: bool, leaver: int) -> None:
    """The primary and nearest, or another one: no packet is lost, though routing moves late."""
    world = World(3, mode, timers=PROMPT)
    world.start_all()
    world.start_mn(multi_sender=multi_sender)
    world.start_mn(number=2, at=COA + 1)
    world.leave(leaver, stale=0.5)
    assert streams(world, 1.5) == (0, 0)
    (left,) = world.found(leaver, Left)
    assert 0.5 < left.fields()["seconds"] < 1.5  # type: ignore[operator]
    world.gone(leaver)
    for index in world.has:
        assert world.found(index, PeerDismissed) == [PeerDismissed(f"HA{leaver}", leaver, "left")]
        assert world.has[index].status()["open_exchanges"] == 0
    assert streams(world, 0.5) == (0, 0)
    assert world.primaries() == world.primaries(2) == {"HA2" if leaver == 1 else "HA1"}
    if mode is Mode.HARDENED:
        assert table(world, 2) == [each for each in (1, 2, 3) if each != leaver]
        if multi_sender:
            assert table(world) == table(world, 2)
    served(world)
    served(world, 2)


def test_it_serves_on_while_anything_comes_and_not_for_ever() -> None:
    for seconds, least, most in ((1.2, 1.2, 1.5), (5.0, 2.0, 2.6)):
        world = World(2, timers=PROMPT)
        world.start_all()
        world.start_mn()
        world.leave(1, stale=seconds)
        assert streams(world, seconds + 1.0) == (0, 0) or seconds == 5.0
        (left,) = world.found(1, Left)
        assert least <= left.fields()["seconds"] - LINGER_TIME <= most  # type: ignore[operator]


def test_routing_that_moves_within_5_s_is_waited_for_without_traffic() -> None:
    world = World(2)
    world.start_all()
    world.leave(1)
    world.run(6.0)
    assert world.found(1, Left) == []
    world.run(1.0)
    assert len(world.found(1, Left)) == 1


def test_who_cannot_leave() -> None:
    world = World(2)
    world.start_ha(1)
    world.run(1.0)
    with pytest.raises(LeaveImpossible, match="no other home agent serves"):
        world.has[1].leave(world.now)
    assert 1 in world.advertising
    world.start_ha(2)
    world.run(1.0)
    world.leave(1)
    with pytest.raises(LeaveImpossible, match="already draining"):
        world.has[1].leave(world.now)


def test_the_last_one_stays() -> None:
    """Its only peer dies while it drains: it serves on, and advertises again."""
    world = World(2, timers=replace(PROMPT, leave_least=0.6))
    world.start_all()
    world.start_mn()
    world.leave(1)
    world.kill(2)
    world.run(2.0)
    assert world.found(1, Left) == []
    assert 1 in world.advertising
    assert world.has[1].status()["leaving"] == "here"
    served(world)
    world.start_ha(2)
    world.run(1.0)
    world.leave(1)
    assert streams(world, 2.0) == (0, 0)
    assert len(world.found(1, Left)) == 1


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("twice", [False, True])
def test_each_message_of_a_farewell_lost_or_repeated(place: int, twice: bool) -> None:
    world = World(3, timers=PROMPT)
    world.start_all()
    world.start_mn()
    seen = {"count": 0}

    def trouble(packet: bytes) -> list[bytes]:
        message = opened(world, packet)
        if not isinstance(message, Leave | LeaveAcknowledgement):
            return [packet]
        seen["count"] += 1
        if seen["count"] != place + 1:
            return [packet]
        return [packet, packet] if twice else []

    world.trouble = trouble
    world.leave(1)
    world.run(3.0)
    assert len(world.found(1, Left)) == 1
    assert seen["count"] >= 4
    world.gone(1)
    for index in (2, 3):
        assert world.has[index].status()["peers"] == {f"HA{5 - index}": "up"}
    assert world.primaries() == {"HA2"}
    served(world)


def test_the_successor_dies_during_the_farewell() -> None:
    world = World(4, timers=PROMPT)
    world.start_all()
    world.start_mn()
    world.leave(1)
    world.run(0.29)
    world.kill(2)
    world.run(6.0)
    world.gone(1)
    assert world.primaries() == {"HA3"}
    served(world)


def test_the_leaver_dies_when_only_its_successor_knows() -> None:
    """The successor has the role everywhere; the others hold the leaver for dead."""
    world = World(3, timers=PROMPT)
    world.start_all()
    world.start_mn()
    world.leave(1)
    world.cut = {frozenset((1, 3))}
    world.run(0.31)
    world.kill(1)
    world.run(1.0)
    assert world.primaries() == {"HA2"}
    served(world)


def test_a_binding_update_to_a_leaver_that_has_handed_over_goes_unanswered() -> None:
    """Its peers would not hear of it: the mobile node repeats it, to another one."""
    world = World(2, timers=PROMPT)
    world.start_all()
    world.start_mn()
    world.run(1.0)
    world.leave(1)
    world.run(0.35)
    assert world.has[1].status()["leaving"] == "telling"
    world.advertising.add(1)
    assert world.mn is not None
    world.mn.registration.refresh(world.now)
    world._collect()
    world.run(0.1)
    assert world.has[1].counters["dropped.leaving"] == 1
    world.advertising.discard(1)
    world.run(2.0)
    assert world.mn.registration.state is State.BOUND
    assert world.primaries() == {"HA2"}


def test_a_renewal_that_the_leaver_began_is_finished() -> None:
    world = World(3, key_exchange=True, timers=PROMPT)
    world.start_all()
    world.start_mn()
    world.leave(1)
    world.run(0.299)
    world.has[1].renew(HOA, world.now)
    assert streams(world, 2.0) == (0, 0)
    world.gone(1)
    world.run(15.0)
    held = [{(each["spi"], each["state"]) for each in world.has[i].sas()} for i in (2, 3)]
    assert held[0] == held[1]
    assert len(held[0]) == 4
    served(world)


def test_after_leaving_nothing_is_answered() -> None:
    world = World(2, timers=PROMPT)
    world.start_all()
    world.start_mn()
    world.leave(1)
    world.run(2.0)
    engine = world.has[1]
    assert engine.next_timer() is None
    world.down(1)
    assert engine.packets_to_send(world.now) == []
    assert engine.counters["dropped.left"] >= 1


def test_join_and_leave_until_no_first_one_is_left() -> None:
    """Every home agent that there was at first is replaced, and the mobile node notices nothing."""
    world = World(3, timers=PROMPT)
    world.start_all()
    world.start_mn()
    for leaver in (1, 2, 3):
        world.join(leaver + 3)
        assert streams(world, 0.6) == (0, 0)
        world.leave(leaver)
        assert streams(world, 1.5) == (0, 0)
        world.gone(leaver)
    assert table(world) == [4, 5, 6]
    assert world.primaries() == {"HA4"} or world.primaries() == {"HA5"}
    assert max(world.sealed.values()) == 1


@pytest.mark.parametrize("successor", [0, 1, 9, 63, 255])
def test_a_successor_that_cannot_be(successor: int) -> None:
    """The leaver itself, and strangers: those who hear it find one by themselves."""
    world = World(3)
    world.start_all()
    world.start_mn()
    context = world.has[1]._context
    for peer in context.peers:
        context.send_to_peer(peer, Leave(successor=successor, identifier=7))
    world._collect()
    world.run(0.1)
    world.gone(1)
    assert world.primaries() == {"HA2"}
    served(world)
