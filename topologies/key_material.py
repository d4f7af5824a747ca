"""The keys that networks of this process have used: files that nobody else may read, SAs held.

Collected before a network ends, since its keys end with it, so that whoever keeps what a run left
behind can be sure that no key is in it (invariant I7).
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agents.keys import read_key_file
from topologies.agents import Agent, AgentError, Agents

SHORTEST = 16
"""Octets: what is shorter is no key of ours."""

PRIVATE_KEY = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL
)
_HEXADECIMAL = re.compile(rb'"((?:[0-9a-fA-F]{2}){16,})"')

used: set[bytes] = set()
"""Of all networks that this process has had."""


def collect(agents: Agents, runtime: Path) -> None:
    """Add the keys of a running network to `used`."""
    everyone = (*agents.home_agents.values(), *agents.mobile_nodes.values())
    for folder in (runtime / "keys", *(agent.directory for agent in everyone)):
        for path in folder.rglob("*"):
            if path.is_file() and not path.stat().st_mode & 0o077:
                used.update(keys_in(path.read_bytes()))
    for agent in everyone:
        with contextlib.suppress(AgentError):  # killed or hung: its peers hold the same
            used.update(_held(agent, runtime / "keys" / f"{agent.name}.held"))


def _held(agent: Agent, path: Path) -> set[bytes]:
    """Return the keys of the SAs that an agent holds now."""
    if not agent.running or agent.hung or not agent.ask("write-keys", path=str(path)):
        return set()
    try:
        return {each.key for each in read_key_file(path)}
    finally:
        path.unlink()


def keys_in(octets: bytes) -> set[bytes]:
    """Return the keys in a key file, a secret file, or the PEM file of a private key."""
    found = {bytes.fromhex(text.decode()) for text in _HEXADECIMAL.findall(octets)}
    for block in PRIVATE_KEY.findall(octets):
        private = load_pem_private_key(block, None)
        if isinstance(private, EllipticCurvePrivateKey):
            found.add(private.private_numbers().private_value.to_bytes((private.key_size + 7) // 8))
    return {key for key in found if len(key) >= SHORTEST}
