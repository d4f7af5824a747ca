"""Putting out a home agent that has turned, for good (draft §5; design §10, rule 13).

By an operator's word (a verb, or a certificate on a signed revocation list), by its own words
(`misconduct`), or by those of more than half of all home agents. From then on nothing of it is
taken, nothing is told or relayed to it, another HA has its roles, and no SA that it knew stays.
"""

from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.events import (
    IsolationComplete,
    MisconductProven,
    PeerAccused,
    PeerIsolated,
    PeerReadmitted,
)
from agents.core.exposed_associations import ExposedAssociations
from agents.core.failure_detection import detection_bound
from agents.core.home_agent_list import ISOLATED, HomeAgentList
from agents.core.misconduct import Proven
from agents.core.peers import Peer
from agents.core.primary_role import PrimaryRole
from agents.wire import inter_ha
from agents.wire.inter_ha import Misconduct

REVOKED = "revoked"
"""Cause of an isolation that all others hear of in the same moment."""

SUCCESSION = 0.05
"""Seconds that each HA waits for those of lower index to take a role that nobody living has."""


class Isolation:
    """Decides who is put out, and does it."""

    def __init__(
        self,
        context: Context,
        home_agents: HomeAgentList,
        role: PrimaryRole,
        exposed: ExposedAssociations,
    ) -> None:
        self._context = context
        self._home_agents = home_agents
        self._role = role
        self._exposed = exposed
        self._accused: dict[int, set[int]] = {}
        """By index of the accused, who accuses."""
        self._only_here: set[int] = set()
        """Isolated before the others can have been: they may have told it of fresh SAs since."""
        self._last = 0

    # Verbs.

    def isolate(self, index: int, cause: str, now: float) -> bool:
        """Put the home agent of `index` out; return whether that is news.

        Raises `ValueError` for this HA itself.
        """
        context = self._context
        if index == context.config.index:
            raise ValueError(f"{context.config.name} cannot isolate itself; ask the others")
        if index in context.isolated:
            return False
        peer = context.peers.by_index(index)
        name = peer.name if peer is not None else f"HA index {index}"
        known = peer.incarnation if peer is not None else 0
        context.isolated[index] = known
        if peer is not None and peer.proof is not None:
            context.spent_certificates[index] = peer.proof.leaf.serial
        if cause != REVOKED:
            self._only_here.add(index)
        self._last = index
        context.counters["isolation.isolated"] += 1
        context.report(PeerIsolated(name, index, cause))
        self._exposed.mark(now)
        if peer is not None:
            self._home_agents.dismiss(index, ISOLATED, now)
        for leaver in context.peers.leavers():
            if leaver.index == index:
                self._home_agents.end_farewell(leaver)
        self._settle_roles(now)
        self._exposed.replace(now)
        return True

    def confirm(self, index: int, now: float) -> None:
        """The operator isolates `index` everywhere, which this HA has done already: renew again."""
        if index in self._only_here:
            self._only_here.discard(index)
            self._exposed.mark(now)
            self._exposed.replace(now)

    def readmit(self, index: int, now: float) -> None:
        """Let the home agent of `index` join again, in a later incarnation than it was put out in.

        What proves that it is another one, a new certificate, is for key management to check; one
        that was revoked stays so. Raises `ValueError` if it is not isolated.
        """
        if index not in self._context.isolated:
            raise ValueError(f"HA index {index} is not isolated")
        self._context.readmitted[index] = self._context.isolated.pop(index)
        self._accused.pop(index, None)
        self._only_here.discard(index)
        self._context.report(PeerReadmitted(index))

    # What a peer proves against itself, and what others say.

    def caught(self, peer: Peer, proven: Proven, now: float) -> None:
        """`peer` has said what no honest home agent says: isolate it, and tell the others."""
        context, kind = self._context, proven.misconduct
        if context.peers.by_index(peer.index) is not peer:
            return
        context.counters[f"misconduct.{kind.slug}"] += 1
        context.report(MisconductProven(peer.name, peer.index, kind.slug, proven.detail))
        self._accuse(peer, kind, now)
        self.isolate(peer.index, "misconduct", now)

    def accusation(self, peer: Peer, message: inter_ha.Accusation, now: float) -> None:
        """`peer` says that it has caught another one.

        Fewer liars than half of all cannot put an honest one out: more than half have to accuse it,
        of all that this HA has ever counted, isolated ones too.
        """
        context = self._context
        context.send_to_peer(peer, inter_ha.IsolationAcknowledgement(identifier=message.identifier))
        index, kind = message.accused, message.misconduct
        context.counters["isolation.accusations"] += 1
        if index in context.isolated or index == peer.index:
            return
        if message.accused_incarnation <= context.readmitted.get(index, -1):
            return
        accusers = self._accused.setdefault(index, set())
        if peer.index not in accusers:
            accusers.add(peer.index)
            context.report(PeerAccused(peer.name, index, kind.slug))
        if index == context.config.index:
            return
        believed = accusers - context.isolated.keys()
        if 2 * len(believed) > self._all():
            self.isolate(index, "accused", now)

    def _accuse(self, peer: Peer, kind: Misconduct, now: float) -> None:
        for other in self._context.peers.valid():
            if other is peer:
                continue
            accusation = inter_ha.Accusation(
                peer.index,
                peer.incarnation,
                kind,
                identifier=self._context.exchanges.new_identifier(other.index),
            )
            self._context.exchange(other, accusation, now)

    def _all(self) -> int:
        """Count the home agents: this one, its peers, and those that are isolated."""
        peers = {each.index for each in self._context.peers}
        return 1 + len(peers | self._context.isolated.keys())

    # Roles.

    def _settle_roles(self, now: float) -> None:
        """Nobody may be left without a primary that lives: its SAs have to be renewed.

        A binding whose primary is gone otherwise is taken over too, though no packet came (rule 1).
        """
        own = self._context.config.index
        order = sorted([own, *(each.index for each in self._context.peers.valid())])
        wait = SUCCESSION * order.index(own)
        # One that is believed to live may be gone, and is noticed only then.
        later = detection_bound(self._context.config) + SUCCESSION + wait
        for then in (wait, later):
            self._context.timers.schedule(now + then, self._take_what_is_left)

    def _take_what_is_left(self, now: float) -> None:
        for binding in self._context.cache:
            if self._is_left(binding):
                self._role.take(binding, "isolation", now)

    def _is_left(self, binding: Binding) -> bool:
        if not binding.bound or binding.primary == self._context.config.index:
            return False
        return self._context.peers.is_gone(binding.primary)

    # What comes of it.

    def complete(self, renewed: int, now: float) -> None:
        """No exposed SA is left here."""
        self._context.report(IsolationComplete(self._last, renewed))
