"""CREATE_CHILD_SA and INFORMATIONAL between two established ends: more, rekeyed, deleted."""

from dataclasses import replace

import ike_samples as samples
import pytest
from ike_world import (
    ANYWHERE,
    COA,
    DELAY,
    HA,
    HOA,
    MN_ID,
    PAYLOAD,
    SIGNALLING,
    End,
    IkeWorld,
    home_config,
    mirrored,
    mobile_config,
)

from agents.core.ike.child_sa import ChildSa
from agents.core.ike.ciphers import IkeCipher
from agents.core.ike.config import IkeTimers
from agents.core.ike.endpoint import Datagram
from agents.core.ike.events import (
    ChildDeleted,
    ChildEstablished,
    ChildFailed,
    ChildRekeyed,
    IkeDeleted,
    IkeRekeyed,
)
from agents.core.ike.key_exchange import X25519Key
from agents.core.ike.keys import derive_child_keys, derive_ike_keys, prf
from agents.core.ike.protection import open_message, seal
from agents.core.ike.states import IkeState
from agents.wire.ike.header import Header
from agents.wire.ike.message import parse_message
from agents.wire.ike.numbers import ExchangeType, NotifyType, ProtocolId, TransformType
from agents.wire.ike.payloads import (
    Delete,
    KeyExchange,
    Nonce,
    Notify,
    OpaquePayload,
    Payload,
    SecurityAssociationPayload,
    SelectorsInitiator,
    SelectorsResponder,
)
from agents.wire.ike.proposals import Proposal, ProposalTransform
from agents.wire.ike.selectors import OtherSelector, TrafficSelector

CREATE, INFORM = ExchangeType.CREATE_CHILD_SA, ExchangeType.INFORMATIONAL


@pytest.fixture
def world() -> IkeWorld:
    """Return two ends with one Child SA."""
    made = IkeWorld(mobile_config(PAYLOAD), home_config(mirrored(PAYLOAD), mirrored(SIGNALLING)))
    made.establish()
    assert len(made.mn.sa.children) == 1
    for end in (made.mn, made.ha):
        end.events.clear()
    return made


def other(world: IkeWorld, end: End) -> End:
    return world.ha if end is world.mn else world.mn


def agree(one: ChildSa, two: ChildSa) -> bool:
    """Whether these are the two ends of one Child SA."""
    return (
        one.inbound_spi == two.outbound_spi
        and one.outbound_spi == two.inbound_spi
        and one.inbound_key == two.outbound_key
        and one.outbound_key == two.inbound_key
        and (one.local, one.remote) == (two.remote, two.local)
    )


def consistent(world: IkeWorld) -> bool:
    """Whether both ends hold the same Child SAs."""
    there = {child.outbound_spi: child for child in world.ha.sa.children}
    return len(there) == len(world.mn.sa.children) and all(
        child.inbound_spi in there and agree(child, there[child.inbound_spi])
        for child in world.mn.sa.children
    )


@pytest.fixture(params=["mn", "ha"])
def end(request: pytest.FixtureRequest, world: IkeWorld) -> End:
    """Return either end."""
    return {"mn": world.mn, "ha": world.ha}[request.param]


def test_one_more_child(world: IkeWorld, end: End) -> None:
    wanted = SIGNALLING if end is world.mn else mirrored(SIGNALLING)
    if end is world.ha:
        world.mn.sa.config = replace(world.mn.sa.config, children=(PAYLOAD, SIGNALLING))  # type: ignore[type-var]
    end.engine.create_child(end.sa, wanted, world.now)
    world.run(1.0)
    ((ours,), (theirs,)) = (each.of(ChildEstablished) for each in (world.mn, world.ha))
    assert agree(ours.child, theirs.child)
    assert ours.child.name == theirs.child.name == "signalling"
    assert consistent(world)


