"""Make the sandbox's namespaces, prepare them, run one command in them.

Executed by path with ``python -I -S``, so that it starts in a few milliseconds: it imports the
standard library alone. ``topologies/sandbox.py`` says who is whose parent.

Everything happens inside a user namespace even when the caller is root: there a remount of
``/sys`` cannot reach the host. Root's writes to global sysctls and to ``/sys`` still would (the
kernel compares the global user id), so those are made read-only where they could be written.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import re
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

SBIN = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
GRACE_SECONDS = 5
"""How long a command may take to end after SIGTERM."""

HIDDEN = ("/run", "/var/tmp")
"""Directories that a sandbox replaces by its own."""

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1

_libc = ctypes.CDLL(None, use_errno=True)


class SandboxError(Exception):
    """No sandbox can be made; the text says what failed and how to cure it, in one line."""


def check(result: int, what: str) -> None:
    """Raise OSError from errno when a C call failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """Mount one file system. Raises OSError."""
    arguments = (source.encode(), target.encode(), kind.encode(), flags, data.encode())
    check(_libc.mount(*arguments), f"mount {kind or source} on {target}")


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to kill this process when the thread that started it ends."""
    check(_libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0), "prctl PR_SET_PDEATHSIG")


def abstract_name(user: int, name: str) -> str:
    """Return the abstract socket address that holds a lab's name: gone with its holder."""
    return f"\0manyhomes/{user}/{name}"


