"""Secret files: pre-shared keys for IKEv2, each a TOML file of mode 0600.

Of mobile nodes every home agent holds the same secrets: whichever of them routing chooses has to
know the mobile node. A mobile node's file has its own alone. Of a pair of home agents both read the
same file, or copies of it.
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
    for number, table in enumerate(_read_tables(path)):
        home_address, secret = _read_one(f"{path}: secret[{number}]", table)
        if home_address in secrets:
            raise ConfigError(f"{path}: secret[{number}]: {home_address} stands here twice")
        secrets[home_address] = secret
    return secrets


def read_pair_secret(path: Path, own: IPv6Address, other: IPv6Address) -> bytes:
    """Return the secret of two home agents from a file of one pair or many; raise `ConfigError`."""
    found: list[bytes] = []
    for number, table in enumerate(_read_tables(path)):
        pair, secret = _read_pair(f"{path}: secret[{number}]", table)
        if pair == {own, other}:
            found.append(secret)
    if len(found) != 1:
        raise ConfigError(
            f"{path}: {len(found) or 'no'} secrets for {own} and {other}; one is needed"
        )
    return found[0]


def _read_tables(path: Path) -> list[object]:
    """Return the [[secret]] tables of a file that nobody else can read; raise `ConfigError`."""
    document = read_private(path, "secret file")
    tables = document.get("secret")
    if set(document) != {"secret"} or not isinstance(tables, list):
        raise ConfigError(f"{path}: a secret file has [[secret]] tables, and nothing else")
    return tables


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
    _write(path, [(f'home_address = "{home}"', secret) for home, secret in secrets.items()])


def write_pair_secret(path: Path, one: IPv6Address, other: IPv6Address, secret: bytes) -> None:
    """Write the secret of two home agents to `path`, readable by its owner alone, in one step."""
    _write(path, [(f'home_agents = ["{one}", "{other}"]', secret)])


def _write(path: Path, secrets: Iterable[tuple[str, bytes]]) -> None:
    lines: list[str] = []
    for whose, secret in secrets:
        lines += ["[[secret]]", whose, f'secret = "{secret.hex()}"', ""]
    write_private(path, lines)


def _read_one(where: str, table: object) -> tuple[IPv6Address, bytes]:
    if not isinstance(table, dict) or set(table) != {"home_address", "secret"}:
        raise ConfigError(f"{where}: has home_address and secret, and nothing else")
    home_address = _address(f"{where}.home_address", table["home_address"])
    return home_address, _secret(where, table["secret"])


def _read_pair(where: str, table: object) -> tuple[set[IPv6Address], bytes]:
    if not isinstance(table, dict) or set(table) != {"home_agents", "secret"}:
        raise ConfigError(f"{where}: has home_agents and secret, and nothing else")
    ends = table["home_agents"]
    if not isinstance(ends, list) or len(ends) != 2:
        raise ConfigError(f"{where}.home_agents: not two addresses; name the two own addresses")
    pair = {_address(f"{where}.home_agents", each) for each in ends}
    return pair, _secret(where, table["secret"])


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
