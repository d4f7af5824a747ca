"""Renewal of the IKE SA by either end and by both (RFC 7296 §2.8, §2.18, §2.25); when it is due.

What a peer that renews says and gets, octet by octet, is in test_ike_children.py.
"""

from dataclasses import replace
from ipaddress import IPv6Address

import ike_samples as samples
import pytest
from ike_world import (
    DELAY,
    HA,
    HA_ID,
    PAYLOAD,
    SIGNALLING,
    End,
    IkeWorld,
    home_config,
    mirrored,
    mobile_config,
)

from agents.core.ike.config import IkeTimers
from agents.core.ike.endpoint import Datagram
from agents.core.ike.events import (
    ChildDeleted,
    ChildEstablished,
    ChildFailed,
    ChildRekeyed,
    IkeDeleted,
    IkeRekeyed,
    IkeRekeyFailed,
)
from agents.core.ike.ike_rekey import RETRY
from agents.core.ike.informational import answer_informational
from agents.core.ike.payload_search import Refused
from agents.core.ike.sa import IkeSa
from agents.core.ike.states import IkeState
from agents.wire.ike.numbers import ExchangeType, Group, NotifyType, ProtocolId, slug
from agents.wire.ike.payloads import (
    Delete,
    KeyExchange,
    Nonce,
    Notify,
    Payload,
    SecurityAssociationPayload,
)

MOVED = IPv6Address("fd00:20:20:20::100")
CREATE, INFORM = ExchangeType.CREATE_CHILD_SA, ExchangeType.INFORMATIONAL


def made(**more: object) -> IkeWorld:
    """Return two ends with one Child SA."""
    world = IkeWorld(
        mobile_config(PAYLOAD, **more),
        home_config(mirrored(PAYLOAD), mirrored(SIGNALLING), **more),
    )
    world.establish()
    for end in (world.mn, world.ha):
        end.events.clear()
    return world


@pytest.fixture
def world() -> IkeWorld:
    return made()


@pytest.fixture(params=["mn", "ha"])
def end(request: pytest.FixtureRequest, world: IkeWorld) -> End:
    """Return either end."""
    return {"mn": world.mn, "ha": world.ha}[request.param]


def other(world: IkeWorld, end: End) -> End:
    return world.ha if end is world.mn else world.mn


def settled(world: IkeWorld) -> IkeSa:
    """Check that both ends have one IKE SA, the same, with the same Child SAs; return the MN's."""
    ours, theirs = world.mn.sa, world.ha.sa
    assert str(ours) == str(theirs)
    assert ours.established
    assert theirs.established
    for each in (ours, theirs):
        assert (each.outstanding, list(each.queue)) == ((), [])
    assert ours.sealing_key() == theirs.opening_key() != theirs.sealing_key()
    assert {(each.inbound_spi, each.outbound_spi) for each in ours.children} == {
        (each.outbound_spi, each.inbound_spi) for each in theirs.children
    }
    for each in (world.mn, world.ha):
        living = [sa for sa in each.engine._context.sas.values() if sa.state is not IkeState.DEAD]
        assert living == [each.sa]
    return ours


def renew(world: IkeWorld, *ends: End) -> None:
    """Let these ends begin at once."""
    for each in ends:
        each.engine.rekey_ike(each.sa, world.now)
    world.collect()


def test_the_child_sas_move_and_all_goes_on(world: IkeWorld, end: End) -> None:
    peer = other(world, end)
    old, stale = end.sa, peer.sa
    (child,) = old.children
    keys = old.keys
    renew(world, end)
    world.run(1.0)
    settled(world)
    new = end.sa
    assert new.initiator
    assert not peer.sa.initiator
    assert new.children == (child,)
    assert old.children == ()
    assert keys is not None
    assert new.keys is not None
    assert new.keys.derive != keys.derive
    assert new.group == old.group
    for each, before, initiator in ((end, old, True), (peer, stale, False)):
        rekeyed, deleted = each.events
        assert isinstance(rekeyed, IkeRekeyed)
        assert (rekeyed.sa, rekeyed.successor, rekeyed.initiator) == (before, each.sa, initiator)
        assert isinstance(deleted, IkeDeleted)
        assert (deleted.sa, deleted.reason) == (before, "rekeyed")
    # Verbs on a handle from before go to the successor, and message numbers begin at 0.
    end.engine.rekey_child(old, child.inbound_spi, world.now)
    world.run(1.0)
    peer.engine.check_liveness(stale, world.now)
    world.run(1.0)
    assert len(end.of(ChildRekeyed)) == len(peer.of(ChildRekeyed)) == 1
    assert (new.next_request, new.expected_request) == (1, 1)
    settled(world)
    end.engine.delete(old, world.now)
    world.run(1.0)
    assert world.mn.engine.sas() == world.ha.engine.sas() == []


