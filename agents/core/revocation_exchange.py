"""Revocation lists from home agent to home agent (draft §5; design §10, rule 13).

The operator's word is a list that its authority has signed. Whoever holds it hands it on, so one
home agent that hears it is enough, and the one that it concerns can neither forge it nor hold it
back. A list is longer than a message: it goes in parts, each acknowledged by itself.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256

from agents.core.context import Context
from agents.core.counters import Dropped
from agents.core.peers import Peer
from agents.wire import inter_ha

MOST_OCTETS = 1 << 16
"""A longer list is not taken."""

MOST_PARTIAL = 4
"""Lists of one peer that may be incomplete here; the oldest goes."""


@dataclass(slots=True)
class _Partial:
    """Parts of one list, by offset."""

    length: int
    parts: dict[int, bytes] = field(default_factory=dict)

    def whole(self) -> bytes | None:
        """Return the list once no part is missing."""
        octets = b""
        while len(octets) < self.length:
            part = self.parts.get(len(octets))
            if not part:
                return None
            octets += part
        return octets


class Assembly:
    """The lists of one sender that are on their way here."""

    def __init__(self) -> None:
        self._partial: OrderedDict[int, _Partial] = OrderedDict()

    def add(self, message: inter_ha.Revocations) -> bytes | None:
        """Take one part; return the list with the last. Raises `Dropped` for what cannot be."""
        if not 0 < message.length <= MOST_OCTETS:
            raise Dropped("revocations-too-long")
        octets = b"".join(each.octets for each in message.entries)
        on_grid = message.offset % inter_ha.PART_LIMIT == 0 and len(octets) <= inter_ha.PART_LIMIT
        if not on_grid or message.offset + len(octets) > message.length:
            raise Dropped("revocations-misfit")
        partial = self._partial.setdefault(message.digest, _Partial(message.length))
        if len(self._partial) > MOST_PARTIAL:
            self._partial.popitem(last=False)
        if partial.length != message.length:
            raise Dropped("revocations-misfit")
        partial.parts[message.offset] = octets
        whole = partial.whole()
        if whole is None:
            return None
        del self._partial[message.digest]
        if _digest(whole) != message.digest or len(whole) != partial.length:
            raise Dropped("revocations-misfit")
        return whole


def parts(octets: bytes) -> Iterator[inter_ha.Revocations]:
    """Yield the messages that a list takes; identifiers are still to be chosen."""
    for offset, entries in inter_ha.cut(octets):
        yield inter_ha.Revocations(_digest(octets), len(octets), offset, entries, identifier=1)


class RevocationExchange:
    """Sends and receives lists; what is in them is for others to judge."""

    def __init__(self, context: Context, learn: Callable[[bytes, Peer, float], None]) -> None:
        """`learn(der, peer, now)` takes a whole list that `peer` handed on."""
        self._context = context
        self._learn = learn
        self._assemblies: dict[int, Assembly] = {}

    def tell(self, octets: bytes, peers: Iterable[Peer], now: float) -> None:
        """Hand a list on to `peers`."""
        for peer in peers:
            for part in parts(octets):
                identifier = self._context.exchanges.new_identifier(peer.index)
                self._context.exchange(peer, replace(part, identifier=identifier), now)

    def receive(self, peer: Peer, message: inter_ha.Revocations, now: float) -> None:
        """Take one part; the list is learnt with the last."""
        self._context.send_to_peer(
            peer, inter_ha.IsolationAcknowledgement(identifier=message.identifier)
        )
        whole = self._assemblies.setdefault(peer.index, Assembly()).add(message)
        if whole is not None:
            self._learn(whole, peer, now)


def _digest(octets: bytes) -> int:
    return int.from_bytes(sha256(octets).digest()[:8])