def test_a_child_is_rekeyed_and_the_old_one_deleted(world: IkeWorld, end: End) -> None:
    (old,), (paired,) = end.sa.children, other(world, end).sa.children
    end.engine.rekey_child(end.sa, old.inbound_spi, world.now)
    world.run(1.0)
    (ours,), (theirs,) = end.of(ChildRekeyed), other(world, end).of(ChildRekeyed)
    assert agree(ours.child, theirs.child)
    assert (ours.old_spi, theirs.old_spi) == (old.inbound_spi, paired.inbound_spi)
    assert (ours.initiator, theirs.initiator) == (True, False)
    assert ours.child.inbound_key != old.inbound_key
    assert (ours.child.name, ours.child.local) == (old.name, old.local)
    # Make before break: the old one stands until the host is done with it.
    assert len(end.sa.children) == 2
    assert consistent(world)
    end.engine.delete_child(end.sa, old.inbound_spi, world.now)
    world.run(1.0)
    assert [(each.spi, each.reason) for each in end.of(ChildDeleted)] == [
        (old.inbound_spi, "deleted")
    ]
    assert [(each.spi, each.reason) for each in other(world, end).of(ChildDeleted)] == [
        (paired.inbound_spi, "by-peer")
    ]
    assert end.sa.children == (ours.child,)
    assert consistent(world)


def test_rekeying_again_and_again(world: IkeWorld) -> None:
    """Each successor can be renewed; the names of policies carry over."""
    for turn in range(5):
        end = (world.mn, world.ha)[turn % 2]
        (old,) = end.sa.children
        end.engine.rekey_child(end.sa, old.inbound_spi, world.now)
        world.run(0.1)
        end.engine.delete_child(end.sa, old.inbound_spi, world.now)
        world.run(0.1)
        assert consistent(world)
        assert [child.name for child in world.mn.sa.children] == ["payload"]
    assert len(world.mn.of(ChildRekeyed)) == len(world.ha.of(ChildRekeyed)) == 5


def test_verbs_that_do_not_apply_are_counted(world: IkeWorld) -> None:
    (child,) = world.mn.sa.children
    engine, sa = world.mn.engine, world.mn.sa
    engine.rekey_child(sa, child.inbound_spi + 5, world.now)
    engine.rekey_child(sa, child.inbound_spi, world.now)
    engine.rekey_child(sa, child.inbound_spi, world.now)
    engine.delete_child(sa, child.inbound_spi + 5, world.now)
    world.run(1.0)
    engine.delete_child(sa, child.inbound_spi, world.now)
    engine.delete_child(sa, child.inbound_spi, world.now)
    engine.rekey_child(sa, child.inbound_spi, world.now)
    world.run(1.0)
    assert engine.counters["rekey-not-applicable"] == 3
    assert engine.counters["delete-not-applicable"] == 2
    assert len(world.mn.of(ChildRekeyed)) == len(world.mn.of(ChildDeleted)) == 1
    assert consistent(world)


def test_requests_wait_for_one_another(world: IkeWorld) -> None:
    """A window of 1 (RFC 7296 §2.3): never two requests of one end in flight."""
    for number in range(5):
        wanted = replace(PAYLOAD, name=f"child {number}")
        world.mn.engine.create_child(world.mn.sa, wanted, world.now)
    world.mn.engine.check_liveness(world.mn.sa, world.now)  # it would show nothing more
    start = len(world.log)
    world.run(1.0)
    assert len(world.mn.of(ChildEstablished)) == 5
    flags = [datagram.payload[19] & 0x20 for datagram in world.log[start:]]
    assert flags == [0, 0x20] * 5


def test_both_ends_ask_at_once(world: IkeWorld) -> None:
    """Exchanges in both directions do not disturb each other."""
    world.mn.engine.create_child(world.mn.sa, SIGNALLING, world.now)
    world.ha.engine.check_liveness(world.ha.sa, world.now)
    world.run(1.0)
    assert world.mn.kinds() == world.ha.kinds() == ["child-established"]
    assert world.mn.engine.counters["requests-repeated"] == 0


