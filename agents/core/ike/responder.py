"""The end that answers: IKE_SA_INIT, cookies under load, IKE_AUTH (RFC 7296 §1.2, §2.6, §2.15)."""

from agents.core.counters import Dropped
from agents.core.ike.admission import Admission
from agents.core.ike.authentication import (
    check_proof,
    own_certificates,
    own_proof,
    refusal,
    take_signature_hashes,
)
from agents.core.ike.child_sa import ChildSa
from agents.core.ike.children import grant
from agents.core.ike.config import IkePeerConfig
from agents.core.ike.context import IkeContext
from agents.core.ike.events import ChildEstablished
from agents.core.ike.initial_exchange import (
    NONCE_LENGTH,
    init_message,
    take_keys,
    takes_fragments,
)
from agents.core.ike.nat import supported
from agents.core.ike.negotiation import choose_ike
from agents.core.ike.not_authorised import NotAuthorised
from agents.core.ike.payload_search import Refused, find, find_notify, need, refuse_critical
from agents.core.ike.sa import IkeSa, Route
from agents.core.ike.states import IkeState, IkeTrigger
from agents.core.ike.transmission import Transmission
from agents.wire.ike.header import Header
from agents.wire.ike.message import Message, serialize_message
from agents.wire.ike.numbers import ExchangeType, NotifyType, slug
from agents.wire.ike.payloads import (
    IdentityInitiator,
    IdentityResponder,
    KeyExchange,
    Nonce,
    Notify,
    Payload,
    SecurityAssociationPayload,
)

LONGEST_INIT = 4096
"""Octets of an IKE_SA_INIT that are kept until IKE_AUTH has come; no honest one is as long."""


