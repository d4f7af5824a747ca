"""How an end proves who it is, by secret or by certificate, and how the other one's proof is taken.

RFC 7296 §2.15 and §3.6 to §3.8, RFC 4754 (ECDSA on P-256), RFC 7427 (digital signature).
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA256

from agents.core.home_agent_certificate import HomeAgentCertificate
from agents.core.ike.config import IkePeerConfig
from agents.core.ike.context import IkeContext
from agents.core.ike.events import RevocationsLearned
from agents.core.ike.keys import shared_key_proof, signed_octets
from agents.core.ike.not_authorised import NotAuthorised
from agents.core.ike.payload_search import find, find_notify
from agents.core.ike.sa import IkeSa
from agents.wire.ike import payloads as wire
from agents.wire.ike.identity import Identity
from agents.wire.ike.numbers import AuthMethod, CertificateEncoding, NotifyType, SignatureHash
from agents.wire.ike.payloads import Authentication, CertificateRequest, Notify, Payload

if TYPE_CHECKING:  # reading X.509 takes its time to import, and not everybody needs it
    from agents.core.ike.certificates import Certificate
    from agents.core.ike.credentials import Credentials, Verified

MOST_CERTIFICATES = 6
"""CERT payloads in one message; in a chain of an operator there are two."""

MOST_OCTETS = 1 << 15
"""In all CERT payloads of one message."""

LONGEST_LIST = 1 << 14
"""Octets of a revocation list that is handed on here: some 400 entries. A longer one comes to ends
by other ways."""

_SHA256_WITH_ECDSA = bytes.fromhex("300a06082a8648ce3d040302")
"""AlgorithmIdentifier in DER (RFC 7427 appendix A.3)."""
_INTEGER = 32
"""Octets of r, and of s (RFC 4754 §7)."""
_REASON = re.compile("[a-z0-9-]{1,40}")


def signature_hashes(context: IkeContext) -> list[Payload]:
    """Return what IKE_SA_INIT says of signatures (RFC 7427 §4), where there are any."""
    if context.config.credentials is None:
        return []
    hashes = SignatureHash.SHA2_256.to_bytes(2)
    return [Notify(NotifyType.SIGNATURE_HASH_ALGORITHMS, hashes)]


def take_signature_hashes(sa: IkeSa, payloads: Iterable[Payload]) -> None:
    """Note whether the other end takes digital signatures over SHA2-256."""
    said = find_notify(payloads, NotifyType.SIGNATURE_HASH_ALGORITHMS)
    data = b"" if said is None else said.data
    listed = {int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)}
    sa.digital_signature = SignatureHash.SHA2_256 in listed


def certificate_request(context: IkeContext) -> list[Payload]:
    """Return CERTREQ with our anchors, where there are any (§3.7)."""
    credentials = context.config.credentials
    if credentials is None:
        return []
    return [CertificateRequest(CertificateEncoding.X509_SIGNATURE, credentials.anchor_hashes())]


def own_certificates(context: IkeContext) -> list[Payload]:
    """Return CERT payloads: our chain, and the newest revocation lists, which all may know."""
    credentials = context.config.credentials
    if credentials is None:
        return []
    chain = credentials.chain if credentials.private_key is not None else ()
    lists = credentials.revocations.lists()
    return [
        *(wire.Certificate(CertificateEncoding.X509_SIGNATURE, each) for each in chain),
        *(
            wire.Certificate(CertificateEncoding.REVOCATION_LIST, each.octets)
            for each in lists
            if len(each.octets) <= LONGEST_LIST
        ),
    ]


def own_proof(context: IkeContext, sa: IkeSa, peer: IkePeerConfig) -> Authentication:
    """Return AUTH: a signature where there is a private key, else the secret's."""
    assert sa.keys is not None
    credentials = context.config.credentials
    key = sa.keys.prove_initiator if sa.initiator else sa.keys.prove_responder
    octets = signed_octets(sa.init_local, sa.nonce_remote, key, context.config.identity.serialize())
    if credentials is None or credentials.private_key is None:
        assert peer.secret is not None
        return Authentication(AuthMethod.SHARED_KEY, shared_key_proof(peer.secret, octets))
    # The number that ECDSA needs follows from key and message (RFC 6979): nothing is drawn here.
    made = credentials.private_key.sign(octets, ECDSA(SHA256(), deterministic_signing=True))
    if sa.digital_signature:
        name = bytes((len(_SHA256_WITH_ECDSA),)) + _SHA256_WITH_ECDSA
        return Authentication(AuthMethod.DIGITAL_SIGNATURE, name + made)
    both = b"".join(each.to_bytes(_INTEGER) for each in decode_dss_signature(made))
    return Authentication(AuthMethod.ECDSA_SHA_256_P256, both)


