"""What an IKE endpoint is told: who it is, whom it knows, what to protect, how long to wait."""

from dataclasses import dataclass, field

from agents.core.ike.ciphers import IkeCipher
from agents.wire.ike.identity import Identity
from agents.wire.ike.numbers import Group
from agents.wire.ike.selectors import TrafficSelector
from agents.wire.transforms import Mode as SaMode
from agents.wire.transforms import Transform


@dataclass(frozen=True, slots=True)
class IkeTimers:
    """Seconds, except for counts. The defaults give up after 3.5 minutes (RFC 7296 §2.4)."""

    retransmit_first: float = 0.5
    retransmit_factor: float = 2.0
    retransmit_longest: float = 30.0
    tries: int = 12
    """How often a request is sent at most."""
    tries_when_refused: int = 2
    """How often IKE_SA_INIT is repeated after an unauthenticated refusal (RFC 7296 §2.21.1)."""
    half_open_timeout: float = 30.0
    """How long a responder waits for IKE_AUTH, and an ended SA answers repeated requests."""
    cookie_threshold: int = 16
    """Half-open SAs from which on a cookie is asked for (RFC 7296 §2.6)."""
    half_open_limit: int = 256
    """Half-open SAs above which IKE_SA_INIT is dropped."""
    cookie_lifetime: float = 30.0
    """How long a secret for cookies is used; its cookies are taken twice as long."""
    reassembly_timeout: float = 15.0
    """How long fragments of a message wait for the others (RFC 7383 §2.6)."""
    liveness_interval: float = 0.0
    """Silence of the peer after which it is asked whether it lives; 0: never."""


@dataclass(frozen=True, slots=True)
class ChildRequest:
    """What a Child SA is to protect, seen from here; `name` is for events and logs.

    Transport mode asks for USE_TRANSPORT_MODE (RFC 7296 §1.3.1).
    """

    name: str
    local: tuple[TrafficSelector, ...]
    remote: tuple[TrafficSelector, ...]
    mode: SaMode
    transform: Transform


@dataclass(frozen=True, slots=True)
class IkePeerConfig:
    """One end that is known by its identity and a pre-shared key.

    `children`: an initiator creates them all, the first with IKE_AUTH; a responder grants what
    lies within one of them (RFC 7296 §2.9).
    """

    identity: Identity
    secret: bytes = field(repr=False)
    children: tuple[ChildRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class IkeConfig:
    """One endpoint. `groups` and `ciphers`, of the IKE SA itself, in order of preference."""

    identity: Identity
    peers: tuple[IkePeerConfig, ...]
    timers: IkeTimers = IkeTimers()
    groups: tuple[int, ...] = (Group.X25519, Group.P256)
    ciphers: tuple[IkeCipher, ...] = tuple(IkeCipher)
    encapsulation: bool = False
    """Force UDP encapsulation: NAT detection reports a NAT, IKE moves to port 4500, ESP travels
    in UDP (RFC 7296 §2.23, RFC 3948)."""
    fragment_size: int = 1280
    """Octets of an IPv6 packet with a protected message; a longer message goes in fragments, if
    the other end takes them (RFC 7383 §2.5.1). 0: none are sent, and none taken."""
    spi_prefix: int | None = None
    """First octet of our IKE SPIs, not 0: where several hosts share an address, it tells whose an
    IKE SA is. None: random like the rest."""

    def peer(self, identity: Identity) -> IkePeerConfig | None:
        """Return what is configured for `identity`, or None for a stranger."""
        return next((each for each in self.peers if each.identity == identity), None)
