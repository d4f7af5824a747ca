"""Renewal of a mobile node's SAs: make before break, whoever begins it, whoever dies in it."""

from ipaddress import IPv6Address

import pytest
from world import ANYCAST, CN, COA, COA2, HOA, World, opened, udp

from agents.config import Mode
from agents.core.events import (
    AdvertisePrefix,
    AssociationsDeleted,
    AssociationsRenewed,
    Notice,
    PrimaryChanged,
    RenewalBegan,
    RenewalFailed,
    RenewalRequested,
)
from agents.core.mobile_events import KeysSwitched
from agents.core.renewal import RenewalImpossible
from agents.core.security_associations import SecurityAssociation
from agents.keys import SaMode
from agents.wire import inter_ha

MODES = [Mode.HARDENED, Mode.DRAFT, Mode.DRAFT_CBC]
MILLISECOND = 0.001


class Streams:
    """Numbered packets at 1 kHz, from the mobile node and to it by the HAs of `via` in turn."""

    def __init__(self, world: World, via: tuple[int, ...] = (1, 2, 3)) -> None:
        self.world = world
        self.via = via
        self.up: set[bytes] = set()
        self.down: set[bytes] = set()
        self._number = 0

    def run(self, seconds: float, *, up: bool = True, down: bool = True) -> None:
        for _ in range(round(seconds / MILLISECOND)):
            self._number += 1
            data = self._number.to_bytes(4)
            if up:
                self.up.add(udp(HOA, CN, data))
                self.world.up(data)
            via = [index for index in self.via if index in self.world.has]
            if down and via:
                self.down.add(udp(CN, HOA, data))
                self.world.down(via[self._number % len(via)], data)
            self.world.run(MILLISECOND)

    def assert_nothing_lost(self) -> None:
        self.world.run(0.1)
        arrived_up = [packet for _, packet in self.world.at_correspondent]
        assert len(arrived_up) == len(set(arrived_up))
        assert len(self.world.at_mobile) == len(set(self.world.at_mobile))
        assert self.up - set(arrived_up) == set()
        assert self.down - set(self.world.at_mobile) == set()


def registered(has: int = 3, mode: Mode = Mode.HARDENED, **options: object) -> World:
    world = World(has, mode, key_exchange=True, **options)  # type: ignore[arg-type]
    world.start_all()
    world.start_mn()
    return world


def held(world: World, index: int) -> list[SecurityAssociation]:
    return list(world.has[index]._context.associations)


def generations(world: World, index: int) -> dict[int, set[str]]:
    """Which generations an HA holds, and in which states."""
    found: dict[int, set[str]] = {}
    for each in held(world, index):
        found.setdefault(each.generation, set()).add(str(each.state))
    return found


def settled(world: World, generation: int = 2) -> None:
    """Every HA, and the mobile node, holds `generation` and nothing else."""
    for index in world.has:
        assert generations(world, index) == {generation: {"mature"}}, index
        assert len(held(world, index)) == 4
    assert world.mn is not None
    assert len(world.mn.sas()) == 4
    assert {each["state"] for each in world.mn.sas()} == {"mature"}


@pytest.mark.parametrize("mode", MODES)
def test_renewal_loses_nothing(mode: Mode) -> None:
    world = registered(mode=mode)
    streams = Streams(world)
    streams.run(0.1)
    world.has[1].renew(HOA, world.now)
    streams.run(3.0)
    streams.assert_nothing_lost()
    settled(world)
    steps = (RenewalBegan, AssociationsRenewed, AssociationsDeleted)
    assert [type(each) for each in world.events[1] if isinstance(each, steps)] == list(steps)
    if mode is Mode.HARDENED:
        assert max(world.sealed.values()) == 1


@pytest.mark.parametrize(("up", "down"), [(True, False), (False, True), (False, False)])
def test_renewal_with_traffic_one_way_only(up: bool, down: bool) -> None:
    world = registered()
    streams = Streams(world)
    world.has[1].renew(HOA, world.now)
    streams.run(3.0, up=up, down=down)
    streams.run(0.1)
    streams.assert_nothing_lost()
    settled(world)


