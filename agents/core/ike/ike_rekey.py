"""Renewal of the IKE SA itself (RFC 7296 §1.3.2, §2.18), by either end or by both at once (§2.8.2).

The Child SAs move to the new IKE SA, and so do requests that wait. Who began deletes the old one.
"""

from agents.core.ike.context import IkeContext
from agents.core.ike.informational import DeleteIke
from agents.core.ike.initial_exchange import NONCE_LENGTH
from agents.core.ike.keys import derive_ike_keys, renewed_key_seed
from agents.core.ike.negotiation import IkeChoice, choose_ike
from agents.core.ike.payload_search import Refused, deletes_ike, need
from agents.core.ike.rekey_request import Agreement, RekeyIke, has_spi
from agents.core.ike.sa import IkeSa
from agents.core.ike.states import IkeState, IkeTrigger
from agents.core.ike.transmission import Transmission
from agents.wire.ike.numbers import NotifyType
from agents.wire.ike.payloads import KeyExchange, Nonce, Payload, SecurityAssociationPayload

RETRY = 5.0
"""Seconds until a renewal that failed is tried again: not at once (RFC 7296 §2.25)."""


class IkeRekeying:
    """Both ends of an IKE SA's renewal."""

    def __init__(self, context: IkeContext, transmission: Transmission) -> None:
        self.context = context
        self._transmission = transmission

    def begin(self, sa: IkeSa, now: float, group: int | None = None) -> None:
        """Renew an established IKE SA; `IkeRekeyed` or `IkeRekeyFailed` follows.

        `group`: what the peer has asked for, else the one that made `sa`.
        """
        if not sa.established or sa.contender is not None or sa.to_be_renewed:
            self.context.counters["rekey-not-applicable"] += 1
            return
        self._transmission.submit(sa, RekeyIke(self, sa, group or sa.group), now)

    def answer(self, sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> list[Payload]:
        """Return the answer SA, Nr, KE to a peer that renews `sa`.

        Where this end has begun the same, which of the two new ones stays is seen later.

        Raises:
            Refused: with the error that the answer has to report.
        """
        context = self.context
        busy = sa.current is not None and sa.current.changes_children
        if busy or sa.successor is not None or sa.contender is not None:
            raise Refused(NotifyType.TEMPORARY_FAILURE)  # §2.25.2
        choice = self._choose(payloads)
        exchange, nonce = need(payloads, KeyExchange), need(payloads, Nonce).data
        if exchange.group != choice.group:
            raise Refused(NotifyType.INVALID_KE_PAYLOAD, choice.group.to_bytes(2))
        private = context.private_key(choice.group)
        try:
            shared = private.shared(exchange.data)
        except ValueError:
            raise Refused(NotifyType.INVALID_SYNTAX) from None
        ours = context.random_bytes(NONCE_LENGTH)
        made = sa.next_generation(False, context.new_ike_spi(), now)
        self.hold(sa, made, Agreement(choice, shared, nonce + ours))
        if sa.renewing:
            made.rival_of, made.silent = sa, True
            sa.contender = (min(nonce, ours), made)
        else:
            self._succeed(sa, made, now)
        return [
            SecurityAssociationPayload((choice.answer(made.local_spi),)),
            Nonce(ours),
            KeyExchange(choice.group, private.public),
        ]

    def _choose(self, payloads: tuple[Payload, ...]) -> IkeChoice:
        config = self.context.config
        proposals = need(payloads, SecurityAssociationPayload).proposals
        choice = choose_ike(proposals, config.groups, config.ciphers)
        if choice is None or not has_spi(choice):
            raise Refused(NotifyType.NO_PROPOSAL_CHOSEN)
        return choice

    def hold(self, sa: IkeSa, made: IkeSa, agreed: Agreement) -> None:
        """Make `made`, of a renewal of `sa`, ready for messages; whether it succeeds is not said.

        Its own SPI is there already.
        """
        assert sa.keys is not None
        made.remote_spi = int.from_bytes(agreed.choice.proposal.spi)
        made.group = agreed.choice.group
        made.keys = derive_ike_keys(
            renewed_key_seed(sa.keys, agreed.shared, agreed.nonces),
            agreed.nonces,
            made.spi_initiator,
            made.spi_responder,
            agreed.choice.cipher,
        )
        made.handle(IkeTrigger.AUTHENTICATED)
        self.context.sas[made.local_spi] = made

    def answered(self, sa: IkeSa, made: IkeSa, nonce: bytes, now: float) -> None:
        """Our own renewal has made `made`, with `nonce` the lower of its two.

        Of two at once the one with the lowest nonce goes, by the end that began it (§2.8.2).
        """
        if sa.contender is not None:
            lowest, rival = sa.contender
            if nonce < lowest:
                self._succeed(sa, rival, now)
            else:
                self._leave_to_peer(rival, now)
        if sa.successor is None:
            self._succeed(sa, made, now)
            self._delete(sa, now)
        else:
            self.context.counters["redundant-rekeys"] += 1
            made.redundant = made.silent = True
            self._delete(made, now)
        self._transmission.proceed(sa.heir, now)

    def not_answered(self, sa: IkeSa, now: float) -> bool:
        """Our own renewal has failed; return whether the peer's one is the successor."""
        if sa.contender is not None:
            self._succeed(sa, sa.contender[1], now)
        if sa.successor is None:
            sa.retry_at = now + RETRY
            return False
        self._transmission.proceed(sa.heir, now)
        return True

    def overhear(self, sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> None:
        """See from a peer's request which of two new IKE SAs it takes for the successor.

        It deletes the old one where it has not noticed our renewal, which is forgotten then
        (§2.8.2). It says anything but Delete on its new one where that one has won.
        """
        over = deletes_ike(payloads)
        if over and sa.contender is not None:
            self._succeed(sa, sa.contender[1], now)
        elif not over and sa.rival_of is not None:
            self._succeed(sa.rival_of, sa, now)

    def end(self, sa: IkeSa, reason: str, now: float) -> None:
        """The peer has deleted an IKE SA.

        Of a contender that is the end of the loser, or of the winner which its host wants no more:
        it stays until our own answer tells.
        """
        if sa.rival_of is not None:
            sa.over = True
        else:
            self.context.end(sa, reason, now)

    def look_at(self, sa: IkeSa, now: float) -> None:
        """Renew an IKE SA when it has lasted as long, or sealed as much, as is configured."""
        timers = self.context.config.timers
        if not sa.established or sa.successor is not None or sa.rival_of is not None:
            return
        if timers.rekey_after > 0 and sa.renewal is None:
            # Not at both ends at once (§2.8), so up to a tenth earlier.
            early = int.from_bytes(self.context.random_bytes(2)) / 0xFFFF * timers.rekey_after / 10
            self._renew_at(sa, now + timers.rekey_after - early)
        if 0 < timers.rekey_after_messages <= sa.sent and now >= sa.retry_at:
            self._renew(sa, now)

    def _renew_at(self, sa: IkeSa, when: float) -> None:
        sa.renewal = self.context.timers.schedule(when, lambda now: self._renew(sa, now))

    def _renew(self, sa: IkeSa, now: float) -> None:
        if not sa.established or sa.successor is not None:
            return
        if self.context.config.timers.rekey_after > 0:
            self._renew_at(sa, now + RETRY)
        if not sa.to_be_renewed and sa.contender is None:
            self.begin(sa, now)

    def _succeed(self, sa: IkeSa, successor: IkeSa, now: float) -> None:
        if sa.state is IkeState.DELETING:  # the host has asked for it meanwhile
            successor.handle(IkeTrigger.CLOSED)
        self.context.succeed(sa, successor)
        self._transmission.watch(successor, now)
        self.look_at(successor, now)
        if successor.over:
            self.context.end(successor, "by-peer", now)

    def _delete(self, sa: IkeSa, now: float) -> None:
        if sa.established:
            sa.handle(IkeTrigger.CLOSED)
        self._transmission.submit_first(sa, DeleteIke(self.context), now)

    def _leave_to_peer(self, rival: IkeSa, now: float) -> None:
        """The peer began it and deletes it; if it never gets so far, it ends by itself."""
        rival.redundant, rival.rival_of = True, None
        if rival.over:
            self.context.end(rival, "redundant", now)
            return
        when = now + self.context.config.timers.half_open_timeout
        rival.timer = self.context.timers.schedule(
            when, lambda then: self.context.end(rival, "redundant", then)
        )
