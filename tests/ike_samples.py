"""One example of each IKE message, by the name under which FORMATS.md has its octets."""

from ike_world import ANYWHERE, HA, HOA

from agents.core.ike.ciphers import IkeCipher, SealingKey
from agents.core.ike.fragmentation import seal_within
from agents.core.ike.negotiation import offer_ike
from agents.core.ike.protection import FRAGMENT_OVERHEAD, seal
from agents.wire.ike.header import Header
from agents.wire.ike.identity import Identity
from agents.wire.ike.message import serialize_chain, serialize_message
from agents.wire.ike.numbers import (
    AuthMethod,
    CertificateEncoding,
    Encryption,
    Esn,
    ExchangeType,
    Group,
    IdType,
    Integrity,
    NotifyType,
    Prf,
    ProtocolId,
    TransformType,
)
from agents.wire.ike.payloads import (
    Authentication,
    Certificate,
    CertificateRequest,
    Delete,
    IdentityInitiator,
    IdentityResponder,
    KeyExchange,
    Nonce,
    Notify,
    OpaquePayload,
    Payload,
    SecurityAssociationPayload,
    SelectorsInitiator,
    SelectorsResponder,
    VendorId,
)
from agents.wire.ike.proposals import Proposal, ProposalTransform
from agents.wire.ike.selectors import OPAQUE_PORT, OtherSelector, TrafficSelector

SPI_I, SPI_R = 0x1122334455667788, 0x99AABBCCDDEEFF00
NEW_SPI = bytes.fromhex("0102030405060708")
NONCE_I, NONCE_R = bytes(range(32)), bytes(range(32, 64))

IKE_PROPOSAL = Proposal(
    1,
    ProtocolId.IKE,
    b"",
    (
        ProposalTransform(TransformType.ENCRYPTION, Encryption.AES_GCM_16, 128),
        ProposalTransform(TransformType.ENCRYPTION, Encryption.AES_GCM_16, 256),
        ProposalTransform(TransformType.PRF, Prf.HMAC_SHA2_256),
        ProposalTransform(TransformType.GROUP, Group.X25519),
        ProposalTransform(TransformType.GROUP, Group.P256),
    ),
)
ESP_GCM = Proposal(
    1,
    ProtocolId.ESP,
    bytes.fromhex("01000001"),
    (
        ProposalTransform(TransformType.ENCRYPTION, Encryption.AES_GCM_16, 128),
        ProposalTransform(TransformType.ESN, Esn.NO),
    ),
)
ESP_CBC = Proposal(
    2,
    ProtocolId.ESP,
    bytes.fromhex("01000002"),
    (
        ProposalTransform(TransformType.ENCRYPTION, Encryption.AES_CBC, 128),
        ProposalTransform(TransformType.INTEGRITY, Integrity.HMAC_SHA2_256_128),
        ProposalTransform(TransformType.ESN, Esn.NO),
    ),
)


def _head(exchange: ExchangeType, message_id: int, response: bool, spi_r: int = SPI_R) -> Header:
    return Header(SPI_I, spi_r, exchange, message_id, not response, response)


MESSAGES: dict[str, tuple[Header, tuple[Payload, ...]]] = {
    "IKE_SA_INIT request": (
        _head(ExchangeType.IKE_SA_INIT, 0, False, 0),
        (
            Notify(NotifyType.COOKIE, b"cookie"),
            SecurityAssociationPayload((IKE_PROPOSAL,)),
            KeyExchange(Group.X25519, bytes(range(100, 132))),
            Nonce(NONCE_I),
            VendorId(b"somebody"),
        ),
    ),
    "IKE_SA_INIT response": (
        _head(ExchangeType.IKE_SA_INIT, 0, True),
        (
            SecurityAssociationPayload(
                (
                    Proposal(
                        1,
                        ProtocolId.IKE,
                        b"",
                        tuple(IKE_PROPOSAL.transforms[place] for place in (0, 2, 3)),
                    ),
                )
            ),
            KeyExchange(Group.X25519, bytes(range(132, 164))),
            Nonce(NONCE_R),
            Notify(NotifyType.NAT_DETECTION_SOURCE_IP, bytes(20)),
            CertificateRequest(4, bytes(20)),
        ),
    ),
    "IKE_SA_INIT with INVALID_KE_PAYLOAD": (
        _head(ExchangeType.IKE_SA_INIT, 0, True, 0),
        (Notify(NotifyType.INVALID_KE_PAYLOAD, b"\0\x13"),),
    ),
    "IKE INFORMATIONAL with INVALID_IKE_SPI": (
        _head(ExchangeType.INFORMATIONAL, 5, True),
        (Notify(NotifyType.INVALID_IKE_SPI),),
    ),
}
"""Unprotected messages."""

