"""What a run folder holds: event names, CSV columns with units, metadata, summary.

One place says it, every run is validated against it as it is written, and `DATA.md` is printed
from it (`python -m experiments.data > experiments/DATA.md`; a test compares the two).
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypedDict

from experiments import (
    data_catchment,
    data_hijack,
    data_multi_hoa,
    data_optimisation,
    data_siege,
)
from experiments.schema import Column as Column
from experiments.schema import DataError as DataError
from experiments.schema import Table as Table

SCHEMA = 1


class EventName(StrEnum):
    """The names that may stand in `events.jsonl`."""

    RUN_BEGIN = "run-begin"
    NETWORK_STARTED = "network-started"
    NETWORK_READY = "network-ready"
    TRIAL_BEGIN = "trial-begin"
    FAULT = "fault"
    BFD = "bfd"
    NEIGHBOUR = "neighbour"
    LINK = "link"
    ROUTE = "route"
    AGENT = "agent"
    RECOVERED = "recovered"
    REPAIR = "repair"
    RESYNCHRONISED = "resynchronised"
    FAILED_BACK = "failed-back"
    TRIAL_END = "trial-end"
    TRIAL_VOID = "trial-void"
    TRIAL_FAILED = "trial-failed"
    WISH = "wish"
    MOVE = "move"
    MEASUREMENT = "measurement"
    RUN_END = "run-end"


EVENT_FIELDS: Mapping[EventName, tuple[dict[str, type], str]] = {
    EventName.RUN_BEGIN: ({"experiment": str, "seed": int}, "the run starts"),
    EventName.NETWORK_STARTED: (
        {"setting": str},
        "nodes and links are being made; setting is the detection or the mode",
    ),
    EventName.NETWORK_READY: (
        {"setting": str, "seconds": float},
        "routes everywhere and the mobile node bound, so long after `network-started`",
    ),
    EventName.TRIAL_BEGIN: ({"trial": int, "fault": str, "detection": str}, "probes are started"),
    EventName.FAULT: (
        {"trial": int, "fault": str, "node": str, "injection_ms": float},
        "the fault took effect, injection_ms after its injection began",
    ),
    EventName.BFD: (
        {"node": str, "interface": str, "state": str, "outgoing": bool},
        "a BFD packet whose state is not Up passed this node",
    ),
    EventName.NEIGHBOUR: ({"node": str, "text": str}, "a line of a routing daemon on a neighbour"),
    EventName.LINK: ({"node": str, "interface": str, "state": str}, "a link appeared, went up, …"),
    EventName.ROUTE: (
        {"node": str, "destination": str, "change": str, "interface": str},
        "the kernel's route for the home prefix changed (change: add, delete)",
    ),
    EventName.AGENT: ({"node": str, "kind": str}, "an agent's own event, with all its fields"),
    EventName.RECOVERED: ({"trial": int}, "all probe streams run again"),
    EventName.REPAIR: ({"trial": int, "node": str}, "the fault is taken away"),
    EventName.RESYNCHRONISED: ({"trial": int, "node": str}, "the repaired agent has its table"),
    EventName.FAILED_BACK: ({"trial": int, "node": str}, "routing uses the repaired agent again"),
    EventName.TRIAL_END: ({"trial": int}, "probes are stopped, the trial counts"),
    EventName.TRIAL_VOID: ({"trial": int, "reason": str}, "the trial does not count; repeated"),
    EventName.TRIAL_FAILED: ({"trial": int, "reason": str}, "the testbed did not do its part"),
    EventName.WISH: (
        {"trial": int, "mobile": str, "home_agent": int, "weight": int},
        "a mobile node wishes to be served by the HA of this index (0: by any)",
    ),
    EventName.MOVE: (
        {"trial": int, "mobile": str, "place": str},
        "a mobile node begins to leave for the visited network of this access router",
    ),
    EventName.MEASUREMENT: ({"name": str, "value": float, "unit": str}, "one number, as measured"),
    EventName.RUN_END: ({"state": str}, "the run ends"),
}


DETECTION = Column(
    "detection", str, "how routing notices: bfd-<interval ms>x<multiplier>, ospf-<hello s>-<dead s>"
)
CELL = (
    Column("scheme", str, "who holds what (design: shared-sa is the draft)"),
    Column("topology", str, "name of the topology"),
    Column("fault", str, "what was broken"),
    DETECTION,
)

TRIALS = Table(
    "trials",
    "One row a trial, void and failed ones too.",
    (
        Column("trial", int, "number in the run, from 1, repetitions counted"),
        *CELL,
        Column("state", str, "valid, void or failed"),
        Column("reason", str, "why a trial is void or failed, else empty", optional=True),
        Column("fault_time_ns", int, "CLOCK_MONOTONIC when the fault was injected", optional=True),
        Column(
            "phase_ms", float, "random wait before the fault, against all timers", optional=True
        ),
        Column("injection_ms", float, "how long the injection itself took", optional=True),
        Column(
            "resynchronised_first",
            bool,
            "the repaired agent had its table before it advertised the prefix",
            optional=True,
        ),
        Column(
            "agreement_ms",
            float,
            "from the repair until all HAs agreed again: all peers up, the same bindings, one "
            "primary",
            optional=True,
        ),
        Column(
            "carrier_at_both_ends",
            bool,
            "both ends of every link that was cut saw its carrier go; empty: none was cut",
            optional=True,
        ),
        Column(
            "route_changes",
            int,
            "changes of the routes that had to move, from fault to recovery: more than one each "
            "where routing tried several ways, or was told of the same one anew",
            optional=True,
        ),
        Column(
            "binding_updates",
            int,
            "Binding Updates sent by the MN from fault to recovery",
            optional=True,
        ),
        Column(
            "sa_messages",
            int,
            "SA Information messages of the HAs, fault to recovery",
            optional=True,
        ),
        Column("ike_exchanges", int, "IKE exchanges from fault to recovery", optional=True),
        Column("load", float, "load average of one minute when the trial began", optional=True),
    ),
)

STREAMS = Table(
    "streams",
    "One row a probe stream and valid trial: what one correspondent saw in one direction.",
    (
        Column("trial", int, "number of the trial"),
        *CELL,
        Column("direction", str, "up: from the MN; down: to the MN"),
        Column("correspondent", str, "node at the other end"),
        Column("role", str, "affected: through the HA that failed; bystander: through another one"),
        Column("outage_ms", float, "see the definition below"),
        Column(
            "lost_packets",
            int,
            "sent from the fault to the repair, not delivered before it; "
            "with distance those too that were on their way",
        ),
        Column("late_packets", int, "of these, delivered after the repair (by a hung agent)"),
        Column("duplicated_packets", int, "delivered again, whole trial"),
        Column("reordered_packets", int, "delivered after a later one, fault to repair"),
        Column("longest_gap_ms", float, "longest time between two arrivals, fault to repair"),
        Column("delay_before_ms", float, "median one-way delay before the fault"),
        Column(
            "delay_after_ms", float, "median one-way delay from recovery to repair", optional=True
        ),
        Column("failback_lost_packets", int, "sent from the repair on and never delivered"),
        Column(
            "failback_reordered_packets", int, "delivered after a later one, from the repair on"
        ),
        Column(
            "failback_longest_gap_ms",
            float,
            "longest time between two arrivals, from the repair on",
        ),
    ),
)

PHASES = Table(
    "phases",
    "One row a phase and valid trial; a phase that did not happen has no row.",
    (
        Column("trial", int, "number of the trial"),
        *CELL,
        Column("phase", str, "one of the phases below"),
        Column("after_fault_ms", float, "time since the fault, from the start of its injection"),
    ),
)

PACKETS = Table(
    "packets",
    "Every probe packet around the fault, for the first valid trial of each cell: the time line.",
    (
        Column("trial", int, "number of the trial"),
        *CELL,
        Column("direction", str, "up or down"),
        Column("correspondent", str, "node at the other end"),
        Column("sequence", int, "number in its stream, from 0"),
        Column("sent_ms", float, "send time since the fault, from the start of its injection"),
        Column(
            "arrived_ms",
            float,
            "arrival since the fault; empty: not before the repair",
            optional=True,
        ),
    ),
)

GOODPUT = Table(
    "goodput",
    "One row a measurement of TCP goodput.",
    (
        Column("trial", int, "number in the run, from 1"),
        Column("topology", str, "name of the topology"),
        Column("mode", str, "draft, hardened, draft-no-origin; raw path: none"),
        Column(
            "path", str, "raw: the same hops without tunnel; tunnel; aggregate: capped home links"
        ),
        Column("direction", str, "up: from the MN; down: to the MN"),
        Column("home_agents", int, "how many HAs carried flows"),
        DETECTION,
        Column("cap_mbit_s", float, "rate of each home link; empty: not capped", optional=True),
        Column("goodput_mbit_s", float, "octets that arrived in the receiver's application"),
        Column("retransmits", int, "TCP segments sent again"),
        Column(
            "replay_drops", int, "packets that the MN refused as replays meanwhile", optional=True
        ),
        Column("seconds", float, "length of the measurement"),
    ),
)

MODE = Column(
    "mode",
    str,
    "draft, draft-cbc, hardened; draft-no-origin: neither ORIGIN_IP nor replay floors",
)
OBSERVED = (
    Column("trial", int, "number in the run, from 1"),
    Column("topology", str, "name of the topology"),
    MODE,
)

SHARING = Table(
    "sharing",
    "One row a home agent of each set of them that sent to the MN at once, on one SA.",
    (
        *OBSERVED,
        Column("ratio", str, "of the rates, HA1 first: 2:1"),
        Column("home_agent", str, "who sent"),
        Column("rate_per_s", float, "packets a second that it was given"),
        Column("sent_packets", int, "sent by its correspondent node"),
        Column("delivered_packets", int, "that the MN's application got, repetitions not counted"),
    ),
)

NONCES = Table(
    "nonces",
    "One row a mode, trial and source: what the HAs used on the SAs towards the MN.",
    (
        *OBSERVED,
        Column("source", str, "egress: the HAs' own records; wire: the visited link"),
        Column("packets", int, "packets looked at"),
        Column("repeated_numbers", int, "packets whose (SPI, sequence number) was used before"),
        Column(
            "nonce_collisions",
            int,
            "packets whose (SPI, IV) was used before; empty: this source does not know IVs",
            optional=True,
        ),
        Column(
            "model_collisions",
            int,
            "what the model says; empty: as nonce_collisions",
            optional=True,
        ),
    ),
)

ATTACKS = Table(
    "attacks",
    "One row an attack, its form and its trial: what the attacker injected and what came of it.",
    (
        *OBSERVED,
        Column("attack", str, "relabel, far-ahead, new-primary"),
        Column("form", str, "one of the forms below"),
        Column("direction", str, "down: copies of packets to the MN; up: of packets from it"),
        Column("injected_packets", int, "copies that the attacker sent"),
        Column("accepted_packets", int, "copies that reached the application"),
        Column("expected_packets", int, "copies that the model lets through"),
        Column("refused", str, "why the receiver dropped the others: reason=count …"),
        Column(
            "bound_packets",
            int,
            "most that rule 5 leaves open: rate times 100 ms, and 10 ms of delays",
            optional=True,
        ),
        Column("genuine_packets", int, "genuine packets that HA2 sent afterwards", optional=True),
        Column("genuine_lost", int, "of these, not delivered", optional=True),
        Column("expected_lost", int, "of these, lost by the model", optional=True),
        Column("alive", bool, "all agents answer, and probe packets pass both ways afterwards"),
        Column("as_expected", bool, "everything measured here is what the model says"),
    ),
)

SYNCHRONISATION = Table(
    "synchronisation",
    "One row a change and message kind: what the home agents sent each other for it.",
    (
        Column("home_agents", int, "how many there were"),
        Column(
            "change",
            str,
            "registration, move, deregistration, sa-update, rejoin (of a restarted HA); hello, "
            "keepalive: one second of that detector",
        ),
        Column("kind", str, "message kind, as in FORMATS.md"),
        Column("mobile_nodes", int, "how many were registered"),
        Column("messages", int, "sent, repetitions included"),
        Column("octets", int, "of their packets: IPv6, ESP and all"),
        Column("model_messages", int, "what the formula says (synchronisation_model.py)"),
        Column("model_octets", int, "the same in octets"),
    ),
)

MOVES = Table(
    "moves",
    "One row a step, mobile node and direction: a wish, and what came of it until the next one.",
    (
        Column("trial", int, "number in the run, from 1"),
        Column("part", str, "move: one mobile node wishes; conflict: two disagree"),
        Column("step", int, "number in the part, from 1"),
        Column("wish", str, "who wishes for whom, with which weight above 1"),
        Column("begin_ms", float, "when the wish was spoken, since all probes ran"),
        Column("length_ms", float, "until the next one, or the end"),
        Column("mobile", str, "the mobile node whose packets are counted"),
        Column("direction", str, "up: from the MN; down: to the MN"),
        Column("favourite", str, "the HA that all wishes together call for"),
        Column("served_by", str, "the HA to which the border router forwards at the end"),
        Column("primary", str, "the mobile node's primary HA at the end"),
        Column("valid", bool, "the sender was not held up meanwhile; else nothing counts"),
        Column("told_ms", float, "from the wish until the last HA has told OSPFv3", optional=True),
        Column("route_ms", float, "until the border router has its last route", optional=True),
        Column("primary_ms", float, "until the role has moved", optional=True),
        Column("sent_packets", int, "sent in this step"),
        Column("lost_packets", int, "of these, never delivered"),
        Column("reordered_packets", int, "of these, delivered after a later one"),
        Column("longest_gap_ms", float, "longest time between two arrivals"),
        Column("longest_pause_ms", float, "longest time between two sends, for comparison"),
    ),
)

SERVING = Table(
    "serving",
    "One row a change of who serves whom; the first rows of a trial tell where it begins.",
    (
        Column("trial", int, "number in the run, from 1"),
        Column("part", str, "move or conflict"),
        Column("time_ms", float, "since all probes ran"),
        Column("mobile", str, "the mobile node; empty for the route, which is for all"),
        Column(
            "role",
            str,
            "route: border router forwards to; up: takes the MN's packets; down: tunnels to it; "
            "primary",
        ),
        Column("home_agent", str, "who does so from now on"),
    ),
)

RENEWING = (*OBSERVED[:2], Column("mode", str, "draft or hardened"))
CAUSE = "asked (at the primary), new-primary (asked at one that took over), numbers (by a peer)"

EXCHANGES = Table(
    "exchanges",
    "One row an exchange of the renewal experiment, and how long it took.",
    (
        *RENEWING,
        Column("exchange", str, "one of the exchanges below"),
        Column("cause", str, f"of a renewal: {CAUSE}; else empty", optional=True),
        Column("duration_ms", float, "from its beginning to its end, see below"),
        Column("undisturbed", bool, "no sender of probes paused for more than 3 ms meanwhile"),
    ),
)

RENEWALS = Table(
    "renewals",
    "One row a renewal and probe stream, from the request to 200 packets after the old SAs' end.",
    (
        *RENEWING,
        Column("cause", str, CAUSE),
        Column("primary", str, "the HA that renewed"),
        Column("direction", str, "up: from the MN; down: to the MN"),
        Column("correspondent", str, "node at the other end"),
        Column("flow", int, "number of the stream"),
        Column("renewals_begun", int, "how many renewals began meanwhile"),
        Column("sent_packets", int, "sent meanwhile"),
        Column("lost_packets", int, "of these, never delivered; disturbed ones count too"),
        Column("duplicated_packets", int, "delivered again, whole trial"),
        Column("reordered_packets", int, "delivered after a later one"),
        Column("longest_gap_ms", float, "longest time between two arrivals"),
        Column("sender_pause_ms", float, "longest time between two sends"),
        Column("undisturbed", bool, "the sender did not pause for more than 3 ms"),
    ),
)

TAKEOVERS = Table(
    "takeovers",
    "One row a takeover of the renewal experiment: which IKE it caused, and the renewal after it.",
    (
        *RENEWING,
        Column("home_agent", str, "the HA that took over"),
        Column(
            "ike_exchanges", int, "IKE requests of all agents, from fault to takeover and after"
        ),
        Column("ike_sa_inits", int, "IKE_SA_INIT requests that reached the MN in the renewal"),
    ),
)

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        TRIALS,
        STREAMS,
        PHASES,
        PACKETS,
        GOODPUT,
        SHARING,
        NONCES,
        ATTACKS,
        SYNCHRONISATION,
        MOVES,
        SERVING,
        EXCHANGES,
        RENEWALS,
        TAKEOVERS,
        *data_catchment.TABLES,
        *data_hijack.TABLES,
        *data_siege.TABLES,
        *data_multi_hoa.TABLES,
        *data_optimisation.TABLES,
    )
}

ATTACK_FORMS: Mapping[str, str] = {
    "origin-HA2": "packets of HA1 with HA2's address in ORIGIN_IP",
    "origin-HA3": "the same with HA3's",
    "origin-stranger": "the same with an address of no home agent",
    "origin-and-sid": "HA2's address in ORIGIN_IP and HA2's sender id in the IV (hardened only)",
    "before-fresh": "new-primary: before the MN has sent anything by the next home agent",
    "after-fresh": "new-primary: the same packets again, after its first fresh packets",
}

EXCHANGE_NAMES: Mapping[str, str] = {
    "registration": "from the care-of address, at an MN without SAs, to its Acknowledgement: "
    "IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, Binding Update",
    "update-mn": "Binding Update to Acknowledgement on SAs that stand, at the MN",
    "update-ha": "the same at the HA: by the kernel's time stamps on its link",
    "update-peers": "from the HA's answer to the acknowledgements of all its peers",
    "takeover": "from the mark *invalid* for the primary to the Switch sent; the wait for the MN's "
    "next packet included, so an upper bound",
    "renewed": "from the beginning of a renewal until the primary sends on the fresh SAs",
    "deleted": "from the beginning to the end of the old SAs, 2.5 s of grace included (rule 9)",
}

PHASE_NAMES: Mapping[str, str] = {
    "detected": "somebody knows: the TUN is gone, the watchdog acts, BFD, OSPFv3 or BGP says down, "
    "a carrier is gone",
    "withdrawn": "the router of the failed HA has lost its route for the home prefix; of a failed "
    "AS, every border or neighbour",
    "fib-changed": "the border router forwards to another HA; between ASes: every transit or stub "
    "that had to",
    "fib-settled": "such a router changed its route once more, for the last time",
    "first-packet": "a packet sent after the fault arrives through the new HA",
    "new-primary": "another HA has taken over as primary (absent in a failover without takeover)",
    "peers-in-sync": "every other HA has marked the failed ones invalid",
}

DIRECTIONS = ("up", "down")


class SummaryRow(TypedDict):
    """One line of `summary.json`. Numbers are always numbers; target and met may be null."""

    experiment: str
    metric: str
    unit: str
    conditions: dict[str, str | int | float]
    n: int
    median: float
    p95: float
    min: float
    max: float
    target: float | None
    met: bool | None


METRICS: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("failover", "outage"): ("ms", ("scheme", "topology", "fault", "detection", "direction")),
    ("failover", "lost"): ("packets", ("scheme", "topology", "fault", "detection", "direction")),
    ("failover", "failback_lost"): (
        "packets",
        ("scheme", "topology", "fault", "detection", "direction"),
    ),
    ("failover", "bystander_lost"): (
        "packets",
        ("scheme", "topology", "fault", "detection", "direction"),
    ),
    ("failover", "signalling"): ("exchanges", ("scheme", "topology", "fault", "detection")),
    ("failover", "agreement"): ("ms", ("scheme", "topology", "fault", "detection")),
    ("failover", "carrier_seen"): ("1", ("scheme", "topology", "fault", "detection")),
    ("failover", "ready"): ("s", ("topology", "detection")),
    ("throughput", "goodput"): (
        "Mbit/s",
        ("path", "direction", "mode", "home_agents", "detection"),
    ),
    ("throughput", "replay_drops"): (
        "packets",
        ("path", "direction", "mode", "home_agents", "detection"),
    ),
    ("replay", "replays_accepted"): ("packets", ("mode", "attack", "direction")),
    ("replay", "replays_accepted_without_floors"): ("packets", ("mode", "attack", "direction")),
    ("replay", "replays_injected"): ("packets", ("mode", "attack", "direction")),
    ("replay", "genuine_lost"): ("packets", ("mode", "attack", "direction")),
    ("replay", "sharing_loss"): ("1", ("mode", "ratio")),
    ("replay", "nonce_collisions"): ("packets", ("mode", "source")),
    ("replay", "unexpected"): ("observations", ("mode", "part")),
    ("metric", "lost"): ("packets", ("part", "step", "wish", "mobile", "direction")),
    ("metric", "route"): ("ms", ("part", "step", "wish", "mobile")),
    ("metric", "primary"): ("ms", ("part", "step", "wish", "mobile")),
    ("synchronisation", "messages"): ("messages", ("change", "home_agents")),
    ("synchronisation", "octets"): ("octets", ("change", "home_agents")),
    ("renewal", "exchange"): ("ms", ("mode", "exchange", "cause")),
    ("renewal", "lost"): ("packets", ("mode", "cause", "direction")),
    ("renewal", "reordered"): ("packets", ("mode", "cause", "direction")),
    ("renewal", "longest_gap"): ("ms", ("mode", "cause", "direction")),
    ("renewal", "begun"): ("exchanges", ("mode", "cause")),
    ("renewal", "failover_ike"): ("exchanges", ("mode",)),
    **data_catchment.METRICS,
    **data_hijack.METRICS,
    **data_siege.METRICS,
    **data_multi_hoa.METRICS,
    **data_optimisation.METRICS,
}


def check_event(record: Mapping[str, Any]) -> None:
    """Raise DataError unless the record has a known name, a time and the fields of its name."""
    try:
        name = EventName(record["event"])
    except (KeyError, ValueError):
        raise DataError(f"events.jsonl: unknown event {record.get('event')!r}") from None
    for field, kind in {"time_ns": int, **EVENT_FIELDS[name][0]}.items():
        value = record.get(field)
        if kind is float and type(value) is int:
            continue
        if type(value) is not kind:
            raise DataError(f"events.jsonl: {name} wants {field} as {kind.__name__}, got {value!r}")


def check_summary(rows: Sequence[SummaryRow]) -> None:
    """Raise DataError unless every row has a fixed name, its unit, its conditions and numbers."""
    for row in rows:
        known = METRICS.get((row["experiment"], row["metric"]))
        if known is None:
            raise DataError(f"summary.json: unknown metric {row['experiment']}/{row['metric']}")
        unit, conditions = known
        if row["unit"] != unit or tuple(row["conditions"]) != conditions:
            raise DataError(
                f"summary.json: {row['metric']} is in {unit} by {', '.join(conditions)}"
            )
        for key in ("n", "median", "p95", "min", "max"):
            value: Any = row[key]
            if type(value) not in (int, float) or not math.isfinite(value):
                raise DataError(f"summary.json: {row['metric']}: {key} is {value!r}")


META_FIELDS: Mapping[str, tuple[type, str]] = {
    "schema": (int, "version of everything in this folder"),
    "experiment": (str, "name of the experiment"),
    "state": (str, "`complete`, or `aborted` from the first moment until the run is complete"),
    "reason": (str, "why aborted; empty when complete"),
    "started": (str, "UTC, ISO 8601"),
    "ended": (str, "UTC, ISO 8601; empty until then"),
    "parameters": (dict, "what was asked for, defaults filled in"),
    "seed": (int, "of all randomness of the run but keys"),
    "git_commit": (str, "of the working tree; empty outside of git"),
    "git_dirty": (bool, "the working tree had changes"),
    "kernel": (str, "uname -r"),
    "cpus": (int, "number of CPUs that the run could use"),
    "frr": (str, "version of FRR"),
    "python": (str, "version of Python"),
    "packages": (dict, "versions of the dependencies"),
    "data_plane": (str, "what carries the packets of a tunnel"),
    "delay": (str, "what delays packets: none, netem, or delay-line, which stands in for it"),
    "load": (list, "load averages of 1, 5 and 15 minutes at the start"),
}
LATER_META_FIELDS: Mapping[str, tuple[type, str]] = {
    "keys_searched": (int, "keys that the run used, none of which stands in its folder"),
}
"""Not in a run that ended early, nor in those of before."""


def check_meta(meta: Mapping[str, Any]) -> None:
    """Raise DataError unless the metadata are of this schema and whole."""
    if meta.get("schema") != SCHEMA:
        raise DataError(f"meta.json: schema {meta.get('schema')!r}, this program reads {SCHEMA}")
    for name, (kind, _) in META_FIELDS.items():
        if type(meta.get(name)) is not kind:
            raise DataError(f"meta.json: {name} wants {kind.__name__}, got {meta.get(name)!r}")
    for name, (kind, _) in LATER_META_FIELDS.items():
        if name in meta and type(meta[name]) is not kind:
            raise DataError(f"meta.json: {name} wants {kind.__name__}, got {meta[name]!r}")
    if meta["state"] not in ("complete", "aborted"):
        raise DataError(f"meta.json: state {meta['state']!r} is neither complete nor aborted")


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; DataError (one line) if it is missing or broken."""
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from None


