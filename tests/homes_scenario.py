"""A mobile node with two home addresses on a real kernel, in one bring-up (draft §4.2).

.venv/bin/python -m topologies.sandbox .venv/bin/python -m tests.homes_scenario two_homes
"""

import re
import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from agents.config import (
    HomeAgentConfig,
    MobileNodeConfig,
    MobileNodeTimers,
    dump,
    load_home_agent,
    load_mobile_node,
)
from agents.keys import KeyedAssociation, read_key_file, write_key_file
from tests import runtime_lab as lab
from tests.runtime_lab import ask, await_true, events, ip, run, spawn, start

HOME_2 = IPv6Network("fd00:192:169:1::/64")
HOME_AGENT_2 = HOME_2[0x254]
HOME_ADDRESS_2 = HOME_2[0x100]
OWN_2 = IPv6Address("fd00:2:1::1")
LINKS = {**lab.LINKS, "ha2": "fd00:2:1::"}
TIMERS = MobileNodeTimers(
    acknowledgement_timeout=0.2, max_acknowledgement_timeout=0.4, home_hold=0.6
)
PING = ("ping", "-c", "3", "-i", "0.01", "-W", "5", "-q")

ECHO = """
import socket
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
    s.bind(("::", 7))
    print("ready", flush=True)
    while True:
        data, sender = s.recvfrom(2048)
        s.sendto(data, sender)
"""

FLOWS = """
# One connected flow from each home address given, and the answers to each, until input ends.
import select, socket, sys, time
target, *sources = sys.argv[1:]
flows = {}
for source in sources:
    flow = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    flow.bind((source, 0))
    flow.connect((target, 7))
    flow.setblocking(False)
    flows[flow] = [source, 0]
print("ready", flush=True)
due = time.monotonic()
sent = 0
while not select.select([sys.stdin, *flows], [], [], max(0, due - time.monotonic()))[0] \\
        or sys.stdin not in select.select([sys.stdin], [], [], 0)[0]:
    for flow in flows:
        try:
            while flow.recv(2048):
                flows[flow][1] += 1
        except OSError:
            pass
    if time.monotonic() >= due:
        due += 0.02
        sent += 1
        for flow in flows:
            try:
                flow.send(b"x" * 100)
            except OSError:
                pass
while ready := select.select(flows, [], [], 0.5)[0]:  # what is still on its way
    for flow in ready:
        try:
            flow.recv(2048)
            flows[flow][1] += 1
        except OSError:
            pass
print(sent, *(count for _, count in flows.values()))
"""


def configure(directory: Path) -> None:
    """The lab's configuration, and the second home beside it."""
    lab.configure(directory)
    (directory / "ha2").mkdir()
    keys = [_moved(each) for each in read_key_file(directory / "mn.keys")]
    write_key_file(directory / "mn2.keys", keys)
    ha: HomeAgentConfig = load_home_agent(directory / "ha.toml")
    second = {"home_prefix": HOME_2, "home_agent_address": HOME_AGENT_2}
    ha2 = replace(
        ha, name="HA2", index=2, address=OWN_2, directory=directory / "ha2",
        key_files=(directory / "mn2.keys",), **second,  # type: ignore[arg-type]
    )  # fmt: skip
    mn: MobileNodeConfig = replace(load_mobile_node(directory / "mn.toml"), timers=TIMERS)
    mn2 = replace(
        mn, home_address=HOME_ADDRESS_2, key_file=directory / "mn2.keys", tun="mobile2",
        **second,  # type: ignore[arg-type]
    )  # fmt: skip
    for name, config in (("ha2", ha2), ("mn", mn), ("mn2", mn2)):
        (directory / f"{name}.toml").write_text(dump(config))


def _moved(keyed: KeyedAssociation) -> KeyedAssociation:
    """The same between the second home's addresses, in HA 2's range, with another key."""
    ends = {lab.HOME_ADDRESS: HOME_ADDRESS_2, lab.HOME_AGENT: HOME_AGENT_2}
    to_home_agent = keyed.destination == lab.HOME_AGENT
    return replace(
        keyed,
        spi=keyed.spi + (1 << 24) if to_home_agent else keyed.spi,
        source=ends[keyed.source],
        destination=ends[keyed.destination],
        key=bytes(octet ^ 0x55 for octet in keyed.key),
    )


def chosen_source() -> str:
    """The source address that the kernel gives a new flow."""
    found = re.search(r" src (\S+)", ip("mn", "route", "get", str(lab.CORRESPONDENT)))
    assert found is not None
    return found[1]


