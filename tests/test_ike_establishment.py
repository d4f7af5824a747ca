"""IKE_SA_INIT and IKE_AUTH between two endpoints: what succeeds, and how failure is told."""

from dataclasses import replace
from ipaddress import IPv6Address

import ike_samples as samples
import pytest
from cryptography.hazmat.primitives import hashes
from ike_world import (
    ANYWHERE,
    COA,
    DELAY,
    HA,
    HA_ID,
    HOA,
    MN_ID,
    PAYLOAD,
    SECRET,
    SIGNALLING,
    IkeWorld,
    config,
    home_config,
    mirrored,
    mobile_config,
)

from agents.core.ike import initiator
from agents.core.ike.ciphers import IkeCipher
from agents.core.ike.config import ChildRequest, IkeTimers
from agents.core.ike.context import IkeContext
from agents.core.ike.endpoint import Datagram
from agents.core.ike.events import (
    ChildEstablished,
    ChildFailed,
    IkeEstablished,
    IkeFailed,
)
from agents.core.ike.initial_exchange import init_message
from agents.core.ike.initiator import Authenticate
from agents.core.ike.key_exchange import GROUPS
from agents.core.ike.sa import IkeSa
from agents.core.ike.states import IkeState
from agents.wire.ike.header import Header
from agents.wire.ike.identity import Identity
from agents.wire.ike.message import parse_message, serialize_message
from agents.wire.ike.numbers import AuthMethod, ExchangeType, Group, NotifyType, TransformType
from agents.wire.ike.payloads import (
    Authentication,
    Certificate,
    CertificateRequest,
    KeyExchange,
    Nonce,
    Notify,
    OpaquePayload,
    Payload,
    SecurityAssociationPayload,
    VendorId,
)
from agents.wire.ike.proposals import Proposal, ProposalTransform
from agents.wire.ike.selectors import TrafficSelector
from agents.wire.transforms import Mode, Transform

FAST = IkeTimers(retransmit_first=0.1, tries=4)


def pairs(world: IkeWorld) -> list[tuple[ChildEstablished, ChildEstablished]]:
    """Return the Child SAs of both ends, matched by SPI."""
    home = {event.child.inbound_spi: event for event in world.ha.of(ChildEstablished)}
    return [(event, home[event.child.outbound_spi]) for event in world.mn.of(ChildEstablished)]


def exchanges(world: IkeWorld) -> list[int]:
    return [datagram.payload[18] for datagram in world.log]


def notifications(world: IkeWorld) -> list[int]:
    """Return the types of all unprotected notifications but the one that is in every message."""
    return [
        payload.kind
        for datagram in world.log
        for payload in parse_message(datagram.payload).payloads
        if isinstance(payload, Notify) and payload.kind != NotifyType.IKEV2_FRAGMENTATION_SUPPORTED
    ]


def test_an_ike_sa_and_two_children_in_three_exchanges() -> None:
    world = IkeWorld()
    world.establish()
    assert world.mn.kinds() == ["ike-established", "child-established", "child-established"]
    assert world.ha.kinds() == world.mn.kinds()
    assert [event.initiator for event in world.mn.of(IkeEstablished)] == [True]
    assert [event.initiator for event in world.ha.of(IkeEstablished)] == [False]
    assert [event.peer for event in world.ha.of(IkeEstablished)] == [MN_ID]
    kinds = (ExchangeType.IKE_SA_INIT, ExchangeType.IKE_AUTH, ExchangeType.CREATE_CHILD_SA)
    assert exchanges(world) == [kind for kind in kinds for _ in range(2)]
    assert len(pairs(world)) == 2
    for ours, theirs in pairs(world):
        assert ours.child.inbound_key == theirs.child.outbound_key
        assert ours.child.outbound_key == theirs.child.inbound_key
        assert ours.child.inbound_key != ours.child.outbound_key
        assert ours.child.local == theirs.child.remote
        assert ours.child.remote == theirs.child.local
        assert (ours.child.mode, ours.child.name) == (theirs.child.mode, theirs.child.name)
        assert ours.child.encapsulation is None
    assert world.mn.engine.find(HA_ID) is world.mn.sa
    assert world.mn.engine.find(MN_ID) is None
    # A wait of one round trip each, and nothing was repeated.
    assert world.mn.engine.counters["requests-repeated"] == 0
    assert str(world.mn.sa) == str(world.ha.sa)


