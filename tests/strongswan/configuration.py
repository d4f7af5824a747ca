"""What charon is told: its settings, and connections as VICI takes them."""

from collections.abc import Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from tests.strongswan.vici import Message

PROGRAM = Path("/usr/lib/ipsec/charon")
PLUGINS = (
    "random nonce openssl gcm aes sha1 sha2 hmac kdf "
    "kernel-libipsec kernel-netlink socket-default vici"
)
SETTINGS = {
    "load": PLUGINS,
    "filelog.stderr.default": "1",
    "filelog.stderr.flush_line": "yes",
    "syslog.daemon.default": "-1",
    "syslog.auth.default": "-1",
    "retransmit_timeout": "2",
    "retransmit_base": "1.5",
    "half_open_timeout": "10",
    "plugins.kernel-libipsec.load": "yes",
    # Selectors may name the ends themselves: what charon sends is marked and kept out of its TUN.
    "plugins.kernel-libipsec.allow_peer_ts": "yes",
    "plugins.socket-default.fwmark": "0x42",
    "plugins.kernel-netlink.fwmark": "!0x42",
    "plugins.vici.load": "yes",
}


def missing() -> str:
    """Return what to install before charon can run, or nothing."""
    plugins = PROGRAM.parent / "plugins"
    for package, file in {
        "strongswan-charon": PROGRAM,
        "strongswan-swanctl": plugins / "libstrongswan-vici.so",
        "libcharon-extra-plugins": plugins / "libstrongswan-kernel-libipsec.so",
        "libstrongswan-standard-plugins": plugins / "libstrongswan-gcm.so",
    }.items():
        if not file.exists():
            return f"no {file}: `make setup` installs the package {package}"
    return ""


def render(settings: Mapping[str, str]) -> str:
    """Return a strongswan.conf with these settings of charon (dotted names)."""
    lines = []
    for name, value in settings.items():
        *sections, key = ("charon", *name.split("."))
        lines.append("".join(f"{each} {{ " for each in sections) + f"{key} = {value}")
        lines.append("}" * len(sections))
    return "\n".join(lines)


def connection(
    name: str,
    local: IPv6Address,
    remote: IPv6Address,
    identities: tuple[str, str],
    children: Mapping[str, Message],
    proofs: tuple[str, str] = ("psk", "psk"),
    **changes: Any,
) -> Message:
    """Return a connection for `Charon.load`; `identities` are its own and the other end's.

    So are `proofs`: `psk`, or `pubkey` for a certificate.

    Nothing happens by itself in it: no rekeying, no liveness check, no initiation.
    """
    quiet = {"rekey_time": "0", "esp_proposals": ["aes128gcm16"], "mode": "tunnel"}
    whole = {
        "version": "2",
        "local_addrs": [str(local)],
        "remote_addrs": [str(remote)],
        "proposals": ["aes128gcm16-prfsha256-x25519-ecp256"],
        "encap": "yes",
        "mobike": "no",
        "rekey_time": "0",
        "reauth_time": "0",
        "unique": "never",
        "local": {"auth": proofs[0], "id": identities[0]},
        "remote": {"auth": proofs[1], "id": identities[1]},
        "children": {child: {**quiet, **fields} for child, fields in children.items()},
        **changes,
    }
    return {name: whole}
