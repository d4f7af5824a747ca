"""docs/states.md shows the tables that the engines run on, and all of them."""

import pytest

from experiments import states

MACHINES = {machine.title: machine for machine in states.machines()}


def test_the_page_is_the_tables() -> None:
    assert states.PAGE.read_text() == states.page(), "run `python -m experiments.states --write`"


@pytest.mark.parametrize("title", MACHINES)
def test_a_diagram_has_every_change_and_a_table_every_event(title: str) -> None:
    machine = MACHINES[title]
    drawn, written = states.diagram(machine), states.table(machine)
    for each in machine.arrows:
        if each.start != each.end:
            arrow = f"{states.node(each.start)} --> {states.node(each.end)}:"
            (line,) = [found for found in drawn.splitlines() if found.strip().startswith(arrow)]
            assert each.label in line.partition(": ")[2].split(", ")
        (row,) = [line for line in written.splitlines() if line.startswith(f"| **{each.start}**")]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        wanted = f"{each.end}, BU" if each.sends else each.end
        assert cells[1 + machine.events.index(each.event)] == wanted
    assert set(machine.states) >= {str(first) for first in machine.first}
