"""When home agents count as agreeing again: told by events, asked as seldom as can be."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.agreement import Agreement
from experiments.data import EventName
from experiments.watch import Watcher

NAMES = ("HA11", "HA21")


@dataclass
class Told:
    """A home agent that answers with what it was told to; counts the questions."""

    primary: str = "HA11"
    peers: dict[str, str] = field(default_factory=lambda: {"other": "up"})
    asked: int = 0

    def ask(self, command: str) -> Any:
        self.asked += 1
        if command == "status":
            return {"peers": self.peers}
        row = {"home_address": "::1", "care_of_address": "::2", "registration": 1, "sequence": 7,
               "epoch": 2, "primary": self.primary, "state": "bound"}  # fmt: skip
        return [row, {**row, "home_address": "::9", "state": "ended", "sequence": self.asked}]


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    watcher = Watcher()
    yield watcher
    watcher.close()


def agreement(watcher: Watcher, **agents: Told) -> Agreement:
    return Agreement(SimpleNamespace(home_agents=agents), watcher, since_ns=10)  # type: ignore[arg-type]


def peer(watcher: Watcher, time: int, node: str, state: str) -> None:
    other = next(name for name in NAMES if name != node)
    watcher.observe(
        EventName.AGENT, time, node=node, kind="peer-changed", peer=other, state=state
    )  # fmt: skip


def test_those_who_never_disagreed_agree_since_the_beginning(watcher: Watcher) -> None:
    peer(watcher, 5, "HA11", "invalid")  # before: of no concern
    assert agreement(watcher, HA11=Told(), HA21=Told()).wait(5) == 10


def test_nobody_is_asked_before_events_say_that_all_are_up(watcher: Watcher) -> None:
    agents = {name: Told() for name in NAMES}
    peer(watcher, 20, "HA11", "resync")
    peer(watcher, 30, "HA21", "up")
    waited = agreement(watcher, **agents)
    assert waited.wait(0.05) is None
    assert [agent.asked for agent in agents.values()] == [0, 0]
    threading.Timer(0.05, peer, (watcher, 40, "HA11", "up")).start()
    assert waited.wait(5) == 40


def test_two_primaries_are_no_agreement(watcher: Watcher) -> None:
    """They are asked again after the event by which one gives way, and only then."""
    agents = {"HA11": Told("HA11"), "HA21": Told("HA21")}
    peer(watcher, 20, "HA11", "up")

    def give_way() -> None:
        agents["HA21"].primary = "HA11"
        watcher.observe(EventName.AGENT, 50, node="HA21", kind="primary-changed", cause="peer")

    waited = agreement(watcher, **agents)
    assert waited.wait(0.05) is None
    asked = agents["HA21"].asked
    threading.Timer(0.05, give_way).start()
    assert waited.wait(5) == 50
    assert agents["HA21"].asked <= 3 * asked  # at the second call, and after the event


def test_a_peer_that_is_not_up_is_no_agreement(watcher: Watcher) -> None:
    doubtful = Told(peers={"other": "suspect"})
    assert agreement(watcher, HA11=Told(), HA21=doubtful).wait(0.05) is None
