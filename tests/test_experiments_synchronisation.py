"""The cost of synchronisation: measured from the engines, and equal to its formula."""

from pathlib import Path

import pytest
from rich.console import Console

from agents.wire import inter_ha
from experiments import parameters
from experiments.data import SYNCHRONISATION, read_summary, read_table
from experiments.run import RunFolder
from experiments.simulation.configuration import own_address
from experiments.simulation.engines import Simulation
from experiments.synchronisation import KNOWN, Synchronisation, measured
from experiments.synchronisation_model import CHANGES, model, wire_size


@pytest.mark.parametrize(("home_agents", "mobiles"), [(2, 1), (3, 20), (5, 20), (8, 7), (4, 60)])
def test_measured_is_the_formula(home_agents: int, mobiles: int) -> None:
    found = dict(measured(home_agents, mobiles, seed=home_agents))
    assert list(found) == list(CHANGES)
    for change, costs in found.items():
        assert costs == model(change, home_agents, mobiles), change


def test_one_home_agent_alone_sends_nothing() -> None:
    assert all(not costs for _, costs in measured(1, 2, seed=1))


def test_cost_of_a_change_is_linear_and_of_detection_quadratic() -> None:
    def total(change: str, home_agents: int) -> int:
        return sum(cost.messages for cost in model(change, home_agents, 20).values())

    assert [total("move", n) for n in (2, 3, 8)] == [3, 6, 21]
    assert [total("hello", n) for n in (2, 3, 8)] == [20, 60, 560]
    assert total("keepalive", 8) == 2 * total("hello", 8)


def test_size_is_that_of_the_packet() -> None:
    simulation = Simulation(2)
    simulation.start_home_agents()
    simulation.run(0.5)
    kinds = {type(each.message) for each in simulation.sent}
    assert inter_ha.Hello in kinds
    assert inter_ha.TableEnd in kinds
    for each in simulation.sent:
        assert each.octets == wire_size(each.message)
    assert own_address(1) != own_address(2)


def test_the_same_seed_gives_the_same_history() -> None:
    def history() -> list[object]:
        simulation = Simulation(3, seed=7)
        simulation.start_home_agents()
        simulation.run(0.2)
        return list(simulation.sent)

    assert history() == history()


def test_a_run_writes_table_summary_and_plot(tmp_path: Path) -> None:
    chosen = parameters.parse(KNOWN, ["SET=most=3 mobiles=2"], {})
    with RunFolder.create("synchronisation", chosen, tmp_path) as folder:
        assert Synchronisation(folder, chosen, Console(quiet=True)).run() == 0
    rows = read_table(folder.path, SYNCHRONISATION)
    assert {row["home_agents"] for row in rows} == {1, 2, 3}
    assert all(row["messages"] == row["model_messages"] for row in rows)
    summary = {
        (row["metric"], row["conditions"]["change"], row["conditions"]["home_agents"]): row
        for row in read_summary(folder.path)
    }
    assert summary["messages", "move", 3]["median"] == 6
    assert summary["octets", "move", 1]["median"] == 0
    assert (folder.path / "plots" / "cost.png").is_file()
    assert folder.meta["state"] == "complete"
