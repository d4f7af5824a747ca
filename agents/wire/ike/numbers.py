"""Assigned numbers of IKEv2 that this project names (RFC 7296 §3 and IANA's registry)."""

from enum import IntEnum

IKE_PORT = 500
NAT_PORT = 4500
NON_ESP_MARKER = bytes(4)
"""In front of IKE messages on port 4500 (RFC 3948 §2.2)."""


class ExchangeType(IntEnum):
    """RFC 7296 §3.1."""

    IKE_SA_INIT = 34
    IKE_AUTH = 35
    CREATE_CHILD_SA = 36
    INFORMATIONAL = 37


class PayloadType(IntEnum):
    """RFC 7296 §3.2."""

    NONE = 0
    SA = 33
    KE = 34
    ID_I = 35
    ID_R = 36
    CERT = 37
    CERTREQ = 38
    AUTH = 39
    NONCE = 40
    NOTIFY = 41
    DELETE = 42
    VENDOR_ID = 43
    TS_I = 44
    TS_R = 45
    SK = 46
    CP = 47
    EAP = 48
    SKF = 53
    """RFC 7383 §2.5."""


class ProtocolId(IntEnum):
    """RFC 7296 §3.3.1; NONE stands in notifications that concern no SA (§3.10)."""

    NONE = 0
    IKE = 1
    AH = 2
    ESP = 3


class TransformType(IntEnum):
    """RFC 7296 §3.3.2."""

    ENCRYPTION = 1
    PRF = 2
    INTEGRITY = 3
    GROUP = 4
    ESN = 5


class Encryption(IntEnum):
    """Transform type 1; the key length is an attribute (RFC 7296 §3.3.5)."""

    AES_CBC = 12
    AES_GCM_16 = 20
    CHACHA20_POLY1305 = 28
    """RFC 7634: a key of 256 bits, and no attribute says so."""


class Prf(IntEnum):
    """Transform type 2."""

    HMAC_SHA2_256 = 5


class Integrity(IntEnum):
    """Transform type 3; NONE may accompany an AEAD cipher (RFC 7296 §3.3)."""

    NONE = 0
    HMAC_SHA2_256_128 = 12


class Group(IntEnum):
    """Transform type 4, key exchange methods: RFC 3526, RFC 5903 and RFC 8031."""

    NONE = 0
    MODP_2048 = 14
    P256 = 19
    X25519 = 31


class Esn(IntEnum):
    """Transform type 5: extended sequence numbers."""

    NO = 0
    YES = 1


class IdType(IntEnum):
    """RFC 7296 §3.5."""

    IPV4_ADDR = 1
    FQDN = 2
    RFC822_ADDR = 3
    IPV6_ADDR = 5
    DER_ASN1_DN = 9
    DER_ASN1_GN = 10
    KEY_ID = 11


class AuthMethod(IntEnum):
    """RFC 7296 §3.8, RFC 4754, RFC 7427."""

    RSA_SIGNATURE = 1
    SHARED_KEY = 2
    ECDSA_SHA_256_P256 = 9
    DIGITAL_SIGNATURE = 14


class CertificateEncoding(IntEnum):
    """RFC 7296 §3.6."""

    X509_SIGNATURE = 4
    REVOCATION_LIST = 7


class SignatureHash(IntEnum):
    """Hash functions of digital signatures (RFC 7427 §7)."""

    SHA2_256 = 2


class TsType(IntEnum):
    """RFC 7296 §3.13.1."""

    IPV4_ADDR_RANGE = 7
    IPV6_ADDR_RANGE = 8


class NotifyType(IntEnum):
    """RFC 7296 §3.10.1; below 16384 they are errors."""

    UNSUPPORTED_CRITICAL_PAYLOAD = 1
    INVALID_IKE_SPI = 4
    INVALID_MAJOR_VERSION = 5
    INVALID_SYNTAX = 7
    INVALID_MESSAGE_ID = 9
    INVALID_SPI = 11
    NO_PROPOSAL_CHOSEN = 14
    INVALID_KE_PAYLOAD = 17
    AUTHENTICATION_FAILED = 24
    SINGLE_PAIR_REQUIRED = 34
    NO_ADDITIONAL_SAS = 35
    INTERNAL_ADDRESS_FAILURE = 36
    FAILED_CP_REQUIRED = 37
    TS_UNACCEPTABLE = 38
    INVALID_SELECTORS = 39
    TEMPORARY_FAILURE = 43
    CHILD_SA_NOT_FOUND = 44
    INITIAL_CONTACT = 16384
    ADDITIONAL_TS_POSSIBLE = 16386
    NAT_DETECTION_SOURCE_IP = 16388
    NAT_DETECTION_DESTINATION_IP = 16389
    COOKIE = 16390
    USE_TRANSPORT_MODE = 16391
    REKEY_SA = 16393
    ESP_TFC_PADDING_NOT_SUPPORTED = 16394
    IKEV2_FRAGMENTATION_SUPPORTED = 16430
    """RFC 7383 §2.3."""
    SIGNATURE_HASH_ALGORITHMS = 16431
    """RFC 7427 §4."""
    REFUSAL_REASON = 40961
    """For private use (RFC 7296 §3.10.1), beside AUTHENTICATION_FAILED: one word of UTF-8."""
    ONLY_THIS = 40962
    """Private: the responder is to drop every other IKE SA and Child SA with this initiator."""


FIRST_STATUS = 16384
"""Notify types from here on report a status, below it an error (RFC 7296 §3.10.1)."""


def slug(notify: int) -> str:
    """Return the name of a notification as counters and events have it."""
    try:
        return NotifyType(notify).name.lower().replace("_", "-")
    except ValueError:
        return f"notify-{notify}"


def exchange_slug(exchange: int) -> str:
    """Return the name of an exchange type as counters have it."""
    try:
        return ExchangeType(exchange).name.lower().replace("_", "-")
    except ValueError:
        return f"exchange-{exchange}"
