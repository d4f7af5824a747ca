"""A small network for the runtime's emulation tests: cn, ha and mn around one router r.

Runs inside a sandbox. The mobile node's care-of address and default route are set as a router
advertisement would set them.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from agents.config import CredentialFiles, HomeAgentConfig, MobileNodeConfig, Mode, dump
from agents.keys import KeyedAssociation, SaMode, Transform, write_key_file
from agents.shared_secrets import write_secret_file
from topologies.certification import Authority

HOME = IPv6Network("fd00:192:168:1::/64")
HOME_AGENT = IPv6Address("fd00:192:168:1::254")
HOME_ADDRESS = IPv6Address("fd00:192:168:1::100")
OWN = IPv6Address("fd00:1:1::1")
CARE_OF = IPv6Address("fd00:10:10:10::100")
CORRESPONDENT = IPv6Address("fd00:c::1")
PYTHON = [sys.executable]
LINKS = {"ha": "fd00:1:1::", "mn": "fd00:10:10:10::", "cn": "fd00:c::"}
HOST = {"mn": "100"}
"""Host parts that are not 1."""


def ip(node: str, *words: str) -> str:
    command = ["ip", "-n", node, "-6", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def run(node: str, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ip", "netns", "exec", node, *command], capture_output=True, text=True, **options
    )


def spawn(node: str, *command: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(["ip", "netns", "exec", node, *command], text=True, **options)


def await_true(condition: Any, what: str, seconds: float = 20.0) -> None:
    """Wait for `condition()`; the deadline is for hangs, not for speed."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited for {what}")
        time.sleep(0.005)


def build(links: Mapping[str, str] = LINKS) -> None:
    """Make the nodes, links, addresses and static routes; `links`: prefix by node around r."""
    for node in ("r", *links):
        subprocess.run(["ip", "netns", "add", node], check=True)
        ip(node, "link", "set", "lo", "up")
        for knob in ("accept_dad", "dad_transmits"):
            run(node, "sysctl", "-qw", f"net.ipv6.conf.default.{knob}=0", check=True)
    for node in ("r", *(each for each in links if each.startswith("ha"))):
        run(node, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1", check=True)
    for node, prefix in links.items():
        pair = ["link", "add", "wire", "type", "veth", "peer", "name", f"to-{node}", "netns", "r"]
        ip(node, *pair)
        ip("r", "link", "set", f"to-{node}", "up")
        ip("r", "addr", "add", f"{prefix}fe/64", "dev", f"to-{node}", "nodad")
        ip("r", "addr", "add", "fe80::fe/64", "dev", f"to-{node}", "nodad")
        ip(node, "link", "set", "wire", "up")
        ip(node, "addr", "add", f"{prefix}{HOST.get(node, '1')}/64", "dev", "wire", "nodad")
        protocol = "ra" if node == "mn" else "static"
        route = ["route", "add", "default", "via", "fe80::fe", "dev", "wire", "proto", protocol]
        ip(node, *route, "metric", "1024")
    ip("r", "route", "add", str(HOME), "via", str(OWN))


def keys(index: int, transform: Transform) -> list[KeyedAssociation]:
    """Fresh associations of the mobile node."""
    made = []
    for number, mode in enumerate((SaMode.TRANSPORT, SaMode.TUNNEL)):
        for source, destination, top in (
            (HOME_ADDRESS, HOME_AGENT, index << 24),
            (HOME_AGENT, HOME_ADDRESS, 0x10000),
        ):
            key = os.urandom(transform.key_length)
            spi = top + 0x100 + number
            made.append(KeyedAssociation(spi, source, destination, mode, transform, key))
    return made


def configure(
    directory: Path,
    mode: Mode = Mode.HARDENED,
    *,
    ike: bool = False,
    secret: bool = False,
    **changes: Any,
) -> None:
    """Write configurations and keys below `directory`.

    With `ike` certificates, or, with `secret`, a pre-shared key of the mobile node in place of its.
    """
    for node in ("ha", "mn"):
        (directory / node).mkdir(parents=True)
    secrets = (directory / "mn.secret",) if ike and secret else ()
    own, others = CredentialFiles(), CredentialFiles()
    if ike:
        operator = Authority(directory / "authority")
        own = operator.home_agent("HA1", 1, OWN, HOME_AGENT, HOME)
        others = operator.trust() if secret else operator.mobile_node("mn", HOME_ADDRESS)
    else:
        write_key_file(directory / "mn.keys", keys(1, Transform(mode.transform)))
    if secrets:
        write_secret_file(secrets[0], {HOME_ADDRESS: os.urandom(32)})
    home_agent = HomeAgentConfig(
        name="HA1",
        index=1,
        address=OWN,
        directory=directory / "ha",
        home_prefix=HOME,
        home_agent_address=HOME_AGENT,
        mode=mode,
        key_files=() if ike else (directory / "mn.keys",),
        secret_files=secrets,
        credentials=own,
        **changes,
    )
    mobile_node = MobileNodeConfig(
        name="mn",
        home_address=HOME_ADDRESS,
        home_agent_address=HOME_AGENT,
        home_prefix=HOME,
        directory=directory / "mn",
        key_file=Path() if ike else directory / "mn.keys",
        secret_files=secrets,
        credentials=others,
        mode=mode,
        interfaces=("wire",),
        **changes,
    )
    (directory / "ha.toml").write_text(dump(home_agent))
    (directory / "mn.toml").write_text(dump(mobile_node))


def start(
    directory: Path, role: str, files: Sequence[str] = (), **options: Any
) -> subprocess.Popen[str]:
    """Start an agent and wait until it is ready; the child's pid is the agent's own.

    `role` is its node too, `ha2` another home agent's; `files`: the names of its configurations.
    """
    paths = [str(directory / name) for name in files or (f"{role}.toml",)]
    command = [*PYTHON, "-m", f"agents.{role[:2]}", *paths]
    before = len(events(directory, role))
    process = spawn(role, *command, **options)

    def ready() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"{role} ended with {process.returncode}")
        return any(each["kind"] == "agent-ready" for each in events(directory, role)[before:])

    await_true(ready, f"{role} to be ready")
    return process


def ask(directory: Path, role: str, command: str, **fields: Any) -> Any:
    """Ask an agent on its control socket."""
    answer = request(directory / role / "control.sock", {"cmd": command, **fields})
    assert answer["ok"], answer
    return answer["result"]


def request(path: Path, message: object) -> Any:
    """Send one request line and return the answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(json.dumps(message).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            part = client.recv(65536)
            if not part:
                break
            answer += part
    return json.loads(answer)


def events(directory: Path, role: str) -> list[dict[str, Any]]:
    """Return the journal so far."""
    path = directory / role / "events.jsonl"
    return [json.loads(line) for line in path.open()] if path.exists() else []


def bound(directory: Path) -> bool:
    """Does the mobile node's agent say that it is bound?"""
    return any(each["state"] == "bound" for each in ask(directory, "mn", "bindings"))


def run_scenario(scenarios: Mapping[str, Callable[[Path], None]]) -> None:
    """Run the one that the command line names; what the agents logged follows a failure."""
    with tempfile.TemporaryDirectory() as name:
        try:
            scenarios[sys.argv[1]](Path(name))
        except BaseException:
            for path in sorted(Path(name).glob("*/*")):
                if path.name in ("agent.log", "events.jsonl"):
                    print(f"--- {path}\n{path.read_text()}", file=sys.stderr)
            raise
