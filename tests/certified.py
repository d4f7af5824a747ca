"""An operator's authority for tests in memory: made once, its files in a directory that goes."""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from agents.config import CredentialFiles
from agents.core.ike.credentials import Credentials
from agents.credential_files import read_credentials
from topologies.certification import Authority

HOME = IPv6Network("fd00:192:168:1::/64")
ANYCAST = IPv6Address("fd00:192:168:1::254")

_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def directory() -> Path:
    """Return a directory that lasts as long as the process."""
    made = tempfile.TemporaryDirectory(prefix="certified-")
    _KEPT.append(made)
    return Path(made.name)


def authority(name: str = "operator") -> Authority:
    """Return the authority of a name; one that revokes is to be made apart."""
    return _authority(name)


@cache
def _authority(name: str) -> Authority:
    return Authority(directory(), name)


@cache
def home_agent(index: int, operator: str = "operator") -> CredentialFiles:
    address = IPv6Address(f"fd00:1:{index}::{index}")
    return authority(operator).home_agent(f"HA{index}", index, address, ANYCAST, HOME)


@cache
def mobile_node(home_address: IPv6Address, operator: str = "operator") -> CredentialFiles:
    return authority(operator).mobile_node(f"mn-{home_address}", home_address)


def today() -> datetime:
    return datetime.now(UTC)


def credentials(files: CredentialFiles, at: Callable[[], datetime] = today) -> Credentials:
    """Return fresh credentials: what one end learns of revocations is its own."""
    return read_credentials(files, at)
