"""One agent's process on a node: its start, what it answers, its faults."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from topologies.nodes import SixNode

ROOT = Path(__file__).resolve().parent.parent
LOG_LINES = 8
POLL = 0.005


class AgentError(Exception):
    """An agent did not start or does not answer; the message is one or a few lines."""


class Agent:
    """One agent's process. It may be killed, hung and started again."""

    def __init__(self, node: SixNode, module: str, directory: Path, logs: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        logs.mkdir(parents=True, exist_ok=True)
        self.node, self.module, self.directory = node, module, directory
        self.configuration = directory / "agent.toml"
        self.more_configurations: tuple[Path, ...] = ()
        """Of a mobile node's further homes."""
        self.events = logs / "events.jsonl"
        self.output = logs / "agent.out"
        self.process: subprocess.Popen[Any] | None = None
        self.hung = False
        for name in ("events.jsonl", "agent.log", "egress.bin"):
            (directory / name).unlink(missing_ok=True)
            (directory / name).symlink_to(logs.resolve() / name)

    @property
    def name(self) -> str:
        """The node's name."""
        return str(self.node.name)

    def start(self) -> None:
        """Start the process; :meth:`wait` tells when it answers."""
        if self.process is not None and self.process.poll() is None:
            raise AgentError(f"{self.name}: its agent runs already")
        self.hung = False
        environment = dict(os.environ, PYTHONUNBUFFERED="1")
        configurations = map(str, (self.configuration, *self.more_configurations))
        with self.output.open("ab") as out:
            self.process = self.node.python(
                self.module, *configurations, cwd=ROOT, stdout=out, stderr=out, env=environment,
            )  # fmt: skip

    @property
    def running(self) -> bool:
        """Whether its process is there (hung ones are)."""
        return self.process is not None and self.process.poll() is None

    def check_alive(self) -> None:
        """Raise AgentError with the last lines that it printed when the agent has ended."""
        if self.process is not None and (code := self.process.poll()) is not None:
            lines: list[str] = []
            for path in (self.output, self.output.with_name("agent.log")):
                if path.exists():
                    lines += path.read_text(errors="replace").splitlines()[-LOG_LINES:]
            raise AgentError(
                f"{self.name}: its agent ended with {code}. Last lines of {self.output}:\n"
                + "\n".join("  " + line for line in lines)
            )

    def ask(self, command: str, timeout: float = 2.0, **arguments: Any) -> Any:
        """Send a command to the control socket and return its result.

        Raises AgentError when the agent refuses, is not there or does not answer in time.
        """
        request = json.dumps({"cmd": command, **arguments}).encode() + b"\n"
        try:
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(timeout)
                control.connect(str(self.directory / "control.sock"))
                control.sendall(request)
                with control.makefile("rb") as answers:
                    line = answers.readline()
        except OSError as error:
            raise AgentError(f"{self.name}: its agent does not answer ({error})") from error
        answer = json.loads(line) if line else {"ok": False, "error": "it closed the connection"}
        if not answer.get("ok"):
            raise AgentError(f"{self.name}: {command}: {answer.get('error')}")
        return answer.get("result")

    def wait(
        self, what: str, condition: Callable[[dict[str, Any]], bool], timeout: float = 15.0
    ) -> None:
        """Wait until the agent's status meets a condition; ``what`` names it in the error."""
        until = time.monotonic() + timeout
        last: object = "no answer yet"
        while True:
            self.check_alive()
            try:
                status = self.ask("status")
                if condition(status):
                    return
                last = status
            except AgentError as error:
                last = error
            if time.monotonic() > until:
                raise AgentError(f"{self.name}: not {what} after {timeout:.0f} s; {last}")
            time.sleep(POLL)

    def leave(self, timeout: float) -> None:
        """Let a home agent go in good order; returns when its process has ended."""
        process = self._process()
        self.ask("leave")
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise AgentError(f"{self.name}: has not left after {timeout:.0f} s") from error

    def kill(self) -> int:
        """End the agent by SIGKILL; return when the signal was sent (monotonic ns)."""
        process = self._process()
        process.send_signal(signal.SIGKILL)
        moment = time.monotonic_ns()
        process.wait()
        return moment

    def hang(self) -> int:
        """Stop the agent by SIGSTOP; return when the signal was sent (monotonic ns)."""
        self._process().send_signal(signal.SIGSTOP)
        self.hung = True
        return time.monotonic_ns()

    def resume(self) -> int:
        """Let a hung agent go on."""
        self._process().send_signal(signal.SIGCONT)
        self.hung = False
        return time.monotonic_ns()

    def stop(self) -> None:
        """Kill the agent if it runs."""
        if self.running:
            self.kill()

    def _process(self) -> subprocess.Popen[Any]:
        if self.process is None or self.process.poll() is not None:
            raise AgentError(f"{self.name}: its agent does not run")
        return self.process