def started(node: str, program: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    process = spawn(
        node, sys.executable, "-c", program, *arguments, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, **options,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(flows: subprocess.Popen[str]) -> tuple[int, int, int]:
    """End the flows; return packets sent on each, and answers on the first and the second."""
    output, _ = flows.communicate("\n", timeout=30)
    sent, first, second = map(int, output.split())
    return sent, first, second


def two_homes(directory: Path) -> None:
    lab.build(LINKS)
    ip("r", "route", "add", str(HOME_2), "via", str(OWN_2))
    configure(directory)
    for role in ("ha", "ha2"):
        start(directory, role)
    start(directory, "mn", ("mn.toml", "mn2.toml"))
    await_true(lambda: ask(directory, "mn", "status")["bound"], "both bindings")
    both_homes_are_told(directory)
    both_homes_carry(directory)
    as_1_fails_and_comes_back(directory)
    verbs_name_a_home(directory)


def both_homes_are_told(directory: Path) -> None:
    rows = ask(directory, "mn", "bindings")
    assert [row["home_address"] for row in rows] == [str(lab.HOME_ADDRESS), str(HOME_ADDRESS_2)]
    assert {row["care_of_address"] for row in rows} == {str(lab.CARE_OF)}
    assert [row["standing"] for row in rows] == ["working", "working"]
    assert len(ask(directory, "mn", "sas")) == 8
    registered = [e for e in events(directory, "mn") if e["kind"] == "registration-acknowledged"]
    assert {each["home"] for each in registered} == {1, 2}


def both_homes_carry(directory: Path) -> None:
    """Both ways, full size, and each only by its own home agent."""
    await_true(lambda: chosen_source() == str(lab.HOME_ADDRESS), "home 1 for new flows")
    assert run("mn", *PING, str(lab.CORRESPONDENT)).returncode == 0
    for home_address, role in ((lab.HOME_ADDRESS, "ha"), (HOME_ADDRESS_2, "ha2")):
        before = ask(directory, role, "counters")
        size = ("-M", "do", "-s", str(1402 - 48))
        assert run("cn", *PING, *size, str(home_address)).returncode == 0
        own = ("-I", str(home_address))
        assert run("mn", *PING, *size, *own, str(lab.CORRESPONDENT)).returncode == 0
        after = ask(directory, role, "counters")
        assert after["tunnel.received"] - before.get("tunnel.received", 0) == 6
    dropped = {k: n for k, n in ask(directory, "mn", "counters").items() if k.startswith("dropped")}
    assert not dropped


def as_1_fails_and_comes_back(directory: Path) -> None:
    """Its route goes, as when BGP withdraws it; its home agent lives on."""
    started("cn", ECHO)
    flows = started("mn", FLOWS, str(lab.CORRESPONDENT), str(lab.HOME_ADDRESS), str(HOME_ADDRESS_2))
    carried = ask(directory, "ha", "counters")["tunnel.received"] + 10
    await_true(
        lambda: ask(directory, "ha", "counters")["tunnel.received"] >= carried, "some traffic"
    )
    ip("r", "route", "del", str(lab.HOME))
    await_true(lambda: chosen_source() == str(HOME_ADDRESS_2), "home 2 for new flows")
    assert run("mn", *PING, str(lab.CORRESPONDENT)).returncode == 0
    assert ask(directory, "mn", "counters")["received.destination-unreachable"] > 0
    sent, first, second = finish(flows)
    assert first < sent - 10  # stopped: nothing that exists moves
    assert second == sent  # and nothing of home 2 is lost
    [chosen] = [e for e in events(directory, "mn") if e["kind"] == "home-chosen"][-1:]
    assert (chosen["home"], chosen["previous"]) == (2, 1)

    ip("r", "route", "add", str(lab.HOME), "via", str(lab.OWN))
    await_true(lambda: chosen_source() == str(lab.HOME_ADDRESS), "home 1 for new flows again")
    told = [e for e in events(directory, "mn") if e["kind"] == "home-standing" and e["home"] == 1]
    assert [each["standing"] for each in told][-3:] == ["failed", "recovering", "working"]
    held = (told[-1]["t"] - told[-2]["t"]) / 1e9  # between two writings of the journal
    assert held >= TIMERS.home_hold - 0.02
    assert run("mn", *PING, str(lab.CORRESPONDENT)).returncode == 0


def verbs_name_a_home(directory: Path) -> None:
    assert ask(directory, "mn", "deregister", home=2) == "deregistering"
    await_true(lambda: len(ask(directory, "mn", "bindings")) == 1, "one binding")
    assert ask(directory, "mn", "bindings")[0]["home"] == 1
    await_true(
        lambda: any(each["kind"] == "binding-removed" for each in events(directory, "ha2")),
        "the home agent to forget it",
    )
    assert ask(directory, "mn", "register", home=2) == "registering"
    await_true(lambda: ask(directory, "mn", "status")["bound"], "both bindings again")
    for wrong in (3, 0, "x", [1]):
        answer = lab.request(
            directory / "mn/control.sock", {"cmd": "register", "home": wrong}
        )  # fmt: skip
        assert not answer["ok"], answer
        assert "no home" in answer["error"], answer


if __name__ == "__main__":
    lab.run_scenario({"two_homes": two_homes})
