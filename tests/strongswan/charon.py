"""strongSwan's charon in a network namespace of the sandbox, with nothing of the host's.

It sees its own `/etc/strongswan.conf` and its own `/run` by bind mounts. It runs from a copy: a
profile of AppArmor goes by the path and lets Debian's own do what a machine's only one does. ESP is
in its process (plugin kernel-libipsec, always in UDP and in tunnel mode), since the kernel may have
none. What it logs is read from a pipe, line by line; it is told what to do, and asked what it has,
over VICI.
"""

import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tests.strongswan.configuration import PROGRAM, SETTINGS, render
from tests.strongswan.vici import Message, Vici

EVENTS = ("ike-updown", "ike-rekey", "child-updown", "child-rekey")
PATIENCE = 20.0
"""Seconds to wait for what must come: for hangs, not for speed."""
LOOK_AGAIN = 0.02
"""Seconds without any news after which a condition is tried again: charon announces a change before
it has made it, and then says no more."""


class Companion(Protocol):
    """Somebody who talks with charon in this process."""

    def descriptors(self) -> list[int]:
        """Return what to wait on before `pump`."""
        ...

    def next_timer(self) -> float | None:
        """Return when `pump` must be called even so (monotonic seconds), if ever."""
        ...

    def pump(self) -> None:
        """Do what there is to do, without waiting."""
        ...


