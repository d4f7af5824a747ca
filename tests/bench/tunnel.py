"""How fast is the tunnel? One TCP flow cn → ha → mn and back by iperf3, and ping's round trips.

    .venv/bin/python -m topologies.sandbox .venv/bin/python -m tests.bench.tunnel [--profile]

Two forwarding hops lie between the agents. With --profile, cProfile's output of both agents is
printed for the downward flow.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

from agents.config import Mode
from tests import runtime_lab as lab


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def flow(client: str, target: str, seconds: int, *options: str) -> dict[str, object]:
    command = ["iperf3", "-6", "-J", "-c", target, "-t", str(seconds), *options]
    done = lab.run(client, *command)
    result = json.loads(done.stdout)
    if "error" in result:
        raise SystemExit(f"iperf3: {result['error']}")
    return result["end"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", default="hardened", choices=[str(each) for each in Mode])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp())
    lab.build()
    lab.configure(directory, Mode(arguments.mode))
    if arguments.profile:
        lab.PYTHON = [sys.executable, str(Path(__file__).with_name("profiled.py"))]
    agents = {role: lab.start(directory, role) for role in ("ha", "mn")}
    lab.await_true(lambda: lab.bound(directory), "the binding")
    home = str(lab.HOME_ADDRESS)
    for node in ("cn", "mn"):
        lab.spawn(node, "iperf3", "-s", "-D")
    time.sleep(0.3)
    ping = lab.run("cn", "ping", "-c", "100", "-i", "0.01", "-q", home).stdout
    print(re.findall(r"rtt.*", ping))
    cases = [("down", "cn", home), ("up", "mn", str(lab.CORRESPONDENT))]
    for name, client, target in cases[: 1 if arguments.profile else 2]:
        before = {role: cpu(process.pid) for role, process in agents.items()}
        counters = {role: lab.ask(directory, role, "counters") for role in agents}
        end = flow(client, target, arguments.seconds)
        used = {role: cpu(p.pid) - before[role] for role, p in agents.items()}
        print(
            f"{name}: {end['sum_received']['bits_per_second'] / 1e6:.0f} Mbit/s, "
            f"retransmits {end['sum_sent']['retransmits']}, CPU "
            + ", ".join(f"{role} {100 * t / arguments.seconds:.0f} %" for role, t in used.items())
        )
        for role in agents:
            after = lab.ask(directory, role, "counters")
            print(" ", role, {k: v - counters[role].get(k, 0) for k, v in after.items()
                              if v != counters[role].get(k, 0)})  # fmt: skip
    for process in agents.values():
        process.terminate()
        process.wait()
    for role in agents:
        log = directory / role / "agent.log"
        print(log.read_text() if log.exists() else "", end="")


if __name__ == "__main__":
    main()
