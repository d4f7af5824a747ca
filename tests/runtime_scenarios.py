"""What the agents must do on a real kernel: one function a scenario, run in a sandbox of its own.

.venv/bin/python -m topologies.sandbox .venv/bin/python -m tests.runtime_scenarios NAME
"""

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from agents.config import HomeAgentConfig, Mode, PeerConfig, dump, load_home_agent
from agents.keys import KeyedAssociation, SaMode, Transform, write_key_file
from tests import runtime_lab as lab
from tests.runtime_lab import ask, await_true, events, ip, run, spawn, start

HOME_ROUTE = f"{lab.HOME} dev home"
PING = ("ping", "-c", "3", "-i", "0.01", "-W", "5", "-q")


class Pair:
    """Home agent and mobile node, running."""

    def __init__(self, directory: Path, mode: Mode = Mode.HARDENED) -> None:
        self.directory = directory
        lab.build()
        lab.configure(directory, mode)
        self.ha = start(directory, "ha")
        self.mn = start(directory, "mn")
        self.await_bound()

    def await_bound(self) -> None:
        await_true(lambda: lab.bound(self.directory), "the binding")

    def check(self) -> None:
        """Positive probe: the tunnel works both ways."""
        assert run("cn", *PING, str(lab.HOME_ADDRESS)).returncode == 0
        assert run("mn", *PING, str(lab.CORRESPONDENT)).returncode == 0

    def count(self, role: str, name: str) -> int:
        return int(ask(self.directory, role, "counters").get(name, 0))


def kinds(directory: Path, role: str) -> list[str]:
    return [each["kind"] for each in events(directory, role)]


def watchdog_of(agent: int) -> int:
    """Return the process id of the agent's watchdog."""
    return int(Path(f"/proc/{agent}/task/{agent}/children").read_text().split()[0])


