"""Run FRR on a node: write its files, dry-run them, start each daemon, ask it questions.

Every daemon is a process of its own with its own directory for sockets, started in the
foreground so that its death is noticed and told with the last lines of its log.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from topologies.frr_config import (
    RoutingOptions,
    daemons,
    home_redistribution,
    render,
    validates_origins,
)
from topologies.frr_programs import (
    RPKI_MODULE,
    frr_directory,
    has_control_socket,
    rejected_lines,
)
from topologies.frr_programs import RoutingError as RoutingError
from topologies.nodes import SixNode
from topologies.plan import Plan

LOG_LINES = 5


def metric_command(directory: Path) -> tuple[str, ...]:
    """Return the command by which a home agent changes the metric of its home network.

    ``{metric}`` stands for it; ``directory`` is the node's, with its daemons' sockets.
    """
    place = str(directory)
    lines = ("configure terminal", "router ospf6", home_redistribution("{metric}"))
    options = ("--config_dir", place, "--vty_socket", place, "-d", "ospf6d")
    return ("vtysh", *options, *(word for line in lines for word in ("-c", line)))


@dataclass
class Daemon:
    """One FRR daemon of one node."""

    node: SixNode
    name: str
    directory: Path
    log: Path
    modules: tuple[str, ...] = ()
    process: subprocess.Popen[Any] | None = None

    @property
    def configuration(self) -> Path:
        """Its configuration file."""
        return self.directory / f"{self.name}.conf"

    @property
    def vty(self) -> Path:
        """The socket that answers show commands."""
        return self.directory / f"{self.name}.vty"

    def command(self) -> list[str]:
        """Return the command line, without what only a real start needs."""
        modules = [word for module in self.modules for word in ("-M", module)]
        return [str(frr_directory() / self.name), "-f", str(self.configuration), *modules]

    def dry_run(self) -> subprocess.Popen[str]:
        """Start a dry run of the configuration; see :func:`check_dry_run`."""
        return subprocess.Popen(
            [*self.command(), "-C", "-u", "root", "-g", "root"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def check_dry_run(self, run: subprocess.Popen[str]) -> None:
        """Wait for a dry run; raise RoutingError when a line was rejected."""
        output, _ = run.communicate(timeout=30)
        complaints = rejected_lines(output)
        if complaints or run.returncode != 0:
            said = "; ".join(complaints) or output.strip()[-300:] or f"exit code {run.returncode}"
            raise RoutingError(
                f"{self.node.name}: {self.name} does not accept {self.configuration}: {said}"
            )

    def start(self) -> None:
        """Start the daemon in its node."""
        d = self.directory
        options = ["-u", "root", "-g", "root", "-i", str(d / f"{self.name}.pid"),
                   "--vty_socket", str(d), "-z", str(d / "zserv.api"), "-P", "0",
                   "--log", f"file:{self.log}", "--log-level", "info"]  # fmt: skip
        if self.name == "zebra":
            # Replace an IPv6 route in one step. The default deletes, then adds: packets that come
            # in between are lost, which shows when a repaired home agent takes the route back.
            options += ["--v6-rr-semantics"]
        if self.name == "bfdd" and has_control_socket():
            options += ["--bfdctl", str(d / "bfdd.sock")]
        if self.name == "bgpd":
            options += ["--listenon", "::"]
        with open(self.log.with_suffix(".out"), "ab") as out:
            self.process = self.node.spawn([*self.command(), *options], stdout=out, stderr=out)

    def check_alive(self) -> None:
        """Raise RoutingError with the log's last lines when the daemon has ended."""
        if self.process is not None and (code := self.process.poll()) is not None:
            raise RoutingError(
                f"{self.node.name}: {self.name} ended with {_ending(code)}. Its log's last lines "
                f"({self.log}):\n{self.last_lines()}"
            )

    def last_lines(self) -> str:
        """Return the last lines of log and output, indented."""
        lines: list[str] = []
        for path in (self.log, self.log.with_suffix(".out")):
            if path.exists():
                lines += path.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join("  " + line for line in lines) or "  (empty)"

    def ask(self, command: str, timeout: float = 5.0) -> str:
        """Send a show command to the daemon's own socket and return what it prints.

        This is what vtysh does, less the process. Raises OSError while the daemon is not there.
        """
        with socket.socket(socket.AF_UNIX) as vty:
            vty.settimeout(timeout)
            vty.connect(str(self.vty))
            self._exchange(vty, "enable")
            return self._exchange(vty, command)

    def configure(self, lines: Iterable[str], timeout: float = 5.0) -> None:
        """Change the running configuration; RoutingError names the first line that is not taken."""
        with socket.socket(socket.AF_UNIX) as vty:
            vty.settimeout(timeout)
            vty.connect(str(self.vty))
            for line in ("enable", "configure terminal", *lines, "end"):
                if complaints := rejected_lines(self._exchange(vty, line)):
                    raise RoutingError(
                        f"{self.node.name}: {self.name} does not take {line.strip()!r}: "
                        + "; ".join(complaints)
                    )

    def _exchange(self, vty: socket.socket, command: str) -> str:
        """Send one line; the answer ends with three zero octets and a result code."""
        vty.sendall(command.encode() + b"\0")
        answer = b""
        while not (len(answer) >= 4 and answer[-4:-1] == b"\0\0\0"):
            chunk = vty.recv(1 << 16)
            if not chunk:
                raise ConnectionError(f"{self.node.name}: {self.name} closed its vty")
            answer += chunk
        return answer[:-4].decode(errors="replace")

    def ask_json(self, command: str) -> Any:
        """Send a show command that answers in JSON; where there is nothing to tell, {}."""
        text = self.ask(command + " json").strip()
        return json.loads(text) if text.startswith(("{", "[")) else {}


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