def check_proof(
    context: IkeContext,
    sa: IkeSa,
    payloads: tuple[Payload, ...],
    named: Identity,
    peer: IkePeerConfig | None,
) -> IkePeerConfig:
    """Return what is configured for the end that has proven to be `named`, or what admits it.

    Raises:
        NotAuthorised: `no-proof`, `wrong-proof`, `too-many-certificates`, those of
            `Credentials.verify` and of `IkeConfig.admit`, `wrong-index`, `prefix-not-delegated`.
    """
    config = context.config
    proof = find(payloads, Authentication)
    if proof is None:  # it asks for EAP (§2.16), which is not here
        raise NotAuthorised("no-proof")
    assert sa.keys is not None
    key = sa.keys.prove_responder if sa.initiator else sa.keys.prove_initiator
    octets = signed_octets(sa.init_remote, sa.nonce_local, key, named.serialize())
    if config.credentials is not None:
        presented = _presented(context, sa, config.credentials, payloads)
    if peer is None and (config.admit is None or proof.method == AuthMethod.SHARED_KEY):
        # Of secrets nobody learns which of the two was wrong, name or secret.
        shared = proof.method == AuthMethod.SHARED_KEY
        raise NotAuthorised("wrong-proof" if shared else "not-configured")
    if peer is not None and not peer.by_certificate:
        _check_secret(peer, proof, octets)
        return peer
    assert config.credentials is not None
    verified = config.credentials.verify(presented, named)
    _check_signature(verified.leaf.key, proof, octets)
    if peer is None:
        assert config.admit is not None
        peer = config.admit(named, HomeAgentCertificate.of(verified))
    else:
        _check_duty(peer, verified)
    sa.certificate = verified
    return peer


def _check_secret(peer: IkePeerConfig, proof: Authentication, octets: bytes) -> None:
    assert peer.secret is not None
    right = bytes_eq(proof.data, shared_key_proof(peer.secret, octets))
    if proof.method != AuthMethod.SHARED_KEY or not right:
        raise NotAuthorised("wrong-proof")


def _check_duty(peer: IkePeerConfig, verified: "Verified") -> None:
    """Whether a certificate stands for what its holder is configured as."""
    if peer.prefix is not None and not verified.delegates(peer.prefix):
        raise NotAuthorised("prefix-not-delegated", f"{peer.prefix} to {verified.leaf}")
    if peer.index is not None:
        index = HomeAgentCertificate.of(verified).index
        if index != peer.index:
            raise NotAuthorised("wrong-index", f"{index} in place of {peer.index}")


def _check_signature(key: EllipticCurvePublicKey, proof: Authentication, octets: bytes) -> None:
    if proof.method == AuthMethod.DIGITAL_SIGNATURE:
        name = bytes((len(_SHA256_WITH_ECDSA),)) + _SHA256_WITH_ECDSA
        if not proof.data.startswith(name):
            raise NotAuthorised("unsupported-algorithm", "of a digital signature")
        signature = proof.data[len(name) :]
    elif proof.method == AuthMethod.ECDSA_SHA_256_P256 and len(proof.data) == 2 * _INTEGER:
        r, s = (int.from_bytes(each) for each in (proof.data[:_INTEGER], proof.data[_INTEGER:]))
        signature = encode_dss_signature(r, s)
    else:
        raise NotAuthorised("wrong-proof", f"method {proof.method}")
    try:
        key.verify(signature, octets, ECDSA(SHA256()))
    except InvalidSignature:
        raise NotAuthorised("wrong-proof") from None


def _presented(
    context: IkeContext, sa: IkeSa, credentials: "Credentials", payloads: Iterable[Payload]
) -> "list[Certificate]":
    """Read CERT payloads; revocation lists are learnt before anything is believed."""
    from agents.core.ike.certificates import read_certificate

    given = [each for each in payloads if isinstance(each, wire.Certificate)]
    if len(given) > MOST_CERTIFICATES or sum(len(each.data) for each in given) > MOST_OCTETS:
        raise NotAuthorised("too-many-certificates")
    found = [
        read_certificate(each.data)
        for each in given
        if each.encoding == CertificateEncoding.X509_SIGNATURE
    ]
    for each in given:
        if each.encoding == CertificateEncoding.REVOCATION_LIST:
            _learn(context, sa, credentials, each.data, found)
        elif each.encoding != CertificateEncoding.X509_SIGNATURE:
            context.counters[f"certificates-ignored.encoding-{each.encoding}"] += 1
    return found


def _learn(
    context: IkeContext,
    sa: IkeSa,
    credentials: "Credentials",
    octets: bytes,
    presented: "Iterable[Certificate]",
) -> None:
    """Take a revocation list; a bad one is counted, and says nothing of who handed it on."""
    try:
        news = credentials.revocations.learn(octets, presented)
    except NotAuthorised as refused:
        context.counters[f"revocations-refused.{refused.reason}"] += 1
        return
    if news:
        number = next(
            each.number for each in credentials.revocations.lists() if each.octets == octets
        )
        context.report(RevocationsLearned(sa, sa.peer, number))


def refusal(refused: NotAuthorised) -> list[Payload]:
    """Return what the other end is told: that it is refused, and why in a word."""
    return [
        Notify(NotifyType.AUTHENTICATION_FAILED),
        Notify(NotifyType.REFUSAL_REASON, refused.reason.encode()),
    ]


def refusal_reason(payloads: Iterable[Payload]) -> str:
    """Return the word with which the other end refuses, or nothing where it gives none."""
    said = find_notify(payloads, NotifyType.REFUSAL_REASON)
    text = "" if said is None else said.data.decode("ascii", errors="replace")
    return text if _REASON.fullmatch(text) else ""
