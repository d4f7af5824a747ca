"""Kernels, FRR, packets and plan on a running Figure 2, at rest and after failures.

Plain functions on a running network; as a module (`-m tests.multi_as_catchment`, in a sandbox) they
run on one of their own.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from topologies.catchment import differences, routed, sources
from topologies.frr_config import DETECTIONS, RoutingOptions
from topologies.multi_as import MultiAs
from topologies.network import Network
from topologies.path_model import PathModel

SETTLED = 20.0  # seconds: a deadline for hangs


def await_agreement(network: Network, model: PathModel) -> None:
    """Wait until routing has settled on what the plan says; AssertionError tells what has not."""
    until = time.monotonic() + SETTLED
    while left := differences(network, model):
        assert time.monotonic() < until, left
        time.sleep(0.05)


def at_rest(network: Network) -> None:
    """Each source has the home agent that Figure 2 means for it."""
    model = PathModel(network.plan)
    await_agreement(network, model)
    (home,) = network.plan.homes
    serving = {name: routed(network, name, home).home_agent for name in sources(network.plan)}
    assert serving == {"cn1": "HA11", "cn2": "HA21", "v1": "HA12", "v2": "HA11", "v3": "HA21"}
    (told,) = differences(network, PathModel(network.plan, home_agents=("HA11", "HA21", "HA22")))
    assert told.startswith("v1: "), "a plan that is wrong about HA12 is found out"


def home_agents_die(network: Network) -> None:
    """The neighbour in the AS takes over, then the other AS; and all goes back."""
    everyone = set(network.agents.home_agents)
    network.agents["HA12"].kill()
    await_agreement(network, PathModel(network.plan, home_agents=everyone - {"HA12"}))
    network.agents["HA11"].kill()
    await_agreement(network, PathModel(network.plan, home_agents={"HA21", "HA22"}))
    network.agents.heal()
    await_agreement(network, PathModel(network.plan))


def links_are_cut(network: Network) -> None:
    """A stub's preferred link, then an AS's preferred uplink: the others carry."""
    for a, b in (("t1", "c1"), ("t1", "br11")):
        network.faults.cut(a, b)
        link = network.plan.link_between(a, b)
        links = tuple(replace(each, up=each.up and each != link) for each in network.plan.links)
        await_agreement(network, PathModel(replace(network.plan, links=links)))
        network.faults.heal()
        await_agreement(network, PathModel(network.plan))


ALL = (at_rest, home_agents_die, links_are_cut)


def main() -> int:
    """Run them all on one network."""
    with tempfile.TemporaryDirectory() as folder:
        # No neighbour is silent here, so none has to be noticed soon, or given up in vain.
        routing = RoutingOptions(detection=DETECTIONS["ospf-1-4"])
        network = Network(MultiAs(static=False), Path(folder), routing)
        try:
            network.start()
            network.start_agents()
            for check in ALL:
                check(network)
        finally:
            network.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
