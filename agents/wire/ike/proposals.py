"""Proposals of the SA payload (RFC 7296 §3.3)."""

import struct
from dataclasses import dataclass

from agents.wire.errors import Reason, WireError

_PROPOSAL = struct.Struct("!BBHBBBB")
_TRANSFORM = struct.Struct("!BBHBBH")
_ATTRIBUTE = struct.Struct("!HH")
_MORE_PROPOSALS = 2
_MORE_TRANSFORMS = 3
_KEY_LENGTH = 0x800E  # type 14, in the short form (RFC 7296 §3.3.5)


@dataclass(frozen=True, slots=True)
class ProposalTransform:
    """One transform; `key_length` in bits; `attributes` are the octets of all other attributes.

    A transform with attributes that are not understood cannot be chosen (RFC 7296 §3.3.6).
    """

    kind: int
    number: int
    key_length: int | None = None
    attributes: bytes = b""

    def serialize(self, last: bool) -> bytes:
        """Return the substructure; `last` of its proposal or not."""
        attributes = self.attributes
        if self.key_length is not None:
            attributes = _ATTRIBUTE.pack(_KEY_LENGTH, self.key_length) + attributes
        more = 0 if last else _MORE_TRANSFORMS
        length = _TRANSFORM.size + len(attributes)
        return _TRANSFORM.pack(more, 0, length, self.kind, 0, self.number) + attributes


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposal: a protocol, the sender's SPI for it (none in IKE_SA_INIT), transforms."""

    number: int
    protocol: int
    spi: bytes
    transforms: tuple[ProposalTransform, ...]

    def of_kind(self, kind: int) -> tuple[ProposalTransform, ...]:
        """Return the transforms of one type, in the order of preference."""
        return tuple(each for each in self.transforms if each.kind == kind)

    def serialize(self, last: bool) -> bytes:
        """Return the substructure; `last` of its payload or not."""
        end = len(self.transforms) - 1
        body = self.spi + b"".join(
            each.serialize(place == end) for place, each in enumerate(self.transforms)
        )
        head = _PROPOSAL.pack(
            0 if last else _MORE_PROPOSALS,
            0,
            _PROPOSAL.size + len(body),
            self.number,
            self.protocol,
            len(self.spi),
            len(self.transforms),
        )
        return head + body


def serialize_proposals(proposals: tuple[Proposal, ...]) -> bytes:
    """Return the body of an SA payload."""
    end = len(proposals) - 1
    return b"".join(each.serialize(place == end) for place, each in enumerate(proposals))


def parse_proposals(body: bytes) -> tuple[Proposal, ...]:
    """Return the proposals in the body of an SA payload.

    Raises:
        WireError: `truncated`, or `bad-field-value` where lengths, counts and marks of the last
            one do not agree.
    """
    proposals: list[Proposal] = []
    offset, more = 0, True
    while more:
        if len(body) - offset < _PROPOSAL.size:
            raise WireError(Reason.TRUNCATED, "a proposal is cut")
        mark, _, length, number, protocol, spi_length, count = _PROPOSAL.unpack_from(body, offset)
        if length < _PROPOSAL.size + spi_length or offset + length > len(body):
            raise WireError(Reason.TRUNCATED, f"a proposal of {length} octets")
        more = _marked(mark, _MORE_PROPOSALS, offset + length < len(body))
        start = offset + _PROPOSAL.size
        spi = body[start : start + spi_length]
        transforms = _parse_transforms(body[start + spi_length : offset + length])
        if len(transforms) != count:
            raise WireError(Reason.FIELD_VALUE, f"{len(transforms)} transforms, {count} are said")
        proposals.append(Proposal(number, protocol, spi, transforms))
        offset += length
    return tuple(proposals)


def _parse_transforms(body: bytes) -> tuple[ProposalTransform, ...]:
    transforms: list[ProposalTransform] = []
    offset, more = 0, bool(body)
    while more:
        if len(body) - offset < _TRANSFORM.size:
            raise WireError(Reason.TRUNCATED, "a transform is cut")
        mark, _, length, kind, _, number = _TRANSFORM.unpack_from(body, offset)
        if length < _TRANSFORM.size or offset + length > len(body):
            raise WireError(Reason.TRUNCATED, f"a transform of {length} octets")
        more = _marked(mark, _MORE_TRANSFORMS, offset + length < len(body))
        attributes = body[offset + _TRANSFORM.size : offset + length]
        transforms.append(ProposalTransform(kind, number, *_parse_attributes(attributes)))
        offset += length
    return tuple(transforms)


def _parse_attributes(body: bytes) -> tuple[int | None, bytes]:
    """Return the key length, and all other attributes as they stand."""
    key_length: int | None = None
    others = []
    offset = 0
    while offset < len(body):
        if len(body) - offset < _ATTRIBUTE.size:
            raise WireError(Reason.TRUNCATED, "a transform attribute is cut")
        kind, value = _ATTRIBUTE.unpack_from(body, offset)
        end = offset + _ATTRIBUTE.size + (0 if kind & 0x8000 else value)
        if end > len(body):
            raise WireError(Reason.TRUNCATED, "a transform attribute is cut")
        if kind == _KEY_LENGTH and key_length is None:
            key_length = value
        else:
            others.append(body[offset:end])
        offset = end
    return key_length, b"".join(others)


def _marked(mark: int, more: int, follows: bool) -> bool:
    """Return whether another substructure follows; the mark and the length must agree on it."""
    if mark != (more if follows else 0):
        raise WireError(Reason.FIELD_VALUE, "the mark of the last substructure is in a wrong place")
    return follows