def test_make_before_break_in_its_order() -> None:
    """Rule 9, step by step: held and announced, active, 2 s later deleted."""
    world = registered()
    began = world.now
    world.has[1].renew(HOA, world.now)
    world.run(0.0035)  # agreed after 2 ms, the Updates arrived after 3, their answers did not
    for index in (1, 2, 3):
        assert generations(world, index) == {1: {"mature"}, 2: {"larval"}}
    world.down(2, b"old")
    world.run(0.001)
    assert world.mn is not None
    assert {each["state"] for each in world.mn.sas() if each["generation"] == 2} == {"larval"}
    world.run(0.002)
    for index in (1, 2, 3):
        assert generations(world, index) == {1: {"dying"}, 2: {"mature"}}
    assert world.found("mn", KeysSwitched) == []  # it has received nothing on the fresh SA
    world.down(3, b"new")
    world.run(0.001)
    assert len(world.found("mn", KeysSwitched)) == 1
    world.run(began + 2.005 - world.now)
    assert world.key_exchanges[1].deletes == 0
    world.run(0.003)
    assert world.key_exchanges[1].deletes == 1
    world.run(0.6)
    settled(world)


def test_a_peer_that_does_not_answer_holds_renewal_up_for_200_ms() -> None:
    world = registered()
    deaf = {IPv6Address("fd00:1:3::3")}

    def trouble(packet: bytes) -> list[bytes]:
        message = opened(world, packet)
        lost = isinstance(message, inter_ha.SaInformationUpdate) and not message.solicited
        return [] if lost and IPv6Address(packet[24:40]) in deaf else [packet]

    world.trouble = trouble
    streams = Streams(world)
    began = world.now
    world.has[1].renew(HOA, world.now)
    streams.run(0.19)
    assert not world.found(1, AssociationsRenewed)
    streams.run(0.02)
    assert world.found(1, AssociationsRenewed)
    assert 2 not in generations(world, 3)
    # A packet on the fresh SA comes to the HA that was not told: it asks (rule 10).
    world.order = [3, 1, 2]
    streams.run(0.1)
    assert generations(world, 3)[2] == {"mature"}
    deaf.clear()
    streams.run(began + 6.0 - world.now)
    streams.assert_nothing_lost()
    settled(world)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mode", MODES)
def test_renewal_between_home_agents_that_lose_repeat_and_reorder(mode: Mode, seed: int) -> None:
    world = registered(mode=mode, seed=seed)
    between = {each.packed for each in (IPv6Address(f"fd00:1:{n}::{n}") for n in (1, 2, 3))}

    def trouble(packet: bytes) -> list[bytes]:
        if packet[24:40] not in between:
            return [packet]
        return [packet] * world.random.choice([0, 1, 1, 2])

    world.trouble = trouble
    world.delay = lambda packet: (
        MILLISECOND * (1 + 20 * world.random.random()) if packet[24:40] in between else MILLISECOND
    )
    streams = Streams(world)
    world.has[1].renew(HOA, world.now)
    streams.run(1.0)
    streams.run(5.0 if seed == 0 else 0.5)
    world.trouble = lambda packet: [packet]
    world.run(6.0)
    streams.run(0.1)
    streams.assert_nothing_lost()
    settled(world)


def test_packets_on_their_way_when_the_delete_comes_still_arrive() -> None:
    """They take longer than key management's answer."""
    world = registered()
    slow = ANYCAST.packed
    world.delay = lambda packet: 0.03 if packet[24:40] == slow else MILLISECOND
    streams = Streams(world)
    world.has[1].renew(HOA, world.now)
    streams.run(3.0, down=False)
    streams.assert_nothing_lost()
    settled(world)


@pytest.mark.parametrize("who", [1, 2, 3, "mn"])
def test_numbers_that_end_before_the_renewal_is_done(who: int | str) -> None:
    """The fresh SA is sent on early: the other end holds it."""
    world = registered()
    deaf = IPv6Address("fd00:1:3::3").packed
    world.trouble = lambda packet: (
        []
        if isinstance(opened(world, packet), inter_ha.SaInformationAcknowledgement)
        and packet[8:24] == deaf
        else [packet]
    )
    streams = Streams(world)
    world.has[1].renew(HOA, world.now)
    streams.run(0.05)
    engine = world.mn if who == "mn" else None
    for each in list(engine._associations) if engine else held(world, int(who)):
        if each.generation == 1:
            each.counter = each.limit
    streams.run(0.1)
    assert not world.found(1, AssociationsRenewed)
    streams.assert_nothing_lost()


