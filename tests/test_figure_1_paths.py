"""Figure 1 with its agents: it comes up, registers, and each correspondent has its own home agent.

One network for all; what these tests send is looked at once more at the end (I6, I7).
"""

import hashlib
import json
import random
import socket
import time

import pytest

from tests.figure_1.capture import Captured
from tests.figure_1.inside import inside
from tests.figure_1.keys import files_with_keys, found_in, notations
from tests.figure_1.lab import (
    CARE_OF,
    CORRESPONDENTS,
    HOME_ADDRESS,
    HOME_AGENT_ADDRESS,
    HOME_PREFIX,
    Lab,
)
from tests.figure_1.streams import MAGIC
from tests.figure_1.transfer import transfer
from tests.figure_1.tshark import decode
from tests.readiness import check_steps
from topologies.namespaces import call_in
from topologies.network import RUNTIME

pytestmark = pytest.mark.emulation

INNER, OUTER = 1402, 1500
HEADERS = 48  # IPv6 and ICMPv6 echo

# It comes up.


@inside
def test_every_step_to_readiness_is_recorded(figure_1: Lab) -> None:
    figure_1.wait_settled()
    check_steps(figure_1.network.timings)


@inside
def test_care_of_address_comes_by_slaac_with_the_token(figure_1: Lab) -> None:
    listing = figure_1.run("mn", "ip", "-6", "-j", "addr", "show", "dev", "mn-v1", check=True)
    (interface,) = json.loads(listing.stdout)
    found = {each["local"]: each for each in interface["addr_info"] if each["scope"] == "global"}
    assert set(found) == {"fd00:10:10:10::100"}
    assert found["fd00:10:10:10::100"]["dynamic"]  # no one but a router advertisement gives these
    assert "token ::100" in figure_1.run("mn", "ip", "token", "show", "dev", "mn-v1").stdout
    status = figure_1.agent("mn").ask("status")
    assert status["bound"]
    assert status["care_of_address"] == "fd00:10:10:10::100"


@inside
def test_binding_updates_wait_for_no_payload(figure_1: Lab) -> None:
    """They come to the nearest home agent by a device of their own, payload by the other one."""
    figure_1.wait_settled()

    def arrived(device: str) -> int:
        path = f"/sys/class/net/{device}/statistics/tx_packets"
        return int(figure_1.run("HA1", "cat", path, check=True).stdout)

    signalling, since = arrived("home-sig"), time.monotonic_ns()
    figure_1.agent("mn").ask("refresh")
    figure_1.wait(
        "the acknowledgement",
        lambda: "registration-acknowledged" in figure_1.kinds("mn", since),
    )
    assert arrived("home-sig") > signalling
    signalling, payload = arrived("home-sig"), arrived("home")
    figure_1.pings("mn", figure_1.address("cn1"), 5)
    assert arrived("home") >= payload + 5
    assert arrived("home-sig") == signalling


@inside
def test_every_home_agent_holds_binding_and_associations(figure_1: Lab) -> None:
    expected = {each.spi for each in figure_1.own_associations()}
    assert len(expected) == 4
    for name in figure_1.home_agents:
        binding = figure_1.binding(name)
        assert binding["care_of_address"] == CARE_OF["v1"]
        assert binding["primary"] == "HA1"
        assert figure_1.spis(name) == expected


# Registration on the wire.


@inside
def test_registration_is_seen_on_the_wire(figure_1: Lab) -> None:
    packets = [each for each in figure_1.registration if each.signalling]
    updates = [each for each in packets if each.outgoing]
    answers = [each for each in packets if not each.outgoing]
    assert updates
    assert answers
    for update in decode(figure_1, updates):
        assert not update.malformed
        assert update.headers == ["ipv6", "ipv6.dstopts", "esp", "mipv6"]
        assert update.one("ipv6.src") == CARE_OF["v1"]
        assert update.one("ipv6.dst") == HOME_AGENT_ADDRESS
        assert update.one("ipv6.opt.mipv6.home_address") == HOME_ADDRESS
        assert update.one("esp.icv_good") == "1"
        assert int(update.one("esp.spi"), 16) >> 24 == 1  # in the range of HA1, who holds the file
        assert update.one("mip6.mhtype") == "5"
        assert [update.one(f"mip6.bu.{flag}_flag") for flag in "ahlk"] == ["1", "1", "0", "0"]
        assert update.one("mip6.bu.lifetime") == "105"  # 420 s
        assert update.one("mip6.acoa.acoa") == CARE_OF["v1"]
        assert update.all("manyhomes.option") == ["1"]  # multi-sender capable
    sent = {each.one("mip6.bu.seqnr") for each in decode(figure_1, updates)}
    for answer in decode(figure_1, answers):
        assert not answer.malformed
        assert answer.headers == ["ipv6", "ipv6.routing", "ipv6.dstopts", "esp", "mipv6"]
        assert answer.one("ipv6.src") == HOME_AGENT_ADDRESS
        assert answer.one("ipv6.dst") == CARE_OF["v1"]
        assert answer.one("ipv6.routing.type") == "2"
        assert answer.one("ipv6.routing.segleft") == "1"
        assert answer.one("ipv6.routing.mipv6.home_address") == HOME_ADDRESS
        assert answer.one("manyhomes.origin") == figure_1.address("HA1")
        assert answer.one("esp.icv_good") == "1"
        assert answer.one("mip6.mhtype") == "6"
        assert answer.one("mip6.ba.status") == "0"
        assert answer.one("mip6.ba.seqnr") in sent
        assert answer.one("mip6.ba.lifetime") == "105"
        assert answer.one("manyhomes.multihomed") == "1"  # the M bit
        assert answer.all("manyhomes.option") == ["3"]  # SID table
        table = [answer.all(f"manyhomes.option.{part}") for part in ("index", "address")]
        assert table == [["1", "2", "3"], [figure_1.address(f"HA{n}") for n in (1, 2, 3)]]