def claim_name(name: str) -> socket.socket:
    """Return a socket bound to the lab's name.

    Raises SandboxError when the name is odd or somebody has it.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", name):
        raise SandboxError(f"the name {name!r}: letters, digits, '.', '_', '-', 40 at most")
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        holder.bind(abstract_name(os.getuid(), name))
    except OSError as error:
        raise SandboxError(
            f"a lab named {name!r} runs already: end it, or choose another with NAME=…"
        ) from error
    return holder


def new_namespaces() -> None:
    """Leave all of the caller's namespaces; the next child is pid 1 of its own.

    Raises SandboxError with the cure when the host forbids it.
    """
    user, group = os.getuid(), os.getgid()
    others = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC
    try:
        check(_libc.unshare(CLONE_NEWUSER | others), "unshare")
    except OSError as error:
        if user != 0:
            raise SandboxError(
                f"no user namespaces for ordinary users here ({error.strerror}): "
                "`make doctor` names the cure, or use `sudo make …`"
            ) from error
        try:
            check(_libc.unshare(others), "unshare")
        except OSError as error:
            raise SandboxError(
                f"root may not make namespaces here ({error.strerror}): in a container start it "
                "with --privileged; `make doctor` says more"
            ) from error
        print(
            "manyhomes: no user namespaces here: running as real root. What is written to /sys or "
            "to global settings would reach this machine.",
            file=sys.stderr,
        )
        return
    for file, text in (
        ("setgroups", "deny"),
        ("uid_map", f"0 {user} 1"),
        ("gid_map", f"0 {group} 1"),
    ):
        with open(f"/proc/self/{file}", "w") as stream:
            stream.write(text)


def protect_host() -> None:
    """Make ``/sys`` and the global sysctls read-only where this user could write them.

    That is real root, also in a user namespace. Network interfaces' own settings stay writable.
    A second, whole mount of each is kept out of sight: the kernel lets a sandbox within this one
    mount its own only where such a mount is to be seen.
    """
    if not os.access("/proc/sys/vm/swappiness", os.W_OK):
        return
    for kind, target, writable in (
        ("proc", "/proc/sys", "/proc/sys/net"),
        ("sysfs", "/sys", "/sys/devices/virtual/net"),
    ):
        whole = f"/run/manyhomes/{kind}"
        os.makedirs(whole, mode=0o700)
        mount(kind, whole, kind)
        if target == "/proc/sys":
            mount(target, target, "", MS_BIND)
        mount(writable, writable, "", MS_BIND)
        mount("", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY)


def mount_own(name: str) -> None:
    """Replace what would show or touch the host: /proc, /sys, /run, /var/tmp, /etc/group."""
    mount("", "/", "", MS_REC | MS_PRIVATE)
    for target, mode in (("/run", "755"), ("/var/tmp", "1777"), ("/dev/shm", "1777")):
        if os.path.isdir(target):
            mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode}")
    for folder in ("netns", "frr", "lock", "manyhomes", "tmp"):
        os.mkdir(f"/run/{folder}", 0o755)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    protect_host()
    with open("/run/manyhomes/lab", "w") as marker:
        marker.write(name + "\n")
    with open("/etc/group") as groups, open("/run/manyhomes/group", "w") as copy:
        copy.writelines(with_root_in_frrvty(line) for line in groups)
    mount("/run/manyhomes/group", "/etc/group", "", MS_BIND)


def with_root_in_frrvty(line: str) -> str:
    """Return a line of /etc/group with root as a member of frrvty (FRR's ``-u root`` wants it)."""
    if not line.startswith("frrvty:"):
        return line
    head, _, members = line.rstrip("\n").rpartition(":")
    return f"{head}:{','.join(filter(None, [*members.split(','), 'root']))}\n"


def loopback_up() -> None:
    """Bring up ``lo`` of this network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack("16xH14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def prepare(name: str) -> None:
    """Do everything that must be done inside before the command starts.

    Raises SandboxError when the host forbids one of the mounts.
    """
    try:
        mount_own(name)
        loopback_up()
        socket.sethostname(name)
    except OSError as error:
        raise SandboxError(
            f"{error.strerror}: this machine lets no sandbox mount its own; "
            "`make doctor` names the cure"
        ) from error


def environment(name: str) -> dict[str, str]:
    """Return the command's environment: sbin in PATH, temporary files in the sandbox's memory."""
    own = dict(os.environ)
    path = [entry for entry in own.get("PATH", "").split(":") if entry]
    own["PATH"] = ":".join(path + [entry for entry in SBIN if entry not in path])
    own.update(MANYHOMES_LAB=name, TMPDIR="/run/tmp", VTYSH_HISTFILE="/dev/null")
    own.pop("XDG_RUNTIME_DIR", None)
    return own


def start(command: list[str], name: str) -> int:
    """Start the command as a child and return its process id."""
    child = os.fork()
    if child:
        return child
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment(name))
    except OSError as error:
        print(f"manyhomes: {command[0]}: {error.strerror}", file=sys.stderr)
        os._exit(127)


def reap(child: int) -> int | None:
    """Collect every child that has ended; return the exit code of ``child`` if it is among them."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                code = exit_code(status)
    return code


def exit_code(status: int) -> int:
    """Return a shell's exit code for a wait status."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def init(command: list[str], name: str, holder: socket.socket, lifeline: int) -> int:
    """Be pid 1: prepare, run the command, reap, and return the command's exit code.

    Listens on the lab's name once all is ready; who connects learns this process's id from the
    socket's peer credentials (``topologies/labs.py``).
    """
    die_with_parent()
    if select.select([lifeline], [], [], 0)[0]:  # the launcher died before that took effect
        return 1
    prepare(name)
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_write)
    child = start_handled(command, name)
    holder.listen(16)
    while True:
        ready = select.select([holder.fileno(), wake_read], [], [])[0]
        if wake_read in ready:
            os.read(wake_read, 4096)
            if (code := reap(child)) is not None:
                return code
        if holder.fileno() in ready:
            with contextlib.suppress(OSError):
                holder.accept()[0].close()


def start_handled(command: list[str], name: str) -> int:
    """Start the command, pass SIGTERM on to it, leave SIGINT to it alone."""
    child = 0

    def terminate(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = start(command, name)
    signal.signal(signal.SIGTERM, terminate)
    return child


def launch(command: list[str], name: str, dies_with: int | None) -> int:
    """Make the namespaces, start init in them, wait for it; return its exit code."""
    if dies_with is not None:
        die_with_parent()
        if os.getppid() != dies_with:  # the parent died before that took effect
            return 1
    for path in (os.getcwd(), os.path.abspath(sys.executable)):
        if path.startswith(tuple(f"{hidden}/" for hidden in HIDDEN)):
            raise SandboxError(f"{path}: a sandbox hides /run and /var/tmp; work elsewhere")
    holder = claim_name(name)
    new_namespaces()
    lifeline, held_by_launcher = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(held_by_launcher)
        guarded(lambda: init(command, name, holder, lifeline))
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def kill(number: int, frame: FrameType | None) -> None:
        os.kill(child, signal.SIGKILL)

    def terminate(number: int, frame: FrameType | None) -> None:
        os.kill(child, signal.SIGTERM)
        signal.alarm(GRACE_SECONDS)

    signal.signal(signal.SIGALRM, kill)
    signal.signal(signal.SIGTERM, terminate)
    return exit_code(os.waitpid(child, 0)[1])


def guarded(function: Callable[[], int]) -> NoReturn:
    """Call and end the process with the returned exit code; a SandboxError is one line and 2."""
    try:
        code = function()
    except SandboxError as error:
        print(f"manyhomes: {error}", file=sys.stderr)
        code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> NoReturn:
    """Read the command line that topologies/sandbox.py writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default=f"{os.getpid()}")
    parser.add_argument("--dies-with", type=int)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    guarded(lambda: launch(options.command, options.name, options.dies_with))


if __name__ == "__main__":
    main()
