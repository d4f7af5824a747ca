"""The operator's verbs: what they ask of the engine, and what they tell a person."""

from pathlib import Path

import certified
import pytest
from world import ANYCAST, HOA, HOME, World, own_address

from agents.isolation_commands import IsolationCommands
from agents.runtime.control import CommandError
from agents.shared_secrets import write_secret_file
from topologies.certification import Authority


def commands(world: World, index: int = 2) -> IsolationCommands:
    return IsolationCommands(world.has[index], lambda now: world._collect())


def started(**options: object) -> World:
    world = World(3, ike=True, **options)  # type: ignore[arg-type]
    world.start_all()
    return world


def test_by_name_or_index_and_back() -> None:
    world = started()
    verbs = commands(world).commands()
    assert verbs["isolate"]({"name": "HA1"}, world.now)
    assert not verbs["isolate"]({"index": 1}, world.now)
    assert world.has[2].status()["isolated"] == [1]
    assert verbs["readmit"]({"index": 1}, world.now) == "readmitted"
    assert world.has[2].status()["isolated"] == []
    for verb, request, complaint in (
        ("isolate", {"name": "HA9"}, "no such peer"),
        ("isolate", {"index": 2}, "cannot isolate itself"),
        ("isolate", {"index": "1"}, "give its index"),
        ("readmit", {"index": 3}, "not isolated"),
        ("readmit", {"name": "HA3"}, "give the index"),
    ):
        with pytest.raises(CommandError, match=complaint):
            verbs[verb](request, world.now)


def test_a_list_from_a_file(tmp_path: Path) -> None:
    authority = Authority(certified.directory(), "files")
    world = World(3, ike=True, peer_ike=True, mobile_secret=False)
    for index in world.indexes:
        world.certificates[index] = authority.home_agent(
            f"HA{index}", index, own_address(index), ANYCAST, HOME
        )
    world.start_all()
    verbs = commands(world).commands()
    path = authority.revoke("HA1")
    assert verbs["revocations"]({"path": str(path)}, world.now)
    assert not verbs["revocations"]({"path": str(path)}, world.now)
    assert world.has[2].status()["isolated"] == [1]
    nonsense = tmp_path / "nonsense.crl"
    nonsense.write_bytes(b"nonsense")
    for name, complaint in ((nonsense, "not a revocation list"), (tmp_path / "no", "No such file")):
        with pytest.raises(CommandError, match=complaint):
            verbs["revocations"]({"path": str(name)}, world.now)


def test_secrets_from_a_file(tmp_path: Path) -> None:
    world = started(mobile_secret=True)
    path = tmp_path / "fresh.secret"
    write_secret_file(path, {HOA: bytes(range(32))})
    assert commands(world).commands()["load-secrets"]({"path": str(path)}, world.now) == 1
    without = World(2)
    without.start_all()
    with pytest.raises(CommandError, match="come from files"):
        commands(without).commands()["load-secrets"]({"path": str(path)}, without.now)
