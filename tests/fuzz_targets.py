"""What the fuzzer gives octets to: every parser of `agents/wire`, and the engines' receivers.

A target is a row of `TARGETS`: samples to start from, and a function that takes any octets and
raises nothing but what a caller expects (`WireError`). A further parser is a further row.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv6Address, IPv6Network

import ike_samples
import ike_world
import wire_samples as samples
from distant_world import FAR, DistantWorld
from ike_world import IkeWorld
from world import ANYCAST, COA, HOA, World, own_address

from agents.config import Mode, RouteOptimisation
from agents.core.ike.endpoint import Datagram
from agents.wire import icmpv6, ipv6
from agents.wire.address_blocks import parse_address_blocks, serialize_address_blocks
from agents.wire.checksum import pseudo_header_checksum
from agents.wire.destination_options import (
    HomeAddress,
    parse_destination_options,
    serialize_destination_options,
)
from agents.wire.errors import WireError
from agents.wire.esp import Transform, make_cipher, peek
from agents.wire.ike.message import (
    parse_chain,
    parse_message,
    serialize_chain,
    serialize_message,
)
from agents.wire.inter_ha import parse_inter_ha, serialize_inter_ha
from agents.wire.mobility import parse_mobility, serialize_mobility
from agents.wire.mobility_options import parse_options
from agents.wire.routing import parse_routing
from tests.homes_world import ROUTER, TwoHomes, anycast
from tests.mobile_bench import TABLE, Bench

Run = Callable[[bytes], None]

ENGINE_LIFE = 2000
"""Inputs after which an engine that may believe what it is given is made anew."""


@dataclass(frozen=True)
class Target:
    """Samples, and what is to survive octets made from them; `share` of all inputs."""

    corpus: Callable[[], list[bytes]]
    make: Callable[[], Run]
    share: int = 1


def parser(parse: Callable[[bytes], object]) -> Callable[[], Run]:
    """Return a maker of the run for a parser: a message or a `WireError` with a right pointer."""

    def run(octets: bytes) -> None:
        try:
            parse(octets)
        except WireError as error:
            inside = error.pointer is None or 0 <= error.pointer < max(1, len(octets))
            if not inside:
                raise AssertionError(f"{error} points at {error.pointer}") from error

    return lambda: run


# Samples.


def headers() -> list[bytes]:
    return [header for header, _, _ in samples.control_headers().values()]


def destination_options() -> list[bytes]:
    return [
        serialize_destination_options(ipv6.ESP, options)
        for options in samples.DESTINATION_OPTIONS.values()
    ]


def address_blocks() -> list[bytes]:
    prefixes = [IPv6Network(each) for each in ("fd00:192:168:1::/64", "fd00::/9", "::1/128")]
    return [serialize_address_blocks(prefixes[:count]) for count in (1, 3)]


def routing_headers() -> list[bytes]:
    return [bytes.fromhex(samples.vectors()["Type 2 routing header"])]


def esp_packets() -> list[bytes]:
    return [each.seal() for each in samples.ESP_SAMPLES.values()]


@cache
def whole_packets(mode: Mode = Mode.HARDENED) -> list[bytes]:
    """Everything that engines said to one another in a short and eventful life."""
    world = talking(mode)
    return world.seen[-600:]


def talking(mode: Mode, **home_agent: object) -> World:
    """Return two home agents and a mobile node that have said most of what can be said."""
    world = World(2, mode, **home_agent)
    world.start_all()
    world.start_mn()
    world.up()
    world.down(1)
    world.run(0.3)
    world.kill(2)
    world.run(0.5)
    world.start_ha(2)
    world.run(0.5)
    world.seen += [ipv6.build(samples.CN, HOA, ipv6.UDP, b"\x04\x57\x08\xae" + bytes(8))]
    return world


# Parsers.


def mobility(octets: bytes) -> object:
    return parse_mobility(octets, samples.HOA, samples.HA)


def mobility_under_checksum(octets: bytes) -> object:
    """What is taken must also be one that can be written."""
    header = samples.with_checksum(octets, samples.HOA, samples.HA)
    message = parse_mobility(header, samples.HOA, samples.HA)
    return serialize_mobility(message, samples.HOA, samples.HA)


def inter_ha(octets: bytes) -> object:
    return parse_inter_ha(octets, samples.HA1, samples.HA2)


def inter_ha_under_checksum(octets: bytes) -> object:
    header = samples.with_checksum(octets, samples.HA1, samples.HA2)
    message = parse_inter_ha(header, samples.HA1, samples.HA2)
    return serialize_inter_ha(message, samples.HA1, samples.HA2)


def errors_about(octets: bytes) -> object:
    """ICMPv6 errors quote whatever arrived."""
    pointer = len(octets) // 2
    return (
        icmpv6.parameter_problem(samples.HA1, octets, 0, pointer),
        icmpv6.destination_unreachable(samples.HA1, octets),
        icmpv6.packet_too_big(samples.HA1, octets, 1280),
    )


def packet_too_big(octets: bytes) -> object:
    """What a router says of whatever it got, cut off anywhere."""
    answer = icmpv6.packet_too_big(samples.HA1, octets, 1300)
    return answer and icmpv6.parse_packet_too_big(ipv6.parse(answer)).quoted


# Engines.


def home_agent(mode: Mode) -> Callable[[], Run]:
    """Anybody's packets: no exception, no change of a binding, and it still serves."""

    def make() -> Run:
        world = talking(mode)
        engine, count = world.has[1], itertools.count(1)
        before = [(e["care_of_address"], e["sequence"]) for e in engine.bindings()]

        def run(octets: bytes) -> None:
            engine.receive(octets, world.now)
            now = [(e["care_of_address"], e["sequence"]) for e in engine.bindings()]
            assert now == before
            if next(count) % 500 == 0:
                engine.packets_to_send(world.now)
                alive(world)

        return run

    return make


