"""Counters by reason: what was received, sent and dropped, and why."""

from collections import Counter


class Counters(Counter[str]):
    """Named counts; a name that was never counted reads as 0."""

    def drop(self, reason: str) -> None:
        """Count one dropped packet under `dropped.<reason>`."""
        self[f"dropped.{reason}"] += 1


class Dropped(Exception):  # noqa: N818 - an outcome of processing, not an error of the program
    """A packet is dropped; `reason` is a short slug that becomes a counter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
