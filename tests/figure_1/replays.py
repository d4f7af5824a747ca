"""Somebody on the path who repeats what was seen on the mobile node's link."""

import socket
import time
from collections.abc import Iterable

from tests.figure_1.capture import Captured
from tests.figure_1.lab import Lab
from topologies.namespaces import call_in

BATCH = 100
AT_MOST = 3000


def replay(lab: Lab, packets: Iterable[Captured], node: str) -> int:
    """Send these packets again from a router of the transit AS; return how many."""
    chosen = [each for each in packets if each.spi is not None][-AT_MOST:]

    def opened() -> socket.socket:
        raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        return raw

    with call_in(lab.node(node).pid, opened) as raw:
        for start in range(0, len(chosen), BATCH):
            for each in chosen[start : start + BATCH]:
                raw.sendto(each.octets, (str(each.parsed.destination), 0))  # type: ignore[union-attr]
            time.sleep(0.01)  # the receivers' queues are short
    return len(chosen)
