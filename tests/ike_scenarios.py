"""IKE between the agents on a real kernel, and what may go wrong around it."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

from agents.config import Mode, PeerConfig, dump, load_home_agent, load_mobile_node
from tests import runtime_lab as lab
from tests.figure_1.keys import found_in
from tests.runtime_lab import ask, await_true, events, request, run, spawn, start
from topologies.key_material import keys_in

PING = ("ping", "-c", "3", "-i", "0.01", "-W", "5", "-q")
FLOW = ("ping", "-c", "2500", "-i", "0.002", "-W", "5", "-q")


class Pair:
    """Home agent and mobile node with certificates, running."""

    def __init__(
        self, directory: Path, mode: Mode = Mode.HARDENED, *, secret: bool = False
    ) -> None:
        """`secret`: the mobile node has a pre-shared key."""
        self.directory = directory
        lab.build()
        lab.configure(directory, mode, ike=True, secret=secret)
        self.ha = start(directory, "ha")
        self.mn = start(directory, "mn")
        self.await_bound()

    def await_bound(self) -> None:
        await_true(lambda: lab.bound(self.directory), "the binding")

    def check(self) -> None:
        """Positive probe: the tunnel works both ways."""
        assert run("cn", *PING, str(lab.HOME_ADDRESS)).returncode == 0
        assert run("mn", *PING, str(lab.CORRESPONDENT)).returncode == 0

    def generations(self, role: str) -> list[int]:
        return sorted(each["generation"] for each in ask(self.directory, role, "sas"))


def from_nothing_to_renewal(
    directory: Path, mode: Mode = Mode.HARDENED, *, secret: bool = False
) -> None:
    """A flow of 500 packets a second each way meets a renewal, and loses nothing."""
    began = time.monotonic()
    pair = Pair(directory, mode, secret=secret)
    pair.check()
    assert pair.generations("ha") == pair.generations("mn") == [1] * 4
    flows = [
        spawn(node, *FLOW, str(target), stdout=subprocess.PIPE)
        for node, target in (("cn", lab.HOME_ADDRESS), ("mn", lab.CORRESPONDENT))
    ]
    time_of_half = time.monotonic() + 1.0
    await_true(lambda: time.monotonic() > time_of_half, "a second of the flow")
    assert ask(directory, "ha", "renew", home_address=str(lab.HOME_ADDRESS)) == "renewing"
    for flow in flows:
        output, _ = flow.communicate(timeout=30)
        assert ", 0% packet loss" in output, output
    for role in ("ha", "mn"):
        await_true(lambda: pair.generations(role) == [2] * 4, "the end of the renewal")  # noqa: B023
    assert time.monotonic() - began < 60
    kinds = [each["kind"] for each in events(directory, "ha")]
    assert kinds.index("ike-established") < kinds.index("binding-accepted")
    assert kinds.index("renewal-began") < kinds.index("sa-renewed") < kinds.index("sa-deleted")
    for role in ("ha", "mn"):
        assert ask(directory, role, "counters").get("dropped.internal-error", 0) == 0
        journal = (directory / role / "events.jsonl").read_bytes()
        private = [path for path in directory.rglob("*") if path.suffix in (".key", ".secret")]
        hidden = {key for path in private for key in keys_in(path.read_bytes())}
        assert len(hidden) == 2
        assert not found_in(journal, list(hidden))


def renewal_in_draft_cbc_with_a_secret(directory: Path) -> None:
    from_nothing_to_renewal(directory, Mode.DRAFT_CBC, secret=True)


def revocation_and_what_is_refused(directory: Path) -> None:
    pair = Pair(directory)
    control = directory / "ha" / "control.sock"
    for wrong, words in (
        ({"home_address": "fd00:192:168:1::77"}, "no binding"),
        ({"home_address": "nonsense"}, "nonsense"),
        ({}, "home_address"),
    ):
        answer = request(control, {"cmd": "revoke", **wrong})
        assert not answer["ok"]
        assert words in answer["error"]
    ask(directory, "ha", "revoke", home_address=str(lab.HOME_ADDRESS))
    await_true(lambda: pair.generations("ha") == [2] * 4, "the end of the old SAs")
    await_true(lambda: pair.generations("mn") == [2] * 4, "their end at the mobile node")
    pair.check()


def either_restarts(directory: Path) -> None:
    """The mobile node with the same certificate; then the home agent, which has lost all SAs.

    The mobile node has no revocation list; it learns one, and keeps it for its next start.
    """
    pair = Pair(directory)
    path = directory / "mn.toml"
    config = load_mobile_node(path)
    path.write_text(
        dump(replace(config, credentials=replace(config.credentials, revocations=Path())))
    )
    pair.mn.kill()
    pair.mn.wait()
    pair.mn = start(directory, "mn")
    pair.await_bound()
    pair.check()
    assert pair.generations("ha") == [2] * 4
    pair.ha.kill()
    pair.ha.wait()
    pair.ha = start(directory, "ha")
    pair.mn.kill()
    pair.mn.wait()
    pair.mn = start(directory, "mn")
    pair.await_bound()
    pair.check()
    assert [each["kind"] for each in events(directory, "mn")].count("revocations-learned") == 1
    (kept,) = (directory / "mn" / "revocations").iterdir()
    assert kept.read_bytes() == (directory / "authority" / "revocations.crl").read_bytes()


def unreachables() -> int:
    """ICMPv6 Destination Unreachable that the mobile node's kernel has sent."""
    text = run("mn", "cat", "/proc/net/snmp6").stdout
    return int(dict(line.split() for line in text.splitlines())["Icmp6OutDestUnreachs"])


