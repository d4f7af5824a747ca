"""A mobile node's keys serve one start of its agent (design: numbers are not kept over a restart).

A second start would count from 1 again: with AES-GCM the same nonce for two packets, which gives
the key stream and the authentication key away.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from agents.config import ConfigError
from agents.keys import KeyedAssociation


def claim_keys(record: Path, keys: Iterable[KeyedAssociation], key_file: Path) -> None:
    """Note in `record` that these keys are in use; raise `ConfigError` if they were before."""
    digests = {hashlib.sha256(each.key).hexdigest() for each in keys}
    try:
        used = set(record.read_text(encoding="ascii").split())
    except FileNotFoundError:
        used = set()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{record}: cannot be read; remove it and write fresh keys") from error
    if digests & used:
        raise ConfigError(
            f"{key_file}: an earlier start of this mobile node used these keys; write fresh ones"
        )
    descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, "".join(f"{each}\n" for each in sorted(digests)).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
