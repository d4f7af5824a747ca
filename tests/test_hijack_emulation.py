"""The hijack experiment on the real topology: what routers, hijacker and agents do, as modelled."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from experiments import data
from experiments.data_hijack import DRAWN, ENDS, FORGERIES, FORMS, ROUTES
from tests.finished_run import Run, finished

pytestmark = [pytest.mark.emulation, pytest.mark.timeout(400)]

CASES = "no-roa,roa-as1,roa-both,roa-as0,hijack,specific-rov-some,forged,forged-specific-loose,irr"


@pytest.fixture(scope="module")
def run(no_sandbox_because: str) -> Iterator[Run]:
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    with finished("hijack", "TRIALS=1", "CAPTURE=1", f"SET=case={CASES}", timeout=350) as found:
        yield found


@pytest.mark.parametrize(
    ("case", "states"),
    [
        ("no-roa", {"1": "notfound", "2": "notfound"}),
        ("roa-as1", {"1": "valid", "2": "invalid"}),
        ("roa-both", {"1": "valid", "2": "valid"}),
        ("roa-as0", {"1": "invalid", "2": "invalid"}),
        ("hijack", {"1": "valid", "2": "valid", "3": "invalid"}),
        ("forged", {"1": "valid", "2": "valid", "3 1": "valid"}),
    ],
)
def test_states_of_what_the_middle_transit_hears(
    run: Run, case: str, states: dict[str, str]
) -> None:
    rows = run.table(ROUTES, case=case, stage="heard", node="t3")
    assert {
        row["as_path"]: row["state"] for row in rows if not row["as_path"].startswith("10")
    } == states


def test_nothing_invalid_is_kept_where_all_validate(run: Run) -> None:
    for case in ("roa-as1", "roa-as0", "forged"):
        states = {row["state"] for row in run.table(ROUTES, case=case, stage="kept")}
        assert "invalid" not in states
    assert "invalid" in {row["state"] for row in run.table(ROUTES, case="hijack", stage="kept")}


def test_the_second_as_is_filtered_without_a_roa_of_its_own(run: Run) -> None:
    """Draft §4.1, D13: honest announcements can be deleted by what copes with hijacking."""
    for case, second in (("roa-as1", "AS 1"), ("roa-both", "AS 2"), ("no-roa", "AS 2")):
        reached = {row["source"]: row["reached"] for row in run.table(ENDS, case=case)}
        assert (reached["cn1"], reached["cn2"], reached["v3"]) == ("AS 1", second, second)


def test_what_the_hijacker_gets(run: Run) -> None:
    """D13 with a hijacker: by prefix, filter and origin."""
    for case, sources in (
        ("hijack", {"cn1", "cn2", "v1"}),
        ("specific-rov-some", {"cn1", "cn2", "v1"}),
        ("forged-specific-loose", {"cn1", "cn2", "v1", "v2", "v3"}),
        ("irr", set()),
        ("forged", set()),
    ):
        rows = run.table(ENDS, case=case)
        assert {row["source"] for row in rows if row["drawn"] == row["sent"]} == sources
        assert {row["source"] for row in rows if row["honest"] == row["sent"]} == {
            row["source"] for row in rows
        } - sources


def test_as_paths_are_recorded(run: Run) -> None:
    paths = {row["source"]: row["as_path"] for row in run.table(ENDS, case="forged-specific-loose")}
    assert paths == {"cn1": "103 3 1", "cn2": "103 3 1", "v1": "103 3 1",
                     "v2": "101 103 3 1", "v3": "102 103 3 1"}  # fmt: skip


def test_the_leg_without_ipsec_is_read_and_believed(run: Run) -> None:
    (drawn,) = run.table(DRAWN, leg="cn-hoa")
    assert drawn["readable"] == drawn["drawn"] == drawn["sent"] > 0
    (answers,) = run.table(FORGERIES, who="cn")
    assert answers["accepted"] == answers["injected"] == drawn["drawn"]


def test_tunnelled_payload_is_drawn_and_not_read(run: Run) -> None:
    (drawn,) = run.table(DRAWN, leg="mn-ha")
    assert drawn["drawn"] == drawn["sent"] > 0
    assert drawn["readable"] == 0
    assert drawn["control"] > 0  # the mark would be seen: it was where nothing encrypts
    (updates,) = run.table(DRAWN, leg="update")
    assert updates["locating"] == updates["drawn"] > 0


def test_the_capture_says_the_same(run: Run) -> None:
    """A second opinion on the hijacker's own counts: what tshark finds on its link."""
    capture = run.folder / "captures" / "01" / "01-h3.pcapng"

    def count(wanted: str) -> int:
        words = ["tshark", "-r", str(capture), "-Y", wanted, "-T", "fields", "-e", "frame.number"]
        return len(subprocess.run(words, capture_output=True, check=True).stdout.split())

    (clear,) = run.table(DRAWN, leg="cn-hoa")
    (tunnelled,) = run.table(DRAWN, leg="mn-ha")
    (updates,) = run.table(DRAWN, leg="update")
    home, anycast = "fd00:192:168:1::100", "fd00:192:168:1::254"
    arrived, left = "sll.pkttype == 0", "sll.pkttype == 4"
    # Not in another packet, and not in an ICMPv6 error about one.
    plain = "udp.port == 7100 && !icmpv6 && !ipv6.nxt == 41"
    assert count(f"{arrived} && {plain} && ipv6.dst == {home}") == clear["drawn"]
    answers = count(f"{left} && {plain} && ipv6.src == {home}")
    assert answers == clear["drawn"]
    from_mobile = "esp && ipv6.src == fd00:10:10:10::100"
    assert count(f"{arrived} && {from_mobile} && !ipv6.dstopts") == tunnelled["drawn"]
    assert count(f"{arrived} && {from_mobile} && ipv6.dstopts") >= updates["drawn"]
    # Nothing that the mobile node sent to its correspondent is there in the clear.
    assert count(f"{arrived} && {plain} && ipv6.src == {home}") == 0
    assert count(f"{left} && {from_mobile} && ipv6.dst == {anycast}") > 2 * tunnelled["drawn"]