# Two rekeys at once (RFC 7296 §2.8.1)


@pytest.mark.parametrize("seed", range(1, 7))
@pytest.mark.parametrize("late", [0.0, 0.5 * DELAY, 1.5 * DELAY, 2.5 * DELAY])
def test_both_ends_rekey_the_same_child(seed: int, late: float) -> None:
    """Whoever has the lowest nonce deletes its own; one successor is left, the same at both."""
    world = IkeWorld(mobile_config(PAYLOAD), home_config(mirrored(PAYLOAD)), seed=seed)
    world.establish()
    (ours,), (theirs,) = world.mn.sa.children, world.ha.sa.children
    # What the home agent sends comes late, so that the other's answer overtakes it.
    world.filter = lambda datagram: [(late if datagram.source == HA else 0.0, datagram)]
    world.mn.engine.rekey_child(world.mn.sa, ours.inbound_spi, world.now)
    world.ha.engine.rekey_child(world.ha.sa, theirs.inbound_spi, world.now)
    world.run(2.0)
    assert consistent(world)
    left = {child.inbound_spi for child in world.mn.sa.children} - {ours.inbound_spi}
    assert len(left) == 1
    redundant = [each for end in (world.mn, world.ha) for each in end.of(ChildDeleted)]
    assert sorted(each.reason for each in redundant) in (["by-peer"], ["by-peer", "redundant"])
    # The nonces decide, and nothing is taken back that the host never heard of.
    record = world.mn.sa.children_by_spi[ours.inbound_spi]
    assert record.ours is not None
    assert record.theirs is not None
    assert left == {max(record.ours, record.theirs)[1]}
    for end in (world.mn, world.ha):
        known = {each.child.inbound_spi for each in end.of(ChildRekeyed)}
        assert {each.spi for each in end.of(ChildDeleted)} <= known
    counters = [end.engine.counters["redundant-rekeys"] for end in (world.mn, world.ha)]
    assert sorted(counters) == [0, 1]
    # Both hosts may now delete the old one, even at the same time.
    world.mn.engine.delete_child(world.mn.sa, ours.inbound_spi, world.now)
    world.ha.engine.delete_child(world.ha.sa, theirs.inbound_spi, world.now)
    world.run(2.0)
    assert consistent(world)
    assert {child.inbound_spi for child in world.mn.sa.children} == left
    assert len(world.mn.sa.children) == 1
    (survivor,) = world.mn.sa.children
    told = [each.child for each in world.mn.of(ChildRekeyed)]
    assert survivor in told
    gone = {each.spi for each in world.mn.of(ChildDeleted)}
    assert {each.inbound_spi for each in told} - gone == left


@pytest.mark.parametrize("verb", ["delete", "rekey"])
def test_the_answer_is_slower_than_what_follows_it(world: IkeWorld, verb: str) -> None:
    """The peer deletes or rekeys a Child SA that this end does not know yet."""

    def slow(datagram: Datagram) -> list[tuple[float, Datagram]]:
        answer = datagram.source == HA and datagram.payload[18:20] == bytes((CREATE, 0x20))
        return [(0.3 if answer else 0.0, datagram)]

    world.filter = slow
    world.mn.engine.create_child(world.mn.sa, SIGNALLING, world.now)
    world.run(1.5 * DELAY)
    (made,) = world.ha.of(ChildEstablished)
    if verb == "delete":
        world.ha.engine.delete_child(world.ha.sa, made.child.inbound_spi, world.now)
    else:
        world.ha.engine.rekey_child(world.ha.sa, made.child.inbound_spi, world.now)
    world.run(1.0)
    assert consistent(world)
    failed = [
        (each.name, each.reason) for end in (world.mn, world.ha) for each in end.of(ChildFailed)
    ]
    if verb == "delete":
        assert failed == [("signalling", "by-peer")]
        assert world.mn.of(ChildEstablished) == []
    else:
        assert failed == [("signalling", "temporary-failure")]
        assert len(world.mn.of(ChildEstablished)) == 1


