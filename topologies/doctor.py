"""`make doctor`: what this machine can and cannot do, each thing by really doing it.

Standard library only, run by the system's Python: it must work where nothing is installed yet.
Prints a line for each check, `ok`, `degraded` or `cannot`, and the cure below it. Exit code: 0 all
well, 1 degraded, 2 something that everything needs cannot be done. What has to be tried inside a
sandbox is in ``doctor_inside.py``.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

OK, DEGRADED, CANNOT = "ok", "degraded", "cannot"
EXIT_CODES = {OK: 0, DEGRADED: 1, CANNOT: 2}
REPOSITORY = Path(__file__).resolve().parent.parent
LAUNCHER = Path(__file__).resolve().with_name("sandbox_launcher.py")
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/frr", "/usr/libexec/frr")
TIMEOUT = 20
"""Seconds after which a probe that hangs is a failure of its own."""


class Finding(NamedTuple):
    """One line of the report. ``cure``: what to do about it; empty when all is well."""

    state: str
    subject: str
    said: str
    cure: str = ""


# Command, Debian package, what is lost without it. The first group is needed by every verb.
NEEDED = (
    ("mnexec", "mininet"),
    ("zebra", "frr"),
    ("ospf6d", "frr"),
    ("bgpd", "frr"),
    ("bfdd", "frr"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("radvd", "radvd"),
)
USEFUL = (
    ("iperf3", "iperf3", "no `make throughput`"),
    ("tshark", "tshark", "no captures, no `make sniff`"),
    ("brctl", "bridge-utils", "no switches in plain Mininet"),
    ("ping", "iputils-ping", "no `ping` in the lab"),
    ("ps", "procps", "plain Mininet misses it"),
    ("stayrtr", "stayrtr", "no route-origin validation"),
    ("swanctl", "strongswan-swanctl", "no tests of IKEv2 against strongSwan"),
    ("git", "git", "runs are recorded without their commit"),
)


def main() -> NoReturn:
    """Print the report; exit with its code. The argument is the virtual environment's folder."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    environment = Path(sys.argv[1] if len(sys.argv) > 1 else ".venv")
    worst = OK
    for finding in examine(environment):
        worst = max(worst, finding.state, key=lambda state: EXIT_CODES[state])
        print(f"{finding.state:<9} {finding.subject:<22} {finding.said}")
        if finding.cure:
            print(f"{'':<9} {'':<22} -> {finding.cure}")
        sys.stdout.flush()
    print(
        {OK: "All well.", DEGRADED: "It runs, degraded as said.", CANNOT: "It cannot run."}[worst]
    )
    sys.exit(EXIT_CODES[worst])


def examine(environment: Path) -> Iterator[Finding]:
    """Yield every finding, the simplest causes first."""
    os.environ["PATH"] = ":".join([os.environ.get("PATH", ""), *SBIN])
    yield system()
    yield interpreter()
    yield virtual_environment(environment)
    yield from tools()
    yield frr_version()
    tun = tun_device()
    yield tun
    yield from in_sandbox(tun)


def system() -> Finding:
    """Judge the distribution and its version."""
    release = os_release()
    name = release.get("PRETTY_NAME", platform.platform())
    said = f"{name}, kernel {platform.release()}, {os.cpu_count()} processors"
    known = {"debian": (12, "Debian 12"), "ubuntu": (24, "Ubuntu 24.04")}
    least, wanted = known.get(release.get("ID", ""), (0, ""))
    version = release.get("VERSION_ID", "").split(".")[0]
    if not wanted:
        return Finding(DEGRADED, "system", said, "not tried here; Debian 12 is what is tested")
    if version.isdigit() and int(version) < least:
        old = f"its FRR and its Python are too old: {wanted} or later"
        return Finding(CANNOT, "system", said, old)
    return Finding(OK, "system", said)


def os_release() -> dict[str, str]:
    """Return the fields of os-release; MANYHOMES_OS_RELEASE names another file (tests)."""
    path = Path(os.environ.get("MANYHOMES_OS_RELEASE", "/etc/os-release"))
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key: value.strip("\"'") for key, _, value in pairs}


def interpreter() -> Finding:
    """Judge the system's Python, from which the virtual environment is made."""
    said = f"Python {platform.python_version()} at {sys.executable}"
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding(CANNOT, "python", said, "3.11 to 3.13: Debian 12 or Ubuntu 24.04, or later")
    try:
        import ensurepip  # noqa: F401  # Debian keeps it in a package of its own
    except ImportError:
        return Finding(CANNOT, "python", f"{said}, without venv", "`make setup` (python3-venv)")
    return Finding(OK, "python", said)


def virtual_environment(folder: Path) -> Finding:
    """Run the virtual environment's Python, as this user, from outside any home."""
    subject, python = "virtual environment", folder / "bin/python"
    if not (folder / "pyvenv.cfg").exists():
        return Finding(DEGRADED, subject, f"none at {folder} yet", "`make setup`, or any verb")
    code = (
        "import importlib.util as u, sys; "
        "print(' '.join(m for m in sys.argv[1:] if u.find_spec(m) is None))"
    )
    wanted = ("mininet", "pyroute2", "cryptography", "matplotlib", "pandas", "topologies")
    result = run([str(python.absolute()), "-c", code, *wanted], cwd="/")
    if result.returncode != 0:
        real = os.path.realpath(python)
        return Finding(
            CANNOT, subject, f"{python} ({real}) does not run: {last_line(result)}",
            "it must be made from a Python that this user can reach: `make clean setup`",
        )  # fmt: skip
    if missing := result.stdout.strip():
        return Finding(CANNOT, subject, f"{folder} misses {missing}", "`make clean setup`")
    return Finding(OK, subject, f"{folder} from {os.path.realpath(python)}")


