"""What both ends of IKE_SA_INIT do: the messages' payloads, and the keys that follow."""

from collections.abc import Sequence

from agents.core.ike.authentication import signature_hashes
from agents.core.ike.context import IkeContext
from agents.core.ike.keys import derive_ike_keys, key_seed
from agents.core.ike.nat import HASH_LENGTH, detection
from agents.core.ike.sa import IkeSa
from agents.wire.ike.message import serialize_message
from agents.wire.ike.numbers import ExchangeType
from agents.wire.ike.payloads import KeyExchange, Nonce, Payload, SecurityAssociationPayload
from agents.wire.ike.proposals import Proposal

NONCE_LENGTH = 32
"""Octets of our nonces; at least half the PRF's key (RFC 7296 §2.10)."""


def init_message(
    context: IkeContext,
    sa: IkeSa,
    proposals: tuple[Proposal, ...],
    first: list[Payload],
    last: Sequence[Payload] = (),
) -> bytes:
    """Return our IKE_SA_INIT message: `first`, SA, KE, N, [hashes, NAT detection], `last`."""
    assert sa.private is not None
    head = sa.header(ExchangeType.IKE_SA_INIT, 0, not sa.initiator)
    payloads: list[Payload] = [
        *first,
        SecurityAssociationPayload(proposals),
        KeyExchange(sa.private.group, sa.private.public),
        Nonce(sa.nonce_local),
        *signature_hashes(context),
    ]
    if context.config.encapsulation:
        payloads += detection(head, sa.route, sa.nonce_local[:HASH_LENGTH])
    return serialize_message(head, [*payloads, *last])


def take_keys(sa: IkeSa, shared: bytes, key_length: int) -> None:
    """Derive the SA's keys (§2.14) and forget the private key; both nonces and SPIs are there."""
    sa.nonces = (
        sa.nonce_local + sa.nonce_remote if sa.initiator else sa.nonce_remote + sa.nonce_local
    )
    sa.keys = derive_ike_keys(
        key_seed(sa.nonces, shared), sa.nonces, sa.spi_initiator, sa.spi_responder, key_length
    )
    sa.private = None
