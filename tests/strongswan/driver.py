"""Our engine on real UDP sockets, with a hand on every message: what is lost, what comes twice."""

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

from agents.core.ike.child_sa import ChildSa
from agents.core.ike.config import IkeConfig
from agents.core.ike.context import Datagram
from agents.core.ike.endpoint import IkeEndpoint
from agents.core.ike.events import ChildEstablished, ChildRekeyed, IkeEvent
from agents.core.ike.sa import IkeSa
from agents.core.timers import TimerQueue
from agents.wire.ike.numbers import IKE_PORT, NAT_PORT, NON_ESP_MARKER
from tests.strongswan.charon import Charon
from tests.strongswan.esp_in_udp import Tunnel
from tests.strongswan.network import OURS, THEIRS

SOCKET_SPACE = 1 << 16
HEADER = struct.Struct("!QQBBBBLL")
RESPONSE = 0x20
KEEPALIVE = b"\xff"

Event = TypeVar("Event", bound=IkeEvent)


@dataclass(frozen=True)
class Message:
    """One IKE message that passed our sockets; `octets` without the non-ESP marker."""

    outgoing: bool
    port: int
    exchange: int
    response: bool
    message_id: int
    octets: bytes

    @property
    def spi_initiator(self) -> int:
        """Which IKE SA it is of."""
        return int.from_bytes(self.octets[:8])


@dataclass(frozen=True)
class Fault:
    """What happens to the next message of a kind: it arrives `copies` times."""

    outgoing: bool
    exchange: int
    response: bool
    copies: int

    def matches(self, message: Message) -> bool:
        wanted = (self.outgoing, self.exchange, self.response)
        return wanted == (message.outgoing, message.exchange, message.response)


def read(outgoing: bool, port: int, payload: bytes) -> Message:
    """Return a datagram as a message, read apart from the engine's own parser."""
    octets = payload.removeprefix(NON_ESP_MARKER) if port == NAT_PORT else payload
    _, _, _, _, exchange, flags, message_id, _ = HEADER.unpack_from(octets)
    return Message(outgoing, port, exchange, bool(flags & RESPONSE), message_id, octets)


