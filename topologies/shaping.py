"""What a link's two ends are shaped with: rate by HTB, delay and loss by netem where it is there.

On a capped link routing has a class of its own: OSPFv3, BGP and BFD send with traffic class CS6
(RFC 4594 §3.1, RFC 5880; FRR does), and behind a full queue their sessions would die of a load
that a real router lets them pass.
"""

from __future__ import annotations

from topologies.plan import LinkPlan, Plan

QUEUE_SECONDS = 0.02
"""What a capped link's queue holds: TCP fills the link, a delay measurement is not swamped."""

QUEUE_PACKETS = 30
"""At least, for slow links."""

ROUTING_SHARE = 0.1
"""Of the rate that is routing's own; either class takes what the other leaves."""

IN_FLIGHT = 100_000
"""Packets that netem may hold on a link without a cap."""

_CS6 = "match ip6 priority 0xc0 0xfc"
"""Traffic class 0xc0, whatever its last two bits (ECN)."""

_DATA, _ROUTING = "10", "20"


def link_commands(plan: Plan, node: str, *, netem: bool) -> list[str]:
    """Return the lines for ``tc -batch`` that shape what a node sends; none for a plain node.

    ``netem``: the kernel has it; else the delay line delays and loses.
    """
    lines: list[str] = []
    for end in plan.ends_of(node):
        lines += end_commands(end.interface, end.link, netem=netem)
    return lines


def end_commands(interface: str, link: LinkPlan, *, netem: bool) -> list[str]:
    """Return the lines for ``tc -batch`` that shape what leaves one interface."""
    delay, loss = (link.delay_ms, link.loss) if netem else (0.0, 0.0)
    if link.rate_mbit is not None:
        return rate_commands(interface, link.rate_mbit, delay, loss)
    if delay or loss:
        return [f"qdisc replace dev {interface} root handle 1: {_netem(delay, loss, IN_FLIGHT)}"]
    return []


def rate_commands(
    interface: str, mbit: float, delay_ms: float = 0.0, loss: float = 0.0
) -> list[str]:
    """Return the lines for ``tc -batch`` that cap what leaves an interface.

    The delay and loss are netem's, and zero without it.
    """
    packets = max(QUEUE_PACKETS, int(mbit * 1e6 * QUEUE_SECONDS / 12000))
    burst = max(3200, int(mbit * 1e6 / 8 / 250))  # what HTB may send at once: 4 ms
    sizes = f"ceil {mbit * 1e6:.0f}bit burst {burst} cburst {burst} quantum 1514"
    classes = ((_DATA, 1 - ROUTING_SHARE, 1), (_ROUTING, ROUTING_SHARE, 0))
    lines = [
        f"qdisc replace dev {interface} root handle 1: htb default {_DATA}",
        f"class replace dev {interface} parent 1: classid 1:1 htb rate {mbit * 1e6:.0f}bit {sizes}",
    ]
    for name, share, priority in classes:
        lines += [
            f"class replace dev {interface} parent 1:1 classid 1:{name} htb "
            f"rate {mbit * 1e6 * share:.0f}bit {sizes} prio {priority}",
            f"qdisc replace dev {interface} parent 1:{name} handle {name}: "
            f"{_leaf(packets, mbit, delay_ms, loss)}",
        ]
    return [
        *lines,
        f"filter replace dev {interface} parent 1: protocol ipv6 prio 1 handle 800::1 "
        f"u32 {_CS6} flowid 1:{_ROUTING}",
    ]


def _leaf(packets: int, mbit: float, delay_ms: float, loss: float) -> str:
    if not (delay_ms or loss):
        return f"pfifo limit {packets}"
    in_flight = int(mbit * 1e3 * delay_ms / 12000)
    return _netem(delay_ms, loss, packets + in_flight)


def _netem(delay_ms: float, loss: float, limit: int) -> str:
    words = [f"netem limit {limit}"]
    if delay_ms:
        words.append(f"delay {delay_ms:g}ms")
    if loss:
        words.append(f"loss {loss * 100:g}%")
    return " ".join(words)
