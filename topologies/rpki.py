"""Route-origin validation on a running network: caches, bgpd's RPKI block, questions to FRR.

Every validating node has a cache of its own, stayrtr on one local JSON file that all of them read:
so a session needs no route that it is to judge. Router and cache speak the RPKI-to-Router protocol
(RFC 8210, version 1).
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

from topologies.frr import Daemon, NodeRouting
from topologies.frr_programs import CACHE_HOST, CACHE_PORT, RoutingError, check_rpki_module
from topologies.import_policy import ImportFilter
from topologies.namespaces import call_in
from topologies.nodes import SixNode
from topologies.plan import Plan, Protocol
from topologies.route_origins import State, Vrp

REFRESH = 3600
"""Seconds after which a cache reads its file unasked; a change is told by SIGHUP."""

RETRY = 1
"""Seconds after which a router asks again for a cache that is away. The cache says so at the end of
its data (RFC 8210 §6), over what the router has configured; by default it says 600."""

POLL = 0.01
LOG_LINES = 3


def check_installed() -> None:
    """Raise RoutingError naming the package, where bgpd's module or the cache is missing."""
    if shutil.which("stayrtr") is None:
        raise RoutingError("stayrtr is missing; `make setup` installs it (Debian package: stayrtr)")
    check_rpki_module()


def write_payloads(path: Path, payloads: Iterable[Vrp]) -> None:
    """Write the file that caches read, in the form that RPKI validators export, in one step."""
    roas = [
        {"prefix": str(each.prefix), "maxLength": each.max_length, "asn": each.asn}
        for each in payloads
    ]
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({"roas": roas}, indent=1) + "\n")
    temporary.replace(path)


class Cache:
    """One node's stayrtr."""

    def __init__(self, node: SixNode, payloads: Path, log: Path) -> None:
        self.node, self._payloads, self._log = node, payloads, log
        self._process: subprocess.Popen[Any] | None = None

    def start(self, timeout: float = 10.0) -> None:
        """Start it and wait until it listens: a router that finds nobody waits before it retries.

        Raises RoutingError with its last words when it ends or is not ready in time.
        """
        command = ["stayrtr", "-cache", str(self._payloads),
                   "-bind", f"[{CACHE_HOST}]:{CACHE_PORT}", "-protocol", "1",
                   "-checktime=false", "-refresh", str(REFRESH), "-metrics.addr", "",
                   "-rtr.retry", str(RETRY)]  # fmt: skip
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as out:
            self._process = self.node.spawn(command, stdout=out, stderr=out)
        until = time.monotonic() + timeout
        while not call_in(self.node.pid, _listens):
            self.check_alive()
            if time.monotonic() > until:
                raise RoutingError(f"{self.node.name}: stayrtr does not listen; see {self._log}")
            time.sleep(POLL)

    def reload(self) -> None:
        """Let it read its file now, and notify its routers (Serial Notify, RFC 8210 §5.2)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def check_alive(self) -> None:
        """Raise RoutingError with the log's last lines when it has ended."""
        if self._process is not None and (code := self._process.poll()) is not None:
            lines = self._log.read_text(errors="replace").splitlines()[-LOG_LINES:]
            raise RoutingError(f"{self.node.name}: stayrtr ended with {code}: " + "; ".join(lines))

    def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _listens() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        return probe.connect_ex((CACHE_HOST, CACHE_PORT)) == 0


@dataclass(frozen=True, slots=True)
class Judged:
    """A route as bgpd holds it: its AS path in words, its validation state, whether it is the best.

    A state of None: this bgpd does not validate.
    """

    path: str
    state: State | None
    best: bool


def routes(bgpd: Daemon, prefix: IPv6Network) -> list[Judged]:
    """Return what a bgpd holds for exactly this prefix."""
    answer = bgpd.ask_json(f"show bgp ipv6 unicast {prefix}")
    if answer.get("prefix") != str(prefix):
        return []
    return [_judged(path) for path in answer.get("paths", ())]


def _judged(path: Mapping[str, Any]) -> Judged:
    state = path.get("rpkiValidationState")
    return Judged(
        path["aspath"]["string"].replace("Local", ""),
        State(state.replace(" ", "")) if state else None,
        bool(path.get("bestpath", {}).get("overall")),
    )


