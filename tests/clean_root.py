"""Run a command in another root file system: `clean_root.py ROOT COMMAND…`, started by root.

pivot_root in a mount and process namespace of its own, not chroot: within a chroot the kernel makes
no user namespace. The network is the host's, so that packages can be fetched. Everything that the
command starts ends with this process. Standard library only.
"""

import ctypes
import os
import signal
import sys

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result != 0:
        raise SystemExit(f"clean_root: {what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    words = (source.encode(), target.encode(), kind.encode(), flags, data.encode())
    check(libc.mount(*words), f"mount on {target}")


def enter(root: str) -> None:
    mount("", "/", "", MS_REC | MS_PRIVATE)
    mount(root, root, "", MS_BIND)
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("sysfs", f"{root}/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("tmpfs", f"{root}/dev", "tmpfs", MS_NOSUID, "mode=755")
    for name, minor, major, mode in (
        ("null", 3, 1, 0o666), ("zero", 5, 1, 0o666), ("full", 7, 1, 0o666),
        ("random", 8, 1, 0o666), ("urandom", 9, 1, 0o666), ("tty", 0, 5, 0o666),
        ("net/tun", 200, 10, 0o666),
    ):  # fmt: skip
        path = f"{root}/dev/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.mknod(path, mode | 0o020000, os.makedev(major, minor))
        os.chmod(path, mode)
    for name in ("pts", "shm"):
        os.mkdir(f"{root}/dev/{name}")
    mount("devpts", f"{root}/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666,mode=620,gid=5")
    os.symlink("pts/ptmx", f"{root}/dev/ptmx")
    os.symlink("/proc/self/fd", f"{root}/dev/fd")
    mount("tmpfs", f"{root}/dev/shm", "tmpfs", 0, "mode=1777")
    mount("tmpfs", f"{root}/run", "tmpfs", 0, "mode=755")
    os.chdir(root)
    check(libc.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    check(libc.umount2(b".", MNT_DETACH), "umount")
    os.chdir("/")


def main() -> None:
    root, command = os.path.realpath(sys.argv[1]), sys.argv[2:]
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
    check(libc.unshare(CLONE_NEWNS | CLONE_NEWPID), "unshare")
    child = os.fork()
    if child == 0:
        check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
        enter(root)
        worker = os.fork()
        if worker == 0:
            os.execv(command[0], command)  # an absolute path: a search would import more
        while True:
            pid, status = os.wait()
            if pid == worker:
                os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)


if __name__ == "__main__":
    main()
