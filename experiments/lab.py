"""`make lab`: a topology with its agents, and a prompt. ``NAME=…`` tells several labs apart.

``TOPO=multi_as`` takes Figure 2 instead of Figure 1; there ``SET='hijacker=on rov=on'`` adds AS 3,
and lets the transit ASes validate route origins, with a ROA for each home AS;
``SET='has=5 mns=2 mode=draft keys=files detector=keepalive penalty=100'`` changes what comes up.

The outermost process, like every run's: its end, however it comes, ends everything it started.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from agents.config import Detector, Mode, RouteOptimisation
from experiments.owner import INSIDE, refuse_keys
from experiments.parameters import (
    Known,
    ParameterError,
    Parameters,
    one_of,
    parse,
    whole_number,
)
from experiments.run import REPOSITORY, RunError, give_to_caller, results_folder, writing
from experiments.sizes import SIZES, topology
from topologies import sandbox
from topologies.advertise import AdvertiserError
from topologies.agents import AgentError, AgentOptions
from topologies.cli import LabCLI
from topologies.frr import RoutingError
from topologies.frr_config import RoutingOptions
from topologies.import_policy import everybody_validates
from topologies.network import Network
from topologies.nodes import ShellError
from topologies.registry import TOPOLOGIES

NAME = "lab"
"""The name of a lab that was given none."""
KNOWN = Known(
    topologies=tuple(TOPOLOGIES),
    trials=1,
    quick_trials=1,
    settings={
        "mode": one_of(Mode),
        "keys": one_of(("ike", "ike-secret", "files")),
        "detector": one_of(Detector),
        "penalty": whole_number(0, 10000),
        "rov": one_of(("on", "off")),
        "optimisation": one_of(RouteOptimisation),
        "hold_down": one_of(("on", "off")),
    },
    sizes=SIZES,
)


def chosen() -> Parameters:
    """Return what TOPO and SET ask for; raises ParameterError."""
    return parse(KNOWN, [], {name: os.environ.get(name, "") for name in ("TOPO", "SET")})


def outside(name: str) -> int:
    """Run the lab in a sandbox of its own; return the exit code."""
    folder = make_folder(name)
    # Ctrl-C at the prompt is for what runs there; a handler, because children inherit "ignore".
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    command = [sys.executable, "-m", "experiments.lab", INSIDE, str(folder)]
    child = sandbox.popen(command, name=name, cwd=REPOSITORY)
    return int(child.wait())


def make_folder(name: str) -> Path:
    """Make the folder for the logs and captures of one lab."""
    path = results_folder() / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    with writing(path.parent):
        path.mkdir(parents=True)
    give_to_caller(path)
    return path


def inside(folder: Path) -> int:
    """Bring everything up and run the prompt."""
    begin = time.monotonic()
    parameters = chosen()
    settings = parameters.settings
    topo = topology(parameters.topology, settings)
    print(f"{topo.plan.title} comes up; logs below {folder}", flush=True)
    options = AgentOptions(
        mode=Mode(settings.get("mode", Mode.HARDENED)),
        ike=settings.get("keys", "ike") != "files",
        mobile_secret=settings.get("keys") == "ike-secret",
        detector=Detector(settings.get("detector", Detector.HELLO)),
        metric_penalty=settings.get("penalty", 0),
        route_optimisation=RouteOptimisation(settings.get("optimisation", RouteOptimisation.OFF)),
        hold_down=settings.get("hold_down", "off") == "on",
    )
    origins = everybody_validates(topo.plan) if settings.get("rov") == "on" else None
    network = Network(topo, folder, RoutingOptions(origins=origins), options)
    try:
        network.start()
        network.start_agents()
        print(f"ready after {time.monotonic() - begin:.1f} s; `help` lists commands", flush=True)
        LabCLI(network)
    finally:
        network.stop()
        refuse_keys(folder)
    return 0


def main(arguments: list[str]) -> int:
    """Run a lab; what goes wrong is one line and exit code 2."""
    try:
        if arguments[:1] == [INSIDE]:
            return inside(Path(arguments[1]))
        chosen()
        return outside(os.environ.get("NAME") or NAME)
    except (
        AdvertiserError,
        AgentError,
        ParameterError,
        RoutingError,
        RunError,
        ShellError,
    ) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
