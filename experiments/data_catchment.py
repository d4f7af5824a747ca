"""What a catchment run holds beside what all runs do: the map, the catchments, the tour."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.schema import Column, Table

HOME = Column("home_network", int, "number of the home network, from 1")

MAP_NODES = Table(
    "map_nodes",
    "One row a node of the map: what the picture needs of the plan.",
    (
        Column("node", str, "name"),
        Column("role", str, "what it is"),
        Column("asn", int, "number of its AS"),
        Column("x", float, "where it stands, to the right"),
        Column("y", float, "where it stands, downwards"),
    ),
)

MAP_LINKS = Table(
    "map_links",
    "One row a link of the map.",
    (
        Column("a", str, "node at one end"),
        Column("b", str, "node at the other"),
        Column("protocol", str, "what is spoken on it"),
        Column("delay_ms", float, "one way, as the plan has it"),
    ),
)

CATCHMENTS = Table(
    "catchments",
    "One row a home network and source: who serves it by routing, by packets, by the model.",
    (
        HOME,
        Column("source", str, "a correspondent node, or the access router of a visited network"),
        Column("kind", str, "correspondent or visited"),
        Column("home_agent", str, "the HA at the end of the kernels' routes"),
        Column("path", str, "nodes from the source to the HA by the kernels' routes"),
        Column("as_path", str, "of the first BGP speaker, from FRR; empty inside an AS"),
        Column("traced_path", str, "the same nodes by traced packets to the HA address"),
        Column("model_path", str, "the same nodes by the plan"),
        Column("model_as_path", str, "the AS path by the plan"),
        Column("rtt_ms", float, "median round trip of traced packets, source to HA and back"),
        Column("model_rtt_ms", float, "the same by the plan's delays; 0 where links have none"),
        Column("agree", bool, "kernels, FRR, packets and plan say the same"),
    ),
)

PLACES = Table(
    "places",
    "One row a place of a tour and direction: which HA served the MN there, and what it cost.",
    (
        Column("trial", int, "number of the tour, from 1"),
        Column("step", int, "number of the place in the tour; 0: where it begins"),
        Column("place", str, "the access router"),
        Column("came_from", str, "the access router before; empty: it began here"),
        HOME,
        Column("mobile", str, "the mobile node"),
        Column("correspondent", str, "the other end"),
        Column("direction", str, "up: from the MN; down: to the MN"),
        Column("home_agent", str, "the HA whose tunnel counter rose with the packets"),
        Column("model_home_agent", str, "the same by the plan"),
        Column("primary", str, "the MN's primary, as the binding cache has it"),
        Column("model_primary", str, "the same by the plan: the HA that serves this place"),
        Column("agree", bool, "packets, binding cache and plan say the same"),
        Column("delay_ms", float, "median one-way delay of these packets"),
        Column("model_delay_ms", float, "the same by the plan's delays"),
        Column("begin_ms", float, "when the MN began to leave for here, since the tour began"),
        Column("end_ms", float, "when it was done with here"),
        Column("moved_ms", float, "until it had its care-of address", optional=True),
        Column(
            "bound_ms", float, "until its binding was acknowledged, since it left", optional=True
        ),
        Column("outage_ms", float, "of the probes at 1 kHz, see above", optional=True),
        Column("lost_packets", int, "of the probes, at this move", optional=True),
        Column("longest_pause_ms", float, "longest time between two sends", optional=True),
        Column("valid", bool, "the sender was not held up; else outage and loss do not count"),
    ),
)

TABLES = (MAP_NODES, MAP_LINKS, CATCHMENTS, PLACES)

METRICS: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("catchment", "rtt"): ("ms", ("home_network", "source", "home_agent")),
    ("catchment", "model_rtt"): ("ms", ("home_network", "source", "home_agent")),
    ("catchment", "delay"): ("ms", ("home_network", "place", "correspondent", "direction")),
    ("catchment", "model_delay"): ("ms", ("home_network", "place", "correspondent", "direction")),
    ("catchment", "handover"): ("ms", ("home_network", "came_from", "place")),
    ("catchment", "outage"): (
        "ms",
        ("home_network", "came_from", "place", "correspondent", "direction"),
    ),
    ("catchment", "lost"): (
        "packets",
        ("home_network", "came_from", "place", "correspondent", "direction"),
    ),
    ("catchment", "disagreements"): ("observations", ("part",)),
}
