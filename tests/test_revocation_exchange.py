"""Revocation lists in parts: in any order, any number of times, from anybody (rule 13)."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.core.counters import Dropped
from agents.core.revocation_exchange import MOST_OCTETS, MOST_PARTIAL, Assembly, parts
from agents.wire import inter_ha
from agents.wire.inter_ha import PART_LIMIT, OctetsEntry, Revocations
from tests.wire_samples import HA1, HA2

MOST_HELD = MOST_PARTIAL * MOST_OCTETS


@pytest.mark.parametrize("length", [1, 255, 256, PART_LIMIT, PART_LIMIT + 1, 5000, MOST_OCTETS])
def test_a_list_arrives_whole(length: int) -> None:
    generator = random.Random(length)
    octets = generator.randbytes(length)
    messages = [each for part in parts(octets) for each in (part, part)]
    generator.shuffle(messages)
    for each in messages:
        header = inter_ha.serialize_inter_ha(each, HA1, HA2)
        assert len(header) <= inter_ha.MESSAGE_LIMIT
        assert inter_ha.parse_inter_ha(header, HA1, HA2) == each
    assembly = Assembly()
    assert octets in [assembly.add(each) for each in messages]


def test_a_longer_one_is_not_taken() -> None:
    first = next(parts(bytes(MOST_OCTETS + 1)))
    with pytest.raises(Dropped, match="revocations-too-long"):
        Assembly().add(first)


def test_parts_of_another_list_under_its_name() -> None:
    """The digest is of the whole: a part that was changed makes it another one."""
    assembly = Assembly()
    one, two = parts(bytes(PART_LIMIT + 5))
    assert assembly.add(replace(two, entries=(OctetsEntry(b"other"),))) is None
    with pytest.raises(Dropped, match="revocations-misfit"):
        assembly.add(one)
    assert assembly.add(two) is None
    assert assembly.add(one) == bytes(PART_LIMIT + 5)


messages = st.builds(
    Revocations,
    st.integers(0, 9),
    st.one_of(st.integers(0, 3000), st.integers(0, 1 << 17)),
    st.one_of(st.sampled_from([0, PART_LIMIT, 2 * PART_LIMIT]), st.integers(0, 1 << 17)),
    st.lists(st.builds(OctetsEntry, st.binary(max_size=255)), max_size=6).map(tuple),
    identifier=st.just(1),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(messages, max_size=60))
def test_whatever_comes_costs_no_more_than_its_limit(hostile: list[Revocations]) -> None:
    assembly = Assembly()
    for each in hostile:
        try:
            assert assembly.add(each) is None
        except Dropped as dropped:
            assert dropped.reason.startswith("revocations-")  # noqa: PT017
        held = sum(len(o) for p in assembly._partial.values() for o in p.parts.values())
        assert held <= MOST_HELD
        assert len(assembly._partial) <= MOST_PARTIAL
