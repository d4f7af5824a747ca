"""Requests and responses of an IKE SA: windows of 1, repetition, giving up (RFC 7296 §2.1-2.4)."""

from collections.abc import Sequence

from agents.core.counters import Dropped
from agents.core.ike.context import IkeContext
from agents.core.ike.fragmentation import MOST_OCTETS, room, seal_within
from agents.core.ike.requests import Liveness, Request
from agents.core.ike.sa import IkeSa, Route
from agents.core.ike.states import LARVAL, IkeState
from agents.wire.ike.header import Header
from agents.wire.ike.message import serialize_chain
from agents.wire.ike.numbers import exchange_slug
from agents.wire.ike.payloads import Payload

_SENDING = (IkeState.AUTH_SENT, IkeState.ESTABLISHED, IkeState.DELETING)
"""Where protected requests may go out."""


class Transmission:
    """Sends what the parts of an endpoint have to say."""

    def __init__(self, context: IkeContext) -> None:
        self._context = context

    def submit(self, sa: IkeSa, request: Request, now: float) -> None:
        """Send `request` as soon as no other one waits for its answer."""
        sa.queue.append(request)
        self.proceed(sa, now)

    def submit_first(self, sa: IkeSa, request: Request, now: float) -> None:
        """The same, before all others that wait."""
        sa.queue.appendleft(request)
        self.proceed(sa, now)

    def proceed(self, sa: IkeSa, now: float) -> None:
        """Send the next request, unless one is outstanding."""
        while not sa.outstanding and sa.queue and sa.state in _SENDING:
            request = sa.queue.popleft()
            payloads = request.payloads(sa, now)
            if payloads is None:
                request.abandoned(sa)
                continue
            sa.current = request
            self.send(sa, self._seal(sa, request.exchange, sa.next_request, False, payloads), now)

    def send(self, sa: IkeSa, messages: tuple[bytes, ...], now: float) -> None:
        """Send a request, one message or its fragments, and again until it is answered."""
        sa.stop_timer()
        sa.outstanding = messages
        sa.tries, sa.most_tries = 0, self._context.config.timers.tries
        self._try(sa, now)

    def _try(self, sa: IkeSa, now: float) -> None:
        timers = self._context.config.timers
        if sa.tries >= sa.most_tries:
            larval = sa.state in LARVAL
            self._context.end(sa, (sa.refusal or "timeout") if larval else "peer-lost", now)
            return
        delay = timers.retransmit_first * timers.retransmit_factor**sa.tries
        sa.timer = self._context.timers.schedule(
            now + min(delay, timers.retransmit_longest), lambda then: self._try(sa, then)
        )
        self._context.counters["requests-repeated" if sa.tries else "requests-sent"] += 1
        sa.tries += 1
        self._send_all(sa.outstanding, sa.route)

    def limit_tries(self, sa: IkeSa, more: int) -> None:
        """Repeat the outstanding request `more` times at most."""
        sa.most_tries = min(sa.most_tries, sa.tries + more)

    def take_response(
        self, sa: IkeSa, head: Header, payloads: tuple[Payload, ...], now: float
    ) -> None:
        """Hand an authentic response to its request; raises `Dropped` for any other one."""
        request = sa.current
        if request is None or head.message_id != sa.next_request:
            raise Dropped("message-id")
        if head.exchange != request.exchange:
            raise Dropped("wrong-exchange")
        self.settle(sa)
        request.answered(sa, payloads, now)
        self.proceed(sa, now)

    def watch(self, sa: IkeSa, now: float) -> None:
        """From now on ask a silent peer whether it lives, if that is configured (§2.4)."""
        interval = self._context.config.timers.liveness_interval
        if interval <= 0 or not sa.established:
            return
        quiet = now - sa.last_heard
        if quiet >= interval:
            if not sa.outstanding:
                self.submit(sa, Liveness(), now)
            quiet = 0.0
        sa.watch = self._context.timers.schedule(
            now + interval - quiet, lambda then: self.watch(sa, then)
        )

    def settle(self, sa: IkeSa) -> None:
        """The outstanding request is answered: the window moves on."""
        sa.stop_timer()
        sa.current, sa.outstanding = None, ()
        sa.next_request += 1

    def respond(
        self,
        sa: IkeSa,
        head: Header,
        payloads: Sequence[Payload],
        route: Route,
    ) -> None:
        """Answer a request, to where it came from (§2.11), and keep the answer."""
        sa.last_response = self._seal(sa, head.exchange, head.message_id, True, payloads)
        sa.expected_request = head.message_id + 1
        self._send_all(sa.last_response, route)

    def repeat_response(self, sa: IkeSa, route: Route) -> None:
        """Answer a repeated request as before."""
        self._context.counters["responses-repeated"] += 1
        self._send_all(sa.last_response, route)

    def _send_all(self, messages: tuple[bytes, ...], route: Route) -> None:
        for octets in messages:
            self._context.send(octets, route)

    def _seal(
        self,
        sa: IkeSa,
        exchange: int,
        message_id: int,
        response: bool,
        payloads: Sequence[Payload],
    ) -> tuple[bytes, ...]:
        most = MOST_OCTETS
        if sa.fragmentation:
            most = room(self._context.config.fragment_size, sa.local_port)
        head = sa.header(exchange, message_id, response)
        sealed = seal_within(sa.sealing_key(), sa.sent, head, serialize_chain(payloads), most)
        sa.sent += len(sealed)
        kind = "response" if response else "request"
        self._context.counters[f"sent.{exchange_slug(exchange)}-{kind}"] += 1
        if len(sealed) > 1:
            self._context.counters["fragments-sent"] += len(sealed)
        return sealed