@pytest.mark.parametrize("transform", list(Transform))
@pytest.mark.parametrize("mode", list(Mode))
def test_each_mode_with_each_transform(mode: Mode, transform: Transform) -> None:
    request = replace(PAYLOAD, mode=mode, transform=transform)
    world = IkeWorld(mobile_config(request), home_config(mirrored(request)))
    world.establish()
    ((ours, theirs),) = pairs(world)
    for child in (ours.child, theirs.child):
        assert (child.mode, child.transform) == (mode, transform)
        assert len(child.inbound_key) == len(child.outbound_key) == transform.key_length
    assert (ours.child.inbound_spi >> 24, ours.child.outbound_spi >> 24) == (1, 2)


def test_the_same_seed_gives_the_same_octets() -> None:
    first, again, other = IkeWorld(seed=7), IkeWorld(seed=7), IkeWorld(seed=8)
    for world in (first, again, other):
        world.establish()
    assert first.log == again.log
    assert first.log != other.log


@pytest.mark.parametrize("group", GROUPS)
def test_each_group_at_first_go(group: Group) -> None:
    world = IkeWorld(mobile_config(groups=(group,)), home_config(groups=(group,)))
    world.establish()
    assert len(pairs(world)) == 2
    assert len(world.log) == 6


def test_modp_2048_for_who_asks_for_it_alone() -> None:
    """It takes long, so nobody makes an end that is not told of it do that work."""
    modp = (Group.MODP_2048,)
    world = IkeWorld(mobile_config(groups=modp, timers=FAST), home_config(timers=FAST))
    world.establish()
    assert [each.reason for each in world.mn.of(IkeFailed)] == ["no-proposal-chosen"]
    world = IkeWorld(mobile_config(groups=modp), home_config(groups=(Group.X25519, *modp)))
    world.establish()
    assert len(pairs(world)) == 2


@pytest.mark.parametrize("cipher", IkeCipher)
def test_each_cipher_of_the_ike_sa(cipher: IkeCipher) -> None:
    """The responder's order counts; keys of both ends are the same, and each has its own."""
    world = IkeWorld(home=home_config(ciphers=(cipher, *IkeCipher)))
    world.establish()
    assert len(pairs(world)) == 2
    assert world.mn.sa.sealing_key() == world.ha.sa.opening_key() != world.ha.sa.sealing_key()
    assert world.mn.sa.sealing_key().cipher is cipher
    only = IkeWorld(mobile_config(ciphers=(cipher,)))
    only.establish()
    assert only.ha.sa.sealing_key().cipher is cipher


def test_another_group_is_asked_for() -> None:
    """INVALID_KE_PAYLOAD names the group, and the second attempt uses it (RFC 7296 §1.2)."""
    world = IkeWorld(home=home_config(groups=(Group.P256,)))
    world.establish()
    assert len(pairs(world)) == 2
    assert notifications(world) == [NotifyType.INVALID_KE_PAYLOAD]
    assert exchanges(world)[:4] == [ExchangeType.IKE_SA_INIT] * 4
    assert len(world.ha.engine.sas()) == 1


def test_no_group_in_common() -> None:
    world = IkeWorld(
        mobile_config(groups=(Group.X25519,), timers=FAST),
        home_config(groups=(Group.P256,), timers=FAST),
    )
    world.establish()
    world.run(1.0)
    (failed,) = world.mn.of(IkeFailed)
    assert failed.reason == "no-proposal-chosen"
    assert world.ha.events == []
    assert world.ha.engine.sas() == []
    assert world.mn.engine.sas() == []


def test_an_unauthenticated_refusal_does_not_end_the_attempt() -> None:
    """RFC 7296 §2.21.1: go on for a while; the true answer may still come."""
    world = IkeWorld(mobile_config(timers=FAST))
    world.begin()
    init = parse_message(world.log[0].payload).header
    refusal = replace(init, initiator=False, response=True)
    octets = serialize_message(refusal, [Notify(NotifyType.NO_PROPOSAL_CHOSEN)])
    world.inject(to_mobile_node(octets), 0.0)
    world.run(1.0)
    assert world.mn.engine.counters["received.no-proposal-chosen"] == 1
    assert len(pairs(world)) == 2


def to_mobile_node(octets: bytes) -> Datagram:
    return Datagram(HA, 500, COA, 500, octets)


# Cookies


def under_load(**more: object) -> IkeTimers:
    return IkeTimers(cookie_threshold=0, **more)  # type: ignore[arg-type]


def test_a_cookie_under_load() -> None:
    world = IkeWorld(home=home_config(timers=under_load()))
    world.establish()
    assert notifications(world) == [NotifyType.COOKIE, NotifyType.COOKIE]
    assert len(pairs(world)) == 2
    assert world.ha.engine.counters["cookies-sent"] == 1


