"""Two IKE endpoints wired back to back in memory, with a fake clock."""

import random
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address
from typing import TypeVar

from agents.core.ike.ciphers import IkeCipher, SealingKey
from agents.core.ike.config import ChildRequest, IkeConfig, IkePeerConfig, IkeTimers
from agents.core.ike.endpoint import Datagram, IkeEndpoint
from agents.core.ike.events import IkeEvent
from agents.core.ike.protection import open_message, seal
from agents.core.ike.sa import IkeSa
from agents.core.timers import TimerQueue
from agents.wire.ike.identity import Identity
from agents.wire.ike.message import parse_message
from agents.wire.ike.payloads import Payload
from agents.wire.ike.selectors import TrafficSelector
from agents.wire.transforms import Mode, Transform

HOA = IPv6Address("fd00:192:168:1::100")
HA = IPv6Address("fd00:192:168:1::254")
COA = IPv6Address("fd00:10:10:10::100")
ANYWHERE = TrafficSelector(0, IPv6Address("::"), IPv6Address("ffff:" * 7 + "ffff"))
MN_ID = Identity.of(HOA)
HA_ID = Identity.of("ha.home.example")
SECRET = b"a secret of the two"
DELAY = 0.01

SIGNALLING = ChildRequest(
    "signalling",
    (TrafficSelector.of(HOA, 135),),
    (TrafficSelector.of(HA, 135),),
    Mode.TRANSPORT,
    Transform.AES_128_GCM,
)
PAYLOAD = ChildRequest(
    "payload", (TrafficSelector.of(HOA),), (ANYWHERE,), Mode.TUNNEL, Transform.AES_128_GCM
)

E = TypeVar("E", bound=IkeEvent)
Filter = Callable[[Datagram], list[tuple[float, Datagram]]]
"""What becomes of a datagram: (additional delay, datagram), once, twice or not at all."""


def mirrored(request: ChildRequest) -> ChildRequest:
    """Return the same as the other end has it in its policy."""
    return replace(request, local=request.remote, remote=request.local)


def config(
    own: Identity,
    peer: Identity,
    children: tuple[ChildRequest, ...],
    secret: bytes = SECRET,
    timers: IkeTimers | None = None,
    **more: object,
) -> IkeConfig:
    return IkeConfig(
        own,
        (IkePeerConfig(peer, secret, children),),
        timers=timers or IkeTimers(),
        **more,  # type: ignore[arg-type]
    )


def mobile_config(*children: ChildRequest, **more: object) -> IkeConfig:
    return config(MN_ID, HA_ID, children or (SIGNALLING, PAYLOAD), **more)  # type: ignore[arg-type]


def home_config(*children: ChildRequest, **more: object) -> IkeConfig:
    wanted = children or (mirrored(SIGNALLING), mirrored(PAYLOAD))
    return config(HA_ID, MN_ID, wanted, **more)  # type: ignore[arg-type]


class End:
    """One endpoint with its events so far, and the octets that it sent."""

    def __init__(self, config: IkeConfig, seed: int, first_spi: int) -> None:
        generator = random.Random(seed)
        self.timers = TimerQueue()
        self._spi = first_spi
        self.engine = IkeEndpoint(config, self.timers, generator.randbytes, self._next_spi)
        self.events: list[IkeEvent] = []
        self.sent: list[Datagram] = []
        self.key = SealingKey(IkeCipher.AES_128_GCM, b"")
        """SK_e of the last SA that was looked at, to see what is inside."""

    def _next_spi(self) -> int:
        self._spi += 1
        return self._spi

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def kinds(self) -> list[str]:
        """Return the names of the events so far."""
        return [event.kind for event in self.events]

    @property
    def sa(self) -> IkeSa:
        """The only IKE SA that is not over."""
        (sa,) = self.engine.sas()
        if sa.keys is not None:
            self.key = sa.sealing_key()
        return sa


