"""A process beside a home agent that takes the home route away when the agent hangs.

A hung agent keeps its TUN device and so its route: a black hole. The watchdog removes the route
when the last heartbeat is 30 ms old; only the agent puts it back, after it has resynchronised
(RFC 4786 §4.4.1). The two are tied together: the kernel kills the watchdog when the agent dies
(PR_SET_PDEATHSIG), and the agent ends when the watchdog does. The watchdog is forked before the
TUN device is opened, and so can never keep it alive.
"""

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import time
from ipaddress import IPv6Network
from pathlib import Path
from typing import Final

from agents.runtime.journal import Journal
from agents.runtime.netlink import Netlink

BEAT_INTERVAL: Final = 0.01
"""Seconds between two heartbeats."""

LIMIT: Final = 0.03
"""Age in seconds of the last heartbeat at which the route goes."""

STARVED_LIMIT: Final = 0.5
"""The same for an agent that wants to run and gets no processor (0.12 s seen on two busy cores):
it has not failed, packets wait in its queues meanwhile, and to withdraw would lose more."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_BEAT: Final = b"h"
_TRIPPED: Final = b"t"


class WatchdogDied(Exception):  # noqa: N818 - an event, as SystemExit is
    """The watchdog is gone; the agent must not run without it."""


class Watchdog:
    """The agent's end: sends heartbeats, hears of trips."""

    def __init__(self, channel: socket.socket, process: int) -> None:
        self._channel = channel
        self.process = process
        """Its process id."""
        self._next = 0.0

    @classmethod
    def start(cls, prefix: IPv6Network, journal: Path, node: str) -> "Watchdog":
        """Fork the watchdog of the route to `prefix`. It waits for the first heartbeat."""
        kind = socket.SOCK_STREAM | socket.SOCK_CLOEXEC
        here, there = socket.socketpair(socket.AF_UNIX, kind)
        agent = os.getpid()
        process = os.fork()
        if process == 0:
            here.close()
            _run(there, agent, prefix, journal, node)
        there.close()
        here.setblocking(False)
        return cls(here, process)

    def fileno(self) -> int:
        """Return the descriptor on which trips are heard."""
        return self._channel.fileno()

    def next_beat(self) -> float:
        """Return when `beat` is due."""
        return self._next

    def beat(self, now: float) -> None:
        """Say that the loop that handles packets is alive."""
        self._next = now + BEAT_INTERVAL
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self._channel.send(_BEAT)

    def tripped(self) -> bool:
        """Return whether the route was removed; raises `WatchdogDied`."""
        try:
            heard = self._channel.recv(64)
        except BlockingIOError:
            return False
        except ConnectionError:
            heard = b""
        if not heard:
            raise WatchdogDied
        return True

    def close(self) -> None:
        """End the watchdog: it leaves when its channel is closed."""
        self._channel.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.process, 0)


def _run(channel: socket.socket, agent: int, prefix: IPv6Network, journal: Path, node: str) -> None:
    """Be the watchdog; never returns."""
    status = 1
    try:
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(_PR_SET_NAME, b"watchdog", 0, 0, 0)
        if os.getppid() != agent:  # it died before the line above
            os._exit(1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the agent decides what Ctrl-C means
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _watch(channel, agent, prefix, Journal(journal, node))
        status = 0
    except ConnectionError:
        status = 0  # the agent left while something was on its way to it
    except BaseException as error:
        print(f"watchdog: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        os._exit(status)


def _watch(channel: socket.socket, agent: int, prefix: IPv6Network, journal: Journal) -> None:
    """Wait for heartbeats; return when the agent closes the channel."""
    netlink = Netlink()
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    while channel.recv(4096):  # blocks: nothing is watched before the first heartbeat
        age = _await_silence(channel, poll, agent)
        if age is None:
            return
        removed = netlink.remove_route(prefix, 0)
        channel.send(_TRIPPED)
        journal.write("watchdog-trip", {"heartbeat_age_ms": age * 1000, "route_removed": removed})


def _await_silence(channel: socket.socket, poll: select.poll, agent: int) -> float | None:
    """Return the age of the last heartbeat once it is too old; None if the agent has left."""
    last = time.monotonic()
    used = _processor_time(agent)
    while True:
        wait = LIMIT - (time.monotonic() - last)
        # Rounded up to whole milliseconds: a poll that ends early would only be repeated.
        if poll.poll(max(1, int(wait * 1000) + 1)):
            if not channel.recv(4096):
                return None
            last = time.monotonic()
            used = _processor_time(agent)
            continue
        age = time.monotonic() - last
        if age >= STARVED_LIMIT or (age >= LIMIT and not _starved(agent, used)):
            return age


def _starved(agent: int, used: float) -> bool:
    """Is the agent runnable, and kept from running since it had used `used` seconds?"""
    try:
        state = Path(f"/proc/{agent}/stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError:
        return False
    return state == b"R" and _processor_time(agent) - used < LIMIT / 2


def _processor_time(process: int) -> float:
    """Return the processor time in seconds that `process` has used."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_bytes().split()[0]) * 1e-9
    except (OSError, ValueError, IndexError):
        return 0.0