def test_a_cookie_and_another_group() -> None:
    """Both retries in one attempt (RFC 7296 §2.6.1)."""
    world = IkeWorld(home=home_config(timers=under_load(), groups=(Group.P256,)))
    world.establish()
    assert len(pairs(world)) == 2
    assert exchanges(world).count(ExchangeType.IKE_SA_INIT) == 6


def test_nothing_is_kept_for_who_brings_no_cookie() -> None:
    world = IkeWorld(home=home_config(timers=under_load()))
    world.filter = lambda datagram: [(0.0, datagram)] if datagram.source == COA else []
    world.begin()
    world.run(20.0)
    assert world.ha.engine.sas() == []
    assert world.ha.engine.counters["cookies-sent"] > 3


def test_half_open_sas_are_bounded_and_end() -> None:
    """Many that begin and do not go on: cookies from 4 on, never more than 6, all gone in time."""
    timers = IkeTimers(cookie_threshold=4, half_open_limit=6, half_open_timeout=10.0)
    world = IkeWorld(home=home_config(timers=timers))
    world.filter = lambda datagram: [(0.0, datagram)] if is_init(datagram.payload) else []
    for _ in range(20):
        world.begin()
    world.run(1.0)
    assert len(world.ha.engine.sas()) == 6
    assert world.ha.engine.counters["cookies-sent"] >= 16
    assert world.ha.engine.counters["half-open-crowded-out"] >= 14
    world.run(400.0)
    assert world.ha.engine.sas() == []
    assert world.ha.events == []
    assert world.ha.engine.counters["half-open-expired"] >= 6
    assert {event.reason for event in world.mn.of(IkeFailed)} == {"timeout"}


ATTACKER = IPv6Address("fd00:bad:1::")


@pytest.mark.parametrize("cookies", [False, True])
def test_an_honest_end_gets_through_a_flood(cookies: bool) -> None:
    """2000 IKE_SA_INITs in 2 s, from addresses that are another's or, `cookies`, one's own network.

    RFC 7296 §2.6: what the responder keeps is bounded, and who is not of the flood's network is
    served as ever.
    """
    # So many a second are let in that the bound on what is kept is what matters.
    world = IkeWorld(home=home_config(timers=IkeTimers(admissions_per_second=10_000.0)))
    engine = world.ha.engine
    head, payloads = parsed_init()

    def attack(number: int, cookie: bytes = b"") -> None:
        first = (Notify(NotifyType.COOKIE, cookie),) if cookie else ()
        octets = serialize_message(replace(head, spi_initiator=1 + number), (*first, *payloads))
        engine.receive(Datagram(ATTACKER + number, 500, HA, 500, octets), world.now)
        (answer,) = engine.datagrams_to_send()
        found = parse_message(answer.payload).payloads[0]
        if cookies and not cookie and isinstance(found, Notify):
            attack(number, found.data)

    for number in range(2000):
        attack(number)
        world.run(0.001)
        if number % 1000 == 500:
            world.begin()
        assert len(engine.sas()) <= 256 + 2
    assert len(world.mn.of(IkeEstablished)) == len(world.ha.of(IkeEstablished)) == 2
    for each in world.mn.of(IkeEstablished):
        assert each.sa.retries == 1  # the cookie, and nothing beside it
    half_open = len(engine._context.half_open)
    assert half_open == (256 if cookies else 16)
    assert len(engine._context.inits) <= 256 + 2
    assert engine.counters["half-open-crowded-out"] == (2000 - 256 if cookies else 0)
    world.run(31.0)
    assert len(engine._context.half_open) == 0
    assert len(engine._context.sas) == len(engine._context.inits) == 2


def parsed_init() -> tuple[Header, tuple[Payload, ...]]:
    """Return an IKE_SA_INIT request as our engine makes it."""
    world = IkeWorld()
    world.begin()
    message = parse_message(world.log[0].payload)
    return message.header, message.payloads


def test_a_long_init_is_not_kept() -> None:
    world = IkeWorld()
    head, payloads = parsed_init()
    for length in (3000, 5000):
        octets = serialize_message(head, (*payloads, VendorId(bytes(length))))
        world.inject(Datagram(COA, 500, HA, 500, octets))
    world.run(0.1)
    assert world.ha.engine.counters["dropped.init-too-long"] == 1
    assert len(world.ha.engine._context.half_open) == 1


def is_init(octets: bytes) -> bool:
    return octets[18] == ExchangeType.IKE_SA_INIT


