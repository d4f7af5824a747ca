"""Router advertisements on the visited networks, by radvd.

radvd and not zebra, because from FRR 10 on interfaces are configured by another daemon and in
another way. Intervals are those that RFC 6275 §7.5 allows where mobile nodes visit.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from topologies.nodes import LAN, SixNode
from topologies.plan import Plan, Protocol

CONFIGURATION = """\
interface {interface} {{
    AdvSendAdvert on;
    MinRtrAdvInterval {least};
    MaxRtrAdvInterval {most};
    MinDelayBetweenRAs {least};
    AdvDefaultLifetime 9;
    AdvIntervalOpt on;
    prefix {prefix} {{
        AdvOnLink on;
        AdvAutonomous on;
        AdvRouterAddr off;
    }};
}};
"""


class AdvertiserError(Exception):
    """radvd is not there, or ended."""


class Advertiser:
    """radvd on one access router; intervals in seconds."""

    def __init__(
        self, plan: Plan, node: SixNode, directory: Path, logs: Path, least: float = 0.05,
        most: float = 0.2,
    ) -> None:  # fmt: skip
        directory.mkdir(parents=True, exist_ok=True)
        logs.mkdir(parents=True, exist_ok=True)
        self.node = node
        self._log = logs / "radvd.log"
        self._pid_file = directory / "radvd.pid"
        self._configuration = directory / "radvd.conf"
        prefix = next(
            e.link.prefix for e in plan.ends_of(node.name) if e.link.protocol is Protocol.ACCESS
        )
        self._configuration.write_text(
            CONFIGURATION.format(interface=LAN, prefix=prefix, least=least, most=most)
        )
        self._process: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        """Start radvd in the foreground; :meth:`check_alive` tells how it fares."""
        command = ["radvd", "--nodaemon", "--logmethod", "stderr", "--config",
                   str(self._configuration), "--pidfile", str(self._pid_file)]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = self.node.spawn(command, stdout=log, stderr=log)

    def check_alive(self) -> None:
        """Raise AdvertiserError with the log's last lines when radvd has ended."""
        if self._process is not None and (code := self._process.poll()) is not None:
            lines = self._log.read_text(errors="replace").splitlines()[-5:]
            cure = "; `make setup` installs it (Debian package: radvd)" if code == 1 else ""
            raise AdvertiserError(
                f"{self.node.name}: radvd ended with exit code {code}{cure}. Last lines of "
                f"{self._log}:\n" + "\n".join("  " + line for line in lines)
            )

    def stop(self, timeout: float = 2.0) -> None:
        """End radvd."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.kill()
        self._process.wait(timeout)
