"""What a hijack run holds beside what all runs do: its tables, its metrics, its forms of attack."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.schema import Column, Table

TRIAL = Column("trial", int, "number in the run, from 1")
CASE = Column("case", str, "name of the case: ROAs, filters and the hijacker's announcement")

ENDS = Table(
    "hijack_ends",
    "One row a case and source: who got what it sent to the home network.",
    (
        TRIAL,
        CASE,
        Column("who", str, "cn: a CN's packets to the HoA; mn: the MN's Binding Updates"),
        Column("source", str, "the CN, or the visited network where the MN was"),
        Column("as_path", str, "of the route by which its AS forwards, from FRR; empty: no route"),
        Column("sent", int, "packets of the CN; 1 for the MN: whether it registered"),
        Column("honest", int, "of these, served by a home agent (delivered; acknowledged)"),
        Column("drawn", int, "of these, in the hijacker's hands"),
        Column("reached", str, "AS of the HA that served them, hijacker, or nowhere"),
        Column("expected", str, "the same by the model"),
        Column("as_expected", bool, "all packets went where the model says"),
    ),
)

ROUTES = Table(
    "hijack_routes",
    "One row a route that a router held, as FRR tells it, or should have held and did not.",
    (
        TRIAL,
        CASE,
        Column(
            "stage",
            str,
            "heard: at the validating transits before they filter; kept: everywhere afterwards",
        ),
        Column("node", str, "the router"),
        Column("prefix", str, "the aggregate, or the more specific one"),
        Column("as_path", str, "as it stands in the route"),
        Column("held", bool, "the router has it"),
        Column("expected_held", bool, "the same by the model"),
        Column("state", str, "valid, invalid, notfound; empty: this router does not validate"),
        Column("expected_state", str, "the same by RFC 6811's table"),
        Column("best", bool, "the router's choice"),
        Column("expected_best", bool, "the same by the model"),
    ),
)

DRAWN = Table(
    "hijack_drawn",
    "One row a kind of packets that the hijacker drew to itself: what it can read in them.",
    (
        TRIAL,
        Column("leg", str, "cn-hoa: CN to HoA; mn-ha: tunnel packets of the MN; update: its BUs"),
        Column("sent", int, "packets sent while the route was the hijacker's"),
        Column("drawn", int, "of these, recorded by it"),
        Column("readable", int, "of these, with the payload's mark in the clear"),
        Column("expected", int, "the same by the model: all without IPsec, none with it"),
        Column("locating", int, "of these, that tell HoA and CoA together (Home Address option)"),
        Column(
            "control", int, "packets whose mark arrived in the clear while nobody hijacked the leg"
        ),
        Column("as_expected", bool, "all of it is as the model says"),
    ),
)

FORGERIES = Table(
    "hijack_forgeries",
    "One row a form of what the hijacker sent in a false name: what came of it.",
    (
        TRIAL,
        Column("who", str, "whom it was sent to: cn, mn, ha"),
        Column("form", str, "one of the forms below"),
        Column("injected", int, "packets sent"),
        Column("accepted", int, "packets that an application got, or that changed a binding"),
        Column("expected", int, "the same by the model"),
        Column("refused", str, "why the agents dropped the others: reason=count …"),
        Column("alive", bool, "agents answer, and genuine packets pass both ways afterwards"),
        Column("as_expected", bool, "all of it is as the model says"),
    ),
)

TABLES = (ENDS, ROUTES, DRAWN, FORGERIES)

FORMS: Mapping[str, str] = {
    "answer": "to the CN: an answer to a packet of its own that was drawn, in the HoA's name",
    "clear-ack": "to the MN: a Binding Acknowledgement without ESP",
    "esp-ack": "to the MN: one in ESP on the right SPI, with a key of the hijacker's own",
    "clear-tunnel": "to the MN: a packet in a packet, without ESP",
    "esp-tunnel": "a tunnel packet on the right SPI, with a key of the hijacker's own",
    "stray-tunnel": "to the MN: the same on an SPI that nobody has",
    "reflected": "to the MN: its own drawn packets sent back in the HA's name",
    "clear-update": "to the HA: a Binding Update without ESP",
    "esp-update": "to the HA: one in ESP on the right SPI, with a key of the hijacker's own",
    "clear-inter-ha": "from one HA to another, by their own addresses: a message without ESP",
    "esp-inter-ha": "the same in ESP on the right SPI, with a key of the hijacker's own",
    "held-back": "to the HA: tunnel packets of the MN that were drawn, let go while nothing newer "
    "has come: they are genuine, and late",
    "replayed": "to the HA: the same packets once more, after newer ones have come",
    "replayed-update": "to the HA: drawn Binding Updates, after newer ones have come",
}

METRICS: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("hijack", "honest_share"): ("1", ("case", "who")),
    ("hijack", "readable"): ("packets", ("leg",)),
    ("hijack", "drawn"): ("packets", ("leg",)),
    ("hijack", "forged_accepted"): ("packets", ("who", "form")),
    ("hijack", "forged_injected"): ("packets", ("who", "form")),
    ("hijack", "unexpected"): ("observations", ("part",)),
}
