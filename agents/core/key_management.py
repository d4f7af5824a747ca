"""IKEv2 of a home agent with its mobile nodes: the `KeyExchange` of a renewal (design §10, rule 8).

The mobile node begins when it has no SA. The home agent begins a rekey, and, where another HA made
the SAs, an IKE SA of its own once a renewal is due. IKE messages reach whichever HA is nearest:
the first octet of an IKE SPI names the HA that has the IKE SA, and the others relay to it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Protocol

from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.counters import Dropped
from agents.core.ike.child_sa import ChildSa
from agents.core.ike.config import IkeConfig, IkePeerConfig, IkeTimers
from agents.core.ike.endpoint import IkeEndpoint
from agents.core.ike.events import (
    ChildDeleted,
    ChildEstablished,
    ChildFailed,
    ChildRekeyed,
    IkeDeleted,
    IkeEstablished,
    IkeEvent,
    IkeFailed,
    IkeRekeyed,
    RevocationsLearned,
)
from agents.core.ike.sa import IkeSa
from agents.core.ike_packets import (
    groups,
    keyed,
    mirrored,
    mobile_children,
    receivers_spi,
    to_datagram,
    to_packet,
)
from agents.core.key_exchange import KeyExchangeUser
from agents.core.rate_limit import RateLimit
from agents.core.security_associations import SecurityAssociation
from agents.keys import KeyedAssociation
from agents.wire import ipv6
from agents.wire.ike.identity import Identity
from agents.wire.ike.numbers import IdType
from agents.wire.mobility import BU_KEY_MANAGEMENT
from agents.wire.transforms import Mode as SaMode
from agents.wire.transforms import Transform

if TYPE_CHECKING:  # reading X.509 takes its time to import, and not everybody needs it
    from agents.core.ike.credentials import Credentials

RENEWAL_TIME = 10.0
"""Seconds for a renewal. An IKE SA on which nobody answers that long is of no use: the mobile node
may have a newer one. The next attempt makes one, too."""

RELAYED_PER_SECOND = 200
"""IKE messages relayed to peers at most: anybody can write an SPI."""

FAILURES_TOLD_PER_SECOND = 5
"""Others that began and did not prove who they are: told in the journal at most."""

_SPI_OCTET = 56


class KeyManagementUser(KeyExchangeUser, Protocol):
    """What is reported besides the outcome of renewals."""

    def replaced(
        self, home_address: IPv6Address, associations: Sequence[KeyedAssociation], now: float
    ) -> None:
        """The mobile node began: these are its only SAs."""
        ...

    def lost(self, spi: int, now: float) -> None:
        """The mobile node has deleted the SA with this SPI towards the home agents."""
        ...


@dataclass(slots=True, eq=False)
class _Fresh:
    """Child SAs that become one generation as soon as both are there."""

    home_address: IPv6Address
    asked: bool = False
    """Whether it was asked for here, by `renew`."""
    began_there: bool = False
    """Whether the mobile node made a new IKE SA for it: then it has no other SAs."""
    children: dict[SaMode, ChildSa] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Deletion:
    home_address: IPv6Address
    associations: Sequence[SecurityAssociation]
    open: set[int]


class KeyManagement:
    """One home agent's IKE endpoint."""

    def __init__(
        self,
        context: Context,
        secrets: Mapping[IPv6Address, bytes],
        credentials: "Credentials | None" = None,
        revocations: Callable[[float], None] = lambda now: None,
    ) -> None:
        """Know mobile nodes by secret or certificate, at every HA by the same.

        `secrets` are pre-shared keys by home address. With `credentials` this HA proves itself by
        certificate to all, and whoever holds a certificate for a home address has that one.
        `revocations(now)` is told that IKE has brought a revocation list.
        """
        own = context.config.home_agent_address
        self._context = context
        self._own = own
        self._revocations = revocations
        self._secrets = {Identity.of(home): home for home in secrets}
        self._by_certificate = credentials is not None
        config = IkeConfig(
            Identity.of(own),
            tuple(self._peer(home, secret) for home, secret in secrets.items()),
            IkeTimers(rekey_after=context.config.ike_sa_lifetime),
            groups(context.config.ike_groups),
            spi_prefix=context.config.index,
            credentials=credentials,
            holder=self._holder if credentials is not None else None,
        )
        self._endpoint = IkeEndpoint(config, context.timers, context.random_bytes, self._new_spi)
        self._fresh: dict[IkeSa, _Fresh] = {}
        self._deletions: list[_Deletion] = []
        self._relay_limit = RateLimit(RELAYED_PER_SECOND)
        self._failure_limit = RateLimit(FAILURES_TOLD_PER_SECOND)
        self._user: KeyManagementUser | None = None

    def report_to(self, user: KeyManagementUser) -> None:
        """Tell `user` what comes about."""
        self._user = user

    # Packets and time.

    def receive(self, packet: ipv6.Packet, whole: bytes, now: float, *, relayed: bool) -> None:
        """Take an IKE packet that came to the home agent address; raises `Dropped`."""
        datagram = to_datagram(packet)
        owner = self._context.peers.by_index(receivers_spi(datagram) >> _SPI_OCTET)
        if owner is not None and owner.valid and not relayed:
            if not self._relay_limit.allow(now):
                raise Dropped("ike-relay-limit")
            self._context.send_sealed(owner, whole, ipv6.IPV6)
            self._context.counters["ike.relayed"] += 1
            return
        self._endpoint.receive(datagram, now)
        self.pump(now)

    def pump(self, now: float) -> None:
        """Pass on what the endpoint has to send and to report."""
        while (event := self._endpoint.next_event()) is not None:
            if self._is_told(event, now):
                self._context.report(event)
            self._handle(event, now)
        for datagram in self._endpoint.datagrams_to_send():
            self._context.to_send.append(to_packet(datagram))

    @property
    def ike_sas(self) -> int:
        """How many IKE SAs there are, half-open ones too."""
        return len(self._endpoint.sas())

    def load_secrets(self, secrets: Mapping[IPv6Address, bytes]) -> None:
        """Know mobile nodes by these pre-shared keys from now on, and no others.

        What is established stays: who knows an old one can begin nothing with it (rule 13).
        """
        self._secrets = {Identity.of(home): home for home in secrets}
        self._endpoint.know(tuple(self._peer(home, secret) for home, secret in secrets.items()))

    def counters(self) -> dict[str, int]:
        """Return the endpoint's counters, each with `ike.` before its name."""
        return {f"ike.{name}": value for name, value in self._endpoint.counters.items()}

    def _is_told(self, event: IkeEvent, now: float) -> bool:
        """Whether an event goes to the journal: strangers that fail are counted, and few told of.

        Anybody can begin and fail, and the journal is on a disk.
        """
        if not isinstance(event, IkeFailed) or event.sa.initiator:
            return True
        if self._failure_limit.allow(now):
            return True
        self._endpoint.counters["failures-untold"] += 1
        return False

    # The key exchange of renewals.

    def renew(
        self,
        home_address: IPv6Address,
        care_of_address: IPv6Address,
        now: float,
        *,
        alone: bool = False,
    ) -> None:
        """Rekey both Child SAs, or, without the IKE SA, make a new one with two (rule 8).

        `alone` (rule 13): a new one in any case, which tells the mobile node to drop all others.
        Who is isolated may have the mobile node's IKE SA without having told anybody.
        """
        assert self._user is not None
        identity = Identity.of(home_address)
        if self._home(identity) is None:
            self._context.counters["ike.no-secret"] += 1
            self._context.timers.schedule(
                now, lambda then: self._failed(home_address, "no-secret", then)
            )
            return
        if alone:
            self._forget_all(home_address)
        sa = self._endpoint.find(identity)
        newest = {child.mode: child for child in sa.children} if sa is not None else {}
        if sa is not None and len(newest) == len(SaMode):
            self._fresh[sa] = _Fresh(home_address, asked=True)
            for child in newest.values():
                self._endpoint.rekey_child(sa, child.inbound_spi, now)
        else:
            sa = self._endpoint.initiate(identity, self._own, care_of_address, now, alone=alone)
            self._fresh[sa] = _Fresh(home_address, asked=True)
        begun, fresh = sa, self._fresh[sa]
        self._context.timers.schedule(
            now + RENEWAL_TIME, lambda then: self._time_out(begun, fresh, then)
        )
        self.pump(now)

    def delete(
        self,
        home_address: IPv6Address,
        associations: Sequence[SecurityAssociation],
        now: float,
    ) -> None:
        """Delete those that an IKE SA here has made; the others the mobile node lets end."""
        wanted = {each.spi for each in associations if each.inbound}
        deletion = _Deletion(home_address, tuple(associations), set())
        self._deletions.append(deletion)
        for sa in self._endpoint.sas():
            for child in sa.children if sa.established else ():
                if child.inbound_spi in wanted:
                    deletion.open.add(child.inbound_spi)
                    self._endpoint.delete_child(sa, child.inbound_spi, now)
        self.pump(now)
        if not deletion.open:
            self._deleted(deletion, now)

    # What else happens to a mobile node.

    def follow(self, binding: Binding, now: float) -> None:
        """The care-of address may be another: move the IKE SA, or give it up (RFC 6275 §10.3.1).

        A half-open one is begun anew by whoever began it.
        """
        for sa in self._with(binding.home_address):
            if sa.remote == binding.care_of_address:
                continue
            if binding.flags & BU_KEY_MANAGEMENT or not sa.established:
                self._endpoint.move(sa, self._own, binding.care_of_address)
            else:
                self._endpoint.forget(sa)
        self.pump(now)

    def superseded(self, home_address: IPv6Address, now: float) -> None:
        """Another HA made SAs with the mobile node, which therefore has another IKE SA now."""
        for sa in self._with(home_address):
            if sa.established:
                self._endpoint.forget(sa)
        self.pump(now)

    def _forget_all(self, home_address: IPv6Address) -> None:
        """Give up what was made, or begun here, with a mobile node."""
        for sa in self._with(home_address):
            if sa.established or sa.initiator:
                self._fresh.pop(sa, None)
                self._endpoint.forget(sa)

    # Events.

    def _handle(self, event: IkeEvent, now: float) -> None:
        if isinstance(event, RevocationsLearned):
            self._context.timers.schedule(now, self._revocations)
        home_address = self._home(event.peer) if event.peer is not None else None
        if home_address is None:
            return
        match event:
            case IkeEstablished():
                self._established(event.sa, home_address, event.initiator)
            case ChildEstablished():
                self._take(event.sa, home_address, event.child, now, ours=event.sa.initiator)
            case ChildRekeyed():
                self._take(event.sa, home_address, event.child, now, ours=event.initiator)
            case ChildDeleted():
                self._child_deleted(event, now)
            case IkeRekeyed():
                if (fresh := self._fresh.pop(event.sa, None)) is not None:
                    self._fresh[event.successor] = fresh
            case ChildFailed() | IkeFailed() | IkeDeleted():
                self._give_up(event.sa, event.reason, now)

    def _established(self, sa: IkeSa, home_address: IPv6Address, initiator: bool) -> None:
        """A new IKE SA replaces older ones, at both ends."""
        if not initiator:
            self._fresh[sa] = _Fresh(home_address, began_there=True)
        for other in self._with(home_address):
            if other is not sa and other.established:
                self._endpoint.forget(other)

    def _take(
        self, sa: IkeSa, home_address: IPv6Address, child: ChildSa, now: float, *, ours: bool
    ) -> None:
        """Hold a fresh Child SA until its companion is there; `ours`: it was begun here."""
        assert self._user is not None
        if ours and sa not in self._fresh:
            # Its companion has failed meanwhile.
            self._endpoint.delete_child(sa, child.inbound_spi, now)
            return
        fresh = self._fresh.setdefault(sa, _Fresh(home_address))
        fresh.children[child.mode] = child
        if len(fresh.children) < len(SaMode):
            return
        del self._fresh[sa]
        associations = [
            association
            for each in fresh.children.values()
            for association in keyed(each, self._own, home_address)
        ]
        if fresh.began_there:
            self._user.replaced(home_address, associations, now)
        else:
            self._user.agreed(home_address, associations, now)

    def _give_up(self, sa: IkeSa, reason: str, now: float) -> None:
        """One of the two came to nothing: so does the other."""
        fresh = self._fresh.pop(sa, None)
        if fresh is None:
            return
        for child in fresh.children.values():
            if sa.established:
                self._endpoint.delete_child(sa, child.inbound_spi, now)
        if fresh.asked:
            self._failed(fresh.home_address, reason, now)

    def _time_out(self, sa: IkeSa, fresh: _Fresh, now: float) -> None:
        if self._fresh.get(sa.heir) is fresh:
            self._give_up(sa.heir, "timeout", now)
            self._endpoint.forget(sa)

    def _failed(self, home_address: IPv6Address, reason: str, now: float) -> None:
        assert self._user is not None
        self._user.failed(home_address, reason, now)

    def _child_deleted(self, event: ChildDeleted, now: float) -> None:
        assert self._user is not None
        if event.reason == "by-peer":
            self._user.lost(event.spi, now)
        for deletion in [each for each in self._deletions if event.spi in each.open]:
            deletion.open.discard(event.spi)
            if not deletion.open:
                self._deleted(deletion, now)

    def _deleted(self, deletion: _Deletion, now: float) -> None:
        assert self._user is not None
        if deletion in self._deletions:
            self._deletions.remove(deletion)
            self._user.deleted(deletion.home_address, deletion.associations, now)

    # Who is known.

    def _home(self, identity: Identity) -> IPv6Address | None:
        """Return the home address that somebody may have who proves to be `identity`."""
        home = self._secrets.get(identity)
        if home is not None or not self._by_certificate or identity.kind != IdType.IPV6_ADDR:
            return home
        address = IPv6Address(identity.data)
        inside = address in self._context.config.home_prefix and address != self._own
        return address if inside else None

    def _holder(self, identity: Identity) -> IkePeerConfig | None:
        home = self._home(identity)
        return None if home is None else self._peer(home, None)

    def _peer(self, home: IPv6Address, secret: bytes | None) -> IkePeerConfig:
        transform = Transform(self._context.config.mode.transform)
        children = mobile_children(home, self._own, transform)
        granted = tuple(mirrored(each) for each in children)
        return IkePeerConfig(Identity.of(home), secret, granted, prefix=IPv6Network(home))

    def _with(self, home_address: IPv6Address) -> list[IkeSa]:
        identity = Identity.of(home_address)
        return [sa for sa in self._endpoint.sas() if sa.peer == identity]

    def _new_spi(self) -> int:
        """Return an SPI of this HA's range that no SA of any mobile node has (rule 4)."""
        while True:
            spi = self._context.config.index << 24 | int.from_bytes(self._context.random_bytes(3))
            if self._context.associations.by_spi(spi) is None:
                return spi
