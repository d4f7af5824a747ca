"""The incarnation counter: every start of an agent takes a new number, kept in a file.

A number used twice would repeat nonces under an SA that outlived the agent, so a file that cannot
be read or written gives no number at all, and the engine then uses no old SA.
"""

import os
from pathlib import Path


def next_incarnation(path: Path) -> int | None:
    """Return the stored number plus one, stored durably before; 1 without a file; None on doubt."""
    try:
        last = int(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        last = 0
    except (OSError, ValueError):
        return None
    if last < 0:
        return None
    try:
        _store(path, last + 1)
    except OSError:
        return None
    return last + 1


def _store(path: Path, number: int) -> None:
    """Replace the file atomically; it is on disk when this returns."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, b"%d\n" % number)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
