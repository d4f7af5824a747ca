"""Two charons and what they must do without our engine: proof that the harness is sound.

Run in a sandbox; prints what it saw as one JSON object.
"""

import json
import os
import sys
from ipaddress import IPv6Address

from tests.runtime_lab import run
from tests.strongswan.charon import Charon
from tests.strongswan.configuration import connection
from tests.strongswan.network import INNER_OURS, INNER_THEIRS, OURS, THEIRS, add_node, connect, ip

SECRET = b"two charons"


def begin(node: str, outer: list[IPv6Address], inner: list[IPv6Address]) -> Charon:
    """Start a charon that knows the other one; the first address of each pair is its own."""
    other = {"east": "west", "west": "east"}[node]
    ip(node, "addr", "add", f"{inner[0]}/128", "dev", "lo")
    charon = Charon(node)
    child = {"local_ts": [f"{inner[0]}/128"], "remote_ts": [f"{inner[1]}/128"]}
    charon.load(
        connection("pair", outer[0], outer[1], (node, other), {"payload": child}),
        {node: SECRET, other: SECRET},
    )
    return charon


def main() -> None:
    for node in ("east", "west"):
        add_node(node)
    connect("east", "west", OURS, THEIRS)
    east = begin("east", [OURS, THEIRS], [INNER_OURS, INNER_THEIRS])
    west = begin("west", [THEIRS, OURS], [INNER_THEIRS, INNER_OURS])

    def ping() -> bool:
        command = ("ping", "-c", "2", "-i", "0.01", "-W", "3", "-q", str(INNER_THEIRS))
        return run("east", *command).returncode == 0

    east.initiate("payload")
    try:
        east.await_event("child-updown")
    except AssertionError:
        print(east.report(), west.report(), sep="\n\n", file=sys.stderr)
        raise
    (association,) = west.associations()
    (child,) = association["child-sas"].values()
    seen = {
        "state": child["state"],
        "port": association["local-port"],
        "ping": ping(),
        "links": [each for each in os.listdir("/sys/class/net") if each != "lo"],
        "run": sorted(os.listdir(east.directory)),
        "host": os.path.lexists("/run/charon.vici"),
    }
    for charon in (east, west):
        charon.reset()
    seen["ping after the end"] = ping()
    seen["codes"] = [charon.stop() for charon in (east, west)]
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
