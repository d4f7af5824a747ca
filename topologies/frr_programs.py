"""FRR's programs as they are installed here: where they are, which version's words they take.

Versions are told apart by what a program itself says, by `--help` or by a dry run.
"""

from __future__ import annotations

import functools
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

FRR_DIRECTORIES = (Path("/usr/lib/frr"), Path("/usr/libexec/frr"))
REJECTED = ("No such command", "Unknown command", "Ambiguous command", "Command incomplete",
            "Malformed", "Configuration error", "% ")  # fmt: skip
"""What a program prints about a line that it does not take; a dry run's exit code is 0 all the
same."""

RPKI_MODULE = "rpki"
CACHE_HOST, CACHE_PORT = "::1", 8282
"""Where bgpd looks for its RPKI cache: in its own node. Its library looks the address up with
AI_ADDRCONFIG, so the node must have an IPv6 address beside the loopback's; else it never connects,
and says nothing of it."""


class RoutingError(Exception):
    """Routing did not start; the message is one or a few lines for a person."""


def frr_directory() -> Path:
    """Return where FRR's daemons are; RoutingError names the cure when there are none."""
    for directory in FRR_DIRECTORIES:
        if (directory / "zebra").exists():
            return directory
    raise RoutingError("FRR is not installed; `make setup` installs it (Debian package: frr)")


@functools.cache
def has_control_socket() -> bool:
    """Return whether bfdd has a control socket to be moved; that of FRR 10.3 has none."""
    command = [str(frr_directory() / "bfdd"), "--help"]
    return "--bfdctl" in subprocess.run(command, capture_output=True, text=True).stdout


def rejected_lines(output: str) -> list[str]:
    """Return the complaints in a dry run's output."""
    return [line.strip() for line in output.splitlines() if any(word in line for word in REJECTED)]


def check_rpki_module() -> None:
    """Raise RoutingError naming the package where bgpd cannot validate route origins."""
    if "loader error" in _bgpd_dry_run(()):
        raise RoutingError(
            "FRR has no RPKI module; `make setup` installs it (Debian package: frr-rpki-rtrlib)"
        )


def rpki_lines() -> list[str]:
    """Return the block of bgpd's file that lets it validate by the cache in its node."""
    return _rpki_block(" tcp" if _names_transport() else "")


@functools.cache
def _names_transport() -> bool:
    """Return whether this bgpd wants the word ``tcp``, as FRR from May 2024 on does."""
    return not rejected_lines(_bgpd_dry_run(_rpki_block(" tcp")))


def _rpki_block(transport: str) -> list[str]:
    return [
        "rpki",
        " rpki polling_period 60",
        " rpki retry_interval 1",
        f" rpki cache{transport} {CACHE_HOST} {CACHE_PORT} preference 1",
        "exit",
    ]


def _bgpd_dry_run(lines: Iterable[str]) -> str:
    """Return what bgpd, with its RPKI module, prints about a configuration."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        command = [str(frr_directory() / "bgpd"), "-M", RPKI_MODULE, "-f", file.name, "-C"]
        return subprocess.run(
            [*command, "-u", "root", "-g", "root"], stdin=subprocess.DEVNULL, timeout=30,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        ).stdout  # fmt: skip
