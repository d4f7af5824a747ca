"""One mobile node on its own, with packets made by hand: any number, SID, ORIGIN_IP, header."""

import random
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from agents.config import MobileNodeConfig, Mode
from agents.core.events import Event
from agents.core.mobile_node import MobileNode
from agents.core.replay_window import sender_id
from agents.keys import KeyedAssociation, SaMode, Transform
from agents.wire import esp, ipv6
from agents.wire.destination_options import Option, OriginIp, serialize_destination_options
from agents.wire.mobility import (
    BindingAcknowledgement,
    BindingUpdate,
    MobilityMessage,
    parse_mobility,
    serialize_mobility,
)
from agents.wire.mobility_options import MobilityOption, SidEntry, sid_tables
from agents.wire.routing import RoutingType2, serialize_routing
from agents.wire.status import Status

HOME = IPv6Network("fd00:192:168:1::/64")
ANYCAST = IPv6Address("fd00:192:168:1::254")
HOA = IPv6Address("fd00:192:168:1::100")
COA = IPv6Address("fd00:10:10:10::100")
COA2 = IPv6Address("fd00:10:10:20::100")
CN = IPv6Address("fd00:c::1")
HA = {index: IPv6Address(f"fd00:1:{index}::{index}") for index in range(1, 64)}
INNER = ipv6.build(CN, HOA, ipv6.UDP, b"\x04\x57\x08\xae" + bytes(4) + b"hello")
UP = ipv6.build(HOA, CN, ipv6.UDP, b"\x04\x57\x08\xae" + bytes(4) + b"hello")
TABLE = tuple(SidEntry(index, HA[index]) for index in (1, 2, 3))
TO_HOME_AGENT = {SaMode.TRANSPORT: 0x01000100, SaMode.TUNNEL: 0x01000101}
TO_MOBILE_NODE = {SaMode.TRANSPORT: 0x00001000, SaMode.TUNNEL: 0x00001001}


