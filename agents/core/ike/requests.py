"""A request of this end: what it says when its turn comes, and what its answer does."""

from abc import ABC, abstractmethod
from typing import ClassVar

from agents.core.ike.sa import IkeSa
from agents.wire.ike.numbers import ExchangeType
from agents.wire.ike.payloads import Payload


class Request(ABC):
    """One protected exchange that this end begins."""

    exchange: ClassVar[ExchangeType]
    changes_children: ClassVar[bool] = False
    """It makes or deletes a Child SA: the IKE SA is not renewed meanwhile (RFC 7296 §2.25.2)."""
    renews_ike: ClassVar[bool] = False
    """It makes a successor of the IKE SA."""

    @abstractmethod
    def payloads(self, sa: IkeSa, now: float) -> list[Payload] | None:
        """Return what to send, or None when it is no longer called for."""

    @abstractmethod
    def answered(self, sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> None:
        """Take the answer, which is authentic."""

    def abandoned(self, sa: IkeSa) -> None:  # noqa: B027 - nothing to undo
        """It was not sent, or the IKE SA ended before the answer came."""


class Liveness(Request):
    """An empty request (§2.4): any answer to it shows that the peer has this IKE SA."""

    exchange = ExchangeType.INFORMATIONAL

    def payloads(self, sa: IkeSa, now: float) -> list[Payload] | None:
        """Return nothing to say."""
        return []

    def answered(self, sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> None:
        """Nothing to do: `IkeSa.last_heard` has moved."""
