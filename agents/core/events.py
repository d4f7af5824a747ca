"""What the engines report: one small dataclass an event, written to the journal as one object.

`kind` is the name in the journal; experiments/DATA.md lists them with their fields.
"""

from dataclasses import dataclass, fields
from ipaddress import IPv6Address, IPv6Network
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""

    kind: ClassVar[str] = ""

    def fields(self) -> dict[str, object]:
        """Return the fields, addresses as text, ready for JSON."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: str(value) if isinstance(value, IPv6Address | IPv6Network) else value
            for name, value in values.items()
        }


@dataclass(frozen=True, slots=True)
class AdvertisePrefix(Event):
    """The HA is in step with its peers: its home route may stand (RFC 4786 §4.4.1)."""

    kind: ClassVar[str] = "advertise-prefix"
    prefix: IPv6Network


@dataclass(frozen=True, slots=True)
class HeldDown(Event):
    """The HA is ready, but has come back so often that it waits so many `seconds` first."""

    kind: ClassVar[str] = "held-down"
    seconds: float
    returns: int


@dataclass(frozen=True, slots=True)
class WithdrawPrefix(Event):
    """The HA must not draw traffic: take its home route away."""

    kind: ClassVar[str] = "withdraw-prefix"
    prefix: IPv6Network
    reason: str


@dataclass(frozen=True, slots=True)
class MetricChanged(Event):
    """The home prefix is to be advertised with this metric (draft §2; design §10, rule 12)."""

    kind: ClassVar[str] = "metric-changed"
    prefix: IPv6Network
    metric: int


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something that a person reading the journal should know, in words."""

    kind: ClassVar[str] = "notice"
    text: str


@dataclass(frozen=True, slots=True)
class BindingAccepted(Event):
    """A home agent accepted a Binding Update."""

    kind: ClassVar[str] = "binding-accepted"
    home_address: IPv6Address
    care_of_address: IPv6Address
    sequence: int
    lifetime: float


@dataclass(frozen=True, slots=True)
class BindingRefused(Event):
    """A home agent answered a Binding Update with a status of 128 or more."""

    kind: ClassVar[str] = "binding-refused"
    home_address: IPv6Address
    status: int


@dataclass(frozen=True, slots=True)
class BindingRemoved(Event):
    """A binding ended: `reason` is `expired`, `deregistered` or `peer`."""

    kind: ClassVar[str] = "binding-removed"
    home_address: IPv6Address
    reason: str


@dataclass(frozen=True, slots=True)
class BindingLearnt(Event):
    """A peer's Binding Information changed an entry here."""

    kind: ClassVar[str] = "binding-learnt"
    home_address: IPv6Address
    care_of_address: IPv6Address
    sequence: int
    peer: str


@dataclass(frozen=True, slots=True)
class AssociationLearnt(Event):
    """A peer's SA Information brought an SA that this HA did not hold."""

    kind: ClassVar[str] = "sa-learnt"
    home_address: IPv6Address
    spi: int
    generation: int
    peer: str


@dataclass(frozen=True, slots=True)
class PeersInSync(Event):
    """Every valid peer acknowledged the newest binding of `home_address`."""

    kind: ClassVar[str] = "peers-in-sync"
    home_address: IPv6Address
    sequence: int
    epoch: int


@dataclass(frozen=True, slots=True)
class PrimaryChanged(Event):
    """Who is primary for `home_address`, by what: `bu`, `takeover`, `switch` or `peer`.

    `switch`: this HA has the better paths (draft §4.1).
    """

    kind: ClassVar[str] = "primary-changed"
    home_address: IPv6Address
    primary: int
    epoch: int
    cause: str


@dataclass(frozen=True, slots=True)
class PeerChanged(Event):
    """A peer home agent moved along `PEER_TRANSITIONS`."""

    kind: ClassVar[str] = "peer-changed"
    peer: str
    state: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class PeerIntroduced(Event):
    """A home agent joined: it is a peer from now on (design §10, rule 6)."""

    kind: ClassVar[str] = "peer-introduced"
    peer: str
    index: int
    address: IPv6Address


@dataclass(frozen=True, slots=True)
class PeerDismissed(Event):
    """A home agent is no peer any more; `reason` is `left`, or the word of who dismissed it."""

    kind: ClassVar[str] = "peer-dismissed"
    peer: str
    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Left(Event):
    """This HA has gone for good, `seconds` after it withdrew: it serves nobody any more."""

    kind: ClassVar[str] = "left"
    seconds: float


@dataclass(frozen=True, slots=True)
class PeerAssociationMade(Event):
    """IKE brought an SA with a peer; SPIs of both directions; `began_here`: by this HA's IKE."""

    kind: ClassVar[str] = "peer-sa-made"
    peer: str
    inbound_spi: int
    outbound_spi: int
    began_here: bool


