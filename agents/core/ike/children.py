"""Child SAs agreed on: what either end says, and the keys (RFC 7296 §1.2, §1.3.1, §2.9, §2.17)."""

from collections.abc import Iterable
from dataclasses import dataclass

from agents.core.ike.child_sa import ChildSa
from agents.core.ike.config import ChildRequest
from agents.core.ike.context import IkeContext
from agents.core.ike.keys import derive_child_keys
from agents.core.ike.narrowing import narrow, within
from agents.core.ike.negotiation import EspChoice, choose_esp, offer_esp
from agents.core.ike.payload_search import Refused, error, find, find_notify, need
from agents.core.ike.sa import IkeSa
from agents.wire.ike.numbers import NotifyType, slug
from agents.wire.ike.payloads import (
    KeyExchange,
    Notify,
    Payload,
    SecurityAssociationPayload,
    SelectorsInitiator,
    SelectorsResponder,
)
from agents.wire.ike.selectors import TrafficSelector
from agents.wire.transforms import Mode as SaMode

MOST_CHILDREN = 64
"""Child SAs that one IKE SA may have; beyond them NO_ADDITIONAL_SAS (RFC 7296 §1.3)."""

_TRANSPORT = Notify(NotifyType.USE_TRANSPORT_MODE)


class BadAnswer(Exception):  # noqa: N818 - an outcome of negotiation, not an error of the program
    """The answer makes no Child SA; `unwanted`: the peer has made its half and must be told."""

    def __init__(self, reason: str, unwanted: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.unwanted = unwanted


@dataclass(frozen=True, slots=True)
class _Match:
    """What a responder grants: a policy of ours, and what the offer has in common with it."""

    policy: ChildRequest
    choice: EspChoice
    initiator: tuple[TrafficSelector, ...]
    responder: tuple[TrafficSelector, ...]


def offer(request: ChildRequest, spi: int) -> list[Payload]:
    """Return the payloads that ask for a Child SA with our inbound `spi`: [N], SA, TSi, TSr."""
    payloads: list[Payload] = [_TRANSPORT] if request.mode is SaMode.TRANSPORT else []
    payloads += (
        SecurityAssociationPayload(offer_esp(request.transform, spi)),
        SelectorsInitiator(request.local),
        SelectorsResponder(request.remote),
    )
    return payloads


def accept(
    sa: IkeSa, request: ChildRequest, spi: int, payloads: tuple[Payload, ...], nonces: bytes
) -> ChildSa:
    """Return the Child SA that the answer to `offer` makes; `nonces` Ni | Nr of the exchange.

    Raises:
        BadAnswer: it makes none.
    """
    chosen = find(payloads, SecurityAssociationPayload)
    initiator, responder = find(payloads, SelectorsInitiator), find(payloads, SelectorsResponder)
    if chosen is None or initiator is None or responder is None:
        refusal = error(payloads)
        raise BadAnswer(slug(refusal.kind) if refusal else "bad-answer")
    choice = choose_esp(chosen.proposals, request.transform)
    if len(chosen.proposals) != 1 or choice is None or choice.proposal != chosen.proposals[0]:
        raise BadAnswer("bad-answer", unwanted=True)
    transport = find_notify(payloads, NotifyType.USE_TRANSPORT_MODE) is not None
    if transport is not (request.mode is SaMode.TRANSPORT):
        raise BadAnswer("mode-mismatch", unwanted=True)
    if not within(initiator.selectors, request.local) or not within(
        responder.selectors, request.remote
    ):
        raise BadAnswer("ts-unacceptable", unwanted=True)
    local = narrow(initiator.selectors, request.local)
    remote = narrow(responder.selectors, request.remote)
    assert sa.keys is not None
    keys = derive_child_keys(sa.keys, nonces, request.transform.key_length)
    return ChildSa(
        request.name,
        request.mode,
        request.transform,
        spi,
        choice.spi,
        keys.from_responder,
        keys.from_initiator,
        local,
        remote,
        _encapsulation(sa),
    )


def grant(
    context: IkeContext,
    sa: IkeSa,
    payloads: tuple[Payload, ...],
    policies: Iterable[ChildRequest],
    nonces: bytes,
    *,
    fresh: bool,
) -> tuple[ChildSa, list[Payload]]:
    """Return the Child SA that a peer's request makes, and the answer: SA, [KE], TSi, TSr, [N].

    `nonces` Ni | Nr of the exchange; `fresh`: CREATE_CHILD_SA, where a key exchange of its own
    is possible.

    Raises:
        Refused: with the error that the answer has to report.
    """
    match = _match(payloads, policies, context.config.groups if fresh else ())
    if len(sa.children_by_spi) >= MOST_CHILDREN:
        raise Refused(NotifyType.NO_ADDITIONAL_SAS)
    shared, exchange = _exchange(context, match.choice, payloads)
    spi = context.new_child_spi()
    transform = match.policy.transform
    assert sa.keys is not None
    keys = derive_child_keys(sa.keys, nonces, transform.key_length, shared)
    made = ChildSa(
        match.policy.name,
        match.policy.mode,
        transform,
        spi,
        match.choice.spi,
        keys.from_initiator,
        keys.from_responder,
        match.responder,
        match.initiator,
        _encapsulation(sa),
    )
    answer: list[Payload] = [
        SecurityAssociationPayload((match.choice.answer(spi),)),
        *exchange,
        SelectorsInitiator(match.initiator),
        SelectorsResponder(match.responder),
    ]
    if match.policy.mode is SaMode.TRANSPORT:
        answer.append(_TRANSPORT)
    return made, answer


def _match(
    payloads: tuple[Payload, ...], policies: Iterable[ChildRequest], groups: tuple[int, ...]
) -> _Match:
    """Return the first of our policies that fits: mode, then selectors, then proposals.

    Asked for transport mode where only tunnel mode is allowed, we grant that: the answer's lack
    of USE_TRANSPORT_MODE declines the other, and who insists on it deletes (RFC 7296 §1.3.1).
    """
    offered = need(payloads, SecurityAssociationPayload).proposals
    initiator = need(payloads, SelectorsInitiator).selectors
    responder = need(payloads, SelectorsResponder).selectors
    transport = find_notify(payloads, NotifyType.USE_TRANSPORT_MODE) is not None
    modes = (SaMode.TRANSPORT, SaMode.TUNNEL) if transport else (SaMode.TUNNEL,)
    allowed = tuple(policies)
    refusal = NotifyType.NO_PROPOSAL_CHOSEN
    for policy in (each for mode in modes for each in allowed if each.mode is mode):
        theirs, ours = narrow(initiator, policy.remote), narrow(responder, policy.local)
        choice = choose_esp(offered, policy.transform, groups)
        if theirs and ours and choice is not None:
            return _Match(policy, choice, theirs, ours)
        if choice is not None:
            refusal = NotifyType.TS_UNACCEPTABLE
    raise Refused(refusal)


def _exchange(
    context: IkeContext, choice: EspChoice, payloads: tuple[Payload, ...]
) -> tuple[bytes, list[Payload]]:
    """Return g^ir of a key exchange of the Child SA's own, and our KE; nothing without one."""
    if choice.group is None:
        return b"", []
    theirs = need(payloads, KeyExchange)
    if theirs.group != choice.group:
        raise Refused(NotifyType.INVALID_KE_PAYLOAD, choice.group.to_bytes(2))
    private = context.private_key(choice.group)
    try:
        shared = private.shared(theirs.data)
    except ValueError:
        raise Refused(NotifyType.INVALID_SYNTAX) from None
    return shared, [KeyExchange(choice.group, private.public)]


def _encapsulation(sa: IkeSa) -> tuple[int, int] | None:
    return (sa.local_port, sa.remote_port) if sa.encapsulated else None