def the_stack_answers_no_ike(directory: Path) -> None:
    """No ICMPv6 port unreachable from the mobile node's kernel, whatever comes of IKE."""
    pair = Pair(directory)
    ask(directory, "ha", "renew", home_address=str(lab.HOME_ADDRESS))
    await_true(lambda: pair.generations("mn") == [2] * 4, "the end of the renewal")
    assert unreachables() == 0
    # The positive probe: a port that nobody listens to is answered.
    probe = "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); "
    probe += f"s.sendto(b'x', ('{lab.CARE_OF}', 9))"
    run("cn", sys.executable, "-c", probe, check=True)
    await_true(lambda: unreachables() == 1, "an answer to a closed port")


def mistakes_are_one_line(directory: Path) -> None:
    lab.build()
    lab.configure(directory, ike=True)
    for name in ("HA1", "mn"):
        (directory / "authority" / f"{name}.key").chmod(0o644)
    for role in ("ha", "mn"):
        refused = run(role, sys.executable, "-m", f"agents.{role}", str(directory / f"{role}.toml"))
        assert refused.returncode == 2
        assert "chmod 600" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def home_agents_speak_ike_beside_mobile_nodes(directory: Path) -> None:
    """Port 500 of the own address is the peers'; the home agent address' is reached by the TUN."""
    lab.build()
    lab.configure(directory, ike=True)
    path, peer = directory / "ha.toml", IPv6Address("fd00:1:2::2")
    config = replace(load_home_agent(path), peers=(PeerConfig("HA2", 2, peer),))
    path.write_text(dump(config))
    taken = "import socket, sys; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); "
    taken += f"s.bind(('{lab.OWN}', 500)); print('bound', flush=True); sys.stdin.read()"
    holder = spawn("ha", sys.executable, "-c", taken, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "bound"
    refused = run("ha", sys.executable, "-m", "agents.ha", str(path))
    assert refused.returncode == 2
    assert "UDP port 500" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    holder.communicate()
    start(directory, "ha")
    start(directory, "mn")
    await_true(lambda: lab.bound(directory), "the binding")

    def count(name: str) -> int:
        found: int = ask(directory, "ha", "counters").get(name, 0)
        return found

    await_true(lambda: count("peer-ike.requests-repeated") > 2, "a peer to be asked for")
    assert count("dropped.no-peer-sa") > 0
    probe = "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); "
    probe += f"s.sendto(b'x' * 28, ('{lab.OWN}', 500))"
    run("cn", sys.executable, "-c", probe, check=True)
    await_true(lambda: count("peer-ike.dropped.bad-version") == 1, "a stranger to be refused")
    assert count("dropped.internal-error") == 0
    assert count("ike.sent.ike-auth-response") == 1
    assert run("cn", *PING, str(lab.HOME_ADDRESS)).returncode == 0


SCENARIOS: dict[str, Callable[[Path], None]] = {
    each.__name__: each
    for each in (
        from_nothing_to_renewal,
        renewal_in_draft_cbc_with_a_secret,
        revocation_and_what_is_refused,
        either_restarts,
        the_stack_answers_no_ike,
        mistakes_are_one_line,
        home_agents_speak_ike_beside_mobile_nodes,
    )
}


if __name__ == "__main__":
    lab.run_scenario(SCENARIOS)
