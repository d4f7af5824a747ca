"""Which proposal is chosen, what selectors have in common, and whose cookie is whose."""

import random
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import ike_samples as samples
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ike_world import ANYWHERE, COA, HA, HOA

from agents.core.ike.ciphers import IkeCipher
from agents.core.ike.cookies import Cookies
from agents.core.ike.narrowing import MOST, narrow, within
from agents.core.ike.negotiation import choose_esp, choose_ike, offer_esp, offer_ike
from agents.wire.ike.numbers import Group, ProtocolId, TransformType
from agents.wire.ike.proposals import Proposal, ProposalTransform
from agents.wire.ike.selectors import OPAQUE_PORT, OtherSelector, TrafficSelector
from agents.wire.transforms import Transform

GROUPS = (Group.X25519, Group.P256)
NO_INTEGRITY = ProposalTransform(TransformType.INTEGRITY, 0)
HMAC = ProposalTransform(TransformType.INTEGRITY, 12)
ESN = ProposalTransform(TransformType.ESN, 1)
CIPHERS = tuple(IkeCipher)
OFFER = offer_ike(GROUPS, CIPHERS)[0]


def with_more(proposal: Proposal, *more: ProposalTransform) -> Proposal:
    return replace(proposal, transforms=(*proposal.transforms, *more))


def without(proposal: Proposal, kind: int) -> Proposal:
    rest = tuple(each for each in proposal.transforms if each.kind != kind)
    return replace(proposal, transforms=rest)


def test_what_we_offer_is_what_we_choose() -> None:
    choice = choose_ike((OFFER,), GROUPS, CIPHERS)
    assert choice is not None
    assert (choice.group, choice.cipher) == (Group.X25519, IkeCipher.AES_128_GCM)
    assert len(choice.proposal.transforms) == 3
    for transform in Transform:
        offered = offer_esp(transform, 0x01000001)
        chosen = choose_esp(offered, transform)
        assert chosen is not None
        assert (chosen.spi, chosen.group, chosen.transform) == (0x01000001, None, transform)
        assert chosen.answer(0x02000002).transforms == offered[0].transforms
        assert chosen.answer(0x02000002).spi.hex() == "02000002"


def test_our_order_of_groups_counts() -> None:
    for groups in ((Group.P256, Group.X25519), (Group.P256,)):
        choice = choose_ike((OFFER,), groups, CIPHERS)
        assert choice is not None
        assert choice.group == Group.P256


def test_a_later_proposal_may_be_the_one() -> None:
    other = replace(
        OFFER, number=1, transforms=(ProposalTransform(1, 12, 128), *OFFER.transforms[3:])
    )
    choice = choose_ike((other, replace(OFFER, number=2)), GROUPS, CIPHERS)
    assert choice is not None
    assert choice.proposal.number == 2


def test_our_order_of_ciphers_counts() -> None:
    for ciphers in (CIPHERS, CIPHERS[1:], CIPHERS[::-1]):
        choice = choose_ike((OFFER,), GROUPS, ciphers)
        assert choice is not None
        assert choice.cipher is ciphers[0]


@pytest.mark.parametrize("place", range(3))
def test_another_cipher_where_the_peer_has_no_better(place: int) -> None:
    only = replace(OFFER, transforms=OFFER.transforms[place:])
    choice = choose_ike((only,), GROUPS, CIPHERS)
    assert choice is not None
    assert choice.cipher is CIPHERS[place]


@pytest.mark.parametrize(
    "proposal",
    [
        without(OFFER, TransformType.ENCRYPTION),
        without(OFFER, TransformType.PRF),
        without(OFFER, TransformType.GROUP),
        with_more(OFFER, HMAC),
        with_more(OFFER, ESN),
        with_more(OFFER, ProposalTransform(6, 1)),
        replace(OFFER, protocol=ProtocolId.ESP),
        with_more(without(OFFER, TransformType.ENCRYPTION), ProposalTransform(1, 20, 192)),
        with_more(without(OFFER, TransformType.ENCRYPTION), ProposalTransform(1, 28, 256)),
        with_more(
            without(OFFER, TransformType.ENCRYPTION), ProposalTransform(1, 20, 128, b"\x80\1\0\2")
        ),
    ],
)
def test_proposals_for_ike_that_cannot_be_chosen(proposal: Proposal) -> None:
    assert choose_ike((proposal,), GROUPS, CIPHERS) is None


