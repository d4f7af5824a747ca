"""Figure 1 with two home agents at equal distance from the border: the messages of one mobile node
part (D15). What that costs, what goes on all the same, and what cures it (docs/anycast.md).
"""

import socket
import time
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv6Address

import pytest

from agents.wire import ipv6
from agents.wire.destination_options import HomeAddress, serialize_destination_options
from agents.wire.udp import serialize_udp
from experiments.detection import configure
from tests.figure_1.inside import inside
from tests.figure_1.lab import HOME_ADDRESS, HOME_PREFIX, Lab
from topologies import addressing
from topologies.frr_config import home_redistribution
from topologies.namespaces import call_in, set_sysctls
from topologies.plan import MultipathHash

pytestmark = [
    pytest.mark.emulation,
    pytest.mark.parametrize("figure_1", ["hardened+ike+ecmp=l3"], indirect=True),
]

WAYS = {"HA1": "br-r1", "HA2": "br-r2"}
ANYCAST = addressing.HOME_AGENT_ADDRESS
MANY = 100
FIRST = 0x1000
"""Host part of the first care-of address that is tried."""

# What a mobile node sends to the HA address, with SPIs in nobody's range: no HA asks its peers.
ESP = bytes.fromhex("fe000001 00000001") + bytes(40)
BINDING_UPDATE = serialize_destination_options(
    ipv6.ESP, [HomeAddress(addressing.home_address(9))]
) + bytes.fromhex("fe000000 00000001") + bytes(40)  # fmt: skip
KINDS = {"BU": ipv6.DESTINATION_OPTIONS, "ESP": ipv6.ESP, "IKE": ipv6.UDP}


def care_of(number: int) -> IPv6Address:
    return addressing.visited_prefix(1)[FIRST + number]


def messages(source: IPv6Address) -> list[bytes]:
    """Return a Binding Update, payload and IKE, as they look to a router."""
    ike = serialize_udp(source, 500, ANYCAST, 500, bytes(28))
    return [
        ipv6.build(source, ANYCAST, next_header, payload)
        for next_header, payload in zip(KINDS.values(), (BINDING_UPDATE, ESP, ike), strict=True)
    ]


def reached(lab: Lab, sources: Iterable[IPv6Address]) -> dict[IPv6Address, dict[str, str]]:
    """Send these messages from each address; return which HA each kind of each was sent to."""
    chosen = list(sources)
    found: dict[IPv6Address, dict[str, str]] = {each: {} for each in chosen}
    kinds = {number: kind for kind, number in KINDS.items()}
    raw = call_in(
        lab.node("v1").pid,
        lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
    )
    with lab.capture("br", WAYS["HA1"]) as one, lab.capture("br", WAYS["HA2"]) as two, raw:

        def all_there() -> bool:
            for name, capture in (("HA1", one), ("HA2", two)):
                for each in capture.packets():
                    source = IPv6Address(each.source)
                    if each.outgoing and source in found:
                        found[source][kinds[each.octets[6]]] = name
            return all(len(each) == len(KINDS) for each in found.values())

        for source in chosen:
            for packet in messages(source):
                raw.sendto(packet, (str(ANYCAST), 0))
        lab.wait("every packet at a home agent's router", all_there)
    return found


def parted(found: dict[IPv6Address, dict[str, str]]) -> int:
    """How many mobile nodes' messages did not all reach the same home agent?"""
    return sum(len(set(each.values())) > 1 for each in found.values())


def set_hash(lab: Lab, hashed: MultipathHash) -> None:
    set_sysctls(lab.node("br").pid, {"ipv6/fib_multipath_hash_policy": hashed.policy})


def hops(lab: Lab) -> set[str]:
    """Return the interfaces by which FRR's chosen route of the border leads home."""
    zebra = lab.network.routing.on["br"].daemons["zebra"]
    answer = zebra.ask_json(f"show ipv6 route {HOME_PREFIX}")
    (chosen,) = [each for entries in answer.values() for each in entries if each.get("selected")]
    return {hop["interfaceName"] for hop in chosen["nexthops"] if hop.get("fib")}


@inside
def test_the_border_has_two_equal_ways(figure_1: Lab) -> None:
    figure_1.wait("both ways", lambda: hops(figure_1) == set(WAYS.values()))


