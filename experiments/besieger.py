"""An attacker's sender: frames made beforehand, at a stated rate, for a stated time, then silence.

`python -m experiments.besieger --interface IF --frames FILE --rate PPS --seconds S [--cookies]`

Starts in a node of the sandbox, prints `ready`, begins with a line on its standard input, ends by
itself, and prints what became of it as JSON. It sends many frames with one system call (sendmmsg)
and never more than `MOST_PACKETS` or for longer than `MOST_SECONDS`. What comes to UDP port 500 it
swallows; with `--cookies` it sends each IKE_SA_INIT again with the cookie that it was asked for
(RFC 7296 §2.6), from the address of the first one. The end of its input ends it at once.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

MOST_PACKETS = 400_000
MOST_SECONDS = 30.0
TICK_S = 0.002
LONGEST_BURST = 256
"""Frames of one system call: a sender that was held up does not make up for all of it."""

IKE_PORT = 500
MOST_ANSWERED = 64
"""Cookies returned between two bursts."""

LENGTH = struct.Struct("!H")
_ETHERNET, _IPV6, _UDP = 14, 40, 8
_IKE = _ETHERNET + _IPV6 + _UDP
_NEXT_PAYLOAD, _IKE_LENGTH = 16, slice(24, 28)
_IKE_HEADER = 28
_NOTIFY, _COOKIE = 41, 16390
_PACKET_INFO = struct.Struct("=16sI")


class _Buffer(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct mmsghdr: a struct msghdr, and how much of it was sent."""

    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
        ("buffers", ctypes.POINTER(_Buffer)), ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int), ("sent", ctypes.c_uint32),
    )  # fmt: skip


def write_frames(path: Path, frames: Iterable[bytes]) -> None:
    """Write Ethernet frames, each behind its length in two octets."""
    path.write_bytes(b"".join(LENGTH.pack(len(each)) + each for each in frames))


def read_frames(octets: bytes) -> list[bytes]:
    """Return the frames of a file that `write_frames` wrote."""
    frames, at = [], 0
    while at < len(octets):
        (length,) = LENGTH.unpack_from(octets, at)
        at += LENGTH.size
        frames.append(octets[at : at + length])
        at += length
    return frames


class Sender:
    """A packet socket and the frames that it sends again and again, in their order."""

    def __init__(self, interface: str, frames: Sequence[bytes]) -> None:
        """Open the socket; raises `OSError`, and `ValueError` without a frame."""
        if not frames:
            raise ValueError("no frames")
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((interface, 0))
        self._socket.setblocking(False)
        self._frames = list(frames)  # the buffers point into them
        self._buffers = (_Buffer * len(frames))(*[_Buffer(each, len(each)) for each in frames])
        self._messages = (_Message * len(frames))()
        for message, buffer in zip(self._messages, self._buffers, strict=True):
            message.buffers, message.count = ctypes.pointer(buffer), 1
        self._send = ctypes.CDLL(None, use_errno=True).sendmmsg
        self._next = 0
        self.sent = 0
        self.refused = 0
        """Frames for which the link's queue had no room."""

    def send(self, wanted: int) -> None:
        """Offer so many frames to the link."""
        while wanted > 0:
            there = min(wanted, len(self._frames) - self._next)
            first = ctypes.byref(self._messages, self._next * ctypes.sizeof(_Message))
            done = self._send(self._socket.fileno(), first, there, 0)
            if done <= 0:  # of a burst the first that finds no room is told of, and the rest waits
                self.refused += 1
                done = 1
            else:
                self.sent += done
            wanted -= done
            self._next = (self._next + done) % len(self._frames)


