"""Secret files: pre-shared keys for IKEv2, each a TOML file of mode 0600.

Of mobile nodes every home agent holds the same secrets: whichever of them routing chooses has to
know the mobile node. A mobile node's file has its own alone.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from agents.config import ConfigError
from agents.private_files import read_private, write_private

SHORTEST = 16
"""Octets: a guessed pre-shared key gives every SA away (RFC 7296 §2.15)."""


def read_secret_file(path: Path) -> dict[IPv6Address, bytes]:
    """Return the secrets in `path` by home address; raise `ConfigError` with file, key and cure."""
    secrets: dict[IPv6Address, bytes] = {}
    document = read_private(path, "secret file")
    tables = document.get("secret")
    if set(document) != {"secret"} or not isinstance(tables, list):
        raise ConfigError(f"{path}: a secret file has [[secret]] tables, and nothing else")
    for number, table in enumerate(tables):
        home_address, secret = _read_one(f"{path}: secret[{number}]", table)
        if home_address in secrets:
            raise ConfigError(f"{path}: secret[{number}]: {home_address} stands here twice")
        secrets[home_address] = secret
    return secrets


def read_secret_files(paths: Iterable[Path]) -> dict[IPv6Address, bytes]:
    """Return the secrets of all files; raise `ConfigError`, also for an address in two of them."""
    secrets: dict[IPv6Address, bytes] = {}
    for path in paths:
        for home_address, secret in read_secret_file(path).items():
            if home_address in secrets:
                raise ConfigError(f"{path}: {home_address} stands in another secret file too")
            secrets[home_address] = secret
    return secrets


def write_secret_file(path: Path, secrets: Mapping[IPv6Address, bytes]) -> None:
    """Write `secrets` to `path`, readable by its owner alone, in one step."""
    lines: list[str] = []
    for home, secret in secrets.items():
        lines += ["[[secret]]", f'home_address = "{home}"', f'secret = "{secret.hex()}"', ""]
    write_private(path, lines)


def _read_one(where: str, table: object) -> tuple[IPv6Address, bytes]:
    if not isinstance(table, dict) or set(table) != {"home_address", "secret"}:
        raise ConfigError(f"{where}: has home_address and secret, and nothing else")
    home_address = _address(f"{where}.home_address", table["home_address"])
    return home_address, _secret(where, table["secret"])


def _address(where: str, value: object) -> IPv6Address:
    try:
        return IPv6Address(str(value))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}; correct it") from None


def _secret(where: str, value: Any) -> bytes:
    try:
        secret = bytes.fromhex(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{where}.secret: not hexadecimal; write it as hex digits") from None
    if len(secret) < SHORTEST:
        raise ConfigError(
            f"{where}.secret: {len(secret)} octets; use at least {SHORTEST} random ones"
        )
    return secret
