"""What the sandbox shows, hides and protects, for an ordinary user and for root."""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from people import Person

from topologies.sandbox import launcher_command

pytestmark = pytest.mark.emulation

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def inside(person: Person, script: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return person.run(launcher_command(["bash", "-c", script]), **options)


def test_an_empty_network_and_process_tree_of_its_own(person: Person) -> None:
    result = inside(person, "id -u; ls /sys/class/net; cat /sys/class/net/lo/flags; ls /proc")
    lines = result.stdout.split()
    assert lines[:3] == ["0", "lo", "0x9"], result.stderr  # 0x9: loopback, up
    assert {word for word in lines[3:] if word.isdigit()} <= {"1", "2", "3"}


def test_links_tun_bridge_and_forwarding_can_be_made(person: Person) -> None:
    script = """set -e
    ip link add ve0 type veth peer name ve1; ip tuntap add tun0 mode tun
    ip link add br0 type bridge
    echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; echo 0 > /proc/sys/net/ipv6/conf/ve0/accept_dad
    ip netns add other; ip netns exec other ip -br link; ls /sys/class/net"""
    result = inside(person, script)
    assert result.returncode == 0, result.stderr
    assert set(result.stdout.split()) >= {"ve0", "ve1", "tun0", "br0", "lo"}


def test_memory_file_systems_and_path(person: Person) -> None:
    script = """set -e
    test -d /run/netns -a -w /run/frr -a -w /var/tmp; test -z "$(ls -A /var/tmp)"
    command -v ip >/dev/null; case :$PATH: in *:/usr/sbin:*) ;; *) exit 3;; esac
    case $(mktemp) in /run/tmp/*) ;; *) exit 4;; esac"""
    result = inside(person, script)
    assert result.returncode == 0, result.stderr


def test_root_is_a_member_of_frrvty(person: Person) -> None:
    if "frrvty:" not in Path("/etc/group").read_text():
        pytest.skip("FRR is not installed: no group frrvty")
    members = inside(person, "getent group frrvty").stdout.strip().split(":")[3]
    assert "root" in members.split(",")
    assert "root" not in subprocess.getoutput("getent group frrvty").split(":")[3].split(",")


def test_global_settings_and_sys_are_out_of_reach(person: Person) -> None:
    before = global_settings()
    script = """
    for f in /proc/sys/vm/swappiness /proc/sys/fs/file-max /proc/sys/kernel/core_pattern \\
             /sys/kernel/mm/transparent_hugepage/enabled; do
        test -e $f || continue
        value=$(sed 's/.*\\[\\(.*\\)\\].*/\\1/' $f)  # its own value: a failure shall harm nobody
        ( echo "$value" > $f ) 2>/dev/null && echo "wrote $f"
    done
    mount -o remount,ro /sys 2>/dev/null; mount --make-rshared /; umount -l /sys; echo done"""
    result = inside(person, script)
    assert result.stdout == "done\n"
    assert global_settings() == before


def global_settings() -> list[str]:
    """Return settings that root may change, and how the host's /sys and /proc are mounted."""
    values = [Path(f"/proc/sys/{name}").read_text() for name in ("vm/swappiness", "fs/file-max")]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return values + [line for line in mounts if line.split()[4].startswith(("/sys", "/proc"))]


def test_a_sandbox_in_a_sandbox(person: Person) -> None:
    words = launcher_command(launcher_command(["bash", "-c", "ls /sys/class/net; ls /run/netns"]))
    result = person.run(words)
    assert (result.returncode, result.stdout) == (0, "lo\n"), result.stderr


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("true", 0)])
def test_exit_code_is_the_commands_own(person: Person, script: str, code: int) -> None:
    assert inside(person, script).returncode == code


def test_a_command_that_is_not_there(person: Person) -> None:
    result = person.run(launcher_command(["no-such-command"]))
    assert result.returncode == 127
    assert result.stderr == "manyhomes: no-such-command: No such file or directory\n"


def test_orphans_are_reaped(sandbox: Run) -> None:
    script = """
    for i in 1 2 3 4 5; do (sh -c 'exec true' & ) ; done
    for i in $(seq 100); do ps -eo stat= | grep -q Z || exit 0; sleep 0.05; done; exit 1"""
    assert sandbox(["bash", "-c", script]).returncode == 0


def test_a_name_is_taken_once_and_free_afterwards(person: Person) -> None:
    first = person.popen(
        launcher_command(["sh", "-c", "echo up; read line"], name="here"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == "up\n"
        second = person.run(launcher_command(["true"], name="here"))
        assert second.returncode == 2
        assert second.stderr.count("\n") == 1
        assert "'here' runs already" in second.stderr
        assert person.run(launcher_command(["true"], name="there")).returncode == 0
        first.stdin.close()
    assert first.returncode == 1  # `read` at the end of its input
    assert person.run(launcher_command(["true"], name="here")).returncode == 0


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 41])
def test_odd_names_are_refused(person: Person, name: str) -> None:
    result = person.run(launcher_command(["true"], name=name))
    assert result.returncode == 2
    assert result.stderr.startswith("manyhomes: the name ")


def test_sigterm_ends_the_command_politely(person: Person) -> None:
    script = "trap 'echo bye; exit 3' TERM; echo up; while :; do read -t 1 x < <(:) ; done"
    with person.popen(launcher_command(["bash", "-c", script]), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.terminate()
        assert process.wait(timeout=30) == 3
        assert process.stdout.read() == "bye\n"


def test_python_and_its_packages_are_reachable(person: Person) -> None:
    code = "import topologies.addressing, mininet.net, sys; print(sys.version_info >= (3, 11))"
    result = person.run(launcher_command([sys.executable, "-c", code]), cwd="/")
    assert result.stdout == "True\n", result.stderr


def test_no_user_namespaces_for_an_ordinary_user(user: Person) -> None:
    """Said in one line with the cure. A limit in a namespace around it plays the strict host."""
    inner = shlex.join(["unshare", "--user", "--map-user=1234", *launcher_command(["true"])])
    script = f"echo 1 > /proc/sys/user/max_user_namespaces; exec {inner}"
    result = user.run(["unshare", "--user", "--map-root-user", "bash", "-c", script])
    assert result.returncode == 2
    assert result.stderr.startswith("manyhomes: no user namespaces for ordinary users here (")
    assert "`make doctor`" in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_user_namespaces_for_root_is_said_aloud(user: Person) -> None:
    script = "echo 0 > /proc/sys/user/max_user_namespaces; exec " + shlex.join(
        launcher_command(["ls", "/sys/class/net"])
    )
    result = user.run(["unshare", "--user", "--map-root-user", "bash", "-c", script])
    assert (result.returncode, result.stdout) == (0, "lo\n")
    assert "running as real root" in result.stderr