def test_again_and_again_by_either_end(world: IkeWorld) -> None:
    seen = {str(world.mn.sa)}
    for turn in range(6):
        renew(world, world.ha if turn % 2 else world.mn)
        world.run(1.0)
        seen.add(str(settled(world)))
    assert len(seen) == 7
    assert [each.kind for each in world.mn.events] == ["ike-rekeyed", "ike-deleted"] * 6


@pytest.mark.parametrize("late", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("seed", range(8))
def test_both_at_once(seed: int, late: float) -> None:
    """§2.8.2: the one with the lowest nonce goes, whichever answer is late or repeated."""
    world = IkeWorld(seed=seed)
    world.establish()
    mobile, home = world.mn.sa, world.ha.sa
    children = mobile.children
    chosen = {CREATE * 2 + response: late * (seed % 3 == response) for response in (0, 1)}

    def slow(datagram: Datagram) -> list[tuple[float, Datagram]]:
        kind = datagram.payload[18] * 2 + bool(datagram.payload[19] & 0x20)
        return [(chosen.get(kind, 0.0) * (datagram.source == mobile.local), datagram)]

    world.filter = slow
    renew(world, world.mn, world.ha)
    world.run(40.0)
    ours = settled(world)
    assert ours.children == children
    for each, before in ((world.mn, mobile), (world.ha, home)):
        (rekeyed,) = each.of(IkeRekeyed)
        assert (rekeyed.sa, rekeyed.successor) == (before, each.sa)
        assert [(event.sa, event.reason) for event in each.of(IkeDeleted)] == [(before, "rekeyed")]
        assert not each.of(IkeRekeyFailed)
        assert each.engine.find(HA_ID if each is world.mn else mobile.peer) is not before
    redundant = [each.engine.counters["redundant-rekeys"] for each in (world.mn, world.ha)]
    assert sum(redundant) == 1 or late
    renew(world, world.mn)
    world.run(1.0)
    settled(world)


def test_the_lowest_nonce_loses() -> None:
    """Both outcomes occur, and each is the one that the four nonces call for."""
    winners = set()
    for seed in range(12):
        world = IkeWorld(seed=seed)
        world.establish()
        nonces: dict[tuple[str, bool], bytes] = {}
        for each, name in ((world.mn, "mn"), (world.ha, "ha")):
            watch(each, name, nonces)
        renew(world, world.mn, world.ha)
        world.run(1.0)
        # A nonce of a request is of the end that begins, one of an answer of the other's exchange.
        lowest = {
            "mn": min(nonces["mn", False], nonces["ha", True]),
            "ha": min(nonces["ha", False], nonces["mn", True]),
        }
        winner = max(lowest, key=lowest.__getitem__)
        assert settled(world).initiator is (winner == "mn")
        winners.add(winner)
    assert winners == {"mn", "ha"}


def watch(end: End, name: str, nonces: dict[tuple[str, bool], bytes]) -> None:
    """Note the nonces that an end sends: those of requests and of answers."""
    transmission = end.engine._transmission
    seal = transmission._seal

    def sealing(
        sa: IkeSa, exchange: int, message_id: int, response: bool, payloads: list[Payload]
    ) -> tuple[bytes, ...]:
        for each in payloads:
            if isinstance(each, Nonce):
                nonces[name, response] = each.data
        return seal(sa, exchange, message_id, response, payloads)

    transmission._seal = sealing  # type: ignore[method-assign, assignment]


def test_one_end_does_not_notice_the_other(world: IkeWorld) -> None:
    """§2.8.2: the home agent's request comes when the old one is closed: TEMPORARY_FAILURE."""
    world.filter = lambda datagram: [
        (0.1 * (datagram.source == world.ha.sa.local and not datagram.payload[19] & 0x20), datagram)
    ]
    home = world.ha.sa
    renew(world, world.mn, world.ha)
    world.run(1.0)
    assert settled(world).initiator
    (rekeyed,) = world.ha.of(IkeRekeyed)
    assert (rekeyed.sa, rekeyed.initiator) == (home, False)
    assert not world.ha.of(IkeRekeyFailed)
    assert world.mn.engine.counters["redundant-rekeys"] == 0


# Collisions with what happens to Child SAs (§2.25)


def test_a_child_is_renewed_while_the_ike_sa_is(world: IkeWorld) -> None:
    """Each refuses the other's for now; nothing is lost, and it can be tried again."""
    (child,) = world.ha.sa.children
    renew(world, world.mn)
    world.ha.engine.rekey_child(world.ha.sa, child.inbound_spi, world.now)
    world.run(1.0)
    assert [each.reason for each in world.mn.of(IkeRekeyFailed)] == ["temporary-failure"]
    assert [each.reason for each in world.ha.of(ChildFailed)] == ["temporary-failure"]
    settled(world)
    renew(world, world.mn)
    world.run(1.0)
    world.ha.engine.rekey_child(world.ha.sa, child.inbound_spi, world.now)
    world.run(1.0)
    assert len(world.mn.of(IkeRekeyed)) == len(world.mn.of(ChildRekeyed)) == 1
    settled(world)


def test_a_child_is_deleted_while_the_ike_sa_is_renewed(world: IkeWorld) -> None:
    """§2.25.2: the Delete is answered as usual; who deletes refuses the renewal meanwhile."""
    (child,) = world.ha.sa.children
    renew(world, world.mn)
    world.ha.engine.delete_child(world.ha.sa, child.inbound_spi, world.now)
    world.run(1.0)
    assert len(world.mn.of(ChildDeleted)) == len(world.ha.of(ChildDeleted)) == 1
    assert [each.reason for each in world.mn.of(IkeRekeyFailed)] == ["temporary-failure"]
    assert settled(world).children == ()


def test_the_peer_has_lost_the_child_and_renews_the_ike_sa(world: IkeWorld) -> None:
    """CHILD_SA_NOT_FOUND is about the Child SA alone, whichever IKE SA it is under."""
    (child,) = world.mn.sa.children
    (lost,) = world.ha.sa.children_by_spi.values()
    world.ha.engine._context.remove_child(world.ha.sa, lost, "lost")
    renew(world, world.ha)
    world.run(1.0)
    world.mn.engine.rekey_child(world.mn.sa, child.inbound_spi, world.now)
    world.run(1.0)
    assert [each.reason for each in world.mn.of(ChildDeleted)] == ["child-sa-not-found"]
    settled(world)


def iter_children(end: End):  # type: ignore[no-untyped-def]
    return iter(end.sa.children_by_spi.values())


def test_the_ike_sa_is_deleted_while_it_is_renewed(world: IkeWorld, end: End) -> None:
    """§2.25.2: who deletes wins, be it the end that renews or the other one."""
    renew(world, world.mn)
    end.engine.delete(end.sa, world.now)
    world.run(60.0)
    assert world.mn.engine.sas() == world.ha.engine.sas() == []
    assert all(
        sa.state is IkeState.DEAD
        for each in (world.mn, world.ha)
        for sa in each.engine._context.sas.values()
    )


def test_requests_that_wait_move_along(world: IkeWorld, end: End) -> None:
    """Behind our own renewal, and behind a liveness check while the peer renews."""
    child = end.sa.children[0].inbound_spi
    renew(world, end)
    end.engine.rekey_child(end.sa, child, world.now)
    world.run(1.0)
    (rekeyed,) = end.of(ChildRekeyed)
    assert rekeyed.sa is end.sa
    end.engine.check_liveness(end.sa, world.now)
    end.engine.delete_child(end.sa, child, world.now)
    renew(world, other(world, end))
    world.run(1.0)
    (deleted,) = end.of(ChildDeleted)
    assert deleted.sa is end.sa
    assert len(end.of(IkeRekeyed)) == 2
    settled(world)


def test_a_renewal_that_waits_is_not_called_for_when_the_peer_was_faster(world: IkeWorld) -> None:
    world.mn.engine.check_liveness(world.mn.sa, world.now)
    renew(world, world.mn, world.ha)
    world.run(1.0)
    assert len(world.mn.of(IkeRekeyed)) == 1
    assert not world.mn.of(IkeRekeyFailed)
    assert not settled(world).initiator


def test_verbs_that_do_not_apply_are_counted(world: IkeWorld) -> None:
    renew(world, world.mn, world.mn)
    assert world.mn.engine.counters["rekey-not-applicable"] == 1
    world.run(1.0)
    world.mn.engine.delete(world.mn.sa, world.now)
    world.mn.engine.rekey_ike(world.mn.sa, world.now)
    assert world.mn.engine.counters["rekey-not-applicable"] == 2


def test_forgetting_and_moving_reach_all_generations(world: IkeWorld) -> None:
    old = world.mn.sa
    world.filter = lambda datagram: [] if datagram.payload[18] == INFORM else [(0.0, datagram)]
    renew(world, world.mn)
    world.run(0.1)
    new = old.heir
    assert (old.state, new.state) == (IkeState.DELETING, IkeState.ESTABLISHED)
    world.mn.engine.move(old, MOVED, new.remote)
    assert old.local == new.local == MOVED
    world.mn.engine.forget(old)
    world.collect()
    assert world.mn.engine.sas() == []
    assert [each.reason for each in world.mn.of(IkeDeleted)] == ["forgotten"] * 2


# Refusals and answers that cannot be meant


def test_another_group_is_asked_for() -> None:
    """INVALID_KE_PAYLOAD (§1.3.2), where the policy has changed since IKE_SA_INIT."""
    world = made()
    context = world.ha.engine._context
    context.config = replace(context.config, groups=(Group.P256,))
    renew(world, world.mn)
    world.run(1.0)
    assert settled(world).group == Group.P256
    assert world.ha.engine.counters["refused.invalid-ke-payload"] == 1
    context.config = replace(context.config, groups=(Group.MODP_2048,))
    renew(world, world.mn)
    world.run(1.0)
    assert [each.reason for each in world.mn.of(IkeRekeyFailed)] == ["no-proposal-chosen"]
    settled(world)


GOOD_KE, GOOD_NONCE = KeyExchange(31, bytes(range(32))), Nonce(bytes(32))
CHOSEN = replace(
    samples.IKE_PROPOSAL,
    spi=bytes(range(8)),
    transforms=(samples.IKE_PROPOSAL.transforms[0], *samples.IKE_PROPOSAL.transforms[2:4]),
)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [GOOD_NONCE, GOOD_KE],
        [SecurityAssociationPayload((CHOSEN,)), GOOD_KE],
        [SecurityAssociationPayload((CHOSEN,)), GOOD_NONCE],
        [SecurityAssociationPayload((CHOSEN, CHOSEN)), GOOD_NONCE, GOOD_KE],
        [SecurityAssociationPayload((samples.IKE_PROPOSAL,)), GOOD_NONCE, GOOD_KE],
        [SecurityAssociationPayload((replace(CHOSEN, spi=bytes(8)),)), GOOD_NONCE, GOOD_KE],
        [SecurityAssociationPayload((CHOSEN,)), GOOD_NONCE, KeyExchange(19, bytes(64))],
        [SecurityAssociationPayload((CHOSEN,)), GOOD_NONCE, KeyExchange(31, bytes(32))],
        [SecurityAssociationPayload((samples.ESP_GCM,)), GOOD_NONCE, GOOD_KE],
    ],
)
def test_answers_that_make_no_ike_sa(world: IkeWorld, answer: list[Payload]) -> None:
    assert reply(world, answer) == ["bad-answer"]


