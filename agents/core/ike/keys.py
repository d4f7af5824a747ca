"""From shared secrets to keys (RFC 7296 §2.13 to §2.17), with PRF_HMAC_SHA2_256."""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes, hmac

from agents.core.ike.ciphers import IkeCipher, SealingKey

PRF_LENGTH = 32
_PAD = b"Key Pad for IKEv2"


def prf(key: bytes, data: bytes) -> bytes:
    """Return HMAC-SHA2-256 of `data`: 32 octets."""
    made = hmac.HMAC(key, hashes.SHA256())
    made.update(data)
    return made.finalize()


def prf_plus(key: bytes, seed: bytes, length: int) -> bytes:
    """Return `length` octets of prf+ (§2.13), at most 255 blocks of 32."""
    blocks: list[bytes] = []
    block = b""
    for number in range(1, 1 + -(-length // PRF_LENGTH)):
        block = prf(key, block + seed + bytes((number,)))
        blocks.append(block)
    return b"".join(blocks)[:length]


@dataclass(frozen=True, slots=True, repr=False)
class IkeKeys:
    """SK_d, SK_ei, SK_er, SK_pi, SK_pr. With an AEAD cipher there is no SK_a (RFC 5282 §7)."""

    derive: bytes
    encrypt_initiator: SealingKey
    encrypt_responder: SealingKey
    prove_initiator: bytes
    prove_responder: bytes


def derive_ike_keys(
    seed_key: bytes, nonces: bytes, spi_initiator: int, spi_responder: int, cipher: IkeCipher
) -> IkeKeys:
    """Return the keys of an IKE SA (§2.14).

    `seed_key` is SKEYSEED, `nonces` Ni | Nr.
    """
    length = cipher.material_length
    seed = nonces + spi_initiator.to_bytes(8) + spi_responder.to_bytes(8)
    stream = prf_plus(seed_key, seed, 3 * PRF_LENGTH + 2 * length)
    derive, rest = stream[:PRF_LENGTH], stream[PRF_LENGTH:]
    initiator, responder, proofs = rest[:length], rest[length : 2 * length], rest[2 * length :]
    return IkeKeys(
        derive,
        SealingKey(cipher, initiator),
        SealingKey(cipher, responder),
        proofs[:PRF_LENGTH],
        proofs[PRF_LENGTH:],
    )


def key_seed(nonces: bytes, shared: bytes) -> bytes:
    """Return SKEYSEED of a first key exchange: prf(Ni | Nr, g^ir) (§2.14)."""
    return prf(nonces, shared)


def renewed_key_seed(keys: IkeKeys, shared: bytes, nonces: bytes) -> bytes:
    """Return SKEYSEED of a renewed IKE SA: prf(SK_d of the old one, g^ir | Ni | Nr) (§2.18)."""
    return prf(keys.derive, shared + nonces)


@dataclass(frozen=True, slots=True)
class ChildKeys:
    """The keys of the two SAs of a pair, as `agents.wire.transforms` lays them out."""

    from_initiator: bytes = field(repr=False)
    from_responder: bytes = field(repr=False)


def derive_child_keys(keys: IkeKeys, nonces: bytes, length: int, shared: bytes = b"") -> ChildKeys:
    """Return KEYMAT for a Child SA (§2.17): the first SA carries what the initiator sends.

    `nonces` Ni | Nr and `shared`, the g^ir of a key exchange, are of the exchange that makes
    the SA; `length` counts the octets of one key.
    """
    material = prf_plus(keys.derive, shared + nonces, 2 * length)
    return ChildKeys(material[:length], material[length:])


def signed_octets(message: bytes, nonce: bytes, proof_key: bytes, identity: bytes) -> bytes:
    """Return what an end proves itself over (§2.15).

    `message` is the first message that the proving end sent, `nonce` the other end's, `proof_key`
    SK_pi or SK_pr, `identity` the body of its identification payload.
    """
    return message + nonce + prf(proof_key, identity)


def shared_key_proof(secret: bytes, signed: bytes) -> bytes:
    """Return the AUTH data of a pre-shared key over `signed_octets` (§2.15)."""
    return prf(prf(secret, _PAD), signed)