def test_cookies_for_ever_end_the_attempt() -> None:
    """An answer that always wants another cookie gets no endless conversation."""
    world = IkeWorld(
        mobile_config(timers=FAST),
        home_config(timers=IkeTimers(cookie_threshold=0, cookie_lifetime=0.0001)),
    )
    world.establish()
    world.run(2.0)
    assert [event.reason for event in world.mn.of(IkeFailed)] == ["timeout"]
    assert world.mn.engine.counters["dropped.too-many-retries"] >= 1
    assert len(world.mn.sent) < 12


# Identities and secrets


def test_a_wrong_secret() -> None:
    world = IkeWorld(home=home_config(secret=b"another secret"))
    world.establish()
    assert [event.reason for event in world.mn.of(IkeFailed)] == ["authentication-failed"]
    assert [event.reason for event in world.ha.of(IkeFailed)] == ["authentication-failed"]
    assert [event.peer for event in world.ha.of(IkeFailed)] == [MN_ID]
    assert len(world.mn.events) == len(world.ha.events) == 1
    assert world.mn.engine.sas() == world.ha.engine.sas() == []
    assert world.ha.engine.counters["refused.authentication-failed"] == 1


def test_a_stranger() -> None:
    own = Identity.of("stranger.example")
    world = IkeWorld(config(own, HA_ID, (SIGNALLING,)))
    world.establish()
    assert [event.reason for event in world.mn.of(IkeFailed)] == ["authentication-failed"]
    assert [event.peer for event in world.ha.of(IkeFailed)] == [own]


def test_somebody_else_answers() -> None:
    """The responder proves an identity that the initiator did not ask for: its end tells it."""
    wanted = Identity.of("other.home.example")
    world = IkeWorld(config(MN_ID, wanted, (SIGNALLING,)))
    world.mn.engine.initiate(wanted, COA, HA, world.now)
    world.run(1.0)
    assert [event.reason for event in world.mn.of(IkeFailed)] == ["authentication-failed"]
    assert world.mn.engine.sas() == world.ha.engine.sas() == []
    # The responder had established it, and learns that it failed (RFC 7296 §2.21.2).
    assert world.ha.kinds() == ["ike-established", "child-established", "ike-deleted"]
    assert world.ha.engine.counters["received.authentication-failed"] == 1


def test_a_responder_without_the_secret_is_found_out() -> None:
    """It takes any proof, and cannot make its own."""
    world = IkeWorld(home=home_config(secret=b"wrong"))
    responder = world.ha.engine._receiver._responder
    peer = world.ha.engine._context.config.peers[0]
    responder._authenticate = lambda sa, payloads: (setattr(sa, "peer", MN_ID), peer)[1]  # type: ignore[method-assign]
    world.establish()
    assert [event.reason for event in world.mn.of(IkeFailed)] == ["authentication-failed"]
    assert world.mn.engine.sas() == world.ha.engine.sas() == []


def test_an_unknown_peer_cannot_be_called() -> None:
    world = IkeWorld()
    with pytest.raises(KeyError, match="nobody"):
        world.mn.engine.initiate(Identity.of("nobody"), COA, HA, world.now)


def test_no_secret_and_no_key_is_ever_shown() -> None:
    world = IkeWorld()
    world.establish()
    for end in (world.mn, world.ha):
        shown = repr(end.engine._context.config) + repr(end.sa) + repr(end.events)
        shown += repr([event.fields() for event in end.events]) + repr(end.sa.children)
        assert "secret" not in shown
        assert SECRET.hex() not in shown
        for child in end.sa.children:
            for key in (child.inbound_key, child.outbound_key):
                assert repr(key)[2:-1] not in shown
                assert key.hex() not in shown
        assert "key=" not in shown
        assert "keys=" not in shown


# What may be protected


def failed_children(world: IkeWorld) -> list[str]:
    return [event.reason for event in world.mn.of(ChildFailed)]


def test_no_common_transform_leaves_the_ike_sa() -> None:
    wanted = replace(PAYLOAD, transform=Transform.AES_128_CBC_HMAC_SHA2_256)
    world = IkeWorld(mobile_config(wanted))
    world.establish()
    assert failed_children(world) == ["no-proposal-chosen"]
    assert world.mn.sa.established
    assert world.ha.sa.established
    assert world.ha.kinds() == ["ike-established"]


def test_selectors_without_anything_in_common() -> None:
    wanted = replace(PAYLOAD, local=(TrafficSelector.of(COA),))
    world = IkeWorld(mobile_config(wanted, SIGNALLING))
    world.establish()
    assert failed_children(world) == ["ts-unacceptable"]
    assert [event.child.name for event in world.mn.of(ChildEstablished)] == ["signalling"]
    assert len(pairs(world)) == 1


