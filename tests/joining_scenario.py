"""On a real kernel: a second home agent is added by control socket, and the first one leaves.

.venv/bin/python -m topologies.sandbox .venv/bin/python -m tests.joining_scenario add_and_leave
"""

import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from agents.config import HomeAgentTimers, PeerConfig, dump, load_home_agent
from agents.keys import KeyedAssociation, SaMode, Transform, write_key_file
from tests import runtime_lab as lab
from tests.runtime_lab import ask, await_true, events, ip, request, spawn, start

OWN_2 = IPv6Address("fd00:1:2::1")
TIMERS = HomeAgentTimers(leave_least=0.6, leave_quiet=0.3)
PACKETS = 800


def write_files(directory: Path) -> None:
    """HA1 knows nobody; HA2, which is to be started later, knows HA1."""
    lab.configure(directory)
    pairs = ((lab.OWN, OWN_2), (OWN_2, lab.OWN))
    write_key_file(
        directory / "peer.keys",
        [
            KeyedAssociation(
                0x1000 + n, *pair, SaMode.TRANSPORT, Transform.AES_128_GCM, os.urandom(20)
            )
            for n, pair in enumerate(pairs)
        ],
    )
    first = replace(load_home_agent(directory / "ha.toml"), timers=TIMERS)
    (directory / "ha.toml").write_text(dump(first))
    second = replace(
        first,
        name="HA2",
        index=2,
        address=OWN_2,
        directory=directory / "ha2",
        key_files=(),
        peers=(PeerConfig("HA1", 1, lab.OWN, directory / "peer.keys"),),
    )
    second.directory.mkdir()
    (directory / "ha2.toml").write_text(dump(second))


def add_and_leave(directory: Path) -> None:
    """No packet is lost, though routing goes on leading to the one that leaves for a while."""
    lab.build({**lab.LINKS, "ha2": "fd00:1:2::"})
    write_files(directory)
    first = start(directory, "ha")
    start(directory, "mn")
    await_true(lambda: lab.bound(directory), "the binding")
    told = {"name": "HA2", "index": 2, "address": str(OWN_2)}
    control = directory / "ha" / "control.sock"
    refused(control, "not an HA index", **{**told, "index": 64, "key_file": "peer.keys"})
    refused(control, "cannot be read", **told, key_file=str(directory / "no.keys"))
    assert request(control, {"cmd": "leave"})["error"].startswith("no other home agent serves")
    assert request(control, {"cmd": "dismiss", "name": "HA9"})["error"] == "name: HA9 is no peer"
    with_stream(lambda: change(directory, told))
    assert first.wait(20) == 0
    assert "left" in [each["kind"] for each in events(directory, "ha")]
    assert ask(directory, "mn", "peers") == [{"index": 2, "address": str(OWN_2)}]
    (binding,) = ask(directory, "ha2", "bindings")
    assert binding["primary"] == "HA2"
    assert ask(directory, "ha2", "peers") == []


def refused(control: Path, why: str, **fields: Any) -> None:
    answer = request(control, {"cmd": "add-peer", **fields})
    assert not answer["ok"]
    assert why in answer["error"], answer


def change(directory: Path, told: dict[str, Any]) -> None:
    assert ask(directory, "ha", "add-peer", **told, key_file=str(directory / "peer.keys"))
    start(directory, "ha2")
    await_true(lambda: bool(ask(directory, "ha2", "status")["advertising"]), "HA2's tables")
    known = [{"index": 1, "address": str(lab.OWN)}, {"index": 2, "address": str(OWN_2)}]
    await_true(lambda: ask(directory, "mn", "peers") == known, "the mobile node to know HA2")
    assert ask(directory, "ha", "leave") == "leaving"
    routes = ip("ha", "route")
    assert f"{lab.HOME} dev home" not in routes
    halves = list(lab.HOME.subnets())
    assert all(f"{half} dev home" in routes for half in halves)
    answered = ask(directory, "ha", "counters")["tunnel.sent"]
    more = answered + 20
    await_true(lambda: ask(directory, "ha", "counters")["tunnel.sent"] >= more, "late packets")
    ip("r", "route", "replace", str(lab.HOME), "via", str(OWN_2))


def with_stream(act: Callable[[], None]) -> None:
    """Ping the mobile node all the while; every echo is answered."""
    ping = ["ping", "-q", "-i", "0.005", "-c", str(PACKETS), "-W", "2", str(lab.HOME_ADDRESS)]
    stream = spawn("cn", *ping, stdout=-1)
    act()
    output, _ = stream.communicate(timeout=60)
    counts = re.search(r"(\d+) packets transmitted, (\d+) received", output)
    assert counts is not None, output
    assert counts.groups() == (str(PACKETS), str(PACKETS)), output


SCENARIOS: dict[str, Callable[[Path], None]] = {"add_and_leave": add_and_leave}

if __name__ == "__main__":
    lab.run_scenario(SCENARIOS)
    sys.exit(0)
