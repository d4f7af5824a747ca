"""What a change of a binding should cost between n home agents: a formula, beside what is measured.

A change at one home agent goes to its n - 1 peers, each of which acknowledges, and the number of
the Binding Update follows in a Replay Floor: 3(n - 1) messages; 2(n - 1) for SAs. A home agent
that returns after a restart fetches a table of s segments from each peer, in s + 1 messages and a
request for each 16 segments begun, and each peer asks for its table, which only says who its peers
are, in 3 messages. (On paths of unequal delay some of it may be there by then: at most (n - 1)s
segments more.) The detectors send n(n - 1) HELLOs an interval, or twice as many keepalives. Sizes
come from the formats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.config import HomeAgentTimers
from agents.core.table_transfer import WINDOW, TableEntry
from agents.wire import inter_ha, ipv6
from agents.wire.inter_ha import BindingEntry, FloorEntry, MemberEntry, SaEntry
from agents.wire.transforms import Mode, Transform
from experiments.simulation.configuration import own_address
from topologies import addressing

ESP_HEADER_AND_IV, ESP_TRAILER, ESP_ICV = 16, 2, 16
"""Octets of ESP with AES-GCM (RFC 4106): SPI, number, IV; pad length, next header; ICV."""

DEFAULT_TIMERS = HomeAgentTimers()
ASSOCIATIONS = 4
"""SAs of a mobile node: signalling and payload, both directions."""

CHANGES: Mapping[str, str] = {
    "registration": "a mobile node registers for the first time",
    "move": "it moves",
    "deregistration": "it deregisters",
    "sa-update": "it gets new SAs",
    "rejoin": "a home agent returns after a restart, with all tables",
    "hello": "one second of HELLOs",
    "keepalive": "one second of keepalives",
}
FORMULAS: Mapping[str, str] = {
    **dict.fromkeys(("registration", "move", "deregistration"), "3(n - 1)"),
    "sa-update": "2(n - 1)",
    "rejoin": "(n - 1)(s + 5)",
    "hello": "n(n - 1) / interval",
    "keepalive": "2n(n - 1) / interval",
}
"""Messages of each, for n home agents, tables of s segments, s below 16."""

BINDING_CHANGES = ("registration", "move", "deregistration")
DETECTION_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Cost:
    """So many messages of one kind, octets of all of them on the wire."""

    messages: int
    octets: int


def wire_size(message: inter_ha.InterHaMessage) -> int:
    """Return the octets of a message's packet: IPv6, ESP transport with AES-GCM, padded."""
    one, other = own_address(1), own_address(2)
    header = len(inter_ha.serialize_inter_ha(message, one, other))
    padded = math.ceil((header + ESP_TRAILER) / 4) * 4
    return ipv6.HEADER_LENGTH + ESP_HEADER_AND_IV + padded + ESP_ICV


def model(
    change: str, home_agents: int, mobiles: int, timers: HomeAgentTimers = DEFAULT_TIMERS
) -> dict[str, Cost]:
    """Return the cost of a change by message kind; `mobiles` is how many are in the tables."""
    peers = home_agents - 1
    if change in BINDING_CHANGES:
        return _times(
            peers,
            inter_ha.BindingInformationUpdate(entries=(_BINDING,), identifier=1),
            inter_ha.BindingInformationAcknowledgement(identifier=1),
            inter_ha.ReplayFloor(entries=(FloorEntry(1, 0, 1),), identifier=1),
        )
    if change == "sa-update":
        # The old ones, marked as dead, and the new ones.
        updates = _updates(2 * ASSOCIATIONS)
        acknowledgement = inter_ha.SaInformationAcknowledgement(identifier=1)
        return _times(peers, *updates, *[acknowledgement] * len(updates))
    if change == "rejoin":
        return _times(peers, *_table(mobiles, peers), *_table(0, peers))
    pairs = home_agents * peers
    if change == "hello":
        each = round(DETECTION_SECONDS / timers.hello_interval)
        return _times(pairs * each, inter_ha.Hello(1, 1, identifier=1))
    each = round(DETECTION_SECONDS / timers.keepalive_interval)
    return _times(pairs * each * 2, inter_ha.Keepalive(identifier=1))


_HOME = addressing.home_address(1)
_BINDING = BindingEntry(_HOME, addressing.care_of_address(1), 1, 0, 1, 0, 1, 1)
_SA = SaEntry(
    _HOME,
    1 << 24,
    _HOME,
    addressing.HOME_AGENT_ADDRESS,
    Mode.TUNNEL,
    Transform.AES_128_GCM,
    bytes(Transform.AES_128_GCM.key_length),
)
_MEMBER = MemberEntry(1, own_address(1))


def _updates(associations: int) -> list[inter_ha.InterHaMessage]:
    return [
        inter_ha.SaInformationUpdate(entries=part, identifier=1)
        for part in inter_ha.fit([_SA] * associations)
    ]


def _table(mobiles: int, members: int) -> Sequence[inter_ha.InterHaMessage]:
    """Return the messages of one table: who the sender's peers are, all SAs, all bindings."""
    entries: list[TableEntry] = [_MEMBER] * members
    entries += [_SA] * (ASSOCIATIONS * mobiles)
    segments = inter_ha.fit([*entries, *[_BINDING] * mobiles])
    requests = math.ceil((len(segments) + 1) / WINDOW)
    return [
        *[inter_ha.TableRequest(0, WINDOW, identifier=1)] * requests,
        *[inter_ha.TableSegment(0, part, identifier=1) for part in segments],
        inter_ha.TableEnd(len(segments), identifier=1),
    ]


def _times(count: int, *messages: inter_ha.InterHaMessage) -> dict[str, Cost]:
    costs: dict[str, Cost] = {}
    for message in messages:
        name = type(message).__name__
        before = costs.get(name, Cost(0, 0))
        costs[name] = Cost(before.messages + count, before.octets + count * wire_size(message))
    return costs
