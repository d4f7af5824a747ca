"""CREATE_CHILD_SA of this end that renews the IKE SA itself (RFC 7296 §1.3.2, §2.18)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.core.ike.events import IkeRekeyFailed
from agents.core.ike.initial_exchange import NONCE_LENGTH
from agents.core.ike.key_exchange import PrivateKey
from agents.core.ike.negotiation import IKE_SPI_LENGTH, IkeChoice, choose_ike, offer_ike
from agents.core.ike.payload_search import error, find
from agents.core.ike.requests import Request
from agents.core.ike.sa import IkeSa
from agents.wire.ike.numbers import ExchangeType, NotifyType, slug
from agents.wire.ike.payloads import (
    KeyExchange,
    Nonce,
    Notify,
    Payload,
    SecurityAssociationPayload,
)

if TYPE_CHECKING:
    from agents.core.ike.ike_rekey import IkeRekeying


@dataclass(frozen=True, slots=True)
class Agreement:
    """What an exchange has agreed on: the proposal (of the other end), g^ir, and Ni | Nr."""

    choice: IkeChoice
    shared: bytes
    nonces: bytes


class RekeyIke(Request):
    """A successor for the IKE SA `sa`, by a key exchange of `group`."""

    exchange = ExchangeType.CREATE_CHILD_SA
    renews_ike = True

    def __init__(self, rekeying: "IkeRekeying", sa: IkeSa, group: int) -> None:
        self._rekeying = rekeying
        self._sa = sa
        self._group = group
        self._private: PrivateKey | None = None
        self._spi = 0
        self._nonce = b""

    def payloads(self, sa: IkeSa, now: float) -> list[Payload] | None:
        """Return SA, Ni, KEi; None where the peer was faster."""
        if sa is not self._sa or not sa.established:
            return None
        context = self._rekeying.context
        config = context.config
        self._spi = context.new_ike_spi()
        self._nonce = context.random_bytes(NONCE_LENGTH)
        self._private = context.private_key(self._group)
        spi = self._spi.to_bytes(IKE_SPI_LENGTH)
        return [
            SecurityAssociationPayload(offer_ike(config.groups, config.ciphers, spi)),
            Nonce(self._nonce),
            KeyExchange(self._group, self._private.public),
        ]

    def answered(self, sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> None:
        """Hold the new IKE SA, or report why there is none."""
        agreed = self._agreement(payloads)
        if agreed is not None:
            made = sa.next_generation(True, self._spi, now)
            self._rekeying.hold(sa, made, agreed)
            nonce = agreed.nonces[NONCE_LENGTH:]
            self._rekeying.answered(sa, made, min(self._nonce, nonce), now)
            return
        refusal = error(payloads)
        if self._rekeying.not_answered(sa, now):
            return
        group = self._other_group(refusal)
        if group and sa.established:
            self._rekeying.begin(sa, now, group)
            return
        reason = "bad-answer" if refusal is None else slug(refusal.kind)
        self._rekeying.context.report(IkeRekeyFailed(sa, sa.peer, reason))

    def abandoned(self, sa: IkeSa) -> None:
        """Report that there will be none, unless the peer's one is there."""
        if self._sa.successor is None:
            self._rekeying.context.report(IkeRekeyFailed(sa, sa.peer, "ike-sa-ended"))

    def _agreement(self, payloads: tuple[Payload, ...]) -> Agreement | None:
        config = self._rekeying.context.config
        answer, exchange = find(payloads, SecurityAssociationPayload), find(payloads, KeyExchange)
        nonce = find(payloads, Nonce)
        if answer is None or exchange is None or nonce is None or len(answer.proposals) != 1:
            return None
        choice = choose_ike(answer.proposals, config.groups, config.ciphers)
        if (
            choice is None
            or not has_spi(choice)
            or set(choice.proposal.transforms) != set(answer.proposals[0].transforms)
            or not choice.group == exchange.group == self._group
        ):
            return None
        assert self._private is not None
        try:
            shared = self._private.shared(exchange.data)
        except ValueError:
            return None
        return Agreement(choice, shared, self._nonce + nonce.data)

    def _other_group(self, refusal: Notify | None) -> int | None:
        """Return the group that the peer asks for (§1.3.2), if it is another one that we do."""
        if refusal is None or refusal.kind != NotifyType.INVALID_KE_PAYLOAD:
            return None
        group = int.from_bytes(refusal.data)
        known = group in self._rekeying.context.config.groups
        return group if known and group != self._group else None


def has_spi(choice: IkeChoice) -> bool:
    """Whether a proposal of CREATE_CHILD_SA names the other end's new SPI."""
    return len(choice.proposal.spi) == IKE_SPI_LENGTH and any(choice.proposal.spi)