def test_no_integrity_may_be_said_aloud() -> None:
    choice = choose_ike((with_more(OFFER, NO_INTEGRITY, HMAC),), GROUPS, CIPHERS)
    assert choice is not None
    assert NO_INTEGRITY in choice.proposal.transforms
    assert HMAC not in choice.proposal.transforms
    chosen = choose_esp((with_more(samples.ESP_GCM, NO_INTEGRITY),), Transform.AES_128_GCM)
    assert chosen is not None
    assert NO_INTEGRITY in chosen.proposal.transforms


@pytest.mark.parametrize(
    "proposal",
    [
        with_more(samples.ESP_GCM, HMAC),
        with_more(without(samples.ESP_GCM, TransformType.ESN), ESN),
        replace(samples.ESP_GCM, spi=b"\0\0\0\xff"),
        replace(samples.ESP_GCM, spi=b"\1"),
        replace(samples.ESP_GCM, protocol=ProtocolId.AH),
        with_more(samples.ESP_GCM, ProposalTransform(9, 1)),
        with_more(samples.ESP_GCM, ProposalTransform(TransformType.GROUP, 14)),
        samples.ESP_CBC,
    ],
)
def test_proposals_for_esp_that_cannot_be_chosen(proposal: Proposal) -> None:
    assert choose_esp((proposal,), Transform.AES_128_GCM, GROUPS) is None


def test_cbc_wants_its_integrity() -> None:
    transform = Transform.AES_128_CBC_HMAC_SHA2_256
    assert choose_esp((samples.ESP_GCM, samples.ESP_CBC), transform) is not None
    assert choose_esp((without(samples.ESP_CBC, TransformType.INTEGRITY),), transform) is None


def test_esn_left_out_or_as_a_choice() -> None:
    chosen = choose_esp((with_more(samples.ESP_GCM, ESN),), Transform.AES_128_GCM)
    assert chosen is not None
    assert ESN not in chosen.proposal.transforms
    bare = without(samples.ESP_GCM, TransformType.ESN)
    chosen = choose_esp((bare,), Transform.AES_128_GCM)
    assert chosen is not None
    assert chosen.proposal == bare


def test_a_key_exchange_of_the_childs_own() -> None:
    offered = with_more(
        samples.ESP_GCM, *(ProposalTransform(TransformType.GROUP, each) for each in (14, 19, 31))
    )
    chosen = choose_esp((offered,), Transform.AES_128_GCM, GROUPS)
    assert chosen is not None
    assert chosen.group == Group.X25519
    assert choose_esp((offered,), Transform.AES_128_GCM) is None  # IKE_AUTH has none
    left_open = with_more(offered, ProposalTransform(TransformType.GROUP, 0))
    chosen = choose_esp((left_open,), Transform.AES_128_GCM, GROUPS)
    assert chosen is not None
    assert chosen.group is None


# Narrowing

NETWORK = TrafficSelector.of(IPv6Network("fd00:192:168:1::/64"))


@pytest.mark.parametrize(
    ("offered", "allowed", "common"),
    [
        (ANYWHERE, NETWORK, NETWORK),
        (NETWORK, ANYWHERE, NETWORK),
        (NETWORK, TrafficSelector.of(HOA), TrafficSelector.of(HOA)),
        (NETWORK, TrafficSelector.of(COA), None),
        (TrafficSelector.of(HOA, 17), TrafficSelector.of(HOA, 6), None),
        (TrafficSelector.of(HOA, 17), NETWORK, TrafficSelector.of(HOA, 17)),
        (NETWORK, TrafficSelector.of(HOA, 17), TrafficSelector.of(HOA, 17)),
        (
            TrafficSelector(17, HOA, HOA, 10, 20),
            TrafficSelector(17, HOA, HOA, 15, 30),
            TrafficSelector(17, HOA, HOA, 15, 20),
        ),
        (TrafficSelector(17, HOA, HOA, 1, 2), TrafficSelector(17, HOA, HOA, 3, 4), None),
        (
            TrafficSelector(17, HOA, HOA, *OPAQUE_PORT),
            TrafficSelector.of(HOA, 17),
            TrafficSelector(17, HOA, HOA, *OPAQUE_PORT),
        ),
        (
            TrafficSelector(17, HOA, HOA, *OPAQUE_PORT),
            TrafficSelector(17, HOA, HOA, 1, 2),
            None,
        ),
        (OtherSelector(7, 0, bytes(12)), ANYWHERE, None),
    ],
)
def test_narrowing(
    offered: TrafficSelector, allowed: TrafficSelector, common: TrafficSelector | None
) -> None:
    assert narrow((offered,), (allowed,)) == (() if common is None else (common,))


