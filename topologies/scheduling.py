"""Ask the scheduler for short waits: what measures or moves packets shall run when it wakes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct

SLICE_NS = 100_000
SCHED_ATTRIBUTES = struct.Struct("=IIQiIQQQ")  # struct sched_attr, see sched_setattr(2)
SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
PR_SET_TIMERSLACK = 29


def hurry(policy: int = os.SCHED_FIFO) -> None:
    """Ask the scheduler to run this process as soon as it wakes: its pauses spoil a trial.

    A short time slice (SLICE_NS; Linux 6.12, no privilege needed) lets it go before those with
    longer ones; real-time priority, where this user may have it, before all. Kernels that know
    neither leave things as they are.
    """
    attributes = SCHED_ATTRIBUTES.pack(SCHED_ATTRIBUTES.size, 0, 0, 0, 0, SLICE_NS, 0, 0)
    number = SCHED_SETATTR.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(number, 0, attributes, 0)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, policy, os.sched_param(1))


def wake_on_time() -> None:
    """Let this thread's timers expire when they are due, not up to 50 µs later (timer slack)."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
