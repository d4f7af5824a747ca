"""A client of VICI, charon's control protocol (strongSwan: src/libcharon/plugins/vici/README.md).

A message is a dictionary of text, lists of text, and dictionaries; values may be bytes on the way
there.
"""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REQUEST, RESPONSE, UNKNOWN, REGISTER, UNREGISTER, CONFIRM, UNKNOWN_EVENT, EVENT = range(8)
SECTION, SECTION_END, VALUE, LIST, ITEM, LIST_END = range(1, 7)

Message = dict[str, Any]


class ViciError(Exception):
    """charon refused a command; the text is its own."""


class Vici:
    """One connection: either for commands, or, once `register` was called, for events."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(20)  # for a hang, not for speed
        self._socket.connect(str(path))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def ask(self, command: str, **message: Any) -> Message:
        """Run a command and return its answer. Raises `ViciError`."""
        self._send(REQUEST, command, message)
        kind, _, answer = self._receive()
        if kind != RESPONSE or answer.get("success") == "no":
            raise ViciError(f"{command}: {answer.get('errmsg', f'answer of type {kind}')}")
        return answer

    def stream(self, command: str, event: str, **message: Any) -> list[Message]:
        """Return what a command reports as a stream of events. Raises `ViciError`."""
        self.register(event)
        self._send(REQUEST, command, message)
        reported = []
        while True:
            kind, _, answer = self._receive()
            if kind != EVENT:
                break
            reported.append(answer)
        self._confirmed(UNREGISTER, event)
        return reported

    def register(self, *events: str) -> None:
        """Ask for events by name. Raises `ViciError`."""
        for event in events:
            self._confirmed(REGISTER, event)

    def next_event(self) -> tuple[str, Message]:
        """Return the next event, waiting for it."""
        kind, name, message = self._receive()
        assert kind == EVENT, kind
        return name, message

    def _confirmed(self, kind: int, event: str) -> None:
        self._send(kind, event, {})
        answer, _, _ = self._receive()
        if answer != CONFIRM:
            raise ViciError(f"event {event}: answer of type {answer}")

    def _send(self, kind: int, name: str, message: Message) -> None:
        packet = bytes((kind,)) + _short(name) + b"".join(_encoded(message))
        self._socket.sendall(struct.pack("!L", len(packet)) + packet)

    def _receive(self) -> tuple[int, str, Message]:
        (length,) = struct.unpack("!L", self._exactly(4))
        packet = self._exactly(length)
        kind, rest = packet[0], packet[1:]
        name = ""
        if kind == EVENT:
            name, rest = rest[1 : 1 + rest[0]].decode(), rest[1 + rest[0] :]
        return kind, name, _section(_elements(rest))

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            if not part:
                raise ViciError("charon closed the connection")
            data += part
        return data


def _short(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()


def _long(value: str | bytes) -> bytes:
    octets = value if isinstance(value, bytes) else value.encode()
    return struct.pack("!H", len(octets)) + octets


def _encoded(message: Message) -> Iterator[bytes]:
    for name, value in message.items():
        if isinstance(value, dict):
            yield bytes((SECTION,)) + _short(name)
            yield from _encoded(value)
            yield bytes((SECTION_END,))
        elif isinstance(value, list | tuple):
            yield bytes((LIST,)) + _short(name)
            yield from (bytes((ITEM,)) + _long(str(each)) for each in value)
            yield bytes((LIST_END,))
        else:
            octets = value if isinstance(value, bytes) else str(value)
            yield bytes((VALUE,)) + _short(name) + _long(octets)


def _elements(data: bytes) -> Iterator[tuple[int, str, str]]:
    """Yield (type, name, value) of each element, with empty text for what it does not have."""
    at = 0
    while at < len(data):
        kind, name, value = data[at], "", ""
        at += 1
        if kind in (SECTION, VALUE, LIST):
            end = at + 1 + data[at]
            name, at = data[at + 1 : end].decode(), end
        if kind in (VALUE, ITEM):
            end = at + 2 + int.from_bytes(data[at : at + 2])
            value, at = data[at + 2 : end].decode(errors="replace"), end
        yield kind, name, value


def _section(elements: Iterator[tuple[int, str, str]]) -> Message:
    message: Message = {}
    items: list[str] = []
    for kind, name, value in elements:
        if kind == SECTION:
            message[name] = _section(elements)
        elif kind == SECTION_END:
            break
        elif kind == VALUE:
            message[name] = value
        elif kind == LIST:
            message[name] = items = []
        elif kind == ITEM:
            items.append(value)
    return message
