"""Files with keys or secrets in them: TOML or PEM, mode 0600, written in one step."""

import os
import stat
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agents.config import ConfigError


def read_private_octets(path: Path, what: str) -> bytes:
    """Return what is in `path`, which nobody else may read; raise `ConfigError`.

    `what` names the kind of file for a person: key file, secret file, private key.
    """
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ConfigError(f"{path}: others can read or write this {what}; chmod 600 it")
            return file.read()
    except OSError as error:
        raise ConfigError(
            f"{path}: {what} cannot be read ({error.strerror}); write one or correct its name"
        ) from error


def read_private(path: Path, what: str) -> dict[str, Any]:
    """Return the document in `path`, likewise; raise `ConfigError`."""
    octets = read_private_octets(path, what)
    try:
        return tomllib.loads(octets.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # The decoder quotes no values, so no key can leak here.
        raise ConfigError(f"{path}: is not TOML ({error}); correct that line") from error


def write_private(path: Path, lines: Iterable[str]) -> None:
    """Write `lines` to `path`, readable by its owner alone; raises `OSError`."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))
    temporary.replace(path)