def test_one_rekeys_what_the_other_deletes(world: IkeWorld) -> None:
    """TEMPORARY_FAILURE from the end that is deleting it (RFC 7296 §2.25.1)."""
    (ours,), (theirs,) = world.mn.sa.children, world.ha.sa.children
    world.mn.engine.delete_child(world.mn.sa, ours.inbound_spi, world.now)
    world.ha.engine.rekey_child(world.ha.sa, theirs.inbound_spi, world.now)
    world.run(1.0)
    assert world.mn.sa.children == world.ha.sa.children == ()
    assert [each.reason for each in world.mn.of(ChildDeleted)] == ["deleted"]
    assert [each.reason for each in world.ha.of(ChildDeleted)] == ["by-peer"]
    assert world.mn.engine.counters["refused.temporary-failure"] == 1
    assert world.ha.of(ChildRekeyed) == []


def test_a_child_that_the_peer_has_lost(world: IkeWorld) -> None:
    """CHILD_SA_NOT_FOUND: it is worth nothing here either (RFC 7296 §2.25)."""
    world.ha.sa.children_by_spi.clear()
    (ours,) = world.mn.sa.children
    world.mn.engine.rekey_child(world.mn.sa, ours.inbound_spi, world.now)
    world.run(1.0)
    assert [(each.spi, each.reason) for each in world.mn.of(ChildDeleted)] == [
        (ours.inbound_spi, "child-sa-not-found")
    ]
    assert world.mn.sa.children == ()


def test_a_rekey_that_is_refused_can_be_tried_again(world: IkeWorld) -> None:
    (ours,) = world.mn.sa.children
    (child,) = world.ha.sa.children_by_spi.values()
    good = child.sa
    child.sa = replace(good, transform="aes-128-cbc-hmac-sha2-256", remote=())  # type: ignore[arg-type]
    config = world.ha.sa.config
    world.ha.sa.config = replace(config, children=())  # type: ignore[type-var]
    world.mn.engine.rekey_child(world.mn.sa, ours.inbound_spi, world.now)
    world.run(1.0)
    assert [each.name for each in world.mn.of(ChildFailed)] == ["payload"]
    child.sa, world.ha.sa.config = good, config
    world.mn.engine.rekey_child(world.mn.sa, ours.inbound_spi, world.now)
    world.run(1.0)
    assert len(world.mn.of(ChildRekeyed)) == 1
    assert consistent(world)


# What a peer of another make may ask


def esp(spi: int, *more: ProposalTransform) -> Proposal:
    return replace(
        samples.ESP_GCM, spi=spi.to_bytes(4), transforms=(*samples.ESP_GCM.transforms, *more)
    )


def ask(*first: Payload, proposal: Proposal | None = None) -> list[Payload]:
    """Return a request for a Child SA as the mobile node might send it."""
    return [
        *first,
        SecurityAssociationPayload((proposal or esp(0x01999999),)),
        Nonce(bytes(16)),
        SelectorsInitiator((TrafficSelector.of(HOA),)),
        SelectorsResponder((ANYWHERE,)),
    ]


def answer(world: IkeWorld, exchange: int, payloads: list[Payload]) -> tuple[Payload, ...]:
    """Return what the home agent answers to a message of the mobile node's."""
    sent = len(world.ha.sent)
    key_of = world.ha.sa.sealing_key()
    world.ha.key = key_of
    world.speak(world.mn, exchange, payloads)
    world.run(0.1)
    (reply,) = world.replies(world.ha, sent)
    return reply


def refusals(reply: tuple[Payload, ...]) -> list[int]:
    return [each.kind for each in reply if isinstance(each, Notify)]


