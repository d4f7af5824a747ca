"""Three ASes announce one prefix to a fourth that validates; runs inside a sandbox.

`python -m tests.rpki_scenario`. What FRR says of every route is compared with RFC 6811's table.
"""

import tempfile
import time
from collections.abc import Callable
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from topologies import rpki
from topologies.frr import Daemon
from topologies.frr_config import DETECTIONS, EXPORT_MAP, RoutingOptions
from topologies.frr_programs import RoutingError
from topologies.import_policy import EVERYTHING, NOT_INVALID, OriginOptions, registered_only
from topologies.network import Network
from topologies.plan import LinkPlan, NodePlan, Plan, Protocol, Role
from topologies.plan_topo import PlanTopo
from topologies.route_origins import State, Vrp, validate
from topologies.rpsl import Route6

PREFIX = IPv6Network("fd00:192:168::/48")
PART = IPv6Network("fd00:192:168:1::/64")
SPEAKERS = {"a1": 1, "a2": 2, "h3": 3}
ONE, TWO, NOBODY = Vrp(PREFIX, 1), Vrp(PREFIX, 2), Vrp(PREFIX, 0)
TABLE: dict[str, tuple[Vrp, ...]] = {
    "no ROA": (),
    "ROA for AS 1 only": (ONE,),
    "ROAs for both": (ONE, TWO),
    "AS 0 only": (NOBODY,),
    "AS 0 beside AS 2": (NOBODY, TWO),
    "maxLength 64": (Vrp(PREFIX, 1, 64),),
}


class Star(PlanTopo):
    """The validator in the middle."""

    def build(self) -> None:
        roles = dict.fromkeys(SPEAKERS, Role.HIJACKER)  # a stub with no network of its own
        nodes = {
            name: NodePlan(name, roles.get(name, Role.TRANSIT), asn, number, number)
            for number, (name, asn) in enumerate({**SPEAKERS, "t": 100}.items(), start=1)
        }
        links = tuple(
            LinkPlan("t", name, Protocol.BGP, IPv6Network(f"fd00:100:{asn}::/64"), 1, 2)
            for name, asn in SPEAKERS.items()
        )
        self.add_plan(Plan("star", "a star", nodes, links, ()), False, "off")


def await_true(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.01)


def announce(bgpd: Daemon, asn: int, prefix: IPv6Network) -> None:
    bgpd.configure([f"router bgp {asn}", "address-family ipv6 unicast", f"network {prefix}"])


def states(bgpd: Daemon, prefix: IPv6Network = PREFIX) -> dict[str, State | None]:
    return {held.path: held.state for held in rpki.routes(bgpd, prefix)}


def scenario(network: Network) -> None:
    assert network.validation is not None
    validation, on = network.validation, network.routing.on
    bgpd = on["t"].daemons["bgpd"]

    # The session is up, and what it brought is what the cache has.
    assert rpki.connected(bgpd)
    assert rpki.payloads_of(bgpd) == {ONE}
    assert rpki.routes(bgpd, PREFIX) == []
    for name, asn in SPEAKERS.items():
        announce(on[name].daemons["bgpd"], asn, PREFIX)
    announce(on["a1"].daemons["bgpd"], 1, PART)
    # AS 3 says besides that it is the way to AS 1's more specific prefix.
    forger = on["h3"].daemons["bgpd"]
    forger.configure(
        [
            f"ipv6 prefix-list FORGED permit {PART}",
            f"route-map {EXPORT_MAP} permit 5",
            "match ipv6 address prefix-list FORGED",
            "set as-path prepend 1",
        ]
    )
    announce(forger, 3, PART)
    await_true(lambda: set(states(bgpd)) == {"1", "2", "3"}, "three routes")
    await_true(lambda: set(states(bgpd, PART)) == {"1", "3 1"}, "two more specific ones")

    # Every row of the table, for every route, without a session being reset.
    for what, payloads in TABLE.items():
        validation.publish(payloads)
        assert rpki.payloads_of(bgpd) == set(payloads)
        expected = {path: validate(PREFIX, int(path), payloads) for path in ("1", "2", "3")}
        specific = {path: validate(PART, 1, payloads) for path in ("1", "3 1")}
        await_true(lambda e=expected: states(bgpd) == e, f"{what}: {expected}")  # type: ignore[misc]
        await_true(lambda e=specific: states(bgpd, PART) == e, f"{what}: {specific}")  # type: ignore[misc]

    # A filter works on what was heard before, and so does a change of ROAs below it.
    validation.publish([ONE])
    validation.use(NOT_INVALID, ["t"])
    await_true(lambda: set(states(bgpd)) == {"1"}, "AS 2 and AS 3 to be filtered")
    validation.publish([ONE, TWO])
    await_true(lambda: set(states(bgpd)) == {"1", "2"}, "AS 2 to be back with its ROA")
    validation.use(registered_only([Route6(PREFIX, 2), Route6(PART, 1)]), ["t"])
    await_true(lambda: set(states(bgpd)) == {"2"}, "AS 2 alone, as registered")
    # The origin is all that a registry can tell.
    await_true(lambda: set(states(bgpd, PART)) == {"1", "3 1"}, "a forged origin beside the true")
    validation.use(EVERYTHING, ["t"])
    await_true(lambda: set(states(bgpd)) == {"1", "2", "3"}, "everything")

    # A line that bgpd does not take is named.
    with pytest.raises(RoutingError, match="t: bgpd does not take 'match nonsense'"):
        bgpd.configure(["route-map X permit 10", "match nonsense"])

    # Without its cache a router goes on with what it has; who waits for it is told why.
    validation.caches["t"].stop()
    await_true(lambda: not rpki.connected(bgpd), "the session to end")
    assert states(bgpd)["3"] is State.INVALID
    with pytest.raises(RoutingError, match="t: stayrtr ended with -9"):
        validation.wait()
    validation.restart("t")
    validation.wait()
    assert states(bgpd)["3"] is State.INVALID


def main() -> None:
    options = RoutingOptions(
        detection=DETECTIONS["bfd-50x3"], origins=OriginOptions(("t",), (ONE,), EVERYTHING)
    )
    with tempfile.TemporaryDirectory(dir="/run") as logs:
        network = Network(Star(), Path(logs), options)
        try:
            network.start()
            assert "RPKI in step" in network.timings
            scenario(network)
        finally:
            network.stop()


if __name__ == "__main__":
    main()
