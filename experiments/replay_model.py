"""What sharing one SA comes to, by arithmetic alone: the model that `make replay` measures against.

Nothing here knows the agents' code. A receiver is what RFC 4303 §3.4.3 says it is: it remembers
`window` numbers below the highest one that it took, and takes a number once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence


def sharing_loss(rates: Sequence[float]) -> float:
    """Return the share lost by several senders with counters of their own and one window.

    Each number gets through once, whoever is first to use it; so what arrives is as much as the
    fastest sender has sent. ValueError unless somebody sends.
    """
    if not rates or min(rates) < 0 or sum(rates) == 0:
        raise ValueError(f"no rates to share: {list(rates)}")
    return 1 - max(rates) / sum(rates)


def taken(numbers: Iterable[int], seen: Iterable[int], window: int) -> int:
    """Return how many of `numbers`, in this order, a window takes that has taken `seen`."""
    known = set(seen)
    highest = max(known, default=0)
    count = 0
    for number in numbers:
        if number in known or highest - number >= window:
            continue
        known.add(number)
        highest = max(highest, number)
        count += 1
    return count


def silenced(far: int, counter: int, sent: int, window: int) -> int:
    """Return how many of a sender's next `sent` packets are lost once its window was pushed.

    Its window stands at `far`, its counter at `counter`: what it sends is left of the window until
    it comes within `window` numbers of `far`.
    """
    return min(max(far - window - counter, 0), sent)


def left_open(numbers: Iterable[int], floor: int) -> int:
    """Return how many recorded numbers the next home agent takes before a fresh packet (rule 5).

    They come in ascending order; its window knows of the other home agent's only the floor.
    """
    return sum(number > floor for number in numbers)


def floor_bound(rate: float, interval: float, delays: float) -> int:
    """Return the most that rule 5 leaves open, for `rate` packets/s and times in seconds."""
    return round(rate * (interval + delays))


def repetitions(used: Iterable[Hashable]) -> int:
    """Return how many of these were there before: all but the first of each."""
    count = 0
    distinct: set[Hashable] = set()
    for each in used:
        count += 1
        distinct.add(each)
    return count - len(distinct)


def counter_collisions(counters: Iterable[Sequence[int]]) -> int:
    """Return how often independent counters repeat a number: one sequence of counters an SA.

    Senders that count from 1 to c₁, c₂, … use max(c) different numbers, and sum(c) in all.
    """
    return sum(sum(each) - max(each, default=0) for each in counters)
