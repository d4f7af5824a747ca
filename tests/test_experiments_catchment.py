"""What a catchment run says is made from its folder alone; a disagreement is a failed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from experiments import catchment, data, parameters, plots
from experiments.calm import first_change
from experiments.catchment import KNOWN
from experiments.catchment_summary import catchment_lines, summarise, tour_lines
from experiments.data import EventName
from experiments.data_catchment import CATCHMENTS, MAP_LINKS, MAP_NODES, PLACES
from experiments.parameters import ParameterError
from experiments.run import RunFolder
from experiments.watch import Observation
from topologies.catchment import as_text, predicted, sources
from topologies.graph import positions
from topologies.path_model import PathModel
from topologies.plan import Plan, Role
from topologies.registry import TOPOLOGIES

TOUR = (("v1", ""), ("v2", "v1"), ("v1", "v2"))


def run_folder(results: Path, topology: str = "multi_as", wrong: str = "") -> Path:
    """Write a complete run with made-up times; `wrong` is the source on which they disagree."""
    plan = TOPOLOGIES[topology].plan()
    asked = parameters.parse(KNOWN, [f"TOPO={topology}"], {})
    folder = RunFolder.create("catchment", asked, results)
    with folder:
        folder.note(delay="netem")
        write_map(folder, plan)
        write_catchments(folder, plan, wrong)
        write_tour(folder, plan, wrong)
        rows = [data.read_table(folder.path, table) for table in (CATCHMENTS, PLACES)]
        folder.summary(summarise(*rows))
        folder.complete()
    return folder.path


def write_map(folder: RunFolder, plan: Plan) -> None:
    for name, (x, y) in positions(plan).items():
        node = plan.nodes[name]
        folder.row(MAP_NODES, node=name, role=str(node.role), asn=node.asn, x=x, y=y)
    for link in plan.links:
        folder.row(
            MAP_LINKS, a=link.a, b=link.b, protocol=str(link.protocol), delay_ms=link.delay_ms
        )


def write_catchments(folder: RunFolder, plan: Plan, wrong: str) -> None:
    model = PathModel(plan)
    for home in plan.homes:
        for source in sources(plan):
            way = predicted(model, source, home)
            path, as_path = " ".join(way.nodes), as_text(way.as_path)
            trip = model.round_trip_ms(source, way.home_agent, home.home_agent_address)
            correspondent = plan.nodes[source].role is Role.CORRESPONDENT
            folder.row(
                CATCHMENTS, home_network=home.number, source=source, path=path, as_path=as_path,
                kind="correspondent" if correspondent else "visited", home_agent=way.home_agent,
                traced_path=f"{source} elsewhere" if source == wrong else path, model_path=path,
                model_as_path=as_path, rtt_ms=trip + 0.123, model_rtt_ms=trip,
                agree=source != wrong,
            )  # fmt: skip


def write_tour(folder: RunFolder, plan: Plan, wrong: str) -> None:
    (home, *_) = plan.homes
    model = PathModel(plan)
    for trial in (1, 2):
        for step, (place, before) in enumerate(TOUR):
            serving = predicted(model, place, home).home_agent
            for correspondent in plan.of_role(Role.CORRESPONDENT):
                entry = predicted(model, correspondent.name, home).home_agent
                for direction in ("up", "down"):
                    by = serving if direction == "up" else entry
                    calm = (trial, direction) != (2, "down")
                    cost: dict[str, Any] = {}
                    if before:
                        cost = {
                            "moved_ms": 20.0, "bound_ms": 30.0 + trial, "lost_packets": 40 * step,
                            "outage_ms": 41.0 if calm else 999.0, "longest_pause_ms": 1.5,
                        }  # fmt: skip
                    folder.row(
                        PLACES, trial=trial, step=step, place=place, came_from=before,
                        home_network=home.number, mobile="mn", correspondent=correspondent.name,
                        direction=direction, home_agent=by, model_home_agent=by, primary=serving,
                        model_primary=serving, agree=correspondent.name != wrong, delay_ms=10.2,
                        model_delay_ms=10.0, begin_ms=900.0 * step, end_ms=900.0 * step + 900,
                        valid=calm, **cost,
                    )  # fmt: skip


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_figures_come_from_the_folder_alone(tmp_path: Path, topology: str) -> None:
    folder = run_folder(tmp_path, topology)
    assert plots.plot(folder) == ["map", "tour"]
    drawn = (folder / "plots" / "map.svg").read_text()
    assert "traced packets and the plan agree" in drawn
    assert "links delayed by netem" in drawn
    for name in TOPOLOGIES[topology].plan().nodes:
        assert f">{name}<" in drawn or f"-- {name} --" in drawn
    tour = (folder / "plots" / "tour.svg").read_text()
    assert "outage 41 ms, 40 lost" in tour, "the disturbed streams do not count"


def test_summary_has_prediction_beside_measurement(tmp_path: Path) -> None:
    rows = {
        (row["metric"], *row["conditions"].values()): row
        for row in data.read_summary(run_folder(tmp_path))
    }
    assert rows["rtt", 1, "v1", "HA12"]["median"] == 20.123
    assert rows["model_rtt", 1, "v1", "HA12"]["median"] == 20.0
    assert rows["handover", 1, "v1", "v2"]["n"] == 2, "one registration a move, not a stream"
    assert rows["outage", 1, "v1", "v2", "cn1", "up"]["max"] == 41.0
    assert rows["outage", 1, "v1", "v2", "cn1", "down"]["n"] == 1
    assert rows["disagreements", "catchments"]["met"] is True
    assert rows["disagreements", "tour"]["met"] is True


def test_a_disagreement_is_told_and_fails_its_target(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, wrong="cn1")
    wrong = {
        row["conditions"]["part"]: (row["max"], row["met"])
        for row in data.read_summary(folder)
        if row["metric"] == "disagreements"
    }
    assert wrong == {"catchments": (1, False), "tour": (6, False)}
    plots.plot(folder)
    assert "the plan disagree on 1 ways" in (folder / "plots" / "map.svg").read_text()
    lines = {line[0]: line[-1] for line in catchment_lines(data.read_table(folder, CATCHMENTS))}
    assert lines["cn1"] == "NO: packets went cn1 elsewhere"
    assert lines["cn2"] == "yes"
    assert {line[-1] for line in tour_lines(data.read_table(folder, PLACES))} == {"NO"}


def test_a_disagreement_ends_the_run_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "plot", lambda _: [])
    for wrong, code in (("", 0), ("v3", 1)):
        path = run_folder(tmp_path / (wrong or "none"), wrong=wrong)
        with RunFolder(path) as folder:
            asked = parameters.parse(KNOWN, [], {})
            assert catchment.Catchment(folder, asked, Console())._report() == code


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["TOPO=ring"], "single_as, multi_hoa"),
        (["SET=ases=9"], "from 1 to 4"),
        (["TOPO=single_as", "SET=ases=2"], "unknown key 'ases'"),
        (["FAULT=link-cut"], "FAULT means nothing here"),
    ],
)
def test_unknown_parameters_are_refused(arguments: list[str], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        parameters.parse(KNOWN, arguments, {})


def test_a_route_that_changes_by_itself_is_told() -> None:
    bound = Observation(1, EventName.AGENT, {"node": "mn", "kind": "moved"})
    route = {"node": "t1", "destination": "fd00:192:168::/48", "change": "delete"}
    assert first_change([bound]) == ""
    seen = [bound, Observation(2, EventName.ROUTE, route)]
    assert first_change(seen) == "t1: route to fd00:192:168::/48: delete"