@dataclass(frozen=True, slots=True)
class PeerAssociationEnded(Event):
    """An SA with a peer is held no more; `reason` such as `replaced`, `deleted`, `by-peer`."""

    kind: ClassVar[str] = "peer-sa-ended"
    peer: str
    inbound_spi: int
    reason: str


@dataclass(frozen=True, slots=True)
class PeerAssociationFailed(Event):
    """IKE with a peer came to nothing; said once for each cause until there is an SA.

    `detail`: where one of the two has refused the other, why, in a word.
    """

    kind: ClassVar[str] = "peer-sa-failed"
    peer: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TableReceived(Event):
    """The whole table of a peer has arrived."""

    kind: ClassVar[str] = "table-received"
    peer: str
    entries: int


@dataclass(frozen=True, slots=True)
class TrafficBegan(Event):
    """The first authentic packet of a mobile node here after another HA had served it."""

    kind: ClassVar[str] = "traffic-began"
    home_address: IPv6Address
    number: int
    floor: int


@dataclass(frozen=True, slots=True)
class PathChosen(Event):
    """The primary chose another `home_agent` for packets to a correspondent (rule 11).

    Costs in ms, None where not known; `cause`: `cost`, `unmeasured`, `peer-gone`, or `idle`, which
    is also said of one that is not among the busiest any more.
    """

    kind: ClassVar[str] = "path-chosen"
    home_address: IPv6Address
    correspondent: IPv6Address
    home_agent: str
    previous: str
    cost_ms: float | None
    previous_cost_ms: float | None
    cause: str


@dataclass(frozen=True, slots=True)
class RenewalBegan(Event):
    """The primary begins to renew the SAs of `home_address`; why: `cause`."""

    kind: ClassVar[str] = "renewal-began"
    home_address: IPv6Address
    cause: str


@dataclass(frozen=True, slots=True)
class RenewalFailed(Event):
    """Key management brought no fresh SAs; the old ones stay, unless they were revoked."""

    kind: ClassVar[str] = "renewal-failed"
    home_address: IPv6Address
    reason: str


@dataclass(frozen=True, slots=True)
class RenewalRequested(Event):
    """An HA that is not primary sent SA Information Renew Requests, to these `peers`."""

    kind: ClassVar[str] = "renewal-requested"
    home_address: IPv6Address
    peers: str


@dataclass(frozen=True, slots=True)
class AssociationsRenewed(Event):
    """The primary sends on SAs of this `generation` from now on, and has told its peers to."""

    kind: ClassVar[str] = "sa-renewed"
    home_address: IPv6Address
    generation: int
    cause: str


@dataclass(frozen=True, slots=True)
class AssociationsDeleted(Event):
    """The SAs of this `generation` are gone here, and the peers have been told."""

    kind: ClassVar[str] = "sa-deleted"
    home_address: IPv6Address
    generation: int


@dataclass(frozen=True, slots=True)
class PathMtuLowered(Event):
    """`router` lets only `path_mtu` octets pass to a care-of address: so many go `inside`."""

    kind: ClassVar[str] = "path-mtu-lowered"
    care_of_address: IPv6Address
    path_mtu: int
    inside: int
    router: IPv6Address


@dataclass(frozen=True, slots=True)
class PathMtuEnded(Event):
    """The configured size is tried again on the way to a care-of address."""

    kind: ClassVar[str] = "path-mtu-ended"
    care_of_address: IPv6Address


@dataclass(frozen=True, slots=True)
class MisconductProven(Event):
    """A peer has proved by an authentic message that it lies: what, and how (rule 13)."""

    kind: ClassVar[str] = "misconduct"
    peer: str
    index: int
    misconduct: str
    detail: str


@dataclass(frozen=True, slots=True)
class PeerIsolated(Event):
    """A home agent is put out for good (draft §5): nothing of it is taken, nothing goes to it.

    `cause`: `verb`, `revoked`, `misconduct`, `accused`.
    """

    kind: ClassVar[str] = "peer-isolated"
    peer: str
    index: int
    cause: str


@dataclass(frozen=True, slots=True)
class PeerAccused(Event):
    """`accuser` tells that the home agent of `index` lies: its word alone decides nothing."""

    kind: ClassVar[str] = "peer-accused"
    accuser: str
    index: int
    misconduct: str


@dataclass(frozen=True, slots=True)
class PeerReadmitted(Event):
    """The home agent of `index`, once isolated, may join again, in a later incarnation."""

    kind: ClassVar[str] = "peer-readmitted"
    index: int


@dataclass(frozen=True, slots=True)
class IsolationComplete(Event):
    """No SA is left here that a home agent which was isolated knows; `renewed` here as primary."""

    kind: ClassVar[str] = "isolation-complete"
    index: int
    renewed: int


@dataclass(frozen=True, slots=True)
class RevocationsHeard(Event):
    """A signed revocation list is new here; `source`: `verb`, `ike`, or the peer that handed it on.

    `number` is its CRL number.
    """

    kind: ClassVar[str] = "revocations-heard"
    source: str
    number: int