def test_renewal_with_a_home_agent_invalid_which_returns_whole() -> None:
    world = registered()
    streams = Streams(world, (1, 2))
    world.kill(3)
    streams.run(0.6)
    world.has[1].renew(HOA, world.now)
    streams.run(0.5)
    world.start_ha(3)
    streams.run(1.0)
    assert generations(world, 3)[2] == {"mature"}
    streams.via = (1, 2, 3)
    streams.run(1.5)
    streams.assert_nothing_lost()
    settled(world)


def test_a_stopped_home_agent_drops_the_old_generation_when_it_returns() -> None:
    """Its table is old: nobody takes a dead SA from it, and it does not keep it."""
    world = registered()
    frozen = world.has.pop(3)
    world.run(0.6)
    world.has[1].renew(HOA, world.now)
    world.run(4.0)
    world.has[3] = frozen
    frozen.resynchronise(world.now)
    world.run(1.0)
    streams = Streams(world)
    streams.run(0.2)
    streams.assert_nothing_lost()
    settled(world)
    assert 3 in world.advertising


# Who begins, and why.


def last_number(world: World, index: int, mode: SaMode = SaMode.TUNNEL) -> None:
    """HA `index` has used its numbers up to the soft limit."""
    for each in held(world, index):
        if not each.inbound and each.mode is mode:
            each.counter = each.soft_limit - 1


@pytest.mark.parametrize("mode", MODES)
def test_the_primary_renews_when_its_own_numbers_end(mode: Mode) -> None:
    world = registered(mode=mode)
    last_number(world, 1)
    streams = Streams(world)
    streams.run(3.0)
    streams.assert_nothing_lost()
    settled(world)
    assert world.key_exchanges[1].began == 1
    assert world.found(1, RenewalBegan)[0].fields()["cause"] == "sent-numbers"


@pytest.mark.parametrize("mode", MODES)
def test_d10_a_secondary_runs_out_first(mode: Mode) -> None:
    world = registered(mode=mode)
    last_number(world, 3)
    streams = Streams(world)
    streams.run(3.0)
    streams.assert_nothing_lost()
    settled(world)
    assert world.found(3, RenewalRequested)[0].fields()["peers"] == "HA1"
    assert world.has[3].counters["sent.SaInformationRenewRequest"] == 1
    assert [world.key_exchanges[index].began for index in (1, 2, 3)] == [1, 0, 0]
    assert world.primaries() == {"HA1"}


@pytest.mark.parametrize("mode", MODES)
def test_d10_with_the_primary_dead_takeover_comes_first(mode: Mode) -> None:
    world = registered(mode=mode)
    world.kill(1)
    world.run(1.0)
    world.order = [2, 3]
    last_number(world, 3)
    streams = Streams(world, (2, 3))
    streams.run(3.0)
    streams.assert_nothing_lost()
    settled(world)
    assert world.primaries() == {"HA2"}
    assert world.found(2, PrimaryChanged)[-1].fields()["cause"] == "takeover"
    assert [world.key_exchanges[index].began for index in (2, 3)] == [1, 0]


@pytest.mark.parametrize("mode", MODES)
def test_d10_with_the_primary_dead_and_a_silent_mobile_node(mode: Mode) -> None:
    """Rule 1: the requester provokes a packet, for which it kept numbers back."""
    world = registered(mode=mode)
    world.kill(1)
    world.run(1.0)
    world.order = [2, 3]
    last_number(world, 3)
    for each in held(world, 3):
        if not each.inbound and each.mode is SaMode.TRANSPORT:
            each.counter = each.limit - 8  # all but those kept back
    streams = Streams(world, (3,))
    streams.run(3.0, up=False)
    streams.assert_nothing_lost()
    settled(world)
    assert world.has[3].counters["sent.BindingRefreshRequest"] == 1
    assert world.primaries() == {"HA2"}
    assert world.found(2, PrimaryChanged)[-1].fields()["cause"] == "takeover"
    # The second has the mobile node show that it moved on to the fresh SAs.
    assert world.has[2].counters["received.binding-update"] == 2
    assert [world.key_exchanges[index].began for index in (2, 3)] == [1, 0]


