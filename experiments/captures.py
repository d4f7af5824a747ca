"""Captures of a trial (CAPTURE=1): pcapng files, and the keys with which Wireshark opens them.

`captures/esp_sa` goes into Wireshark's profile folder (or `-o uat:esp_sa:…`). It holds keys of this
one run, which nothing uses afterwards; nothing else in a run folder holds any.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from agents.keys import KeyedAssociation, read_key_file
from experiments.run import RunError
from topologies.agents import AgentError
from topologies.capture import Capture, CaptureError
from topologies.network import RUNTIME, Network

CIPHERS = {
    "aes-128-gcm": ("AES-GCM with 16 octet ICV [RFC4106]", "NULL", 20),
    "aes-128-cbc-hmac-sha2-256": ("AES-CBC [RFC3602]", "HMAC-SHA-256-128 [RFC4868]", 16),
}


@contextmanager
def capturing(network: Network, nodes: Sequence[str], folder: Path, name: str) -> Iterator[None]:
    """Capture on all interfaces of these nodes into `folder/<name>-<node>.pcapng`.

    `folder/esp_sa` gets the keys of the SAs that the agents hold at the beginning and at the end;
    of one that was made and deleted in between there is none.
    """
    folder.mkdir(exist_ok=True)
    table = folder / "esp_sa"
    _add_new(table, network)
    with ExitStack() as stack:
        stack.callback(_add_new, table, network)
        for node in nodes:
            try:
                capture = Capture(network.nodes[node], folder / f"{name}-{node}.pcapng")
            except CaptureError as error:
                raise RunError(str(error)) from error
            stack.callback(capture.stop)
        yield


def _add_new(table: Path, network: Network) -> None:
    """Add the SAs that agents hold now and `table` lacks; mode 0600."""
    table.touch(mode=0o600)
    known = set(table.read_text().splitlines())
    held: dict[str, None] = {}
    for name in (*network.agents.home_agents, *network.agents.mobile_nodes):
        path = RUNTIME / "keys" / f"{name}.held"
        try:
            count = network.agents[name].ask("write-keys", path=str(path))
        except AgentError:
            continue  # killed or hung: its peers hold the same
        if not count:
            continue
        held.update((esp_sa_line(each).strip(), None) for each in read_key_file(path))
        path.unlink()
    with table.open("a") as file:
        file.writelines(f"{line}\n" for line in held if line not in known)


def add_keys(path: Path, associations: Iterable[KeyedAssociation]) -> None:
    """Add SAs that were made during a trial to an `esp_sa` table."""
    with path.open("a") as table:
        table.writelines(esp_sa_line(each) for each in associations)


def esp_sa_line(association: KeyedAssociation) -> str:
    """Return one SA as a line of `esp_sa`. Any address will do: the MN's outer ones change.

    Nothing for ChaCha20-Poly1305, which Wireshark 4.0 does not decrypt.
    """
    if str(association.transform) not in CIPHERS:
        return ""
    cipher, authentication, split = CIPHERS[str(association.transform)]
    key, rest = association.key[:split].hex(), association.key[split:].hex()
    fields = ("IPv6", "*", "*", f"0x{association.spi:08x}", cipher, f"0x{key}", authentication)
    quoted = ",".join(f'"{field}"' for field in (*fields, f"0x{rest}" if rest else ""))
    return quoted + "\n"
