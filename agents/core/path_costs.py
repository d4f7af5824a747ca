"""Round-trip times from a home agent's own address, by ICMPv6 echoes (RFC 4443 §4; rule 11).

Of the newest answers the fastest counts: queues on the way come and go, and shall move no path.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from agents.core.context import Context
from agents.core.counters import Dropped
from agents.core.rate_limit import RateLimit
from agents.wire import icmpv6, ipv6
from agents.wire.errors import WireError

SAMPLES = 5
"""Answers of which the fastest counts."""

PATIENCE = 3
"""Intervals after which what was measured, or said, is old."""

ECHOES_PER_SECOND = 200
"""Echo requests sent at most, to all targets together."""

_TOKEN = 8


@dataclass(slots=True)
class _Target:
    """Echoes to one address: what is open, by sequence number, and what came of the others."""

    sequence: int = 0
    open: dict[int, tuple[bytes, float]] = field(default_factory=dict)
    answers: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=SAMPLES))


class PathCosts:
    """Measures the addresses that are asked for, one echo each an interval."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._interval = context.config.optimisation.interval
        self._identifier = int.from_bytes(context.random_bytes(2))
        self._targets: dict[IPv6Address, _Target] = {}
        self._limit = RateLimit(ECHOES_PER_SECOND)

    def measure(self, targets: Iterable[IPv6Address], now: float) -> None:
        """Send an echo to each of `targets`, and forget all others."""
        wanted = dict.fromkeys(targets)
        self._targets = {each: self._targets.get(each, _Target()) for each in wanted}
        for address, target in self._targets.items():
            if not self._limit.allow(now):
                self._context.counters["echoes-suppressed"] += 1
                continue
            self._send(address, target, now)

    def receive(self, packet: ipv6.Packet, now: float) -> None:
        """Take an answer; raise `Dropped` for one to nothing that was asked."""
        try:
            identifier, sequence, token = icmpv6.parse_echo_reply(
                packet.payload, packet.source, packet.destination
            )
        except WireError as error:
            raise Dropped(str(error.reason)) from error
        target = self._targets.get(packet.source)
        if target is None or identifier != self._identifier:
            raise Dropped("echo-unexpected")
        asked = target.open.get(sequence)
        if asked is None or asked[0] != token:
            raise Dropped("echo-unexpected")
        del target.open[sequence]
        target.answers.append((now, now - asked[1]))
        self._context.counters["received.echo-reply"] += 1

    def round_trip(self, address: IPv6Address, now: float) -> float | None:
        """Return the round-trip time to `address` in seconds; None where none is known."""
        target = self._targets.get(address)
        if target is None:
            return None
        oldest = now - PATIENCE * self._interval
        if not target.answers or target.answers[-1][0] < oldest:
            return None
        return min(each for _, each in target.answers)

    def _send(self, address: IPv6Address, target: _Target, now: float) -> None:
        target.sequence = (target.sequence + 1) & 0xFFFF
        while len(target.open) >= PATIENCE:
            del target.open[next(iter(target.open))]
        token = self._context.random_bytes(_TOKEN)
        target.open[target.sequence] = token, now
        own = self._context.config.address
        self._context.to_send.append(
            icmpv6.echo(own, address, self._identifier, target.sequence, token)
        )
        self._context.counters["sent.echo-request"] += 1
