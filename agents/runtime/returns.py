"""What one life of a home agent leaves to the next: when it began to advertise, the how manieth.

A file that is missing or says nonsense is no history: the next return then does not wait.
"""

import os
from pathlib import Path

from agents.core.hold_down import Advertised


def read_returns(path: Path) -> Advertised | None:
    """Return what `write_returns` left, None without it."""
    try:
        since, returns = path.read_text(encoding="ascii").split()
        found = Advertised(float(since), int(returns))
    except (OSError, ValueError):
        return None
    return found if found.returns >= 0 else None


def write_returns(path: Path, last: Advertised) -> bool:
    """Replace the file; return whether that worked. Not synced: what a crash loses does no harm."""
    temporary = path.with_name(path.name + ".new")
    try:
        temporary.write_text(f"{last.since!r} {last.returns}\n", encoding="ascii")
        os.replace(temporary, path)
    except OSError:
        return False
    return True
