"""One direction of a delayed link: frames in flight. No I/O, no clock; times in nanoseconds."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import asdict, dataclass

LIMIT_OCTETS = 32 << 20
"""What may be in flight: at 100 ms this is 2.5 Gbit/s."""

FRAME_COST = 128
"""What a frame takes beside its octets: so that small ones are bounded too."""


@dataclass(slots=True)
class Counts:
    """What became of the frames of one direction."""

    passed: int = 0
    lost: int = 0
    """Drawn: the link's own loss."""
    overflowed: int = 0
    """The bounded queue was full."""
    refused: int = 0
    """The far end was down, or gone."""
    cut: int = 0
    """In flight when the link lost its carrier."""

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self)


class DelayQueue:
    """Frames leave in the order in which they came, each ``delay_ns`` later, or are lost.

    ``loss`` is the fraction lost, drawn from a generator seeded with ``seed``: the same seed loses
    the same frames.
    """

    def __init__(
        self, delay_ns: int, loss: float = 0.0, seed: str = "", limit: int = LIMIT_OCTETS
    ) -> None:
        self._delay, self._loss, self._limit = delay_ns, loss, limit
        self._draw = random.Random(seed).random
        self._frames: deque[tuple[int, bytes]] = deque()
        self._octets = 0
        self.counts = Counts()

    def put(self, frame: bytes, now: int) -> bool:
        """Take a frame; return whether it is now the first in flight."""
        if self._loss and self._draw() < self._loss:
            self.counts.lost += 1
            return False
        octets = self._octets + len(frame) + FRAME_COST
        if octets > self._limit:
            self.counts.overflowed += 1
            return False
        self._octets = octets
        self._frames.append((now + self._delay, frame))
        return len(self._frames) == 1

    @property
    def due(self) -> int | None:
        """When the first frame in flight arrives; None when there is none."""
        return self._frames[0][0] if self._frames else None

    def arrived(self, now: int) -> list[bytes]:
        """Return the frames that arrive until now."""
        frames = self._frames
        found = []
        while frames and frames[0][0] <= now:
            frame = frames.popleft()[1]
            self._octets -= len(frame) + FRAME_COST
            found.append(frame)
        return found

    def clear(self) -> None:
        """Lose what is in flight."""
        self.counts.cut += len(self._frames)
        self._frames.clear()
        self._octets = 0
