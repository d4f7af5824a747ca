"""Key files: security associations agreed on by hand, one TOML file of mode 0600 a pair.

They stand in for IKEv2 between a mobile node and its home agents, and between two home agents.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path

from agents.config import ConfigError
from agents.private_files import read_private, write_private
from agents.wire.transforms import Mode as SaMode
from agents.wire.transforms import Transform

__all__ = ["KeyedAssociation", "SaMode", "Transform", "read_key_file", "write_key_file"]

LOWEST_SPI = 256
"""SPI 0 is local, 1 to 255 are reserved (RFC 4303 §2.1)."""


@dataclass(frozen=True, slots=True)
class KeyedAssociation:
    """One direction of one SA: selectors (`source` → `destination`), SPI, transform and key."""

    spi: int
    source: IPv6Address
    destination: IPv6Address
    mode: SaMode
    transform: Transform
    key: bytes = field(repr=False)


def read_key_file(path: Path) -> tuple[KeyedAssociation, ...]:
    """Read the associations in `path`; raise `ConfigError` with file, key and cure."""
    document = read_private(path, "key file")
    unknown = set(document) - {"security_association"}
    if unknown:
        raise ConfigError(
            f"{path}: {min(unknown)}: unknown key; a key file has [[security_association]] only"
        )
    tables = document.get("security_association", [])
    if not isinstance(tables, list) or not tables:
        raise ConfigError(f"{path}: security_association: missing; add at least one")
    return tuple(_read_one(path, number, table) for number, table in enumerate(tables))


def write_key_file(path: Path, associations: Iterable[KeyedAssociation]) -> None:
    """Write `associations` to `path`, readable by its owner alone, in one step."""
    lines: list[str] = []
    for each in associations:
        lines += [
            "[[security_association]]",
            f"spi = {each.spi:#010x}",
            f'source = "{each.source}"',
            f'destination = "{each.destination}"',
            f'mode = "{each.mode}"',
            f'transform = "{each.transform}"',
            f'key = "{each.key.hex()}"',
            "",
        ]
    write_private(path, lines)


def _read_one(path: Path, number: int, table: object) -> KeyedAssociation:
    where = f"{path}: security_association[{number}]"
    names = {"spi", "source", "destination", "mode", "transform", "key"}
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table; write [[security_association]]")
    for name in sorted(set(table) - names):
        raise ConfigError(f"{where}.{name}: unknown key; known: {', '.join(sorted(names))}")
    for name in sorted(names - set(table)):
        raise ConfigError(f"{where}.{name}: missing; add it")
    spi, transform, key = table["spi"], table["transform"], table["key"]
    if type(spi) is not int or not LOWEST_SPI <= spi < 2**32:
        raise ConfigError(f"{where}.spi: not an SPI; use {LOWEST_SPI} to 4294967295")
    if transform not in tuple(Transform):
        raise ConfigError(f"{where}.transform: unknown; use {' or '.join(Transform)}")
    transform = Transform(transform)
    try:
        material = bytes.fromhex(key)
    except (TypeError, ValueError):
        raise ConfigError(f"{where}.key: not hexadecimal; write it as hex digits") from None
    if len(material) != transform.key_length:
        raise ConfigError(
            f"{where}.key: {len(material)} octets, but {transform} takes {transform.key_length}"
        )
    try:
        return KeyedAssociation(
            spi=spi,
            source=IPv6Address(table["source"]),
            destination=IPv6Address(table["destination"]),
            mode=SaMode(table["mode"]),
            transform=transform,
            key=material,
        )
    except ValueError as error:
        raise ConfigError(f"{where}: {error}; correct it") from None