def test_narrowing_of_several() -> None:
    offered = (TrafficSelector.of(HOA), TrafficSelector.of(COA), TrafficSelector.of(HOA))
    assert narrow(offered, (NETWORK, TrafficSelector.of(COA, 17))) == (
        TrafficSelector.of(HOA),
        TrafficSelector.of(COA, 17),
    )
    assert not narrow((), (ANYWHERE,))
    many = tuple(TrafficSelector.of(IPv6Address(number)) for number in range(1, 100))
    assert len(narrow(many, (ANYWHERE,))) == MOST


def test_an_answer_must_lie_within_the_question() -> None:
    assert within((TrafficSelector.of(HOA),), (NETWORK,))
    assert not within((NETWORK,), (TrafficSelector.of(HOA),))
    assert not within((OtherSelector(7, 0, bytes(12)),), (ANYWHERE,))
    assert not within((TrafficSelector.of(HOA), TrafficSelector.of(HA)), (TrafficSelector.of(HOA),))


spans = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted)


@given(spans, spans, spans, spans, st.integers(0, 2), st.integers(0, 2))
def test_narrowing_is_what_both_hold(
    one: list[int], other: list[int], ports: list[int], more: list[int], first: int, second: int
) -> None:
    """Against a check of every single (protocol, address, port)."""

    def selector(span: list[int], port: list[int], protocol: int) -> TrafficSelector:
        return TrafficSelector(protocol, IPv6Address(span[0]), IPv6Address(span[1]), *port)

    def holds(each: TrafficSelector, protocol: int, address: int, port: int) -> bool:
        return (
            each.protocol in (0, protocol)
            and int(each.first) <= address <= int(each.last)
            and each.first_port <= port <= each.last_port
        )

    offered, allowed = selector(one, ports, first), selector(other, more, second)
    common = narrow((offered,), (allowed,))
    for protocol in (1, 2):
        for value in range(0, 31, 3):
            for port in range(0, 31, 3):
                both = all(holds(each, protocol, value, port) for each in (offered, allowed))
                found = any(holds(each, protocol, value, port) for each in common)
                assert both is found
    assert within(common, (offered,))
    assert within(common, (allowed,))


# Cookies


def test_cookies_last_for_two_secrets() -> None:
    cookies = Cookies(random.Random(1).randbytes, 30.0)
    cookie = cookies.make(b"nonce", COA, 1, 0.0)
    assert cookies.make(b"nonce", COA, 1, 1.0) == cookie
    assert cookies.valid(cookie, b"nonce", COA, 1, 29.0)
    assert cookies.valid(cookie, b"nonce", COA, 1, 31.0)
    assert not cookies.valid(cookie, b"nonce", COA, 1, 65.0)
    fresh = Cookies(random.Random(1).randbytes, 30.0)
    old = fresh.make(b"nonce", COA, 1, 0.0)
    assert not fresh.valid(old, b"nonce", COA, 1, 1000.0)


def test_cookies_belong_to_nonce_address_and_spi() -> None:
    cookies = Cookies(random.Random(1).randbytes, 30.0)
    cookie = cookies.make(b"nonce", COA, 1, 0.0)
    assert not cookies.valid(cookie, b"other", COA, 1, 0.0)
    assert not cookies.valid(cookie, b"nonce", HA, 1, 0.0)
    assert not cookies.valid(cookie, b"nonce", COA, 2, 0.0)
    assert not cookies.valid(b"", b"nonce", COA, 1, 0.0)
    assert not Cookies(random.Random(2).randbytes, 30.0).valid(cookie, b"nonce", COA, 1, 0.0)