@dataclass
class NodeRouting:
    """The FRR daemons of one node, and what they are expected to reach."""

    node: SixNode
    directory: Path
    daemons: dict[str, Daemon] = field(default_factory=dict)

    @classmethod
    def prepare(
        cls, plan: Plan, node: SixNode, options: RoutingOptions, directory: Path, logs: Path
    ) -> NodeRouting:
        """Write a node's configuration files into ``directory``; ``logs`` is for its logs."""
        directory.mkdir(parents=True, exist_ok=True)
        logs.mkdir(parents=True, exist_ok=True)
        (directory / "vtysh.conf").touch()
        (directory / "zserv.api").unlink(missing_ok=True)  # of a node that was here before
        routing = cls(node, directory)
        for name in daemons(plan, plan.nodes[node.name], options):
            validating = name == "bgpd" and validates_origins(node.name, options)
            modules = (RPKI_MODULE,) if validating else ()
            daemon = Daemon(node, name, directory, logs / f"{name}.log", modules)
            daemon.configuration.write_text(render(plan, plan.nodes[node.name], name, options))
            routing.daemons[name] = daemon
        return routing

    def check_alive(self) -> None:
        """Raise RoutingError when one of the daemons has ended."""
        for daemon in self.daemons.values():
            daemon.check_alive()

    def ospf_neighbours(self) -> dict[str, str]:
        """Return OSPFv3 neighbour states by interface."""
        answer = self.daemons["ospf6d"].ask_json("show ipv6 ospf6 neighbor")
        return {n["interfaceName"]: n["state"] for n in answer.get("neighbors", [])}

    def bgp_peers(self) -> dict[str, str]:
        """Return BGP session states by peer address."""
        answer = self.daemons["bgpd"].ask_json("show bgp ipv6 unicast summary")
        return {name: peer["state"] for name, peer in answer.get("peers", {}).items()}

    def bfd_peers(self) -> dict[str, str]:
        """Return BFD session states by ``peer%interface``."""
        answer = self.daemons["bfdd"].ask_json("show bfd peers")
        return {f"{p['peer']}%{p.get('interface', '')}": p["status"] for p in answer or []}

    def stop(self) -> None:
        """Kill the daemons; nothing of a lab is worth a graceful end."""
        for daemon in self.daemons.values():
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.process.kill()
                daemon.process.wait()


def start_all(routings: list[NodeRouting], deadline: float = 20.0) -> None:
    """Dry-run every configuration, then start all daemons of all nodes side by side.

    Raises RoutingError for a rejected line, a daemon that ends, or a zebra that does not answer.
    """
    everything = [daemon for routing in routings for daemon in routing.daemons.values()]
    _dry_run_all(everything)
    for routing in routings:
        routing.daemons["zebra"].start()
    waiting = list(routings)
    until = time.monotonic() + deadline
    while waiting:
        for routing in list(waiting):
            routing.check_alive()
            if (routing.directory / "zserv.api").exists():
                for name, daemon in routing.daemons.items():
                    if name != "zebra":
                        daemon.start()
                waiting.remove(routing)
        if time.monotonic() > until:
            names = ", ".join(routing.node.name for routing in waiting)
            raise RoutingError(f"zebra did not open its socket within {deadline:.0f} s on {names}")
        if waiting:
            time.sleep(0.002)  # there is no event for a socket file but inotify, dearer than this


def _dry_run_all(everything: list[Daemon]) -> None:
    """Dry-run all configurations, as many at once as there are processors."""
    width = max(2, os.cpu_count() or 2)
    for start in range(0, len(everything), width):
        some = everything[start : start + width]
        runs = [(daemon, daemon.dry_run()) for daemon in some]
        for daemon, run in runs:
            daemon.check_dry_run(run)
