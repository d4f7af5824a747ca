"""What an AS takes from its neighbours: all, what origin validation leaves, what is registered.

Filters are route maps with names of their own, all defined before any is used: a neighbour is given
another one in a single step, and FRR goes through what that neighbour said once more.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network
from pathlib import Path

from topologies.plan import Plan, Role
from topologies.route_origins import State, Vrp
from topologies.rpsl import Route6, RpslError, parse


@dataclass(frozen=True, slots=True)
class ImportFilter:
    """A route map for what comes in: its name, and the lines of bgpd's file that define it.

    ``takes_invalid`` and ``registered`` (None: everything is taken for registered) say the same to
    a model: see :meth:`admits`.
    """

    name: str
    lines: tuple[str, ...]
    takes_invalid: bool = True
    registered: frozenset[Route6] | None = None

    def admits(self, prefix: IPv6Network, origin: int | None, state: State) -> bool:
        """Return whether a route passes, by its prefix, origin AS and validation state."""
        if state is State.INVALID and not self.takes_invalid:
            return False
        return self.registered is None or (
            origin is not None and Route6(prefix, origin) in self.registered
        )


EVERYTHING = ImportFilter("IMPORT-ALL", ("route-map IMPORT-ALL permit 10", "exit"))
"""What RFC 6811 §3 calls no policy: states are known and change nothing."""

NOT_INVALID = ImportFilter(
    "IMPORT-ROV",
    (
        "route-map IMPORT-ROV deny 10",
        " match rpki invalid",
        "exit",
        "route-map IMPORT-ROV permit 20",
        "exit",
    ),
    takes_invalid=False,
)
"""Route-origin validation (ROV) as operators use it: invalid is dropped, not found is taken."""


def registered_only(routes: Iterable[Route6], name: str = "IMPORT-IRR") -> ImportFilter:
    """Return the filter that a registry's ``route6`` objects make: nothing else is taken.

    For each origin AS an AS path that ends with it, and its prefixes, each to the letter: what is
    more specific than a registered route is another route. FRR's ``_`` is the edge of an AS number.
    On a file: ``python -m topologies.import_policy FILE``.
    """
    registered = frozenset(routes)
    by_origin: dict[int, list[IPv6Network]] = {}
    for route in sorted(registered, key=lambda each: (each.origin, each.prefix)):
        by_origin.setdefault(route.origin, []).append(route.prefix)
    lines: list[str] = []
    for place, (origin, prefixes) in enumerate(by_origin.items(), start=1):
        own = f"{name}-AS{origin}"
        lines.append(f"bgp as-path access-list {own} permit _{origin}$")
        lines += [
            f"ipv6 prefix-list {own} seq {5 * n} permit {prefix}"
            for n, prefix in enumerate(prefixes, start=1)
        ]
        lines += [
            f"route-map {name} permit {10 * place}",
            f" match as-path {own}",
            f" match ipv6 address prefix-list {own}",
            "exit",
        ]
    if not lines:
        lines = [f"route-map {name} deny 10", "exit"]
    return ImportFilter(name, tuple(lines), registered=registered)


def use_lines(filter_: ImportFilter, neighbours: Sequence[object]) -> list[str]:
    """Return the lines under ``address-family ipv6 unicast`` that let neighbours meet a filter.

    What they said is kept as they said it: else a change of payloads or filter would have to ask
    them again.
    """
    return [
        line
        for neighbour in neighbours
        for line in (
            f"  neighbor {neighbour} soft-reconfiguration inbound",
            f"  neighbor {neighbour} route-map {filter_.name} in",
        )
    ]


@dataclass(frozen=True, slots=True)
class OriginOptions:
    """Which nodes validate route origins, by which payloads, and what they do with the result."""

    validators: tuple[str, ...]
    payloads: tuple[Vrp, ...] = ()
    filter: ImportFilter = NOT_INVALID


def everybody_validates(plan: Plan) -> OriginOptions:
    """Return what a home network needs: a ROA for each of its ASes; no transit takes invalid."""
    payloads = tuple(Vrp(home.aggregate, asn) for home in plan.homes for asn in home.ases)
    return OriginOptions(tuple(node.name for node in plan.of_role(Role.TRANSIT)), payloads)


def main(arguments: Sequence[str]) -> int:
    """Print the filter that a registry's file makes; exit code 2 for one that cannot be read."""
    if len(arguments) != 1:
        print("usage: python -m topologies.import_policy FILE", file=sys.stderr)
        return 2
    try:
        text = Path(arguments[0]).read_text()
        print("\n".join(registered_only(parse(text, arguments[0])).lines))
    except OSError as error:
        print(f"error: {arguments[0]}: {error.strerror}", file=sys.stderr)
        return 2
    except RpslError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
