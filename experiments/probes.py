"""Run the probe streams of a trial: processes in the nodes, records in a folder, streams back."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from experiments.run import REPOSITORY, RunFolder
from experiments.streams import Stream, read_arrivals, read_sent
from experiments.watch import Watcher
from topologies.network import Network

PORT = 7000
START_TIMEOUT = 20.0
STOP_TIMEOUT = 20.0

Spawn = Callable[[str, Sequence[str]], "subprocess.Popen[bytes]"]
"""Start a command in a node, with pipes at its standard input and output."""


def spawning(network: Network, folder: RunFolder) -> Spawn:
    """Return what starts commands in the nodes; what they complain of is in `logs/probes.log`."""

    def spawn(node: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (folder.path / "logs" / "probes.log").open("ab") as log:
            process: subprocess.Popen[bytes] = network.nodes[node].spawn(
                list(command), cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        return process

    return spawn


class ProbeError(RuntimeError):
    """A probe did not start, or died."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One stream: number, sender and receiver by node name."""

    number: int
    sender: str
    receiver: str


@dataclass(slots=True)
class _Process:
    node: str
    popen: subprocess.Popen[bytes]
    ready: bool = False
    rest: bytes = b""


@dataclass
class Probes:
    """The probe processes of one trial. `addresses` are those that nodes send from.

    `in_flight_s`: how long a packet is on its way because of the links' delays, at most. `rate`:
    packets a second of each flow.
    """

    watcher: Watcher
    spawn: Spawn
    addresses: Mapping[str, str]
    flows: Sequence[Flow]
    records: Path
    in_flight_s: float = 0.0
    rate: int = 1000
    _processes: dict[str, _Process] = field(default_factory=dict)
    _reached: dict[str, int] = field(default_factory=dict)
    _tokens: int = 0

    def start(self) -> None:
        """Start one process a node and wait until all of them run."""
        self.records.mkdir(parents=True, exist_ok=True)
        nodes = sorted({node for flow in self.flows for node in (flow.sender, flow.receiver)})
        for node in nodes:
            popen = self.spawn(node, self._command(node))
            assert popen.stdout is not None
            process = self._processes[node] = _Process(node, popen)
            self.watcher.add(popen.stdout.fileno(), partial(self._read, process))
        if not self._wait(lambda: all(p.ready for p in self._processes.values()), START_TIMEOUT):
            raise ProbeError(f"probes did not start in {START_TIMEOUT:.0f} s: {', '.join(nodes)}")

    def _command(self, node: str) -> list[str]:
        command = [sys.executable, "-m", "experiments.probe", "--name", node]
        command += ["--records", str(self.records)]
        command += ["--bind", self.addresses[node], "--port", str(PORT), "--rate", str(self.rate)]
        for flow in self.flows:
            if flow.sender == node:
                command += ["--send", f"{flow.number}:{self.addresses[flow.receiver]}:{PORT}"]
        return command

    def _read(self, process: _Process, _now: int) -> None:
        """Take what a probe prints (in the watcher's thread)."""
        assert process.popen.stdout is not None
        data = process.popen.stdout.read1(4096)  # type: ignore[attr-defined]
        if not data:
            self.watcher.remove(process.popen.stdout.fileno())
        *lines, process.rest = (process.rest + data).split(b"\n")
        for line in lines:
            words = line.decode().split()
            if words == ["ready"]:
                process.ready = True
            elif words and words[0] == "reached":
                self._reached[words[1]] = int(words[2])
        self.watcher.wake()

    def _wait(self, wanted: Callable[[], bool], timeout: float) -> bool:
        """Wait for something that probes tell; ProbeError if one of them died."""

        def over() -> bool:
            return self._dead() is not None or wanted()

        held = self.watcher.wait(over, timeout)
        dead = self._dead()
        if dead is not None:
            raise ProbeError(f"the probe in {dead} died; see logs/")
        return held

    def _dead(self) -> str | None:
        return next((p.node for p in self._processes.values() if p.popen.poll() is not None), None)

    def running(
        self, flows: Sequence[Flow], after_ns: int, count: int, timeout: float
    ) -> list[Flow]:
        """Wait until each flow delivered `count` consecutive packets sent at `after_ns` or later.

        Returns the flows that did not within `timeout` seconds: none, if all is well.
        """
        tokens: dict[str, Flow] = {}
        for flow in flows:
            self._tokens += 1
            tokens[str(self._tokens)] = flow
            self._tell(flow.receiver, f"wait {self._tokens} {flow.number} {after_ns} {count}\n")
        self._wait(lambda: tokens.keys() <= self._reached.keys(), timeout)
        return [flow for token, flow in tokens.items() if token not in self._reached]

    def _tell(self, node: str, text: str) -> None:
        popen = self._processes[node].popen
        assert popen.stdin is not None
        try:
            popen.stdin.write(text.encode())
            popen.stdin.flush()
        except BrokenPipeError:
            raise ProbeError(f"the probe in {node} died; see logs/") from None

    def stop(self) -> dict[Flow, Stream]:
        """Stop all processes, let packets in flight arrive, and return the recorded streams."""
        senders = {flow.sender for flow in self.flows}
        for node in self._processes:
            self._tell(node, "drain\n" if node in senders else "")
        # What is in flight: there is no event for a packet that may be lost.
        time.sleep(0.1 + self.in_flight_s)
        self.kill(gently=True)
        arrivals = read_arrivals(sorted(self.records.glob("*.received")))
        return {
            flow: Stream(
                read_sent(self.records / f"{flow.sender}.{flow.number}.sent"),
                arrivals.get(flow.number, []),
            )
            for flow in self.flows
        }

    def kill(self, gently: bool = False) -> None:
        """End every process: gently by closing its input, else at once."""
        for process in self._processes.values():
            assert process.popen.stdin is not None
            if gently:
                process.popen.stdin.close()
            else:
                process.popen.kill()
        for process in self._processes.values():
            try:
                process.popen.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                raise ProbeError(f"the probe in {process.node} did not stop") from None
        self._processes.clear()


def keep(records: Path, raw: Path) -> None:
    """Move a trial's records, if there are any, to the run folder, compressed."""
    if not records.is_dir():
        return
    raw.mkdir(parents=True, exist_ok=True)
    for path in sorted(records.iterdir()):
        with path.open("rb") as plain, gzip.open(raw / f"{path.name}.gz", "wb", 1) as packed:
            shutil.copyfileobj(plain, packed)
        path.unlink()
    records.rmdir()