def read_meta(folder: Path) -> dict[str, Any]:
    """Return a run folder's metadata, or refuse it in one line."""
    meta = read_json(folder / "meta.json")
    if not isinstance(meta, dict):
        raise DataError(f"{folder}/meta.json: not an object")
    try:
        check_meta(meta)
    except DataError as error:
        raise DataError(f"{folder}: {error}") from None
    return meta


def read_table(folder: Path, table: Table) -> list[dict[str, Any]]:
    """Return the rows of a table of a run folder; none if the run wrote none."""
    path = folder / f"{table.name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        there = list(reader.fieldnames or ())
        # An older run lacks columns that came later: these may be empty.
        wanted = [c.name for c in table.columns if not c.optional or c.name in there]
        if there != wanted:
            raise DataError(f"{path}: columns are not those of schema {SCHEMA}")
        return [table.parse(row) for row in reader]


def read_summary(folder: Path) -> list[SummaryRow]:
    """Return the checked rows of a run folder's `summary.json`."""
    rows: list[SummaryRow] = read_json(folder / "summary.json")
    check_summary(rows)
    return rows


def markdown() -> str:
    """Return the text of `DATA.md`."""
    lines = [
        _HEAD.format(schema=SCHEMA),
        "## meta.json",
        "",
        "| field | type | what |",
        "|---|---|---|",
    ]
    fields = {**META_FIELDS, **LATER_META_FIELDS}
    lines += [f"| `{n}` | {kind.__name__} | {text} |" for n, (kind, text) in fields.items()]
    lines += ["", "## events.jsonl", "", _EVENTS, "", "| event | fields | what |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {', '.join(f'`{f}`' for f in fields)} | {text} |"
        for name, (fields, text) in EVENT_FIELDS.items()
    ]
    for table in TABLES.values():
        lines += ["", f"## {table.name}.csv", "", table.text, ""]
        lines += ["| column | type | what |", "|---|---|---|"]
        lines += [
            f"| `{c.name}` | {c.kind.__name__}{', may be empty' if c.optional else ''} | {c.text} |"
            for c in table.columns
        ]
    lines += ["", "## Phases of a failover", "", "| phase | what |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in PHASE_NAMES.items()]
    lines += ["", "## Forms of attacks", "", "| form | what |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in ATTACK_FORMS.items()]
    lines += ["", "## Exchanges of the renewal experiment", "", "| exchange | what |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in EXCHANGE_NAMES.items()]
    lines += ["", "## Forms of what the hijacker sends", "", "| form | what |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in data_hijack.FORMS.items()]
    lines += ["", "## Attacks of the siege", "", "| attack | what |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in data_siege.ATTACKS.items()]
    lines += ["", "## Several home addresses", "", data_multi_hoa.TEXT]
    lines += ["", "## summary.json", "", _SUMMARY, ""]
    lines += ["| experiment | metric | unit | conditions |", "|---|---|---|---|"]
    lines += [
        f"| {experiment} | `{metric}` | {unit} | {', '.join(conditions)} |"
        for (experiment, metric), (unit, conditions) in METRICS.items()
    ]
    return "\n".join(lines) + "\n"


_HEAD = """# What a run folder holds

Schema {schema}. Printed by `python -m experiments.data`; not edited by hand.

A run writes `results/<experiment>-<UTC time>/`: `meta.json`, `events.jsonl`, CSV files, `plots/`
(PNG and SVG), `summary.json`, `logs/`, `raw/` (the probes' records, gzip), and captures when asked
for. `results/latest-<experiment>` points at the newest run. Plots and summary are made from the
folder alone: `python -m experiments.plots FOLDER`.

**Outage** = send time of the first packet of the first 20 consecutive ones delivered after the
fault, minus send time of the last one delivered before it, minus 1 ms (probes run at 1 kHz). A
packet is *after* the fault when it was sent after it; what arrives only after the repair (out of
a hung agent's queues) counts as not delivered. Where links have delays, what was on its way when
the fault struck and is lost counts as sent after it. A trial is **void**, counted and repeated,
when a sender paused for more than 3 ms between the fault and the recovery (from 100 ms before the
fault on; with BGP's default timers, where this lasts minutes, for more than 90 ms), when a BFD
session was lost without a fault, or when the injection took over 15 ms.
"""
_EVENTS = """One JSON object a line. `time_ns` is CLOCK_MONOTONIC, one clock for all nodes. An event
may have more fields than those listed."""
_SUMMARY = """A list of objects: `experiment`, `metric`, `unit`, `conditions` (object), `n`,
`median`, `p95` (nearest rank), `min`, `max`, `target`, `met`. Several correspondents of a trial
reduce to the worst. `met` compares the 95th percentile of times, the maximum of packet counts and
the median of goodput with `target`; both are null where there is no target. Disturbed rows of the
renewal experiment count for packets and exchanges, not for times.

Of `failover`: `agreement` is the time from the repair until all HAs agree again, `carrier_seen` 1
in a trial where both ends of every cut link saw its carrier go, else 0.

Of `replay`: `replays_accepted` sums the forms of an attack in a trial. Its target is the bound of
rule 5 for `new-primary`; for the others 0 in hardened mode, and none in the draft modes, where they
shall succeed. `unexpected` counts the observations of a trial (part: sharing, nonces, or an attack)
that are not what the model says: its target is 0 in every mode."""


if __name__ == "__main__":
    print(markdown(), end="")
