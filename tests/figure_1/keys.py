"""A search for key material in what a run leaves behind (invariant I7)."""

import base64
from pathlib import Path

from experiments.key_search import KeySearch


def notations(key: bytes) -> list[bytes]:
    """Return ways in which a key may be written down."""
    short = key[:16]  # of GCM's 20 octets the last 4 are salt
    texts: list[str] = []
    for each in (key, short):
        texts += [each.hex(), each.hex().upper(), each.hex(":"), each.hex(" ")]
    encoded = base64.b64encode(key[:15])  # 15 octets: no padding, nothing of what follows
    return [key, short, repr(short)[2:-1].encode(), encoded, *(t.encode() for t in texts)]


def found_in(octets: bytes, keys: list[bytes]) -> bool:
    """Whether a key is in `octets`, or anybody's private key as PEM has it."""
    return KeySearch(keys).found_in(octets)


def files_with_keys(folder: Path, keys: list[bytes]) -> list[Path]:
    assert any(path.is_file() for path in folder.rglob("*"))
    return KeySearch(keys).files(folder)