class Bench:
    """`build` and `ack` make packets of home agent `index`; `take` has the engine receive one."""

    def __init__(
        self,
        mode: Mode = Mode.HARDENED,
        *,
        origin_option: bool = True,
        multi_sender: bool = True,
        start: bool = True,
    ) -> None:
        self.mode = mode
        self.now = 50.0
        self.random = random.Random(7)
        transform = Transform(mode.transform)
        self.keys = [
            KeyedAssociation(
                spi, source, destination, sa, transform, self.random.randbytes(transform.key_length)
            )
            for spis, source, destination in (
                (TO_HOME_AGENT, HOA, ANYCAST),
                (TO_MOBILE_NODE, ANYCAST, HOA),
            )
            for sa, spi in spis.items()
        ]
        self.ciphers = {key.spi: esp.make_cipher(key.transform, key.key) for key in self.keys}
        self.config = MobileNodeConfig(
            name="mn",
            home_address=HOA,
            home_agent_address=ANYCAST,
            home_prefix=HOME,
            directory=Path("unused"),
            key_file=Path("mn.toml"),
            mode=mode,
            origin_option=origin_option,
            multi_sender=multi_sender,
            lifetime=400.0,
        )
        self.engine = MobileNode(self.config, self.random.randbytes)
        self.engine.load_keys(self.keys, self.now)
        if start:
            self.engine.care_of_address_added(COA, "mn-v1", self.now)
            self.engine.start(self.now)

    # Packets

    def seal(
        self,
        spi: int,
        payload: bytes,
        next_header: int,
        number: int,
        index: int = 1,
        incarnation: int = 1,
    ) -> bytes:
        counter = number.to_bytes(8, "big")
        if self.mode is Mode.DRAFT_CBC:
            iv = self.random.randbytes(16)
        elif self.mode is Mode.DRAFT:
            iv = counter
        else:
            iv = sender_id(index, incarnation).to_bytes(2, "big") + counter[2:]
        return self.ciphers[spi].seal(spi, number, iv, payload, next_header)

    def tunnel(
        self,
        number: int,
        index: int = 1,
        *,
        origin: IPv6Address | bool | None = True,
        incarnation: int = 1,
        inner: bytes = INNER,
        next_header: int = ipv6.IPV6,
        spi: int = TO_MOBILE_NODE[SaMode.TUNNEL],
        source: IPv6Address = ANYCAST,
        destination: IPv6Address = COA,
    ) -> bytes:
        """A tunnel packet of home agent `index`; `origin` True is that agent's own address."""
        sealed = self.seal(spi, inner, next_header, number, index, incarnation)
        if isinstance(origin, bool):
            origin = HA[index] if origin else None
        if origin is None:
            return ipv6.build(source, destination, ipv6.ESP, sealed)
        return with_options(sealed, (OriginIp(origin),), source, destination)

    def signal(
        self,
        message: MobilityMessage | bytes,
        number: int,
        index: int = 1,
        *,
        origin: bool = True,
        incarnation: int = 1,
        routing: IPv6Address | None = HOA,
        next_header: int = ipv6.MOBILITY,
        source: IPv6Address = ANYCAST,
        destination: IPv6Address = COA,
    ) -> bytes:
        """A protected Mobility Header message as home agent `index` sends it."""
        if not isinstance(message, bytes):
            message = serialize_mobility(message, ANYCAST, HOA)
        spi = TO_MOBILE_NODE[SaMode.TRANSPORT]
        payload = self.seal(spi, message, next_header, number, index, incarnation)
        following = ipv6.ESP
        if origin:
            payload = serialize_destination_options(ipv6.ESP, (OriginIp(HA[index]),)) + payload
            following = ipv6.DESTINATION_OPTIONS
        if routing is not None:
            payload = serialize_routing(following, RoutingType2(routing)) + payload
            following = ipv6.ROUTING
        return ipv6.build(source, destination, following, payload)

    def ack(
        self,
        number: int,
        index: int = 1,
        *,
        status: int = 0,
        sequence: int | None = None,
        lifetime: int = 100,
        multihomed: bool = True,
        table: Sequence[SidEntry] | None = TABLE,
        version: int = 1,
        options: tuple[MobilityOption, ...] = (),
        origin: bool = True,
        incarnation: int = 1,
        destination: IPv6Address = COA,
        routing: IPv6Address | None = HOA,
    ) -> bytes:
        """A Binding Acknowledgement for the newest Binding Update, or for `sequence`."""
        if self.mode is Mode.HARDENED and table is not None:
            options += sid_tables(version, table)
        message = BindingAcknowledgement(
            status=Status(status),
            sequence=self.engine.registration.sequence if sequence is None else sequence,
            lifetime=lifetime,
            multihomed=multihomed,
            options=options,
        )
        return self.signal(
            message,
            number,
            index,
            origin=origin,
            incarnation=incarnation,
            destination=destination,
            routing=routing,
        )

    # What the engine does

    def bind(self, **changes: object) -> "Bench":
        self.take(self.ack(1, **changes))  # type: ignore[arg-type]
        assert self.engine.registration.bound
        self.sent()
        self.events()
        return self

    def take(self, packet: bytes) -> list[bytes]:
        """Have the engine receive `packet`; return what it delivers to its host."""
        self.engine.receive(packet, self.now)
        return self.engine.packets_to_deliver()

    def drops(self, packet: bytes, reason: str) -> None:
        """Assert that `packet` is counted under `reason`, and that the node lives on after it."""
        before, state = self.engine.counters[f"dropped.{reason}"], self.snapshot()
        others = self.dropped()
        assert self.take(packet) == []
        assert self.engine.counters[f"dropped.{reason}"] == before + 1, dict(self.engine.counters)
        assert self.dropped() == others + 1
        assert self.snapshot() == state

    def dropped(self) -> int:
        return sum(n for name, n in self.engine.counters.items() if name.startswith("dropped."))

    def snapshot(self) -> tuple[object, ...]:
        """All that a dropped packet must not change."""
        engine = self.engine
        registration = engine.registration
        return (
            registration.state,
            registration.expires,
            registration.sequence,
            registration.outstanding,
            engine.next_timer(),
            engine._senders.multihomed,
            engine._senders.version,
            engine._senders.table,
            [repr(_content(each.windows)) for each in engine._associations],
        )

    def sent(self) -> list[bytes]:
        return self.engine.packets_to_send(self.now)

    def updates(self) -> list[BindingUpdate]:
        """The Binding Updates among `signals`."""
        return [each for each in self.signals() if isinstance(each, BindingUpdate)]

    def signals(self) -> list[MobilityMessage]:
        """The protected messages among what the engine has to send, opened."""
        found: list[MobilityMessage] = []
        for packet in map(ipv6.parse, self.sent()):
            if packet.home_address is not None:
                payload, _ = self.ciphers[TO_HOME_AGENT[SaMode.TRANSPORT]].open(packet.payload)
                found.append(parse_mobility(payload, HOA, ANYCAST))
        return found

    def events(self) -> list[Event]:
        return list(iter(self.engine.next_event, None))


def with_options(
    sealed: bytes,
    options: Sequence[Option],
    source: IPv6Address = ANYCAST,
    destination: IPv6Address = COA,
) -> bytes:
    header = serialize_destination_options(ipv6.ESP, options)
    return ipv6.build(source, destination, ipv6.DESTINATION_OPTIONS, header + sealed)


def _content(windows: object) -> object:
    held = getattr(windows, "windows", None)
    if held is None:
        window = windows.window  # type: ignore[attr-defined]
        return window.highest, window.seen
    return {
        sender: (each[0], each[1].highest, each[1].seen)
        if isinstance(each, tuple)
        else (each.highest, each.seen)
        for sender, each in held.items()
    }


Maker = Callable[[Bench], bytes]
