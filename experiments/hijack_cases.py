"""The cases of the hijack experiment: who holds which ROA, who filters, what the hijacker says."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Network

from experiments.hijack_model import IGP, INCOMPLETE, Announcement, Internet, home_announcements
from topologies import addressing, rpsl
from topologies.figure_2 import Shape, multi_as
from topologies.import_policy import EVERYTHING, NOT_INVALID, ImportFilter, registered_only
from topologies.plan import Plan, Role
from topologies.route_origins import Vrp
from topologies.rpsl import Route6

AGGREGATE, MORE_SPECIFIC = addressing.HOME_AGGREGATE, addressing.HOME_PREFIX
"""What honest ASes announce, and the /64 in it that the hijacker announces beside it."""

FIRST, SECOND = addressing.HOME_ASES[:2]
HIJACKER_NODE = "h3"


class Where(StrEnum):
    """Which transit ASes filter what they are told."""

    NONE = "none"
    SOME = "some"  # all but the hijacker's own provider
    PROVIDER = "provider"  # that one alone
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Lie:
    """What the hijacker announces; `origin`: the AS that it names as the origin, None: itself."""

    prefix: IPv6Network
    origin: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One case; its name is a condition of `honest_share`."""

    name: str
    text: str
    where: Where = Where.NONE
    filter: ImportFilter = NOT_INVALID
    payloads: tuple[Vrp, ...] = ()
    lie: Lie | None = None
    dead: tuple[int, ...] = ()
    """Home ASes whose home agents are all dead."""

    honest_code: int = INCOMPLETE
    """ORIGIN of the honest announcements."""

    def filters(self, plan: Plan) -> dict[str, ImportFilter]:
        """Return every transit's filter."""
        chosen = filtering(plan, self.where)
        return {
            node.name: self.filter if node.name in chosen else EVERYTHING
            for node in plan.of_role(Role.TRANSIT)
        }

    def internet(self, plan: Plan, *, filtering: bool = True) -> Internet:
        """Return what the model says of this case, or of it before anybody filters."""
        told = home_announcements(plan, self.dead, self.honest_code)
        if self.lie is not None:
            behind = () if self.lie.origin is None else (self.lie.origin,)
            told.append(Announcement(HIJACKER_NODE, self.lie.prefix, IGP, behind))
        return Internet(plan, self.payloads, self.filters(plan) if filtering else {}, told)


def filtering(plan: Plan, where: Where) -> frozenset[str]:
    """Return the transits that filter."""
    transits = frozenset(node.name for node in plan.of_role(Role.TRANSIT))
    providers = frozenset(
        end.neighbour for end in plan.ends_of(HIJACKER_NODE) if end.neighbour in transits
    )
    return {
        Where.NONE: frozenset[str](),
        Where.SOME: transits - providers,
        Where.PROVIDER: providers,
        Where.ALL: transits,
    }[where]


def registry(plan: Plan, without: Iterable[int] = ()) -> str:
    """Return a registry with the route6 objects of every AS, as the text that it is kept as.

    `without`: ASes that forgot the home network. A registry that filters are made from has to hold
    everything, not only what is in dispute.
    """
    missing = frozenset(without)
    always = (Route6(p, asn) for asn, prefixes in plan.originate.items() for p in prefixes)
    homes = (
        Route6(home.aggregate, asn)
        for home in plan.homes
        for asn in home.ases
        if asn not in missing
    )
    return rpsl.render((*always, *homes))


ONE = (Vrp(AGGREGATE, FIRST),)
BOTH = (Vrp(AGGREGATE, FIRST), Vrp(AGGREGATE, SECOND))
LOOSE = tuple(Vrp(AGGREGATE, asn, max_length=64) for asn in (FIRST, SECOND))
NOBODY = (Vrp(AGGREGATE, 0),)

SAME, SPECIFIC = Lie(AGGREGATE), Lie(MORE_SPECIFIC)
FORGED, FORGED_SPECIFIC = Lie(AGGREGATE, FIRST), Lie(MORE_SPECIFIC, FIRST)


def cases(plan: Plan) -> dict[str, Case]:
    """Return all cases by name, in the order of the report."""
    irr = registered_only(rpsl.parse(registry(plan)))
    forgotten = registered_only(rpsl.parse(registry(plan, without=(SECOND,))), "IMPORT-IRR-1")
    every = (
        Case("no-roa", "no ROA, ROV in all transits", Where.ALL),
        Case("roa-as1", "ROA for AS 1 alone, ROV in all", Where.ALL, payloads=ONE),
        Case("roa-both", "ROAs for both, ROV in all", Where.ALL, payloads=BOTH),
        Case(
            "roa-as1-dead", "ROA for AS 1 alone, and AS 1 dead",
            Where.ALL, payloads=ONE, dead=(FIRST,),
        ),
        Case(
            "roa-both-dead", "ROAs for both, and AS 1 dead",
            Where.ALL, payloads=BOTH, dead=(FIRST,),
        ),
        Case("roa-as0", "ROA for AS 0 alone, ROV in all", Where.ALL, payloads=NOBODY),
        Case("hijack", "same prefix, no filter", payloads=BOTH, lie=SAME),
        Case(
            "hijack-igp", "same prefix, no filter, honest ORIGIN IGP",
            payloads=BOTH, lie=SAME, honest_code=IGP,
        ),
        Case("hijack-no-roa", "same prefix, ROV in all, no ROA", Where.ALL, lie=SAME),
        Case("hijack-rov-some", "same prefix, ROV in some", Where.SOME, payloads=BOTH, lie=SAME),
        Case(
            "hijack-rov-provider", "same prefix, ROV in its provider",
            Where.PROVIDER, payloads=BOTH, lie=SAME,
        ),
        Case("hijack-rov-all", "same prefix, ROV in all", Where.ALL, payloads=BOTH, lie=SAME),
        Case("specific", "more specific, no filter", payloads=BOTH, lie=SPECIFIC),
        Case(
            "specific-rov-some", "more specific, ROV in some",
            Where.SOME, payloads=BOTH, lie=SPECIFIC,
        ),
        Case(
            "specific-rov-provider", "more specific, ROV in its provider",
            Where.PROVIDER, payloads=BOTH, lie=SPECIFIC,
        ),
        Case(
            "specific-rov-all", "more specific, ROV in all", Where.ALL, payloads=BOTH, lie=SPECIFIC
        ),
        Case("forged", "forged origin, ROV in all", Where.ALL, payloads=BOTH, lie=FORGED),
        Case(
            "forged-specific", "forged origin, more specific, ROV in all",
            Where.ALL, payloads=BOTH, lie=FORGED_SPECIFIC,
        ),
        Case(
            "forged-specific-loose", "the same, ROAs with maxLength 64",
            Where.ALL, payloads=LOOSE, lie=FORGED_SPECIFIC,
        ),
        Case("irr-as1", "AS 2 not registered, IRR filters in all", Where.ALL, forgotten),
        Case("irr", "same prefix, IRR filters in all", Where.ALL, irr, lie=SAME),
        Case("irr-specific", "more specific, IRR filters in all", Where.ALL, irr, lie=SPECIFIC),
        Case("irr-forged", "forged origin, IRR filters in all", Where.ALL, irr, lie=FORGED),
    )  # fmt: skip
    return {case.name: case for case in every}


CASES_PLAN = multi_as(Shape(hijacker=True, delays=False))
"""The topology of all cases."""


@functools.cache
def texts() -> Mapping[str, str]:
    """Return what each case is in words."""
    return {case.name: case.text for case in cases(CASES_PLAN).values()}
