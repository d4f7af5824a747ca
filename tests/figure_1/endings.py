"""What is tried in the sandbox before Figure 1 ends; see tests/test_figure_1_leftovers.py."""

import os
from pathlib import Path

from tests.figure_1.lab import CORRESPONDENTS, HOME_ADDRESS, Lab


def traffic_passes(lab: Lab) -> int:
    """Through each home agent; return who this is outside."""
    lab.wait_settled()
    for correspondent in CORRESPONDENTS:
        lab.pings(correspondent, HOME_ADDRESS)
    _, outside, _ = Path("/proc/self/uid_map").read_text().split()
    return int(outside)


def a_stop_ends_everything(lab: Lab) -> None:
    """Without any help of the kernel, no process, link or namespace stays."""
    namespaces = {namespace(each) for each in processes()}
    assert len(namespaces) == 1 + len(lab.network.nodes)
    lab.stop()
    mine = {1, os.getpid()}
    lab.wait(f"all but {mine} to end", lambda: set(processes()) <= mine)
    assert {namespace(each) for each in processes()} == {namespace(os.getpid())}
    assert os.listdir("/run/netns") == []
    assert os.listdir("/sys/class/net") == ["lo"]


def processes() -> list[int]:
    return [int(each) for each in os.listdir("/proc") if each.isdigit()]


def namespace(process: int) -> str:
    try:
        return os.readlink(f"/proc/{process}/ns/net")
    except OSError:  # it has ended
        return namespace(os.getpid())
