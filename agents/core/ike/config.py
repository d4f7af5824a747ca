"""What an IKE endpoint is told: who it is, whom it knows, what to protect, how long to wait."""

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from agents.core.home_agent_certificate import HomeAgentCertificate
from agents.core.ike.ciphers import IkeCipher
from agents.wire.ike.identity import Identity
from agents.wire.ike.numbers import Group
from agents.wire.ike.selectors import TrafficSelector
from agents.wire.transforms import Mode as SaMode
from agents.wire.transforms import Transform

if TYPE_CHECKING:  # reading X.509 takes its time to import, and not everybody needs it
    from agents.core.ike.credentials import Credentials


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
    """Half-open SAs at most; for one more, one of the network that has the most of them goes."""
    admissions_per_second: float = 50.0
    """IKE_SA_INIT requests with a valid cookie that one network may make, and at once."""
    cookie_lifetime: float = 30.0
    """How long a secret for cookies is used; its cookies are taken twice as long."""
    rekey_after: float = 0.0
    """Age at which this end renews an IKE SA, less up to a tenth at random; 0: never."""
    rekey_after_messages: int = 0
    """Protected messages of this end after which it renews an IKE SA; 0: never."""
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
    """One end that is known by its identity, and by a pre-shared key or a certificate.

    Without `secret`, or with `certified`, it has to have a certificate; with both the secret is
    the proof of this end alone.

    `children`: an initiator creates them all, the first with IKE_AUTH; a responder grants what
    lies within one of them (RFC 7296 §2.9).
    """

    identity: Identity
    secret: bytes | None = field(default=None, repr=False)
    children: tuple[ChildRequest, ...] = ()
    certified: bool = False
    prefix: IPv6Network | None = None
    """What its certificate has to delegate to it (RFC 3779)."""
    index: int | None = None
    """That of a home agent, which its certificate has to name."""

    @property
    def by_certificate(self) -> bool:
        """Whether it proves itself by certificate."""
        return self.certified or self.secret is None


Admit = Callable[[Identity, HomeAgentCertificate], IkePeerConfig]


@dataclass(frozen=True, slots=True)
class IkeConfig:
    """One endpoint. `groups` and `ciphers`, of the IKE SA itself, in order of preference.

    With `credentials` that have a private key this end proves itself by certificate, else by the
    secret that it shares with the other end.

    Raises:
        ValueError: an end of which it could take no proof, or to which it could give none.
    """

    identity: Identity
    peers: tuple[IkePeerConfig, ...]
    timers: IkeTimers = IkeTimers()
    groups: tuple[int, ...] = (Group.X25519, Group.P256)
    """MODP_2048 costs a hundred times as much, and is there for who asks for it."""
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
    credentials: "Credentials | None" = None
    holder: Callable[[Identity], IkePeerConfig | None] | None = field(default=None, repr=False)
    """Asked about an end that is not among `peers`: what the holder of its certificate gets."""
    admit: Admit | None = field(default=None, repr=False)
    """Asked about an end that is not configured and has proven to hold the certificate of a home
    agent; returns what it gets, or raises `NotAuthorised`."""

    def __post_init__(self) -> None:
        proves = self.credentials is not None and self.credentials.private_key is not None
        for peer in self.peers:
            if peer.by_certificate and self.credentials is None:
                raise ValueError(f"{peer.identity}: no anchor for its certificate")
            if peer.secret is None and not proves:
                raise ValueError(f"{peer.identity}: nothing to prove ourselves with")
        if (self.holder is not None or self.admit is not None) and not proves:
            raise ValueError("nothing to prove ourselves with to who is not configured")

    def peer(self, identity: Identity) -> IkePeerConfig | None:
        """Return what is configured for `identity`, or None for a stranger."""
        found = next((each for each in self.peers if each.identity == identity), None)
        return self.holder(identity) if found is None and self.holder is not None else found
