"""The agents' egress records (`agents/runtime/egress.py`): who used which number on which SA."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.runtime.egress import RECORD
from experiments.data import DataError
from experiments.replay_model import counter_collisions, repetitions
from experiments.statistics import group


@dataclass(frozen=True, slots=True)
class Sent:
    """One packet sealed. `sid` is 0 in the draft modes."""

    spi: int
    sid: int
    counter: int


def read_egress(path: Path) -> list[Sent]:
    """Return the records of one agent; DataError (one line) for a file that is none."""
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    if len(octets) % RECORD.size:
        raise DataError(f"{path}: not a whole number of records")
    return [Sent(spi, sid, counter) for _, spi, sid, counter in RECORD.iter_unpack(octets)]


@dataclass(frozen=True, slots=True)
class Numbers:
    """What several senders on shared SAs used. Each SPI has a key of its own."""

    packets: int
    repeated_numbers: int
    """(SPI, sequence number) used before, by whomever."""
    repeated_ivs: int
    """(SPI, SID, counter) used before: with AES-GCM here these make the IV, and so the nonce."""
    model: int
    """Repetitions that counters which know nothing of one another must come to."""


def count_numbers(senders: Mapping[str, Sequence[Sent]], spis: Iterable[int]) -> Numbers:
    """Count what repeats among all senders on these SPIs."""
    wanted = set(spis)
    everything = [
        (name, each) for name, sent in senders.items() for each in sent if each.spi in wanted
    ]
    highest: dict[int, dict[str, int]] = {spi: {} for spi in wanted}
    for name, each in everything:
        own = highest[each.spi]
        own[name] = max(own.get(name, 0), each.counter)
    return Numbers(
        packets=len(everything),
        repeated_numbers=repetitions((e.spi, e.counter & 0xFFFFFFFF) for _, e in everything),
        repeated_ivs=repetitions((e.spi, e.sid, e.counter) for _, e in everything),
        model=counter_collisions(list(own.values()) for own in highest.values()),
    )


def spis_of(senders: Mapping[str, Sequence[Sent]], lowest: int) -> list[int]:
    """Return the SPIs that were used, from `lowest` on."""
    found = group((each.spi, None) for sent in senders.values() for each in sent)
    return sorted(spi for spi in found if spi >= lowest)
