"""`make shell` and `make sniff`: look into a running lab from another terminal.

::

    make shell NODE=HA1              a shell on HA1
    make sniff LINK=HA1-r1           HA1's end of its link to r1
    make sniff LINK=HA1-r1 >x.pcap   pcap on standard output

``NAME=…`` chooses among several labs of this user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import NoReturn

from topologies import labs


def shell(name: str | None, node: str | None) -> NoReturn:
    """Become a shell on a node. Raises LabError."""
    prompt = f"{node or labs.choose(name)}# "
    labs.enter(name, node, ["env", f"PS1={prompt}", "bash", "--norc"])


def sniff(name: str | None, link: str | None) -> NoReturn:
    """Capture at the first-named end of a link, until interrupted. Raises LabError.

    To standard output as pcap where that is a file or a pipe; into Wireshark where there is one
    and a display; else decoded, a line a packet.
    """
    node, dash, _ = (link or "").partition("-")
    if not dash:
        raise labs.LabError("which link? LINK=HA1-r1 is HA1's end of its link to r1")
    assert link is not None
    if shutil.which("dumpcap") is None:
        raise labs.LabError("dumpcap is missing: `make setup` installs it (package tshark)")
    check_interface(name, node, link)
    raw = ["dumpcap", "-q", "-P", "-i", link, "-w", "-"]
    if not sys.stdout.isatty():
        labs.enter(name, node, raw)
    if shutil.which("wireshark") and (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        capture = subprocess.Popen(labs.enter_command(name, node, raw), stdout=subprocess.PIPE)
        assert capture.stdout is not None
        sys.exit(subprocess.run(["wireshark", "-k", "-i", "-"], stdin=capture.stdout).returncode)
    labs.enter(name, node, ["tshark", "-l", "-n", "-i", link])


def check_interface(name: str | None, node: str, link: str) -> None:
    """Raise LabError when the node has no such interface, with those that it has."""
    listing = subprocess.run(
        labs.enter_command(name, node, ["ls", "/proc/sys/net/ipv6/conf"]),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    found = sorted(set(listing) - {"all", "default"})
    if link not in found:
        raise labs.LabError(f"{node} has no interface {link!r}; it has {', '.join(found)}")


def main() -> NoReturn:
    """Read NODE, LINK and NAME from the environment, as make hands them on."""
    name = os.environ.get("NAME") or None
    try:
        if sys.argv[1:] == ["shell"]:
            shell(name, os.environ.get("NODE") or None)
        elif sys.argv[1:] == ["sniff"]:
            sniff(name, os.environ.get("LINK") or None)
        raise labs.LabError("usage: python -m topologies.visit shell|sniff")
    except labs.LabError as error:
        print(f"manyhomes: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
