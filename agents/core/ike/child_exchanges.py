"""CREATE_CHILD_SA (RFC 7296 §1.3): new Child SAs and rekeyed ones, begun by either end."""

from agents.core.ike.child_sa import Child
from agents.core.ike.children import BadAnswer, accept, grant, offer
from agents.core.ike.config import ChildRequest
from agents.core.ike.context import IkeContext
from agents.core.ike.events import ChildEstablished, ChildFailed, ChildRekeyed
from agents.core.ike.ike_rekey import IkeRekeying
from agents.core.ike.informational import DeleteChild
from agents.core.ike.payload_search import Refused, find, find_notify, need, refuse_critical
from agents.core.ike.requests import Request
from agents.core.ike.sa import IkeSa
from agents.core.ike.states import ChildState, ChildTrigger
from agents.core.ike.transmission import Transmission
from agents.wire.ike.numbers import ExchangeType, NotifyType, ProtocolId, slug
from agents.wire.ike.payloads import (
    Nonce,
    Notify,
    Payload,
    SecurityAssociationPayload,
)

NONCE_LENGTH = 32


class CreateChild(Request):
    """A new Child SA, or with `old` the successor of one."""

    exchange = ExchangeType.CREATE_CHILD_SA
    changes_children = True

    def __init__(
        self, exchanges: "ChildExchanges", request: ChildRequest, old: Child | None = None
    ) -> None:
        self._exchanges = exchanges
        self._request = request
        self._old = old
        self._spi = 0
        self._nonce = b""

    def payloads(self, sa: IkeSa, now: float) -> list[Payload] | None:
        """Return [N(REKEY_SA)], SA, Ni, TSi, TSr; None where the peer was faster."""
        old = self._old
        if not sa.established or (old is not None and old.state is not ChildState.REKEYING):
            return None
        context = self._exchanges.context
        self._spi = context.new_child_spi()
        self._nonce = context.random_bytes(NONCE_LENGTH)
        sa.deleted_early.clear()
        payloads = offer(self._request, self._spi)
        payloads.insert(-2, Nonce(self._nonce))
        if old is not None:
            spi = old.sa.inbound_spi.to_bytes(4)
            payloads.insert(0, Notify(NotifyType.REKEY_SA, b"", ProtocolId.ESP, spi))
        return payloads

    def answered(self, sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> None:
        """Hold the new Child SA, or report why there is none."""
        theirs = find(payloads, Nonce)
        nonce = theirs.data if theirs is not None else b""
        try:
            made = accept(sa, self._request, self._spi, payloads, self._nonce + nonce)
            if theirs is None:
                raise BadAnswer("bad-answer", unwanted=True)
            if made.outbound_spi in sa.deleted_early:
                raise BadAnswer("by-peer")
        except BadAnswer as bad:
            self._failed(sa, bad.reason)
            if bad.unwanted:
                self._exchanges.delete_unwanted(sa, self._spi, now)
            return
        child = self._exchanges.context.add_child(sa, made)
        if self._old is None:
            self._exchanges.context.report(ChildEstablished(sa, sa.peer, made))
        else:
            self._exchanges.replaced(sa, self._old, child, min(self._nonce, nonce), True, now)

    def abandoned(self, sa: IkeSa) -> None:
        """Report that there will be none."""
        self._failed(sa, "ike-sa-ended")

    def _failed(self, sa: IkeSa, reason: str) -> None:
        context = self._exchanges.context
        old = self._old
        if old is not None and reason == slug(NotifyType.CHILD_SA_NOT_FOUND):
            # RFC 7296 §2.25: the peer has lost it, so it is worth nothing here either.
            if old.can(ChildTrigger.DELETED):
                context.remove_child(sa, old, reason)
            return
        if old is not None and old.can(ChildTrigger.FAILED):
            old.handle(ChildTrigger.FAILED)
        elif old is not None:
            return  # the peer has renewed or deleted it meanwhile
        context.report(ChildFailed(sa, sa.peer, self._request.name, reason))


class ChildExchanges:
    """Both ends of CREATE_CHILD_SA."""

    def __init__(
        self, context: IkeContext, transmission: Transmission, rekeying: IkeRekeying
    ) -> None:
        self.context = context
        self._transmission = transmission
        self._rekeying = rekeying

    def create(self, sa: IkeSa, request: ChildRequest, now: float) -> None:
        """Begin a new Child SA."""
        self._transmission.submit(sa, CreateChild(self, request), now)

    def rekey(self, sa: IkeSa, spi: int, now: float) -> None:
        """Begin the successor of a Child SA that is there and not renewed already."""
        old = sa.children_by_spi.get(spi)
        if old is None or not old.can(ChildTrigger.REKEY):
            self.context.counters["rekey-not-applicable"] += 1
            return
        old.handle(ChildTrigger.REKEY)
        self._transmission.submit(sa, CreateChild(self, old.sa.request(), old), now)

    def answer(self, sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> list[Payload]:
        """Return the answer to a peer's request.

        Raises:
            Refused: with the error that the answer has to report.
        """
        refuse_critical(payloads)
        proposals = need(payloads, SecurityAssociationPayload).proposals
        if not sa.established:
            raise Refused(NotifyType.TEMPORARY_FAILURE)
        if any(each.protocol == ProtocolId.IKE for each in proposals):
            return self._rekeying.answer(sa, payloads, now)
        if sa.renewing or sa.successor is not None or sa.redundant:
            raise Refused(NotifyType.TEMPORARY_FAILURE)  # §2.25.2
        theirs = need(payloads, Nonce).data
        rekey = find_notify(payloads, NotifyType.REKEY_SA)
        old = None if rekey is None else self._to_rekey(sa, rekey)
        ours = self.context.random_bytes(NONCE_LENGTH)
        made, answer = grant(
            self.context, sa, payloads, _policies(sa, old), theirs + ours, fresh=True
        )
        answer.insert(1, Nonce(ours))
        child = self.context.add_child(sa, made)
        if old is None:
            self.context.report(ChildEstablished(sa, sa.peer, made))
        else:
            self.replaced(sa, old, child, min(theirs, ours), False, now)
        return answer

    def replaced(
        self, sa: IkeSa, old: Child, child: Child, nonce: bytes, initiator: bool, now: float
    ) -> None:
        """`child` succeeds `old`; of two at once the one with the lowest nonce goes (§2.8.1)."""
        mark = (nonce, child.sa.inbound_spi)
        if initiator:
            old.ours = mark
        else:
            old.theirs = mark
        if old.can(ChildTrigger.REPLACED):
            old.handle(ChildTrigger.REPLACED)
        redundant = old.ours is not None and old.theirs is not None and old.ours < old.theirs
        if redundant and initiator:
            child.reported = False
        else:
            event = ChildRekeyed(sa, sa.peer, old.sa.inbound_spi, child.sa, initiator)
            self.context.report(event)
        if redundant and old.ours is not None:
            self.context.counters["redundant-rekeys"] += 1
            self.delete(sa, old.ours[1], "redundant", now)

    def delete(self, sa: IkeSa, spi: int, reason: str, now: float) -> None:
        """Delete a Child SA of ours, if it is there and not being deleted."""
        child = sa.children_by_spi.get(spi)
        if child is None or not child.can(ChildTrigger.DELETE):
            self.context.counters["delete-not-applicable"] += 1
            return
        child.handle(ChildTrigger.DELETE)
        self._transmission.submit(sa, DeleteChild(self.context, spi, child, reason), now)

    def delete_unwanted(self, sa: IkeSa, spi: int, now: float) -> None:
        """The peer has made a Child SA that we do not want: say so."""
        self._transmission.submit(sa, DeleteChild(self.context, spi, None, ""), now)

    def _to_rekey(self, sa: IkeSa, rekey: Notify) -> Child:
        """Return the Child SA that the peer wants renewed (§2.25)."""
        old = sa.by_outbound(int.from_bytes(rekey.spi))
        if old is None and sa.creating:
            raise Refused(NotifyType.TEMPORARY_FAILURE)  # it may be the one that is being made
        if old is None or rekey.protocol != ProtocolId.ESP:
            raise Refused(NotifyType.CHILD_SA_NOT_FOUND, spi=rekey.spi)
        if old.state is ChildState.DELETING:
            raise Refused(NotifyType.TEMPORARY_FAILURE)
        return old


def _policies(sa: IkeSa, old: Child | None) -> tuple[ChildRequest, ...]:
    """Return what may be granted: for a rekey what was, under the same name."""
    configured = sa.config.children if sa.config is not None else ()
    if old is None:
        return configured
    same = tuple(each for each in configured if each.name == old.sa.name)
    return (*same, old.sa.request())