@cache
def packets_by_map() -> list[bytes]:
    """What reached an HA's own address while a CN → HA map was made and used."""
    own = own_address(2).packed
    return [packet for packet in mapped().seen if packet[24:40] == own][-200:]


def mapped() -> DistantWorld:
    """Return home agents and a mobile node that sends to HA2's own address."""
    world = DistantWorld()
    world.begin()
    world.talk(5.0)
    return world


def home_agent_by_map() -> Run:
    """Anybody's packets to the own address: no exception, no change, and flows go on."""
    world, count = mapped(), itertools.count(1)
    engine = world.has[2]
    before = [(e["care_of_address"], e["sequence"]) for e in engine.bindings()]

    def run(octets: bytes) -> None:
        engine.receive(octets, world.now)
        assert [(e["care_of_address"], e["sequence"]) for e in engine.bindings()] == before
        if next(count) % 100 == 0:
            engine.packets_to_send(world.now)
            assert world.via(FAR) == 2
            world.seen.clear()

    return run


def alive(world: World) -> None:
    """The positive probe after packets that get no answer."""
    before = len(world.at_mobile)
    world.run(0.2)
    world.down(1)
    world.run(0.05)
    assert len(world.at_mobile) == before + 1
    world.seen.clear()


def renewed(make: Callable[[], Run]) -> Callable[[], Run]:
    """Return a maker whose run begins anew every `ENGINE_LIFE` inputs."""

    def maker() -> Run:
        state: list[Run] = [make()]
        count = itertools.count(1)

        def run(octets: bytes) -> None:
            if next(count) % ENGINE_LIFE == 0:
                state[0] = make()
            state[0](octets)

        return run

    return maker


def home_agent_under_peers_key() -> Run:
    """A peer that is out of its mind: authentic, and still no exception."""
    world = talking(Mode.HARDENED, route_optimisation=RouteOptimisation.MAP)
    engine, other = world.has[1], world.has[2]._context
    peer = other.peers.by_index(1)
    assert peer is not None

    def run(octets: bytes) -> None:
        header = octets
        if len(octets) >= 6:
            header = samples.with_checksum(octets, own_address(2), own_address(1))
        if len(header) >= 12:  # as if it knew the receiver's incarnation
            header = header[:10] + engine.incarnation.to_bytes(2) + header[12:]  # type: ignore[union-attr]
            header = samples.with_checksum(header, own_address(2), own_address(1))
        other.send_sealed(peer, header, ipv6.MOBILITY)
        engine.receive(other.to_send.pop(), world.now)
        world.now += 0.0005
        engine.handle_timer(world.now)
        engine.packets_to_send(world.now)
        engine.packets_to_deliver()
        while engine.next_event() is not None:
            pass

    return run


