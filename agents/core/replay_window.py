"""Anti-replay: one sliding window, and the sets of windows that several senders on one SA need.

RFC 4303 §3.4.3 gives one window an SA. With several senders it is one window a sender: told apart
by ORIGIN_IP as in draft §3.1, or by the sender id (SID) in the IV (RFC 6054), which the ICV covers.
"""

from collections.abc import Collection, Hashable
from typing import ClassVar

from agents.core.counters import Dropped

WINDOW_SIZE = 1024
"""Numbers that a window remembers; RFC 4303 §3.4.3 asks for 64 and lets the receiver choose."""

MAX_ORIGINS = 16
"""Draft mode knows no list of origins: windows for at most so many (design §10, rule 6)."""

INCARNATION_BITS = 10
"""The lower bits of a SID count the starts of its home agent (design §10, rule 3)."""

INCARNATION_MASK = (1 << INCARNATION_BITS) - 1


class ReplayWindow:
    """A sliding window over 32-bit sequence numbers, as a bit field below its right edge."""

    __slots__ = ("_mask", "_size", "highest", "seen")

    def __init__(self, size: int = WINDOW_SIZE) -> None:
        self.highest = 0
        self.seen = 0  # bit i: number highest - i was accepted
        self._size = size
        self._mask = (1 << size) - 1

    def check(self, number: int) -> None:
        """Raise `Dropped` if `number` cannot be new; cheap, before the ICV is verified."""
        behind = self.highest - number
        if behind < 0:
            return
        if number == 0:
            raise Dropped("sequence-zero")
        if behind >= self._size:
            raise Dropped("left-of-window")
        if self.seen >> behind & 1:
            raise Dropped("replay")

    def accept(self, number: int) -> None:
        """Mark `number`, whose packet is authentic and passed `check`, as seen."""
        ahead = number - self.highest
        if ahead > 0:
            # A far jump must not shift by four billion bits.
            self.seen = (self.seen << ahead | 1) & self._mask if ahead < self._size else 1
            self.highest = number
        else:
            self.seen |= 1 << -ahead

    def raise_floor(self, floor: int) -> None:
        """Treat every number up to `floor` as seen (design §10, rule 5)."""
        if floor >= self.highest:
            self.highest = floor
            self.seen = self._mask
        else:
            above = self.highest - floor
            if above < self._size:
                self.seen |= self._mask & ~((1 << above) - 1)


class SingleWindow:
    """One window for every sender: RFC 4303 as it stands, and naive sharing (draft §3.1)."""

    by_sid: ClassVar[bool] = False
    """Whether the SID in the IV says which window a packet meets."""

    def __init__(self, size: int = WINDOW_SIZE) -> None:
        self.window = ReplayWindow(size)

    def find(self, sender: Hashable) -> ReplayWindow:
        """Return the window for `sender`."""
        return self.window

    def keep(self, sender: Hashable, window: ReplayWindow) -> None:
        """Nothing to keep: the one window is kept already."""

    @property
    def highest(self) -> int:
        """The highest number that was received."""
        return self.window.highest


class MeantWindows(SingleWindow):
    """At a home agent, where the SID in a mobile node's IV names the one that is meant (rule 11).

    SID 0 is the HA address: its `window` moves between home agents, and floors with it (rule 5).
    `own` is for packets to this home agent's own address. Nobody else ever takes these, and a
    restart changes the SID: it needs no floors.
    """

    by_sid = True

    def __init__(self, window: ReplayWindow, own_sid: int) -> None:
        self.window = window
        self.own = ReplayWindow()
        self._own_sid = own_sid

    def find(self, sender: Hashable) -> ReplayWindow:
        """Return the window for the SID `sender`; raise `Dropped` for that of another."""
        if sender == 0:
            return self.window
        if sender == self._own_sid:
            return self.own
        assert isinstance(sender, int)
        earlier = sender >> INCARNATION_BITS == self._own_sid >> INCARNATION_BITS
        raise Dropped("meant-for-another-incarnation" if earlier else "meant-for-another")

    @property
    def highest(self) -> int:
        """The highest number that was received, by either address."""
        return max(self.window.highest, self.own.highest)


class OriginWindows:
    """Draft §3.1: a window for each ORIGIN_IP. Unauthenticated, as the draft has it."""

    by_sid: ClassVar[bool] = False

    def __init__(self, size: int = WINDOW_SIZE, most: int = MAX_ORIGINS) -> None:
        self.windows: dict[Hashable, ReplayWindow] = {}
        self._size = size
        self._most = most

    def find(self, sender: Hashable) -> ReplayWindow:
        """Return the window for origin `sender`; a new one is kept only by `keep`."""
        window = self.windows.get(sender)
        if window is None:
            if len(self.windows) >= self._most:
                raise Dropped("too-many-origins")
            window = ReplayWindow(self._size)
        return window

    def keep(self, sender: Hashable, window: ReplayWindow) -> None:
        """Keep the window of an origin from which an authentic packet came."""
        self.windows.setdefault(sender, window)


class SidWindows:
    """A window for each SID, the newest incarnation of each home agent alone (rule 6)."""

    by_sid: ClassVar[bool] = True

    def __init__(self, size: int = WINDOW_SIZE) -> None:
        self.windows: dict[int, tuple[int, ReplayWindow]] = {}  # HA index → incarnation, window
        self.allowed: Collection[int] | None = None  # None: any index that the ICV vouches for
        self._size = size

    def find(self, sender: Hashable) -> ReplayWindow:
        """Return the window for the SID `sender`; a new one is kept only by `keep`."""
        assert isinstance(sender, int)
        index, incarnation = sender >> INCARNATION_BITS, sender & INCARNATION_MASK
        if self.allowed is not None and index not in self.allowed:
            # Its window stays: were it forgotten, a return to the table would open it to replays.
            raise Dropped("unknown-sid")
        held = self.windows.get(index)
        if held is not None:
            if held[0] == incarnation:
                return held[1]
            if incarnation < held[0]:
                raise Dropped("old-incarnation")
        return ReplayWindow(self._size)

    def keep(self, sender: Hashable, window: ReplayWindow) -> None:
        """Keep the window of a SID that the ICV vouched for; it closes lower incarnations."""
        assert isinstance(sender, int)
        index, incarnation = sender >> INCARNATION_BITS, sender & INCARNATION_MASK
        held = self.windows.get(index)
        if held is None or held[0] < incarnation:
            self.windows[index] = (incarnation, window)


Windows = SingleWindow | OriginWindows | SidWindows


def sender_id(index: int, incarnation: int) -> int:
    """Return the 16-bit SID: HA index in the upper 6 bits, incarnation in the lower 10."""
    return index << INCARNATION_BITS | incarnation