def test_draft_mode_marks_the_sa_due_and_takes_over() -> None:
    """Rule 1 (b): the Renew Request is what lets another HA take over in draft mode."""
    world = registered(mode=Mode.DRAFT)
    world.kill(1)
    world.run(1.0)
    world.up()
    world.run(0.1)
    assert world.primaries() == {"HA1"}
    last_number(world, 3)
    world.down(3)
    world.run(0.01)
    assert any(each.marked_due for each in held(world, 2))
    assert world.primaries() == {"HA1"}
    world.up()
    world.run(0.01)
    assert world.primaries() == {"HA2"}


def test_the_mobile_nodes_own_numbers_are_seen_where_they_arrive() -> None:
    world = registered()
    world.order = [2, 1, 3]
    assert world.mn is not None
    for each in world.mn._associations:
        if each.destination == ANYCAST:
            each.counter = world.ha_config(1).sequence_soft_limit - 1
    streams = Streams(world)
    streams.run(3.0)
    streams.assert_nothing_lost()
    settled(world)
    assert world.has[2].counters["sent.SaInformationRenewRequest"] == 1
    assert world.key_exchanges[1].began == 1


@pytest.mark.parametrize("mode", MODES)
def test_one_renewal_after_another_at_a_low_limit(mode: Mode) -> None:
    """No number beyond the limit is sent, and none is missed."""
    world = registered(mode=mode, sequence_soft_limit=100, sequence_limit=400)
    streams = Streams(world)
    streams.run(2.0)
    streams.assert_nothing_lost()
    assert world.key_exchanges[1].began >= 10
    assert max(number for spi, _, number in world.sealed if spi >> 24) <= 400
    # Old generations do not pile up: 2.5 s and a little of them are alive.
    world.run(4.0)
    assert all(len(held(world, index)) == 4 for index in (1, 2, 3))


def test_simultaneous_requests_make_one_renewal() -> None:
    world = registered(has=5)
    for index in (2, 3, 4, 5):
        last_number(world, index)
    for index in (2, 3, 4, 5):
        world.down(index)
        world.down(index)
    world.run(3.0)
    settled(world)
    assert world.key_exchanges[1].began == 1
    for index in (2, 3, 4, 5):
        assert world.has[index].counters["sent.SaInformationRenewRequest"] == 1


def test_a_request_for_what_is_renewed_is_answered_with_the_fresh_sas() -> None:
    """HA3 has missed the Updates, and asks by an SPI that is dying, then dead, at the primary."""
    world = registered()
    deaf = True

    def trouble(packet: bytes) -> list[bytes]:
        message = opened(world, packet)
        lost = isinstance(message, inter_ha.SaInformationUpdate) and not message.solicited
        return [] if deaf and lost and packet[24:40] == b3 else [packet]

    b3 = IPv6Address("fd00:1:3::3").packed
    world.trouble = trouble
    world.has[1].renew(HOA, world.now)
    world.run(0.5)
    assert 2 not in generations(world, 3)
    last_number(world, 3)
    world.down(3)
    world.run(0.01)
    assert generations(world, 3)[2] == {"mature"}
    assert world.key_exchanges[1].began == 1
    deaf = False


@pytest.mark.parametrize("lost", [inter_ha.SaInformationRenewRequest, None])
def test_a_lost_request_is_repeated_in_bounds(lost: type | None) -> None:
    world = registered()
    seen: list[bytes] = []

    def trouble(packet: bytes) -> list[bytes]:
        message = opened(world, packet)
        if isinstance(message, inter_ha.SaInformationRenewRequest):
            seen.append(packet)
            return [packet] if len(seen) > 2 or lost is None else []
        return [packet]

    world.trouble = trouble
    last_number(world, 3)
    streams = Streams(world)
    streams.run(3.0)
    streams.assert_nothing_lost()
    settled(world)
    assert len(seen) == (3 if lost else 1)
    assert world.key_exchanges[1].began == 1


@pytest.mark.parametrize("index", [1, 2])
def test_a_lifetime_ends_in_a_renewal_by_the_primary(index: int) -> None:
    world = registered(sa_lifetime=5.0)
    if index == 2:
        world.kill(1)
    streams = Streams(world, (2, 3))
    world.run(4.2)
    streams.run(0.1)
    world.run(4.0)
    streams.run(0.1)
    assert world.key_exchanges[index].began == 1
    world.run(0.2)
    assert sum(each.began for each in world.key_exchanges.values()) == 1
    streams.assert_nothing_lost()
    settled(world)