@pytest.mark.parametrize("kind", [NotifyType.TEMPORARY_FAILURE, NotifyType.NO_ADDITIONAL_SAS])
def test_a_refusal_leaves_it_as_it_is(world: IkeWorld, kind: NotifyType) -> None:
    assert reply(world, [Notify(kind)]) == [slug(kind)]


def reply(world: IkeWorld, answer: list[Payload]) -> list[str]:
    """Answer the mobile node's renewal with `answer`; return why it failed, and no more."""
    old = world.mn.sa
    world.filter = lambda datagram: [] if datagram.destination == HA else [(0.0, datagram)]
    renew(world, world.mn)
    world.speak(world.ha, CREATE, answer, old.next_request, response=True)
    world.run(2 * DELAY)
    assert world.mn.engine.sas() == [old]
    assert old.established
    assert len(old.children) == 1
    return [each.reason for each in world.mn.of(IkeRekeyFailed)]


def test_a_peer_that_says_nothing_is_lost(world: IkeWorld) -> None:
    world.filter = lambda datagram: []
    renew(world, world.mn)
    world.run(400.0)
    assert [each.kind for each in world.mn.events] == ["ike-rekey-failed", "ike-deleted"]
    assert isinstance(world.mn.events[1], IkeDeleted)
    assert world.mn.events[1].reason == "peer-lost"


