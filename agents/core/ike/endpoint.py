"""One end of IKEv2: datagrams in and out, timers, events, and the verbs of its host.

The engine keeps to the suites of `negotiation` and to IPv6 selectors; DECISIONS.md says what else
it leaves out. It never sends INITIAL_CONTACT (rule 8).
"""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address

from agents.core.counters import Counters, Dropped
from agents.core.ike.child_exchanges import ChildExchanges
from agents.core.ike.config import ChildRequest, IkeConfig, IkePeerConfig
from agents.core.ike.context import Datagram, IkeContext
from agents.core.ike.events import IkeEvent
from agents.core.ike.ike_rekey import IkeRekeying
from agents.core.ike.informational import DeleteIke
from agents.core.ike.initiator import Initiator
from agents.core.ike.key_exchange import MakePrivateKey, private_keys
from agents.core.ike.not_authorised import NotAuthorised
from agents.core.ike.receiver import Receiver
from agents.core.ike.requests import Liveness
from agents.core.ike.responder import Responder
from agents.core.ike.sa import IkeSa
from agents.core.ike.states import LARVAL, IkeState, IkeTrigger
from agents.core.ike.transmission import Transmission
from agents.core.timers import TimerQueue
from agents.wire.errors import WireError
from agents.wire.ike.identity import Identity

__all__ = ["Datagram", "IkeEndpoint"]


class IkeEndpoint:
    """All IKE SAs of one host. `now` is in seconds, on any clock that does not go back."""

    def __init__(
        self,
        config: IkeConfig,
        timers: TimerQueue,
        random_bytes: Callable[[int], bytes],
        new_spi: Callable[[], int],
        private_key: MakePrivateKey | None = None,
    ) -> None:
        """`new_spi` chooses inbound SPIs of Child SAs (rule 4)."""
        make_key = private_key or private_keys(random_bytes)
        self._context = IkeContext(config, timers, random_bytes, new_spi, make_key)
        self._transmission = Transmission(self._context)
        self._rekeying = IkeRekeying(self._context, self._transmission)
        self._children = ChildExchanges(self._context, self._transmission, self._rekeying)
        self._initiator = Initiator(self._context, self._transmission, self._children)
        responder = Responder(self._context, self._transmission)
        self._receiver = Receiver(
            self._context,
            self._transmission,
            self._initiator,
            responder,
            self._children,
            self._rekeying,
        )

    @property
    def counters(self) -> Counters:
        """What was received, sent, refused and dropped, and why."""
        return self._context.counters

    def receive(self, datagram: Datagram, now: float) -> None:
        """Take one datagram that came to port 500 or 4500; a bad one is counted and dropped."""
        try:
            self._receiver.receive(datagram, now)
        except WireError as error:
            self.counters.drop(error.reason.value)
        except Dropped as dropped:
            self.counters.drop(dropped.reason)

    def datagrams_to_send(self) -> list[Datagram]:
        """Return what has to be sent, in order, and forget it."""
        datagrams, self._context.to_send = self._context.to_send, []
        return datagrams

    def next_event(self) -> IkeEvent | None:
        """Return the oldest event that has not been fetched, or None."""
        return self._context.events.popleft() if self._context.events else None

    def next_timer(self) -> float | None:
        """Return when `handle_timer` is due; of the whole queue, if it is shared."""
        return self._context.timers.next_time()

    def handle_timer(self, now: float) -> None:
        """Do what is due; the same as running the queue."""
        self._context.timers.run(now)

    def find(self, peer: Identity) -> IkeSa | None:
        """Return the newest established IKE SA with `peer`, or None.

        One by a certificate that is over, or revoked, does not count: the peer has to prove itself
        anew.
        """
        for sa in reversed(self._context.by_peer.get(peer, [])):
            if sa.established and sa.successor is None and self._believed(sa, peer):
                return sa
        return None

    def _believed(self, sa: IkeSa, peer: Identity) -> bool:
        credentials = self._context.config.credentials
        if sa.certificate is None or credentials is None:
            return True
        try:
            credentials.verify(sa.certificate.chain, peer)
        except NotAuthorised:
            return False
        return True

    def sas(self) -> list[IkeSa]:
        """Return all IKE SAs that are not over, old ones first.

        Of two that succeed the same one there is none before it is decided (RFC 7296 §2.8.2).
        """
        return [
            sa
            for sa in self._context.sas.values()
            if sa.state is not IkeState.DEAD and sa.rival_of is None and not sa.redundant
        ]

    def initiate(
        self,
        peer: Identity,
        local: IPv6Address,
        remote: IPv6Address,
        now: float,
        *,
        alone: bool = False,
    ) -> IkeSa:
        """Begin an IKE SA with `peer` at `remote`, and all that is configured under it.

        `alone` asks the peer to drop all that it has with this end besides (rule 13).

        Raises:
            KeyError: the peer is not configured.
        """
        config = self._context.config.peer(peer)
        if config is None:
            raise KeyError(f"{peer} is not configured")
        sa = IkeSa(True, 0, local, remote, peer=peer, state=IkeState.INIT_SENT, config=config)
        sa.alone = alone
        self._initiator.begin(sa, now)
        return sa

    def know(self, peers: tuple[IkePeerConfig, ...]) -> None:
        """Know these ends from now on, in place of those configured; nothing ends by that."""
        self._context.config = replace(self._context.config, peers=peers)

    def create_child(self, sa: IkeSa, request: ChildRequest, now: float) -> None:
        """Begin one more Child SA; `ChildEstablished` or `ChildFailed` follows."""
        self._children.create(sa.heir, request, now)

    def rekey_child(self, sa: IkeSa, spi: int, now: float) -> None:
        """Begin the successor of the Child SA with our inbound `spi`; `ChildRekeyed` follows.

        The old one stays: the host deletes it when nothing is sent on it any more (rule 9).
        """
        self._children.rekey(sa.heir, spi, now)

    def rekey_ike(self, sa: IkeSa, now: float) -> None:
        """Begin the successor of an IKE SA; `IkeRekeyed`, and `IkeDeleted` of the old one, follow.

        Its Child SAs move along (RFC 7296 §2.18). Verbs on `sa` go to its successor from then on.
        """
        self._rekeying.begin(sa.heir, now)

    def delete_child(self, sa: IkeSa, spi: int, now: float) -> None:
        """Delete the Child SA with our inbound `spi`; `ChildDeleted` follows."""
        self._children.delete(sa.heir, spi, "deleted", now)

    def delete(self, sa: IkeSa, now: float) -> None:
        """Delete an IKE SA, and with it at the peer all that it made; `IkeDeleted` follows."""
        sa = sa.heir
        if sa.state in LARVAL:
            self._context.end(sa, "deleted", now)
        elif sa.established:
            sa.handle(IkeTrigger.CLOSED)
            self._transmission.submit_first(sa, DeleteIke(self._context), now)

    def forget(self, sa: IkeSa) -> None:
        """End an IKE SA without a word to the peer (K = 0, or the other end moved on)."""
        for each in sa.line:
            if each.state is not IkeState.DEAD:
                self._context.close(each, "forgotten")
            self._context.drop(each)

    def check_liveness(self, sa: IkeSa, now: float) -> None:
        """Ask the peer whether it has this IKE SA, unless a request is outstanding anyway."""
        sa = sa.heir
        if sa.established and not sa.outstanding:
            self._transmission.submit(sa, Liveness(), now)

    def move(self, sa: IkeSa, local: IPv6Address, remote: IPv6Address) -> None:
        """Use other addresses from now on (K = 1): for repetitions of what is outstanding too."""
        for each in sa.line:
            each.local, each.remote = local, remote
