"""What a siege run holds beside what all runs do: its tables, its metrics, its attacks."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.schema import Column, Table

PHASE = Column("phase", str, "idle: nobody attacks; siege: the stranger sends")
SELF = (
    Column("trial", int, "number in the run, from 1"),
    Column("part", str, "attacks: every one at the full rate; rates: one at growing rates"),
    Column("attack", str, "one of the attacks below"),
    PHASE,
    Column("mbit", float, "rate of the stranger's link in Mbit/s, frames counted whole"),
)

SIEGES = Table(
    "sieges",
    "One row a phase: what the stranger sent, and how everybody else fared.",
    (
        *SELF,
        Column("begin_ms", float, "since the trial began"),
        Column("seconds", float, "length of the phase"),
        Column("offered_per_s", float, "packets a second that the stranger gave to its link"),
        Column("forwarded_per_s", float, "of these, let through by its link's queue"),
        Column(
            "taken_per_s",
            float,
            "packets a second that all agents read, less those of the idle phase; 0 when idle",
        ),
        Column("cookies_returned", int, "IKE_SA_INITs sent again with their cookie"),
        Column("updates", int, "Binding Updates of the MN"),
        Column("unanswered", int, "of these, not acknowledged within 1 s: they count as 1000 ms"),
        Column("median_ms", float, "from Binding Update to Acknowledgement, at the MN"),
        Column("p95_ms", float, "95th percentile of the same, nearest rank"),
        Column("max_ms", float, "the longest"),
        Column("sent_up", int, "packets of the MN to cn1"),
        Column("lost_up", int, "of these, never delivered"),
        Column("gap_up_ms", float, "longest time between two arrivals"),
        Column("sent_down", int, "packets of cn1 to the MN"),
        Column("lost_down", int, "of these, never delivered"),
        Column("gap_down_ms", float, "longest time between two arrivals"),
        Column("bfd_lost", int, "BFD sessions lost, each end counted"),
        Column("neighbours_lost", int, "OSPFv3 and BGP neighbours given up, each end counted"),
        Column(
            "watchdog_trips",
            int,
            "home agents that stood still for 30 ms and gave up their route: on a machine that "
            "others use, too, also where nobody attacks them",
        ),
        Column("cpu_ha", float, "share of one processor of the busiest home agent"),
        Column("cpu_mn", float, "the same of the MN's agent"),
        Column("rss_growth_mb", float, "resident memory gained, the most of all agents, in MB"),
        Column("bindings", int, "in HA1's cache at the end"),
        Column("sas", int, "security associations of HA1 at the end"),
        Column("ike_sas", int, "IKE SAs of HA1 with mobile nodes at the end, half-open ones too"),
        Column("open_exchanges", int, "messages of HA1 to peers that are unanswered at the end"),
        Column("refused", str, "why packets were dropped, all agents: reason=count …"),
    ),
)

UPDATES = Table(
    "siege_updates",
    "One row a Binding Update of the MN.",
    (
        *SELF,
        Column("after_ms", float, "when it was sent, since the phase began"),
        Column("latency_ms", float, "until its acknowledgement; 1000 if none came"),
        Column("answered", bool, "it was acknowledged within 1 s"),
    ),
)

TABLES = (SIEGES, UPDATES)

ATTACKS: Mapping[str, str] = {
    "update-clear": "Binding Updates without ESP, from many addresses",
    "update-bad-icv": "Binding Updates in ESP on the MN's SPI, ICV wrong",
    "update-replayed": "genuine Binding Updates of the MN, again and again",
    "ike-init": "IKE_SA_INIT from many addresses",
    "ike-cookie": "the same; every cookie is returned",
    "esp-unknown-spi": "ESP on SPIs that nobody has, half of them in home agents' ranges",
    "esp-bad-icv": "ESP on the MN's SPI, ICV wrong",
    "esp-to-mn": "both to the MN",
    "inter-ha": "to home agents' own addresses: messages, sealed and in the clear, in the "
    "stranger's name and in peers' names; IKE_SA_INIT",
    "all": "all of those to home agents in turn; every cookie is returned",
}

METRICS: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("siege", "registration_latency"): ("ms", ("attack", "phase")),
    ("siege", "ratio_to_idle"): ("1", ("attack",)),
    ("siege", "unanswered"): ("packets", ("attack",)),
    ("siege", "lost"): ("packets", ("attack", "phase", "direction")),
    ("siege", "longest_gap"): ("ms", ("attack", "phase", "direction")),
    ("siege", "bfd_sessions_lost"): ("observations", ("attack", "phase")),
    ("siege", "neighbours_lost"): ("observations", ("attack", "phase")),
    ("siege", "rss_growth"): ("MB", ("attack",)),
    ("siege", "cpu"): ("1", ("attack", "agent")),
    ("siege", "offered"): ("packets/s", ("attack",)),
    ("siege", "forwarded"): ("packets/s", ("attack",)),
    ("siege", "taken"): ("packets/s", ("attack",)),
    ("siege", "latency_at_rate"): ("ms", ("attack", "mbit")),
    ("siege", "offered_at_rate"): ("packets/s", ("attack", "mbit")),
}
