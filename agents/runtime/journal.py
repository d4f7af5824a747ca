"""The journal of a node: events.jsonl, one object an event, written as it happens."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Journal:
    """Appends events; each is one `write`, so a killed agent leaves whole lines behind."""

    def __init__(self, path: Path, node: str) -> None:
        """Open `path` for appending; raises `OSError`."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o644)
        self._node = node
        self.lost = 0
        """Events that could not be written (full disk)."""

    def write(self, kind: str, fields: Mapping[str, Any] | None = None) -> None:
        """Append one event: `t` (CLOCK_MONOTONIC, ns), `node`, `kind` and its own fields."""
        event = {"t": time.monotonic_ns(), "node": self._node, "kind": kind, **(fields or {})}
        try:
            line = json.dumps(event, separators=(",", ":"), default=str)
            os.write(self._descriptor, line.encode() + b"\n")
        except (OSError, ValueError):
            self.lost += 1

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