def tools() -> Iterator[Finding]:
    """Look for every program, with the package that it is in."""
    missing = [(tool, package) for tool, package in NEEDED if shutil.which(tool) is None]
    for tool, package in missing:
        cure = f"`make setup` installs the package {package}"
        yield Finding(CANNOT, tool, "is not installed", cure)
    absent = [each for each in USEFUL if shutil.which(each[0]) is None]
    for tool, package, lost in absent:
        cure = f"`make setup` installs the package {package}"
        yield Finding(DEGRADED, tool, f"is not installed: {lost}", cure)
    if not missing and not absent:
        yield Finding(OK, "tools", ", ".join(each[0] for each in (*NEEDED, *USEFUL)))


def frr_version() -> Finding:
    """Judge FRR's version; its configuration is tried inside the sandbox."""
    if shutil.which("zebra") is None:
        return Finding(CANNOT, "FRR", "is not installed", "`make setup` installs the package frr")
    words = run(["zebra", "--version"]).stdout.split()
    version = words[2] if len(words) > 2 else "?"
    numbers = version.split(".")
    try:
        pair = int(numbers[0]), int("".join(c for c in numbers[1] if c.isdigit()))
    except (ValueError, IndexError):
        return Finding(DEGRADED, "FRR", f"version {version}, unknown", "8.4 to 10 are known")
    if pair < (8, 4):
        return Finding(CANNOT, "FRR", f"version {version} is too old", "8.4 to 10: Debian 12's")
    if pair >= (11, 0):
        return Finding(DEGRADED, "FRR", f"version {version}, not tried", "8.4 to 10 are known")
    return Finding(OK, "FRR", f"version {version}")


def tun_device() -> Finding:
    """Open /dev/net/tun for reading and writing, as this user."""
    path = "/dev/net/tun"
    try:
        os.close(os.open(path, os.O_RDWR))
    except PermissionError:
        cure = (
            "sudo chmod 0666 /dev/net/tun   (as udev does on Debian and Ubuntu), or `sudo make …`"
        )
        return Finding(CANNOT, "/dev/net/tun", "this user may not open it", cure)
    except FileNotFoundError:
        cure = "sudo modprobe tun; in a container: --device /dev/net/tun"
        return Finding(CANNOT, "/dev/net/tun", "is not there", cure)
    except OSError as error:
        cure = "sudo modprobe tun; the kernel may lack CONFIG_TUN"
        return Finding(CANNOT, "/dev/net/tun", f"cannot be opened: {error.strerror}", cure)
    return Finding(OK, "/dev/net/tun", "this user can open it")


def in_sandbox(tun: Finding) -> Iterator[Finding]:
    """Make a sandbox and try in it what only there can be tried."""
    words = [sys.executable, "-I", "-S", str(LAUNCHER), "--"]
    probes = [sys.executable, "-m", "topologies.doctor_inside"]
    if tun.state != OK:
        probes.append("--no-tun")
    result = run([*words, *probes], cwd=str(REPOSITORY))
    lines = [line for line in result.stdout.splitlines() if line.startswith("[")]
    complaint = last_line(result)
    if not lines:
        yield Finding(CANNOT, "sandbox", complaint, namespace_cure())
        return
    if "real root" in complaint:
        yield Finding(DEGRADED, "sandbox", "as real root: no user namespaces", namespace_cure())
    else:
        yield Finding(OK, "sandbox", "namespaces, /proc and /sys of its own")
    for line in lines:
        yield Finding(*json.loads(line))
    if result.returncode != 0:
        yield Finding(CANNOT, "sandbox", f"a probe broke off: {complaint}", "please report it")


def namespace_cure() -> str:
    """Return the cure for a machine that allows no sandbox, from what it says of itself."""
    if setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "AppArmor forbids it: `sudo make …`, or install docs/apparmor/manyhomes (see there)"
    if setting("kernel/unprivileged_userns_clone") == "0":
        return "sudo sysctl kernel.unprivileged_userns_clone=1, or `sudo make …`"
    if setting("user/max_user_namespaces") == "0":
        return "sudo sysctl user.max_user_namespaces=10000, or `sudo make …`"
    if any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")):
        return (
            "container: --privileged, or --cap-add SYS_ADMIN --security-opt seccomp=unconfined "
            "--security-opt systempaths=unconfined --device /dev/net/tun"
        )
    return "user namespaces with proc and sysfs mounts are needed: `sudo make …` may have them"


def setting(name: str) -> str:
    """Return a sysctl's value, empty where there is none."""
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return ""


def run(command: list[str], cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program; one that is missing, or hangs, is an exit code and a line like others."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, cwd=cwd, timeout=TIMEOUT, check=False,
            stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error.strerror))
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"hung for {TIMEOUT} s")


def last_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of a program's complaint, without this project's own prefix."""
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    return lines[-1].removeprefix("manyhomes: ") if lines else f"exit code {result.returncode}"


if __name__ == "__main__":
    main()