def test_a_child_with_a_key_exchange_of_its_own(world: IkeWorld) -> None:
    group = ProposalTransform(TransformType.GROUP, 31)
    private = X25519Key(bytes(range(32)))
    reply = answer(
        world, CREATE, ask(KeyExchange(31, private.public), proposal=esp(0x01999999, group))
    )
    (exchange,) = (each for each in reply if isinstance(each, KeyExchange))
    assert private.shared(exchange.data)
    (made,) = world.ha.of(ChildEstablished)
    # And it goes into the keys: the same without it gives others.
    (nonce,) = (each.data for each in reply if isinstance(each, Nonce))
    keys = world.mn.sa.keys
    assert keys is not None
    shared = private.shared(exchange.data)
    expected = derive_child_keys(keys, bytes(16) + nonce, 20, shared)
    assert made.child.inbound_key == expected.from_initiator
    assert made.child.outbound_key == expected.from_responder


@pytest.mark.parametrize(
    ("payloads", "refusal", "data"),
    [
        (
            ask(
                KeyExchange(19, bytes(64)),
                proposal=esp(0x01999999, ProposalTransform(TransformType.GROUP, 31)),
            ),
            NotifyType.INVALID_KE_PAYLOAD,
            b"\0\x1f",
        ),
        (
            ask(proposal=esp(0x01999999, ProposalTransform(TransformType.GROUP, 14))),
            NotifyType.NO_PROPOSAL_CHOSEN,
            b"",
        ),
        (
            ask(OpaquePayload(200, b"", critical=True)),
            NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD,
            b"\xc8",
        ),
        (
            ask(Notify(NotifyType.REKEY_SA, b"", ProtocolId.ESP, bytes(4))),
            NotifyType.CHILD_SA_NOT_FOUND,
            b"",
        ),
        (
            [*ask(proposal=replace(samples.IKE_PROPOSAL, spi=bytes(8)))],
            NotifyType.NO_PROPOSAL_CHOSEN,
            b"",
        ),
        (
            [
                SecurityAssociationPayload((replace(samples.IKE_PROPOSAL, spi=b"\1" * 8),)),
                Nonce(bytes(16)),
                KeyExchange(19, bytes(64)),
            ],
            NotifyType.INVALID_KE_PAYLOAD,
            b"\0\x1f",
        ),
        (
            [*ask()[:-1], SelectorsResponder((OtherSelector(7, 0, bytes(12)),))],
            NotifyType.TS_UNACCEPTABLE,
            b"",
        ),
    ],
)
def test_requests_that_are_refused_and_harm_nothing(
    world: IkeWorld, payloads: list[Payload], refusal: NotifyType, data: bytes
) -> None:
    reply = answer(world, CREATE, payloads)
    about = (ProtocolId.ESP, bytes(4)) if refusal is NotifyType.CHILD_SA_NOT_FOUND else (0, b"")
    assert reply == (Notify(refusal, data, *about),)
    assert world.ha.events == []
    assert answer(world, INFORM, []) == ()
    assert len(world.ha.sa.children) == 1


def test_unknown_payloads_that_are_not_critical_are_ignored(world: IkeWorld) -> None:
    reply = answer(world, CREATE, ask(OpaquePayload(200, b""), Notify(16999, b"x"), Notify(40960)))
    assert refusals(reply) == []
    assert len(world.ha.of(ChildEstablished)) == 1


def test_children_are_bounded(world: IkeWorld) -> None:
    for number in range(63):
        reply = answer(world, CREATE, ask(proposal=esp(0x01900000 + number)))
        assert refusals(reply) == []
    reply = answer(world, CREATE, ask(proposal=esp(0x01950000)))
    assert refusals(reply) == [NotifyType.NO_ADDITIONAL_SAS]


