"""No key material in what a run leaves behind (invariant I7): logs, metadata, tables, plots.

A capture's `esp_sa`, which was asked for and is for its owner alone, is the one exception.
"""

from __future__ import annotations

import base64
import re
import string
from collections.abc import Iterable, Iterator
from pathlib import Path

ASKED_FOR = ("esp_sa",)
WINDOW = 16
"""Octets of a key that are enough to know it by; of AES-GCM's 20 the last 4 are salt."""
_ENCODED_WINDOW = 15
"""Octets that base64 writes without regard to what follows."""

_HEXADECIMAL = b"0123456789abcdefABCDEF: "
_BASE64 = (string.ascii_letters + string.digits + "+/").encode()
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


class KeySearch:
    """A search for keys of 16 octets or more: plain, escaped, in hexadecimal, in base64."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._plain = {key[:WINDOW] for key in keys}
        self._ascii = {key for key in self._plain if key.isascii()}
        self._escaped = {repr(key)[2:-1].encode() for key in self._plain}
        self._hexadecimal = {key.hex().encode() for key in self._plain}
        self._base64 = {base64.b64encode(key[:_ENCODED_WINDOW]) for key in self._plain}

    def found_in(self, octets: bytes) -> bool:
        """Whether any of the keys, or any private key's PEM, stands in `octets`."""
        return (
            _PRIVATE_KEY.search(octets) is not None
            or self._in_hexadecimal(octets)
            or self._in_base64(octets)
            or any(key in octets for key in (self._ascii if octets.isascii() else self._plain))
            or (b"\\x" in octets and any(key in octets for key in self._escaped))
        )

    def _in_hexadecimal(self, octets: bytes) -> bool:
        length = 2 * WINDOW
        for run in _runs(octets, _HEXADECIMAL, length):
            digits = run.translate(None, b": ").lower()
            if not _windows(digits, length).isdisjoint(self._hexadecimal):
                return True
        return False

    def _in_base64(self, octets: bytes) -> bool:
        length = _ENCODED_WINDOW // 3 * 4
        return any(
            not _windows(run, length).isdisjoint(self._base64)
            for run in _runs(octets, _BASE64, length)
        )

    def files(self, folder: Path) -> list[Path]:
        """Return the files below `folder` in which a key stands that nobody asked for."""
        return [
            path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in ASKED_FOR and self.found_in(path.read_bytes())
        ]


def _runs(octets: bytes, alphabet: bytes, shortest: int) -> Iterator[bytes]:
    """Yield the runs of `alphabet` that are long enough; fast where there are none."""
    masked = octets.translate(bytes(each in alphabet for each in range(256)))
    start = masked.find(b"\1" * shortest)
    while start >= 0:
        end = masked.find(b"\0", start)
        end = end if end >= 0 else len(masked)
        yield octets[start:end]
        start = masked.find(b"\1" * shortest, end)


def _windows(run: bytes, length: int) -> set[bytes]:
    return {run[start : start + length] for start in range(len(run) - length + 1)}