class Responder:
    """Answers the first two exchanges of a peer."""

    def __init__(self, context: IkeContext, transmission: Transmission) -> None:
        self._context = context
        self._transmission = transmission
        self._admission = Admission(context.config.timers.admissions_per_second)

    def receive_init(self, octets: bytes, message: Message, route: Route, now: float) -> None:
        """Answer IKE_SA_INIT; a repeated request gets the same answer.

        Raises:
            Dropped: no answer is due.
        """
        head = message.header
        if not head.initiator or head.spi_responder or head.message_id:
            raise Dropped("bad-init-request")
        if len(octets) > LONGEST_INIT:
            raise Dropped("init-too-long")
        own = self._context.sas.get(head.spi_initiator)
        if own is not None and own.initiator:
            raise Dropped("reflected")
        known = self._context.inits.get(octets)
        if known is not None:
            if known.state is not IkeState.HALF_OPEN:
                raise Dropped("repeated-init-request")
            self._context.counters["responses-repeated"] += 1
            self._context.send(known.init_local, route)
            return
        try:
            refuse_critical(message.payloads)
            self._answer_init(octets, message, route, now)
        except Refused as refused:
            self._context.counters[f"refused.{slug(refused.kind)}"] += 1
            if self._context.error_limit.allow(now):
                self._send_notify(head, refused.notify, route)

    def _answer_init(self, octets: bytes, message: Message, route: Route, now: float) -> None:
        context, head = self._context, message.header
        proposals = need(message.payloads, SecurityAssociationPayload).proposals
        exchange = need(message.payloads, KeyExchange)
        nonce = need(message.payloads, Nonce).data
        if self._wants_cookie(message, nonce, route, now):
            cookie = context.cookies.make(nonce, route.remote, head.spi_initiator, now)
            self._send_notify(head, Notify(NotifyType.COOKIE, cookie), route)
            context.counters["cookies-sent"] += 1
            return
        choice = choose_ike(proposals, context.config.groups, context.config.ciphers)
        if choice is None:
            raise Refused(NotifyType.NO_PROPOSAL_CHOSEN)
        if exchange.group != choice.group:
            raise Refused(NotifyType.INVALID_KE_PAYLOAD, choice.group.to_bytes(2))
        private = context.private_key(choice.group)
        try:
            shared = private.shared(exchange.data)
        except ValueError:
            raise Refused(NotifyType.INVALID_SYNTAX) from None
        self._make_room()
        sa = IkeSa(
            False,
            context.new_ike_spi(),
            route.local,
            route.remote,
            route.local_port,
            route.remote_port,
            head.spi_initiator,
            private=private,
            nonce_local=context.random_bytes(NONCE_LENGTH),
            nonce_remote=nonce,
            init_remote=octets,
            expected_request=1,
        )
        take_signature_hashes(sa, message.payloads)
        sa.fragmentation = takes_fragments(context, message.payloads)
        sa.init_local = init_message(context, sa, (choice.proposal,), [])
        sa.encapsulated = context.config.encapsulation and supported(message.payloads)
        take_keys(sa, shared, choice.cipher)
        context.sas[sa.local_spi] = sa
        context.inits[octets] = sa
        context.half_open.add(sa.local_spi, route.remote)
        sa.timer = context.timers.schedule(
            now + context.config.timers.half_open_timeout, lambda _: self._expire(sa)
        )
        context.send(sa.init_local, route)

    def _wants_cookie(self, message: Message, nonce: bytes, route: Route, now: float) -> bool:
        """Whether the initiator has yet to show that it receives at its address (§2.6)."""
        context = self._context
        waiting = len(context.half_open)
        if waiting < context.config.timers.cookie_threshold:
            return False
        cookie = find_notify(message.payloads, NotifyType.COOKIE)
        spi = message.header.spi_initiator
        if cookie is None or not context.cookies.valid(cookie.data, nonce, route.remote, spi, now):
            return True
        if not self._admission.allow(route.remote, now):
            raise Dropped("admission-limit")
        return False

    def _make_room(self) -> None:
        context = self._context
        while len(context.half_open) >= context.config.timers.half_open_limit:
            sa = context.sas[context.half_open.one_too_many()]
            context.counters["half-open-crowded-out"] += 1
            self._end_half_open(sa)

    def _expire(self, sa: IkeSa) -> None:
        """A half-open SA was not continued: nobody has proven anything, so a count is enough."""
        self._context.counters["half-open-expired"] += 1
        self._end_half_open(sa)

    def _end_half_open(self, sa: IkeSa) -> None:
        self._context.drop(sa)
        sa.handle(IkeTrigger.ENDED)

    def _send_notify(self, head: Header, notify: Notify, route: Route) -> None:
        """Answer IKE_SA_INIT without keeping anything: the responder's SPI stays 0."""
        answer = Header(
            head.spi_initiator, 0, ExchangeType.IKE_SA_INIT, 0, initiator=False, response=True
        )
        self._context.send(serialize_message(answer, [notify]), route)

    def receive_auth(
        self, sa: IkeSa, head: Header, payloads: tuple[Payload, ...], route: Route, now: float
    ) -> None:
        """Answer IKE_AUTH, whose message is intact; who sent it is to be seen."""
        try:
            refuse_critical(payloads)
            peer = self._authenticate(sa, payloads)
        except Refused as refused:
            self._context.counters[f"refused.{slug(refused.kind)}"] += 1
            self._transmission.respond(sa, head, [refused.notify], route)
            self._context.end(sa, slug(refused.kind), now)
            return
        except NotAuthorised as refused:
            self._refuse(sa, head, refused, route, now)
            return
        sa.stop_timer()
        sa.config = peer
        sa.local, sa.remote = route.local, route.remote
        sa.local_port, sa.remote_port = route.local_port, route.remote_port
        if find_notify(payloads, NotifyType.INITIAL_CONTACT) is not None:
            # Not acted on: home agents are replicated, and share Child SAs (rule 8).
            self._context.counters["received.initial-contact"] += 1
        sa.alone = find_notify(payloads, NotifyType.ONLY_THIS) is not None
        self._context.establish(sa)
        answer = self._own_proof(sa, peer)
        child = self._grant(sa, payloads, peer, answer)
        self._transmission.respond(sa, head, answer, route)
        if child is not None:
            self._context.report(ChildEstablished(sa, sa.peer, child))
        self._transmission.watch(sa, now)
        self._transmission.proceed(sa, now)

    def _authenticate(self, sa: IkeSa, payloads: tuple[Payload, ...]) -> IkePeerConfig:
        named = need(payloads, IdentityInitiator).identity
        sa.peer = named
        peer = self._context.config.peer(named)
        return check_proof(self._context, sa, payloads, named, peer)

    def _refuse(
        self, sa: IkeSa, head: Header, refused: NotAuthorised, route: Route, now: float
    ) -> None:
        """The other end is not who it says, or not wanted: tell it so, and why."""
        reason = slug(NotifyType.AUTHENTICATION_FAILED)
        self._context.counters[f"refused.{reason}"] += 1
        self._context.counters[f"not-authorised.{refused.reason}"] += 1
        sa.detail = refused.reason
        self._transmission.respond(sa, head, refusal(refused), route)
        self._context.end(sa, reason, now)

    def _own_proof(self, sa: IkeSa, peer: IkePeerConfig) -> list[Payload]:
        return [
            IdentityResponder(self._context.config.identity),
            *own_certificates(self._context),
            own_proof(self._context, sa, peer),
        ]

    def _grant(
        self,
        sa: IkeSa,
        payloads: tuple[Payload, ...],
        peer: IkePeerConfig,
        answer: list[Payload],
    ) -> ChildSa | None:
        """Add the Child SA, or why there is none; the IKE SA stands anyway (§1.2)."""
        if find(payloads, SecurityAssociationPayload) is None:
            return None
        try:
            made, granted = grant(
                self._context, sa, payloads, peer.children, sa.nonces, fresh=False
            )
        except Refused as refused:
            self._context.counters[f"refused.{slug(refused.kind)}"] += 1
            answer.append(refused.notify)
            return None
        answer += granted
        self._context.add_child(sa, made)
        return made