# What goes wrong.


def test_without_key_exchange_renewal_is_impossible_and_said_once() -> None:
    world = World(2)
    world.start_all()
    world.start_mn()
    with pytest.raises(RenewalImpossible, match="load-keys"):
        world.has[1].renew(HOA, world.now)
    last_number(world, 1)
    last_number(world, 2)
    for _ in range(3):
        world.down(1)
        world.down(2)
        world.run(1.5)
    texts = [str(each.fields()["text"]) for each in world.found(1, Notice)]
    assert len([text for text in texts if "renewal" in text]) == 1
    assert world.has[1].counters["renewal.impossible"] >= 3
    assert world.has[2].counters["refused-by-peer.administratively_prohibited"] >= 1
    assert len(world.at_mobile) == 6


def test_verbs_at_the_wrong_place() -> None:
    world = registered(has=2)
    with pytest.raises(RenewalImpossible, match="no binding"):
        world.has[1].renew(IPv6Address("fd00:192:168:1::77"), world.now)
    with pytest.raises(RenewalImpossible, match="primary"):
        world.has[2].revoke(HOA, world.now)
    world.has[1].renew(HOA, world.now)
    world.has[1].renew(HOA, world.now)  # one is under way
    world.run(3.0)
    assert world.key_exchanges[1].began == 1
    settled(world)


@pytest.mark.parametrize("fate", ["failed", "request-lost", "answer-lost"])
def test_a_failed_renewal_changes_nothing_and_is_tried_again(fate: str) -> None:
    world = registered()
    world.fate = fate
    last_number(world, 1)
    streams = Streams(world)
    streams.run(0.6)
    assert world.found(1, RenewalFailed)[0].fields()["reason"] == fate
    assert generations(world, 1) == {1: {"mature"}}
    world.fate = "agreed"
    streams.run(3.5)
    streams.assert_nothing_lost()
    for index in (1, 2, 3):
        assert generations(world, index) == {2: {"mature"}}
    assert world.key_exchanges[1].began == 2


# Without grace.


def test_revoke_ends_the_old_sas_at_once_everywhere() -> None:
    world = registered()
    streams = Streams(world)
    streams.run(0.05)
    recorded = list(world.seen)
    world.has[1].revoke(HOA, world.now)
    world.run(0.005)
    settled(world)
    before = len(world.at_mobile), len(world.at_correspondent)
    for packet in recorded:
        if packet[6] in (50, 60):
            world.inject(packet)
    world.run(0.2)
    assert (len(world.at_mobile), len(world.at_correspondent)) == before
    streams.run(0.2)
    streams.assert_nothing_lost()


def test_revoke_makes_a_running_renewal_one_without_grace() -> None:
    world = registered()
    world.has[1].renew(HOA, world.now)
    world.run(0.001)
    world.has[1].revoke(HOA, world.now)
    world.run(0.01)
    settled(world)
    assert world.key_exchanges[1].began == 1


def test_revoke_ends_the_old_sas_even_if_no_fresh_ones_come_about() -> None:
    world = registered()
    world.fate = "failed"
    world.has[1].revoke(HOA, world.now)
    world.run(0.1)
    for index in (1, 2, 3):
        assert held(world, index) == []
    world.down(2)
    assert world.has[2].counters["dropped.no-sa"] == 1


# Others finish what one began.