@pytest.mark.parametrize(
    "payloads",
    [
        [],
        [Nonce(bytes(16))],
        ask()[:1],
        [each for each in ask() if not isinstance(each, Nonce)],
        [each for each in ask() if not isinstance(each, SelectorsResponder)],
        ask(proposal=esp(0x01999999, ProposalTransform(TransformType.GROUP, 31))),
        ask(
            KeyExchange(31, bytes(32)),
            proposal=esp(0x01999999, ProposalTransform(TransformType.GROUP, 31)),
        ),
    ],
)
def test_invalid_syntax_is_fatal(world: IkeWorld, payloads: list[Payload]) -> None:
    """RFC 7296 §2.21.3: the IKE SA ends at both, its children stay with the host."""
    sa = world.ha.sa
    reply = answer(world, CREATE, payloads)
    assert reply == (Notify(NotifyType.INVALID_SYNTAX),)
    assert sa.state is IkeState.DEAD
    assert [each.reason for each in world.ha.of(IkeDeleted)] == ["invalid-syntax"]
    assert world.ha.of(ChildDeleted) == []
    assert len(sa.children) == 1


def test_deletes_of_other_things(world: IkeWorld) -> None:
    assert answer(world, INFORM, [Delete(ProtocolId.ESP, (b"\1\1\1\1",))]) == ()
    assert answer(world, INFORM, [Delete(ProtocolId.AH, (b"\1\1\1\1",))]) == ()
    assert answer(world, INFORM, [Delete(ProtocolId.ESP)]) == ()
    assert answer(world, INFORM, [Notify(NotifyType.INVALID_SELECTORS)]) == ()
    assert world.ha.events == []
    assert world.ha.engine.counters["received.delete-unknown-spi"] == 1
    (child,) = world.mn.sa.children
    reply = answer(world, INFORM, [Delete(ProtocolId.ESP, (child.inbound_spi.to_bytes(4),))])
    assert reply == (Delete(ProtocolId.ESP, (child.outbound_spi.to_bytes(4),)),)


def test_an_unknown_exchange_ends_it(world: IkeWorld) -> None:
    assert answer(world, 99, []) == (Notify(NotifyType.INVALID_SYNTAX),)
    assert world.ha.kinds() == ["ike-deleted"]


def test_both_ends_delete_the_same_child(world: IkeWorld) -> None:
    """The answers name it not again (RFC 7296 §1.4.1)."""
    (ours,), (theirs,) = world.mn.sa.children, world.ha.sa.children
    world.mn.engine.delete_child(world.mn.sa, ours.inbound_spi, world.now)
    world.ha.engine.delete_child(world.ha.sa, theirs.inbound_spi, world.now)
    world.mn.key, world.ha.key = world.mn.sa.sealing_key(), world.ha.sa.sealing_key()
    sent = len(world.mn.sent), len(world.ha.sent)
    world.run(1.0)
    assert world.replies(world.mn, sent[0]) == world.replies(world.ha, sent[1]) == [()]
    assert world.mn.kinds() == world.ha.kinds() == ["child-deleted"]
    assert world.mn.sa.children == world.ha.sa.children == ()


# The end of an IKE SA


def test_either_end_deletes_the_ike_sa(world: IkeWorld, end: End) -> None:
    sa, peer = end.sa, other(world, end).sa
    end.engine.delete(sa, world.now)
    assert sa.state is IkeState.DELETING
    world.run(1.0)
    assert [each.reason for each in end.of(IkeDeleted)] == ["deleted"]
    assert [each.reason for each in other(world, end).of(IkeDeleted)] == ["by-peer"]
    assert sa.state is peer.state is IkeState.DEAD
    # Its children are the hosts' to keep or to remove.
    assert world.mn.of(ChildDeleted) == world.ha.of(ChildDeleted) == []
    world.run(60.0)
    assert world.mn.engine._context.sas == world.ha.engine._context.sas == {}
    assert world.mn.engine._context.inits == world.ha.engine._context.inits == {}


