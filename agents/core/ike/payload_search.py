"""Finding payloads in a message, and refusing a message for what it lacks or holds."""

from collections.abc import Iterable
from typing import TypeVar

from agents.wire.ike.numbers import FIRST_STATUS, NotifyType, slug
from agents.wire.ike.payloads import Notify, OpaquePayload, Payload

P = TypeVar("P")


class Refused(Exception):  # noqa: N818 - an answer, not an error of the program
    """A request is answered with the error notification `kind` and `data`."""

    def __init__(self, kind: NotifyType, data: bytes = b"") -> None:
        super().__init__(slug(kind))
        self.kind = kind
        self.data = data

    @property
    def notify(self) -> Notify:
        """The notification to send."""
        return Notify(self.kind, self.data)


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


def refuse_critical(payloads: Iterable[Payload]) -> None:
    """Raise `Refused` for a payload that is marked critical and not known (RFC 7296 §2.5)."""
    for each in payloads:
        if isinstance(each, OpaquePayload) and each.must_be_understood:
            raise Refused(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes((each.kind,)))
