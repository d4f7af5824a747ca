"""Replay windows against a brute-force model, and the sets of windows that senders share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.core.counters import Dropped
from agents.core.replay_window import (
    MAX_ORIGINS,
    OriginWindows,
    ReplayWindow,
    SidWindows,
    sender_id,
)


class Model:
    """What a window of `size` is, told with a set of all numbers ever seen."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen: set[int] = set()
        self.highest = 0
        self.floor = 0

    def fresh(self, number: int) -> bool:
        inside = number > self.highest - self.size
        return number > self.floor and inside and number not in self.seen

    def accept(self, number: int) -> None:
        self.seen.add(number)
        self.highest = max(self.highest, number)

    def raise_floor(self, floor: int) -> None:
        self.floor = max(self.floor, floor)
        self.highest = max(self.highest, floor)


def is_fresh(window: ReplayWindow, number: int) -> bool:
    try:
        window.check(number)
    except Dropped:
        return False
    return True


near = st.integers(0, 300)
far = st.integers(0, 2**32 - 1)


@given(
    st.sampled_from([1, 32, 64, 100]),
    st.lists(st.tuples(st.sampled_from(["packet", "packet", "packet", "floor"]), near | far)),
)
def test_window_is_its_model(size: int, steps: list[tuple[str, int]]) -> None:
    window, model = ReplayWindow(size), Model(size)
    for kind, number in steps:
        if kind == "floor":
            window.raise_floor(number)
            model.raise_floor(number)
            continue
        assert is_fresh(window, number) == model.fresh(number)
        if model.fresh(number):
            window.accept(number)
            model.accept(number)
        assert window.highest == model.highest


def test_reasons() -> None:
    window = ReplayWindow(64)
    window.accept(100)
    for number, reason in ((100, "replay"), (36, "left-of-window"), (0, "sequence-zero")):
        with pytest.raises(Dropped) as caught:
            window.check(number)
        assert caught.value.reason == reason
    window.check(37)
    window.check(2**32 - 1)


def test_origins_are_bounded_and_only_kept_once_authentic() -> None:
    windows = OriginWindows()
    for number in range(1000):
        windows.find(f"forged {number}")  # never authentic: no state
    assert not windows.windows
    for number in range(MAX_ORIGINS):
        windows.keep(number, windows.find(number))
    with pytest.raises(Dropped, match="too-many-origins"):
        windows.find("one more")
    assert windows.find(3) is windows.find(3)


def test_higher_incarnation_closes_the_lower() -> None:
    windows = SidWindows()
    first, second = sender_id(5, 1), sender_id(5, 2)
    windows.keep(first, windows.find(first))
    windows.find(first).accept(100_000)
    fresh = windows.find(second)
    fresh.check(1)
    # Not authentic yet: the old one still stands.
    windows.find(first).check(100_001)
    fresh.accept(1)
    windows.keep(second, fresh)
    with pytest.raises(Dropped, match="old-incarnation"):
        windows.find(first)


def test_sid_of_a_stranger_after_the_table() -> None:
    windows = SidWindows()
    windows.allowed = frozenset({1, 2})
    windows.find(sender_id(2, 9))
    with pytest.raises(Dropped, match="unknown-sid"):
        windows.find(sender_id(3, 1))
