"""SAs whose numbers, or whose time, come to an end: who renews them (draft §3.2.2; rules 1 and 9).

The primary renews. Another HA sends it an SA Information Renew Request; while the primary is
invalid it sends that to every valid peer, which marks the SA due: takeover comes first, by the HA
that receives the mobile node's next packet. Where none comes, the HA that asked provokes a Binding
Update by a Binding Refresh Request, for which it kept numbers back.
"""

from collections.abc import Callable
from ipaddress import IPv6Address

from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.events import RenewalRequested
from agents.core.peers import Peer
from agents.core.renewal import Renewal
from agents.core.security_associations import SaState, SecurityAssociation
from agents.core.synchronisation import Synchronisation
from agents.wire import inter_ha
from agents.wire.inter_ha import InterHaStatus
from agents.wire.transforms import Mode as SaMode

PATIENCE = 1.0
"""Seconds after which an HA asks again, if the SA is still due and not renewed."""

PROVOKE_TIME = 0.2
"""Seconds for which a packet of the mobile node is waited for before one is provoked."""

LIFETIME_MARGIN = 0.1
"""Share of its lifetime for which an HA that is not primary waits for the primary to renew."""


class RenewRequests:
    """Finds out what is due, and sees to it."""

    def __init__(
        self,
        context: Context,
        renewal: Renewal,
        synchronisation: Synchronisation,
        provoke: Callable[[Binding], None],
    ) -> None:
        """`provoke(binding)` sends a Binding Refresh Request, by the last numbers if it must."""
        self._context = context
        self._renewal = renewal
        self._synchronisation = synchronisation
        self._provoke = provoke
        self._asked: dict[IPv6Address, float] = {}

    def consider(self, now: float) -> None:
        """Look at the SAs that were found to be near an end since the last call."""
        due = tuple(self._context.due)
        self._context.due.clear()
        for association in due:
            self._consider(association, now)

    def watch_lifetime(self, association: SecurityAssociation, now: float) -> None:
        """Have its generation renewed in time; ages are counted from when it is held here."""
        lifetime = self._context.config.sa_lifetime
        if lifetime and association.inbound and association.mode is SaMode.TUNNEL:
            self._context.timers.schedule(
                now + lifetime, lambda then: self._aged(association, then, waited=False)
            )

    def receive(self, peer: Peer, request: inter_ha.SaInformationRenewRequest, now: float) -> None:
        """A peer runs out of numbers. Renew if primary, else mark the SA due (rule 1)."""
        association = self._context.associations.by_spi(request.spi)
        binding = self._context.cache.get(request.home_address)
        if association is None or association.home_address != request.home_address:
            # It may have been renewed already, and the peer has missed it: tell, if we know.
            self._synchronisation.tell_associations(
                peer, request.home_address, request.identifier, now
            )
            return
        if self._is_renewed(association):
            self._synchronisation.tell_associations(
                peer, request.home_address, request.identifier, now
            )
            return
        association.marked_due = True
        status = InterHaStatus.NOT_PRIMARY
        if binding is None or not binding.bound:
            status = InterHaStatus.NOT_FOUND
        elif binding.primary == self._context.config.index:
            under_way = self._renewal.due(binding, f"requested by {peer.name}", now)
            impossible = InterHaStatus.ADMINISTRATIVELY_PROHIBITED
            status = InterHaStatus.ACCEPTED if under_way else impossible
        self._context.send_to_peer(
            peer,
            inter_ha.SaInformationAcknowledgement(status=status, identifier=request.identifier),
        )

    def _consider(self, association: SecurityAssociation, now: float) -> None:
        home_address = association.home_address
        if now < self._asked.get(home_address, 0.0) or self._is_renewed(association):
            return
        binding = self._context.cache.get(home_address)
        if binding is None or not binding.bound:
            return
        if binding.primary == self._context.config.index:
            self._renewal.due(binding, _cause(association), now)
            return
        self._asked[home_address] = now + PATIENCE
        self._context.timers.schedule(now + PATIENCE, lambda then: self._again(association))
        self._ask(binding, association, now)

    def _again(self, association: SecurityAssociation) -> None:
        self._asked.pop(association.home_address, None)
        if association.state is not SaState.DEAD and association.renewal_due:
            self._context.due.setdefault(association)

    def _ask(self, binding: Binding, association: SecurityAssociation, now: float) -> None:
        primary = self._context.peers.by_index(binding.primary)
        if primary is not None and primary.valid:
            asked = [primary]
        else:
            asked = self._context.peers.valid()
            association.marked_due = True
            self._context.timers.schedule(
                now + PROVOKE_TIME, lambda then: self._provoke_update(binding, association)
            )
        spi = self._shared_spi(association)
        if spi is None:
            return
        names = " ".join(peer.name for peer in asked)
        self._context.report(RenewalRequested(binding.home_address, names))
        for peer in asked:
            request = inter_ha.SaInformationRenewRequest(
                home_address=binding.home_address,
                spi=spi,
                identifier=self._context.exchanges.new_identifier(peer.index),
            )
            self._context.exchange(peer, request, now)

    def _provoke_update(self, binding: Binding, association: SecurityAssociation) -> None:
        """No packet of the mobile node has led to a takeover: have one sent (rule 1)."""
        held = self._context.cache.get(binding.home_address)
        if held is None or not held.bound or self._is_renewed(association):
            return
        if self._context.peers.is_gone(held.primary):
            self._provoke(held)

    def _is_renewed(self, association: SecurityAssociation) -> bool:
        """Whether its successor is here: a renewal is never asked for twice."""
        newest = self._context.associations.generation(association.home_address)
        return association.state is SaState.DEAD or association.generation < newest

    def _shared_spi(self, association: SecurityAssociation) -> int | None:
        """Return the SPI by which every HA knows the pair: the one towards the home agents."""
        if association.inbound:
            return association.spi
        wanted = (True, association.mode, association.generation)
        for each in self._context.associations.of(association.home_address):
            if (each.inbound, each.mode, each.generation) == wanted:
                return each.spi
        return None

    def _aged(self, association: SecurityAssociation, now: float, *, waited: bool) -> None:
        if association.state is not SaState.MATURE:
            return
        binding = self._context.cache.get(association.home_address)
        primary = binding is not None and binding.primary == self._context.config.index
        if primary or waited:
            association.marked_due = True
            self._context.due.setdefault(association)
            return
        margin = self._context.config.sa_lifetime * LIFETIME_MARGIN
        self._context.timers.schedule(
            now + margin, lambda then: self._aged(association, then, waited=True)
        )


def _cause(association: SecurityAssociation) -> str:
    if association.silent:
        return "silent-after-restart"
    if association.marked_due:
        return "due"
    return "received-numbers" if association.inbound else "sent-numbers"