class Validation:
    """The validating nodes of a network: their caches, their sessions, their filters."""

    def __init__(
        self, plan: Plan, nodes: Mapping[str, SixNode], validators: Iterable[str], folder: Path,
        logs: Path,
    ) -> None:  # fmt: skip
        """``folder`` is for the payloads' file, ``logs`` has a folder for each node."""
        self._plan = plan
        self._file = folder / "payloads.json"
        self._expected: frozenset[Vrp] = frozenset()
        self._on: Mapping[str, NodeRouting] = {}
        self.caches = {
            name: Cache(nodes[name], self._file, logs / name / "stayrtr.log") for name in validators
        }

    def start(self, payloads: Iterable[Vrp]) -> None:
        """Start the caches; routers come later. Raises RoutingError for what is missing."""
        check_installed()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._expected = frozenset(payloads)
        write_payloads(self._file, self._expected)
        for cache in self.caches.values():
            cache.start()

    def attach(self, on: Mapping[str, NodeRouting]) -> None:
        """Take the routers' daemons, which have been started."""
        self._on = on

    def publish(self, payloads: Iterable[Vrp], timeout: float = 10.0) -> None:
        """Replace the payloads, and wait until every validator has these and no others."""
        self._expected = frozenset(payloads)
        write_payloads(self._file, self._expected)
        for cache in self.caches.values():
            cache.reload()
        self.wait(timeout)

    def wait(self, timeout: float = 10.0) -> None:
        """Wait until every session is up and has brought all payloads; RoutingError names others.

        A node without payloads to get has its session all the same.
        """
        until = time.monotonic() + timeout
        while lacking := [name for name in self.caches if not self._in_step(name)]:
            for name in lacking:
                self.caches[name].check_alive()
                self._on[name].check_alive()
            if time.monotonic() > until:
                raise RoutingError(
                    f"not in step with the RPKI cache after {timeout:.0f} s: {', '.join(lacking)}"
                )
            time.sleep(POLL)

    def _in_step(self, name: str) -> bool:
        bgpd = self._on[name].daemons["bgpd"]
        try:
            return connected(bgpd) and payloads_of(bgpd) == self._expected
        except OSError:  # its socket is not there yet
            return False

    def restart(self, name: str) -> None:
        """Start a node's cache anew, and let its router forget the session; then :meth:`wait`.

        A new cache has a new session id. stayrtr 0.5.1 answers the old one with an error instead
        of a Cache Reset (RFC 8210 §5.9), and rtrlib 0.8 then asks by it for ever (seen).
        """
        self.caches[name].stop()
        self.caches[name].start()
        self._on[name].daemons["bgpd"].ask("rpki reset")

    def use(self, filter_: ImportFilter, nodes: Iterable[str]) -> None:
        """Let nodes apply a filter to everything that their neighbours in other ASes tell them."""
        for name in nodes:
            peers = [
                end.neighbour_address
                for end in self._plan.ends_of(name)
                if end.link.protocol is Protocol.BGP
            ]
            self._on[name].daemons["bgpd"].configure(
                [
                    *filter_.lines,
                    f"router bgp {self._plan.nodes[name].asn}",
                    "address-family ipv6 unicast",
                    *(f"neighbor {peer} route-map {filter_.name} in" for peer in peers),
                ]
            )

    def check_alive(self) -> None:
        """Raise RoutingError when a cache has ended."""
        for cache in self.caches.values():
            cache.check_alive()

    def stop(self) -> None:
        """End the caches."""
        for cache in self.caches.values():
            cache.stop()


def connected(bgpd: Daemon) -> bool:
    """Return whether a bgpd has its session with the cache."""
    answer = bgpd.ask_json("show rpki cache-connection")
    return any(each.get("state") == "connected" for each in answer.get("connections", ()))


def payloads_of(bgpd: Daemon) -> frozenset[Vrp]:
    """Return the payloads that a bgpd works by."""
    answer = bgpd.ask_json("show rpki prefix-table")
    return frozenset(
        Vrp(
            IPv6Network(f"{each['prefix']}/{each['prefixLenMin']}"),
            int(each["asn"]),
            int(each["prefixLenMax"]),
        )
        for each in answer.get("prefixes", ())
    )
