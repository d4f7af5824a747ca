"""Message fragmentation (RFC 7383): protected messages in parts that no IPv6 link has to split."""

from dataclasses import dataclass, field

from agents.core.counters import Dropped
from agents.core.ike.ciphers import SealingKey
from agents.core.ike.protection import FRAGMENT_OVERHEAD, OVERHEAD, seal_chain, seal_fragment
from agents.core.timers import Timer, TimerQueue
from agents.wire.ike.header import Header
from agents.wire.ike.numbers import NAT_PORT, NON_ESP_MARKER
from agents.wire.ike.payloads import EncryptedFragment

MOST_FRAGMENTS = 64
"""Fragments that a message is cut into, or put together from, at most."""
MOST_OCTETS = 0xFFFF
"""Octets of all fragments of a message at most: what fits in one payload."""
MOST_MESSAGES = 64
"""Messages that are put together at a time; of more, the oldest is given up."""

_IPV6_AND_UDP = 40 + 8


def room(packet: int, port: int) -> int:
    """Return the octets of an IKE message in an IPv6 packet of `packet` octets from `port`."""
    return packet - _IPV6_AND_UDP - (len(NON_ESP_MARKER) if port == NAT_PORT else 0)


def seal_within(
    key: SealingKey, counter: int, head: Header, chain: tuple[int, bytes], most: int
) -> tuple[bytes, ...]:
    """Return `chain` in one message, or as fragments if that were longer than `most` octets.

    `chain` is the type of its first payload, and its octets. The first message takes `counter`
    for its IV, each one behind it the next number: as many numbers are used as messages returned.

    Raises:
        ValueError: it takes more than `MOST_FRAGMENTS`.
    """
    first, octets = chain
    if OVERHEAD + len(octets) <= most:
        return (seal_chain(key, counter, head, first, octets),)
    size = most - FRAGMENT_OVERHEAD
    total = -(-len(octets) // size) if size > 0 else MOST_FRAGMENTS + 1
    if total > MOST_FRAGMENTS or len(octets) > MOST_OCTETS:
        raise ValueError(f"{len(octets)} octets in fragments of {size}")
    return tuple(
        seal_fragment(
            key,
            counter + place,
            head,
            0 if place else first,
            (place + 1, total),
            octets[place * size : (place + 1) * size],
        )
        for place in range(total)
    )


@dataclass(slots=True)
class _Partial:
    """A message of which fragments are missing; nothing in it is unauthentic."""

    message_id: int
    total: int
    timer: Timer
    first: int = 0
    parts: dict[int, bytes] = field(default_factory=dict)


class Reassembly:
    """Puts messages together. A whole one is named by its IKE SA and direction.

    Each IKE SA has one message each way at a time, since the windows are 1. What is held is
    bounded in messages, fragments, octets, and time (RFC 7383 §5).
    """

    def __init__(self, timers: TimerQueue, lifetime: float) -> None:
        """`lifetime`: seconds that a message may take to be whole."""
        self._timers = timers
        self._lifetime = lifetime
        self._partial: dict[tuple[int, bool], _Partial] = {}

    def __len__(self) -> int:
        return len(self._partial)

    def check(self, name: tuple[int, bool], message_id: int, fragment: EncryptedFragment) -> None:
        """See whether a fragment is worth opening (RFC 7383 §2.6).

        Raises:
            Dropped: it is there already, there are too many, or of another way to cut the
                message that has fewer parts: an older one, since parts only get smaller.
        """
        if fragment.total > MOST_FRAGMENTS:
            raise Dropped("too-many-fragments")
        partial = self._partial.get(name)
        if partial is None or partial.message_id != message_id:
            return
        if fragment.total < partial.total:
            raise Dropped("fragment-of-fewer")
        if fragment.total == partial.total and fragment.number in partial.parts:
            raise Dropped("repeated-fragment")

    def add(
        self,
        name: tuple[int, bool],
        message_id: int,
        fragment: EncryptedFragment,
        plain: bytes,
        now: float,
    ) -> tuple[int, bytes] | None:
        """Keep `plain` of an authentic fragment that has passed `check`.

        Return the type of the first payload and the chain when all is there, else None.

        Raises:
            Dropped: the message grows beyond `MOST_OCTETS`; nothing of it is kept.
        """
        partial = self._partial.get(name)
        if (
            partial is None
            or partial.message_id != message_id
            or fragment.total > partial.total  # RFC 7383 §2.6: cut anew, all over again
        ):
            partial = self._begin(name, message_id, fragment.total, now)
        if fragment.number == 1:
            partial.first = fragment.first
        partial.parts[fragment.number] = plain
        if sum(map(len, partial.parts.values())) > MOST_OCTETS:
            self.forget(name)
            raise Dropped("fragments-too-long")
        if len(partial.parts) < partial.total:
            return None
        self.forget(name)
        chain = b"".join(partial.parts[number] for number in range(1, partial.total + 1))
        return partial.first, chain

    def forget(self, name: tuple[int, bool]) -> None:
        """Keep nothing of a message."""
        partial = self._partial.pop(name, None)
        if partial is not None:
            partial.timer.cancel()

    def _begin(self, name: tuple[int, bool], message_id: int, total: int, now: float) -> _Partial:
        self.forget(name)
        if len(self._partial) >= MOST_MESSAGES:
            self.forget(next(iter(self._partial)))
        timer = self._timers.schedule(now + self._lifetime, lambda _: self.forget(name))
        partial = self._partial[name] = _Partial(message_id, total, timer)
        return partial
