"""Seeded mutation of octet strings: the same seed gives the same inputs."""

import random
from collections.abc import Sequence

INTERESTING = (0, 1, 2, 7, 8, 16, 18, 41, 43, 44, 50, 58, 59, 60, 0x7F, 0x80, 0xFE, 0xFF)
LONGEST = 2100


def mutated(chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Return a sample with one to six changes; now and then octets of no sample at all."""
    if chance.random() < 0.05:
        return chance.randbytes(chance.randrange(200))
    octets = bytearray(chance.choice(corpus))
    for _ in range(1 + int(chance.expovariate(0.8)) % 6):
        chance.choice(CHANGES)(chance, octets, corpus)
    return bytes(octets[:LONGEST])


def _place(chance: random.Random, octets: bytearray) -> int:
    return chance.randrange(len(octets)) if octets else 0


def _flip(chance: random.Random, octets: bytearray, corpus: Sequence[bytes]) -> None:
    if octets:
        octets[_place(chance, octets)] ^= 1 << chance.randrange(8)


def _set(chance: random.Random, octets: bytearray, corpus: Sequence[bytes]) -> None:
    if octets:
        octets[_place(chance, octets)] = chance.choice(INTERESTING)


def _random(chance: random.Random, octets: bytearray, corpus: Sequence[bytes]) -> None:
    if octets:
        octets[_place(chance, octets)] = chance.randrange(256)


def _truncate(chance: random.Random, octets: bytearray, corpus: Sequence[bytes]) -> None:
    del octets[_place(chance, octets) :]


def _extend(chance: random.Random, octets: bytearray, corpus: Sequence[bytes]) -> None:
    octets += chance.randbytes(chance.randrange(1, 24))


def _delete(chance: random.Random, octets: bytearray, corpus: Sequence[bytes]) -> None:
    start = _place(chance, octets)
    del octets[start : start + chance.randrange(1, 17)]


def _repeat(chance: random.Random, octets: bytearray, corpus: Sequence[bytes]) -> None:
    start = _place(chance, octets)
    piece = octets[start : start + chance.randrange(1, 41)]
    octets[start:start] = piece


def _splice(chance: random.Random, octets: bytearray, corpus: Sequence[bytes]) -> None:
    other = chance.choice(corpus)
    start, end = sorted(chance.randrange(len(other) + 1) for _ in range(2))
    place = _place(chance, octets)
    octets[place : place + chance.choice((0, end - start))] = other[start:end]


CHANGES = (_flip, _set, _set, _random, _random, _truncate, _extend, _delete, _repeat, _splice)