# The path through each home agent.


@pytest.mark.parametrize("correspondent", CORRESPONDENTS)
@inside
def test_path_through_each_home_agent(figure_1: Lab, correspondent: str) -> None:
    """Each HA tunnels straight to the mobile node; HA1 is primary, and nearest to it."""
    nearest = CORRESPONDENTS[correspondent]
    assert {figure_1.binding(name)["primary"] for name in figure_1.home_agents} == {"HA1"}
    before = {name: figure_1.counters(name) for name in (*figure_1.home_agents, "mn")}
    with figure_1.capture("mn", "mn-v1") as capture:
        figure_1.pings(correspondent, HOME_ADDRESS, 7)
        tunnelled = [each for each in capture.packets() if each.spi]
    counted = {
        name: [
            figure_1.count(name, f"tunnel.{way}") - before[name].get(f"tunnel.{way}", 0)
            for way in ("sent", "received")
        ]
        for name in before
    }
    expected = {name: [7 * (name == nearest), 7 * (name == "HA1")] for name in figure_1.home_agents}
    assert counted == expected | {"mn": [7, 7]}
    down = [each for each in tunnelled if not each.outgoing]
    assert [each.origin for each in down] == 7 * [figure_1.address(nearest)]
    for each in decode(figure_1, down):
        assert not each.malformed
        assert each.headers[:5] == ["ipv6", "ipv6.dstopts", "esp", "ipv6", "icmpv6"]
        assert each.all("ipv6.src") == [HOME_AGENT_ADDRESS, figure_1.address(correspondent)]
        assert each.all("ipv6.dst") == [CARE_OF["v1"], HOME_ADDRESS]


@inside
def test_routing_agrees(figure_1: Lab) -> None:
    """What FRR says, what the kernel does, and where packets go are the same."""
    ways = {"br": "br-r1", "r1": "r1-HA1", "r2": "r2-HA2", "r3": "r3-HA3"}
    for router, way in ways.items():
        directory = str(RUNTIME / router)
        command = f"show ipv6 route {HOME_PREFIX} json"
        vtysh = ("vtysh", "--config_dir", directory, "--vty_socket", directory, "-c", command)
        (entries,) = json.loads(figure_1.run(router, *vtysh, check=True).stdout).values()
        (chosen,) = [each for each in entries if each.get("selected")]
        assert chosen["protocol"] == "ospf6"
        assert [hop["interfaceName"] for hop in chosen["nexthops"] if hop["fib"]] == [way]
        assert figure_1.home_route(router) == way
    for name in figure_1.home_agents:
        assert figure_1.has_own_home_route(name)


# Packet sizes (design §8).


@pytest.mark.parametrize("correspondent", CORRESPONDENTS)
@inside
def test_largest_inner_packet_fills_the_path(figure_1: Lab, correspondent: str) -> None:
    with figure_1.capture("mn", "mn-v1") as capture:
        for sender, target in (
            (correspondent, HOME_ADDRESS),
            ("mn", figure_1.address(correspondent)),
        ):
            figure_1.pings(sender, target, 2, INNER - HEADERS, "-M", "do")
        packets = [each for each in capture.packets() if each.spi]
    # 2 requests and 2 replies each way: none in pieces, those with ORIGIN_IP as long as the path.
    assert [each.length for each in packets if not each.outgoing] == 4 * [OUTER]
    assert [each.length for each in packets if each.outgoing] == 4 * [OUTER - 24]


