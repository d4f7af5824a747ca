"""Watch the whole network from one thread: kernel routes and links, BFD, agents, probes.

A socket belongs to the network namespace in which it was made, so one process can hold a netlink
and a packet socket in each node. What happens is time-stamped on arrival (CLOCK_MONOTONIC, ns),
kept as an `Observation`, and wakes whoever awaits it: no polling, no process for each node.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

from experiments.data import EventName
from experiments.run import RunFolder
from topologies import netlink
from topologies.namespaces import call_in
from topologies.scheduling import hurry

SO_ATTACH_FILTER = 26
ETH_P_ALL = 3
PACKET_OUTGOING = 4
BFD_PORT = 3784
BFD_STATE = 14 + 40 + 8 + 1  # Ethernet, IPv6, UDP, then the second octet (RFC 5880 §4.1)
BFD_STATES = {0: "AdminDown", 1: "Down", 2: "Init", 3: "Up"}
IN_MODIFY, IN_CREATE = 0x2, 0x100

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Observation:
    """Something that happened: when, what, and its fields (as `events.jsonl` has them)."""

    time_ns: int
    name: EventName
    fields: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, name: EventName, **wanted: Any) -> bool:
        """Return whether this is such an event with these field values."""
        return self.name is name and all(self.fields.get(k) == v for k, v in wanted.items())


class Watcher:
    """One thread that collects observations from all sources until closed."""

    def __init__(self) -> None:
        self._observations: list[Observation] = []
        self._changed = threading.Condition()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._tailer = _Tailer()
        self._selector.register(self._tailer.descriptor, selectors.EVENT_READ, self._tailed)
        self._error: BaseException | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def add(self, descriptor: int, handler: Callable[[int], None]) -> None:
        """Call the handler with the time whenever the descriptor can be read."""
        self._selector.register(descriptor, selectors.EVENT_READ, handler)
        os.write(self._wake_write, b".")

    def remove(self, descriptor: int) -> None:
        """Stop watching a descriptor."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(descriptor)

    def observe(self, name: EventName, time_ns: int | None = None, /, **fields: Any) -> None:
        """Add an observation and wake those who wait."""
        when = time.monotonic_ns() if time_ns is None else time_ns
        with self._changed:
            self._observations.append(Observation(when, name, fields))
            self._changed.notify_all()

    def wake(self) -> None:
        """Let those who wait ask again: something that is no observation has happened."""
        with self._changed:
            self._changed.notify_all()

    def since(self, time_ns: int) -> list[Observation]:
        """Return what was observed from this time on, in the order of time."""
        with self._changed:
            found = [o for o in self._observations if o.time_ns >= time_ns]
        return sorted(found, key=lambda o: o.time_ns)

    def write(self, folder: RunFolder, since_ns: int) -> None:
        """Write what was observed from this time on into a run's `events.jsonl`."""
        for seen in self.since(since_ns):
            folder.event(seen.name, seen.time_ns, **seen.fields)

    def forget(self, before_ns: int) -> None:
        """Drop what is older: a long run keeps its memory."""
        with self._changed:
            self._observations = [o for o in self._observations if o.time_ns >= before_ns]

    def wait(self, wanted: Callable[[], bool], timeout: float) -> bool:
        """Wait until `wanted` holds, asked after each observation; False after `timeout` s."""
        with self._changed:
            held = self._changed.wait_for(lambda: self._error is not None or wanted(), timeout)
        if self._error is not None:
            raise RuntimeError(f"the watcher ended: {self._error}") from self._error
        return held

    def wait_for(
        self, name: EventName, since_ns: int, timeout: float, **wanted: Any
    ) -> Observation | None:
        """Wait for an observation of this kind made since a time; None after `timeout` s."""
        found: list[Observation] = []

        def seen() -> bool:
            found[:] = [
                o for o in self._observations if o.time_ns >= since_ns and o.matches(name, **wanted)
            ]
            return bool(found)

        return found[0] if self.wait(seen, timeout) else None

    def watch_routes(self, node: str, pid: int, *prefixes: IPv6Network) -> None:
        """Observe the node's links and its kernel routes for some prefixes."""
        monitor = _RouteMonitor(self, node, pid, frozenset(prefixes))
        self.add(monitor.fileno(), monitor.read)

    def watch_bfd(self, node: str, pid: int) -> None:
        """Observe every BFD packet through this node whose state is not Up."""
        packets = call_in(
            pid,
            lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)),
        )
        packets.setblocking(False)
        attach(packets, _BFD_NOT_UP)
        with contextlib.suppress(BlockingIOError):
            while packets.recv(256):  # what came before the filter stood
                pass
        self.add(packets.fileno(), _BfdMonitor(self, node, packets).read)

    def watch_file(self, path: Path, handler: Callable[[str, int], None]) -> None:
        """Call the handler with each line that is appended to a file from now on, and the time."""
        self._tailer.add(path, handler)

    def watch_agent(self, node: str, path: Path) -> None:
        """Observe the events that an agent appends to its `events.jsonl`."""

        def line(text: str, _: int) -> None:
            record = json.loads(text)
            when, kind = record.pop("t"), record.pop("kind")
            self.observe(EventName.AGENT, when, **{**record, "node": node, "kind": kind})

        self.watch_file(path, line)

    def close(self) -> None:
        """End the thread; its sockets close with the process."""
        self._closing = True
        os.write(self._wake_write, b".")
        self._thread.join(timeout=5)

    def _tailed(self, now: int) -> None:
        self._tailer.read(now)

    def _run(self) -> None:
        hurry()  # a time stamp is as good as the moment at which this thread wakes
        try:
            while not self._closing:
                for key, _ in self._selector.select():
                    now = time.monotonic_ns()
                    if key.data is None:
                        os.read(self._wake_read, 4096)
                    else:
                        key.data(now)
        except BaseException as error:  # whoever waits shall hear of it
            with self._changed:
                self._error = error
                self._changed.notify_all()
            raise


