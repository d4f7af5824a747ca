"""The renewal experiment on the real topology: IKE, renewals under traffic, takeover."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from experiments import data
from experiments.renewal_trial import REGISTRATIONS
from tests.finished_run import Run, finished

pytestmark = [pytest.mark.emulation, pytest.mark.timeout(200)]


@pytest.fixture(scope="module")
def run(no_sandbox_because: str) -> Iterator[Run]:
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    with finished("renewal", "TRIALS=1", "SET=mode=hardened part=keys", timeout=150) as found:
        yield found


def test_renewals_lose_nothing_and_begin_once(run: Run) -> None:
    rows = run.table(data.RENEWALS)
    assert [(row["cause"], row["correspondent"], row["direction"]) for row in rows] == [
        (cause, *end)
        for cause in ("asked", "new-primary")
        for end in (("cn1", "down"), ("cn1", "up"), ("cn2", "down"))
    ]
    assert all(row["sent_packets"] > 2000 for row in rows)
    assert [row["lost_packets"] for row in rows] == [0] * len(rows)
    assert [row["duplicated_packets"] for row in rows] == [0] * len(rows)
    assert [row["renewals_begun"] for row in rows] == [1] * len(rows)


def test_a_failover_causes_no_ike_and_the_renewal_after_it_begins_anew(run: Run) -> None:
    """I8; the new primary has no IKE SA with the mobile node until it needs one."""
    (takeover,) = run.table(data.TAKEOVERS)
    assert (takeover["home_agent"], takeover["ike_exchanges"]) == ("HA2", 0)
    assert takeover["ike_sa_inits"] >= 1


def test_every_exchange_is_timed(run: Run) -> None:
    rows = run.table(data.EXCHANGES)
    assert {row["exchange"] for row in rows} == set(data.EXCHANGE_NAMES)
    odd = [row for row in rows if not 0 < row["duration_ms"] < 10_000]
    assert odd == []
    old_ends = [row["duration_ms"] for row in rows if row["exchange"] == "deleted"]
    assert min(old_ends) > 2500, "grace (rule 9)"


def test_the_mobile_node_follows_each_renewal(run: Run) -> None:
    renewed = run.told("sa-renewed")
    assert [each["node"] for each in renewed] == ["HA1", "HA2"]
    assert len(run.told("keys-renewed")) == REGISTRATIONS + len(renewed)
    assert run.told("internal-error") == []


def test_figure_and_summary(run: Run) -> None:
    assert data.read_meta(run.folder)["state"] == "complete"
    assert (run.folder / "plots" / "renewal.png").stat().st_size > 10_000
    metrics = {row["metric"] for row in data.read_summary(run.folder)}
    assert {"exchange", "lost", "begun", "failover_ike"} <= metrics
    assert "packets lost by a renewal" in run.output
