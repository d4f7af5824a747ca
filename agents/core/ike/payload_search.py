"""Finding payloads in a message, and refusing a message for what it lacks or holds."""

from collections.abc import Iterable
from typing import TypeVar

from agents.wire.ike.numbers import FIRST_STATUS, NotifyType, ProtocolId, slug
from agents.wire.ike.payloads import Delete, Notify, OpaquePayload, Payload

P = TypeVar("P")


class Refused(Exception):  # noqa: N818 - an answer, not an error of the program
    """A request is answered with the error notification `kind` and `data`, about `spi` if given."""

    def __init__(self, kind: NotifyType, data: bytes = b"", spi: bytes = b"") -> None:
        super().__init__(slug(kind))
        self.kind = kind
        self.data = data
        self.spi = spi

    @property
    def notify(self) -> Notify:
        """The notification to send."""
        protocol = ProtocolId.ESP if self.spi else ProtocolId.NONE
        return Notify(self.kind, self.data, protocol, self.spi)


def find(payloads: Iterable[Payload], kind: type[P]) -> P | None:
    """Return the first payload of a kind, or None."""
    return next((each for each in payloads if isinstance(each, kind)), None)


def need(payloads: Iterable[Payload], kind: type[P]) -> P:
    """Return the first payload of a kind; raises `Refused` (INVALID_SYNTAX) without one."""
    found = find(payloads, kind)
    if found is None:
        raise Refused(NotifyType.INVALID_SYNTAX)
    return found


def find_notify(payloads: Iterable[Payload], kind: int) -> Notify | None:
    """Return the first notification of a type, or None."""
    return next((each for each in payloads if isinstance(each, Notify) and each.kind == kind), None)


def error(payloads: Iterable[Payload]) -> Notify | None:
    """Return the first notification that reports an error, or None."""
    return next(
        (each for each in payloads if isinstance(each, Notify) and each.kind < FIRST_STATUS),
        None,
    )


def deletes_ike(payloads: Iterable[Payload]) -> bool:
    """Whether the IKE SA itself is deleted (RFC 7296 §1.4.1)."""
    return any(isinstance(each, Delete) and each.protocol == ProtocolId.IKE for each in payloads)


def refuse_critical(payloads: Iterable[Payload]) -> None:
    """Raise `Refused` for a payload that is marked critical and not known (RFC 7296 §2.5)."""
    for each in payloads:
        if isinstance(each, OpaquePayload) and each.must_be_understood:
            raise Refused(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes((each.kind,)))