def test_transport_mode_that_is_declined() -> None:
    """The answer is tunnel mode, and we, who insist, delete it (RFC 7296 §1.3.1)."""
    world = IkeWorld(
        mobile_config(replace(PAYLOAD, mode=Mode.TRANSPORT)), home_config(mirrored(PAYLOAD))
    )
    world.establish()
    assert failed_children(world) == ["mode-mismatch"]
    assert world.ha.kinds() == ["ike-established", "child-established", "child-deleted"]
    assert pairs(world) == []


def test_tunnel_mode_where_transport_mode_is_wanted() -> None:
    """Nobody can ask for less than tunnel mode, so there is nothing to decline it with."""
    world = IkeWorld(
        mobile_config(PAYLOAD), home_config(replace(mirrored(PAYLOAD), mode=Mode.TRANSPORT))
    )
    world.establish()
    assert failed_children(world) == ["no-proposal-chosen"]


def test_selectors_are_narrowed_to_what_is_allowed() -> None:
    wide = replace(PAYLOAD, local=(ANYWHERE,))
    world = IkeWorld(mobile_config(wide), home_config(mirrored(PAYLOAD)))
    world.establish()
    ((ours, theirs),) = pairs(world)
    assert ours.child.local == theirs.child.remote == (TrafficSelector.of(HOA),)
    assert ours.child.remote == (ANYWHERE,)


MORE_THAN_ASKED = ProposalTransform(TransformType.ENCRYPTION, 20, 256)


@pytest.mark.parametrize(
    ("tampered", "reason"),
    [
        (mirrored(PAYLOAD), "bad-answer"),
        (replace(mirrored(PAYLOAD), remote=(ANYWHERE,)), "ts-unacceptable"),
        (replace(mirrored(PAYLOAD), mode=Mode.TRANSPORT), "mode-mismatch"),
        (
            replace(mirrored(PAYLOAD), transform=Transform.AES_128_CBC_HMAC_SHA2_256),
            "bad-answer",
        ),
    ],
)
def test_an_answer_that_says_something_else_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tampered: ChildRequest, reason: str
) -> None:
    """A responder that grants what was not asked for: its half is deleted again."""
    from agents.core.ike import children
    from agents.core.ike.negotiation import EspChoice, offer_esp

    match = children._match

    def granted(payloads, policies, groups):  # type: ignore[no-untyped-def]
        found = match(payloads, policies, groups)
        proposal = offer_esp(tampered.transform, found.choice.spi)[0]
        if tampered == mirrored(PAYLOAD):
            proposal = replace(proposal, transforms=(*proposal.transforms, MORE_THAN_ASKED))
        choice = EspChoice(proposal, tampered.transform, found.choice.spi, None)
        return children._Match(tampered, choice, tampered.remote, tampered.local)

    monkeypatch.setattr(children, "_match", granted)
    world = IkeWorld(mobile_config(PAYLOAD), home_config(mirrored(PAYLOAD)))
    world.establish()
    assert failed_children(world) == [reason]
    assert world.mn.sa.children == ()
    assert world.ha.sa.children == ()
    assert world.ha.kinds() == ["ike-established", "child-established", "child-deleted"]


def test_an_ike_sa_without_children() -> None:
    world = IkeWorld(config(MN_ID, HA_ID, ()))
    world.establish()
    assert world.mn.kinds() == world.ha.kinds() == ["ike-established"]


def test_either_end_may_begin() -> None:
    world = IkeWorld()
    world.ha.engine.initiate(MN_ID, HA, COA, world.now)
    world.run(1.0)
    assert len(pairs(world)) == 2
    assert world.ha.sa.initiator
    assert not world.mn.sa.initiator


def test_both_ends_begin_at_once() -> None:
    """Two IKE SAs, which is allowed; each end finds the newest."""
    world = IkeWorld()
    world.ha.engine.initiate(MN_ID, HA, COA, world.now)
    world.establish()
    assert len(world.mn.engine.sas()) == len(world.ha.engine.sas()) == 2
    assert len(world.mn.of(IkeEstablished)) == len(world.ha.of(IkeEstablished)) == 2
    for end, peer in ((world.mn, HA_ID), (world.ha, MN_ID)):
        assert end.engine.find(peer) is end.of(IkeEstablished)[-1].sa
        newest = end.engine.find(peer)
        assert newest is not None
        end.engine.forget(newest)
        assert end.engine.find(peer) is end.sa


