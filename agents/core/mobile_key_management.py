"""IKEv2 of a mobile node with the home agent address, whichever HA is behind it (rule 8).

The mobile node begins when it has no SA: at its start, when all have ended, or when Binding Updates
on those that it has go unanswered. After that home agents renew, and it answers; a renewal may come
on a new IKE SA, from another home agent.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Protocol

from agents.config import MobileNodeConfig
from agents.core.counters import Dropped
from agents.core.events import Event, RevocationsHeard
from agents.core.ike.child_sa import ChildSa
from agents.core.ike.config import IkeConfig, IkePeerConfig
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
from agents.core.ike.not_authorised import NotAuthorised
from agents.core.ike.sa import IkeSa
from agents.core.ike_packets import groups, keyed, mobile_children, to_datagram, to_packet
from agents.core.revocation_exchange import Assembly
from agents.core.timers import Timer, TimerQueue
from agents.keys import KeyedAssociation
from agents.wire import ipv6
from agents.wire.ike.identity import Identity
from agents.wire.inter_ha import Revocations
from agents.wire.transforms import Mode as SaMode
from agents.wire.transforms import Transform

if TYPE_CHECKING:  # reading X.509 takes its time to import, and not everybody needs it
    from agents.core.ike.credentials import Credentials

FIRST_RETRY = 1.0
"""Seconds after an attempt that failed; doubled each time, up to `LAST_RETRY`."""

LAST_RETRY = 32.0

ATTEMPT_TIME = 4.0
"""Seconds for one attempt: the home agent that began to answer may be gone, and another one, which
knows nothing of its IKE SA, cannot say so in a way to be believed."""


EXPOSED_TIME = 1.0
"""Seconds for which SAs are used that a revoked home agent knows: so long others may take."""


class MobileKeyUser(Protocol):
    """What a mobile node is told."""

    def renew_keys(self, associations: Sequence[KeyedAssociation], now: float) -> None:
        """Hold a fresh set beside what is held."""
        ...

    def replace_keys(self, associations: Sequence[KeyedAssociation], now: float) -> None:
        """Hold a fresh set, and send on it at once: home agents have no other."""
        ...

    def use_only(self, associations: Sequence[KeyedAssociation], now: float) -> None:
        """Hold a fresh set, and drop all others at once: a home agent that turned knows them."""
        ...

    def held_keys(self) -> Collection[int]:
        """Return the inbound SPIs of all SAs that are held."""
        ...

    def delete_keys(self, spis: Collection[int], now: float) -> None:
        """Delete the SAs with these inbound SPIs, and their twins."""
        ...


class MobileKeyManagement:
    """One mobile node's IKE endpoint."""

    def __init__(
        self,
        config: MobileNodeConfig,
        secret: bytes | None,
        credentials: "Credentials | None",
        timers: TimerQueue,
        random_bytes: Callable[[int], bytes],
        user: MobileKeyUser,
        send: Callable[[bytes], None],
        report: Callable[[Event], None],
    ) -> None:
        """`send` takes whole packets, `report` events for the journal.

        With `credentials` home agents have to prove themselves by certificate, and so does this
        mobile node, unless it has a `secret`.
        """
        self._home = config.home_address
        self._home_agent = config.home_agent_address
        self._identity = Identity.of(self._home_agent)
        transform = Transform(config.mode.transform)
        children = mobile_children(self._home, self._home_agent, transform)
        self._credentials = credentials
        self._assembly = Assembly()
        self._told = b""
        """The list that a home agent told of last."""
        self._peer = IkePeerConfig(
            self._identity,
            secret,
            children,
            certified=credentials is not None,
            prefix=config.home_prefix,
        )
        self._endpoint = IkeEndpoint(
            IkeConfig(
                Identity.of(self._home),
                (self._peer,),
                groups=groups(config.ike_groups),
                credentials=credentials,
            ),
            timers,
            random_bytes,
            lambda: int.from_bytes(random_bytes(4)),
        )
        self._timers = timers
        self._user = user
        self._send = send
        self._report = report
        self._care_of: IPv6Address | None = None
        self._wanted = False
        self._attempt: IkeSa | None = None
        self._retry: Timer | None = None
        self._back_off = FIRST_RETRY
        self._fresh: dict[IkeSa, dict[SaMode, ChildSa]] = {}

    def receive(self, packet: ipv6.Packet, now: float) -> None:
        """Take an IKE packet from the home agent address; raises `Dropped`."""
        self._endpoint.receive(to_datagram(packet), now)
        self.pump(now)

    def pump(self, now: float) -> None:
        """Pass on what the endpoint has to send and to report."""
        while (event := self._endpoint.next_event()) is not None:
            self._report(event)
            self._handle(event, now)
        for datagram in self._endpoint.datagrams_to_send():
            self._send(to_packet(datagram))

    def counters(self) -> dict[str, int]:
        """Return the endpoint's counters, each with `ike.` before its name."""
        return {f"ike.{name}": value for name, value in self._endpoint.counters.items()}

    def begin(self, now: float) -> None:
        """There is no SA: agree on some, now or as soon as there is a care-of address."""
        if self._wanted:
            return
        self._wanted = True
        self._back_off = FIRST_RETRY
        self._try(now)

    def attach(self, care_of_address: IPv6Address | None, now: float) -> None:
        """Another address is the active one. What is under way begins anew there."""
        if care_of_address == self._care_of:
            return
        self._care_of = care_of_address
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            self._fresh.pop(attempt, None)
            self._endpoint.forget(attempt)
        if self._wanted:
            self._try(now)
        self.pump(now)

    def moved(self, keep: bool, now: float) -> None:
        """The home agent knows where we are: IKE follows (K = 1) or ends (RFC 6275 §11.7.3)."""
        for sa in self._endpoint.sas():
            if self._care_of is None or sa.local == self._care_of or not sa.established:
                continue
            if keep:
                self._endpoint.move(sa, self._care_of, self._home_agent)
            else:
                self._endpoint.forget(sa)
        self.pump(now)

    def _try(self, now: float) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if not self._wanted or self._care_of is None or self._attempt is not None:
            return
        self._attempt = self._endpoint.initiate(
            self._identity, self._care_of, self._home_agent, now
        )
        attempt = self._attempt
        self._timers.schedule(now + ATTEMPT_TIME, lambda then: self._time_out(attempt, then))
        self.pump(now)

    def _time_out(self, attempt: IkeSa, now: float) -> None:
        if attempt.heir is self._attempt:
            self._give_up(attempt.heir, now)
            self.pump(now)

    def load_secret(self, secret: bytes) -> None:
        """Use another pre-shared key from now on; nothing that is established ends (rule 13)."""
        self._peer = replace(self._peer, secret=secret)
        self._endpoint.know((self._peer,))

    def learn_revocations(self, message: Revocations, now: float) -> None:
        """A home agent hands on a revocation list, or a part of it, under an SA.

        The SA proves nothing, since all home agents have it; the issuer's signature does. Raises
        `Dropped`.
        """
        if self._credentials is None:
            raise Dropped("revocations-not-used")
        whole = self._assembly.add(message)
        if whole is None:
            return
        try:
            self._credentials.revocations.learn(whole)
        except NotAuthorised as refused:
            raise Dropped(f"revocations-{refused.reason}") from refused
        # IKE_AUTH may have brought it before; an old one changes nothing.
        known = any(each.octets == whole for each in self._credentials.revocations.lists())
        if known and whole != self._told:
            self._told = whole
            self._report(RevocationsHeard("home-agent", self._newest_number(whole)))
            self._heed_revocations(now, told=True)

    def _newest_number(self, octets: bytes) -> int:
        assert self._credentials is not None
        lists = self._credentials.revocations.lists()
        return next((each.number for each in lists if each.octets == octets), 0)

    def _heed_revocations(self, now: float, *, told: bool) -> None:
        """End what was made with a home agent that is none any more (rule 13).

        Its IKE SA at once. The SAs of that moment it knows too, whoever made them: whoever told us
        is about to replace them, and if not, there is a time for it. A list that came in IKE_AUTH,
        not `told` for that purpose, may concern anybody: there only that IKE SA shows it.
        """
        assert self._credentials is not None
        revocations = self._credentials.revocations
        exposed = told
        for sa in self._endpoint.sas():
            proof = sa.certificate.chain[:-1] if sa.certificate is not None else ()
            if any(revocations.revoked(each.serial, each.issuer) for each in proof):
                exposed = True
                self._fresh.pop(sa, None)
                self._endpoint.forget(sa)
        if exposed:
            held = self._user.held_keys()
            self._timers.schedule(
                now + EXPOSED_TIME, lambda then: self._user.delete_keys(held, then)
            )

    def _handle(self, event: IkeEvent, now: float) -> None:
        match event:
            case RevocationsLearned():
                self._heed_revocations(now, told=False)
            case IkeEstablished():
                for other in self._endpoint.sas():
                    if other is not event.sa and other.established:
                        self._endpoint.forget(other)
            case ChildEstablished():
                self._take(event.sa, event.child, now, alone=event.sa.alone)
            case ChildRekeyed():
                self._take(event.sa, event.child, now, alone=False)
            case ChildDeleted(reason="by-peer"):
                self._user.delete_keys((event.spi,), now)
            case IkeRekeyed():
                if event.sa in self._fresh:
                    self._fresh[event.successor] = self._fresh.pop(event.sa)
                if event.sa is self._attempt:
                    self._attempt = event.successor
            case ChildFailed() | IkeFailed() | IkeDeleted():
                self._give_up(event.sa, now)

    def _take(self, sa: IkeSa, child: ChildSa, now: float, *, alone: bool) -> None:
        """Hold the fresh SAs once both are there; `alone`: in place of all others (rule 13)."""
        fresh = self._fresh.setdefault(sa, {})
        fresh[child.mode] = child
        if len(fresh) < len(SaMode):
            return
        del self._fresh[sa]
        self._wanted = False
        began_here, self._attempt = sa is self._attempt, None
        associations = [
            association
            for each in fresh.values()
            for association in keyed(each, self._home, self._home_agent)
        ]
        if alone:
            self._user.use_only(associations, now)
        elif began_here:
            self._user.replace_keys(associations, now)
        else:
            self._user.renew_keys(associations, now)

    def _give_up(self, sa: IkeSa, now: float) -> None:
        self._fresh.pop(sa, None)
        if sa is not self._attempt:
            return
        self._attempt = None
        self._endpoint.forget(sa)
        if self._wanted:
            self._retry = self._timers.schedule(now + self._back_off, self._try)
            self._back_off = min(2 * self._back_off, LAST_RETRY)
