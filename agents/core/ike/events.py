"""What an IKE endpoint reports; no key is in any of it. See `agents.core.events` for the base."""

from dataclasses import dataclass, fields
from typing import ClassVar

from agents.core.events import Event
from agents.core.ike.child_sa import ChildSa
from agents.core.ike.sa import IkeSa
from agents.wire.ike.identity import Identity


@dataclass(frozen=True, slots=True)
class IkeEvent(Event):
    """Base: an event of one IKE SA; `peer` is None where the other end has named nobody."""

    sa: IkeSa
    peer: Identity | None

    def fields(self) -> dict[str, object]:
        """Return the fields, ready for JSON; the SA as its two SPIs."""
        values: dict[str, object] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, IkeSa | Identity):
                value = str(value)
            elif isinstance(value, ChildSa):
                value = value.fields()
            values[each.name] = value
        return values


@dataclass(frozen=True, slots=True)
class IkeEstablished(IkeEvent):
    """Both ends have proven who they are; `initiator`: this end began."""

    kind: ClassVar[str] = "ike-established"
    initiator: bool


@dataclass(frozen=True, slots=True)
class IkeFailed(IkeEvent):
    """An IKE SA was not established.

    `reason`: `timeout`, `half-open-timeout`, `authentication-failed`, or the name of the error
    that the other end reported, such as `no-proposal-chosen`. `detail`: why one end has refused
    the other, in a word (`agents.core.ike.authentication`), if that is known.
    """

    kind: ClassVar[str] = "ike-failed"
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class IkeRekeyed(IkeEvent):
    """`successor` has the place of `sa` and its Child SAs; `IkeDeleted` of `sa` follows.

    `initiator`: this end began.
    """

    kind: ClassVar[str] = "ike-rekeyed"
    successor: IkeSa
    initiator: bool


@dataclass(frozen=True, slots=True)
class IkeRekeyFailed(IkeEvent):
    """An IKE SA was not renewed by this end; it stands as before.

    `reason`: the name of the error that the other end reported, such as `temporary-failure`, or
    `bad-answer`, `ike-sa-ended`.
    """

    kind: ClassVar[str] = "ike-rekey-failed"
    reason: str


@dataclass(frozen=True, slots=True)
class IkeDeleted(IkeEvent):
    """An established IKE SA is over; its Child SAs are the host's to keep or to remove.

    `reason`: `deleted` (by this end), `by-peer`, `peer-lost` (no answer), `forgotten`,
    `rekeyed` (another one has its place), `invalid-syntax`, `authentication-failed`: the other end
    did not believe this one, for the reason that `detail` names.
    """

    kind: ClassVar[str] = "ike-deleted"
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RevocationsLearned(IkeEvent):
    """The other end has handed on a revocation list that is news: `number` is its CRL number."""

    kind: ClassVar[str] = "revocations-learned"
    number: int


@dataclass(frozen=True, slots=True)
class ChildEstablished(IkeEvent):
    """A Child SA is agreed on: install it."""

    kind: ClassVar[str] = "child-established"
    child: ChildSa


@dataclass(frozen=True, slots=True)
class ChildRekeyed(IkeEvent):
    """`child` takes the place of the one with inbound SPI `old_spi`, which stays until deleted.

    The end that began the rekey deletes the old one (RFC 7296 §2.8): where `initiator` says
    that it was this end, the host does, by `IkeEndpoint.delete_child`.
    """

    kind: ClassVar[str] = "child-rekeyed"
    old_spi: int
    child: ChildSa
    initiator: bool


@dataclass(frozen=True, slots=True)
class ChildDeleted(IkeEvent):
    """The Child SA with inbound SPI `spi` is over.

    `reason`: `deleted` (by this end), `by-peer`, `redundant` (two rekeys at once, RFC 7296
    §2.8.1), `child-sa-not-found` (the peer no longer had it).
    """

    kind: ClassVar[str] = "child-deleted"
    spi: int
    reason: str


@dataclass(frozen=True, slots=True)
class ChildFailed(IkeEvent):
    """A Child SA was not created or not rekeyed.

    `reason`: the name of the error that the other end reported, such as `ts-unacceptable`, or
    `mode-mismatch`, `bad-answer`, `by-peer` (deleted before its answer came), `ike-sa-ended`.
    """

    kind: ClassVar[str] = "child-failed"
    name: str
    reason: str