@pytest.mark.parametrize(
    ("mode", "heir"), [*((mode, 2) for mode in MODES), (Mode.HARDENED, 3), (Mode.DRAFT, 3)]
)
@pytest.mark.parametrize("step", range(13))
def test_d16_primary_killed_after_each_step(mode: Mode, heir: int, step: int) -> None:
    """0 lost outside the routing outage, which here takes no time; one generation remains.

    A step is one SA message between HAs: of two Updates, the first, to HA2, may be sent and the
    second not. `heir` is the HA that gets the mobile node's traffic afterwards.
    """
    world = registered(mode=mode)
    world.order = [1, heir, 5 - heir]
    streams = Streams(world, (2, 3))
    count = 0
    killed = False
    dead = IPv6Address("fd00:1:1::1").packed

    def trouble(packet: bytes) -> list[bytes]:
        nonlocal count, killed
        steps = inter_ha.SaInformationUpdate | inter_ha.SaInformationAcknowledgement
        if killed and packet[8:24] == dead:
            return []
        if not killed and isinstance(opened(world, packet), steps):
            if count == step:
                killed = True
                world.after(0.0, lambda: world.kill(1))
            count += 1
        return [packet]

    world.trouble = trouble
    world.has[1].renew(HOA, world.now)
    streams.run(1.5)
    world.run(1.6)
    if not killed:
        assert step == 12  # after the last acknowledgement of the last step
        killed = True
        world.kill(1)
    streams.run(0.5)
    world.run(10.0)
    streams.run(0.3)
    streams.assert_nothing_lost()
    world.run(13.0)
    streams.run(0.05)
    streams.assert_nothing_lost()
    assert generations(world, 2) == generations(world, 3)
    assert len(generations(world, 2)) == 1


def test_d16_a_peer_hands_an_unfinished_renewal_to_the_new_primary() -> None:
    """Only HA2 was told of the fresh SAs, only HA3 has traffic: it learns of them, and finishes."""
    world = registered()
    world.order = [1, 3, 2]
    to_3 = IPv6Address("fd00:1:3::3").packed
    world.trouble = lambda packet: (
        []
        if packet[24:40] == to_3 and isinstance(opened(world, packet), inter_ha.SaInformationUpdate)
        else [packet]
    )
    world.has[1].renew(HOA, world.now)
    world.run(0.0035)
    world.kill(1)
    world.run(0.6)
    world.trouble = lambda packet: [packet]
    assert [2 in generations(world, index) for index in (2, 3)] == [True, False]
    streams = Streams(world, (3,))
    streams.run(0.01)
    assert world.primaries() == {"HA3"}
    assert generations(world, 3)[2] in ({"larval"}, {"mature"})
    streams.run(2.3)
    world.run(20.0)
    streams.run(0.1)
    streams.assert_nothing_lost()
    settled(world)


def test_d16_fresh_sas_become_active_though_nobody_says_so() -> None:
    """Nor takes over: the mobile node is silent, and the primary died before it told."""
    world = registered()
    world.has[1].renew(HOA, world.now)
    world.run(0.0035)
    world.kill(1)
    streams = Streams(world, (2, 3))
    streams.run(0.9, up=False)
    assert generations(world, 2) == {1: {"mature"}, 2: {"larval"}}
    streams.run(0.2, up=False)
    assert generations(world, 2) == generations(world, 3) == {1: {"dying"}, 2: {"mature"}}
    assert world.primaries() == {"HA1"}
    streams.run(0.2)
    streams.assert_nothing_lost()


@pytest.mark.parametrize("down", [False, True])
def test_d16_a_mobile_node_idle_for_long_is_heard_after_the_primary_has_died(down: bool) -> None:
    """No Delete can reach it, nor does any packet: it may still send on the old SA."""
    world = registered()
    world.has[1].renew(HOA, world.now)
    world.run(0.0045)
    world.kill(1)
    streams = Streams(world, (2, 3))
    streams.run(0.1, up=False, down=down)
    world.run(60.0)
    streams.run(0.2)
    streams.assert_nothing_lost()
    world.run(30.0)
    streams.run(0.2)
    streams.assert_nothing_lost()
    settled(world)


@pytest.mark.parametrize("delay", [0.0005, 0.0015])
@pytest.mark.parametrize("mode", MODES)
def test_d16_primary_killed_during_the_key_exchange(mode: Mode, delay: float) -> None:
    world = registered(mode=mode)
    streams = Streams(world, (2, 3))
    world.has[1].renew(HOA, world.now)
    world.run(delay)
    world.kill(1)
    streams.run(1.0)
    last_number(world, 2)
    streams.run(3.0)
    streams.assert_nothing_lost()
    # Begun anew, by the HA that took over; what only the mobile node held has gone with it.
    assert world.primaries() == {"HA2"}
    assert world.key_exchanges[2].began == 1
    world.run(13.0)
    assert generations(world, 2) == generations(world, 3) == {2: {"mature"}}
    assert world.mn is not None
    assert len(world.mn.sas()) == 4


