"""From a minimal Debian to a measured failover: debootstrap, line 0 of the README, `make`.

Needs root, debootstrap and a package mirror; about three minutes and 1.5 GB for each release.
The mirror is the one that this machine's own packages come from, or CLEAN_ROOT_MIRROR. The roots
lie in a temporary folder and are removed again.
"""

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from people import REPOSITORY

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

CLEAN_ROOT = Path(__file__).with_name("clean_root.py")
USER = 1000
LINE_0 = "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y git make"
AS_USER = f"setpriv --reuid {USER} --regid {USER} --clear-groups env HOME=/home/user "
SERVICES = {
    *("frr.service", "radvd.service", "stayrtr.service", "iperf3.service"),
    *("strongswan-starter.service", "ipsec.service"),
}


def _mirror() -> str:
    """Return the address of a mirror of Debian's packages."""
    named = os.environ.get("CLEAN_ROOT_MIRROR")
    if named is not None:
        return named
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Component: main"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    if not listed:
        pytest.skip("apt knows no mirror; name one in CLEAN_ROOT_MIRROR")
    return listed[0]


@dataclass
class Root:
    """A minimal system in a folder, with a user and this repository in their home."""

    folder: Path

    def run(self, command: str, user: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a shell command in the repository, as the user or as `sudo` would run it."""
        variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
        script = f"cd /home/user/manyhomes && exec sh -c {shlex.quote(command)}"
        if user:
            script = AS_USER + f"sh -c {shlex.quote(script)}"
        else:
            script = f"export SUDO_UID={USER} SUDO_GID={USER}; {script}"
        for name in ("PIP_INDEX_URL", "https_proxy", "http_proxy"):
            if name in os.environ:
                variables[name] = os.environ[name]
        if (self.folder / "etc/own-ca.crt").exists():
            variables["PIP_CERT"] = "/etc/own-ca.crt"
        words = ["/usr/bin/python3", str(CLEAN_ROOT), str(self.folder), "/bin/sh", "-c", script]
        return subprocess.run(
            words, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )

    def check(self, command: str, user: bool = True) -> str:
        """Run a command that must succeed; return what it prints."""
        result = self.run(command, user)
        assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}{result.stderr[-3000:]}"
        return result.stdout


@pytest.fixture(params=["bookworm", "trixie"])
def clean(request: pytest.FixtureRequest) -> Iterator[Root]:
    """Yield a minimal Debian 12 or 13 with nothing of ours but a clone of this repository."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("needs root and debootstrap")
    top = Path(tempfile.mkdtemp(prefix="manyhomes-clean-"))
    root = Root(top / "root")
    try:
        words = ["debootstrap", "--variant=minbase", request.param, str(root.folder), _mirror()]
        made = subprocess.run(words, capture_output=True, text=True)
        if made.returncode != 0:
            pytest.skip(f"debootstrap {request.param}: {(made.stdout + made.stderr)[-300:]}")
        shutil.copy("/etc/resolv.conf", root.folder / "etc/resolv.conf")
        if "PIP_CERT" in os.environ:  # a network with an authority of its own
            shutil.copy(os.environ["PIP_CERT"], root.folder / "etc/own-ca.crt")
        home = root.folder / "home/user"
        words = ["git", "clone", "--quiet", "--no-hardlinks", str(REPOSITORY)]
        subprocess.run([*words, str(home / "manyhomes")], check=True)
        with open(root.folder / "etc/passwd", "a") as passwd:
            passwd.write(f"user:x:{USER}:{USER}::/home/user:/bin/sh\n")
        subprocess.run(["chown", "-R", f"{USER}:{USER}", str(home)], check=True)
        yield root
    finally:
        shutil.rmtree(top, ignore_errors=True)


def test_from_a_minimal_system_to_a_failover_plot(clean: Root) -> None:
    clean.check(LINE_0, user=False)

    assert clean.run("make doctor").returncode == 2
    refused = clean.run("make setup")
    assert refused.returncode == 2
    assert "apt-get install -y --no-install-recommends python3-venv mininet frr" in refused.stderr

    clean.check("make setup", user=False)  # as `sudo make setup`
    assert clean.check("find . -not -user 1000 -print -quit") == ""
    wanted = clean.folder / "etc/systemd/system/multi-user.target.wants"
    assert not SERVICES & set(os.listdir(wanted))
    assert not (clean.folder / "usr/sbin/policy-rc.d").exists()
    assert clean.check("make setup") in ("", "make: Nothing to be done for 'setup'.\n")

    assert clean.run("make doctor").returncode in (0, 1)
    pinged = clean.run("make mn ARGS='--test pingall'")
    assert "0% dropped" in pinged.stderr + pinged.stdout
    clean.check("make test ARGS='-q -k wire'")

    clean.check("make failover TRIALS=1 FAULT=agent-kill DETECTION=bfd-50x3")
    folder = clean.folder / "home/user/manyhomes/results/latest-failover"
    assert folder.is_symlink()
    folder = folder.parent / os.readlink(folder)
    rows = json.loads((folder / "summary.json").read_text())
    outages = [row for row in rows if row["metric"] == "outage"]
    assert {row["conditions"]["direction"] for row in outages} >= {"up", "down"}
    assert all(row["n"] >= 1 for row in outages)
    assert sorted(path.suffix for path in (folder / "plots").iterdir())[-1] == ".svg"
    assert {path.stat().st_uid for path in folder.rglob("*")} == {USER}
