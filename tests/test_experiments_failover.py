"""The failover experiment's parts: phases, the order of trials, parameters, iperf3's lines."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import failover, iperf
from experiments.data import EventName
from experiments.phases import phases
from experiments.scenarios import single_as
from experiments.trial import Cell
from experiments.watch import Observation
from topologies import addressing
from topologies.figure_1 import figure_1

REPOSITORY = Path(failover.__file__).resolve().parent.parent
CASES = single_as(figure_1()).cases


def seen(time: int, name: EventName, **fields: object) -> Observation:
    return Observation(time, name, fields)


def route(time: int, node: str, interface: str, change: str = "add") -> Observation:
    home = str(addressing.HOME_PREFIX)
    return seen(
        time, EventName.ROUTE, node=node, destination=home, interface=interface, change=change
    )


def peer_down(time: int, node: str) -> Observation:
    return seen(time, EventName.AGENT, node=node, kind="peer-changed", peer="HA1", state="invalid")


AGENT_KILLED = [
    seen(1, EventName.LINK, node="HA1", interface="home", state="gone"),
    route(2, "HA1", "HA1-r1"),
    route(3, "r1", "r1-r2"),
    route(4, "br", "br-r2"),
    peer_down(300, "HA2"),
    peer_down(310, "HA3"),
]


def found(observations: list[Observation], fault: str) -> dict[str, int]:
    return phases(observations, CASES[fault], ["HA2", "HA3"], 5)


def test_phases_of_a_killed_agent() -> None:
    assert found(AGENT_KILLED, "agent-kill") == {
        "detected": 1,
        "withdrawn": 3,
        "fib-changed": 4,
        "first-packet": 5,
        "peers-in-sync": 310,
    }


def test_a_phase_that_did_not_happen_is_absent() -> None:
    assert "peers-in-sync" not in found(AGENT_KILLED[:-1], "agent-kill")
    assert "new-primary" not in found(AGENT_KILLED, "agent-kill")
    takeover = seen(
        7, EventName.AGENT, node="HA2", kind="primary-changed", cause="takeover", primary=2
    )
    assert found([*AGENT_KILLED, takeover], "agent-kill")["new-primary"] == 7


def test_each_fault_is_noticed_by_its_own_sign() -> None:
    bfd = seen(8, EventName.BFD, node="r1", interface="r1-HA1", state="Down", outgoing=True)
    answer = seen(7, EventName.BFD, node="r1", interface="r1-HA1", state="Down", outgoing=False)
    carrier = seen(9, EventName.LINK, node="r1", interface="r1-HA1", state="lowerlayerdown")
    watchdog = seen(6, EventName.AGENT, node="HA1", kind="watchdog-trip")
    signs = [watchdog, answer, bfd, carrier]
    noticed = {name: found(signs, name).get("detected") for name in CASES}
    assert noticed == {
        "agent-kill": None,
        "agent-hang": 6,
        "agent-restart": None,
        "node-silent": 8,
        "link-cut": 9,
    }


def test_the_border_coming_back_to_the_old_interface_is_no_failover() -> None:
    assert "fib-changed" not in found([route(4, "br", "br-r1")], "link-cut")


def cells() -> list[Cell]:
    return [
        Cell("shared-sa", "single_as", fault, detection)
        for detection in failover.DETECTION_NAMES
        for fault in failover.FAULTS
    ]


def test_trials_are_interleaved_over_all_cells_and_seeded() -> None:
    four = dict.fromkeys(cells(), 4)
    first = list(failover.Plan(four, random.Random(7)))
    assert first == list(failover.Plan(four, random.Random(7)))
    assert first != list(failover.Plan(four, random.Random(8)))
    for start in range(0, 60, 15):
        assert sorted(map(str, first[start : start + 15])) == sorted(map(str, cells()))


def test_cells_with_fewer_trials_skip_rounds_evenly() -> None:
    many, few = cells()[:2]
    order = list(failover.Plan({many: 60, few: 20}, random.Random(1)))
    assert (order.count(many), order.count(few)) == (60, 20)
    assert 9 <= order[:40].count(few) <= 11


def test_a_void_trial_is_repeated_in_its_round_but_not_for_ever() -> None:
    plan = failover.Plan(dict.fromkeys(cells()[:2], 1), random.Random(1))
    bad, tried = cells()[0], 0
    for cell in plan:
        if cell == bad:
            tried += 1
            plan.again(cell)
    assert tried == 4 * 1 + 4 + 1


@pytest.mark.parametrize("experiment", ["failover", "throughput"])
@pytest.mark.parametrize(
    ("argument", "words"),
    [("TOPO=ring", "known: single_as"), ("SPEED=9", "known: TRIALS"), ("SET=x=1", "known: ")],
)
def test_a_bad_parameter_ends_with_code_2_and_what_is_known(
    experiment: str, argument: str, words: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{experiment}", argument],
        cwd=REPOSITORY,
        env={**os.environ, "MANYHOMES_RESULTS": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_results_folder_ends_with_code_2_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("in the way")
    done = subprocess.run(
        [sys.executable, "-m", "experiments.failover"],
        cwd=REPOSITORY,
        env={**os.environ, "MANYHOMES_RESULTS": str(tmp_path / "results")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_starved_flow_counts_with_what_its_receiver_saw() -> None:
    text = (
        "[  5]   0.00-1.00   sec  5.12 MBytes  42.0 Mbits/sec\n"
        "[  5]   1.00-2.00   sec  1.25 MBytes  10.0 Mbits/sec\n"
        "[  5]   2.00-2.50   sec  0.50 MBytes   8.0 Mbits/sec\n"
    )
    assert iperf.starved(text, seconds=4, warm_up=1) == pytest.approx((10 + 4) / 4)
    assert iperf.starved("Server listening on 5201\n", seconds=4, warm_up=1) == 0
