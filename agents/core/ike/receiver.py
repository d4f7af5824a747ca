"""Whose message it is, whether it is authentic and in the window, and who takes it."""

from agents.core.counters import Dropped
from agents.core.ike.child_exchanges import ChildExchanges
from agents.core.ike.context import Datagram, IkeContext
from agents.core.ike.ike_rekey import IkeRekeying
from agents.core.ike.informational import answer_informational
from agents.core.ike.initiator import Initiator
from agents.core.ike.payload_search import Refused, find_notify
from agents.core.ike.protection import open_sealed
from agents.core.ike.responder import Responder
from agents.core.ike.sa import IkeSa, Route
from agents.core.ike.states import IkeState
from agents.core.ike.transmission import Transmission
from agents.wire.errors import WireError
from agents.wire.ike.header import Header, has_higher_version
from agents.wire.ike.message import Message, parse_chain, parse_message, serialize_message
from agents.wire.ike.numbers import (
    NAT_PORT,
    NON_ESP_MARKER,
    ExchangeType,
    NotifyType,
    exchange_slug,
    slug,
)
from agents.wire.ike.payloads import EncryptedFragment, Notify

NAT_KEEPALIVE = b"\xff"
"""RFC 3948 §2.3."""

Chain = tuple[int, bytes]
"""What was inside SK: the type of the first payload, and the octets of all."""

_UNPROVEN = (IkeState.INIT_SENT, IkeState.AUTH_SENT)
"""Where the other end has not shown who it is, and has nothing to ask."""