# NAT detection as a way to ask for ESP in UDP


def test_encapsulation_moves_to_port_4500() -> None:
    world = IkeWorld(mobile_config(encapsulation=True), home_config(encapsulation=True))
    world.establish()
    assert len(pairs(world)) == 2
    for ours, theirs in pairs(world):
        assert ours.child.encapsulation == theirs.child.encapsulation == (4500, 4500)
    for place, datagram in enumerate(world.log):
        port = 500 if place < 2 else 4500
        assert (datagram.source_port, datagram.destination_port) == (port, port)
        assert datagram.payload.startswith(bytes(4)) is (port == 4500)
    world.ha.engine.check_liveness(world.ha.sa, world.now)
    world.run(1.0)
    assert world.log[-1].payload[:4] == bytes(4)
    assert world.ha.engine.counters["requests-repeated"] == 0


@pytest.mark.parametrize(("mobile", "home"), [(True, False), (False, True), (False, False)])
def test_encapsulation_takes_two(mobile: bool, home: bool) -> None:
    world = IkeWorld(mobile_config(encapsulation=mobile), home_config(encapsulation=home))
    world.establish()
    assert len(pairs(world)) == 2
    assert {datagram.source_port for datagram in world.log} == {500}
    assert {event.child.encapsulation for event in world.mn.of(ChildEstablished)} == {None}


def test_a_new_mapping_of_a_nat_is_followed() -> None:
    """Only an authentic message moves the port (RFC 7296 §2.23)."""
    world = IkeWorld(mobile_config(encapsulation=True), home_config(encapsulation=True))
    world.establish()

    def translate(datagram: Datagram) -> list[tuple[float, Datagram]]:
        if datagram.source == COA:
            return [(0.0, replace(datagram, source_port=40000))]
        assert datagram.destination_port == 40000
        return [(0.0, replace(datagram, destination_port=4500))]

    world.filter = translate
    world.mn.engine.check_liveness(world.mn.sa, world.now)
    world.run(1.0)
    assert world.ha.sa.remote_port == 40000
    assert world.log[-1].destination_port == 40000


def test_states_along_the_way() -> None:
    world = IkeWorld()
    sa = world.begin()
    assert sa.state is IkeState.INIT_SENT
    world.run(1.5 * DELAY)
    assert world.ha.sa.state is IkeState.HALF_OPEN
    world.run(DELAY)
    assert sa.state is IkeState.AUTH_SENT
    assert world.mn.engine.find(HA_ID) is None
    world.run(1.0)
    assert sa.state is world.ha.sa.state is IkeState.ESTABLISHED


# A peer of another make

CHATTER: list[Payload] = [
    VendorId(bytes(16)),
    VendorId(b"strongSwan"),
    Notify(16404, bytes(2)),  # IKEV2_MESSAGE_ID_SYNC and others: statuses that nobody asked for
    Notify(16406),  # REDIRECT_SUPPORTED
    Notify(16430),  # IKEV2_FRAGMENTATION_SUPPORTED
    Notify(16431, b"\0\2\0\3\0\4"),  # SIGNATURE_HASH_ALGORITHMS
]
MORE_CHATTER: list[Payload] = [
    Notify(NotifyType.INITIAL_CONTACT),
    Notify(16396),  # MOBIKE_SUPPORTED
    Notify(16397, bytes(16)),  # ADDITIONAL_IP6_ADDRESS
    Notify(16417),  # EAP_ONLY_AUTHENTICATION
    Notify(NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED),
    Certificate(4, b"certificate"),
    CertificateRequest(4, bytes(20)),
    OpaquePayload(47, b"\1\0\0\0"),  # CP(CFG_REQUEST), empty
]