class Charon:
    """One running charon; `node` is the namespace in which it runs."""

    def __init__(self, node: str, **settings: str) -> None:
        """Start it and wait until it listens; `settings` go on top of SETTINGS.

        `directory`, in the sandbox's memory, is its /run.
        """
        self.node = node
        self.lines: list[str] = []
        self.events: list[tuple[str, Message]] = []
        self.companions: list[Companion] = []
        """Who must be driven while this end is waited for."""
        self._rest = ""
        self.directory = Path(tempfile.mkdtemp(prefix=f"{node}-"))
        shutil.copy(PROGRAM, self.directory / "charon")
        configuration = self.directory.with_suffix(".conf")
        configuration.write_text(render({**SETTINGS, **settings}))
        script = (
            f"mount --bind {configuration} /etc/strongswan.conf && "
            f"mount --bind {self.directory} /run && exec /run/charon"
        )
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", node, "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert self.process.stderr is not None
        self._log = self.process.stderr.fileno()
        fcntl.fcntl(self._log, fcntl.F_SETPIPE_SZ, 1 << 20)
        os.set_blocking(self._log, False)
        self._reported: Vici | None = None
        self.await_line("spawning .* worker threads")
        self.vici = Vici(self.directory / "charon.vici")
        self._reported = Vici(self.directory / "charon.vici")
        self._reported.register(*EVENTS)

    def stop(self) -> int:
        """End it, by its own id, and return its exit code."""
        self.vici.close()
        if self._reported is not None:
            self._reported.close()
            self._reported = None
        self.process.terminate()
        deadline = time.monotonic() + PATIENCE
        while select.select([self._log], [], [], max(deadline - time.monotonic(), 0))[0]:
            if not self.pump():
                break
        return self.process.wait(PATIENCE)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop it, all of its threads, for a while."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    # What it says

    def descriptors(self) -> list[int]:
        """Return what to wait on before `pump`."""
        return [self._log, *([] if self._reported is None else [self._reported.fileno()])]

    def pump(self) -> bool:
        """Take in what it has said meanwhile, without waiting; False when it has ended."""
        try:
            data = os.read(self._log, 1 << 20)
        except BlockingIOError:
            data = None
        if data:
            *lines, self._rest = (self._rest + data.decode(errors="replace")).split("\n")
            self.lines += lines
        while self._reported is not None and select.select([self._reported], [], [], 0)[0]:
            self.events.append(self._reported.next_event())
        return data != b""

    def await_line(self, pattern: str) -> str:
        """Wait until it has logged a line that matches; return that line."""
        wanted = re.compile(pattern)

        def found() -> str:
            return next((each for each in self.lines if wanted.search(each)), "")

        line: str = self.wait(found, f"a line like {pattern!r}")
        return line

    def await_event(self, name: str, up: bool = True) -> Message:
        """Wait until it reports a VICI event about something that came up, or went; return it."""

        def found() -> Message | None:
            for kind, message in self.events:
                if kind == name and (message.get("up") == "yes") is up:
                    return message
            return None

        event: Message = self.wait(found, f"the event {name}")
        return event

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until `condition()` is true and return it; companions are driven meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while not (result := condition()):
            now = time.monotonic()
            alive = self._sleep(min([now + LOOK_AGAIN, *self._timers()]) - now)
            if not alive or now > deadline:
                raise AssertionError(f"{self.node}: waited for {what}")
        return result

    def _timers(self) -> list[float]:
        return [when for each in self.companions if (when := each.next_timer()) is not None]

    def _sleep(self, seconds: float) -> bool:
        """Wait for anything, and work on it; False when charon has ended."""
        watched = self.descriptors()
        for each in self.companions:
            watched += each.descriptors()
        select.select(watched, [], [], max(seconds, 0))
        for each in self.companions:
            each.pump()
        return self.pump()

    def report(self, count: int = 40) -> str:
        """Return its last lines."""
        self.pump()
        return "\n".join([*self.lines, self._rest][-count:])

    # What it has

    def load(self, connection: Message, secrets: Mapping[str, bytes] | None = None) -> None:
        """Load a connection (a dictionary of one name), and pre-shared keys by identity."""
        self.learn(secrets or {})
        self.vici.ask("load-conn", **connection)

    def learn(self, secrets: Mapping[str, bytes]) -> None:
        """Take these pre-shared keys, by identity, in the place of older ones."""
        for identity, secret in secrets.items():
            self.vici.ask("load-shared", id=identity, type="IKE", data=secret, owners=[identity])

    def believe(self, anchor: bytes, *lists: bytes) -> None:
        """Trust a certificate authority; know these revocation lists. All in DER."""
        self.vici.ask("load-cert", type="X509", flag="CA", data=anchor)
        for each in lists:
            self.vici.ask("load-cert", type="X509_CRL", data=each)

    def own(self, chain: Sequence[bytes], key: bytes) -> None:
        """Have a certificate in DER, its issuers behind it, and its private key in PEM."""
        for each, flag in zip(chain, ("NONE", *["CA"] * len(chain)), strict=False):
            self.vici.ask("load-cert", type="X509", flag=flag, data=each)
        self.vici.ask("load-key", type="any", data=key)

    def initiate(self, child: str) -> None:
        """Begin a connection's Child SA, without waiting for it."""
        self.vici.ask("initiate", child=child, timeout="-1")

    def associations(self) -> list[Message]:
        """Return its IKE SAs with their Child SAs, as VICI names the fields."""
        listed = self.vici.stream("list-sas", "list-sa")
        return [sa for each in listed for sa in each.values()]

    def children(self) -> list[int]:
        """Return charon's inbound SPIs of the Child SAs that are installed."""
        return [int(each["spi-in"], 16) for each in self._children()]

    def child(self, inbound_spi: int) -> Message | None:
        """Return the installed Child SA with this SPI on charon's side, if there is one."""
        found = (each for each in self._children() if int(each["spi-in"], 16) == inbound_spi)
        return next(found, None)

    def _children(self) -> list[Message]:
        return [
            dict(child)
            for association in self.associations()
            for child in association["child-sas"].values()
            if child["state"] == "INSTALLED"
        ]

    def forget(self, association: Message) -> None:
        """Have an IKE SA of `associations` no more, whatever the other end answers."""
        handle = {"ike-id": association["uniqueid"]}
        self.vici.ask("terminate", **handle, force="yes", timeout="-1")
        known = association["uniqueid"]
        self.wait(
            lambda: known not in [each["uniqueid"] for each in self.associations()],
            "the end of an IKE SA",
        )

    def reset(self) -> set[int]:
        """Forget every SA, connection and key; return the initiators' SPIs of the IKE SAs."""
        for name in self.vici.ask("get-conns")["conns"]:
            self.vici.ask("unload-conn", name=name)
        known = self.associations()
        for association in known:
            self.forget(association)
        self.vici.ask("clear-creds")
        self.vici.ask("flush-certs")
        self.events.clear()
        self.lines.clear()
        return {int(each["initiator-spi"], 16) for each in known}
