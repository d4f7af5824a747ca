"""The model of the hijack experiment: BGP's rules on a plan, case by case worked out by hand."""

from dataclasses import replace

import pytest

from experiments.hijack_cases import (
    AGGREGATE,
    BOTH,
    CASES_PLAN,
    MORE_SPECIFIC,
    Case,
    Where,
    cases,
    filtering,
    registry,
    texts,
)
from experiments.hijack_model import IGP, INCOMPLETE, Announcement, Internet, home_announcements
from topologies import addressing, rpsl
from topologies.figure_2 import Shape, TransitGraph, multi_as
from topologies.import_policy import EVERYTHING, NOT_INVALID
from topologies.rpsl import Route6

PLAN = CASES_PLAN
CASES = cases(PLAN)
HOME = addressing.HOME_AGENT_ADDRESS
SOURCES = ("c1", "c2", "v1", "v2", "v3")


def reached(case: Case) -> list[str]:
    model = case.internet(PLAN)
    return [model.reached(source, HOME).removeprefix("AS ") for source in SOURCES]


BY_HAND = {
    # Both announce: everybody by the nearest; v1, at t3, by the lower identifier.
    "no-roa": "1 2 1 1 2",
    "roa-both": "1 2 1 1 2",
    # The draft's warning: AS 2 is filtered. All is well until AS 1 dies.
    "roa-as1": "1 1 1 1 1",
    "roa-as1-dead": "nowhere nowhere nowhere nowhere nowhere",
    "roa-both-dead": "2 2 2 2 2",
    "roa-as0": "nowhere nowhere nowhere nowhere nowhere",
    # Equal length, but ORIGIN is IGP: what t3 tells wins with all that hear it, filter or not.
    "hijack": "hijacker hijacker hijacker 1 2",
    # The same, and the honest say IGP too: the lower identifier decides, and it is not AS 3's.
    "hijack-igp": "1 2 1 1 2",
    "hijack-no-roa": "hijacker hijacker hijacker 1 2",
    "hijack-rov-some": "hijacker hijacker hijacker 1 2",
    "hijack-rov-provider": "1 2 1 1 2",
    "hijack-rov-all": "1 2 1 1 2",
    # More specific: wherever it is heard. c1 and c2 hear it from t3, whatever t1 and t2 do.
    "specific": "hijacker hijacker hijacker hijacker hijacker",
    "specific-rov-some": "hijacker hijacker hijacker 1 2",
    "specific-rov-provider": "1 2 1 1 2",
    "specific-rov-all": "1 2 1 1 2",
    # Valid, but an AS longer; more specific, so invalid; and valid where ROAs are loose.
    "forged": "1 2 1 1 2",
    "forged-specific": "1 2 1 1 2",
    "forged-specific-loose": "hijacker hijacker hijacker hijacker hijacker",
    "irr-as1": "1 1 1 1 1",
    "irr": "1 2 1 1 2",
    "irr-specific": "1 2 1 1 2",
    "irr-forged": "1 2 1 1 2",
}


@pytest.mark.parametrize("name", CASES)
def test_who_gets_it(name: str) -> None:
    assert reached(CASES[name]) == BY_HAND[name].split()


def test_every_case_has_its_own_words() -> None:
    assert set(BY_HAND) == set(CASES)
    assert len(set(texts().values())) == len(CASES)


def internet(*announcements: Announcement, **options: object) -> Internet:
    return Internet(PLAN, announcements=announcements, **options)  # type: ignore[arg-type]


def test_stubs_give_no_transit() -> None:
    """Without the links between transits nobody could carry it but stubs, and they do not."""
    star = multi_as(Shape(transit=TransitGraph.STAR))
    links = tuple(link for link in star.links if {link.a, link.b} != {"t1", "t3"})
    model = Internet(replace(star, links=links), announcements=[Announcement("v2", AGGREGATE, IGP)])
    assert model.path("t1", AGGREGATE) == "20"
    assert model.path("c1", AGGREGATE) == "101 20"
    assert model.path("t3", AGGREGATE) is None
    assert model.reached("v1", HOME) == "nowhere"


def test_a_backup_link_looks_longer() -> None:
    model = internet(Announcement("c1", AGGREGATE, IGP))
    assert model.path("t1", AGGREGATE) == "11"
    assert model.path("t3", AGGREGATE) == "101 11"  # and not 11 11 11
    assert model.trace("v1", HOME) == ["v1", "t3", "t1", "c1"]


def test_selection_goes_by_length_then_origin_then_identifier() -> None:
    honest = home_announcements(PLAN)
    assert internet(*honest).path("t3", AGGREGATE) == "1"
    assert internet(*honest, Announcement("h3", AGGREGATE, INCOMPLETE)).path("t3", AGGREGATE) == "1"
    assert internet(*honest, Announcement("h3", AGGREGATE, IGP)).path("t3", AGGREGATE) == "3"
    longer = Announcement("h3", AGGREGATE, IGP, behind=(1,))
    assert internet(*honest, longer).path("t3", AGGREGATE) == "1"


def test_an_as_takes_no_path_with_itself_in_it() -> None:
    alone = internet(Announcement("h3", AGGREGATE, IGP, behind=(103,)))
    assert alone.path("t3", AGGREGATE) is None
    assert alone.reached("v1", HOME) == "nowhere"


def test_the_longest_match_forwards() -> None:
    told = [*home_announcements(PLAN), Announcement("h3", MORE_SPECIFIC, IGP)]
    model = internet(*told, payloads=BOTH, filters={"t1": NOT_INVALID})
    assert model.path("v2", MORE_SPECIFIC) is None
    assert model.trace("v2", HOME) == ["v2", "t1", "br11"]
    assert model.way("v2", AGGREGATE) == "v2-t1"
    assert model.trace("c1", HOME) == ["c1", "t3", "h3"]
    assert model.trace("c1", AGGREGATE[1]) == ["c1", "t1", "br11"]


def test_routes_that_are_not_chosen_are_held_too() -> None:
    model = CASES["forged"].internet(PLAN)
    assert model.paths("t3", AGGREGATE) == {"1", "2", "3 1", "101 1", "102 2"}
    assert model.paths("v1", AGGREGATE) == {"103 1"}
    assert model.paths("v1", MORE_SPECIFIC) == set()
    filtered = CASES["hijack-rov-all"].internet(PLAN)
    assert filtered.paths("t3", AGGREGATE) == {"1", "2", "101 1", "102 2"}


def test_who_filters() -> None:
    assert filtering(PLAN, Where.SOME) == {"t1", "t2"}
    assert filtering(PLAN, Where.PROVIDER) == {"t3"}
    assert filtering(PLAN, Where.ALL) == {"t1", "t2", "t3"}
    assert CASES["hijack"].filters(PLAN) == dict.fromkeys(("t1", "t2", "t3"), EVERYTHING)


def test_the_registry_has_everybody_and_forgets_whom_it_shall() -> None:
    whole = set(rpsl.parse(registry(PLAN)))
    assert {Route6(AGGREGATE, 1), Route6(AGGREGATE, 2)} <= whole
    assert {asn for asn, prefixes in PLAN.originate.items() if prefixes} <= {
        route.origin for route in whole
    }
    assert whole - set(rpsl.parse(registry(PLAN, without=(2,)))) == {Route6(AGGREGATE, 2)}
