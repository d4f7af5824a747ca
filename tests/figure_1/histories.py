"""Invariants judged from what agents wrote: journals (events.jsonl) and egress records."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.core.binding_cache import newer_sequence
from agents.runtime.egress import RECORD
from tests.figure_1.lab import HOME_ADDRESS

Event = dict[str, Any]
REFRESH_NS = 300 * 1_000_000_000
"""A binding this old may be refreshed: three quarters of 420 s have nearly passed."""

EXPLAINS_NS = 3 * 1_000_000_000
KNOWN = ("binding-accepted", "binding-learnt")


@dataclass
class Egress:
    """The numbers that all agents have used, read on from where the last reading ended (I1)."""

    used: dict[tuple[int, int, int], str] = field(default_factory=dict)
    _read: dict[Path, int] = field(default_factory=dict)

    def check(self, logs: Path) -> int:
        """I1: no (SPI, SID, counter) twice, whoever sent it; return how many there are."""
        for path in sorted(logs.glob("*/egress.bin")):
            octets = path.read_bytes()
            whole = len(octets) // RECORD.size * RECORD.size
            start = self._read.get(path, 0)
            for _, spi, sid, counter in RECORD.iter_unpack(octets[start:whole]):
                number = spi, sid, counter
                assert number not in self.used, f"I1: {number} by {self.used[number]} and {path}"
                self.used[number] = path.parent.name
            self._read[path] = whole
        return len(self.used)


def read(path: Path) -> list[Event]:
    """Return a journal; a last line that a killed agent left unfinished is passed over."""
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1]]


def about(events: Iterable[Event]) -> Iterator[Event]:
    """Yield the events of the mobile node's home address, and agents' starts."""
    for each in events:
        if each.get("home_address", HOME_ADDRESS) == HOME_ADDRESS:
            yield each


def check_versions(name: str, events: list[Event], keyed: list[int]) -> None:
    """I5: within one registration instance and one incarnation nothing goes back.

    `keyed`: when the mobile node got new keys, which begins a new instance.
    """
    sequence: int | None = None
    epoch = 0
    instance = 0
    for each in about(events):
        now = sum(moment <= each["t"] for moment in keyed)
        if each["kind"] == "agent-started" or now != instance:
            sequence, epoch, instance = None, 0, now
        if each["kind"] == "binding-removed":
            sequence = None
        elif each["kind"] in KNOWN:
            if sequence is not None:
                assert not newer_sequence(sequence, each["sequence"]), f"I5: {name} {each}"
            sequence = each["sequence"]
        elif each["kind"] == "primary-changed":
            assert each["epoch"] >= epoch, f"I5: {name} went back from epoch {epoch}: {each}"
            epoch = each["epoch"]


def known(events: list[Event], since_ns: int) -> int | None:
    """Return the newest sequence number that this agent, since its start, has acknowledged."""
    found: int | None = None
    for each in about(events):
        if each["kind"] == "agent-started" or each["kind"] == "binding-removed":
            found = None
        elif each["kind"] in KNOWN and each["t"] >= since_ns:
            found = each["sequence"]
    return found


def check_updates_taken_once(journals: dict[str, list[Event]], since_ns: int) -> None:
    """I2: a Binding Update is accepted by one home agent, once; a second time is a replay."""
    taken: dict[int, str] = {}
    for name, events in journals.items():
        for each in about(events):
            if each["kind"] == "binding-accepted" and each["t"] >= since_ns:
                number = each["sequence"]
                assert number not in taken, f"I2: {name} took {each}, as did {taken[number]}"
                taken[number] = name


def check_registrations_explained(events: list[Event], since_ns: int) -> None:
    """I8: the mobile node registers because it moved, was started or has to refresh.

    No fault of a home agent is a reason.
    """
    moved = acknowledged = 0
    for each in events:
        if each["kind"] in ("moved", "agent-started"):
            moved = each["t"]
        elif each["kind"] == "registration-acknowledged":
            acknowledged = each["t"]
        elif each["kind"] == "registration-sent" and each["t"] >= since_ns:
            unanswered = acknowledged < moved
            recent = each["t"] - moved < EXPLAINS_NS
            aged = each["t"] - acknowledged > REFRESH_NS
            assert unanswered or recent or aged, f"I8: {each}"
