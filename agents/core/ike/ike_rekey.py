"""A peer renews the IKE SA itself (RFC 7296 §1.3.2, §2.18): its Child SAs move to the new one.

This end never begins that: a new IKE_SA_INIT does the same, and works without the old one.
"""

from agents.core.ike.context import IkeContext
from agents.core.ike.events import IkeRekeyed
from agents.core.ike.initial_exchange import NONCE_LENGTH
from agents.core.ike.keys import derive_ike_keys, renewed_key_seed
from agents.core.ike.negotiation import IKE_SPI_LENGTH, choose_ike
from agents.core.ike.payload_search import Refused, need
from agents.core.ike.sa import IkeSa
from agents.wire.ike.numbers import NotifyType
from agents.wire.ike.payloads import KeyExchange, Nonce, Payload, SecurityAssociationPayload


def answer_ike_rekey(
    context: IkeContext, sa: IkeSa, payloads: tuple[Payload, ...], now: float
) -> list[Payload]:
    """Return the answer SA, Nr, KE, and hold the successor of `sa`.

    Raises:
        Refused: with the error that the answer has to report.
    """
    if sa.outstanding or sa.queue or sa.successor is not None:
        raise Refused(NotifyType.TEMPORARY_FAILURE)  # §2.25.2
    proposals = need(payloads, SecurityAssociationPayload).proposals
    choice = choose_ike(proposals, context.config.groups, context.config.ciphers)
    if choice is None or len(choice.proposal.spi) != IKE_SPI_LENGTH or not any(choice.proposal.spi):
        raise Refused(NotifyType.NO_PROPOSAL_CHOSEN)
    exchange, nonce = need(payloads, KeyExchange), need(payloads, Nonce).data
    if exchange.group != choice.group:
        raise Refused(NotifyType.INVALID_KE_PAYLOAD, choice.group.to_bytes(2))
    private = context.private_key(choice.group)
    try:
        shared = private.shared(exchange.data)
    except ValueError:
        raise Refused(NotifyType.INVALID_SYNTAX) from None
    ours = context.random_bytes(NONCE_LENGTH)
    successor = sa.next_generation(context.new_ike_spi(), int.from_bytes(choice.proposal.spi), now)
    assert sa.keys is not None
    nonces = nonce + ours
    successor.keys = derive_ike_keys(
        renewed_key_seed(sa.keys, shared, nonces),
        nonces,
        successor.spi_initiator,
        successor.spi_responder,
        choice.cipher,
    )
    context.succeed(sa, successor)
    context.report(IkeRekeyed(sa, sa.peer, successor))
    return [
        SecurityAssociationPayload((choice.answer(successor.local_spi),)),
        Nonce(ours),
        KeyExchange(choice.group, private.public),
    ]
