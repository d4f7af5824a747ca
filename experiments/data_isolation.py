"""What `make isolation` writes: when a hostile home agent was powerless, and what that cost."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.schema import Column, Table

_CELL = (
    Column("trial", int, "number of the trial, from 1"),
    Column("role", str, "secondary: not primary, another HA is nearer; primary: and nearest"),
    Column("trigger", str, "verb: the operator's; detection: an HA's `misconduct`"),
    Column("fencing", str, "on: the first-hop router shuts its link; off"),
)

ISOLATIONS = Table(
    "isolations",
    "One row a trial: what the hostile HA still achieved. Times in ms since the trigger; negative "
    "ones are before it; empty: never at all.",
    (
        *_CELL,
        Column("hostile", str, "name of the HA that turned"),
        Column("powerless", bool, "nothing of the four kinds in the window's last second"),
        Column("time_to_powerless_ms", float, "the latest of the four, at least 0", optional=True),
        Column("time_to_refused_ms", float, "the same without what it drew", optional=True),
        Column("window_ms", float, "how long it was watched"),
        Column("update_ms", float, "an honest HA last learnt something from it", optional=True),
        Column("tunnel_ms", float, "the MN last took a forged tunnel packet", optional=True),
        Column("drawn_ms", float, "a packet of MN or CN last came to it", optional=True),
        Column("ike_ms", float, "it last completed IKE_AUTH", optional=True),
        Column("isolated_ms", float, "the last honest HA had isolated it", optional=True),
        Column("update_before", int, "things learnt from it before the trigger: it works"),
        Column("tunnel_before", int, "forged tunnel packets taken before"),
        Column("drawn_before", int, "packets drawn before"),
        Column("ike_before", int, "times that it completed IKE_AUTH before"),
        Column("update_after", int, "things learnt from it after the trigger"),
        Column("tunnel_after", int, "forged tunnel packets taken after"),
        Column("drawn_after", int, "packets drawn after"),
        Column("ike_after", int, "times that it completed IKE_AUTH after"),
        Column("updates_tried", int, "forged inter-HA messages that it sent after the trigger"),
        Column("tunnels_tried", int, "forged tunnel packets that it sent after"),
        Column("ikes_tried", int, "IKE SAs that it began after"),
        Column("tried_to_the_end", bool, "it went on with all of that in the last second"),
        Column("proof", str, "what an HA said was proved; empty for the verb", optional=True),
        Column("registered_ms", float, "after the window: a BU was answered", optional=True),
    ),
)

ISOLATION_FLOWS = Table(
    "isolation_flows",
    "One row an honest flow and trial: 1,000 packets a second, from the trigger to the window's "
    "end.",
    (
        *_CELL,
        Column("direction", str, "up: from the MN; down: to the MN"),
        Column("correspondent", str, "node at the other end"),
        Column("path", str, "hostile: the HA that turned drew it; honest: another HA"),
        Column("lost_before_packets", int, "sent from its turning to the trigger, not delivered"),
        Column("sent_packets", int, "sent in the window"),
        Column("lost_packets", int, "of these, never delivered"),
        Column("lost_tail_packets", int, "of these, sent in the window's last second"),
        Column("longest_gap_ms", float, "longest time between two arrivals"),
        Column("sender_pause_ms", float, "longest time between two sends"),
        Column("undisturbed", bool, "the sender did not pause for more than 3 ms"),
    ),
)

ISOLATION_STEPS = Table(
    "isolation_steps",
    "What happened in steps of 50 ms around the trigger, in the first trial of each cell: the time "
    "line. Steps in which nothing of a kind happened are left out.",
    (
        *_CELL,
        Column("kind", str, "update, tunnel, drawn, ike: as above; up, down: packets lost"),
        Column("step_ms", float, "beginning of the step, since the trigger"),
        Column("count", int, "how often"),
    ),
)

TABLES = (ISOLATIONS, ISOLATION_FLOWS, ISOLATION_STEPS)

_CONDITIONS = ("trigger", "fencing", "role")

METRICS: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("isolation", "time_to_powerless"): ("ms", _CONDITIONS),
    ("isolation", "time_to_refused"): ("ms", _CONDITIONS),
    ("isolation", "not_powerless"): ("1", _CONDITIONS),
    ("isolation", "lost"): ("packets", (*_CONDITIONS, "direction")),
    ("isolation", "registered"): ("1", _CONDITIONS),
}

TEXT = """In `isolation` a home agent turns: it sends forged Updates to the others and forged tunnel
packets to the MN, under its own sender id and another's, begins IKE with everybody and answers
theirs, keeps all keys, drops what it draws and goes on advertising. The trigger is the beginning of
the operator's verb, or the moment of the first `misconduct` event, upon which the operator's policy
gives the verb. Before it each of its powers is seen to work (`…_before`), so that their end means
something. What it achieved is told by those to whom it was done: the honest HAs' journals, the
packets that the MN's application got, the MN's journal; what it drew, by its own record.

`time_to_powerless` is known only where it came to that: a trial in which something still happened
in the last second of the window has none, and counts in `not_powerless` (1 or 0 a trial). The
target is met if no trial is like that and the 95th percentile is within it. `lost` is the worst
flow of a direction, from the trigger to the end of the window. `registered` is 1 where the MN
registered anew after it."""