class Ours:
    """One endpoint of ours, driven whenever its charon waits; see `Charon.companions`."""

    def __init__(self, config: IkeConfig, charon: Charon, past: Collection[int]) -> None:
        """`past`: SPIs of initiators of earlier tests, whose last messages may come late."""
        self.charon = charon
        self._past = past
        self.endpoint = IkeEndpoint(config, TimerQueue(), os.urandom, self._new_spi)
        self.peer = config.peers[0].identity
        self.events: list[IkeEvent] = []
        self.messages: list[Message] = []
        self.faults: list[Fault] = []
        self.tunnel = Tunnel(self._send_esp)
        self.deaf = False
        """Hears nothing and says nothing, as if it were dead."""
        self.busy = False
        """Looks at nothing for now: what comes waits in the sockets."""
        self._sockets = {port: self._open(port) for port in (IKE_PORT, NAT_PORT)}
        charon.companions.append(self)

    @staticmethod
    def _open(port: int) -> socket.socket:
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        opened = socket.socket(socket.AF_INET6, kind)
        opened.bind((str(OURS), port))
        return opened

    def close(self) -> None:
        """Vanish without a word."""
        self.charon.companions.remove(self)
        for each in self._sockets.values():
            each.close()

    @staticmethod
    def _new_spi() -> int:
        return int.from_bytes(os.urandom(4)) | 1 << 24

    # Beside charon

    def descriptors(self) -> list[int]:
        """Return what to wait on before `pump`."""
        return [] if self.busy else [each.fileno() for each in self._sockets.values()]

    def next_timer(self) -> float | None:
        """Return when `pump` must be called next (monotonic seconds)."""
        return None if self.deaf or self.busy else self.endpoint.next_timer()

    def pump(self) -> None:
        """Receive what is there, run the timers, send what they made."""
        if self.busy:
            return
        for port, opened in self._sockets.items():
            while payload := receive(opened):
                if not self.deaf:
                    self._take(port, payload)
        if not self.deaf:
            self.endpoint.handle_timer(time.monotonic())
            self.flush()

    def _take(self, port: int, payload: bytes) -> None:
        if payload == KEEPALIVE:
            return
        if port == NAT_PORT and not payload.startswith(NON_ESP_MARKER):
            self.tunnel.receive(payload)
            return
        message = read(False, port, payload)
        if message.spi_initiator in self._past:
            return
        self.messages.append(message)
        for _ in range(self._copies(message)):
            datagram = Datagram(THEIRS, port, OURS, port, payload)
            self.endpoint.receive(datagram, time.monotonic())
            self.flush()

    def flush(self) -> None:
        """Send what the engine has to send, keep what it has to report."""
        for datagram in self.endpoint.datagrams_to_send():
            assert (datagram.source, datagram.destination) == (OURS, THEIRS)
            message = read(True, datagram.source_port, datagram.payload)
            self.messages.append(message)
            for _ in range(self._copies(message)):
                opened = self._sockets[datagram.source_port]
                opened.sendto(datagram.payload, (str(THEIRS), datagram.destination_port))
        while event := self.endpoint.next_event():
            self.events.append(event)
            if isinstance(event, ChildEstablished | ChildRekeyed):
                self.tunnel.add(event.child)

    def _copies(self, message: Message) -> int:
        fault = next((each for each in self.faults if each.matches(message)), None)
        if fault is None:
            return 1
        self.faults.remove(fault)
        return fault.copies

    def _send_esp(self, packet: bytes) -> None:
        self._sockets[NAT_PORT].sendto(packet, (str(THEIRS), NAT_PORT))

    def replay(self) -> None:
        """Let every message so far arrive once more, in its order, at the end that it went to."""
        for message in list(self.messages):
            marker = NON_ESP_MARKER if message.port == NAT_PORT else b""
            octets = marker + message.octets
            if message.outgoing:
                self._sockets[message.port].sendto(octets, (str(THEIRS), message.port))
            else:
                datagram = Datagram(THEIRS, message.port, OURS, message.port, octets)
                self.tell(self.endpoint.receive, datagram)

    # What tests say

    def initiate(self) -> IkeSa:
        """Begin an IKE SA with charon."""
        sa: IkeSa = self.tell(self.endpoint.initiate, self.peer, OURS, THEIRS)
        return sa

    def tell(self, verb: Callable[..., Any], *arguments: Any) -> Any:
        """Call one of the engine's verbs, with the time, and send what it made."""
        result = verb(*arguments, time.monotonic())
        self.flush()
        return result

    @staticmethod
    def now() -> float:
        """Return the engine's clock."""
        return time.monotonic()

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Let both ends work until `condition()` is true, and return it."""
        return self.charon.wait(condition, what)

    def await_event(self, kind: type[Event], since: int = 0) -> Event:
        """Wait until our engine reports such an event; return the first one."""

        def found() -> Event | None:
            return next((each for each in self.events[since:] if isinstance(each, kind)), None)

        event: Event = self.wait(found, kind.__name__)
        return event

    def await_child(self) -> ChildSa:
        """Wait for a Child SA that both ends hold; return ours."""
        child = self.await_event(ChildEstablished).child
        self.wait(lambda: self.charon.child(child.outbound_spi), "charon's side of it")
        return child

    def report(self) -> str:
        """Return what our side saw, for a failure."""
        lines = [
            f"{'->' if each.outgoing else '<-'} {each.port} exchange {each.exchange} "
            f"{'response' if each.response else 'request'} {each.message_id}"
            for each in self.messages
        ]
        events = [f"{each.kind} {each.fields()}" for each in self.events]
        return "\n".join([*lines, *events, str(dict(self.endpoint.counters))])


def receive(opened: socket.socket) -> bytes:
    """Return one datagram, or nothing."""
    if not select.select([opened], [], [], 0)[0]:
        return b""
    try:
        return opened.recv(SOCKET_SPACE)
    except OSError:  # an ICMPv6 error about something sent earlier
        return b""
