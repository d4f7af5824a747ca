"""Work inside a node's network namespace from this process, without starting another.

A thread may enter a network namespace on its own; a socket that it opens there stays there. So a
short-lived thread is all it takes to watch or to change a node's links and routes within
microseconds, where ``mnexec`` and ``ip`` would take milliseconds and smear every time stamp.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def call_in(pid: int, function: Callable[[], T]) -> T:
    """Run ``function`` in the network namespace of process ``pid`` and return its result.

    Raises what the function raises, and OSError when the namespace cannot be entered.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with open(f"/proc/{pid}/ns/net") as namespace:
                if _libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, f"setns to {pid}: {os.strerror(number)}")
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def set_sysctls(pid: int, settings: dict[str, int]) -> None:
    """Set ``net.*`` sysctls of a namespace; keys are paths below /proc/sys/net.

    A key that starts with ``?`` is left out silently where this kernel does not have it.
    """

    def write() -> None:
        for key, value in settings.items():
            path = Path("/proc/sys/net", key.removeprefix("?"))
            if key.startswith("?") and not path.exists():
                continue
            path.write_text(str(value))

    call_in(pid, write)
