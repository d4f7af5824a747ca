"""make doctor: what it finds, and what it says where something is missing."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from people import REPOSITORY, Person

from topologies import doctor

VENV = str(Path(sys.executable).parent.parent)
COMMAND = ["/usr/bin/python3", "-m", "topologies.doctor", VENV]
pytestmark = pytest.mark.emulation


def findings(text: str) -> dict[str, str]:
    """Return subject -> state of a report."""
    lines = [line for line in text.splitlines() if line[:9].strip() in doctor.EXIT_CODES]
    return {line[10:32].strip(): line[:9].strip() for line in lines}


def test_this_machine_can_run_it(person: Person) -> None:
    began = time.monotonic()
    result = person.run(COMMAND)
    took = time.monotonic() - began
    states = findings(result.stdout)
    assert result.returncode in (0, 1), result.stdout + result.stderr
    assert "cannot" not in states.values()
    assert {"/dev/net/tun", "sandbox", "nftables", "FRR", "FRR configuration", "TUN"} <= set(states)
    assert took < 60  # a hang; `make doctor` takes well below 3 s on an idle machine


def test_exit_code_is_that_of_the_worst_finding(user: Person) -> None:
    plain = user.run(COMMAND)
    made = user.run(["make", "doctor", f"VENV={VENV}"])
    assert made.returncode == plain.returncode
    assert findings(made.stdout) == findings(plain.stdout)


@pytest.mark.parametrize(
    ("tool", "state", "package"),
    [("nft", "cannot", "nftables"), ("radvd", "cannot", "radvd"), ("mnexec", "cannot", "mininet"),
     ("tshark", "degraded", "tshark"), ("iperf3", "degraded", "iperf3"),
     ("swanctl", "degraded", "strongswan-swanctl")],
)  # fmt: skip
def test_a_missing_tool_is_named_with_its_package(
    user: Person, tool: str, state: str, package: str
) -> None:
    """The tool is hidden from this one report by an unreadable file over it."""
    result = hidden(user, [tool])
    states = findings(result.stdout)
    assert states[tool] == state, result.stdout
    assert f"`make setup` installs the package {package}" in result.stdout
    assert result.returncode == (2 if state == "cannot" else 1)


def test_no_frr(user: Person) -> None:
    result = hidden(user, ["zebra", "ospf6d", "bgpd", "bfdd"])
    assert findings(result.stdout)["FRR"] == "cannot"
    assert result.returncode == 2


def hidden(person: Person, tools: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run the doctor where some tools are not there: in a mount namespace that covers them."""
    places = [f"{folder}/{tool}" for tool in tools for folder in ("/usr/bin", *doctor.SBIN)]
    there = [os.path.realpath(place) for place in places if Path(place).exists()]
    script = "set -e\n" + "".join(
        f"mount --bind /dev/null {shlex.quote(place)}\n" for place in sorted(set(there))
    )
    # Root of its own namespaces; the doctor's own sandbox is then one within.
    script += f"exec {shlex.join(COMMAND)}"
    words = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", script]
    return person.run(words)


def test_a_closed_tun(user: Person) -> None:
    if not user.prefix:
        pytest.skip("needs root, to play an ordinary user before a closed device")
    closed = ["setpriv", "--reuid", str(user.user), "--regid", str(user.user), "--clear-groups"]
    mode = Path("/dev/net/tun").stat().st_mode & 0o777
    if mode & 0o006:
        pytest.skip("this machine's /dev/net/tun is open to everybody")
    other = Person("closed", user.user, user.home, tuple(closed), user.environment)
    result = other.run(COMMAND)
    assert findings(result.stdout)["/dev/net/tun"] == "cannot", result.stderr
    assert "sudo chmod 0666 /dev/net/tun" in result.stdout
    assert "TUN" not in findings(result.stdout)
    assert result.returncode == 2


def test_no_user_namespaces(user: Person) -> None:
    inner = shlex.join(["unshare", "--user", "--map-user=1234", *COMMAND])
    script = f"echo 1 > /proc/sys/user/max_user_namespaces; exec {inner}"
    result = user.run(["unshare", "--user", "--map-root-user", "bash", "-c", script])
    assert findings(result.stdout)["sandbox"] == "cannot", result.stdout
    assert "sudo" in result.stdout
    assert result.returncode == 2


@pytest.mark.parametrize(
    ("identity", "version", "state"),
    [("ubuntu", "22.04", "cannot"), ("ubuntu", "24.04", "ok"), ("debian", "11", "cannot"),
     ("debian", "12", "ok"), ("debian", "13", "ok"), ("arch", "", "degraded")],
)  # fmt: skip
def test_distributions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: str, version: str, state: str
) -> None:
    file = tmp_path / "os-release"
    file.write_text(f'ID={identity}\nVERSION_ID="{version}"\nPRETTY_NAME="Some {identity}"\n')
    monkeypatch.setenv("MANYHOMES_OS_RELEASE", str(file))
    found = doctor.system()
    assert found.state == state
    assert bool(found.cure) == (state != "ok")


@pytest.mark.parametrize(
    ("version", "state"),
    [("8.1", "cannot"), ("8.4.4", "ok"), ("9.1", "ok"), ("10.3", "ok"), ("11.0", "degraded"),
     ("10.3-dev", "ok"), ("strange", "degraded")],
)  # fmt: skip
def test_versions_of_frr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, state: str
) -> None:
    zebra = tmp_path / "zebra"
    zebra.write_text(f"#!/bin/sh\necho zebra version {version}\n")
    zebra.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert doctor.frr_version().state == state


def test_a_virtual_environment_that_cannot_be_reached(user: Person, tmp_path: Path) -> None:
    """Made from an interpreter in a folder that this user may not enter."""
    if not user.prefix:
        pytest.skip("needs root, to close a folder to an ordinary user")
    closed = tmp_path / "closed"
    (tmp_path / "venv/bin").mkdir(parents=True)
    closed.mkdir(mode=0o700)
    (closed / "python3").symlink_to("/usr/bin/python3")
    (tmp_path / "venv/pyvenv.cfg").write_text("home = /usr/bin\n")
    (tmp_path / "venv/bin/python").symlink_to(closed / "python3")
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)
    result = user.run([*COMMAND[:3], str(tmp_path / "venv")], cwd=REPOSITORY)
    assert findings(result.stdout)["virtual environment"] == "cannot", result.stdout
    assert "`make clean setup`" in result.stdout
