"""Proposals offered and chosen (RFC 7296 §2.7, §3.3): our suites, and what they have in common."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from agents.core.ike.ciphers import IkeCipher
from agents.wire.esp import LOWEST_SPI
from agents.wire.ike.numbers import (
    Encryption,
    Esn,
    Group,
    Integrity,
    Prf,
    ProtocolId,
    TransformType,
)
from agents.wire.ike.proposals import Proposal, ProposalTransform
from agents.wire.transforms import Transform

SPI_LENGTH = 4
IKE_SPI_LENGTH = 8

_PRF = ProposalTransform(TransformType.PRF, Prf.HMAC_SHA2_256)
_NO_INTEGRITY = ProposalTransform(TransformType.INTEGRITY, Integrity.NONE)
_INTEGRITY = ProposalTransform(TransformType.INTEGRITY, Integrity.HMAC_SHA2_256_128)
_NO_ESN = ProposalTransform(TransformType.ESN, Esn.NO)
_NO_GROUP = ProposalTransform(TransformType.GROUP, Group.NONE)
_ENCRYPTION = {
    Transform.AES_128_GCM: ProposalTransform(TransformType.ENCRYPTION, Encryption.AES_GCM_16, 128),
    Transform.AES_128_CBC_HMAC_SHA2_256: ProposalTransform(
        TransformType.ENCRYPTION, Encryption.AES_CBC, 128
    ),
    Transform.CHACHA20_POLY1305: ProposalTransform(
        TransformType.ENCRYPTION, Encryption.CHACHA20_POLY1305
    ),
}
_IKE_ENCRYPTION = {
    IkeCipher.AES_128_GCM: ProposalTransform(TransformType.ENCRYPTION, Encryption.AES_GCM_16, 128),
    IkeCipher.AES_256_GCM: ProposalTransform(TransformType.ENCRYPTION, Encryption.AES_GCM_16, 256),
    # RFC 7634 §4: without a key length.
    IkeCipher.CHACHA20_POLY1305: ProposalTransform(
        TransformType.ENCRYPTION, Encryption.CHACHA20_POLY1305
    ),
}
_KNOWN_KINDS = frozenset(TransformType)


@dataclass(frozen=True, slots=True)
class IkeChoice:
    """What an IKE SA will use; `proposal` is the peer's, reduced to what was chosen."""

    proposal: Proposal
    group: int
    cipher: IkeCipher

    def answer(self, spi: int) -> Proposal:
        """Return the proposal of the answer to a rekey, with the answerer's SPI."""
        return replace(self.proposal, spi=spi.to_bytes(IKE_SPI_LENGTH))


@dataclass(frozen=True, slots=True)
class EspChoice:
    """What a Child SA will use; `group` is None without a key exchange of its own."""

    proposal: Proposal
    transform: Transform
    spi: int
    group: int | None

    def answer(self, spi: int) -> Proposal:
        """Return the proposal of the answer: what was chosen, with the answerer's SPI."""
        return replace(self.proposal, spi=spi.to_bytes(SPI_LENGTH))


def offer_ike(
    groups: Sequence[int], ciphers: Sequence[IkeCipher], spi: bytes = b""
) -> tuple[Proposal, ...]:
    """Return our proposal for an IKE SA; `spi`: ours of it in CREATE_CHILD_SA (§3.3.1)."""
    encryption = tuple(_IKE_ENCRYPTION[cipher] for cipher in ciphers)
    exchange = tuple(_group(group) for group in groups)
    return (Proposal(1, ProtocolId.IKE, spi, (*encryption, _PRF, *exchange)),)


