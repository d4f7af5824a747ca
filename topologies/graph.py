"""A picture of a topology as SVG, drawn from its plan: `make graph`, standard library alone.

Nodes stand in ranks from left to right: mobile nodes, access routers, transit, border, interior
routers, home agents. Links are labelled with what is spoken on them and with their OSPFv3 cost.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from topologies.plan import LinkPlan, NodePlan, Plan, Protocol, Role
from topologies.registry import TOPOLOGIES

RANKS = {
    Role.MOBILE: 0,
    Role.STRANGER: 0,
    Role.ACCESS: 1,
    Role.TRANSIT: 2,
    Role.BORDER: 3,
    Role.ROUTER: 4,
    Role.HOME_AGENT: 5,
}
COLOURS = {
    Role.HOME_AGENT: "#0072b2",
    Role.ROUTER: "#999999",
    Role.BORDER: "#666666",
    Role.TRANSIT: "#666666",
    Role.ACCESS: "#009e73",
    Role.HIJACKER: "#000000",
    Role.MOBILE: "#d55e00",
    Role.CORRESPONDENT: "#cc79a7",
    Role.STRANGER: "#000000",
}
STYLES = {
    Protocol.OSPF: "stroke:#555",
    Protocol.BGP: "stroke:#555;stroke-width:3",
    Protocol.STUB: "stroke:#bbb",
    Protocol.ACCESS: "stroke:#d55e00;stroke-dasharray:6 4",
}
COLUMN, ROW, MARGIN, RADIUS = 170, 130, 80, 24
LOW_ROW = 85
LEGEND = 70

Point = tuple[float, float]


def positions(plan: Plan) -> dict[str, Point]:
    """Return the centre of each node: where its plan has it, else in ranks, each centred."""
    if plan.places:
        return _placed(plan)
    ranks: dict[int, list[NodePlan]] = {}
    for node in plan.nodes.values():
        if node.role in RANKS:
            ranks.setdefault(RANKS[node.role], []).append(node)
    height = max(len(rank) for rank in ranks.values())
    found: dict[str, Point] = {}
    for column, rank in ranks.items():
        top = MARGIN + (height - len(rank)) * ROW / 2
        for row, node in enumerate(rank):
            found[node.name] = (MARGIN + column * COLUMN, top + row * ROW)
    for node in plan.of_role(Role.CORRESPONDENT):  # below and right of the router they hang on
        x, y = found[next(plan.ends_of(node.name)).neighbour]
        found[node.name] = (x + COLUMN * 0.45, y + ROW * 0.45)
    return found


def _placed(plan: Plan) -> dict[str, Point]:
    left = min(column for column, _ in plan.places.values())
    top = min(row for _, row in plan.places.values())
    return {
        name: (MARGIN + (column - left) * COLUMN, MARGIN + (row - top) * LOW_ROW)
        for name, (column, row) in plan.places.items()
    }


def draw(plan: Plan) -> str:
    """Return the plan as an SVG document."""
    places = positions(plan)
    width = max(x for x, _ in places.values()) + MARGIN
    height = max(y for _, y in places.values()) + MARGIN + LEGEND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(plan.name)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        *(_link(link, places) for link in plan.links),
        *(_node(plan, node, places[node.name]) for node in plan.nodes.values()),
        *_legend(plan, height),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _link(link: LinkPlan, places: dict[str, Point]) -> str:
    (x1, y1), (x2, y2) = places[link.a], places[link.b]
    label = _label(link)
    line = (
        f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" '
        f'style="{STYLES[link.protocol]}"><title>{escape(f"{link.name}: {link.prefix}")}</title>'
        "</line>"
    )
    if not label:
        return line
    x, y = (x1 + x2) / 2, (y1 + y2) / 2 - 4
    return line + f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle" fill="#555">{label}</text>'


def _label(link: LinkPlan) -> str:
    """Say what is different about a link: its cost inside an AS, its delay."""
    words = [str(link.cost)] if link.protocol is Protocol.OSPF else []
    words += [f"{link.delay_ms:g} ms"] if link.delay_ms else []
    return ", ".join(words)


def _node(plan: Plan, node: NodePlan, place: Point) -> str:
    x, y = place
    addresses = [str(plan.address_of(node.name))]
    if node.role is Role.MOBILE:
        addresses = [str(home.home_address(node.index)) for home in plan.homes]
    below = ", ".join(addresses)
    return (
        f'<g><circle cx="{x:.0f}" cy="{y:.0f}" r="{RADIUS}" fill="{COLOURS[node.role]}">'
        f"<title>{escape(f'{node.role}, AS {node.asn}')}</title></circle>"
        f'<text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle" fill="white" '
        f'font-weight="bold">{escape(node.name)}</text>'
        f'<text x="{x:.0f}" y="{y + RADIUS + 13:.0f}" text-anchor="middle" font-size="9" '
        f'fill="#333">{escape(below)}</text></g>'
    )


def _legend(plan: Plan, height: float) -> list[str]:
    entries = [
        (Protocol.OSPF, "OSPFv3, with its cost"),
        (Protocol.BGP, "eBGP"),
        (Protocol.STUB, "host"),
        (Protocol.ACCESS, "visited network (router advertisements)"),
    ]
    y = height - LEGEND / 2
    homes = "; ".join(
        f"home network {home.prefix}, HA address {home.home_agent_address} "
        f"(HAs in AS {', '.join(map(str, home.ases))})"
        for home in plan.homes
    )
    parts = [f'<text x="{MARGIN / 2:.0f}" y="{y + 24:.0f}" fill="#333">{homes}</text>']
    for i, (protocol, text) in enumerate(entries):
        x = MARGIN / 2 + i * 190
        parts.append(
            f'<line x1="{x:.0f}" y1="{y:.0f}" x2="{x + 34:.0f}" y2="{y:.0f}" '
            f'style="{STYLES[protocol]}"/>'
            f'<text x="{x + 40:.0f}" y="{y + 4:.0f}" fill="#333">{text}</text>'
        )
    return parts


def main() -> int:
    """Write results/topology-<TOPO>.svg; an unknown name ends with 2 and the known ones."""
    name = os.environ.get("TOPO") or "single_as"
    if name not in TOPOLOGIES:
        print(f"TOPO={name}: unknown; known: {', '.join(TOPOLOGIES)}", file=sys.stderr)
        return 2
    path = Path("results") / f"topology-{name}.svg"
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(draw(TOPOLOGIES[name].plan()), encoding="utf-8")
    except OSError as error:
        print(f"{path}: cannot be written ({error.strerror})", file=sys.stderr)
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