class _RouteMonitor:
    """Decodes one node's netlink messages."""

    def __init__(
        self, watcher: Watcher, node: str, pid: int, prefixes: frozenset[IPv6Network]
    ) -> None:
        self._watcher, self._node, self._prefixes = watcher, node, prefixes
        self._socket = netlink.open_monitor(pid)
        requests = netlink.Netlink(pid)
        self._names = {state.index: state.name for state in requests.links().values()}
        requests.close()

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def read(self, _now: int) -> None:
        """Read all that waits, each message with its own time, then decode it."""
        read: list[tuple[int, bytes]] = []
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError as error:  # ENOBUFS: messages were lost; better said than hidden
                self._lost(error)
                continue
            read.append((time.monotonic_ns(), data))
        for when, data in read:
            for there, what in netlink.decode(data):
                if isinstance(what, netlink.Route):
                    self._route(what, there, when)
                else:
                    self._link(what, there, when)

    def _lost(self, error: OSError) -> None:
        self._watcher.observe(
            EventName.ROUTE, node=self._node, destination="", interface="",
            change=f"messages lost ({error.strerror})",
        )  # fmt: skip

    def _link(self, link: netlink.LinkState, there: bool, when: int) -> None:
        self._names[link.index] = link.name
        state = ("up" if link.up and link.running else "down") if there else "gone"
        self._watcher.observe(
            EventName.LINK, when, node=self._node, interface=link.name, state=state
        )

    def _route(self, route: netlink.Route, there: bool, when: int) -> None:
        if route.destination not in self._prefixes or route.table != netlink.TABLE_MAIN:
            return
        self._watcher.observe(
            EventName.ROUTE,
            when,
            node=self._node,
            destination=str(route.destination),
            change="add" if there else "delete",
            interface=self._names.get(route.interface, str(route.interface)),
        )


# Packets with IPv6, UDP, destination port 3784, and a state other than Up (3 << 6).
_BFD_NOT_UP = (
    (0x28, 0, 0, 12),
    (0x15, 0, 7, 0x86DD),
    (0x30, 0, 0, 20),
    (0x15, 0, 5, 17),
    (0x28, 0, 0, 56),
    (0x15, 0, 3, BFD_PORT),
    (0x30, 0, 0, BFD_STATE),
    (0x54, 0, 0, 0xC0),
    (0x15, 0, 1, 0xC0),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 256),
)


def attach(packets: socket.socket, program: tuple[tuple[int, int, int, int], ...]) -> None:
    """Let a packet socket receive what a classic BPF program accepts."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    fprog = struct.pack("HL", len(program), ctypes.addressof(buffer))
    packets.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)


class _BfdMonitor:
    """Reads the BFD packets that the filter lets pass."""

    def __init__(self, watcher: Watcher, node: str, packets: socket.socket) -> None:
        self._watcher, self._node, self._socket = watcher, node, packets

    def read(self, _now: int) -> None:
        """Read all that waits, each packet with its own time."""
        while True:
            try:
                data, (interface, _, kind, *_) = self._socket.recvfrom(256)
                now = time.monotonic_ns()
            except (BlockingIOError, OSError):
                return
            self._watcher.observe(
                EventName.BFD,
                now,
                node=self._node,
                interface=interface,
                state=BFD_STATES[data[BFD_STATE] >> 6],
                outgoing=kind == PACKET_OUTGOING,
            )


class _Tailer:
    """Reads what is appended to files, told by inotify."""

    def __init__(self) -> None:
        self.descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._files: dict[Path, tuple[int, bytes, Callable[[str, int], None]]] = {}

    def add(self, path: Path, handler: Callable[[str, int], None]) -> None:
        """Follow a file, from its present end; it need not exist yet, its folder must."""
        self._files[path] = (path.stat().st_size if path.exists() else 0, b"", handler)
        folder = os.fsencode(path.parent)
        if _libc.inotify_add_watch(self.descriptor, folder, IN_MODIFY | IN_CREATE) < 0:
            raise OSError(ctypes.get_errno(), f"inotify_add_watch {path.parent}")

    def read(self, now: int) -> None:
        """Read the news of all files: they are few, and inotify's own message is not needed."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.descriptor, 1 << 16):
                pass
        for path in self._files:
            self._follow(path, now)

    def _follow(self, path: Path, now: int) -> None:
        offset, rest, handler = self._files[path]
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return
        if size < offset:  # begun anew
            offset, rest = 0, b""
        if size == offset:
            return
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
        *lines, rest = (rest + data).split(b"\n")
        self._files[path] = (offset + len(data), rest, handler)
        for line in lines:
            if line.strip():
                handler(line.decode(errors="replace"), now)