def alive(process: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def has_home_route() -> bool:
    return HOME_ROUTE in ip("ha", "route")


def has_device() -> bool:
    return " home: " in ip("ha", "link")


# The tunnel


def tunnel_in_each_mode(directory: Path, mode: Mode) -> None:
    pair = Pair(directory, mode)
    pair.check()
    size = {Mode.DRAFT_CBC: 1390}.get(mode, 1402)
    for node, target in (("cn", lab.HOME_ADDRESS), ("mn", lab.CORRESPONDENT)):
        fits = run(node, *PING, "-M", "do", "-s", str(size - 48), str(target))
        assert fits.returncode == 0, fits.stdout
        # No answer is to come: its sender is told at once.
        larger = run(node, *PING, "-W", "0.5", "-M", "do", "-s", str(size - 47), str(target))
        assert larger.returncode != 0
        # Without "do" the sender fragments: its kernel has learnt the size.
        assert run(node, *PING, "-M", "dont", "-s", "4000", str(target)).returncode == 0


def hardened(directory: Path) -> None:
    tunnel_in_each_mode(directory, Mode.HARDENED)


def draft(directory: Path) -> None:
    tunnel_in_each_mode(directory, Mode.DRAFT)


def draft_cbc(directory: Path) -> None:
    tunnel_in_each_mode(directory, Mode.DRAFT_CBC)


RECEIVER = """
import hashlib, socket, sys
with socket.create_server(("::", 7777), family=socket.AF_INET6) as server:
    print("ready", flush=True)
    connection, _ = server.accept()
    digest = hashlib.sha256()
    while data := connection.recv(1 << 16):
        digest.update(data)
print(digest.hexdigest())
"""

SENDER = """
import random, socket, sys
data = random.Random(5).randbytes(20_000_000)
with socket.create_connection((sys.argv[1], 7777)) as connection:
    for size in (1, 10, 1341, 1342, 1343, 5000):
        connection.sendall(data[:size])
    connection.sendall(data)
"""


def transfer(sender: str, receiver: str, target: IPv6Address) -> None:
    data = random.Random(5).randbytes(20_000_000)
    expected = hashlib.sha256()
    for size in (1, 10, 1341, 1342, 1343, 5000, len(data)):
        expected.update(data[:size])
    server = spawn(receiver, sys.executable, "-c", RECEIVER, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    run(sender, sys.executable, "-c", SENDER, str(target), check=True, timeout=60)
    assert server.stdout.readline().strip() == expected.hexdigest()
    server.wait(10)


def tcp_in_both_directions(directory: Path) -> None:
    """Segmentation and merging leave every octet as it was, and no checksum wrong."""
    pair = Pair(directory)
    transfer("cn", "mn", lab.HOME_ADDRESS)
    transfer("mn", "cn", lab.CORRESPONDENT)
    for role in ("ha", "mn"):
        assert pair.count(role, "runtime.tun-refused") == 0
    for node in ("cn", "mn"):
        table = run(node, "cat", "/proc/net/snmp").stdout
        names, values = (line.split() for line in table.splitlines() if line.startswith("Tcp:"))
        assert dict(zip(names, values, strict=True))["InCsumErrors"] == "0"


def full_load_is_no_hang(directory: Path) -> None:
    """The heartbeat goes on while the data plane works as hard as it can."""
    pair = Pair(directory)
    spawn("mn", "iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
    await_true(lambda: "5201" in run("mn", "ss", "-ltn").stdout, "iperf3")
    done = run("cn", "iperf3", "-6", "-c", str(lab.HOME_ADDRESS), "-t", "2", "-P", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "watchdog-trip" not in kinds(directory, "ha")
    pair.check()


# What the hosts' kernels must not do


def mobile_node_stays_silent_and_closed(directory: Path) -> None:
    """No ICMPv6 error by the stack, nothing of the home address in the clear on the link."""
    pair = Pair(directory)
    pair.check()
    assert kernel_counter("mn", "Icmp6OutParmProblems") == 0
    router = f"{lab.LINKS['mn']}fe"
    rules = (
        "table ip6 t { chain c { type filter hook prerouting priority raw; "
        f'iifname "to-mn" ip6 saddr {lab.HOME_ADDRESS} counter; }}; }}'
    )
    run("r", "nft", "-f", "-", input=rules, check=True)
    # To the router on the link itself, from the home address: through the tunnel.
    assert run("mn", *PING, "-I", str(lab.HOME_ADDRESS), router).returncode == 0
    assert "counter packets 0 " in run("r", "nft", "list", "ruleset").stdout
    # From the care-of address: straight.
    sent = pair.count("mn", "tunnel.sent")
    assert run("mn", *PING, "-I", str(lab.CARE_OF), str(lab.CORRESPONDENT)).returncode == 0
    assert pair.count("mn", "tunnel.sent") == sent
    # A neighbour that knows the home address reaches nothing by it.
    link_local = re.findall(r"inet6 (fe80::\S+)/64", ip("mn", "addr", "show", "dev", "wire"))[0]
    ip("r", "route", "add", str(lab.HOME_ADDRESS), "via", link_local, "dev", "to-mn")
    assert run("r", *PING, "-W", "0.5", str(lab.HOME_ADDRESS)).returncode != 0
    ip("r", "route", "del", str(lab.HOME_ADDRESS), "dev", "to-mn")
    pair.check()


def kernel_counter(node: str, name: str) -> int:
    lines = run(node, "cat", "/proc/net/snmp6").stdout.splitlines()
    values = dict(line.split() for line in lines)
    return int(values.get(name, 0))


NONSENSE = """
import random, socket, sys
random = random.Random(int(sys.argv[3]))
sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
packed = [socket.inet_pton(socket.AF_INET6, each) for each in sys.argv[1:3]]
for number in range(600):
    next_header = random.choice([0, 43, 44, 50, 58, 59, 60, 135, 6, 17, 41])
    body = bytearray(random.randbytes(random.choice([0, 1, 7, 8, 24, 40, 100, 1400])))
    if len(body) > 8 and random.random() < 0.5:
        body[0], body[1] = random.choice([50, 60, 135, 43]), random.choice([0, 1, 2])
    head = (6 << 28).to_bytes(4, "big") + len(body).to_bytes(2, "big")
    packet = head + bytes([next_header, 64]) + packed[0] + packed[1] + bytes(body)
    try:
        sender.sendto(packet, (sys.argv[2], 0))
    except OSError:
        pass
"""


def nonsense_ends_no_agent(directory: Path) -> None:
    pair = Pair(directory)
    cases = (
        ("cn", lab.CORRESPONDENT, lab.HOME_AGENT),
        ("cn", lab.CORRESPONDENT, lab.HOME_ADDRESS),
        ("cn", lab.CORRESPONDENT, lab.OWN),
        ("r", lab.HOME_AGENT, lab.CARE_OF),
        ("mn", lab.HOME_ADDRESS, lab.CORRESPONDENT),
    )
    for number, (node, source, target) in enumerate(cases):
        code = [sys.executable, "-c", NONSENSE, str(source), str(target), str(number)]
        run(node, *code, check=True)
    pair.check()
    for role in ("ha", "mn"):
        assert pair.count(role, "dropped.internal-error") == 0, (
            directory / role / "agent.log"
        ).read_text()
        assert any(name.startswith("dropped.") for name in ask(directory, role, "counters"))


# The route lives and dies with the agent


def stopped_agent_loses_its_route_and_gets_it_back(directory: Path) -> None:
    pair = Pair(directory)
    await_true(has_home_route, "the home route")
    advertised = kinds(directory, "ha").count("advertise-prefix")
    os.kill(pair.ha.pid, signal.SIGSTOP)
    await_true(lambda: not has_home_route(), "the watchdog")
    await_true(lambda: "watchdog-trip" in kinds(directory, "ha"), "its record")
    os.kill(pair.ha.pid, signal.SIGCONT)
    await_true(has_home_route, "the route's return")
    assert kinds(directory, "ha").count("advertise-prefix") > advertised
    pair.check()
    # Armed again.
    os.kill(pair.ha.pid, signal.SIGSTOP)
    await_true(lambda: not has_home_route(), "the watchdog, a second time")
    os.kill(pair.ha.pid, signal.SIGCONT)
    await_true(has_home_route, "the route's second return")


SPINNER = """
import sys, time
from ipaddress import IPv6Network
from pathlib import Path
from agents.runtime.watchdog import Watchdog
watchdog = Watchdog.start(IPv6Network(sys.argv[1]), Path(sys.argv[2]), "HA1")
watchdog.beat(0.0)
while not watchdog.tripped():
    pass
print("tripped")
"""


def endless_loop_is_a_hang(directory: Path) -> None:
    """An agent that computes without end is runnable all the time, but not for want of it."""
    lab.build()
    ip("ha", "route", "add", str(lab.HOME), "dev", "wire", "proto", "175")
    journal = str(directory / "events.jsonl")
    done = run("ha", sys.executable, "-c", SPINNER, str(lab.HOME), journal, timeout=20)
    assert done.stdout == "tripped\n", done.stderr
    assert str(lab.HOME) not in ip("ha", "route")


def hang_by_control_socket(directory: Path) -> None:
    pair = Pair(directory)
    await_true(has_home_route, "the home route")
    assert ask(directory, "ha", "hang") == "SIGSTOP"
    await_true(lambda: not has_home_route(), "the watchdog")
    os.kill(pair.ha.pid, signal.SIGCONT)
    await_true(has_home_route, "the route's return")
    assert ask(directory, "ha", "fail") == "SIGKILL"
    await_true(lambda: not has_device(), "the end of the device")


def killed_agent_takes_all_with_it(directory: Path) -> None:
    pair = Pair(directory)
    watchdog = watchdog_of(pair.ha.pid)
    assert alive(watchdog)
    pair.ha.kill()
    await_true(lambda: not has_device(), "the end of the device")
    assert not has_home_route()
    await_true(lambda: not alive(watchdog), "the end of the watchdog")


def killed_watchdog_ends_the_agent(directory: Path) -> None:
    pair = Pair(directory)
    os.kill(watchdog_of(pair.ha.pid), signal.SIGKILL)
    assert pair.ha.wait(20) == 1
    assert not has_device()
    assert "watchdog-died" in kinds(directory, "ha")


def stopped_then_killed_agent_leaves_nothing(directory: Path) -> None:
    """The watchdog of a hung agent that is then killed must not hold anything either."""
    pair = Pair(directory)
    watchdog = watchdog_of(pair.ha.pid)
    os.kill(pair.ha.pid, signal.SIGSTOP)
    await_true(lambda: "watchdog-trip" in kinds(directory, "ha"), "the watchdog")
    pair.ha.kill()
    await_true(lambda: not has_device(), "the end of the device")
    await_true(lambda: not alive(watchdog), "the end of the watchdog")


def restart_at_once(directory: Path) -> None:
    pair = Pair(directory)
    pair.ha.kill()
    pair.ha = start(directory, "ha")
    status = ask(directory, "ha", "status")
    assert status["incarnation"] == 2
    assert status["sas"] == 0  # rule 10: no SA of a file but in the first incarnation
    # A mobile node that restarts has fresh keys.
    pair.mn.kill()
    pair.mn.wait()
    write_key_file(directory / "mn.keys", lab.keys(1, Transform.AES_128_GCM))
    assert ask(directory, "ha", "load-keys", path=str(directory / "mn.keys")) == 4
    pair.mn = start(directory, "mn")
    pair.await_bound()
    pair.check()


def mobile_node_restarts_over_its_own_remains(directory: Path) -> None:
    pair = Pair(directory)
    before = ip("mn", "rule")
    pair.mn.kill()
    pair.mn.wait()
    refused = run("mn", sys.executable, "-m", "agents.mn", str(directory / "mn.toml"))
    assert refused.returncode == 2
    assert "write fresh ones" in refused.stderr
    write_key_file(directory / "mn.keys", lab.keys(1, Transform.AES_128_GCM))
    ask(directory, "ha", "load-keys", path=str(directory / "mn.keys"))
    pair.mn = start(directory, "mn")
    pair.await_bound()
    assert ip("mn", "rule") == before
    pair.check()


def a_deleted_device_ends_the_agent(directory: Path) -> None:
    pair = Pair(directory)
    ip("ha", "link", "del", "home")
    ip("mn", "link", "del", "mobile")
    assert pair.ha.wait(20) == 1
    assert pair.mn.wait(20) == 1


# Movement, connectivity


def carrier_decides(directory: Path) -> None:
    pair = Pair(directory)
    ip("r", "link", "set", "to-mn", "down")
    await_true(lambda: ask(directory, "mn", "status")["care_of_address"] is None, "the loss")
    assert str(lab.CARE_OF) not in ip("mn", "rule")
    ip("r", "link", "set", "to-mn", "up")
    ip("r", "addr", "replace", f"{lab.LINKS['mn']}fe/64", "dev", "to-mn", "nodad")
    ip("r", "addr", "replace", "fe80::fe/64", "dev", "to-mn", "nodad")
    await_true(lambda: ask(directory, "mn", "status")["bound"], "the return")
    pair.check()


def advertised_default_is_followed(directory: Path) -> None:
    pair = Pair(directory)
    table = ("route", "show", "table", "100")
    assert "via fe80::fe dev wire" in ip("mn", *table)
    change = ["default", "via", "fe80::fe", "dev", "wire", "proto", "ra", "metric", "1024"]
    ip("mn", "route", "del", *change)
    await_true(lambda: "via fe80::fe" not in ip("mn", *table), "the route to go")
    # With nowhere to send to, packets end here; they must not come back by the TUN.
    run("mn", "ping", "-c", "1", "-W", "1", str(lab.CORRESPONDENT))
    assert pair.count("mn", "runtime.send-refused") >= 1
    ip("mn", "route", "add", *change)
    await_true(lambda: "via fe80::fe" in ip("mn", *table), "the route to come")
    pair.check()


def with_peer(directory: Path) -> HomeAgentConfig:
    """Give the home agent a peer that never answers."""
    path = directory / "ha.toml"
    config = load_home_agent(path)
    peer = IPv6Address("fd00:1:2::2")
    both = [
        KeyedAssociation(
            0x01000200 + n, a, b, SaMode.TRANSPORT, Transform.AES_128_GCM, os.urandom(20)
        )
        for n, (a, b) in enumerate(((lab.OWN, peer), (peer, lab.OWN)))
    ]
    write_key_file(directory / "peer.keys", both)
    config = replace(config, peers=(PeerConfig("HA2", 2, peer, directory / "peer.keys"),))
    path.write_text(dump(config))
    return config


def connectivity_is_noticed(directory: Path) -> None:
    lab.build()
    lab.configure(directory)
    with_peer(directory)
    start(directory, "ha")

    def last() -> Any:
        told = [each for each in events(directory, "ha") if each["kind"] == "connectivity"]
        return told[-1]["reachable"] if told else None

    assert last() is True
    gateway = ["via", "fe80::fe", "dev", "wire"]
    ip("ha", "route", "add", "fd00:1:2::/64", *gateway)
    ip("ha", "route", "del", "default")
    ip("ha", "route", "del", "fd00:1:2::/64")
    await_true(lambda: last() is False, "the loss of the last route")
    await_true(lambda: not has_home_route(), "the home route to go")
    ip("ha", "route", "add", "unreachable", "fd00:1:2::/64")
    ip("ha", "route", "del", "fd00:1:2::/64")
    assert last() is False
    ip("ha", "route", "add", "fd00:1:2::/64", *gateway)
    await_true(lambda: last() is True, "the route's return")


# Beginning and end


def mistakes_are_one_line(directory: Path) -> None:
    lab.build()
    lab.configure(directory)

    def refused(role: str, *arguments: str) -> str:
        done = run(role, sys.executable, "-m", f"agents.{role}", *arguments)
        assert done.returncode == 2, done
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr

    assert "usage" in refused("ha")
    assert "missing.toml" in refused("mn", str(directory / "missing.toml"))
    ha, mn = str(directory / "ha.toml"), str(directory / "mn.toml")
    run("ha", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=0", check=True)
    assert "sysctl -w" in refused("ha", ha)
    run("ha", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1", check=True)
    ip("ha", "addr", "del", f"{lab.OWN}/64", "dev", "wire")
    assert str(lab.OWN) in refused("ha", ha)
    ip("ha", "addr", "add", f"{lab.OWN}/64", "dev", "wire", "nodad")
    ip("mn", "link", "set", "wire", "name", "other", "down")
    assert "interface wire" in refused("mn", mn)
    (directory / "mn.keys").chmod(0o644)
    assert "chmod 600" in refused("ha", ha)
    assert "chmod 600" in refused("mn", mn)
    (directory / "mn.keys").chmod(0o600)
    agent = start(directory, "ha")
    assert "home" in refused("ha", ha)  # the device is there already
    assert agent.poll() is None
    assert has_home_route()


def quiet_and_clean(directory: Path) -> None:
    """Nothing is printed; SIGTERM and SIGINT end an agent with 0 and leave no route."""
    lab.build()
    lab.configure(directory)
    for number in (signal.SIGTERM, signal.SIGINT):
        write_key_file(directory / "mn.keys", lab.keys(1, Transform.AES_128_GCM))
        for role in ("ha", "mn"):
            process = start(directory, role, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            process.send_signal(number)
            output, _ = process.communicate(timeout=20)
            assert process.returncode == 0, output
            assert output == "", output
            assert (directory / role / "agent.log").read_text() == ""
            assert not (directory / role / "control.sock").exists()
        assert not has_device()


def egress_records_are_kept(directory: Path) -> None:
    lab.build()
    lab.configure(directory, egress_record=True)
    agents = [start(directory, role) for role in ("ha", "mn")]
    await_true(lambda: lab.bound(directory), "the binding")
    assert run("cn", *PING, str(lab.HOME_ADDRESS)).returncode == 0
    from agents.runtime.egress import RECORD

    for role in ("ha", "mn"):
        data = (directory / role / "egress.bin").read_bytes()
        records = [each[1:] for each in RECORD.iter_unpack(data)]
        assert len(records) >= 4  # signalling and three packets
        assert len(set(records)) == len(records)
    for agent in agents:
        agent.kill()


SCENARIOS: dict[str, Callable[[Path], None]] = {
    each.__name__: each
    for each in (
        hardened,
        draft,
        draft_cbc,
        tcp_in_both_directions,
        full_load_is_no_hang,
        mobile_node_stays_silent_and_closed,
        nonsense_ends_no_agent,
        stopped_agent_loses_its_route_and_gets_it_back,
        endless_loop_is_a_hang,
        hang_by_control_socket,
        killed_agent_takes_all_with_it,
        killed_watchdog_ends_the_agent,
        stopped_then_killed_agent_leaves_nothing,
        restart_at_once,
        mobile_node_restarts_over_its_own_remains,
        a_deleted_device_ends_the_agent,
        carrier_decides,
        advertised_default_is_followed,
        connectivity_is_noticed,
        mistakes_are_one_line,
        quiet_and_clean,
        egress_records_are_kept,
    )
}


if __name__ == "__main__":
    lab.run_scenario(SCENARIOS)
