"""`make siege` on the real topology, at its smallest: the stranger sends, and others go on.

How long anything took is for the experiment to say; a machine that tests keep busy shows less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from experiments import data, siege_summary
from experiments.data_siege import ATTACKS as ATTACKS_OF_ALL
from experiments.data_siege import SIEGES
from tests.finished_run import Run, finished

pytestmark = [pytest.mark.emulation, pytest.mark.timeout(150)]

ATTACKS = ("all", "esp-unknown-spi", "ike-cookie")
MBIT = 8.0


@pytest.fixture(scope="module")
def run(no_sandbox_because: str) -> Iterator[Run]:
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    wanted = f"SET=attack={','.join(ATTACKS)} part=attacks mbit={MBIT:g}"
    with finished("siege", "QUICK=1", wanted, timeout=140) as found:
        yield found


def test_the_stranger_sent_and_the_link_bounded_it(run: Run) -> None:
    for attack in ATTACKS:
        (row,) = run.table(SIEGES, attack=attack, phase="siege")
        assert row["forwarded_per_s"] > 300
        # Frames have at least 54 octets.
        assert row["forwarded_per_s"] < 1.2 * MBIT * 1e6 / 8 / 54
        (idle,) = run.table(SIEGES, attack=attack, phase="idle")
        assert idle["offered_per_s"] == 0


def test_the_gate_stops_what_cannot_be_genuine(run: Run) -> None:
    """All but a share of it, however much a busy machine lets the stranger send."""
    assert "gate." not in run.table(SIEGES)[0]["refused"], "nobody had attacked yet"
    for attack, rate, burst in (("esp-unknown-spi", 500, 500), ("ike-cookie", 200, 100)):
        (row,) = run.table(SIEGES, attack=attack, phase="siege")
        reasons = _reasons(row)
        let_in = burst + rate * (row["seconds"] + 0.5)
        sent = row["forwarded_per_s"] * row["seconds"]
        stopped = sum(count for name, count in reasons.items() if name.startswith("gate."))
        assert stopped > 0 or sent < let_in, row["refused"]
        assert reasons.get("unknown-spi", 0) + reasons.get("spi-question-limit", 0) <= let_in


def test_what_has_a_known_spi_passes_and_the_agents_say_what_was_wrong(run: Run) -> None:
    (row,) = run.table(SIEGES, attack="all", phase="siege")
    reasons = set(_reasons(row))
    assert {"unprotected-mobility-message", "bad-icv"} <= reasons
    assert reasons & {"replay", "left-of-window"}


def _reasons(row: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(n) for name, n in (word.split("=") for word in row["refused"].split())}


def test_registrations_and_traffic_go_on(run: Run) -> None:
    for row in run.table(SIEGES):
        assert row["unanswered"] < row["updates"]
        for way in ("up", "down"):
            assert row[f"lost_{way}"] < row[f"sent_{way}"]
        assert (row["bindings"], row["sas"]) == (1, 4)
        assert row["rss_growth_mb"] < 20


def test_cookies_were_returned_and_half_open_sas_stayed_few(run: Run) -> None:
    (row,) = run.table(SIEGES, attack="ike-cookie", phase="siege")
    assert row["cookies_returned"] > 0
    assert 1 < row["ike_sas"] < 100


@pytest.mark.long
@pytest.mark.timeout(300)
def test_every_siege_meets_its_targets(no_sandbox_because: str) -> None:
    """All attacks, at the rate of the experiment; the machine has to be left alone with it."""
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    with finished("siege", "QUICK=1", timeout=280) as found:
        summary = data.read_summary(found.folder)
        assert {row["conditions"]["attack"] for row in summary} == set(ATTACKS_OF_ALL)
        assert siege_summary.missed(summary) == []


def test_summary_and_figure(run: Run) -> None:
    rows = data.read_summary(run.folder)
    ratios = {row["conditions"]["attack"] for row in rows if row["metric"] == "ratio_to_idle"}
    assert ratios == set(ATTACKS)
    assert (run.folder / "plots" / "siege.png").stat().st_size > 20_000
    assert not run.told("internal-error")
