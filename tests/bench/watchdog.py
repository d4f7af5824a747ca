"""How long until the home route of a hung agent is gone? SIGSTOP at random phase, in ms.

.venv/bin/python -m topologies.sandbox .venv/bin/python -m tests.bench.watchdog
"""

import os
import random
import signal
import statistics
import tempfile
import time
from pathlib import Path

from tests import runtime_lab as lab


def main() -> None:
    directory = Path(tempfile.mkdtemp())
    lab.build()
    lab.configure(directory)
    agent = lab.start(directory, "ha")

    def route() -> bool:
        return f"{lab.HOME} dev home" in lab.ip("ha", "route")

    delays = []
    for _ in range(30):
        lab.await_true(route, "the home route")
        time.sleep(0.2 + random.random() * 0.01)
        trips = sum(each["kind"] == "watchdog-trip" for each in lab.events(directory, "ha"))
        begin = time.monotonic_ns()
        os.kill(agent.pid, signal.SIGSTOP)

        def tripped(before: int = trips) -> bool:
            kinds = [each["kind"] for each in lab.events(directory, "ha")]
            return kinds.count("watchdog-trip") > before

        lab.await_true(tripped, "the watchdog")
        last = [e for e in lab.events(directory, "ha") if e["kind"] == "watchdog-trip"][-1]
        delays.append((last["t"] - begin) / 1e6)
        os.kill(agent.pid, signal.SIGCONT)
    delays.sort()
    print(f"median {statistics.median(delays):.1f}, max {delays[-1]:.1f}, min {delays[0]:.1f} ms")
    agent.terminate()
    agent.wait()


if __name__ == "__main__":
    main()
