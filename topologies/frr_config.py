"""FRR's configuration files, rendered from a plan: one file for each daemon of each node.

Each daemon reads only its own file (``bfdd`` and ``ospf6d`` stop reading at each other's blocks).
Nothing of interfaces stands in zebra's file: FRR 10 gave them to another daemon and rejects them.
"""

from __future__ import annotations

from dataclasses import dataclass

from topologies import addressing
from topologies.frr_programs import rpki_lines
from topologies.import_policy import OriginOptions, use_lines
from topologies.plan import End, HomeNetwork, NodePlan, Plan, Protocol, Role

HOME_LIST, HOME_MAP = "HOME", "HOME-ONLY"
EXPORT_MAP, BACKUP_MAP = "OWN-PREFIXES", "OWN-PREFIXES-BACKUP"
INTERIOR_PROFILE, EXTERIOR_PROFILE = "interior", "exterior"


@dataclass(frozen=True, slots=True)
class Detection:
    """How soon a silent neighbour is noticed. Times in seconds, BFD's intervals in ms.

    ``bfd_interval_ms`` is the interior's (OSPFv3: what the home agents' failover hangs on), None
    for no BFD at all. Between ASes BFD is never faster than ``exterior_least_ms``: a session lost
    there without need costs 2 to 4 s (BGP starts anew) where the interior takes 1 s, and on a busy
    machine with few processors 10 ms x 3 was lost a dozen times a minute on eBGP links.
    """

    name: str
    hello: int = 1
    dead: int = 4
    bfd_interval_ms: int | None = None
    bfd_multiplier: int = 3
    exterior_least_ms: int = 50
    bgp_keepalive: int = 1
    bgp_hold: int = 4

    @property
    def exterior_interval_ms(self) -> int:
        """BFD's interval on the links between ASes."""
        return max(self.bfd_interval_ms or 0, self.exterior_least_ms)


DETECTIONS = {
    each.name: each
    for each in (
        Detection("bfd-10x3", bfd_interval_ms=10),
        Detection("bfd-50x3", bfd_interval_ms=50),
        Detection("ospf-1-4"),
        Detection("bgp-default", bgp_keepalive=60, bgp_hold=180),
    )
}


@dataclass(frozen=True, slots=True)
class RoutingOptions:
    """Every timer of the routing protocols, in the protocol's own unit.

    ``spf_*`` are milliseconds: initial delay, least and greatest hold time between two runs.

    ``min_arrival_ms`` and ``retransmit`` decide how fast OSPFv3 starts. FRR 8.4's ospf6d does not
    hold back its own originations for 5 s, as it may seem from outside. While adjacencies come up
    each router originates its router LSA several times within a second, and the neighbour throws
    away every instance that comes less than MinLSArrival (1 s) after the one before
    (``ospf6_flood.c: ospf6_lsa_check_min_arrival``), unacknowledged. The sender repeats it after
    the retransmission interval, and that is 5 s by default. With 0 ms and 1 s the adjacencies are
    the only thing that start-up waits for, and a second failure within 5 s is as fast as the first.

    ``rib_hold_ms``: zebra lets each batch of changes ripen for 10 ms by default before it looks at
    them; this stands twice in the way of a failover, at the home agent and at the router.

    ``origins``: who validates route origins, and by what; None: nobody.
    """

    detection: Detection = DETECTIONS["bfd-10x3"]
    spf_delay: int = 0
    spf_hold: int = 10
    spf_max_hold: int = 50
    min_arrival_ms: int = 0
    retransmit: int = 1
    rib_hold_ms: int = 1
    origins: OriginOptions | None = None


def validates_origins(name: str, options: RoutingOptions) -> bool:
    """Return whether a node's bgpd validates the origins of routes (RFC 6811)."""
    return options.origins is not None and name in options.origins.validators


def daemons(plan: Plan, node: NodePlan, options: RoutingOptions) -> list[str]:
    """Return the daemons that a node runs; zebra comes first. Hosts run none."""
    if node.role.is_host:
        return []
    names = ["zebra"]
    if options.detection.bfd_interval_ms is not None:
        names.append("bfdd")
    if plan.speaks(node.name, Protocol.OSPF):
        names.append("ospf6d")
    if plan.speaks(node.name, Protocol.BGP):
        names.append("bgpd")
    return names


