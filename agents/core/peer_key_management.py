"""IKEv2 between home agents, own address to own address: the SAs of inter-HA messages.

Whoever has no SA with a peer, or has not heard it for long on any, begins. A fresh IKE SA with one
Child SA is also how an SA is renewed (RFC 7296 §2.8.3); the old one goes when nobody sends on it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Protocol

from agents.core.context import Context
from agents.core.counters import Dropped
from agents.core.events import (
    PeerAssociationEnded,
    PeerAssociationFailed,
    PeerAssociationMade,
)
from agents.core.failure_detection import detection_bound
from agents.core.home_agent_certificate import HomeAgentCertificate
from agents.core.ike.child_sa import ChildSa
from agents.core.ike.config import IkeConfig, IkePeerConfig, IkeTimers
from agents.core.ike.endpoint import IkeEndpoint
from agents.core.ike.events import (
    ChildDeleted,
    ChildEstablished,
    ChildFailed,
    ChildRekeyed,
    IkeDeleted,
    IkeEvent,
    IkeFailed,
    IkeRekeyed,
    RevocationsLearned,
)
from agents.core.ike.not_authorised import NotAuthorised
from agents.core.ike.sa import IkeSa
from agents.core.ike.states import IkeState
from agents.core.ike_packets import groups, peer_child, to_datagram, to_packet
from agents.core.peer_associations import OVERLAP, PeerAssociation
from agents.core.peers import Peer
from agents.core.replay_window import SidWindows
from agents.core.security_associations import SecurityAssociation
from agents.wire import ipv6
from agents.wire.ike.identity import Identity

if TYPE_CHECKING:  # reading X.509 takes its time to import, and not everybody needs it
    from agents.core.ike.credentials import Credentials

LOOK_INTERVAL = 1.0
"""Seconds between two looks at what is held with a peer."""

QUIET_TIME = 3.0
"""Seconds without an authentic packet after which SAs with a peer are no reason not to begin."""

FORGOTTEN_AFTER = 10.0
"""Seconds without a packet after which an SA that was replaced ends without a word (rule 9)."""

LONGEST_REPETITION = 1.0
"""Seconds between two repetitions at most: so long does a peer wait that cannot begin itself."""

TRIES = 10
"""Sendings of one request: 6.6 s with the default interval. Then a fresh attempt follows."""

FIRST_RETRY = 1.0
"""Seconds after a refusal; doubled each time, up to `LAST_RETRY`."""

LAST_RETRY = 32.0

MOST_ASSOCIATIONS = 4
"""SAs with one peer at once; the one heard least lately has to go."""


class Members(Protocol):
    """What is asked about a home agent that is no peer yet (draft §5; rule 6)."""

    def authorise(self, certificate: HomeAgentCertificate) -> Peer:
        """Return whom the holder of this certificate would be; raise `NotAuthorised`."""

    def introduce(self, peer: Peer, now: float) -> None:
        """Take in one that has proven itself; raise `ValueError` where that cannot be any more."""

    def not_met(self, peer: Peer, now: float) -> None:
        """IKE with one that a peer told of came to nothing."""


@dataclass(slots=True, eq=False)
class _Peering:
    """What goes on with one peer."""

    peer: Peer
    identity: Identity
    attempt: IkeSa | None = None
    began: float = 0.0
    """When the attempt did, or the last one."""
    back_off: float = FIRST_RETRY
    not_before: float = 0.0
    said: set[str] = field(default_factory=set)

    def trust(self) -> None:
        """Both ends have believed each other: what was refused before is forgotten."""
        self.back_off, self.not_before = FIRST_RETRY, 0.0
        self.said.clear()


class PeerKeyManagement:
    """One home agent's IKE endpoint at its own address."""

    def __init__(
        self,
        context: Context,
        peers: Iterable[Peer],
        credentials: "Credentials",
        introduce: Callable[[Peer, float], None],
        revocations: Callable[[float], None],
        members: Members,
    ) -> None:
        """`peers` are those by IKE; `introduce` is told of one that can be spoken to.

        `revocations(now)` is told that IKE has brought a revocation list. `members` is asked about
        one that is none yet.
        """
        config = context.config
        self._context = context
        self._own = config.address
        self._introduce = introduce
        self._revocations = revocations
        self._members = members
        self._started = False
        self._quiet = max(QUIET_TIME, 2 * detection_bound(config))
        self._peerings: dict[Identity, _Peering] = {}
        for peer in peers:
            self._know(peer)
        self._endpoint = IkeEndpoint(
            IkeConfig(
                Identity.of(self._own),
                (),
                IkeTimers(
                    retransmit_first=config.timers.retransmit_interval,
                    retransmit_longest=LONGEST_REPETITION,
                    tries=TRIES,
                ),
                groups(config.ike_groups),
                credentials=credentials,
                holder=self._holder,
                admit=self._admit,
            ),
            context.timers,
            context.random_bytes,
            self._new_spi,
        )

    def start(self, now: float) -> None:
        """Begin with every peer: a home agent that starts has no SA."""
        self._started = True
        for peering in self._peerings.values():
            self._look(peering, now)
        self.pump(now)

    def meet(self, peer: Peer, now: float) -> None:
        """Agree with one more peer, as with those of the start; nothing to do if that is begun."""
        if Identity.of(peer.address) in self._peerings:
            return
        peering = self._know(peer)
        if self._started:
            self._look(peering, now)
            self.pump(now)

    def dismiss(self, peer: Peer) -> None:
        """Hold nothing with `peer` any more, and begin nothing with it."""
        peering = self._peerings.pop(Identity.of(peer.address), None)
        if peering is None:
            return
        self._abandon(peering)
        for pair in peer.associations:
            self._remove(peering, pair, "dismissed")

    def receive(self, packet: ipv6.Packet, now: float) -> None:
        """Take an IKE packet to this HA's own address; raises `Dropped`.

        From strangers too: who has no certificate that counts is told so.
        """
        if not self._started:
            raise Dropped("peer-ike-not-here")
        self._endpoint.receive(to_datagram(packet), now)
        self.pump(now)

    def pump(self, now: float) -> None:
        """Pass on what the endpoint has to send, and act on its events.

        An answer leaves before what is sent on the SA that it makes.
        """
        while True:
            for datagram in self._endpoint.datagrams_to_send():
                self._context.to_send.append(to_packet(datagram))
            event = self._endpoint.next_event()
            if event is None:
                return
            self._handle(event, now)

    def counters(self) -> dict[str, int]:
        """Return the endpoint's counters, each with `peer-ike.` before its name."""
        return {f"peer-ike.{name}": value for name, value in self._endpoint.counters.items()}

    # What there is to do.

    def _look(self, peering: _Peering, now: float) -> None:
        if self._peerings.get(peering.identity) is not peering:
            return
        self._context.timers.schedule(now + LOOK_INTERVAL, lambda then: self._look(peering, then))
        self._retire(peering, now)
        held = peering.peer.associations
        attempt = peering.attempt
        if attempt is not None:
            back = attempt.state is IkeState.INIT_SENT and held.last_heard() > peering.began
            if back and not self._due(peering, now):
                # It was only away, and has what was there before.
                self._abandon(peering)
            return
        lost = held.sending is None or now - held.last_heard() >= self._quiet
        if not lost and not self._due(peering, now):
            peering.trust()
        elif now >= peering.not_before:
            self._begin(peering, now)

    def _begin(self, peering: _Peering, now: float) -> None:
        peering.began = now
        peering.attempt = self._endpoint.initiate(
            peering.identity, self._own, peering.peer.address, now
        )

    def _due(self, peering: _Peering, now: float) -> bool:
        """Whether the SA in use needs a successor: its numbers, or its time, come to an end."""
        config = self._context.config
        sending = peering.peer.associations.sending
        if sending is None or now - sending.established < OVERLAP:
            return False
        windows = sending.inbound.windows
        assert isinstance(windows, SidWindows)
        received = max((each.highest for _, each in windows.windows.values()), default=0)
        if max(sending.outbound.counter, received) >= config.peer_soft_limit:
            return True
        # One of the two first, so that seldom both begin.
        patience = 1.0 if config.index < peering.peer.index else 1.1
        lifetime = config.peer_sa_lifetime * patience
        return 0 < lifetime <= now - sending.established

    def _retire(self, peering: _Peering, now: float) -> None:
        """End what was replaced, once nobody sends on it.

        Who began the successor says so to a peer that has both; the other one waits for that.
        """
        held = peering.peer.associations
        sending = held.sending
        if sending is None or sending.heard is None:
            return
        for old in held:
            unheard = now - max(old.heard or 0.0, old.established)
            if old is sending or unheard < OVERLAP or now - sending.established < OVERLAP:
                continue
            known = old.heard is not None and sending.established - old.heard < OVERLAP
            sa = old.ike_sa
            if sending.began_here and known and sa is not None and sa.established:
                self._endpoint.delete(sa, now)
            elif unheard >= FORGOTTEN_AFTER:
                self._remove(peering, old, "replaced")

    def _abandon(self, peering: _Peering) -> None:
        attempt, peering.attempt = peering.attempt, None
        if attempt is not None:
            self._endpoint.forget(attempt)

    # Who is known.

    def _know(self, peer: Peer) -> _Peering:
        identity = Identity.of(peer.address)
        made = self._peerings[identity] = _Peering(peer, identity)
        return made

    def _holder(self, identity: Identity) -> IkePeerConfig | None:
        """Return what a peer gets for a certificate of its own index and of this home prefix."""
        peering = self._peerings.get(identity)
        if peering is None:
            return None
        children = (peer_child(self._own, peering.peer.address),)
        prefix, index = self._context.config.home_prefix, peering.peer.index
        return IkePeerConfig(identity, None, children, prefix=prefix, index=index)

    def _admit(self, identity: Identity, certificate: HomeAgentCertificate) -> IkePeerConfig:
        """Take in a home agent that is authorised to serve here, and that nobody told of."""
        wanted = self._context.config.home_prefix
        if not any(wanted.subnet_of(each) for each in certificate.prefixes):
            raise NotAuthorised("prefix-not-delegated", f"{wanted} to {certificate.name}")
        if identity != Identity.of(certificate.address):
            raise NotAuthorised("wrong-identity", f"{certificate.name} is not at {identity}")
        self._know(self._members.authorise(certificate))
        admitted = self._holder(identity)
        assert admitted is not None
        return admitted

    # What comes about.

    def _handle(self, event: IkeEvent, now: float) -> None:
        if isinstance(event, RevocationsLearned):
            self._context.report(event)
            self._context.timers.schedule(now, self._revocations)
            return
        peering = self._peerings.get(event.peer) if event.peer is not None else None
        if peering is None:
            return
        match event:
            case ChildEstablished():
                self._take(peering, event.sa, event.child, event.sa.initiator, now)
            case ChildRekeyed():
                self._take(peering, event.sa, event.child, event.initiator, now)
            case IkeRekeyed():
                for each in peering.peer.associations:
                    if each.ike_sa is event.sa:
                        each.ike_sa = event.successor
                if event.sa is peering.attempt:
                    peering.attempt = event.successor
            case ChildDeleted():
                pair = peering.peer.associations.find(event.spi)
                if pair is not None:
                    self._lose(peering, [pair], event.reason, now)
            case IkeDeleted():
                pairs = [each for each in peering.peer.associations if each.ike_sa is event.sa]
                if event.sa is peering.attempt:
                    self._failed(peering, event.sa, event.reason, now)
                self._lose(peering, pairs, event.reason, now)
            case ChildFailed() | IkeFailed():
                self._failed(peering, event.sa, event.reason, now)
                if event.sa.established:
                    self._endpoint.delete(event.sa, now)

    def _take(
        self, peering: _Peering, sa: IkeSa, child: ChildSa, began_here: bool, now: float
    ) -> None:
        peer, held = peering.peer, peering.peer.associations
        if not self._is_member(peering, sa, now):
            return
        peer.proof = sa.certificate or peer.proof
        fresh = PeerAssociation(
            self._association(child, self._own, peer.address),
            self._association(child, peer.address, self._own),
            sa,
            began_here,
            now,
        )
        held.add(fresh)
        attempt = peering.attempt
        if attempt is sa:
            peering.attempt = None
        elif attempt is not None and attempt.state is IkeState.INIT_SENT:
            # Nobody can hold anything of it, and the peer has just shown that it began itself.
            self._abandon(peering)
        if began_here:  # else the peer may refuse this end yet
            peering.trust()
        self._context.report(
            PeerAssociationMade(peer.name, child.inbound_spi, child.outbound_spi, began_here)
        )
        others = sorted(
            (each for each in held if each not in (fresh, held.sending)),
            key=lambda each: each.heard or each.established,
        )
        for old in others[: max(0, len(held) - MOST_ASSOCIATIONS)]:
            self._remove(peering, old, "too-many")
        if held.sending is fresh:
            self._introduce(peer, now)

    def _is_member(self, peering: _Peering, sa: IkeSa, now: float) -> bool:
        """Introduce the one that has just proven itself, unless it is a peer already."""
        peer = peering.peer
        if self._context.peers.by_index(peer.index) is peer:
            return True
        assert sa.certificate is not None
        peer.name = HomeAgentCertificate.of(sa.certificate).name
        try:
            self._members.introduce(peer, now)
        except ValueError:  # another one was quicker
            self._context.counters["peer-ike-failed.index-taken"] += 1
            self.dismiss(peer)
            self._endpoint.delete(sa, now)
            return False
        self._look(peering, now)
        return True

    def _failed(self, peering: _Peering, sa: IkeSa, reason: str, now: float) -> None:
        """Say it once, and try again: soon after a silence, ever later after a refusal."""
        ours = sa is peering.attempt
        if ours:
            peering.attempt = None
            if reason != "timeout":
                peering.not_before = now + peering.back_off
                peering.back_off = min(2 * peering.back_off, LAST_RETRY)
        elif sa.initiator:
            return  # given up here, and no attempt any more
        self._context.counters[f"peer-ike-failed.{reason}"] += 1
        if ours and self._context.peers.by_index(peering.peer.index) is not peering.peer:
            self.dismiss(peering.peer)  # a peer told of it: it may tell again
            self._members.not_met(peering.peer, now)
        if (said := f"{reason} {sa.detail}") not in peering.said:
            peering.said.add(said)
            self._context.report(PeerAssociationFailed(peering.peer.name, reason, sa.detail))

    def _lose(
        self, peering: _Peering, pairs: list[PeerAssociation], reason: str, now: float
    ) -> None:
        """SAs are over; without any left there is no reason to wait for the next look."""
        for pair in pairs:
            self._remove(peering, pair, reason)
        idle = peering.peer.associations.sending is None and peering.attempt is None
        if pairs and idle and now >= peering.not_before:
            self._begin(peering, now)

    def _remove(self, peering: _Peering, pair: PeerAssociation, reason: str) -> None:
        """Hold `pair` no more, nor its IKE SA if it made no other."""
        held = peering.peer.associations
        if held.find(pair.inbound.spi) is not pair:
            return
        held.remove(pair)
        self._context.report(PeerAssociationEnded(peering.peer.name, pair.inbound.spi, reason))
        sa, pair.ike_sa = pair.ike_sa, None
        if sa is not None and sa.established and all(each.ike_sa is not sa for each in held):
            self._endpoint.forget(sa)

    def _association(
        self, child: ChildSa, source: IPv6Address, destination: IPv6Address
    ) -> SecurityAssociation:
        inbound = destination == self._own
        return SecurityAssociation(
            spi=child.inbound_spi if inbound else child.outbound_spi,
            home_address=IPv6Address(0),
            source=source,
            destination=destination,
            mode=child.mode,
            transform=child.transform,
            key=child.inbound_key if inbound else child.outbound_key,
            windows=SidWindows(),
        )

    def _new_spi(self) -> int:
        """Return an SPI of this HA's range, in which no key file of a peer has one."""
        return self._context.config.index << 24 | int.from_bytes(self._context.random_bytes(3))