class Cookies:
    """UDP port 500 of all addresses of the node, and the IKE_SA_INIT requests by their SPI."""

    def __init__(self, frames: Sequence[bytes], *, returned: bool) -> None:
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(("::", IKE_PORT))
        self._requests = {each[_IKE : _IKE + 8]: each for each in frames} if returned else {}
        self.returned = 0

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def read(self) -> None:
        """Take what came; return the cookies among it."""
        for _ in range(MOST_ANSWERED):
            try:
                octets, sender = self._socket.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:
                continue
            request = self._requests.get(octets[:8])
            cookie = cookie_in(octets)
            if request is not None and cookie:
                self._answer(request, cookie, sender)

    def _answer(self, request: bytes, cookie: bytes, sender: tuple[str, int]) -> None:
        source = request[_ETHERNET + 8 : _ETHERNET + 24]
        info = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PACKET_INFO.pack(source, 0))
        with contextlib.suppress(OSError):
            self._socket.sendmsg([with_cookie(request[_IKE:], cookie)], [info], 0, sender)
            self.returned += 1


def cookie_in(octets: bytes) -> bytes:
    """Return the cookie that an answer to IKE_SA_INIT asks for; empty if it asks for none."""
    if len(octets) < _IKE_HEADER + 8 or octets[_NEXT_PAYLOAD] != _NOTIFY:
        return b""
    length, _, size, kind = struct.unpack_from("!HBBH", octets, _IKE_HEADER + 2)
    if kind != _COOKIE or size:
        return b""
    return octets[_IKE_HEADER + 8 : _IKE_HEADER + length]


def with_cookie(request: bytes, cookie: bytes) -> bytes:
    """Return an IKE_SA_INIT request with the cookie as its first payload (RFC 7296 §2.6)."""
    first = request[_NEXT_PAYLOAD]
    notify = struct.pack("!BBHBBH", first, 0, 8 + len(cookie), 0, 0, _COOKIE) + cookie
    head = bytearray(request[:_IKE_HEADER])
    head[_NEXT_PAYLOAD] = _NOTIFY
    head[_IKE_LENGTH] = (len(request) + len(notify)).to_bytes(4)
    return bytes(head) + notify + request[_IKE_HEADER:]


def besiege(sender: Sender, cookies: Cookies, rate: float, seconds: float) -> float:
    """Send at `rate` frames a second for `seconds`; return how long it took, in s.

    Deadlines are absolute, so the pace does not drift; what was missed is sent in bursts of
    `LONGEST_BURST` at most, and forgotten beyond a few of them.
    """
    begin = time.monotonic()
    end = begin + min(seconds, MOST_SECONDS)
    offered = 0
    most = min(int(rate * seconds), MOST_PACKETS)
    poll = select.poll()
    poll.register(cookies.fileno(), select.POLLIN)
    poll.register(0, select.POLLHUP)
    while offered < most and (now := time.monotonic()) < end:
        due = min(int((now - begin) * rate), most) - offered
        burst = min(due, LONGEST_BURST)
        sender.send(burst)
        offered += burst if due < 8 * LONGEST_BURST else due
        wait = max(0.0, begin + (offered + rate * TICK_S) / rate - time.monotonic())
        for descriptor, _ in poll.poll(wait * 1000):
            if descriptor == 0:
                return time.monotonic() - begin
            cookies.read()
    return time.monotonic() - begin


def main() -> int:
    """Run one sender."""
    parser = argparse.ArgumentParser(description="an attacker's sender, bounded in count and time")
    parser.add_argument("--interface", required=True)
    parser.add_argument("--frames", required=True, type=Path)
    parser.add_argument("--rate", required=True, type=float)
    parser.add_argument("--seconds", required=True, type=float)
    parser.add_argument("--cookies", action="store_true")
    options = parser.parse_args()
    frames = read_frames(options.frames.read_bytes())
    sender = Sender(options.interface, frames)
    cookies = Cookies(frames, returned=options.cookies)
    print("ready", flush=True)
    if os.read(0, 64):
        took = besiege(sender, cookies, options.rate, options.seconds)
        told = {"sent": sender.sent, "refused": sender.refused, "returned": cookies.returned}
        print(json.dumps({**told, "seconds": took}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
