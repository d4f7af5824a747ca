"""What both ends of IKE_SA_INIT do: the messages' payloads, and the keys that follow."""

from collections.abc import Iterable

from agents.core.ike.authentication import certificate_request, signature_hashes
from agents.core.ike.ciphers import IkeCipher
from agents.core.ike.context import IkeContext
from agents.core.ike.keys import derive_ike_keys, key_seed
from agents.core.ike.nat import HASH_LENGTH, detection
from agents.core.ike.payload_search import find_notify
from agents.core.ike.sa import IkeSa
from agents.wire.ike.message import serialize_message
from agents.wire.ike.numbers import ExchangeType, NotifyType
from agents.wire.ike.payloads import (
    KeyExchange,
    Nonce,
    Notify,
    Payload,
    SecurityAssociationPayload,
)
from agents.wire.ike.proposals import Proposal

NONCE_LENGTH = 32
"""Octets of our nonces; at least half the PRF's key (RFC 7296 §2.10)."""


def init_message(
    context: IkeContext, sa: IkeSa, proposals: tuple[Proposal, ...], first: list[Payload]
) -> bytes:
    """Return our IKE_SA_INIT message: `first`, SA, KE, N, and what else this end can do."""
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
    if sa.fragmentation or (sa.initiator and context.config.fragment_size):
        payloads.append(Notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED))
    if not sa.initiator:
        payloads += certificate_request(context)
    return serialize_message(head, payloads)


def takes_fragments(context: IkeContext, payloads: Iterable[Payload]) -> bool:
    """Whether both ends take fragments, by the other one's IKE_SA_INIT (RFC 7383 §2.3)."""
    offered = find_notify(payloads, NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)
    return offered is not None and context.config.fragment_size > 0


def take_keys(sa: IkeSa, shared: bytes, cipher: IkeCipher) -> None:
    """Derive the SA's keys (§2.14) and forget the private key; both nonces and SPIs are there."""
    sa.nonces = (
        sa.nonce_local + sa.nonce_remote if sa.initiator else sa.nonce_remote + sa.nonce_local
    )
    sa.keys = derive_ike_keys(
        key_seed(sa.nonces, shared), sa.nonces, sa.spi_initiator, sa.spi_responder, cipher
    )
    assert sa.private is not None
    sa.group, sa.private = sa.private.group, None
