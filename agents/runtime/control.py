"""The control socket of an agent: JSON lines on a Unix stream socket in its directory.

A request is `{"cmd": NAME, ...}`, its answer `{"ok": true, "result": ...}` or
`{"ok": false, "error": TEXT}`, one line each, in order.
"""

import contextlib
import errno
import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.runtime.loop import Loop

Command = Callable[[Mapping[str, Any], float], Any]
"""Takes the request and the time, returns what is to be answered; `CommandError` refuses."""

_LIMIT = 1 << 16
"""Octets of a request; a longer one ends the connection."""


class CommandError(ValueError):
    """A request that cannot be met; the message is one line for a person."""


class ControlServer:
    """Answers requests from within the agent's loop; never blocks it."""

    def __init__(self, path: Path, loop: Loop, commands: Mapping[str, Command]) -> None:
        """Listen on `path`, replacing what an earlier agent left there; raises `OSError`."""
        self._loop = loop
        self._commands = commands
        self._path = path
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_UNIX, kind)
        self._connections: set[_Connection] = set()
        self.after_answer: Callable[[], None] | None = None
        """What a command wants done once its answer is out; taken and cleared then."""
        path.unlink(missing_ok=True)
        _bind(self._socket, path)
        os.chmod(path, 0o600)
        self._socket.listen(16)
        loop.add_reader(self._socket.fileno(), self._accept)

    def _accept(self, now: float) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EMFILE):
                return
            raise
        connection.setblocking(False)
        self._connections.add(_Connection(connection, self._loop, self))

    def answer(self, line: bytes, now: float) -> bytes:
        """Return the answer to one request line, without its line feed."""
        try:
            return _dumps({"ok": True, "result": self._call(line, now)})
        except CommandError as error:
            return _dumps({"ok": False, "error": str(error)})
        except Exception as error:  # a broken command must not end the agent
            return _dumps({"ok": False, "error": f"{type(error).__name__}: {error}"})

    def _call(self, line: bytes, now: float) -> Any:
        try:
            request = json.loads(line)
        except ValueError as error:
            raise CommandError(f"not JSON: {error}") from error
        if not isinstance(request, dict) or not isinstance(request.get("cmd"), str):
            raise CommandError('expected an object {"cmd": NAME, ...}')
        command = self._commands.get(request["cmd"].replace("_", "-"))
        if command is None:
            known = ", ".join(sorted(self._commands))
            raise CommandError(f"unknown command {request['cmd']!r}; known: {known}")
        return command(request, now)

    def forget(self, connection: "_Connection") -> None:
        """Drop a connection that ended."""
        self._connections.discard(connection)

    def close(self) -> None:
        """Close every connection and remove the socket."""
        for connection in list(self._connections):
            connection.close()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


class _Connection:
    """One client: what it sent so far, what it has not yet taken."""

    def __init__(self, connected: socket.socket, loop: Loop, server: ControlServer) -> None:
        self._socket = connected
        self._loop = loop
        self._server = server
        self._input = b""
        self._output = b""
        loop.add_reader(connected.fileno(), self._ready)

    def _ready(self, now: float) -> None:
        try:
            self._flush()
            data = self._socket.recv(_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            if line.strip():
                self._output += self._server.answer(line, now) + b"\n"
        if len(self._input) > _LIMIT:
            self.close()
            return
        try:
            self._flush()
        except OSError:
            self.close()
        afterwards, self._server.after_answer = self._server.after_answer, None
        if afterwards is not None:
            afterwards()

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._output:
                self._output = self._output[self._socket.send(self._output) :]
        self._loop.watch_writing(self._socket.fileno(), bool(self._output))

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        self._server.forget(self)


def _bind(server: socket.socket, path: Path) -> None:
    """Bind by way of the directory's descriptor: a socket's path has at most 107 octets."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        server.bind(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)


def _dumps(answer: Any) -> bytes:
    return json.dumps(answer, separators=(",", ":"), default=str).encode()
