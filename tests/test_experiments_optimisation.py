"""The optimisation experiment's predictions, and what it makes of its rows."""

from pathlib import Path

import pytest

from agents.config import OptimisationSettings
from experiments import parameters, plots
from experiments.data_optimisation import CHANGES, MAPPED_FAILURES, PATHS, SPEED, STEADINESS
from experiments.optimisation import KNOWN, read_rows
from experiments.optimisation_model import WayModel
from experiments.optimisation_summary import (
    NAME,
    SHOWN,
    Rows,
    failures,
    overview,
    steadiness,
    summarise,
)
from experiments.run import RunFolder
from topologies.figure_2 import Shape, multi_as

MODEL = WayModel(multi_as())


@pytest.mark.parametrize(
    ("arm", "correspondent", "up", "down"),
    [
        # By HA12 from the mobile node: 10 ms, and 2 to cn1, 22 to cn2. From cn1 by HA11, 1 + 11;
        # from cn2 by HA21, 1 + 13.
        ("off", "cn1", 12, 12),
        ("off", "cn2", 32, 14),
        ("switch", "cn2", 32, 14),
        ("relay", "cn1", 12, 12),
        ("relay", "cn2", 34, 14),
        ("map", "cn1", 12, 12),
        ("map", "cn2", 14, 14),
        ("direct", "cn1", 10, 10),
        ("direct", "cn2", 12, 12),
    ],
)
def test_predictions(arm: str, correspondent: str, up: float, down: float) -> None:
    found = MODEL.predict(arm, correspondent, after=True)
    assert (found.up_ms, found.down_ms) == (up, down)
    assert found.rtt_ms == up + down


def test_before_a_change_every_arm_is_off() -> None:
    for correspondent in ("cn1", "cn2"):
        off = MODEL.predict("off", correspondent, after=False)
        for arm in ("switch", "relay", "map"):
            assert MODEL.predict(arm, correspondent, after=False) == off


def test_plain_mobile_ipv6_has_one_home_agent_for_both_ways() -> None:
    plain = WayModel(multi_as(Shape(ases=1, has=1)))
    found = plain.predict("plain", "cn2", after=False)
    assert (found.up_ms, found.down_ms, found.home_agent) == (32, 34, "HA11")


def test_the_choice_is_that_of_the_agents() -> None:
    assert (MODEL.nearest, MODEL.best("cn1"), MODEL.best("cn2")) == ("HA12", "HA12", "HA21")
    assert MODEL.cost_ms("HA12", "cn2") == 64
    assert MODEL.cost_ms("HA21", "cn2") == 28
    stubborn = WayModel(multi_as(), OptimisationSettings(hysteresis=0.6))
    assert stubborn.best("cn2") == "HA12"


def made_up(results: Path, lost: int = 0) -> RunFolder:
    folder = RunFolder.create(NAME, parameters.parse(KNOWN, [], {}), results)
    for trial in (1, 2):
        for arm in SHOWN:
            for correspondent in ("cn1", "cn2"):
                for window in ("before", "after") if arm in ("switch", "map") else ("only",):
                    model = MODEL.predict(arm, correspondent, after=window == "after")
                    folder.row(
                        PATHS, trial=trial, arm=arm, correspondent=correspondent, window=window,
                        up_ms=model.up_ms + trial, down_ms=model.down_ms,
                        rtt_ms=model.rtt_ms + trial, model_up_ms=model.up_ms,
                        model_down_ms=model.down_ms, model_rtt_ms=model.rtt_ms,
                        home_agent=model.home_agent, model_home_agent=model.home_agent,
                    )  # fmt: skip
                for direction in ("up", "down"):
                    common = {"trial": trial, "arm": arm, "correspondent": correspondent}
                    folder.row(
                        SPEED, **common, direction=direction, goodput_mbit_s=100.0 * trial,
                        retransmits=0, seconds=2.0,
                    )  # fmt: skip
                    if arm in ("switch", "map"):
                        folder.row(
                            CHANGES, **common, direction=direction, changed_after_ms=2000.0,
                            sent_packets=2000, lost_packets=lost, duplicated_packets=0,
                            reordered_packets=trial, longest_gap_ms=1.1, sender_pause_ms=1.2,
                            valid=trial == 1,
                        )  # fmt: skip
        for arm, changes in (("switch-bare", 4), ("switch", 0), ("map", 0)):
            folder.row(STEADINESS, trial=trial, arm=arm, seconds=12.0, bursts=4, changes=changes)
        folder.row(
            MAPPED_FAILURES, trial=trial, home_agent="HA21", correspondent="cn2", direction="up",
            outage_ms=400.0 + trial, lost_packets=400, told_ms=390.0, valid=True,
        )  # fmt: skip
    return folder


def rows_of(folder: RunFolder) -> Rows:
    from experiments.data import read_table

    return read_rows(lambda table: read_table(folder.path, table))


def test_what_is_said_of_a_run(tmp_path: Path) -> None:
    with made_up(tmp_path) as folder:
        rows = rows_of(folder)
        summary = summarise(rows)
        folder.summary(summary)
        folder.complete()
    found = {(row["metric"], *row["conditions"].values()): row for row in summary}
    assert found["rtt", "map", "cn2", "after"]["median"] == 29.5
    assert found["model_rtt", "map", "cn2", "after"]["max"] == 28
    lost = found["lost", "map", "cn2", "up"]
    assert (lost["n"], lost["max"], lost["met"]) == (1, 0, True)  # the second was disturbed
    assert found["outage", "cn2", "up"]["median"] == 401.5
    assert failures(rows.failures) == ["cn2 up: 402 ms without packets, at most 402 (n=2)"]
    assert found["changes", "switch-bare"]["target"] is None
    assert found["changes", "map"]["met"] is True
    line = next(line for line in overview(rows) if line[:2] == ["map", "cn2"])
    assert line == ["map", "cn2", "47.5 (46)", "29.5 (28)", "150", "150", "0", "1", "2"]
    assert steadiness(rows.steadiness) == [
        ["switch-bare", "8", "8"], ["switch", "8", "0"], ["map", "8", "0"]
    ]  # fmt: skip
    assert plots.plot(folder.path) == ["ways"]
    assert (folder.path / "plots" / "ways.svg").stat().st_size > 10_000


def test_a_lost_packet_misses_the_target(tmp_path: Path) -> None:
    with made_up(tmp_path, lost=1) as folder:
        summary = summarise(rows_of(folder))
    assert {row["met"] for row in summary if row["metric"] == "lost"} == {False}