def render(plan: Plan, node: NodePlan, daemon: str, options: RoutingOptions) -> str:
    """Return the configuration file of one daemon of one node."""
    body = {"zebra": _zebra, "bfdd": _bfdd, "ospf6d": _ospf6d, "bgpd": _bgpd}[daemon]
    lines = [f"hostname {node.name}", *body(plan, node, options)]
    return "\n".join(lines) + "\n"


def _zebra(_plan: Plan, _node: NodePlan, options: RoutingOptions) -> list[str]:
    return [f"zebra work-queue {options.rib_hold_ms}"]


def _bfdd(plan: Plan, node: NodePlan, options: RoutingOptions) -> list[str]:
    return bfd_lines(plan, node, options.detection)


def bfd_lines(plan: Plan, node: NodePlan, detection: Detection) -> list[str]:
    """Return the lines that define a node's BFD profiles, for its file or for a running bfdd."""
    profiles = (
        (INTERIOR_PROFILE, Protocol.OSPF, detection.bfd_interval_ms),
        (EXTERIOR_PROFILE, Protocol.BGP, detection.exterior_interval_ms),
    )
    lines = ["bfd"]
    for name, protocol, interval in profiles:
        if plan.speaks(node.name, protocol):
            lines += [
                f" profile {name}",
                f"  detect-multiplier {detection.bfd_multiplier}",
                f"  receive-interval {interval}",
                f"  transmit-interval {interval}",
                " exit",
            ]
    return [*lines, "exit"]


def _home_route_map(kind: str, home: HomeNetwork) -> list[str]:
    """Let the home network pass and nothing else; before its use, else FRR re-reads it 5 s later.

    (``ospf6_asbr.c: ospf6_asbr_distribute_list_update`` waits that long after a change.)
    """
    return [
        f"ipv6 prefix-list {HOME_LIST} seq 5 permit {home.prefix}",
        f"route-map {kind} permit 10",
        f" match ipv6 address prefix-list {HOME_LIST}",
        "exit",
    ]


def home_metric(node: NodePlan) -> int:
    """Return the metric with which a home agent advertises the home network, if nobody wishes.

    Metric type 1 adds the way inside the AS, so that the nearest home agent wins; this only breaks
    ties.
    """
    return node.index


def home_redistribution(metric: int | str) -> str:
    """Return the line under ``router ospf6`` that advertises the agent's route on its TUN."""
    return f"redistribute kernel metric {metric} metric-type 1 route-map FROM-AGENT"


def _ospf6d(plan: Plan, node: NodePlan, options: RoutingOptions) -> list[str]:
    lines: list[str] = []
    if node.role is Role.HOME_AGENT:
        lines += _home_route_map("FROM-AGENT", plan.home_of(node.name))
    for end in plan.ends_of(node.name):
        if end.link.protocol in (Protocol.OSPF, Protocol.STUB):
            lines += ospf6_interface(end, options)
    lines += [
        "router ospf6",
        f" ospf6 router-id {addressing.router_id(node.number)}",
        " log-adjacency-changes",
        f" timers throttle spf {options.spf_delay} {options.spf_hold} {options.spf_max_hold}",
        f" timers lsa min-arrival {options.min_arrival_ms}",
    ]
    if node.role is Role.HOME_AGENT:
        lines.append(f" {home_redistribution(home_metric(node))}")
    if node.role is Role.BORDER:
        lines.append(" default-information originate always metric 1 metric-type 1")
    return [*lines, "exit"]


def ospf6_interface(end: End, options: RoutingOptions) -> list[str]:
    """Return the lines of an interface, for ospf6d's file or for a running ospf6d."""
    lines = [f"interface {end.interface}", " ipv6 ospf6 area 0.0.0.0"]
    if end.link.protocol is Protocol.STUB:
        return [*lines, " ipv6 ospf6 passive", "exit"]
    detection = options.detection
    lines += [
        " ipv6 ospf6 network point-to-point",  # no election, and none of its waiting
        f" ipv6 ospf6 cost {end.link.cost}",
        f" ipv6 ospf6 hello-interval {detection.hello}",
        f" ipv6 ospf6 dead-interval {detection.dead}",
        f" ipv6 ospf6 retransmit-interval {options.retransmit}",
    ]
    if detection.bfd_interval_ms is not None:
        lines.append(f" ipv6 ospf6 bfd profile {INTERIOR_PROFILE}")
    return [*lines, "exit"]


