"""INFORMATIONAL (RFC 7296 §1.4): deletion of either kind of SA, liveness."""

from agents.core.ike.authentication import refusal_reason
from agents.core.ike.child_sa import Child
from agents.core.ike.context import IkeContext
from agents.core.ike.payload_search import deletes_ike, error, refuse_critical
from agents.core.ike.requests import Request
from agents.core.ike.sa import IkeSa
from agents.core.ike.states import ChildState
from agents.wire.ike.numbers import ExchangeType, NotifyType, ProtocolId, slug
from agents.wire.ike.payloads import Delete, Notify, Payload


class DeleteChild(Request):
    """Delete our inbound SPI; the peer deletes the one paired with it (§1.4.1)."""

    exchange = ExchangeType.INFORMATIONAL
    changes_children = True

    def __init__(self, context: IkeContext, spi: int, child: Child | None, reason: str) -> None:
        """`child` None: there is nothing here, the peer alone has made it."""
        self._context = context
        self._spi = spi
        self._child = child
        self._reason = reason

    def payloads(self, sa: IkeSa, now: float) -> list[Payload] | None:
        """Return the Delete payload, unless the peer was faster."""
        if self._child is not None and self._child.state is ChildState.GONE:
            return None
        return [Delete(ProtocolId.ESP, (self._spi.to_bytes(4),))]

    def answered(self, sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> None:
        """Forget the Child SA, whatever the answer says."""
        self.abandoned(sa)

    def abandoned(self, sa: IkeSa) -> None:
        """Forget the Child SA all the same."""
        if self._child is not None and self._child.state is not ChildState.GONE:
            self._context.remove_child(sa, self._child, self._reason)


class DeleteIke(Request):
    """Delete the IKE SA itself; `failure`: since the other end has not proven itself (§2.21.2)."""

    exchange = ExchangeType.INFORMATIONAL

    def __init__(self, context: IkeContext, failure: NotifyType | None = None) -> None:
        self._context = context
        self._failure = failure

    def payloads(self, sa: IkeSa, now: float) -> list[Payload] | None:
        """Return the Delete payload or the error."""
        if self._failure is None:
            return [Delete(ProtocolId.IKE)]
        return [Notify(self._failure), Notify(NotifyType.REFUSAL_REASON, sa.detail.encode())]

    def answered(self, sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> None:
        """It is over."""
        self._context.end(sa, "deleted", now)


def answer_informational(
    context: IkeContext, sa: IkeSa, payloads: tuple[Payload, ...]
) -> tuple[list[Payload], str | None]:
    """Return the answer to a peer's INFORMATIONAL, and why the IKE SA ends with it, if it does.

    Raises:
        Refused: for an unknown critical payload.
    """
    refuse_critical(payloads)
    reported = error(payloads)
    if reported is not None:
        context.counters[f"received.{slug(reported.kind)}"] += 1
        if reported.kind == NotifyType.AUTHENTICATION_FAILED:
            sa.detail = refusal_reason(payloads)
            return [], slug(reported.kind)
    if deletes_ike(payloads):
        return [], "by-peer"
    paired: list[bytes] = []
    for delete in payloads:
        if isinstance(delete, Delete) and delete.protocol == ProtocolId.ESP:
            paired += _delete_paired(context, sa.heir, delete)
    return ([Delete(ProtocolId.ESP, tuple(paired))] if paired else []), None


def _delete_paired(context: IkeContext, sa: IkeSa, delete: Delete) -> list[bytes]:
    """Remove the Child SAs that the peer deletes; return our SPIs of them.

    Where both ends delete the same at once the answer does not name it again (§1.4.1).
    """
    paired = []
    for octets in delete.spis:
        spi = int.from_bytes(octets)
        child = sa.by_outbound(spi)
        if child is None and sa.creating:
            sa.deleted_early.add(spi)
        if child is None:
            context.counters["received.delete-unknown-spi"] += 1
            continue
        if child.state is not ChildState.DELETING:
            paired.append(child.sa.inbound_spi.to_bytes(4))
        context.remove_child(sa, child, "by-peer")
    return paired
