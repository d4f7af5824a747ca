"""Packets that wait while a peer is asked about their owner (design §10, rule 10)."""

from collections.abc import Callable, Hashable

from agents.core.timers import TimerQueue

MAX_KEYS = 256
"""Owners about whom questions may be open at once: a stranger cannot fill the memory."""


class HeldPackets:
    """Up to `most` packets an owner, for at most `time` seconds."""

    def __init__(
        self,
        timers: TimerQueue,
        most: int,
        time: float,
        given_up: Callable[[bytes, float], None],
    ) -> None:
        """`given_up(packet, now)` is told of each packet that found no answer."""
        self._timers = timers
        self._most = most
        self._time = time
        self._given_up = given_up
        self._held: dict[Hashable, list[bytes]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: Hashable) -> bool:
        """Whether packets wait for `key`: the question has been asked."""
        return key in self._held

    def hold(self, key: Hashable, packet: bytes, now: float) -> bool:
        """Keep `packet`; return whether it is the first for `key`, so that a question is due."""
        packets = self._held.get(key)
        if packets is None:
            if len(self._held) >= MAX_KEYS:
                self._given_up(packet, now)
                return False
            self._held[key] = [packet]
            self._timers.schedule(now + self._time, lambda then: self.give_up(key, then))
            return True
        if len(packets) < self._most:
            packets.append(packet)
        else:
            self._given_up(packet, now)
        return False

    def release(self, key: Hashable) -> list[bytes]:
        """Return, and forget, what waits for `key`."""
        return self._held.pop(key, [])

    def give_up(self, key: Hashable, now: float) -> None:
        """No answer, or a negative one."""
        for packet in self.release(key):
            self._given_up(packet, now)
