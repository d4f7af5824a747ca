"""One colour and one label for everything that figures show, so that all figures agree.

The colours are those of Okabe and Ito: told apart with any colour vision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

BLACK, ORANGE, SKY, GREEN = "#000000", "#e69f00", "#56b4e9", "#009e73"
YELLOW, BLUE, VERMILION, PURPLE = "#f0e442", "#0072b2", "#d55e00", "#cc79a7"
GREY = "#777777"

HOME_AGENTS: Mapping[str, str] = {"HA1": BLUE, "HA2": ORANGE, "HA3": GREEN}
_FURTHER = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY, YELLOW, BLACK)
SCHEMES: Mapping[str, str] = {
    "shared-sa": BLUE,
    "parallel-sa": GREEN,
    "via-primary": ORANGE,
    "haha": PURPLE,
    "rfc6275": VERMILION,
    "cold-standby": GREY,
}
DETECTIONS: Mapping[str, tuple[str, str, str]] = {  # colour, marker, label
    "bfd-10x3": (BLUE, "o", "BFD every 10 ms, 3 missed"),
    "bfd-50x3": (ORANGE, "s", "BFD every 50 ms, 3 missed"),
    "ospf-1-4": (PURPLE, "^", "OSPFv3 hello every 1 s, dead after 4 s"),
    "bgp-default": (GREY, "v", "BGP keepalive every 60 s, dead after 180 s"),
}
FAULTS: Mapping[str, str] = {
    "agent-kill": "agent killed",
    "agent-hang": "agent hung",
    "agent-restart": "agent restarted",
    "node-silent": "node silent",
    "link-cut": "link cut",
    "as-loss": "home AS silent",
    "as-cut": "AS cut off",
    "transit-loss": "transit silent",
    "ha-partition": "HA channel cut",
}
SHOWN_FAULTS: Mapping[str, str] = {"single_as": "agent-kill", "multi_as": "as-loss"}
"""Of which fault a time line is drawn, if it ran, by topology."""

DIRECTIONS: Mapping[str, str] = {"up": "from the mobile node", "down": "to the mobile node"}
MODES: Mapping[str, tuple[str, str]] = {
    "hardened": (BLUE, "hardened"),
    "draft": (GREEN, "draft"),
    "draft-cbc": (ORANGE, "draft-cbc"),
    "draft-no-origin": (VERMILION, "draft, ORIGIN_IP off"),
    "none": (GREY, "no tunnel"),
}
ATTACKS: Mapping[str, str] = {
    "relabel": "relabelled replay",
    "far-ahead": "one far-ahead packet",
    "new-primary": "replay to the next home agent",
}
PHASES: Mapping[str, str] = {
    "detected": "fault noticed",
    "withdrawn": "route withdrawn at r1",
    "fib-changed": "border router switches",
    "fib-settled": "its last change of route",
    "first-packet": "first packet by the new HA",
    "new-primary": "new primary",
    "peers-in-sync": "all other HAs know",
}
AS_PHASES: Mapping[str, str] = {
    **PHASES,
    "withdrawn": "routes withdrawn",
    "fib-changed": "all routers have switched",
    "fib-settled": "last change of a route",
}
"""The same where several routers have their part (Figure 2)."""

EXCHANGES: Mapping[str, str] = {
    "registration": "registration from nothing, IKE included",
    "update-mn": "Binding Update answered, at the mobile node",
    "update-ha": "Binding Update answered, at the home agent",
    "update-peers": "binding accepted to all peers' acknowledgements",
    "takeover": "takeover: primary invalid to Switch sent",
    "renewed": "renewal until fresh SAs in use",
    "deleted": "renewal until old SAs gone",
}
CAUSES: Mapping[str, str] = {
    "asked": "asked for",
    "new-primary": "new primary",
    "numbers": "numbers",
}
REACHED: Mapping[str, str] = {"AS 1": BLUE, "AS 2": SKY, "hijacker": "#cc2222", "nowhere": GREY}
DELIVERED, LOST = BLUE, "#cc2222"


def home_agents(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each home agent of a topology, in their order; the ninth begins anew."""
    return {
        name: HOME_AGENTS.get(name, _FURTHER[place % len(_FURTHER)])
        for place, name in enumerate(names)
    }


def detection(name: str) -> tuple[str, str, str]:
    """Return colour, marker and label of a detection setting; unknown ones are grey."""
    return DETECTIONS.get(name, (GREY, "D", name))


def phase(name: str, topology: str) -> str:
    """Return a phase of a failover in words."""
    return (PHASES if topology == "single_as" else AS_PHASES).get(name, name)


def fault(name: str) -> str:
    """Return a fault in words."""
    return FAULTS.get(name, name)
