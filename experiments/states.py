"""The state diagrams of `docs/states.md`, made from the engines' transition tables.

    python -m experiments.states          # print the page
    python -m experiments.states --write  # put it into docs/states.md

A test compares the two, so that no diagram can differ from the table that the engine runs on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, TypeVar

from agents.core.binding_cache import BINDING_TRANSITIONS, BindingState
from agents.core.home_choice import STANDING_TRANSITIONS, Standing
from agents.core.ike.states import (
    CHILD_TRANSITIONS,
    IKE_TRANSITIONS,
    ChildState,
    IkeState,
)
from agents.core.mobile_registration import TRANSITIONS, State
from agents.core.peers import PEER_TRANSITIONS, PeerState
from agents.core.security_associations import SA_TRANSITIONS, SaState
from experiments.statistics import group

PAGE = Path(__file__).resolve().parent.parent / "docs" / "states.md"

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


class Arrow(NamedTuple):
    """A transition, and whether a Binding Update is sent with it."""

    start: str
    event: str
    end: str
    sends: bool = False

    @property
    def label(self) -> str:
        """The event, and what is sent."""
        return f"{self.event} / BU" if self.sends else self.event


@dataclass(frozen=True, slots=True)
class Machine:
    """One life cycle: its table as arrows, and how to introduce it."""

    title: str
    source: str
    text: str
    first: tuple[StrEnum, ...]
    arrows: tuple[Arrow, ...]

    @property
    def states(self) -> list[str]:
        """All states, in the order in which arrows name them."""
        return list(dict.fromkeys(name for each in self.arrows for name in (each.start, each.end)))

    @property
    def events(self) -> list[str]:
        """All events, in the order in which arrows name them."""
        return list(dict.fromkeys(each.event for each in self.arrows))


def machines() -> Sequence[Machine]:
    """Return every life cycle that is a table."""
    return (
        Machine(
            "A binding at a home agent",
            "agents/core/binding_cache.py",
            "`update` is a Binding Update accepted here, `learnt` an entry from a peer. An ended "
            "binding is remembered for 300 s, so that nothing late revives it.",
            (BindingState.NONE,),
            _arrows(BINDING_TRANSITIONS),
        ),
        Machine(
            "A security association",
            "agents/core/security_associations.py",
            "The same at mobile node and home agents; an event that a state does not name cannot "
            "happen to it.",
            (SaState.LARVAL,),
            _arrows(SA_TRANSITIONS),
        ),
        Machine(
            "A peer, as another home agent sees it",
            "agents/core/peers.py",
            "`heard` is a sign of life by the failure detector in use, `missed` one that did not "
            "come, `missed-out` the last that was waited for. In `resync` its table is fetched.",
            (PeerState.UNKNOWN,),
            _arrows(PEER_TRANSITIONS),
        ),
        Machine(
            "The home registration of a mobile node",
            "agents/core/mobile_registration.py",
            "With BU a Binding Update is sent.",
            (State.NONE,),
            tuple(
                Arrow(str(state), str(trigger), str(then.state), then.send)
                for state, row in TRANSITIONS.items()
                for trigger, then in row.items()
            ),
        ),
        Machine(
            "One of several homes, as the mobile node sees it",
            "agents/core/home_choice.py",
            "New flows use the home with the lowest number that is `working`. `unanswered` is the "
            "last of some probes, `heard` an authentic packet, `held` the end of the hold time.",
            (Standing.NONE,),
            _arrows(STANDING_TRANSITIONS),
        ),
        Machine(
            "An IKE SA",
            "agents/core/ike/states.py",
            "`init-sent` is where an initiator begins, `half-open` where a responder does.",
            (IkeState.INIT_SENT, IkeState.HALF_OPEN),
            _arrows(IKE_TRANSITIONS),
        ),
        Machine(
            "A Child SA under it",
            "agents/core/ike/states.py",
            "A rekeyed one waits for its Delete while its successor is in use.",
            (ChildState.INSTALLED,),
            _arrows(CHILD_TRANSITIONS),
        ),
    )


def page() -> str:
    """Return the whole of `docs/states.md`."""
    parts = [
        "# State machines",
        "Printed by `python -m experiments.states` from the tables that the engines run on; not "
        "edited by hand. Each diagram leaves out what changes nothing; the table below it has all.",
    ]
    for machine in machines():
        parts += [
            f"## {machine.title}",
            f"`{machine.source}`. {machine.text}",
            diagram(machine),
            table(machine),
        ]
    return "\n\n".join(parts) + "\n"


def diagram(machine: Machine) -> str:
    """Return a Mermaid diagram: one arrow for all events between two states."""
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {node(str(first))}" for first in machine.first]
    between = group(
        ((each.start, each.end), each.label) for each in machine.arrows if each.start != each.end
    )
    for (start, end), events in between.items():
        lines.append(f"    {node(start)} --> {node(end)}: {', '.join(events)}")
    return "\n".join([*lines, "```"])


def table(machine: Machine) -> str:
    """Return the whole table: a row a state, a column an event, the next state in the cell."""
    cells = {
        (each.start, each.event): f"{each.end}, BU" if each.sends else each.end
        for each in machine.arrows
    }
    rows = [["", *machine.events], ["---"] * (len(machine.events) + 1)]
    for state in machine.states:
        rows.append([f"**{state}**", *(cells.get((state, each), "") for each in machine.events)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _arrows(table: Mapping[S, Mapping[E, S]]) -> tuple[Arrow, ...]:
    return tuple(
        Arrow(str(state), str(event), str(then))
        for state, row in table.items()
        for event, then in row.items()
    )


def node(state: str) -> str:
    """Return a state as Mermaid wants its name: no hyphen."""
    return state.replace("-", "_")


def main(arguments: Sequence[str]) -> int:
    """Print the page, or write it."""
    if arguments and list(arguments) != ["--write"]:
        print("usage: python -m experiments.states [--write]", file=sys.stderr)
        return 2
    if arguments:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
