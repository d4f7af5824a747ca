"""Which home agent a mobile node would like to be served by (draft §2, "priority information").

One octet travels in the Priority option of a Binding Update, and from HA to HA in Binding
Information: the index of the home agent wished for (6 bits, 0: none) and how much it matters.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

INDEX_MASK = 0x3F
MAX_WEIGHT = 4
_WEIGHT_SHIFT = 6


@dataclass(frozen=True, slots=True)
class Wish:
    """A home agent's index, 0 for no wish, and a weight from 1 to 4."""

    home_agent: int
    weight: int = 1

    def to_octet(self) -> int:
        """Return the octet that travels; ValueError for an index or a weight out of range."""
        index, weight = self.home_agent, self.weight
        if not (0 <= index <= INDEX_MASK and 1 <= weight <= MAX_WEIGHT):
            raise ValueError(f"no wish for HA index {index} with weight {weight}")
        return weight - 1 << _WEIGHT_SHIFT | index if index else 0


def from_octet(octet: int) -> Wish:
    """Return the wish in an octet; every octet is one."""
    return Wish(octet & INDEX_MASK, (octet >> _WEIGHT_SHIFT) + 1)


class Wishes:
    """The weights of all mobile nodes' wishes by home agent, kept while bindings change."""

    def __init__(self, members: set[int]) -> None:
        """`members` are the indexes of all home agents: wishes for others count for nothing."""
        self.members = members
        self._weights: Counter[int] = Counter()

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((index, self._weights[index]) for index in sorted(self.members))

    def replace(self, before: int, after: int) -> None:
        """A mobile node's octet changed; 0 stands for none."""
        for octet, sign in ((before, -1), (after, 1)):
            wish = from_octet(octet)
            self._weights[wish.home_agent] += sign * wish.weight

    @property
    def favourite(self) -> int | None:
        """The index with the most weight, of equals the lowest; None where nobody wishes."""
        index, weight = max(self, key=lambda each: (each[1], -each[0]))
        return index if weight else None
