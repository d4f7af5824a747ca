"""What `make multi-hoa` writes: flows that exist, flows that begin, and who was chosen when."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.schema import Column, Table

_CELL = (
    Column("trial", int, "number of the trial, from 1"),
    Column("topology", str, "multi_as: one HoA for all ASes; multi_hoa: an HoA for each"),
    Column("keys", str, "files, or ike"),
    Column("fault", str, "as-loss: all HAs of AS 1 killed; as-cut: AS 1's links to others cut"),
    Column("detection", str, "how routing notices"),
)

HOME_FLOWS = Table(
    "home_flows",
    "One row a flow that existed before the fault, and valid trial: 1,000 packets a second.",
    (
        *_CELL,
        Column("home", int, "number of the home network, whose HoA is at the MN's end"),
        Column("direction", str, "up: from the MN; down: to the MN"),
        Column("stopped", bool, "nothing of the window's last second arrived"),
        Column("outage_ms", float, "see the definition above; empty: none ended", optional=True),
        Column("sent_packets", int, "from the fault to the end of the window"),
        Column("lost_packets", int, "of these, never delivered"),
        Column("longest_gap_ms", float, "longest time between two arrivals meanwhile"),
        Column("sender_pause_ms", float, "longest time between two sends around the outage"),
        Column("undisturbed", bool, "the sender did not pause for more than 3 ms"),
    ),
)

NEW_FLOWS = Table(
    "new_flows",
    "One row a valid trial: a new flow every 20 ms, and what the MN knew when. Times in ms since "
    "the fault, or since the repair for those of the way back.",
    (
        *_CELL,
        Column("opened_flows", int, "new flows from the fault to the end of the window"),
        Column("unanswered_flows", int, "of these, without an answer"),
        Column("works_ms", float, "when the first new flow after the last unanswered one began"),
        Column("rerouted_ms", float, "the MN's transit AS changed its route", optional=True),
        Column("silence_ms", float, "the MN probed HoA 1 for silence", optional=True),
        Column("hint_ms", float, "the MN probed HoA 1 for an ICMPv6 error", optional=True),
        Column("chosen_ms", float, "HoA 2 was chosen for new flows", optional=True),
        Column("first_ms", float, "the first new flow with HoA 2 began", optional=True),
        Column("back_route_ms", float, "way back: the transit's route", optional=True),
        Column("back_heard_ms", float, "way back: HoA 1 was heard again", optional=True),
        Column("back_chosen_ms", float, "way back: HoA 1 was chosen again", optional=True),
        Column("opener_pause_ms", float, "longest time between two new flows, less the period"),
    ),
)

OPENED = Table(
    "opened",
    "Every new flow around the fault, for the first valid trial of each cell: the time line.",
    (
        *_CELL,
        Column("opened_ms", float, "since the fault"),
        Column("home", int, "whose HoA it got; 0: none"),
        Column("answered_ms", float, "since the fault; empty: never", optional=True),
    ),
)

DELIVERED = Table(
    "delivered",
    "Packets of the flows that existed, in steps of 20 ms, for the same trials.",
    (
        *_CELL,
        Column("home", int, "number of the home network"),
        Column("direction", str, "up or down"),
        Column("step_ms", float, "beginning of the step, since the fault"),
        Column("sent_packets", int, "sent in it"),
        Column("delivered_packets", int, "of these, delivered at any time"),
    ),
)

TABLES = (HOME_FLOWS, NEW_FLOWS, OPENED, DELIVERED)

_BY_FLOW = ("topology", "keys", "fault", "home", "direction")
_BY_FAULT = ("topology", "keys", "fault")

METRICS: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("multi_hoa", "outage"): ("ms", _BY_FLOW),
    ("multi_hoa", "lost"): ("packets", _BY_FLOW),
    ("multi_hoa", "stopped"): ("1", _BY_FLOW),
    ("multi_hoa", "works"): ("ms", _BY_FAULT),
    ("multi_hoa", "unanswered"): ("flows", _BY_FAULT),
    ("multi_hoa", "chosen"): ("ms", _BY_FAULT),
    ("multi_hoa", "back"): ("ms", _BY_FAULT),
}

TEXT = """The experiment `multi_hoa` compares one HoA for all ASes (`multi_as`, draft §4.1) with an
HoA for each (`multi_hoa`, §4.2) under the same fault of AS 1. The window is the 3 s after the
fault. `stopped` is 1 for a flow of whose last second in it nothing arrived, `outage` is that of
the others. A new flow is a UDP socket, connected without a source address, that sends one packet to
an echo service; it is unanswered if nothing has come back 1 s later. `works` is the time from the
fault until new flows are answered, all of them; `chosen` and `back` are the times at which the MN's
rule 14 (agents/core/DECISIONS.md) chose HoA 2, after the fault, and HoA 1, after the repair.

A trial is void when a new flow began more than 20 ms late, a BFD session was lost without a fault,
or a link that was not cut had no room for packets (a delay line that was late, say); an outage does
not count when its sender paused for more than 3 ms, from 100 ms before the fault on."""
