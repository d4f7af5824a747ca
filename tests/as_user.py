"""Run a command as an ordinary user: `as_user.py UID REPOSITORY COMMAND…`, started by root.

In a mount namespace of its own: /dev/net/tun is a node that everybody may open (as udev makes it;
the machine's own is left alone), and the repository can be reached by its usual path even where a
folder above it is closed. Standard library only.
"""

import ctypes
import os
import stat
import sys
import tempfile

CLONE_NEWNS = 0x00020000
MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 0x1000, 0x2000, 0x4000, 0x40000
libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result != 0:
        raise SystemExit(f"as_user: {what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = (source.encode(), target.encode(), kind.encode(), flags, data.encode())
    check(libc.mount(*words), f"mount on {target}")


def open_tun(scratch: str) -> None:
    """Put a node that everybody may open over /dev/net/tun."""
    node = f"{scratch}/tun"
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(10, 200))
    os.chmod(node, 0o666)
    mount(node, "/dev/net/tun", "", MS_BIND)


def open_way(path: str, scratch: str) -> None:
    """Make `path` reachable where a folder above it is closed to others."""
    parents = ["/"]
    for part in path.strip("/").split("/")[:-1]:
        parents.append(os.path.join(parents[-1], part))
    closed = [folder for folder in parents if not os.stat(folder).st_mode & stat.S_IXOTH]
    if not closed:
        return
    keep = f"{scratch}/keep"
    os.mkdir(keep)
    mount(path, keep, "", MS_BIND | MS_REC)
    mount("tmpfs", closed[0], "tmpfs", 0, "mode=755")
    os.makedirs(path)
    mount(keep, path, "", MS_BIND | MS_REC)


def main() -> None:
    user, repository, command = int(sys.argv[1]), os.path.realpath(sys.argv[2]), sys.argv[3:]
    check(libc.unshare(CLONE_NEWNS), "unshare")
    mount("", "/", "", MS_REC | MS_PRIVATE)
    scratch = tempfile.mkdtemp(prefix="manyhomes-as-user-")
    mount("tmpfs", scratch, "tmpfs", 0, "mode=755")
    open_tun(scratch)
    open_way(repository, scratch)
    check(libc.umount2(scratch.encode(), 2), "umount")
    os.rmdir(scratch)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
