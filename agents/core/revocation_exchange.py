"""Revocation lists from home agent to home agent (draft §5; design §10, rule 13).

The operator's word is a list that its authority has signed. Whoever holds it hands it on, so one
home agent that hears it is enough, and the one that it concerns can neither forge it nor hold it
back. A list is longer than a message: it goes in parts, each acknowledged by itself.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from agents.core.context import Context
from agents.core.peers import Peer
from agents.wire import inter_ha
from agents.wire.inter_ha import InterHaStatus

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


class RevocationExchange:
    """Sends and receives lists; what is in them is for others to judge."""

    def __init__(self, context: Context, learn: Callable[[bytes, Peer, float], None]) -> None:
        """`learn(der, peer, now)` takes a whole list that `peer` handed on."""
        self._context = context
        self._learn = learn
        self._partial: dict[int, OrderedDict[int, _Partial]] = {}

    def tell(self, octets: bytes, peers: Iterable[Peer], now: float) -> None:
        """Hand a list on to `peers`."""
        told = tuple(peers)
        for offset, entries in inter_ha.cut(octets):
            for peer in told:
                message = inter_ha.Revocations(
                    _digest(octets),
                    len(octets),
                    offset,
                    entries,
                    identifier=self._context.exchanges.new_identifier(peer.index),
                )
                self._context.exchange(peer, message, now)

    def receive(self, peer: Peer, message: inter_ha.Revocations, now: float) -> None:
        """Take one part; the list is learnt with the last."""
        status = InterHaStatus.ACCEPTED
        if not 0 < message.length <= MOST_OCTETS:
            status = InterHaStatus.INSUFFICIENT_RESOURCES
        self._context.send_to_peer(
            peer,
            inter_ha.IsolationAcknowledgement(status=status, identifier=message.identifier),
        )
        if not status.accepted:
            return
        lists = self._partial.setdefault(peer.index, OrderedDict())
        partial = lists.setdefault(message.digest, _Partial(message.length))
        octets = b"".join(each.octets for each in message.entries)
        if message.offset + len(octets) > partial.length:
            self._context.counters.drop("revocations-misfit")
            return
        partial.parts[message.offset] = octets
        whole = partial.whole()
        if whole is None:
            if len(lists) > MOST_PARTIAL:
                lists.popitem(last=False)
            return
        del lists[message.digest]
        if _digest(whole) != message.digest or len(whole) != partial.length:
            self._context.counters.drop("revocations-misfit")
            return
        self._learn(whole, peer, now)

    def forget(self, peer: Peer) -> None:
        """`peer` is gone, and the rest of what it began with it."""
        self._partial.pop(peer.index, None)


def _digest(octets: bytes) -> int:
    return int.from_bytes(sha256(octets).digest()[:8])
