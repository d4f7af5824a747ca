"""The hijacker: what its announcement draws to it, it records; and it speaks in others' names.

It sits in an AS of its own, holds nobody's key, and hears only what routing brings. It lives in the
sandbox's namespaces, records at most `MOST_DRAWN` packets and sends at most `MOST_INJECTED`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from experiments.attacks import ETHERNET, IPV6, MOST_INJECTED, PACKET_OUTGOING, framed, open_port
from experiments.hijack_cases import Lie
from topologies import frr_config
from topologies.frr import Daemon
from topologies.namespaces import call_in
from topologies.nodes import SixNode
from topologies.plan import End, Plan, Protocol

MOST_DRAWN = 20_000
HEADER = 40
UDP, ESP, DESTINATION_OPTIONS = 17, 50, 60
FORGED_LIST = "FORGED"
FORGED_ENTRY = 5
"""Of the route map for what it exports: before the one that lets its own prefixes pass."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One IPv6 packet that came to the hijacker."""

    octets: bytes

    @property
    def source(self) -> IPv6Address:
        """Where it says that it comes from."""
        return IPv6Address(self.octets[8:24])

    @property
    def destination(self) -> IPv6Address:
        """Where it was meant to go."""
        return IPv6Address(self.octets[24:40])

    @property
    def next_header(self) -> int:
        """The first header behind IPv6's own: UDP from a CN, ESP or Destination Options from an MN.

        A Binding Update has the Home Address option in front of ESP, a tunnel packet nothing.
        """
        return self.octets[6]

    def esp(self) -> bytes:
        """Return the ESP packet in it, from the SPI on."""
        skipped = 8 * (self.octets[HEADER + 1] + 1) if self.next_header != ESP else 0
        return self.octets[HEADER + skipped :]


class Hijacker:
    """Announces, records and injects, at one link to a provider."""

    def __init__(
        self, plan: Plan, name: str, node: SixNode, provider: SixNode, bgpd: Daemon,
        target: IPv6Network,
    ) -> None:  # fmt: skip
        """Open the link's port in its own namespace; raises OSError.

        ``target`` is what it wants; packets to it end here, unanswered by the kernel.
        """
        end = _uplink(plan, name)
        self._asn, self._neighbour, self._bgpd = plan.nodes[name].asn, end.neighbour_address, bgpd
        self._target = target
        self._port = call_in(node.pid, lambda: open_port(end.interface))
        self._own = self._port.getsockname()[4]
        self._next_hop = call_in(provider.pid, lambda: _mac(f"{end.neighbour}-{name}"))
        node.run(
            ["ip", "-6", "route", "replace", "blackhole", str(target), "metric", "1"], check=True
        )
        self.drawn: list[Drawn] = []
        self.injected = 0
        self.said: Lie | None = None

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._port.fileno()

    def read(self) -> None:
        """Take in what waits; what is not for the target is none of its business."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, (_, _, kind, *_) = self._port.recvfrom(2048)
                if kind == PACKET_OUTGOING or frame[12:ETHERNET] != IPV6:
                    continue
                packet = Drawn(frame[ETHERNET:])
                if packet.destination in self._target and len(self.drawn) < MOST_DRAWN:
                    self.drawn.append(packet)

    def inject(self, packet: bytes) -> None:
        """Send a packet by its provider; RuntimeError beyond the limit."""
        self.injected += 1
        if self.injected > MOST_INJECTED:
            raise RuntimeError(f"the hijacker was to send more than {MOST_INJECTED} packets")
        self._port.send(framed(packet, self._next_hop, self._own))

    def say(self, lie: Lie | None) -> None:
        """Announce something else than before, or nothing; RoutingError if bgpd refuses."""
        if lie == self.said:
            return
        lines: list[str] = []
        if self.said is not None:
            lines += [*self._family(), f"no network {self.said.prefix}", "exit", "exit"]
            lines += [
                f"no route-map {frr_config.EXPORT_MAP} permit {FORGED_ENTRY}",
                f"no ipv6 prefix-list {FORGED_LIST}",
            ]
        if lie is not None:
            lines += [
                f"ipv6 prefix-list {FORGED_LIST} seq 5 permit {lie.prefix}",
                f"route-map {frr_config.EXPORT_MAP} permit {FORGED_ENTRY}",
                f"match ipv6 address prefix-list {FORGED_LIST}",
                *([] if lie.origin is None else [f"set as-path prepend {lie.origin}"]),
                "exit",
                *self._family(),
                f"network {lie.prefix}",
            ]
        self._bgpd.configure(lines)
        self.said = lie

    def close(self) -> None:
        """Close its port."""
        self._port.close()

    def _family(self) -> list[str]:
        return [f"router bgp {self._asn}", "address-family ipv6 unicast"]


def _uplink(plan: Plan, name: str) -> End:
    return next(end for end in plan.ends_of(name) if end.link.protocol is Protocol.BGP)


def _mac(interface: str) -> bytes:
    port = open_port(interface, listen=False)
    try:
        return bytes(port.getsockname()[4])
    finally:
        port.close()