class IkeWorld:
    """A mobile node and a home agent; datagrams take 10 ms each way."""

    def __init__(
        self,
        mobile: IkeConfig | None = None,
        home: IkeConfig | None = None,
        seed: int = 1,
    ) -> None:
        self.now = 1000.0
        self.mn = End(mobile or mobile_config(), seed, 0x01000000)
        self.ha = End(home or home_config(), seed + 1000, 0x02000000)
        self.addresses = {COA: self.mn, HA: self.ha}
        self.filter: Filter = lambda datagram: [(0.0, datagram)]
        self.log: list[Datagram] = []
        self._flight: list[tuple[float, int, Datagram]] = []
        self._count = 0

    def begin(self) -> IkeSa:
        """Let the mobile node begin."""
        sa = self.mn.engine.initiate(HA_ID, COA, HA, self.now)
        self.collect()
        return sa

    def establish(self) -> None:
        """Begin, and wait until all is there."""
        self.begin()
        self.run(1.0)

    def collect(self) -> None:
        """Take what the engines have to say."""
        for end in (self.mn, self.ha):
            while (event := end.engine.next_event()) is not None:
                end.events.append(event)
            for datagram in end.engine.datagrams_to_send():
                end.sent.append(datagram)
                self.log.append(datagram)
                for delay, each in self.filter(datagram):
                    self.inject(each, delay + DELAY)

    def inject(self, datagram: Datagram, delay: float = 0.0) -> None:
        """Let a datagram arrive in `delay` seconds."""
        self._count += 1
        self._flight.append((self.now + delay, self._count, datagram))
        self._flight.sort(key=lambda item: item[:2])

    def step(self, until: float) -> bool:
        """Do the next thing before `until`; return False if there is none."""
        times = [end.engine.next_timer() for end in (self.mn, self.ha)]
        times += [self._flight[0][0]] if self._flight else []
        due = min((time for time in times if time is not None), default=None)
        if due is None or due > until:
            self.now = max(self.now, until)
            return False
        self.now = max(self.now, due)
        if self._flight and self._flight[0][0] <= self.now:
            _, _, datagram = self._flight.pop(0)
            end = self.addresses.get(datagram.destination)
            if end is not None:
                end.engine.receive(datagram, self.now)
        else:
            for end in (self.mn, self.ha):
                end.engine.handle_timer(self.now)
        self.collect()
        return True

    def run(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.collect()
        until = self.now + seconds
        while self.step(until):
            pass

    def speak(
        self,
        end: End,
        exchange: int,
        payloads: list[Payload],
        message_id: int | None = None,
        response: bool = False,
    ) -> None:
        """Send an authentic message of `end` that its engine would not send; nothing awaits it."""
        sa = end.sa
        number = sa.next_request if message_id is None else message_id
        octets = seal(sa.sealing_key(), sa.sent, sa.header(exchange, number, response), payloads)
        sa.sent += 1
        sa.next_request = number + (0 if response else 1)
        route = sa.route
        self.inject(Datagram(route.local, 500, route.remote, 500, octets), DELAY)

    def replies(self, end: End, since: int) -> list[tuple[Payload, ...]]:
        """Return what is inside the protected responses that `end` sent after its first `since`."""
        return self._inside(end.key, end.sent[since:], None)

    def replies_on(self, end: End, sa: IkeSa, since: int) -> list[tuple[Payload, ...]]:
        """Return the same of one IKE SA alone."""
        return self._inside(sa.sealing_key(), end.sent[since:], sa.spi_responder)

    @staticmethod
    def _inside(
        key: SealingKey, sent: list[Datagram], spi: int | None
    ) -> list[tuple[Payload, ...]]:
        found = []
        for datagram in sent:
            message = parse_message(datagram.payload)
            if message.encrypted is None or not message.header.response:
                continue
            if spi in (None, message.header.spi_responder):
                found.append(open_message(key, datagram.payload, message))
        return found