def test_takeover_sends_the_switch_in_the_same_call() -> None:
    world = registered()
    world.kill(1)
    world.run(1.0)
    assert world.mn is not None
    world.mn.encapsulate(udp(HOA, CN, b"x"), world.now)
    (packet,) = world.mn.packets_to_send(world.now)
    world.has[2].receive(packet, world.now)
    sent = [opened(world, each) for each in world.has[2].packets_to_send(world.now)]
    assert any(isinstance(each, inter_ha.PrimaryHaSwitch) for each in sent)


def test_i8_a_failover_renews_nothing() -> None:
    world = registered()
    world.kill(1)
    streams = Streams(world, (2, 3))
    streams.run(1.0)
    assert world.primaries() == {"HA2"}
    assert generations(world, 2) == {1: {"mature"}}
    assert not any(each.began for each in world.key_exchanges.values())


def test_d17_both_sides_of_a_partition_renew() -> None:
    """Rule 2, D18: fresh SAs of two primaries stand side by side."""
    world = registered()
    streams = Streams(world)
    world.cut = {frozenset((1, 2)), frozenset((2, 3))}
    world.run(1.0)
    world.order = [2, 1, 3]
    world.attach(COA2)
    world.detach(COA)
    world.run(0.5)
    assert {world.binding(index)["primary"] for index in (1, 2)} == {"HA1", "HA2"}  # type: ignore[index]
    world.mn_addresses.add(COA)  # HA1 believes it still there
    world.has[2].renew(HOA, world.now)
    world.has[1].renew(HOA, world.now)
    world.run(0.5)
    spis = [{each.spi for each in held(world, index) if each.inbound} for index in (1, 2)]
    fresh = [{spi for spi in each if spi & 0xFFFF >= 0x8000} for each in spis]
    assert [{spi >> 24 for spi in each} for each in fresh] == [{1}, {2}]
    world.cut = set()
    world.run(1.0)
    streams.run(2.0)
    streams.assert_nothing_lost()
    assert world.primaries() == {"HA2"}
    for index in (1, 2, 3):
        assert world.binding(index)["care_of_address"] == str(COA2)  # type: ignore[index]
    # The winner of the role renewed once more: it and the mobile node could not know whose is used.
    assert world.key_exchanges[2].began == 2
    world.run(15.0)
    settled(world, 3)


# Draft mode's silent home agent.


@pytest.mark.parametrize("mode", [Mode.DRAFT, Mode.DRAFT_CBC])
@pytest.mark.parametrize("index", [1, 2])
def test_a_restarted_home_agent_in_draft_mode_comes_back_by_renewal(mode: Mode, index: int) -> None:
    """Rule 3: HA2 has it from the primary; HA1, primary itself, renews on its own."""
    world = registered(mode=mode)
    streams = Streams(world)
    streams.run(0.1)
    world.kill(index)
    world.run(0.2)
    world.start_ha(index)
    streams.via = tuple({1, 2, 3} - {index})
    streams.run(1.0)
    assert index in world.advertising
    assert world.key_exchanges[1].began == 1
    streams.via = (1, 2, 3)
    streams.run(2.5)
    streams.assert_nothing_lost()
    settled(world)
    kinds = [type(each) for each in world.events[index]]
    assert kinds[-1 - kinds[::-1].index(AdvertisePrefix)] is AdvertisePrefix


def test_nothing_revives_a_dead_sa() -> None:
    """What the primary told of the old generation, told again after its end."""
    world = registered()
    old = held(world, 1)
    from agents.core.sa_learning import to_wire

    entries = [to_wire(each) for each in old]
    world.has[1].renew(HOA, world.now)
    world.run(3.0)
    settled(world)
    peer = world.has[2]._context.peers.by_index(1)
    assert peer is not None
    for solicited in (False, True):
        for entry in entries:
            world.has[2]._synchronisation.learning.learn(
                peer, entry, world.now, solicited=solicited
            )
    settled(world)
    world.run(100.0)  # also when its grave is forgotten
    for entry in entries:
        world.has[2]._synchronisation.learning.learn(peer, entry, world.now, solicited=True)
    settled(world)


def test_fresh_keys_are_in_no_event() -> None:
    world = registered()
    world.has[1].renew(HOA, world.now)
    world.run(3.0)
    keys = {each.key.hex() for each in held(world, 1)}
    text = repr([each.fields() for found in world.events.values() for each in found])
    assert not any(key in text for key in keys)
