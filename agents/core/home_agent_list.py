"""The home agent list: who is a peer, as home agents join and go (draft §5; design §10, rule 6).

Whoever joins has been authenticated and authorised before it comes here, or an operator vouches for
it. What a peer that goes had of the primary role passes on at once.
"""

from collections.abc import Callable

from agents.core.context import Context
from agents.core.events import PeerDismissed, PeerIntroduced
from agents.core.home_agent_certificate import HomeAgentCertificate
from agents.core.ike.not_authorised import NotAuthorised
from agents.core.membership import Membership
from agents.core.peer_key_management import PeerKeyManagement
from agents.core.peers import Peer, PeerState
from agents.core.primary_role import PrimaryRole
from agents.core.sid_tables import SidTables
from agents.wire.inter_ha import Leave, LeaveAcknowledgement, MemberEntry

LEFT = "left"
"""Why an HA is dismissed that goes by itself."""

ISOLATED = "isolated"
"""Why a peer is dismissed that turned (rule 13)."""

FAREWELL_TIME = 2.0
"""Seconds for which a peer that left may repeat it: as long as it does (rule 6)."""


class HomeAgentList:
    """Changes the list, and has everything follow that depends on it."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        role: PrimaryRole,
        tables: SidTables,
        changed: Callable[[float], None],
    ) -> None:
        """`changed(now)` is told when the list is another one."""
        self._context = context
        self._membership = membership
        self._role = role
        self._tables = tables
        self._changed = changed
        self.keys: PeerKeyManagement | None = None
        """Where SAs with peers are made by IKE."""

    def introduce(self, peer: Peer, now: float) -> None:
        """Take `peer` in; raise `ValueError` where its index or address is taken."""
        config = self._context.config
        if config.index == peer.index or config.address == peer.address:
            raise ValueError(
                f"{peer.name}: index {peer.index} or {peer.address} is {config.name}'s"
            )
        if peer.index in self._context.isolated:
            raise ValueError(f"{peer.name}: HA index {peer.index} is isolated; readmit it first")
        self._context.peers.add(peer)
        self._tables.joined(peer.index)
        known = self._context.readmitted.get(peer.index, -1)
        peer.incarnation = max(peer.incarnation, known + 1)
        self._context.report(PeerIntroduced(peer.name, peer.index, peer.address))
        self._changed(now)
        self._membership.joined(peer, now)

    # What is asked about a home agent that has shown its certificate.

    def authorise(self, certificate: HomeAgentCertificate) -> Peer:
        """Return whom the holder would be.

        One that left may come back by itself, one that was dismissed by an operator's word alone;
        one that was isolated, and readmitted, by another certificate (rule 13).

        Raises:
            NotAuthorised: `index-taken`, `dismissed`, `isolated`.
        """
        name, index, own = certificate.name, certificate.index, certificate.address
        config, peers = self._context.config, self._context.peers
        taken = peers.by_index(index) or peers.by_address(own)
        if taken is not None or index == config.index or own == config.address:
            raise NotAuthorised("index-taken", f"{index} or {own} is not {name}'s here")
        before = peers.dismissed.get(index)
        spent = self._context.spent_certificates.get(index) == certificate.serial
        if index in self._context.isolated or spent:
            raise NotAuthorised("isolated", name)
        if before is not None and before.reason not in (LEFT, ISOLATED):
            raise NotAuthorised("dismissed", name)
        return Peer(name, index, own)

    def not_met(self, peer: Peer, now: float) -> None:
        """One that a peer's table lists has not proven itself: it is waited for no longer."""
        self._membership.not_met(peer.index, now)

    # Going.

    def left(self, peer: Peer, message: Leave, now: float) -> None:
        """`peer` goes by itself; what it has of the primary role is its successor's."""
        self._context.send_to_peer(peer, LeaveAcknowledgement(identifier=message.identifier))
        peers = self._context.peers
        if peers.by_index(peer.index) is not peer:
            return  # it did not hear that it was heard
        peers.say_farewell(peer)
        self._context.timers.schedule(now + FAREWELL_TIME, lambda then: self.end_farewell(peer))
        named = peers.by_index(message.successor)
        serves = message.successor == self._context.config.index or (
            named is not None and named is not peer and named.valid
        )
        self.dismiss(peer.index, LEFT, now, message.successor if serves else None)

    def end_farewell(self, peer: Peer) -> None:
        """Nothing is taken of a peer that left any more."""
        if self._context.peers.end_farewell(peer) and self.keys is not None:
            self.keys.dismiss(peer)

    def told_of(self, entry: MemberEntry, now: float) -> None:
        """A peer's table lists a home agent: one that is unknown here has to prove itself here."""
        peers, config = self._context.peers, self._context.config
        known = peers.by_index(entry.index) or peers.by_address(entry.address)
        own = entry.index == config.index or entry.address == config.address
        if known or own or entry.index in {**peers.dismissed, **self._context.isolated}:
            return
        self._context.counters["members-unknown"] += 1
        if self.keys is not None:
            self._membership.await_member(entry.index, now)
            self.keys.meet(Peer(f"index {entry.index}", entry.index, entry.address), now)

    def dismiss(self, index: int, reason: str, now: float, successor: int | None = None) -> None:
        """Reckon with the peer of `index` no more; raise `ValueError` if there is none.

        Its roles pass to `successor`; by default to the lowest index that is there. All HAs that
        dismiss it come to the same conclusion, and the successor tells them.
        """
        peer = self._context.peers.by_index(index)
        if peer is None:
            raise ValueError(f"no peer has index {index}")
        # First of all: nothing that its end sets off may be told to it.
        self._context.peers.remove(peer, reason)
        self._context.report(PeerDismissed(peer.name, index, reason))
        peer.state = PeerState.UNKNOWN
        self._membership.dismissed(peer, now)
        if self.keys is not None and self._context.peers.leaver(peer.address) is None:
            self.keys.dismiss(peer)
        if successor is None:
            successor = self._role.successor()
        self._role.succeed(index, successor, reason, now)
        self._changed(now)