def home_agent_under_mobile_key() -> Run:
    """A mobile node that is out of its mind."""
    world = talking(Mode.HARDENED)
    engine, mobile = world.has[1], world.mn
    assert mobile is not None
    associations = [each for each in mobile._associations if each.destination == ANYCAST]
    turns = itertools.cycle(associations)
    options = serialize_destination_options(ipv6.ESP, (HomeAddress(HOA),))

    def run(octets: bytes) -> None:
        association = next(turns)
        payload = octets
        if association.mode.name == "TUNNEL":
            sealed = mobile._esp.seal(association, payload, ipv6.IPV6)
            packet = ipv6.build(COA, ANYCAST, ipv6.ESP, sealed)
        else:
            if len(octets) >= 6:
                payload = samples.with_checksum(octets, HOA, ANYCAST)
            sealed = mobile._esp.seal(association, payload, ipv6.MOBILITY)
            packet = ipv6.build(COA, ANYCAST, ipv6.DESTINATION_OPTIONS, options + sealed)
        engine.receive(packet, world.now)
        world.now += 0.0005
        engine.handle_timer(world.now)
        engine.packets_to_send(world.now)
        engine.packets_to_deliver()
        while engine.next_event() is not None:
            pass

    return run


def mobile_node(mode: Mode) -> Callable[[], Run]:
    """Anybody's packets: no exception, no change of the registration."""

    def make() -> Run:
        bench = Bench(mode).bind()
        registration = bench.engine.registration

        def run(octets: bytes) -> None:
            before = registration.state, registration.sequence, registration.expires
            assert bench.take(octets) == []
            assert before == (registration.state, registration.sequence, registration.expires)
            bench.sent()

        return run

    return make


def mobile_node_packets(mode: Mode) -> Callable[[], list[bytes]]:
    """Packets that its home agents seal under other keys than this node's."""

    def corpus() -> list[bytes]:
        other = Bench(mode)
        other.ciphers = {
            spi: make_cipher(each.transform, bytes(each.transform.key_length))
            for spi, each in ((k.spi, k) for k in other.keys)
        }
        return (
            [other.tunnel(number) for number in range(1, 9)]
            + [other.ack(9, table=TABLE), other.signal(b"\x3b" + bytes(15), 10)]
            + whole_packets(mode)
        )

    return corpus


def mobile_node_under_home_agents_key() -> Run:
    """A home agent that is out of its mind."""
    bench = Bench(Mode.HARDENED).bind()
    numbers = itertools.count(100)

    def run(octets: bytes) -> None:
        payload = samples.with_checksum(octets, ANYCAST, HOA) if len(octets) >= 6 else octets
        bench.take(bench.signal(payload, next(numbers)))
        bench.take(bench.tunnel(next(numbers), inner=octets))
        bench.now += 0.001
        bench.engine.handle_timer(bench.now)
        bench.sent()
        bench.events()

    return run


def unreachable_messages() -> list[bytes]:
    """ICMPv6 errors about what a mobile node with two homes sent, and what else there is."""
    world = TwoHomes().bind()
    sent = [each for each in world.seen if each[24:40] == anycast(1).packed]
    errors = [icmpv6.destination_unreachable(ROUTER, each) for each in sent]
    return [*whole_packets(), *(each for each in errors if each is not None)]


def mobile_node_with_two_homes() -> Run:
    """Anybody's packets, checksums of ICMPv6 made right: probes at most, no other choice."""
    world = TwoHomes().bind()

    def run(octets: bytes) -> None:
        world.up(1)
        before = world.mn.bindings(), world.mn.choice.chosen
        if len(octets) >= 44 and octets[6] == ipv6.ICMPV6:
            source, destination = IPv6Address(octets[8:24]), IPv6Address(octets[24:40])
            body = octets[40:42] + bytes(2) + octets[44:]
            right = pseudo_header_checksum(source, destination, ipv6.ICMPV6, body)
            world.mn.receive(octets[:42] + right.to_bytes(2) + octets[44:], world.now)
        world.mn.receive(octets, world.now)
        world.mn.encapsulate(octets, world.now)
        after = world.mn.bindings(), world.mn.choice.chosen
        assert world.mn.packets_to_deliver() == []
        assert [row["expires"] for row in before[0]] == [row["expires"] for row in after[0]]
        assert before[1] == after[1] == 1
        world.run(0.01)

    return run


def mobile_nodes_host() -> Run:
    bench = Bench(Mode.HARDENED).bind()

    def run(octets: bytes) -> None:
        bench.engine.encapsulate(octets, bench.now)
        bench.sent()

    return run


