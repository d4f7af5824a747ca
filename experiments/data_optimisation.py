"""What an optimisation run holds beside what all runs do: paths, changes of path, goodput."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.schema import Column, Table

ARM = Column(
    "arm",
    str,
    "plain: one HA for all, as Mobile IPv6 has it; off: the draft's shared address alone; "
    "switch-bare: the Primary HA Switch without hysteresis and hold; switch, relay, map: "
    "design §10, rule 11; direct: care-of address and CN, no tunnel",
)
TRIAL = Column("trial", int, "number of the trial, from 1")
CORRESPONDENT = Column("correspondent", str, "node at the other end")

PATHS = Table(
    "paths",
    "One row a trial, arm, correspondent and window: how long the way was, and by the model.",
    (
        TRIAL,
        ARM,
        CORRESPONDENT,
        Column("window", str, "before or after the change; only, where nothing changes"),
        Column("up_ms", float, "median one-way delay of probes from the MN"),
        Column("down_ms", float, "the same towards the MN"),
        Column("rtt_ms", float, "the two together"),
        Column("model_up_ms", float, "from the MN, by the plan's delays"),
        Column("model_down_ms", float, "towards the MN"),
        Column("model_rtt_ms", float, "the two together"),
        Column("home_agent", str, "the HA chosen for the CN, or else the primary; empty: none"),
        Column("model_home_agent", str, "the same by the model, the first of equals"),
    ),
)

CHANGES = Table(
    "changes",
    "One row a trial and stream in which a path or role changed: what that cost.",
    (
        TRIAL,
        ARM,
        CORRESPONDENT,
        Column("direction", str, "up: from the MN; down: to the MN"),
        Column("changed_after_ms", float, "since the streams ran"),
        Column("sent_packets", int, "from 0.5 s before the change to 1.5 s after it"),
        Column("lost_packets", int, "of these, never delivered"),
        Column("duplicated_packets", int, "delivered again, whole trial"),
        Column("reordered_packets", int, "delivered after a later one"),
        Column("longest_gap_ms", float, "longest time between two arrivals"),
        Column("sender_pause_ms", float, "longest time between two sends"),
        Column("valid", bool, "the sender did not pause for more than 3 ms"),
    ),
)

STEADINESS = Table(
    "steadiness",
    "One row a trial and arm: both correspondents in turn have the more traffic.",
    (
        TRIAL,
        ARM,
        Column("seconds", float, "how long"),
        Column("bursts", int, "how often the one with more traffic changed"),
        Column("changes", int, "roles, or choices for a correspondent, that changed meanwhile"),
    ),
)

SPEED = Table(
    "speed",
    "One row a trial, arm, correspondent and direction: the goodput of one TCP flow.",
    (
        TRIAL,
        ARM,
        CORRESPONDENT,
        Column("direction", str, "up: from the MN; down: to the MN"),
        Column("goodput_mbit_s", float, "received by the application"),
        Column("retransmits", int, "segments sent again"),
        Column("seconds", float, "measured for so long"),
    ),
)

MAPPED_FAILURES = Table(
    "mapped_failures",
    "One row a trial and stream: the agent of the HA that the map names for cn2 was killed.",
    (
        TRIAL,
        Column("home_agent", str, "the one that was killed"),
        CORRESPONDENT,
        Column("direction", str, "up: from the MN; down: to the MN"),
        Column("outage_ms", float, "of the probes at 1 kHz; 0: none", optional=True),
        Column("lost_packets", int, "sent after the fault and never delivered"),
        Column("told_ms", float, "until the MN held a map without that HA"),
        Column("valid", bool, "the sender did not pause for more than 3 ms"),
    ),
)

TABLES = (PATHS, CHANGES, STEADINESS, SPEED, MAPPED_FAILURES)

METRICS: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("optimisation", "rtt"): ("ms", ("arm", "correspondent", "window")),
    ("optimisation", "model_rtt"): ("ms", ("arm", "correspondent", "window")),
    ("optimisation", "goodput"): ("Mbit/s", ("arm", "correspondent", "direction")),
    ("optimisation", "lost"): ("packets", ("arm", "correspondent", "direction")),
    ("optimisation", "reordered"): ("packets", ("arm", "correspondent", "direction")),
    ("optimisation", "changes"): ("observations", ("arm",)),
    ("optimisation", "outage"): ("ms", ("correspondent", "direction")),
}