def test_a_contender_ends_with_what_it_would_succeed(world: IkeWorld) -> None:
    """The peer's renewal is answered, ours not yet: nothing of either is left behind."""
    old = world.mn.sa
    renew(world, world.mn, world.ha)
    world.run(1.5 * DELAY)
    assert old.contender is not None
    assert len(world.mn.engine._context.sas) == 2
    assert world.mn.engine.sas() == [old]
    world.mn.engine.forget(old)
    assert world.mn.engine._context.sas == {}


def test_a_child_under_a_contender_has_to_wait(world: IkeWorld) -> None:
    """Nothing is lost when the winner's first request is faster than our own answer."""
    home = world.ha.sa
    answers: list[Datagram] = []

    def hold_back(datagram: Datagram) -> list[tuple[float, Datagram]]:
        held = datagram.source == home.local and datagram.payload[18] == CREATE
        if held and datagram.payload[19] & 0x20:
            answers.append(datagram)
            return []
        return [(0.0, datagram)]

    world.filter = hold_back
    renew(world, world.mn, world.ha)
    world.run(0.2)
    assert answers
    winner = world.ha.engine.find(home.peer) if home.peer else None
    assert winner is not None
    world.ha.engine.create_child(winner, mirrored(SIGNALLING), world.now)
    world.filter = lambda datagram: [(0.0, datagram)]
    world.mn.sa.config = replace(world.mn.sa.config, children=(PAYLOAD, SIGNALLING))  # type: ignore[type-var]
    world.run(60.0)
    assert len(settled(world).children) == 1 + len(world.ha.of(ChildEstablished))


