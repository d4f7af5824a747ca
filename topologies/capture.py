"""Packet captures of nodes, by dumpcap, all interfaces of a node in one pcapng file."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from topologies.nodes import SixNode

FETCH_SECONDS = 0.25


class CaptureError(Exception):
    """No capture; one line."""


class Capture:
    """One running dumpcap on a node."""

    def __init__(self, node: SixNode, path: Path) -> None:
        """Start to capture into ``path``; returns when packets are being taken."""
        if shutil.which("dumpcap") is None:
            raise CaptureError("dumpcap is missing: `make setup` installs it (package tshark)")
        self.path = path
        self._process: subprocess.Popen[Any] = node.spawn(
            ["dumpcap", "-q", "-i", "any", "-w", str(path)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        said: list[str] = []
        assert self._process.stderr is not None
        for line in self._process.stderr:
            said.append(line.strip())
            if line.startswith("File:"):  # dumpcap says this once the file is open
                return
        raise CaptureError(f"{node.name}: dumpcap: {' '.join(said)}")

    def stop(self, timeout: float = 5.0) -> None:
        """End the capture; what was taken is on disk afterwards."""
        # dumpcap fetches packets every 250 ms, and leaves behind what it has not fetched by then.
        # It tells of no fetch that one could await.
        time.sleep(2 * FETCH_SECONDS)
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout)