def choose_ike(
    proposals: Iterable[Proposal], groups: Sequence[int], ciphers: Sequence[IkeCipher]
) -> IkeChoice | None:
    """Return the first proposal that we can do, or None; within it our order counts."""
    for proposal in proposals:
        if proposal.protocol != ProtocolId.IKE or not _understood(proposal):
            continue
        cipher = next(
            (each for each in ciphers if _IKE_ENCRYPTION[each] in proposal.transforms), None
        )
        offered = proposal.of_kind(TransformType.GROUP)
        group = next(
            (each for number in groups for each in offered if each == _group(number)), None
        )
        if cipher is None or group is None or _PRF not in proposal.transforms:
            continue
        rest = _without(proposal, TransformType.INTEGRITY, _NO_INTEGRITY)
        if rest is None or proposal.of_kind(TransformType.ESN):
            continue
        chosen = (_IKE_ENCRYPTION[cipher], _PRF, *rest, group)
        return IkeChoice(
            Proposal(proposal.number, proposal.protocol, proposal.spi, chosen),
            group.number,
            cipher,
        )
    return None


def offer_esp(transform: Transform, spi: int) -> tuple[Proposal, ...]:
    """Return our proposal for a Child SA, inbound SPI included; no extended sequence numbers."""
    transforms: tuple[ProposalTransform, ...] = (_ENCRYPTION[transform],)
    if transform is Transform.AES_128_CBC_HMAC_SHA2_256:
        transforms += (_INTEGRITY,)
    return (Proposal(1, ProtocolId.ESP, spi.to_bytes(SPI_LENGTH), (*transforms, _NO_ESN)),)


def choose_esp(
    proposals: Iterable[Proposal], transform: Transform, groups: Sequence[int] = ()
) -> EspChoice | None:
    """Return the first proposal with `transform`, or None.

    With `groups`, those of a key exchange of its own that we can do; where the peer offers none,
    or leaves it open, there is none.
    """
    for proposal in proposals:
        choice = _choose_esp(proposal, transform, groups)
        if choice is not None:
            return choice
    return None


def _choose_esp(
    proposal: Proposal, transform: Transform, groups: Sequence[int]
) -> EspChoice | None:
    if proposal.protocol != ProtocolId.ESP or len(proposal.spi) != SPI_LENGTH:
        return None
    if int.from_bytes(proposal.spi) < LOWEST_SPI:
        return None
    esn = proposal.of_kind(TransformType.ESN)
    if not _understood(proposal) or _ENCRYPTION[transform] not in proposal.transforms:
        return None
    if esn and _NO_ESN not in esn:
        return None
    integrity: tuple[ProposalTransform, ...] | None
    if transform is Transform.AES_128_CBC_HMAC_SHA2_256:
        integrity = (_INTEGRITY,) if _INTEGRITY in proposal.transforms else None
    else:
        integrity = _without(proposal, TransformType.INTEGRITY, _NO_INTEGRITY)
    exchange = _without(proposal, TransformType.GROUP, _NO_GROUP)
    group = None
    if exchange is None:
        offered = proposal.of_kind(TransformType.GROUP)
        group = next((number for number in groups if _group(number) in offered), None)
        exchange = None if group is None else (_group(group),)
    if integrity is None or exchange is None:
        return None
    chosen = (_ENCRYPTION[transform], *integrity, *exchange, *((_NO_ESN,) if esn else ()))
    return EspChoice(
        Proposal(proposal.number, proposal.protocol, proposal.spi, chosen),
        transform,
        int.from_bytes(proposal.spi),
        group,
    )


def _group(number: int) -> ProposalTransform:
    return ProposalTransform(TransformType.GROUP, number)


def _understood(proposal: Proposal) -> bool:
    """A transform type that is not known makes a proposal unusable (RFC 7296 §3.3.6)."""
    return all(each.kind in _KNOWN_KINDS for each in proposal.transforms)


def _without(
    proposal: Proposal, kind: int, none: ProposalTransform
) -> tuple[ProposalTransform, ...] | None:
    """Return how to choose nothing of `kind`: absent, as `none`, or not at all (None)."""
    offered = proposal.of_kind(kind)
    if not offered:
        return ()
    return (none,) if none in offered else None