def test_agents_take_nothing_forged(run: Run) -> None:
    rows = [row for row in run.table(FORGERIES) if row["form"] not in ("answer", "held-back")]
    assert {(row["who"], row["form"]) for row in rows} >= {
        ("mn", "clear-ack"), ("mn", "esp-ack"), ("mn", "esp-tunnel"), ("mn", "reflected"),
        ("ha", "clear-update"), ("ha", "esp-update"), ("ha", "esp-tunnel"), ("ha", "replayed"),
        ("ha", "clear-inter-ha"), ("ha", "esp-inter-ha"),
    }  # fmt: skip
    assert {row["accepted"] for row in rows} == {0}
    assert all(row["injected"] > 0 and row["alive"] for row in rows)
    refused = {(row["who"], row["form"]): row["refused"] for row in rows}
    assert refused["mn", "esp-tunnel"] == "bad-icv=50"
    assert refused["ha", "esp-update"] == "bad-icv=50"
    assert refused["ha", "clear-update"] == "unprotected-mobility-message=50"
    assert {row["form"] for row in run.table(FORGERIES)} == set(FORMS)


def test_delay_is_not_stopped_by_ipsec(run: Run) -> None:
    (late,) = run.table(FORGERIES, form="held-back")
    assert late["accepted"] == late["injected"] > 0


def test_summary_and_figure(run: Run) -> None:
    rows = data.read_summary(run.folder)
    found = {
        tuple(row["conditions"].values()): row["median"]
        for row in rows
        if row["metric"] == "honest_share"
    }
    assert found["hijack", "cn"] == 0
    assert found["hijack", "mn"] == pytest.approx(2 / 3, abs=1e-5)
    assert found["irr", "cn"] == found["irr", "mn"] == 1
    assert found["roa-as0", "cn"] == 0
    unexpected = {
        row["conditions"]["part"]: row["max"] for row in rows if row["metric"] == "unexpected"
    }
    assert unexpected == {"routes": 0, "ends": 0, "drawn": 0, "forgeries": 0}
    assert (run.folder / "plots" / "hijack.png").stat().st_size > 20_000
    assert "everything as the model says" in run.output
    registry = (run.folder / "logs" / "registry.rpsl").read_text()
    assert "origin:  AS2" in registry
