"""The multi-hoa experiment on the real network: AS 1 is cut off, and comes back (draft §4.2)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from experiments.data_multi_hoa import HOME_FLOWS, NEW_FLOWS
from experiments.multi_hoa_summary import works_target
from tests.finished_run import Run, finished

pytestmark = [pytest.mark.emulation, pytest.mark.timeout(200)]

RUN = ["multi_hoa", "TRIALS=1", "SCHEME=two-hoas",
       "FAULT=as-cut", "SET=hold=1 delays=off"]  # fmt: skip

BUSY_MS = 2000
"""What a busy machine may add. How fast it is on an idle one is for the experiment to say."""


@pytest.fixture(scope="module")
def run(no_sandbox_because: str) -> Iterator[Run]:
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    with finished(*RUN, timeout=180) as found:
        yield found


def test_flows_on_home_1_stop_and_those_on_home_2_do_not(run: Run) -> None:
    rows = {(row["home"], row["direction"]): row for row in run.table(HOME_FLOWS)}
    assert [rows[1, direction]["stopped"] for direction in ("up", "down")] == [True, True]
    for direction in ("up", "down"):
        assert not rows[2, direction]["stopped"]
        assert rows[2, direction]["lost_packets"] == 0


def test_new_flows_get_home_2_within_the_bound_and_home_1_again(run: Run) -> None:
    [row] = run.table(NEW_FLOWS)
    assert 0 < row["works_ms"] < works_target("multi_hoa") + BUSY_MS
    assert row["unanswered_flows"] > 0
    assert row["chosen_ms"] < works_target("multi_hoa") + BUSY_MS
    assert row["back_heard_ms"] + 1000 - 20 <= row["back_chosen_ms"]  # told when they are written


def test_the_mobile_node_tells_why(run: Run) -> None:
    standings = [each["standing"] for each in run.told("home-standing") if each["home"] == 1]
    assert standings == ["failed", "recovering", "working"]
    assert [each["home"] for each in run.told("home-chosen")] == [2, 1]
    # Nothing happened to home 2 meanwhile: no registration, no key exchange (I8).
    sent = [each for each in run.told("registration-sent") if each["home"] == 2]
    assert sent == []
