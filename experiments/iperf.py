"""TCP goodput between nodes by iperf3, several flows at once if asked."""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

FIRST_PORT = 5201
START_TIMEOUT = 10.0
CONNECT_TIMEOUT_MS = 3000
GRACE = 10.0
"""Seconds beyond its own length after which a measurement is given up."""
INTERVAL = re.compile(r"([\d.]+)-\s*([\d.]+)\s+sec\s.*?([\d.]+) Mbits/sec")

Spawn = Callable[..., "subprocess.Popen[Any]"]
"""Start a command in a node: spawn(node, command, **options of Popen)."""


class IperfError(RuntimeError):
    """iperf3 did not measure; one line."""


@dataclass(frozen=True, slots=True)
class TcpFlow:
    """A TCP flow: nodes and the addresses that they use."""

    sender: str
    source: str
    receiver: str
    destination: str


@dataclass(frozen=True, slots=True)
class Goodput:
    """What one flow carried: Mbit/s into the receiver's application, segments sent again."""

    mbit_s: float
    retransmits: int


def measure(
    spawn: Spawn,
    flows: Sequence[TcpFlow],
    seconds: float,
    warm_up: float = 1.0,
    may_starve: bool = False,
) -> list[Goodput]:
    """Run all flows at once for `seconds`, after a warm-up that does not count.

    `may_starve`: a flow that cannot connect or end counts with what its receiver saw of it, which
    may be nothing; without it such a flow is an IperfError.
    """
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(_server(spawn, flow, n)) for n, flow in enumerate(flows)]
        clients = [_client(spawn, flow, n, seconds, warm_up) for n, flow in enumerate(flows)]
        for client in clients:
            stack.callback(_end, client)
        until = time.monotonic() + seconds + warm_up + GRACE
        results = []
        for flow, client, server in zip(flows, clients, servers, strict=True):
            try:
                results.append(_result(flow, client, until))
            except IperfError:
                if not may_starve:
                    raise
                results.append(_as_received(server, seconds, warm_up))
        return results


def _client(
    spawn: Spawn, flow: TcpFlow, number: int, seconds: float, warm_up: float
) -> subprocess.Popen[Any]:
    command = ["iperf3", "--client", flow.destination, "--bind", flow.source, "--json"]
    command += ["--port", str(FIRST_PORT + number), "--connect-timeout", str(CONNECT_TIMEOUT_MS)]
    command += ["--time", f"{seconds:g}", "--omit", f"{warm_up:g}"]
    return spawn(flow.sender, command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def _server(spawn: Spawn, flow: TcpFlow, number: int) -> Iterator[subprocess.Popen[Any]]:
    """Run a server for one measurement; it listens when this yields."""
    command = ["iperf3", "--server", "--one-off", "--forceflush", "--bind", flow.destination]
    server = spawn(
        flow.receiver,
        [*command, "--port", str(FIRST_PORT + number), "--format", "m"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        _await_listening(server, flow.receiver)
        yield server
    finally:
        _end(server)


def _await_listening(server: subprocess.Popen[Any], node: str) -> None:
    output: Any = server.stdout
    said = b""
    until = time.monotonic() + START_TIMEOUT
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while b"listening" not in said:
            left = until - time.monotonic()
            chunk = output.read1(4096) if left > 0 and selector.select(left) else b""
            if not chunk:
                raise IperfError(f"iperf3 does not listen in {node}: {said.decode().strip()}")
            said += chunk


def _result(flow: TcpFlow, client: subprocess.Popen[Any], until: float) -> Goodput:
    where = f"iperf3 from {flow.sender} to {flow.receiver}"
    try:
        output, errors = client.communicate(timeout=max(until - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        raise IperfError(f"{where}: it did not end") from None
    try:
        report = json.loads(output)
        if "error" in report:
            raise IperfError(f"{where}: {report['error']}")
        end = report["end"]
        return Goodput(
            float(end["sum_received"]["bits_per_second"]) / 1e6,
            int(end["sum_sent"].get("retransmits", 0)),
        )
    except (ValueError, KeyError) as error:
        said = (errors or output).strip().splitlines()[:1]
        raise IperfError(f"{where}: {said or error}") from None


def _as_received(server: subprocess.Popen[Any], seconds: float, warm_up: float) -> Goodput:
    """Return the goodput of a flow that did not end, from its server's line a second."""
    server.kill()
    text = server.stdout.read().decode() if server.stdout else ""
    return Goodput(starved(text, seconds, warm_up), 0)


def starved(text: str, seconds: float, warm_up: float) -> float:
    """Return the Mbit/s that a server's report lines show after the warm-up, over `seconds`."""
    total = 0.0
    for start, end, rate in INTERVAL.findall(text):
        if float(start) >= warm_up:
            total += float(rate) * (float(end) - float(start))
    return total / seconds


def _end(process: subprocess.Popen[Any]) -> None:
    """Kill a process if it still runs, and collect it."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