def test_both_ends_delete_the_ike_sa(world: IkeWorld) -> None:
    for each in (world.mn, world.ha):
        each.engine.delete(each.sa, world.now)
    world.run(1.0)
    assert world.mn.kinds() == world.ha.kinds() == ["ike-deleted"]
    assert world.mn.engine.sas() == world.ha.engine.sas() == []
    assert world.mn.engine.counters["requests-repeated"] == 0


def test_what_waits_when_the_ike_sa_ends_is_told(world: IkeWorld) -> None:
    (child,) = world.mn.sa.children
    sa = world.mn.sa
    world.mn.engine.check_liveness(sa, world.now)
    world.mn.engine.create_child(sa, SIGNALLING, world.now)
    world.mn.engine.delete_child(sa, child.inbound_spi, world.now)
    world.mn.engine.forget(sa)
    world.run(1.0)
    assert sorted(world.mn.kinds()) == ["child-deleted", "child-failed", "ike-deleted"]
    assert [each.reason for each in world.mn.of(ChildFailed)] == ["ike-sa-ended"]
    assert [each.reason for each in world.mn.of(IkeDeleted)] == ["forgotten"]
    assert world.mn.engine._context.sas == {}


def test_no_new_child_while_it_is_being_deleted(world: IkeWorld) -> None:
    """TEMPORARY_FAILURE (RFC 7296 §2.25.2)."""
    world.mn.engine.delete(world.mn.sa, world.now)
    world.ha.engine.create_child(world.ha.sa, mirrored(SIGNALLING), world.now)
    world.mn.engine.create_child(world.mn.sa, SIGNALLING, world.now)
    world.run(1.0)
    assert world.mn.engine.counters["refused.temporary-failure"] <= 1
    assert len(world.ha.of(ChildFailed)) == len(world.mn.of(ChildFailed)) == 1
    assert world.mn.engine.sas() == world.ha.engine.sas() == []


def test_a_larval_sa_is_deleted_without_a_word() -> None:
    world = IkeWorld()
    sa = world.begin()
    world.mn.engine.delete(sa, world.now)
    world.run(1.0)
    assert world.mn.kinds() == ["ike-failed"]
    assert len(world.mn.sent) == 1


# Liveness


def test_liveness_on_demand(world: IkeWorld) -> None:
    heard = world.mn.sa.last_heard
    world.mn.engine.check_liveness(world.mn.sa, world.now)
    world.run(1.0)
    assert world.mn.sa.last_heard > heard
    assert world.mn.events == world.ha.events == []


def test_a_peer_that_is_gone_is_noticed_and_children_stay(world: IkeWorld) -> None:
    sa = world.mn.sa
    world.filter = lambda datagram: []
    world.mn.engine.check_liveness(sa, world.now)
    world.run(400.0)
    assert [each.reason for each in world.mn.of(IkeDeleted)] == ["peer-lost"]
    assert world.mn.of(ChildDeleted) == []
    assert len(sa.children) == 1
    assert world.mn.engine.counters["requests-repeated"] == IkeTimers().tries - 1


def test_silence_is_asked_about_and_traffic_of_the_sa_counts() -> None:
    timers = IkeTimers(retransmit_first=0.1, tries=3, liveness_interval=5.0)
    world = IkeWorld(mobile_config(timers=timers))
    world.establish()
    sent = len(world.mn.sent)
    world.run(3.9)
    assert len(world.mn.sent) == sent
    world.ha.engine.check_liveness(world.ha.sa, world.now)  # shows that the peer lives
    world.run(4.9)
    assert len(world.mn.sent) == sent + 1  # the answer to that
    world.run(1.0)
    assert len(world.mn.sent) == sent + 2
    world.filter = lambda datagram: []
    world.run(10.0)
    assert [each.reason for each in world.mn.of(IkeDeleted)] == ["peer-lost"]
    assert world.mn.engine.next_timer() is None or world.mn.engine.sas() == []


