"""Egress records: which numbers an agent has used, for the check of invariant I1 after a run.

A record has 24 octets, little-endian: time (CLOCK_MONOTONIC, ns, 64 bits), SPI (32), SID (16, zero
in draft mode), two octets of zero, counter (64).
"""

import os
import struct
import time
from pathlib import Path
from typing import Final

RECORD: Final = struct.Struct("<QIHxxQ")


class EgressFile:
    """Collects records and writes them after every round of the loop."""

    def __init__(self, path: Path) -> None:
        """Open `path` for appending; raises `OSError`."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._pending = bytearray()
        self.lost = 0
        """Records that could not be written."""

    def record(self, spi: int, sid: int, counter: int) -> None:
        """Note one packet."""
        self._pending += RECORD.pack(time.monotonic_ns(), spi, sid, counter)

    def flush(self, now: float) -> None:
        """Write what is pending, before the packets it tells of can be seen by anyone."""
        if not self._pending:
            return
        try:
            os.write(self._descriptor, self._pending)
        except OSError:
            self.lost += len(self._pending) // RECORD.size
        self._pending.clear()

    def close(self) -> None:
        """Write what is pending and close."""
        self.flush(0.0)
        os.close(self._descriptor)
