"""What the whole of Figure 1 is tried with; runs inside a sandbox: `-m tests.topology_scenarios`.

Deadlines are for hangs. How fast things are is for experiments to say.
"""

import contextlib
import io
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from mininet.log import lg

from tests.readiness import check_steps
from topologies import addressing, frr_config, frr_programs
from topologies.agents import AgentError
from topologies.cli import LabCLI
from topologies.faults import FaultError
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.namespaces import call_in
from topologies.netlink import Netlink, RouteMonitor
from topologies.network import Network
from topologies.plan import Role
from topologies.single_as import SingleAs

HOME = str(addressing.HOME_AGENT_ADDRESS)
# Slow enough that a busy machine never mistakes itself for a fault.
CALM = RoutingOptions(detection=DETECTIONS["bfd-50x3"])


@contextlib.contextmanager
def network(agents: bool = True, **parameters: object) -> Iterator[Network]:
    with tempfile.TemporaryDirectory(dir="/run") as logs:
        running = Network(SingleAs(static=False, **parameters), Path(logs), CALM)
        try:
            running.start()
            if agents:
                running.start_agents()
            yield running
        finally:
            running.stop()


def await_true(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def way_home(running: Network, router: str) -> str:
    """The interface by which a router reaches the HA address; empty without a route."""
    found = running.nodes[router].run(["ip", "-o", "-6", "route", "get", HOME]).stdout.split()
    return found[found.index("dev") + 1] if "dev" in found else ""


def ping(running: Network, source: str, count: int = 3, size: int = 56, target: str = "mn") -> str:
    words = ["ping", "-c", str(count), "-i", "0.05", "-W", "2", "-M", "do", "-s", str(size)]
    return running.nodes[source].run([*words, running.nodes[target].IP()]).stdout


def reaches(running: Network, source: str, size: int = 56) -> bool:
    return " 0% packet loss" in ping(running, source, size=size)


def sequence(running: Network) -> int:
    """The Binding Update's sequence number: it stands still while nobody registers anew."""
    return int(running.agents["mn"].ask("bindings")[0]["sequence"])


def settled(running: Network) -> Callable[[], bool]:
    def check() -> bool:
        agents = running.agents.home_agents.values()
        try:
            up = all(
                agent.ask("status")["advertising"]
                and all(state == "up" for state in agent.ask("status")["peers"].values())
                for agent in agents
            )
        except AgentError:
            return False
        return up and way_home(running, "br") == "br-r1"

    return check


def comes_up() -> None:
    """Ready by FRR's own word, each step with its time; every CN by its nearest home agent."""
    with network() as running:
        check_steps(running.timings)
        assert way_home(running, "br") == "br-r1"
        assert way_home(running, "HA1") == "home"
        nearest = {"cn1": "HA1", "cn2": "HA2", "cn3": "HA3"}
        for source, agent in nearest.items():
            before = tunnelled(running)
            assert reaches(running, source), source
            moved = {name: now - before[name] for name, now in tunnelled(running).items()}
            assert moved == {each: 3 if each == agent else 0 for each in moved}, (source, moved)
        mine = {(row["primary"]) for row in running.agents["HA3"].ask("bindings")}
        assert mine == {"HA1"}, mine  # HA2 and HA3 tunnelled while HA1 was primary
        # A full packet fits exactly (1402 in 1500 octets); one octet more is told its size.
        assert reaches(running, "cn1", size=1402 - 48)
        too_big = running.nodes["cn1"].run(
            [
                "ping",
                "-c",
                "1",
                "-W",
                "2",
                "-M",
                "do",
                "-s",
                str(1403 - 48),
                running.nodes["mn"].IP(),
            ]
        )
        assert "mtu=1402" in (too_big.stdout + too_big.stderr).replace(" ", ""), too_big
        keys = Path("/run/manyhomes/keys")
        assert all(path.stat().st_mode & 0o077 == 0 for path in keys.iterdir())


def tunnelled(running: Network) -> dict[str, int]:
    """Packets that each home agent has put into the tunnel to the mobile node."""
    return {
        name: agent.ask("counters").get("tunnel.sent", 0)
        for name, agent in running.agents.home_agents.items()
    }


def every_fault_once() -> None:
    """Each fault moves the route to HA2, each repair brings it back, and nobody registers anew."""
    with network() as running:
        agent, faults = running.agents["HA1"], running.faults
        first = sequence(running)
        cases: dict[str, tuple[Callable[[], int], Callable[[], object]]] = {
            "killed": (agent.kill, agent.start),
            "hung": (agent.hang, agent.resume),
            "cut": (lambda: faults.cut("HA1", "r1"), faults.heal),
            "silent": (lambda: faults.silence("HA1"), faults.heal),
        }
        for name, (breaks, mends) in cases.items():
            before = time.monotonic_ns()
            moment = breaks()
            assert before <= moment <= time.monotonic_ns()
            await_true(lambda: way_home(running, "br") == "br-r2", f"the route, HA1 {name}")
            await_true(lambda: reaches(running, "cn1"), f"a way to the MN, HA1 {name}")
            mends()
            await_true(settled(running), f"HA1's return, {name}")
            assert reaches(running, "cn1"), name
            running.wait_detection()
        assert sequence(running) == first
        assert running.faults.active == []


def movement() -> None:
    """The MN takes its care-of address on either visited network and stays reachable."""
    with network() as running:
        for place, number in (("v2", 2), ("v1", 1)):
            running.faults.move("mn", place)
            wanted = str(addressing.care_of_address(number))
            agent = running.agents["mn"]
            agent.wait(
                f"bound at {place}",
                lambda status, wanted=wanted: (
                    status["bound"] and status["care_of_address"] == wanted
                ),
            )
            await_true(lambda: reaches(running, "cn1"), f"packets at {place}")
        with pytest.raises(FaultError, match="it can to v1, v2"):
            running.faults.move("mn", "v9")
        first = running.agents["mn"].ask("sas")
        running.agents.restart_mobile_node("mn")
        running.agents.wait_bound()
        second = running.agents["mn"].ask("sas")
        assert {row["spi"] for row in first}.isdisjoint({row["spi"] for row in second})
        await_true(lambda: reaches(running, "cn1"), "packets under new keys")


def prompt() -> None:
    """The lab's commands, typed."""
    script = """
show bc
show bul
show sa
show peers
show routes
show routes br
show counters mn
show catchment
show catchment HA1
status
ping cn1 mn
capture on mn
fail HA1
cn2 ping -c 1 -w 20 mn
capture off
heal
hang HA2
silence r3
check br strict
check t1 feasible
check r1 feasible
check br sideways
check t1 off
cut HA3 r3
move mn v2
status
heal
restart mn
fail HA9
cut HA1 r9
show nothing
bogus
nodes
mn echo from a node
add HA4
add HA1
add HA5 v1
add
show peers HA4
remove cn1
remove HA4
isolate HA2 fence
isolate HA2
isolate HA2
show peers
heal
status
ping cn2 mn
remove HA2
show bc HA2
exit
"""
    with network() as running, tempfile.TemporaryFile("w+") as stdin:
        stdin.write(script)
        stdin.seek(0)
        said = typed(running, stdin)
        for wanted in (
            "care of address", "fd00:10:10:10::100", "aes-128-gcm", "br-r1", "0% packet loss",
            "agent of HA1 killed at", "capture.pcapng", "healed: agent of HA1 started",
            "fault: br checks sources (strict)", "t1 checks no sources at", "r1 knows no sources",
            "usage: check ROUTER strict|feasible|loose|off",
            "fault: link HA3-r3 cut", "fault: r3 silent", "does not answer", "mn at v2",
            "agent of HA2 goes on", "agent of mn restarted", "no node 'HA9'",
            "no node 'r9'", "t1 br r1", "the same way", "HA1 sends no packets home",
            "usage: show bc|bul|sa|peers|paths|routes|counters", "unknown command or node: bogus",
            "from a node", "HA4 (fd00:1:4::4) serves the home network, at r3",
            "HA1 is there already", "no home agent of AS 1 at 'v1': at r1, r2, r3, br",
            "usage: add HA [ROUTER]", "cn1 is no home agent; there are HA1, HA2, HA3, HA4",
            "HA4 has left", "usage: isolate HA [nofence]", "HA2 put out at",
            "HA2 is isolated already", "isolated: HA2, fenced by its router", "HA2 has left",
        ):  # fmt: skip
            assert wanted in said, f"{wanted!r} is not in\n{said}"
        # Repeated each second until it is answered: the way back led by HA1 a moment ago.
        assert said.count("packets transmitted, 1 received") == 1, said
        capture = running.logs / "mn" / "capture.pcapng"
        count = subprocess.run(
            ["tshark", "-r", str(capture), "-Y", "esp"], capture_output=True, text=True
        )
        assert count.stdout.strip(), "no ESP in the capture"


def typed(running: Network, stdin: "tempfile._TemporaryFileWrapper[str]") -> str:
    """Run the prompt on a file; return all that it printed."""
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    handler.terminator = ""
    lg.addHandler(handler)
    try:
        with contextlib.redirect_stdout(heard), mock.patch.object(sys, "stdin", stdin):
            LabCLI(running, stdin=stdin)
    finally:
        lg.removeHandler(handler)
    return heard.getvalue()


def refusal() -> str:
    """Start the network, which must not work; return what is said."""
    with pytest.raises(frr_programs.RoutingError) as caught, network(agents=False):
        pass
    return str(caught.value)


def rejected_line() -> None:
    """A line that a daemon does not take is named before anything starts."""
    original = frr_config._zebra
    with mock.patch.object(frr_config, "_zebra", lambda *a: [*original(*a), "zebra bogus 7"]):
        said = refusal()
    assert "zebra does not accept" in said, said
    assert "zebra.conf" in said, said


def dying_daemon() -> None:
    """A daemon that dies at start is named, with the last lines of what it said."""
    real = frr_programs.frr_directory()
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        for daemon in ("zebra", "ospf6d", "bfdd"):
            (Path(folder) / daemon).symlink_to(real / daemon)
        broken = Path(folder) / "bgpd"
        broken.write_text(
            f'#!/bin/sh\ncase " $* " in *" -C "*) exec {real}/bgpd "$@";; esac\n'
            "echo one; echo the very last words; exit 3\n"
        )
        broken.chmod(0o755)
        with mock.patch.object(frr_programs, "FRR_DIRECTORIES", (Path(folder),)):
            said = refusal()
    assert "bgpd ended with exit code 3" in said, said
    assert "the very last words" in said, said


def missing_frr() -> None:
    """FRR that is not there is said so, with the cure."""
    with mock.patch.object(frr_programs, "FRR_DIRECTORIES", (Path("/nowhere"),)):
        said = refusal()
    assert "make setup" in said, said


def links_and_routes() -> None:
    """Carrier goes at both ends of a cut link, addresses stay; monitors tell; rates hold."""
    with network(agents=False, home_link_mbit=20.0) as running:
        ends = {"HA1": "HA1-r1", "r1": "r1-HA1"}
        requests = {name: Netlink(running.nodes[name].pid) for name in ends}
        monitor = RouteMonitor(running.nodes["br"].pid)
        addresses = running.nodes["HA1"].run(["ip", "-6", "-o", "addr", "show", "scope", "global"])
        running.faults.cut("HA1", "r1")
        await_true(
            lambda: not any(requests[n].links()[i].running for n, i in ends.items()),
            "the carrier to go at both ends",  # told by the kernel when it gets round to it
        )
        link = str(running.plan.link_between("HA1", "r1").prefix)
        changes = []

        def gone() -> bool:
            changes.extend(monitor.changes())
            return any(not c.added and str(c.route.destination) == link for c in changes)

        await_true(gone, "br to lose HA1's link")
        assert running.faults.heal() == ["link HA1-r1 cut"]
        assert all(requests[n].links()[i].up for n, i in ends.items())
        now = running.nodes["HA1"].run(["ip", "-6", "-o", "addr", "show", "scope", "global"])
        assert now.stdout == addresses.stdout != ""
        border = Netlink(running.nodes["br"].pid)

        def as_ip_says() -> bool:  # at some moment: routes still come back after the repair
            dumped = {str(route.destination) for route in border.routes()}
            listed = running.nodes["br"].run(["ip", "-6", "route"]).stdout.splitlines()
            return dumped == {line.split()[0] for line in listed}

        await_true(as_ip_says, "a dump of br's routes that agrees with ip's")
        shaping = running.nodes["HA1"].run(["tc", "class", "show", "dev", "HA1-r1"]).stdout
        assert "rate 20Mbit" in shaping, shaping
        indices = [
            state.index
            for node in running.nodes.values()
            for state in call_in(node.pid, lambda node=node: Netlink(node.pid)).links().values()
            if "-" in state.name and not state.name.startswith("lan")
        ]
        assert len(indices) == len(set(indices)) == 2 * len(running.plan.links)


def another_size() -> None:
    """Two home agents and two mobile nodes work as three and one do."""
    with network(has=2, mns=2) as running:
        assert len(running.plan.of_role(Role.MOBILE)) == 2
        for target in ("mn", "mn2"):
            assert " 0% packet loss" in ping(running, "cn1", target=target), target


SCENARIOS = {
    each.__name__: each
    for each in (
        comes_up, every_fault_once, movement, prompt, rejected_line, dying_daemon, missing_frr,
        links_and_routes, another_size,
    )
}  # fmt: skip

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]]()
