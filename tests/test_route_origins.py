"""RFC 6811's table as a function, checked by its own words and by arithmetic on integers."""

from ipaddress import IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.route_origins import RouteOriginError, State, Vrp, origin_of, validate

HOME = IPv6Network("fd00:192:168::/48")
PART = IPv6Network("fd00:192:168:1::/64")
ONE, TWO, NOBODY = Vrp(HOME, 1), Vrp(HOME, 2), Vrp(HOME, 0)


@pytest.mark.parametrize(
    ("payloads", "states"),
    [
        # The table of who may announce: AS 1's route, AS 2's, AS 3's, one of AS 3 that names AS 1.
        ((), "notfound notfound notfound notfound"),
        ((ONE,), "valid invalid invalid valid"),
        ((ONE, TWO), "valid valid invalid valid"),
        ((NOBODY,), "invalid invalid invalid invalid"),
        ((NOBODY, TWO), "invalid valid invalid invalid"),
    ],
)
def test_who_may_announce_the_home_network(payloads: tuple[Vrp, ...], states: str) -> None:
    paths = ([101, 1], [102, 2], [103, 3], [103, 3, 1])
    found = [validate(HOME, origin_of(path, own=11), payloads) for path in paths]
    assert " ".join(found) == states


@pytest.mark.parametrize(
    ("max_length", "state"), [(48, State.INVALID), (63, State.INVALID), (64, State.VALID)]
)
def test_max_length_opens_more_specific_prefixes(max_length: int, state: State) -> None:
    assert validate(PART, 1, [Vrp(HOME, 1, max_length)]) is state


def test_a_payload_does_not_speak_of_what_contains_it() -> None:
    assert validate(IPv6Network("fd00:192::/32"), 3, [ONE]) is State.NOT_FOUND


def test_origin_is_the_last_as_and_none_for_a_set() -> None:
    assert origin_of([], own=7) == 7
    assert origin_of([101, 1], own=7) == 1
    assert origin_of([frozenset({5}), 1], own=7) == 1
    assert origin_of([101, frozenset({1})], own=7) is None
    # A set is never valid, not even one of a single AS (RFC 6811 §2).
    assert validate(HOME, None, [ONE]) is State.INVALID
    assert validate(HOME, None, []) is State.NOT_FOUND


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((HOME, 1, 47), "maxLength 47"),
        ((HOME, 1, 129), "maxLength 129"),
        ((HOME, -1), "AS -1"),
        ((HOME, 2**32), "AS 4294967296"),
    ],
)
def test_payloads_that_cannot_be(arguments: tuple[object, ...], said: str) -> None:
    with pytest.raises(RouteOriginError, match=said):
        Vrp(*arguments)  # type: ignore[arg-type]


def prefixes() -> st.SearchStrategy[IPv6Network]:
    """Prefixes that often contain one another."""

    def make(bits: int, length: int) -> IPv6Network:
        return IPv6Network((bits << 120 >> (128 - length) << (128 - length), length))

    return st.builds(make, st.integers(0, 255), st.integers(0, 8))


def payloads() -> st.SearchStrategy[Vrp]:
    return prefixes().flatmap(
        lambda prefix: st.builds(
            Vrp, st.just(prefix), st.integers(0, 2), st.integers(max(1, prefix.prefixlen), 10)
        )
    )


@given(prefixes(), st.sampled_from([None, 0, 1, 2]), st.lists(payloads(), max_size=4))
def test_by_arithmetic(route: IPv6Network, origin: int | None, vrps: list[Vrp]) -> None:
    """The same by shifting integers: who covers is who shares the first bits."""

    def covers(vrp: Vrp) -> bool:
        length = vrp.prefix.prefixlen
        shift = 128 - length
        address, own = int(route.network_address), int(vrp.prefix.network_address)
        return length <= route.prefixlen and address >> shift == own >> shift

    covering = [vrp for vrp in vrps if covers(vrp)]
    matching = [
        vrp for vrp in covering if route.prefixlen <= vrp.max_length and vrp.asn == origin != 0
    ]
    expected = State.VALID if matching else State.INVALID if covering else State.NOT_FOUND
    assert validate(route, origin, vrps) is expected