def leave_interface(end: End) -> list[str]:
    """Return the lines by which a running ospf6d gives up what `ospf6_interface` gave it."""
    return [f"interface {end.interface}", " no ipv6 ospf6 bfd", " no ipv6 ospf6 area", "exit"]


def _bgpd(plan: Plan, node: NodePlan, options: RoutingOptions) -> list[str]:
    home = plan.home_of(node.name) if plan.has_home(node.name) else None
    lines = _home_route_map(HOME_MAP, home) if home is not None else []
    if not plan.is_transit(node.name):
        lines += _export_route_maps(node)
    exterior = [end for end in plan.ends_of(node.name) if end.link.protocol is Protocol.BGP]
    interior = plan.interior_peers(node.name)
    origins = options.origins if validates_origins(node.name, options) else None
    if origins is not None:
        lines += [*rpki_lines(), *origins.filter.lines]
    lines += [
        f"router bgp {node.asn}",
        f" bgp router-id {addressing.router_id(node.number)}",
        " bgp log-neighbor-changes",
        " no bgp ebgp-requires-policy",
        " no bgp default ipv4-unicast",
        " no bgp network import-check",  # an AS's own /32 is not a route of its routers
        # A new session's routes are told at once. By default peers that might join are waited for,
        # 1 s and more where there are many: a stub that returns would draw packets before its
        # provider has told it a way for the answers.
        " coalesce-time 0",
        " bgp bestpath compare-routerid",  # by default the older of two equal ways wins: chance
    ]
    for end in (*exterior, *interior):
        lines += _bgp_peer(plan, end, options)
    lines.append(" address-family ipv6 unicast")
    # FRR takes all equal ways by default: one mobile node's packets would be shared out over them.
    lines += ["  maximum-paths 1", "  maximum-paths ibgp 1"]
    lines += [f"  network {prefix}" for prefix in plan.originate.get(node.asn, ())]
    if home is not None:
        # Only a living home agent's route makes the aggregate: no `network` statement for it.
        lines += [
            f"  redistribute ospf6 route-map {HOME_MAP}",
            f"  aggregate-address {home.aggregate} summary-only",
        ]
    for end in exterior:
        lines.append(f"  neighbor {end.neighbour_address} activate")
        if not plan.is_transit(node.name):
            name = BACKUP_MAP if end.link.backup else EXPORT_MAP
            lines.append(f"  neighbor {end.neighbour_address} route-map {name} out")
    if origins is not None:
        lines += use_lines(origins.filter, [end.neighbour_address for end in exterior])
    for end in interior:
        lines.append(f"  neighbor {end.neighbour_address} activate")
        # The other border router's neighbours are in no route of this AS.
        lines.append(f"  neighbor {end.neighbour_address} next-hop-self")
    return [*lines, " exit-address-family", "exit"]


def _export_route_maps(node: NodePlan) -> list[str]:
    """A stub tells its providers of its own prefixes alone, so that none sends transit through it.

    On a backup link it makes its own way look longer (it prepends its AS number twice).
    """
    own = [" match as-path OWN"]
    return [
        "bgp as-path access-list OWN permit ^$",
        f"route-map {EXPORT_MAP} permit 10",
        *own,
        "exit",
        f"route-map {BACKUP_MAP} permit 10",
        *own,
        f" set as-path prepend {node.asn} {node.asn}",
        "exit",
    ]


def _bgp_peer(plan: Plan, end: End, options: RoutingOptions) -> list[str]:
    peer, detection = end.neighbour_address, options.detection
    lines = [
        f" neighbor {peer} remote-as {plan.nodes[end.neighbour].asn}",
        f" neighbor {peer} timers {detection.bgp_keepalive} {detection.bgp_hold}",
        f" neighbor {peer} timers connect 1",
        f" neighbor {peer} advertisement-interval 0",
    ]
    if detection.bfd_interval_ms is not None:
        lines += [f" neighbor {peer} bfd", f" neighbor {peer} bfd profile {EXTERIOR_PROFILE}"]
    return lines