class Receiver:
    """Takes datagrams; raises `Dropped` or `WireError` for those that change nothing."""

    def __init__(
        self,
        context: IkeContext,
        transmission: Transmission,
        initiator: Initiator,
        responder: Responder,
        children: ChildExchanges,
        rekeying: IkeRekeying,
    ) -> None:
        self._context = context
        self._transmission = transmission
        self._initiator = initiator
        self._responder = responder
        self._children = children
        self._rekeying = rekeying

    def receive(self, datagram: Datagram, now: float) -> None:
        """Take one datagram."""
        octets = datagram.payload
        if datagram.destination_port == NAT_PORT:
            if octets == NAT_KEEPALIVE:
                raise Dropped("nat-keepalive")
            if not octets.startswith(NON_ESP_MARKER):
                raise Dropped("not-ike")
            octets = octets[len(NON_ESP_MARKER) :]
        route = Route(
            datagram.destination,
            datagram.destination_port,
            datagram.source,
            datagram.source_port,
        )
        if has_higher_version(octets):
            self._answer_version(octets, route, now)
        message = parse_message(octets)
        head = message.header
        kind = "response" if head.response else "request"
        self._context.counters[f"received.{exchange_slug(head.exchange)}-{kind}"] += 1
        if head.exchange == ExchangeType.IKE_SA_INIT and not head.response:
            self._responder.receive_init(octets, message, route, now)
            return
        sa = self._find(head)
        if sa is None:
            self._refuse_unknown(head, route, now)
        elif message.encrypted is None and message.fragment is None:
            self._receive_unprotected(sa, octets, message, now)
        else:
            self._receive_protected(sa, octets, message, route, now)

    def _find(self, head: Header) -> IkeSa | None:
        sa = self._context.sas.get(head.spi_responder if head.initiator else head.spi_initiator)
        if sa is None or sa.initiator is head.initiator:
            return None
        other = head.spi_initiator if head.initiator else head.spi_responder
        return sa if sa.remote_spi in (0, other) else None

    def _answer_version(self, octets: bytes, route: Route, now: float) -> None:
        """Name the highest version that we know (§2.5), in a header of that version."""
        response, from_initiator = bool(octets[19] & 0x20), bool(octets[19] & 0x08)
        if not response and self._context.error_limit.allow(now):
            head = Header(
                int.from_bytes(octets[:8]),
                int.from_bytes(octets[8:16]),
                octets[18],
                int.from_bytes(octets[20:24]),
                initiator=not from_initiator,
                response=True,
            )
            notify = Notify(NotifyType.INVALID_MAJOR_VERSION)
            self._context.send(serialize_message(head, [notify]), route)

    def _refuse_unknown(self, head: Header, route: Route, now: float) -> None:
        """Hint that the SPIs mean nothing here (§2.21.4)."""
        if head.response:
            raise Dropped("unknown-ike-spi")
        if self._context.error_limit.allow(now):
            answer = Header(
                head.spi_initiator,
                head.spi_responder,
                head.exchange,
                head.message_id,
                initiator=not head.initiator,
                response=True,
            )
            notify = Notify(NotifyType.INVALID_IKE_SPI)
            self._context.send(serialize_message(answer, [notify]), route)
        raise Dropped("unknown-ike-spi")

    def _receive_unprotected(self, sa: IkeSa, octets: bytes, message: Message, now: float) -> None:
        head = message.header
        if not head.response:
            raise Dropped("unprotected")
        if head.exchange == ExchangeType.IKE_SA_INIT:
            if head.message_id:
                raise Dropped("message-id")
            self._initiator.receive(sa, octets, message, now)
            return
        if find_notify(message.payloads, NotifyType.INVALID_IKE_SPI) is None:
            raise Dropped("unprotected")
        self._context.counters["received.invalid-ike-spi"] += 1
        # A hint and no more (§2.21.4): routing may have moved to an end that lacks the half-open
        # SA, which costs this end nothing. An established SA is ended by silence alone.
        if sa.state is IkeState.AUTH_SENT and head.message_id == sa.next_request:
            self._initiator.restart(sa, now)

    def _receive_protected(
        self, sa: IkeSa, octets: bytes, message: Message, route: Route, now: float
    ) -> None:
        if sa.keys is None:
            raise Dropped("unexpected-protected")
        head, fragment = message.header, message.fragment
        if fragment is not None:
            self._check_fragment(sa, head, fragment)
        protected = message.encrypted or fragment
        assert protected is not None
        plain = open_sealed(sa.opening_key(), octets, protected)
        if not head.response and head.message_id == sa.expected_request - 1 and sa.last_response:
            self._transmission.repeat_response(sa, route)
            return
        if not self._in_window(sa, head):
            raise Dropped("message-id")
        chain: Chain | None = (protected.first, plain)
        if fragment is not None:
            name = (sa.local_spi, head.response)
            chain = self._context.reassembly.add(name, head.message_id, fragment, plain, now)
        if chain is None:
            return
        if head.response:
            self._receive_response(sa, head, chain, now)
        else:
            self._receive_request(sa, head, chain, route, now)
        self._rekeying.look_at(sa, now)

    @staticmethod
    def _in_window(sa: IkeSa, head: Header) -> bool:
        if head.response:
            return sa.current is not None and head.message_id == sa.next_request
        return head.message_id == sa.expected_request and sa.state is not IkeState.DEAD

    def _check_fragment(self, sa: IkeSa, head: Header, fragment: EncryptedFragment) -> None:
        """Drop what is not worth opening; a request was answered: its fragment 1 asks for that."""
        self._context.counters["fragments-received"] += 1
        if not sa.fragmentation:
            raise Dropped("unexpected-fragment")
        if self._in_window(sa, head):
            name = (sa.local_spi, head.response)
            self._context.reassembly.check(name, head.message_id, fragment)
        elif head.response or fragment.number != 1:  # RFC 7383 §2.6.1
            raise Dropped("message-id")

    def _receive_response(self, sa: IkeSa, head: Header, chain: Chain, now: float) -> None:
        sa.last_heard = now
        try:
            payloads = parse_chain(*chain)
        except WireError:
            self._context.end(sa, slug(NotifyType.INVALID_SYNTAX), now)
            raise
        self._transmission.take_response(sa, head, payloads, now)

    def _receive_request(
        self,
        sa: IkeSa,
        head: Header,
        chain: Chain,
        route: Route,
        now: float,
    ) -> None:
        first = sa.state is IkeState.HALF_OPEN
        if first is not (head.exchange == ExchangeType.IKE_AUTH) or sa.state in _UNPROVEN:
            raise Dropped("wrong-exchange")
        # Authentic and new: what is replayed shows no life and moves no address.
        sa.last_heard = now
        if sa.encapsulated and sa.established:
            sa.remote, sa.remote_port = route.remote, route.remote_port  # a NAT's mapping (§2.23)
        try:
            payloads = parse_chain(*chain)
        except WireError:
            # Fatal at both ends (§2.21.3).
            self._refuse(sa, head, Refused(NotifyType.INVALID_SYNTAX), route, now)
            raise
        if head.exchange == ExchangeType.IKE_AUTH:
            self._responder.receive_auth(sa, head, payloads, route, now)
            return
        self._rekeying.overhear(sa, payloads, now)
        reason: str | None = None
        try:
            if head.exchange == ExchangeType.CREATE_CHILD_SA:
                answer = self._children.answer(sa, payloads, now)
            elif head.exchange == ExchangeType.INFORMATIONAL:
                answer, reason = answer_informational(self._context, sa, payloads)
            else:
                raise Refused(NotifyType.INVALID_SYNTAX)
        except Refused as refused:
            self._refuse(sa, head, refused, route, now)
            return
        self._transmission.respond(sa, head, answer, route)
        if reason is not None:
            self._rekeying.end(sa, reason, now)
        self._transmission.proceed(sa.heir, now)

    def _refuse(self, sa: IkeSa, head: Header, refused: Refused, route: Route, now: float) -> None:
        self._context.counters[f"refused.{slug(refused.kind)}"] += 1
        self._transmission.respond(sa, head, [refused.notify], route)
        if refused.kind == NotifyType.INVALID_SYNTAX:
            self._context.end(sa, slug(refused.kind), now)