@pytest.mark.parametrize("correspondent", CORRESPONDENTS)
@inside
def test_larger_inner_packet_is_told_the_size(figure_1: Lab, correspondent: str) -> None:
    refused = figure_1.ping(correspondent, HOME_ADDRESS, 1, INNER + 1 - HEADERS, "-M", "do", "-w3")
    assert " 0 received" in refused.stdout
    assert f"Packet too big: mtu={INNER}" in refused.stdout + refused.stderr
    route = figure_1.run(correspondent, "ip", "-6", "route", "get", HOME_ADDRESS).stdout
    assert f" mtu {INNER} " in route
    # Its kernel has learnt the size, and fragments: the whole arrives all the same.
    figure_1.pings(correspondent, HOME_ADDRESS, 2, 2000, "-M", "dont")


@inside
def test_full_outer_packet_reaches_the_home_agent(figure_1: Lab) -> None:
    """1500 octets to the HA address, in one piece: ESP with an SPI that nobody knows."""
    before = figure_1.count("HA1", "dropped.unknown-spi")
    with figure_1.capture("HA1", "HA1-r1") as capture:
        send_esp(figure_1, bytes.fromhex("01fffffe") + bytes(OUTER - 40 - 4))
        figure_1.wait(
            "the packet at HA1", lambda: figure_1.count("HA1", "dropped.unknown-spi") == before + 1
        )
        (arrived,) = [each for each in capture.packets() if each.spi == 0x01FFFFFE]
    assert arrived.length == OUTER
    figure_1.pings("cn1", HOME_ADDRESS, 1)


def send_esp(lab: Lab, payload: bytes) -> None:
    """Send one ESP packet from the care-of address to the HA address."""
    with call_in(
        lab.node("mn").pid,
        lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ESP),
    ) as sender:
        sender.bind((CARE_OF["v1"], 0))
        sender.sendto(payload, (HOME_AGENT_ADDRESS, 0))


TCP_OCTETS = 3_000_000


@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize("correspondent", ["cn1", "cn2"])
@inside
def test_tcp_transfer_is_intact(figure_1: Lab, correspondent: str, direction: str) -> None:
    ends = (correspondent, "mn") if direction == "down" else ("mn", correspondent)
    data = random.Random(8).randbytes(TCP_OCTETS)
    received = transfer(figure_1, *ends, data)
    assert received == hashlib.sha256(data).hexdigest()


# What must not be seen.


@inside
def test_nothing_in_the_clear_on_the_visited_link(figure_1: Lab) -> None:
    """I6: every packet of the home address is inside ESP there, whoever sends and however."""
    secret = MAGIC.hex()
    with (
        figure_1.capture("mn", "mn-v1") as visited,
        figure_1.capture("cn2", "cn2-r2") as outside,
        figure_1.streams() as streams,
    ):
        streams.await_running(0)
        for name in CORRESPONDENTS:
            figure_1.pings(name, HOME_ADDRESS, 2, 32, "-p", secret)
            figure_1.pings("mn", figure_1.address(name), 2, 32, "-p", secret)
        # Also to the router on that very link, and to the home agents.
        figure_1.pings("mn", "fd00:10:10:10::fe", 2, 32, "-p", secret, "-I", HOME_ADDRESS)
        streams.finish()
        seen = [*figure_1.registration, *visited.packets()]
        in_the_open = outside.packets()
    home = socket.inet_pton(socket.AF_INET6, HOME_ADDRESS)
    assert len([each for each in seen if each.spi]) > 200
    for each in seen:
        assert home not in (each.source, each.destination)
        assert MAGIC not in each.octets
        assert each.spi is not None or is_neighbourly(each), each
    # The same test finds them where they are in the clear: between a CN and its HA.
    assert any(home == each.source and MAGIC in each.octets for each in in_the_open)
    assert any(home == each.destination and MAGIC in each.octets for each in in_the_open)


def is_neighbourly(packet: Captured) -> bool:
    """Router or neighbour discovery, or multicast listener reports: ICMPv6 130 to 143."""
    octets = packet.octets
    if octets[6] == 0:  # hop-by-hop: the reports' router alert
        return octets[40] == 58 and 130 <= octets[48] <= 143
    return octets[6] == 58 and 133 <= octets[40] <= 137


@inside
def test_no_key_in_logs_or_answers(figure_1: Lab) -> None:
    """I7: not in the run folder, not on the control sockets, in no usual notation."""
    keys = figure_1.keys()
    assert len(keys) == 4 + 3 * 2
    assert all(file.stat().st_mode & 0o077 == 0 for file in (RUNTIME / "keys").iterdir())
    assert not files_with_keys(figure_1.logs, keys)
    for agent in (*figure_1.home_agents.values(), figure_1.agent("mn")):
        for command in ("status", "bindings", "sas", "peers", "counters"):
            assert not found_in(json.dumps(agent.ask(command)).encode(), keys)
    # The search finds a key where there is one.
    planted = figure_1.folder / "planted"
    for number, note in enumerate(notations(keys[-1])):
        planted.mkdir(exist_ok=True)
        (planted / "note.log").write_bytes(b"key: " + note + b"\n")
        assert files_with_keys(planted, keys), number
