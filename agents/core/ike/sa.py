"""An IKE SA: what both ends share, and where this end's two windows stand."""

from collections import deque
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from agents.core.ike.child_sa import Child, ChildSa
from agents.core.ike.ciphers import SealingKey
from agents.core.ike.config import IkePeerConfig
from agents.core.ike.key_exchange import PrivateKey
from agents.core.ike.keys import IkeKeys
from agents.core.ike.states import IKE_TRANSITIONS, IkeState, IkeTrigger
from agents.core.timers import Timer
from agents.wire.ike.header import Header
from agents.wire.ike.identity import Identity
from agents.wire.ike.numbers import IKE_PORT, ExchangeType

if TYPE_CHECKING:
    from agents.core.ike.chains import Verified
    from agents.core.ike.requests import Request


@dataclass(frozen=True, slots=True)
class Route:
    """Where a message goes, or came from: addresses and UDP ports of both ends."""

    local: IPv6Address
    local_port: int
    remote: IPv6Address
    remote_port: int


@dataclass(slots=True, eq=False)
class IkeSa:
    """A handle for the verbs of `IkeEndpoint`; hosts read it and do not change it.

    `initiator`: this end sent IKE_SA_INIT. `peer` is the other end's identity: proven once
    `state` is ESTABLISHED.
    """

    initiator: bool
    local_spi: int
    local: IPv6Address
    remote: IPv6Address
    local_port: int = IKE_PORT
    remote_port: int = IKE_PORT
    remote_spi: int = 0
    peer: Identity | None = None
    state: IkeState = IkeState.HALF_OPEN
    encapsulated: bool = False
    """ESP of its Child SAs travels in UDP; IKE uses port 4500 (RFC 7296 §2.23)."""

    fragmentation: bool = False
    """Both ends take protected messages in fragments (RFC 7383 §2.3)."""

    config: IkePeerConfig | None = field(default=None, repr=False)
    keys: IkeKeys | None = field(default=None, repr=False)
    private: PrivateKey | None = field(default=None, repr=False)
    nonces: bytes = field(default=b"", repr=False)
    """Ni | Nr."""
    nonce_local: bytes = field(default=b"", repr=False)
    nonce_remote: bytes = field(default=b"", repr=False)
    init_local: bytes = field(default=b"", repr=False)
    """The IKE_SA_INIT message that this end sent: AUTH covers it (§2.15)."""
    init_remote: bytes = field(default=b"", repr=False)
    cookie: bytes = field(default=b"", repr=False)
    retries: int = 0
    """How often IKE_SA_INIT began anew."""
    refusal: str = ""
    """What an unauthenticated answer to IKE_SA_INIT said (§2.21.1)."""

    digital_signature: bool = False
    """Whether the other end takes the method of RFC 7427."""
    certificate: "Verified | None" = field(default=None, repr=False)
    """By which the other end has proven itself, if by one."""
    detail: str = ""
    """Why one end has refused the other, in a word."""
    alone: bool = False
    """The initiator wants no other to stand beside it, nor any SA from before (rule 13)."""
    silent: bool = False
    """Its failure is reported already."""
    group: int = 0
    """Of the key exchange that made it."""
    successor: "IkeSa | None" = field(default=None, repr=False)
    """The IKE SA that took its place, and its Child SAs (§2.18)."""
    contender: "tuple[bytes, IkeSa] | None" = field(default=None, repr=False)
    """What the peer has made to succeed it while our own renewal waits for its answer, and the
    lowest nonce of that exchange (§2.8.2)."""
    rival_of: "IkeSa | None" = field(default=None, repr=False)
    """Whose contender it is or was, until it is the successor."""
    children_by_spi: dict[int, Child] = field(default_factory=dict, repr=False)
    """By our inbound SPI."""
    sent: int = field(default=0, repr=False)
    """Protected messages sealed here: the IV of the next."""
    next_request: int = field(default=0, repr=False)
    expected_request: int = field(default=0, repr=False)
    queue: "deque[Request]" = field(default_factory=deque, repr=False)
    """Requests that wait: the window is 1 (§2.3)."""
    current: "Request | None" = field(default=None, repr=False)
    outstanding: tuple[bytes, ...] = field(default=(), repr=False)
    """The request that waits for its answer, as it was sent: in one message or in fragments."""
    tries: int = field(default=0, repr=False)
    most_tries: int = field(default=0, repr=False)
    timer: Timer | None = field(default=None, repr=False)
    deleted_early: set[int] = field(default_factory=set, repr=False)
    """The peer's SPIs that it deleted before its answer to our CREATE_CHILD_SA came."""
    last_response: tuple[bytes, ...] = field(default=(), repr=False)
    """Sent again when its request comes again (§2.1)."""
    watch: Timer | None = field(default=None, repr=False)
    """When the peer's silence is looked at next."""
    over: bool = False
    """The peer has deleted it while it was a contender: what that means is seen with the nonces."""
    redundant: bool = False
    """Another one has succeeded in its place: it waits for its end, and is no news to the host."""
    renewal: Timer | None = field(default=None, repr=False)
    """When it is to be renewed."""
    retry_at: float = 0.0
    """Until when a renewal that failed is not tried again."""
    last_heard: float = 0.0
    """When the last authentic message of this SA arrived; ESP counts for nothing."""

    @property
    def route(self) -> Route:
        """Where its messages go."""
        return Route(self.local, self.local_port, self.remote, self.remote_port)

    @property
    def established(self) -> bool:
        """Whether requests may be sent on it."""
        return self.state is IkeState.ESTABLISHED

    @property
    def spi_initiator(self) -> int:
        """The original initiator's SPI."""
        return self.local_spi if self.initiator else self.remote_spi

    @property
    def spi_responder(self) -> int:
        """The original responder's SPI."""
        return self.remote_spi if self.initiator else self.local_spi

    @property
    def children(self) -> tuple[ChildSa, ...]:
        """The Child SAs, old ones first."""
        return tuple(child.sa for child in self.children_by_spi.values())

    def __str__(self) -> str:
        return f"{self.spi_initiator:016x}:{self.spi_responder:016x}"

    @property
    def heir(self) -> "IkeSa":
        """The last of its successors, or itself: the one that is spoken on."""
        return self.line[-1]

    @property
    def line(self) -> "list[IkeSa]":
        """It and all of its successors."""
        line = [self]
        while line[-1].successor is not None:
            line.append(line[-1].successor)
        return line

    @property
    def renewing(self) -> bool:
        """Whether our own renewal of it waits for its answer."""
        return self.current is not None and self.current.renews_ike

    @property
    def to_be_renewed(self) -> bool:
        """Whether our own renewal of it has begun, or waits for its turn."""
        return self.renewing or any(each.renews_ike for each in self.queue)

    def next_generation(self, initiator: bool, local_spi: int, now: float) -> "IkeSa":
        """Return an SA to put in this one's place; its windows begin at 0.

        `initiator`: this end began that. The other end's SPI and the keys are still to come.
        """
        return IkeSa(
            initiator,
            local_spi,
            self.local,
            self.remote,
            self.local_port,
            self.remote_port,
            peer=self.peer,
            encapsulated=self.encapsulated,
            fragmentation=self.fragmentation,
            config=self.config,
            certificate=self.certificate,
            alone=self.alone,
            last_heard=now,
        )

    def handle(self, trigger: IkeTrigger) -> None:
        """Move along `IKE_TRANSITIONS`; raise `KeyError` for a trigger that does not apply."""
        self.state = IKE_TRANSITIONS[self.state][trigger]

    def header(self, exchange: int, message_id: int, response: bool) -> Header:
        """Return the header of a message that this end sends."""
        return Header(
            self.spi_initiator,
            self.spi_responder,
            exchange,
            message_id,
            self.initiator,
            response,
        )

    def sealing_key(self) -> SealingKey:
        """Return this end's SK_e; keys must be there."""
        assert self.keys is not None
        return self.keys.encrypt_initiator if self.initiator else self.keys.encrypt_responder

    def opening_key(self) -> SealingKey:
        """Return the other end's SK_e; keys must be there."""
        assert self.keys is not None
        return self.keys.encrypt_responder if self.initiator else self.keys.encrypt_initiator

    def by_outbound(self, spi: int) -> Child | None:
        """Return the child whose inbound SPI at the peer is `spi`."""
        for child in self.children_by_spi.values():
            if child.sa.outbound_spi == spi:
                return child
        return None

    @property
    def creating(self) -> bool:
        """Whether the peer may already hold a Child SA whose answer has not come here."""
        current = self.current
        return (
            current is not None
            and current.exchange == ExchangeType.CREATE_CHILD_SA
            and current.changes_children
        )

    def stop_timer(self) -> None:
        """Nothing is to be sent again."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def stop_watch(self) -> None:
        """The peer's silence is of no interest any more, nor is the SA's age."""
        for timer in (self.watch, self.renewal):
            if timer is not None:
                timer.cancel()
        self.watch = self.renewal = None
