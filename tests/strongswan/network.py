"""The network of the tests with charon: a namespace `swan` on a link to the sandbox's own.

::

    the sandbox's own                      swan
    our engine --- wire ================ wire --- charon --- ipsec0
                   OURS            THEIRS           (lo: INNER_THEIRS, INNER_THEIRS_TOO)
"""

import subprocess
from ipaddress import IPv6Address

from tests.runtime_lab import CARE_OF as OURS
from tests.runtime_lab import HOME_ADDRESS as INNER_OURS
from tests.runtime_lab import ip, run, spawn

THEIRS = IPv6Address("fd00:10:10:10::254")
INNER_THEIRS = IPv6Address("fd00:c::1")
INNER_THEIRS_TOO = IPv6Address("fd00:c::2")
PREFIX_LENGTH = 64
SANDBOX = "1"
"""How `ip` calls the sandbox's own namespace: that of its process 1."""


def add_node(name: str) -> None:
    """Make a namespace in which no address waits for duplicate detection."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    for knob in ("accept_dad", "dad_transmits"):
        run(name, "sysctl", "-qw", f"net.ipv6.conf.default.{knob}=0", check=True)
    ip(name, "link", "set", "lo", "up")


def connect(near: str, far: str, near_address: IPv6Address, far_address: IPv6Address) -> None:
    """Lay a link `wire` from one named node to another node, or to the sandbox's own."""
    ip(near, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", far)
    address = ["addr", "add", f"{near_address}/{PREFIX_LENGTH}", "dev", "wire", "nodad"]
    ip(near, *address)
    ip(near, "link", "set", "wire", "up")
    address[2] = f"{far_address}/{PREFIX_LENGTH}"
    if far == SANDBOX:
        subprocess.run(["ip", *address], check=True)
        subprocess.run(["ip", "link", "set", "wire", "up"], check=True)
    else:
        ip(far, *address)
        ip(far, "link", "set", "wire", "up")


def build() -> None:
    """Make `swan` and its link to the sandbox's own namespace."""
    add_node("swan")
    connect("swan", SANDBOX, THEIRS, OURS)
    for address in (INNER_THEIRS, INNER_THEIRS_TOO):
        ip("swan", "addr", "add", f"{address}/128", "dev", "lo")


__all__ = [
    "INNER_OURS",
    "INNER_THEIRS",
    "INNER_THEIRS_TOO",
    "OURS",
    "THEIRS",
    "add_node",
    "build",
    "connect",
    "ip",
    "run",
    "spawn",
]