def test_deletes_under_the_old_one_find_what_has_moved(world: IkeWorld) -> None:
    """A peer that sends its Delete on the old IKE SA all the same gets it done."""
    world.filter = lambda datagram: [] if datagram.payload[18] == INFORM else [(0.0, datagram)]
    (child,) = world.mn.sa.children
    old = world.ha.sa
    renew(world, world.mn)
    world.run(0.1)
    assert old.heir is not old
    answer: list[Payload] = [Delete(ProtocolId.ESP, (child.outbound_spi.to_bytes(4),))]
    mobile = next(sa for sa in world.mn.engine.sas() if str(sa) == str(old))
    reply, reason = answer_informational(world.mn.engine._context, mobile, tuple(answer))
    assert (reply, reason) == ([Delete(ProtocolId.ESP, (child.inbound_spi.to_bytes(4),))], None)
    assert mobile.heir.children == ()


# When it is due


@pytest.mark.parametrize("end", ["mn", "ha", "both"])
def test_by_age(end: str) -> None:
    """Each end's own clock, a little early at random; children and traffic of the host stay."""
    timers = IkeTimers(rekey_after=100.0)
    world = IkeWorld(
        mobile_config(timers=timers if end != "ha" else IkeTimers()),
        home_config(timers=timers if end != "mn" else IkeTimers()),
    )
    world.establish()
    world.run(88.0)
    assert not world.mn.of(IkeRekeyed)
    world.run(12.0)
    assert len(world.mn.of(IkeRekeyed)) == 1
    world.run(900.0)
    assert 10 <= len(world.mn.of(IkeRekeyed)) <= 12
    if end != "both":
        assert {each.initiator for each in world.mn.of(IkeRekeyed)} == {end == "mn"}
    assert len(settled(world).children) == 2
    world.mn.engine.delete(world.mn.sa, world.now)
    world.run(300.0)
    assert world.mn.engine.sas() == world.ha.engine.sas() == []
    assert world.mn.engine.next_timer() is world.ha.engine.next_timer() is None


def test_by_number_of_messages() -> None:
    world = IkeWorld(mobile_config(timers=IkeTimers(rekey_after_messages=10)))
    world.establish()
    for _ in range(30):
        world.mn.engine.check_liveness(world.mn.sa, world.now)
        world.run(1.0)
        assert world.mn.sa.sent <= 11
    assert 3 <= len(world.mn.of(IkeRekeyed)) <= 5
    settled(world)


@pytest.mark.parametrize("timers", [{"rekey_after": 60.0}, {"rekey_after_messages": 4}])
def test_a_renewal_that_failed_is_tried_again_but_not_at_once(timers: dict[str, float]) -> None:
    """§2.25: the peer has a Child SA under way for some time."""
    world = IkeWorld(
        mobile_config(PAYLOAD, timers=IkeTimers(**timers)), home_config(mirrored(PAYLOAD))
    )  # type: ignore[arg-type]
    world.establish()
    refuse(world.ha)
    for _ in range(100):
        world.mn.engine.check_liveness(world.mn.sa, world.now)
        world.run(1.0)
    failed = len(world.mn.of(IkeRekeyFailed))
    assert 5 <= failed <= 100 / RETRY
    del world.ha.engine._rekeying.answer  # type: ignore[misc]
    world.run(RETRY + 1.0)
    world.mn.engine.check_liveness(world.mn.sa, world.now)
    world.run(RETRY + 1.0)
    assert world.mn.of(IkeRekeyed)
    settled(world)


def refuse(end: End) -> None:
    """Have an end refuse every renewal for now."""

    def answer(*_: object) -> list[Payload]:
        raise Refused(NotifyType.TEMPORARY_FAILURE)

    end.engine._rekeying.answer = answer  # type: ignore[method-assign]
