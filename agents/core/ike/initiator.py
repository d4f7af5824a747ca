"""The end that begins: IKE_SA_INIT with its retries, and IKE_AUTH (RFC 7296 §1.2, §2.6, §2.7)."""

from agents.core.counters import Dropped
from agents.core.ike.authentication import (
    certificate_request,
    check_proof,
    own_certificates,
    own_proof,
    refusal_reason,
    take_signature_hashes,
)
from agents.core.ike.child_exchanges import ChildExchanges
from agents.core.ike.children import BadAnswer, accept, offer
from agents.core.ike.context import IkeContext
from agents.core.ike.events import ChildEstablished, ChildFailed, IkeFailed
from agents.core.ike.informational import DeleteIke
from agents.core.ike.initial_exchange import (
    NONCE_LENGTH,
    init_message,
    take_keys,
    takes_fragments,
)
from agents.core.ike.nat import supported
from agents.core.ike.negotiation import choose_ike, offer_ike
from agents.core.ike.not_authorised import NotAuthorised
from agents.core.ike.payload_search import error, find, find_notify
from agents.core.ike.requests import Request
from agents.core.ike.sa import IkeSa
from agents.core.ike.states import IkeState, IkeTrigger
from agents.core.ike.transmission import Transmission
from agents.wire.ike.message import Message
from agents.wire.ike.numbers import NAT_PORT, ExchangeType, NotifyType, slug
from agents.wire.ike.payloads import (
    Authentication,
    IdentityInitiator,
    IdentityResponder,
    KeyExchange,
    Nonce,
    Notify,
    OpaquePayload,
    Payload,
    SecurityAssociationPayload,
)

MOST_RETRIES = 5
"""How often one attempt may begin IKE_SA_INIT anew: nothing that asks for it is authentic."""