CHAINS: dict[str, tuple[Payload, ...]] = {
    "IKE_AUTH request, inside SK": (
        IdentityInitiator(Identity.of(HOA)),
        IdentityResponder(Identity.of("ha.home.example")),
        Authentication(AuthMethod.SHARED_KEY, bytes(range(32))),
        Notify(NotifyType.USE_TRANSPORT_MODE),
        SecurityAssociationPayload((ESP_GCM, ESP_CBC)),
        SelectorsInitiator((TrafficSelector.of(HOA, 135),)),
        SelectorsResponder((TrafficSelector(135, HA, HA, 0x0500, 0x05FF), ANYWHERE)),
    ),
    "IKE_AUTH response with certificates, inside SK": (
        IdentityResponder(Identity.of(HA)),
        Certificate(CertificateEncoding.X509_SIGNATURE, b"a certificate in DER"),
        Certificate(CertificateEncoding.REVOCATION_LIST, b"a list in DER"),
        Authentication(
            AuthMethod.DIGITAL_SIGNATURE, bytes.fromhex("0c300a06082a8648ce3d040302") + b"signature"
        ),
    ),
    "IKE_AUTH response that refuses, inside SK": (
        Notify(NotifyType.AUTHENTICATION_FAILED),
        Notify(NotifyType.REFUSAL_REASON, b"expired"),
    ),
    "CREATE_CHILD_SA request that rekeys, inside SK": (
        Notify(NotifyType.REKEY_SA, b"", ProtocolId.ESP, bytes.fromhex("01000001")),
        SecurityAssociationPayload((ESP_GCM,)),
        Nonce(NONCE_I),
        SelectorsInitiator((TrafficSelector.of(HOA),)),
        SelectorsResponder((ANYWHERE,)),
    ),
    "CREATE_CHILD_SA request that renews the IKE SA, inside SK": (
        SecurityAssociationPayload(offer_ike((Group.X25519,), tuple(IkeCipher), NEW_SPI)),
        Nonce(NONCE_I),
        KeyExchange(Group.X25519, bytes(range(100, 132))),
    ),
    "IKE INFORMATIONAL that deletes, inside SK": (
        Delete(ProtocolId.ESP, (bytes.fromhex("01000001"), bytes.fromhex("01000002"))),
        Delete(ProtocolId.IKE),
    ),
}
"""What stands inside SK."""

OTHERS: tuple[Payload, ...] = (
    Certificate(11, b"hash and URL"),
    OpaquePayload(47, b"\x01\0\0\0"),
    OpaquePayload(200, b"unknown", critical=True),
    IdentityInitiator(Identity.of("who@home.example")),
    IdentityInitiator(Identity(IdType.KEY_ID, b"\xff\0")),
    SelectorsInitiator(
        (
            OtherSelector(7, 0, bytes(12)),
            TrafficSelector(6, HOA, HOA, *OPAQUE_PORT),
        )
    ),
)
"""Payloads that this project carries or takes, and does not send."""

KEY = SealingKey(IkeCipher.AES_128_GCM, bytes(range(20)))


def sealed() -> bytes:
    """Return a whole protected message: an answer to a liveness check."""
    return seal(KEY, 7, _head(ExchangeType.INFORMATIONAL, 2, True), [])


DELETES = "IKE INFORMATIONAL that deletes, inside SK"


def fragments() -> tuple[bytes, ...]:
    """Return a protected message in two fragments: a request that deletes."""
    head = _head(ExchangeType.INFORMATIONAL, 3, False)
    return seal_within(KEY, 8, head, serialize_chain(CHAINS[DELETES]), FRAGMENT_OVERHEAD + 16)


def vectors() -> dict[str, str]:
    """Return the octets of every sample in hexadecimal, by name."""
    found = {name: serialize_message(*message).hex() for name, message in MESSAGES.items()}
    found |= {name: serialize_chain(chain)[1].hex() for name, chain in CHAINS.items()}
    found["IKE INFORMATIONAL response, empty, protected"] = sealed().hex()
    for number, octets in enumerate(fragments(), 1):
        found[f"IKE INFORMATIONAL that deletes, fragment {number}"] = octets.hex()
    return found
