"""Fuzzing of every parser and receiver: octets made from valid samples, from a seed.

A failing input names its target and its octets: it becomes a line of `corpus/regressions.txt`.
"""

import os
import random
from pathlib import Path

import pytest
from fuzz_targets import TARGETS
from mutation import mutated

REGRESSIONS = Path(__file__).parent / "corpus" / "regressions.txt"
SHORT = 300
LONG = int(os.environ.get("FUZZ_INPUTS", "1000000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))


def regressions() -> list[tuple[str, bytes]]:
    rows = [line.split(" | ") for line in REGRESSIONS.read_text().splitlines()]
    return [(target, bytes.fromhex(octets)) for target, octets, _ in rows]


def fuzz(name: str, inputs: int, seed: int) -> int:
    """Give a target that many inputs; return how many."""
    target, chance = TARGETS[name], random.Random(f"{name} {seed}")
    corpus, run = target.corpus(), target.make()
    assert corpus
    for _ in range(inputs):
        octets = mutated(chance, corpus)
        try:
            run(octets)
        except Exception as error:
            raise AssertionError(f"{name} | {octets.hex()} | {error!r}") from error
    return inputs


@pytest.mark.parametrize("name", TARGETS)
def test_some_inputs(name: str) -> None:
    fuzz(name, SHORT, 0)


@pytest.mark.parametrize(("name", "octets"), regressions())
def test_inputs_that_once_went_wrong(name: str, octets: bytes) -> None:
    TARGETS[name].make()(octets)


def test_the_same_seed_gives_the_same_inputs() -> None:
    corpus = TARGETS["mobility"].corpus()
    one, other = random.Random(5), random.Random(5)
    assert [mutated(one, corpus) for _ in range(100)] == [
        mutated(other, corpus) for _ in range(100)
    ]


@pytest.mark.long
@pytest.mark.timeout(0)
def test_very_many_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    """FUZZ_INPUTS in all, shared out among the targets; the counts are printed."""
    shares = sum(each.share for each in TARGETS.values())
    counts = {
        name: fuzz(name, -(-LONG * target.share // shares), SEED)
        for name, target in TARGETS.items()
    }
    with capsys.disabled():
        for name, count in counts.items():
            print(f"\n{count:>9,} {name}", end="")
        print(f"\n{sum(counts.values()):>9,} inputs in all")
    assert sum(counts.values()) >= LONG