@pytest.mark.parametrize("encapsulation", [False, True])
def test_all_that_others_say_is_heard_with_patience(
    monkeypatch: pytest.MonkeyPatch, encapsulation: bool
) -> None:
    """Vendor IDs, unknown statuses, certificates, CP; NAT detection that sees no NAT."""

    def talkative(
        context: IkeContext, sa: IkeSa, proposals: tuple[Proposal, ...], first: list[Payload]
    ) -> bytes:
        message = parse_message(init_message(context, sa, proposals, first))
        honest: list[Payload] = []
        if encapsulation:
            digest = hashes.Hash(hashes.SHA1())
            digest.update(sa.local_spi.to_bytes(8) + bytes(8) + sa.local.packed + b"\1\xf4")
            honest = [Notify(NotifyType.NAT_DETECTION_SOURCE_IP, digest.finalize())]
        plain = [
            each
            for each in message.payloads
            if not isinstance(each, Notify) or each.kind != NotifyType.NAT_DETECTION_SOURCE_IP
        ]
        return serialize_message(message.header, [*plain, *honest, *CHATTER])

    payloads = Authenticate.payloads

    def talks_on(request: Authenticate, sa: IkeSa, now: float) -> list[Payload]:
        plain = payloads(request, sa, now)
        assert plain is not None
        return [*plain[:3], *MORE_CHATTER, *plain[3:], OpaquePayload(200, b"unknown")]

    monkeypatch.setattr(initiator, "init_message", talkative)
    monkeypatch.setattr(Authenticate, "payloads", talks_on)
    more = {"encapsulation": encapsulation}
    world = IkeWorld(mobile_config(**more), home_config(**more))
    world.establish()
    assert len(pairs(world)) == 2
    assert world.ha.engine.counters["received.initial-contact"] == 1
    made = [*world.mn.of(ChildEstablished), *world.ha.of(ChildEstablished)]
    encapsulations = {event.child.encapsulation for event in made}
    assert encapsulations == {(4500, 4500) if encapsulation else None}


def test_initial_contact_deletes_nothing_and_is_never_sent() -> None:
    """Home agents are replicated: another one's SAs must not end (rule 8, RFC 7296 §2.4)."""
    world = IkeWorld()
    world.establish()
    world.begin()
    world.run(1.0)
    assert len(world.mn.engine.sas()) == len(world.ha.engine.sas()) == 2
    assert len(pairs(world)) == 4
    sa = world.ha.engine.sas()[0]
    assert len(sa.children) == 2
    for end in (world.mn, world.ha):
        assert end.engine.counters["received.initial-contact"] == 0


@pytest.mark.parametrize("payload", [OpaquePayload(200, b"", True), OpaquePayload(54, b"", True)])
def test_a_critical_payload_that_is_unknown(
    monkeypatch: pytest.MonkeyPatch, payload: Payload
) -> None:
    """Refused in either exchange (RFC 7296 §2.5): nothing comes of it."""

    def critical(
        context: IkeContext, sa: IkeSa, proposals: tuple[Proposal, ...], first: list[Payload]
    ) -> bytes:
        return init_message(context, sa, proposals, [payload, *first])

    with monkeypatch.context() as patch:
        patch.setattr(initiator, "init_message", critical)
        world = IkeWorld(mobile_config(timers=FAST))
        world.establish()
        world.run(2.0)
    reasons = [event.reason for event in world.mn.of(IkeFailed)]
    assert reasons == ["unsupported-critical-payload"]
    assert world.ha.engine.sas() == []
    payloads = Authenticate.payloads
    monkeypatch.setattr(
        Authenticate,
        "payloads",
        lambda request, sa, now: [payload, *(payloads(request, sa, now) or [])],
    )
    world = IkeWorld()
    world.establish()
    reasons = [event.reason for event in world.mn.of(IkeFailed)]
    assert reasons == ["unsupported-critical-payload"]
    assert world.ha.engine.sas() == []


def test_a_peer_that_wants_eap(monkeypatch: pytest.MonkeyPatch) -> None:
    """No AUTH payload in the first message means EAP (RFC 7296 §2.16), which is not here."""
    payloads = Authenticate.payloads
    monkeypatch.setattr(
        Authenticate,
        "payloads",
        lambda request, sa, now: [
            each
            for each in payloads(request, sa, now) or []
            if not isinstance(each, Authentication)
        ],
    )
    world = IkeWorld()
    world.establish()
    assert [event.reason for event in world.mn.of(IkeFailed)] == ["authentication-failed"]
    assert world.ha.engine.sas() == []


# Answers to IKE_SA_INIT that cannot be meant: dropped, and the true one is waited for

IKE_CHOICE = replace(
    samples.IKE_PROPOSAL,
    transforms=tuple(samples.IKE_PROPOSAL.transforms[place] for place in (0, 2, 3)),
)