def ike_messages() -> list[bytes]:
    """Whole messages: the golden ones, and those of an establishment, uncut and in fragments."""
    said = list(ike_samples.fragments())
    for size in (1280, 220):
        world = IkeWorld(
            ike_world.mobile_config(fragment_size=size), ike_world.home_config(fragment_size=size)
        )
        world.establish()
        said += [each.payload for each in world.log]
    return [serialize_message(*each) for each in ike_samples.MESSAGES.values()] + said


def ike_chains() -> list[bytes]:
    """Chains of payloads behind the octet that tells the type of the first."""
    chains = map(serialize_chain, ike_samples.CHAINS.values())
    return [bytes((kind,)) + octets for kind, octets in chains]


def ike_chain(octets: bytes) -> object:
    return parse_chain(octets[0], octets[1:]) if octets else None


def ike_endpoint() -> Run:
    """Anybody's datagrams, at both ports: no exception, and the IKE SA stands."""
    world = IkeWorld()
    world.establish()
    standing, ports = world.ha.sa, itertools.cycle((500, 4500))

    def run(octets: bytes) -> None:
        port = next(ports)
        world.ha.engine.receive(
            Datagram(ike_world.COA, port, ike_world.HA, port, octets), world.now
        )
        world.now += 0.0005
        world.ha.engine.handle_timer(world.now)
        world.ha.engine.datagrams_to_send()
        while world.ha.engine.next_event() is not None:
            pass
        assert standing in world.ha.engine.sas()

    return run


GCM = make_cipher(Transform.AES_128_GCM, samples.SA.key)
CHACHA = make_cipher(
    Transform.CHACHA20_POLY1305, samples.ESP_SAMPLES["ChaCha20-Poly1305, tunnel"].key
)
CBC = make_cipher(Transform.AES_128_CBC_HMAC_SHA2_256, samples.CBC_SA.key)

TARGETS: dict[str, Target] = {
    "ipv6": Target(whole_packets, parser(ipv6.parse), 3),
    "mobility": Target(headers, parser(mobility)),
    "mobility, right checksum": Target(headers, parser(mobility_under_checksum), 3),
    "mobility options": Target(headers, parser(lambda octets: parse_options(octets, 0))),
    "inter-HA": Target(headers, parser(inter_ha)),
    "inter-HA, right checksum": Target(headers, parser(inter_ha_under_checksum), 3),
    "destination options": Target(destination_options, parser(parse_destination_options), 2),
    "routing header": Target(routing_headers, parser(parse_routing)),
    "address blocks": Target(address_blocks, parser(parse_address_blocks)),
    "ESP head": Target(esp_packets, parser(peek)),
    "ESP, AES-GCM": Target(esp_packets, parser(GCM.open)),
    "ESP, ChaCha20-Poly1305": Target(esp_packets, parser(CHACHA.open)),
    "ESP, AES-CBC": Target(esp_packets, parser(CBC.open)),
    "ICMPv6 errors": Target(whole_packets, parser(errors_about)),
    "Packet Too Big": Target(whole_packets, parser(packet_too_big)),
    "home agent": Target(whole_packets, home_agent(Mode.HARDENED), 2),
    "home agent, draft": Target(lambda: whole_packets(Mode.DRAFT), home_agent(Mode.DRAFT)),
    "home agent, draft-cbc": Target(
        lambda: whole_packets(Mode.DRAFT_CBC), home_agent(Mode.DRAFT_CBC)
    ),
    "home agent, by a map": Target(packets_by_map, home_agent_by_map),
    "home agent, a peer's key": Target(headers, renewed(home_agent_under_peers_key), 2),
    "home agent, a mobile node's key": Target(headers, renewed(home_agent_under_mobile_key), 2),
    "mobile node": Target(mobile_node_packets(Mode.HARDENED), mobile_node(Mode.HARDENED), 2),
    "mobile node, draft": Target(mobile_node_packets(Mode.DRAFT), mobile_node(Mode.DRAFT)),
    "mobile node, a home agent's key": Target(
        headers, renewed(mobile_node_under_home_agents_key), 2
    ),
    "mobile node with two homes": Target(
        unreachable_messages, renewed(mobile_node_with_two_homes), 2
    ),
    "mobile node's host": Target(whole_packets, mobile_nodes_host),
    "IKE": Target(ike_messages, parser(parse_message), 3),
    "IKE payloads": Target(ike_chains, parser(ike_chain), 3),
    "IKE endpoint": Target(ike_messages, renewed(ike_endpoint), 2),
}
