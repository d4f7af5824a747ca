"""Who is isolated: it outlives the agent, in a file beside it (design §10, rule 13).

A file that cannot be read is an error, not an empty list: who was put out must not come back by a
restart of somebody else.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from agents.config import ConfigError


def read_isolated(path: Path) -> dict[int, int]:
    """Return index → incarnation; nothing without a file. Raises `ConfigError`."""
    try:
        found = json.loads(path.read_text(encoding="ascii"))
        return {int(index): int(incarnation) for index, incarnation in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}); remove it if nobody is isolated"
        ) from error


def write_isolated(path: Path, isolated: Mapping[int, int]) -> bool:
    """Replace the file; return whether it is on disk."""
    temporary = path.with_name(path.name + ".new")
    try:
        with temporary.open("w", encoding="ascii") as file:
            file.write(json.dumps(dict(isolated)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        return False
    return True
