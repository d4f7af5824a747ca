"""The outage definition against a brute-force one, and the other numbers of a probe stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import streams
from experiments.probe import RECORD
from experiments.streams import CONSECUTIVE, Stream

MS = 1_000_000


def stream(delivered: list[bool], delay: int = MS // 2) -> Stream:
    """A stream of one packet a millisecond, of which these are delivered in order."""
    sent = [n * MS for n in range(len(delivered))]
    return Stream(sent, [(n, sent[n] + delay) for n, ok in enumerate(delivered) if ok])


def brute_force(sent: list[int], delivered: list[bool], fault: int) -> int | None:
    """The definition of the design, sentence by sentence, without any cleverness."""
    before = [sent[n] for n in range(len(sent)) if delivered[n] and sent[n] < fault]
    for start in range(len(sent)):
        window = delivered[start : start + CONSECUTIVE]
        if sent[start] >= fault and len(window) == CONSECUTIVE and all(window):
            return max(sent[start] - before[-1] - MS, 0)
    return None


@given(
    runs=st.lists(st.tuples(st.booleans(), st.integers(1, 45)), min_size=1, max_size=12),
    fault=st.integers(0, 300),
    jitter=st.lists(st.integers(0, MS - 1), min_size=1, max_size=20),
)
def test_outage_is_the_brute_force_definition(
    runs: list[tuple[bool, int]], fault: int, jitter: list[int]
) -> None:
    delivered = [True, *(ok for ok, length in runs for _ in range(length))]
    sent = [n * MS + jitter[n % len(jitter)] for n in range(len(delivered))]
    arrivals = [(n, sent[n] + MS) for n, ok in enumerate(delivered) if ok]
    fault_ns = fault * MS + MS // 2
    if sent[0] >= fault_ns:
        with pytest.raises(ValueError, match="before the fault"):
            streams.outage(Stream(sent, arrivals), fault_ns)
        return
    found = streams.outage(Stream(sent, arrivals), fault_ns)
    expected = brute_force(sent, delivered, fault_ns)
    assert (found and found.length_ns) == expected or (found is None) == (expected is None)
    if found is not None:
        assert found.length_ns == expected


def test_outage_of_forty_packets_is_forty_milliseconds() -> None:
    found = streams.outage(stream([True] * 50 + [False] * 40 + [True] * 30), 50 * MS - 1)
    assert found is not None
    assert (found.last_before, found.first_after, found.length_ns) == (49, 90, 40 * MS)


def test_no_loss_is_no_outage() -> None:
    found = streams.outage(stream([True] * 100), 50 * MS)
    assert found is not None
    assert found.length_ns == 0


def test_nineteen_in_a_row_do_not_end_an_outage() -> None:
    lively = [True] * 10 + [False] * 5 + [True] * 19 + [False] + [True] * 20
    found = streams.outage(stream(lively), 10 * MS)
    assert found is not None
    assert found.first_after == 35


def test_a_stream_that_stays_dead_has_no_outage_length() -> None:
    assert streams.outage(stream([True] * 10 + [False] * 50 + [True] * 19), 10 * MS) is None


def test_order_of_arrival_does_not_matter_for_the_outage() -> None:
    forward = stream([True] * 20 + [False] * 7 + [True] * 30)
    backward = Stream(forward.sent, list(reversed(forward.arrivals)))
    assert streams.outage(forward, 20 * MS) == streams.outage(backward, 20 * MS)


def test_packets_on_their_way_to_what_failed_belong_to_the_outage() -> None:
    """Sent 10 ms before the fault, lost at it; what was sent later found the next home agent."""
    delivered = [True] * 90 + [False] * 6 + [True] * 60
    seen, fault = stream(delivered), 100 * MS
    assert streams.meets_fault_ns(seen, fault, 0) == fault
    assert streams.meets_fault_ns(seen, fault, 8 * MS) == 92 * MS
    begin = streams.meets_fault_ns(seen, fault, 20 * MS)
    assert begin == 90 * MS
    found = streams.outage(seen, begin)
    assert found is not None
    assert (found.last_before, found.length_ns) == (89, 6 * MS)
    assert streams.lost(seen, begin, seen.sent[found.first_after]) == 6
    assert streams.meets_fault_ns(stream([True] * 150), fault, 20 * MS) == fault


def test_lost_counts_by_send_time() -> None:
    some = stream([True, False, False, True, False, True])
    assert streams.lost(some, 0, 6 * MS) == 3
    assert streams.lost(some, 2 * MS, 4 * MS) == 1
    assert streams.lost(some, 2 * MS, 5 * MS) == 2


def test_duplicates_and_reordering_are_told_apart() -> None:
    sent = [n * MS for n in range(6)]
    order = [0, 2, 1, 1, 3, 5, 4, 2]
    some = Stream(sent, [(sequence, 10 * MS + n) for n, sequence in enumerate(order)])
    assert streams.duplicated(some) == 2
    assert streams.reordered(some, 0, 6 * MS) == 2
    assert streams.reordered(some, 0, 4 * MS) == 1


def test_longest_gap_counts_the_gap_that_ends_in_the_window() -> None:
    some = stream([True] * 5 + [False] * 9 + [True] * 5)
    assert streams.longest_gap_ns(some, 0, 100 * MS) == 10 * MS
    assert streams.longest_gap_ns(some, 16 * MS, 100 * MS) == MS


def test_median_delay_is_that_of_the_window() -> None:
    sent = [n * MS for n in range(4)]
    some = Stream(sent, [(0, 1 * MS), (1, 3 * MS), (2, 2 * MS + 5), (3, 3 * MS + 7)])
    assert streams.median_delay_ns(some, 2 * MS, 4 * MS) == 6
    assert streams.median_delay_ns(stream([False] * 4), 0, 4 * MS) is None


@pytest.mark.parametrize(("start", "end", "pause"), [(0, 20, 5), (6, 20, 5), (8, 20, 1), (0, 3, 1)])
def test_a_pause_counts_in_every_window_that_it_touches(start: int, end: int, pause: int) -> None:
    sent = [n * MS for n in (0, 1, 2, 3, 8, 9, 10)]
    window = (start * MS + 1, end * MS)
    if (start, end) == (8, 20):
        window = (9 * MS, 20 * MS)
    assert streams.longest_pause_ns(sent, *window) == pause * MS


def test_records_are_read_back(tmp_path: object) -> None:
    from array import array
    from pathlib import Path

    folder = Path(str(tmp_path))
    (folder / "mn.1.sent").write_bytes(array("Q", [5, 6, 7]).tobytes())
    (folder / "cn1.received").write_bytes(RECORD.pack(1, 0, 2, 7, 9) + RECORD.pack(3, 0, 0, 1, 2))
    assert list(streams.read_sent(folder / "mn.1.sent")) == [5, 6, 7]
    assert streams.read_arrivals([folder / "cn1.received"]) == {1: [(2, 9)], 3: [(0, 2)]}