@pytest.mark.parametrize("hashed", MultipathHash)
@inside
def test_messages_of_one_mobile_node_part(figure_1: Lab, hashed: str) -> None:
    """Under every hash of Linux some mobile nodes register here and send there."""
    set_hash(figure_1, MultipathHash(hashed))
    found = reached(figure_1, map(care_of, range(MANY)))
    assert {name for each in found.values() for name in each.values()} == set(WAYS)
    # With a coin for each kind of message all three agree in a quarter of the cases.
    assert 20 < parted(found) < MANY
    if hashed == MultipathHash.INNER:  # it takes both for ESP between the same addresses
        assert all(each["BU"] == each["ESP"] for each in found.values())


@inside
def test_a_parted_mobile_node_is_served(figure_1: Lab) -> None:
    """BU at one HA, payload and IKE at the other: binding and SAs are shared, IKE is relayed."""
    set_hash(figure_1, MultipathHash.L3)
    found = reached(figure_1, map(care_of, range(MANY)))
    wanted = {"BU": "HA1", "ESP": "HA2", "IKE": "HA2"}
    address = next(each for each, ways in found.items() if ways == wanted)
    change = partial(figure_1.run, "mn", "ip", "-6", "addr", check=True)
    added = (f"{address}/64", "dev", "mn-v1")
    move_to(figure_1, address, lambda: change("add", *added, "nodad"))
    assert figure_1.binding("HA2")["primary"] == "HA1"
    before = {name: figure_1.counters(name) for name in figure_1.home_agents}

    def grown(name: str, counter: str) -> int:
        return figure_1.count(name, counter) - before[name].get(counter, 0)

    with figure_1.streams() as streams:
        streams.await_running(0)
        began = time.monotonic_ns()
        figure_1.agent("HA1").ask("renew", home_address=HOME_ADDRESS)
        figure_1.wait("the end", lambda: "sa-deleted" in figure_1.kinds("HA1", began))
        streams.await_running(time.monotonic_ns())
        streams.finish()
    assert {each.name: each.lost() for each in streams.all if each.lost()} == {}
    assert grown("HA1", "tunnel.received") == 0
    assert grown("HA2", "tunnel.received") > 100
    assert grown("HA2", "ike.relayed") >= 4
    for name in figure_1.home_agents:
        dropped = {each for each in figure_1.counters(name) if each.startswith("dropped.")}
        assert not dropped & {"dropped.replay", "dropped.left-of-window", "dropped.internal-error"}
    original = IPv6Address(addressing.care_of_address(1))
    move_to(figure_1, original, lambda: change("del", *added))


def move_to(lab: Lab, address: IPv6Address, change: Callable[[], object]) -> None:
    """Change the addresses of the mobile node; wait until every HA knows the new one."""
    change()
    for name in lab.home_agents:
        lab.wait(
            f"{name} to know {address}",
            lambda: lab.binding(name).get("care_of_address") == str(address),  # noqa: B023
        )


@inside
def test_flows_of_one_correspondent_by_both_home_agents(figure_1: Lab) -> None:
    """From CN to MN that is what the draft wants: a number and a window for each home agent."""
    before = {name: figure_1.count(name, "tunnel.sent") for name in WAYS}
    with call_in(
        figure_1.node("mn").pid, lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    ) as receiver:
        receiver.bind((HOME_ADDRESS, 0))
        receiver.settimeout(10)
        senders = [
            call_in(
                figure_1.node("cn1").pid, lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            )
            for _ in range(40)  # each has a flow label of its own
        ]
        for sender in senders:
            with sender:
                sender.sendto(b"flow", (HOME_ADDRESS, receiver.getsockname()[1]))
        assert {receiver.recv(99) for _ in senders} == {b"flow"}
    sent = {name: figure_1.count(name, "tunnel.sent") - before[name] for name in WAYS}
    assert sum(sent.values()) == 40
    assert min(sent.values()) > 0


@inside
def test_distinct_metrics_cure_it(figure_1: Lab) -> None:
    daemon = figure_1.network.routing.on["HA2"].daemons["ospf6d"]
    configure(daemon, ["router ospf6", home_redistribution(3)])
    try:
        figure_1.wait("one way", lambda: hops(figure_1) == {WAYS["HA1"]})
        figure_1.wait("the kernel to follow", lambda: figure_1.home_route("br") == WAYS["HA1"])
        found = reached(figure_1, map(care_of, range(MANY)))
        assert {name for each in found.values() for name in each.values()} == {"HA1"}
    finally:
        configure(daemon, ["router ospf6", home_redistribution(2)])
    figure_1.wait("both ways again", lambda: hops(figure_1) == set(WAYS.values()))
