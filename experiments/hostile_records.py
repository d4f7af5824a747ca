"""What a home agent that has turned notes of its deeds: one fixed record each, in one file.

Records follow one another in the order of time; times are CLOCK_MONOTONIC, in nanoseconds. What
came of a deed is for others to tell: whoever accepted it wrote that down itself. Only of what it
draws the hostile home agent is the one who knows.
"""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from experiments.schema import DataError

FILE = "hostile.bin"
RECORD = struct.Struct("<QBBHI")  # time, what, which, peer or flow, number


class Deed(IntEnum):
    """What was done, or came."""

    TURNED = 1
    UPDATE = 2
    """A forged inter-HA message left; which: its form, peer: the index of who was to believe it."""
    TUNNEL = 3
    """A forged tunnel packet left; which: its form, peer: 0, number: as the packet has it."""
    IKE = 4
    """An IKE_SA_INIT of its own left; which: 1 to a mobile node, 0 to a home agent (peer)."""
    DRAWN = 5
    """A packet of somebody else came, and went no further; which: see `Drawn`."""
    STOPPED = 6


class Drawn(IntEnum):
    """Whose packet it was."""

    CORRESPONDENT = 1
    MOBILE = 2
    """ESP to the home agent address: payload or a Binding Update."""
    KEY_EXCHANGE = 3
    """IKE to the home agent address."""


@dataclass(frozen=True, slots=True)
class Record:
    """One deed."""

    time_ns: int
    deed: Deed
    which: int = 0
    peer: int = 0
    number: int = 0


class RecordFile:
    """Collects records; `flush` writes them."""

    def __init__(self, path: Path) -> None:
        """Open `path` for appending; raises `OSError`."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._pending = bytearray()

    def note(self, deed: Deed, which: int = 0, peer: int = 0, number: int = 0) -> None:
        """Note one deed, now."""
        self._pending += RECORD.pack(time.monotonic_ns(), deed, which, peer, number & 0xFFFF_FFFF)

    def flush(self) -> None:
        """Write what is pending; raises `OSError`."""
        if self._pending:
            os.write(self._descriptor, self._pending)
            self._pending.clear()


def read_records(path: Path) -> list[Record]:
    """Return the records of a file; DataError (one line) for a file that is none."""
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    if len(octets) % RECORD.size:
        raise DataError(f"{path}: not a whole number of records")
    try:
        return [
            Record(when, Deed(deed), which, peer, number)
            for when, deed, which, peer, number in RECORD.iter_unpack(octets)
        ]
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