def test_addresses_can_move(world: IkeWorld) -> None:
    """K = 1: both hosts move their end, and the IKE SA goes on."""
    new = COA + 1
    world.addresses[new] = world.mn
    world.mn.engine.move(world.mn.sa, new, HA)
    world.mn.engine.check_liveness(world.mn.sa, world.now)
    world.run(1.0)
    assert world.log[-2].source == new
    assert world.log[-1].destination == new  # answers go to where the request came from (§2.11)
    assert world.ha.sa.remote == COA
    world.ha.engine.move(world.ha.sa, HA, new)
    world.ha.engine.check_liveness(world.ha.sa, world.now)
    world.run(1.0)
    assert world.log[-2].destination == new
    assert isinstance(world.log[-1], Datagram)
    assert world.mn.events == world.ha.events == []


# A peer that renews the IKE SA itself (RFC 7296 §2.18)


def test_a_peer_renews_the_ike_sa(world: IkeWorld) -> None:
    private, spi, nonce = X25519Key(bytes(range(32))), 0x0102030405060708, bytes(16)
    old, mobile = world.ha.sa, world.mn.sa
    (child,) = old.children
    offered = replace(samples.IKE_PROPOSAL, spi=spi.to_bytes(8))
    request: list[Payload] = [
        SecurityAssociationPayload((offered,)),
        Nonce(nonce),
        KeyExchange(31, private.public),
    ]
    reply = answer(world, CREATE, request)
    (event,) = world.ha.of(IkeRekeyed)
    assert (event.sa, event.peer) == (old, old.peer)
    assert event.fields()["successor"] == str(event.successor)
    chosen, ours, exchange = reply
    assert isinstance(chosen, SecurityAssociationPayload)
    assert isinstance(ours, Nonce)
    assert isinstance(exchange, KeyExchange)
    # The new keys, as the mobile node has them: prf(SK_d, g^ir | Ni | Nr).
    new_spi = int.from_bytes(chosen.proposals[0].spi)
    assert mobile.keys is not None
    shared, nonces = private.shared(exchange.data), nonce + ours.data
    seed = prf(mobile.keys.derive, shared + nonces)
    keys = derive_ike_keys(seed, nonces, spi, new_spi, IkeCipher.AES_128_GCM)
    assert event.successor.children == (child,)
    assert old.children == ()
    assert world.ha.engine.find(MN_ID) is event.successor
    # It works, with message numbers from 0, in both directions.
    head = Header(spi, new_spi, INFORM, 0, initiator=True, response=False)
    delete = Delete(ProtocolId.ESP, (child.outbound_spi.to_bytes(4),))
    octets = seal(keys.encrypt_initiator, 0, head, [delete])
    world.inject(Datagram(COA, 500, HA, 500, octets))
    world.run(0.1)
    assert [each.spi for each in world.ha.of(ChildDeleted)] == [child.inbound_spi]
    payload = world.ha.sent[-1].payload
    assert open_message(keys.encrypt_responder, payload, parse_message(payload)) == (
        Delete(ProtocolId.ESP, (child.inbound_spi.to_bytes(4),)),
    )
    world.ha.engine.check_liveness(event.successor, world.now)
    world.collect()
    request_head = parse_message(world.ha.sent[-1].payload).header
    assert (request_head.message_id, request_head.initiator) == (0, False)
    # A second renewal of the old one, or a child under it, has to wait; then the old one goes.
    world.ha.key = old.sealing_key()
    for late in (request, ask()):
        sent = len(world.ha.sent)
        world.speak(world.mn, CREATE, late)
        world.run(0.1)
        assert (Notify(NotifyType.TEMPORARY_FAILURE),) in world.replies_on(world.ha, old, sent)
    world.speak(world.mn, INFORM, [Delete(ProtocolId.IKE)])
    world.run(0.1)
    assert [(each.sa, each.reason) for each in world.ha.of(IkeDeleted)] == [(old, "rekeyed")]
    assert world.ha.sa is event.successor