def swapped(payloads: tuple[Payload, ...], new: Payload) -> list[Payload]:
    """Return the payloads with `new` in the place of the one of its kind."""
    return [new if isinstance(each, type(new)) else each for each in payloads]


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (SecurityAssociationPayload((IKE_CHOICE, IKE_CHOICE)), "bad-proposal"),
        (SecurityAssociationPayload((samples.IKE_PROPOSAL,)), "bad-proposal"),
        (SecurityAssociationPayload((samples.ESP_GCM,)), "bad-proposal"),
        (KeyExchange(Group.P256, bytes(64)), "bad-proposal"),
        (KeyExchange(Group.X25519, bytes(32)), "bad-public-value"),
        (KeyExchange(Group.X25519, bytes(31)), "bad-public-value"),
    ],
)
def test_init_answers_that_cannot_be_meant(new: Payload, reason: str) -> None:
    world = IkeWorld()
    told: list[bytes] = []

    def twist(datagram: Datagram) -> list[tuple[float, Datagram]]:
        if datagram.source != HA or told:
            return [(0.0, datagram)]
        message = parse_message(datagram.payload)
        told.append(serialize_message(message.header, swapped(message.payloads, new)))
        return [(0.0, replace(datagram, payload=told[0]))]

    world.filter = twist
    world.establish()
    assert world.mn.engine.counters[f"dropped.{reason}"] == 1
    assert len(pairs(world)) == 2


@pytest.mark.parametrize("kind", [KeyExchange, Nonce, SecurityAssociationPayload, None])
def test_init_answers_that_lack_something(kind: type | None) -> None:
    world = IkeWorld()
    told: list[bytes] = []

    def twist(datagram: Datagram) -> list[tuple[float, Datagram]]:
        if datagram.source != HA or told:
            return [(0.0, datagram)]
        message = parse_message(datagram.payload)
        head = message.header if kind is not None else replace(message.header, spi_responder=0)
        rest = [each for each in message.payloads if kind is None or not isinstance(each, kind)]
        told.append(serialize_message(head, rest))
        return [(0.0, replace(datagram, payload=told[0]))]

    world.filter = twist
    world.establish()
    assert world.mn.engine.counters["dropped.field-missing"] == 1
    assert len(pairs(world)) == 2


def test_the_same_cookie_twice_is_obeyed_once() -> None:
    world = IkeWorld(home=home_config(timers=under_load()))
    world.filter = lambda datagram: [(0.0, datagram)] * (3 if datagram.source == HA else 1)
    world.establish()
    assert world.mn.sa.retries == 1
    assert len(pairs(world)) == 2


def test_established_sas_are_no_load() -> None:
    world = IkeWorld(home=home_config(timers=IkeTimers(cookie_threshold=1)))
    for _ in range(4):
        world.establish()
    assert len(world.ha.engine.sas()) == 4
    assert world.ha.engine.counters["cookies-sent"] == 0


def test_private_keys_are_forgotten() -> None:
    world = IkeWorld()
    world.establish()
    assert world.mn.sa.private is None
    assert world.ha.sa.private is None


def test_a_proof_by_another_method_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = Authenticate.payloads

    def signed(request: Authenticate, sa: IkeSa, now: float) -> list[Payload]:
        plain = tuple(payloads(request, sa, now) or [])
        (proof,) = (each for each in plain if isinstance(each, Authentication))
        return swapped(plain, replace(proof, method=AuthMethod.RSA_SIGNATURE))

    monkeypatch.setattr(Authenticate, "payloads", signed)
    world = IkeWorld()
    world.establish()
    assert [event.reason for event in world.mn.of(IkeFailed)] == ["authentication-failed"]
    assert world.ha.of(IkeEstablished) == []


def test_nothing_is_done_for_an_end_that_has_not_proven_itself() -> None:
    """The responder asks before its answer to IKE_AUTH has come: that has to wait."""
    world = IkeWorld()
    world.filter = lambda datagram: (
        [] if datagram.source == HA and datagram.payload[18] == ExchangeType.IKE_AUTH
        and world.now < 1000.3 else [(0.0, datagram)]
    )  # fmt: skip
    world.begin()
    world.run(0.1)
    assert world.mn.sa.state is IkeState.AUTH_SENT
    world.ha.engine.delete(world.ha.sa, world.now)
    world.run(0.1)
    assert world.mn.sa.state is IkeState.AUTH_SENT
    assert world.mn.engine.counters["dropped.wrong-exchange"] == 1
    world.run(5.0)
    assert world.mn.kinds()[0] == "ike-established"
    assert world.mn.kinds()[-1] == world.ha.kinds()[-1] == "ike-deleted"


def test_refusals_of_init_are_limited() -> None:
    world = IkeWorld(mobile_config(groups=(Group.X25519,)), home_config(groups=(Group.P256,)))
    world.filter = lambda datagram: [(0.0, datagram)] if datagram.source == COA else []
    for _ in range(50):
        world.begin()
    world.run(0.1)
    assert world.ha.engine.counters["refused.no-proposal-chosen"] == 50
    assert 20 <= len(world.ha.sent) <= 22