class Initiator:
    """Begins IKE SAs and takes the answers to IKE_SA_INIT."""

    def __init__(
        self, context: IkeContext, transmission: Transmission, children: ChildExchanges
    ) -> None:
        self.context = context
        self.transmission = transmission
        self.children = children

    def begin(self, sa: IkeSa, now: float) -> None:
        """Send IKE_SA_INIT under a new SPI."""
        context = self.context
        context.drop(sa)
        sa.local_spi, sa.remote_spi = context.new_ike_spi(), 0
        context.sas[sa.local_spi] = sa
        sa.keys = None
        sa.cookie, sa.refusal = b"", ""
        sa.nonce_local = context.random_bytes(NONCE_LENGTH)
        sa.private = context.private_key(context.config.groups[0])
        self._send(sa, now)

    def _send(self, sa: IkeSa, now: float) -> None:
        first: list[Payload] = [Notify(NotifyType.COOKIE, sa.cookie)] if sa.cookie else []
        config = self.context.config
        proposals = offer_ike(config.groups, config.ciphers)
        sa.init_local = init_message(self.context, sa, proposals, first)
        self.transmission.send(sa, (sa.init_local,), now)

    def receive(self, sa: IkeSa, octets: bytes, message: Message, now: float) -> None:
        """Take an answer to IKE_SA_INIT.

        Raises:
            Dropped: it is none, or not one to act on; the request goes on being repeated.
        """
        payloads = message.payloads
        if sa.state is not IkeState.INIT_SENT:
            raise Dropped("unexpected-init-response")
        if any(isinstance(each, OpaquePayload) and each.must_be_understood for each in payloads):
            raise Dropped("unsupported-critical-payload")
        answer = find(payloads, SecurityAssociationPayload)
        if answer is None:
            self._receive_notification(sa, payloads, now)
            return
        exchange, nonce = find(payloads, KeyExchange), find(payloads, Nonce)
        config = self.context.config
        choice = choose_ike(answer.proposals, config.groups, config.ciphers)
        if exchange is None or nonce is None or not message.header.spi_responder:
            raise Dropped("field-missing")
        if (
            choice is None
            or sa.private is None
            or len(answer.proposals) != 1
            or set(choice.proposal.transforms) != set(answer.proposals[0].transforms)
            or not choice.group == exchange.group == sa.private.group
        ):
            raise Dropped("bad-proposal")
        try:
            shared = sa.private.shared(exchange.data)
        except ValueError:
            raise Dropped("bad-public-value") from None
        sa.remote_spi = message.header.spi_responder
        sa.nonce_remote, sa.init_remote = nonce.data, octets
        take_keys(sa, shared, choice.cipher)
        take_signature_hashes(sa, payloads)
        sa.fragmentation = takes_fragments(self.context, payloads)
        self._use_encapsulation(sa, payloads)
        sa.handle(IkeTrigger.ANSWERED)
        sa.next_request, sa.expected_request = 0, 0
        self.transmission.settle(sa)
        self.transmission.submit_first(sa, Authenticate(self), now)

    def restart(self, sa: IkeSa, now: float) -> None:
        """The other end does not know our SPIs: begin anew; raises `Dropped` after too many."""
        self._retry(sa)
        sa.current, sa.outstanding = None, ()
        self.begin(sa, now)

    def _receive_notification(self, sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> None:
        cookie = find_notify(payloads, NotifyType.COOKIE)
        if cookie is not None and 1 <= len(cookie.data) <= 64 and cookie.data != sa.cookie:
            self._retry(sa)
            sa.cookie = cookie.data
            self._send(sa, now)
            return
        refusal = error(payloads)
        if refusal is None:
            raise Dropped("field-missing")
        self.context.counters[f"received.{slug(refusal.kind)}"] += 1
        group = int.from_bytes(refusal.data)
        if (
            refusal.kind == NotifyType.INVALID_KE_PAYLOAD
            and sa.private is not None
            and group != sa.private.group
            and group in self.context.config.groups
        ):
            self._retry(sa)
            sa.private = self.context.private_key(group)
            self._send(sa, now)
            return
        # Not authentic: repeat for a while, and give this reason if nothing better comes.
        sa.refusal = slug(refusal.kind)
        self.transmission.limit_tries(sa, self.context.config.timers.tries_when_refused)

    def _retry(self, sa: IkeSa) -> None:
        if sa.retries >= MOST_RETRIES:
            raise Dropped("too-many-retries")
        sa.retries += 1
        sa.handle(IkeTrigger.RETRIED)

    def _use_encapsulation(self, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
        """Move to port 4500, as an end behind a NAT has to (§2.23)."""
        if self.context.config.encapsulation and supported(payloads):
            sa.encapsulated = True
            sa.local_port = sa.remote_port = NAT_PORT


class Authenticate(Request):
    """IKE_AUTH: who we are, and the first Child SA."""

    exchange = ExchangeType.IKE_AUTH

    def __init__(self, initiator: Initiator) -> None:
        self._initiator = initiator
        self._spi = 0

    def payloads(self, sa: IkeSa, now: float) -> list[Payload] | None:
        """Return IDi, [CERT, CERTREQ], IDr, AUTH; for a child to create [N], SA, TSi, TSr."""
        assert sa.config is not None
        context = self._initiator.context
        payloads: list[Payload] = [
            IdentityInitiator(context.config.identity),
            *own_certificates(context),
            *certificate_request(context),
            IdentityResponder(sa.config.identity),
            own_proof(context, sa, sa.config),
        ]
        if sa.alone:
            payloads.append(Notify(NotifyType.ONLY_THIS))
        if sa.config.children:
            self._spi = context.new_child_spi()
            payloads += offer(sa.config.children[0], self._spi)
        return payloads

    def answered(self, sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> None:
        """Take the other end's proof and Child SA, or report the failure."""
        context = self._initiator.context
        if find(payloads, Authentication) is None:
            refusal = error(payloads)
            sa.detail = refusal_reason(payloads)
            context.end(sa, slug(refusal.kind) if refusal else "bad-answer", now)
            return
        try:
            self._check(sa, payloads)
        except NotAuthorised as refused:
            self._refuse(sa, refused, now)
            return
        context.establish(sa)
        self._initiator.transmission.watch(sa, now)
        assert sa.config is not None
        if sa.config.children:
            self._take_child(sa, payloads, now)
        for request in sa.config.children[1:]:
            self._initiator.children.create(sa, request, now)

    def _check(self, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
        """Raise `NotAuthorised` unless the other end is the one that was asked for."""
        assert sa.config is not None
        named = find(payloads, IdentityResponder)
        if named is None or named.identity != sa.config.identity:
            raise NotAuthorised("wrong-identity")
        check_proof(self._initiator.context, sa, payloads, named.identity, sa.config)

    def _refuse(self, sa: IkeSa, refused: NotAuthorised, now: float) -> None:
        """Tell the other end that it has not proven itself (§2.21.2), and why."""
        context = self._initiator.context
        context.counters[f"not-authorised.{refused.reason}"] += 1
        sa.detail = refused.reason
        reason = slug(NotifyType.AUTHENTICATION_FAILED)
        context.report(IkeFailed(sa, sa.peer, reason, refused.reason))
        sa.silent = True
        sa.queue.clear()
        sa.handle(IkeTrigger.CLOSED)
        request = DeleteIke(context, NotifyType.AUTHENTICATION_FAILED)
        self._initiator.transmission.submit(sa, request, now)

    def _take_child(self, sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> None:
        assert sa.config is not None
        request = sa.config.children[0]
        context = self._initiator.context
        try:
            made = accept(sa, request, self._spi, payloads, sa.nonces)
        except BadAnswer as bad:
            context.report(ChildFailed(sa, sa.peer, request.name, bad.reason))
            if bad.unwanted:
                self._initiator.children.delete_unwanted(sa, self._spi, now)
            return
        context.add_child(sa, made)
        context.report(ChildEstablished(sa, sa.peer, made))
