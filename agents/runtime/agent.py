"""What both agents do: drive an engine from a loop, keep a journal, answer on the control socket.

An agent never dies by a packet: an exception out of the engine is a fault of the program, counted
as `internal-error` and logged once for each place it comes from.
"""

import contextlib
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from agents.runtime.control import Command, CommandError, ControlServer
from agents.runtime.egress import EgressFile
from agents.runtime.engine import Engine, EngineEvent
from agents.runtime.journal import Journal
from agents.runtime.loop import RETRY_PAUSE, Loop
from agents.runtime.tun import TunGone

BATCH: Final = 96
"""Packets handled before other descriptors get their turn: some 3 ms, a third of a heartbeat."""


class Agent:
    """An engine, its loop and its surroundings; the roles add their devices."""

    def __init__(self, engine: Engine, journal: Journal, egress: EgressFile | None = None) -> None:
        self.engine = engine
        self.loop = Loop(on_fault=self.fault)
        self.journal = journal
        self.egress = egress
        self.exit_code = 0
        self._read = 0
        self._control: ControlServer | None = None
        self._seen_faults: set[tuple[str, int]] = set()
        self._retry_at = 0.0
        self._signals = _SignalPipe()
        self.loop.add_reader(self._signals.fileno(), self._on_signal, urgent=True)
        self.loop.add_timer(self._next_timer, self._on_timer)

    # Roles override these.

    def send(self, packets: list[bytes], now: float) -> None:
        """Send whole packets to the network."""
        raise NotImplementedError

    def deliver(self, packets: list[bytes]) -> None:
        """Hand on decapsulated packets."""
        raise NotImplementedError

    def on_event(self, event: EngineEvent, now: float) -> None:
        """Act on an event of the engine, before it is written to the journal."""

    def commands(self) -> dict[str, Command]:
        """Return what the control socket offers."""
        return {
            "status": lambda request, now: self.engine.status(),
            "bindings": lambda request, now: self.engine.bindings(),
            "sas": lambda request, now: self.engine.sas(),
            "peers": lambda request, now: self.engine.peers(),
            "counters": lambda request, now: {**self.engine.counters, **self.counters()},
            "write-keys": lambda request, now: self._write_keys(
                Path(text_parameter(request, "path"))
            ),
            "fail": lambda request, now: self._kill_afterwards(signal.SIGKILL),
            "hang": lambda request, now: self._kill_afterwards(signal.SIGSTOP),
        }

    def counters(self) -> dict[str, int]:
        """Return the runtime's own counters."""
        lost = self.egress.lost if self.egress is not None else 0
        return {
            "runtime.packets-read": self._read,
            "runtime.journal-lost": self.journal.lost,
            "runtime.egress-lost": lost,
        }

    # Driving the engine.

    def feed(
        self, receive: Callable[[bytes, float], None], packets: Sequence[bytes], now: float
    ) -> None:
        """Give packets to the engine one by one; a fault costs one packet."""
        self._read += len(packets)
        for packet in packets:
            try:
                receive(packet, now)
            except Exception as error:
                self.fault(error)

    def drain(
        self,
        read: Callable[[], list[bytes] | None],
        receive: Callable[[bytes, float], None],
        now: float,
    ) -> None:
        """Read from a device until it is empty or the batch is full, then pass on the outcome."""
        count = 0
        while count < BATCH:
            try:
                packets = read()
            except TunGone:
                self.journal.write("tun-gone")
                self.stop(1)
                break
            if packets is None:
                break
            self.feed(receive, packets, now)
            count += len(packets) or 1
        self.pump(now)

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call the engine, guarded, and pass on what comes of it; the last argument is the time."""
        try:
            function(*arguments)
        except Exception as error:
            self.fault(error)
        self.pump(arguments[-1])

    def pump(self, now: float) -> None:
        """Pass on what the engine has for the network, for delivery and for the journal."""
        packets = self.engine.packets_to_send(now)
        if self.egress is not None:
            self.egress.flush(now)
        if packets:
            self.send(packets, now)
        packets = self.engine.packets_to_deliver()
        if packets:
            self.deliver(packets)
        while (event := self.engine.next_event()) is not None:
            try:
                self.on_event(event, now)
                self.journal.write(event.kind, event.fields())
            except Exception as error:
                self.fault(error)

    def fault(self, error: Exception) -> None:
        """Count a fault of the program; log its traceback when its place is new."""
        self.engine.counters["dropped.internal-error"] = (
            self.engine.counters.get("dropped.internal-error", 0) + 1
        )
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = ("", 0) if trace is None else (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        if place not in self._seen_faults:
            self._seen_faults.add(place)
            traceback.print_exception(error, file=sys.stderr)
            sys.stderr.flush()
            self.journal.write("internal-error", {"error": f"{type(error).__name__}: {error}"})

    def _next_timer(self) -> float | None:
        due = self.engine.next_timer()
        return due if due is None or due > self._retry_at else self._retry_at

    def _on_timer(self, now: float) -> None:
        self.call(self.engine.handle_timer, now)
        due = self.engine.next_timer()
        # A handler that leaves its timer due must not turn the loop into a busy one.
        self._retry_at = now + RETRY_PAUSE if due is not None and due <= now else 0.0

    # Beginning and end.

    def open_control(self, directory: Path) -> None:
        """Listen on the control socket; raises `OSError`."""
        self._control = ControlServer(directory / "control.sock", self.loop, self.commands())

    def run(self) -> int:
        """Work until told to end; return the exit code."""
        _quiet_garbage_collector()
        try:
            self.loop.run()
        finally:
            if self._control is not None:
                self._control.close()
            if self.egress is not None:
                self.egress.close()
        return self.exit_code

    def stop(self, exit_code: int) -> None:
        """End after this round."""
        self.exit_code = exit_code
        self.loop.stop()

    def _on_signal(self, now: float) -> None:
        self._signals.drain()
        self.stop(0)

    def _write_keys(self, path: Path) -> int:
        """Write the SAs held now as a key file, so that a capture can be read."""
        from agents.keys import write_key_file

        associations = self.engine.keyed()
        try:
            write_key_file(path, associations)
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from error
        return len(associations)

    def _kill_afterwards(self, number: int) -> str:
        """Send ourselves a signal once the answer is out."""
        if self._control is None:
            raise CommandError("no control socket")
        self._control.after_answer = lambda: os.kill(os.getpid(), number)
        return signal.Signals(number).name


class _SignalPipe:
    """Turns SIGTERM and SIGINT into readable octets, so that no round is cut in the middle."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def fileno(self) -> int:
        return self._reader.fileno()

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(64)


def _quiet_garbage_collector() -> None:
    """Keep the collector from walking everything there is in the middle of a burst.

    What was made at start is frozen; young cycles (tracebacks, mostly) are still collected, old
    ones almost never: the engines' tables hold no cycles that come and go.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 10_000)


def log_to(directory: Path) -> None:
    """Send standard error to DIR/agent.log from here on; start-up mistakes went to the terminal."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    descriptor = os.open(directory / "agent.log", flags, 0o644)
    sys.stderr.flush()
    os.dup2(descriptor, 2)
    os.close(descriptor)


def one_line(error: Exception) -> str:
    """Return what a person reads about a start that failed; errno's number helps nobody."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def text_parameter(request: Mapping[str, Any], name: str) -> str:
    """Return a parameter of a control request; raises `CommandError`."""
    value = request.get(name)
    if not isinstance(value, str):
        raise CommandError(f'"{name}": missing; give it as text')
    return value
