"""The operator's word on who is no home agent any more: signed revocation lists (rule 13).

However one comes here, by a verb, from a peer, or in somebody's IKE_AUTH: a home agent whose
certificate stands on it is isolated, and the list goes to all other peers, and later to those that
could not be told. So one home agent that hears it is enough.
"""

from typing import TYPE_CHECKING

from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.counters import Dropped
from agents.core.events import RevocationsHeard
from agents.core.ike.not_authorised import NotAuthorised
from agents.core.isolation import REVOKED, Isolation
from agents.core.peers import Peer
from agents.core.revocation_exchange import RevocationExchange, parts
from agents.core.signalling import Signalling
from agents.wire import inter_ha
from agents.wire.mobility import ExperimentalMessage
from agents.wire.mobility_header import HEAD

if TYPE_CHECKING:  # reading X.509 takes its time to import, and not everybody needs it
    from agents.core.ike.credentials import Credentials


class OperatorsWord:
    """Takes revocation lists, acts on them, and hands them on."""

    def __init__(
        self,
        context: Context,
        credentials: "Credentials | None",
        isolation: Isolation,
        signalling: Signalling,
    ) -> None:
        self._context = context
        self._signalling = signalling
        self._revocations = None if credentials is None else credentials.revocations
        self._isolation = isolation
        self._exchange = RevocationExchange(context, self._handed_on)
        self._heeded: set[bytes] = set()
        """The lists that were acted on and handed on."""

    def learn(self, octets: bytes, now: float) -> bool:
        """Take a list in DER from an operator; return whether it is news.

        Raises:
            ValueError: it is none, nobody trusted has signed it, or certificates are not in use.
        """
        if self._revocations is None:
            raise ValueError("no credentials here: isolate by name")
        try:
            news = self._revocations.learn(octets)
        except NotAuthorised as refused:
            raise ValueError(f"not a revocation list to believe: {refused}") from refused
        self.heed("verb", None, now)
        return news

    def receive(self, peer: Peer, message: inter_ha.Revocations, now: float) -> None:
        """A peer hands a list on, or a part of it."""
        self._exchange.receive(peer, message, now)

    def heed(self, source: str, teller: Peer | None, now: float) -> None:
        """Act on what is known and was not acted on; `teller` has it already."""
        lists = () if self._revocations is None else self._revocations.lists()
        fresh = [each for each in lists if each.octets not in self._heeded]
        revoked = [each for each in self._context.peers if self._is_revoked(each)]
        for each in fresh:
            self._heeded.add(each.octets)
            self._context.report(RevocationsHeard(source, each.number))
            told = [p for p in self._context.peers.valid() if p not in revoked and p is not teller]
            self._exchange.tell(each.octets, told, now)
        for peer in revoked:
            self._isolation.isolate(peer.index, REVOKED, now)
        for index in [each for each in self._context.isolated if self._is_spent(each)]:
            self._isolation.confirm(index, now)

    def met(self, peer: Peer, now: float) -> None:
        """`peer` is there, or there again: it may not have been told."""
        if self._revocations is not None:
            for each in self._revocations.lists():
                self._exchange.tell(each.octets, (peer,), now)

    def tell_mobile_node(self, binding: Binding, now: float) -> None:
        """Send the lists to a mobile node, on an SA that it has.

        Whoever is isolated may know the SA, and may hold back what the mobile node answers in IKE:
        it cannot forge a list, and need not be passed on the way there.
        """
        own = self._context.config.home_agent_address
        for each in () if self._revocations is None else self._revocations.lists():
            for part in parts(each.octets):
                header = inter_ha.serialize_inter_ha(part, own, binding.home_address)
                try:
                    self._signalling.send(
                        ExperimentalMessage(header[HEAD:]),
                        binding.home_address,
                        binding.care_of_address,
                        binding.multi_sender,
                        in_tunnel=False,
                        kept_back=0,
                    )
                except Dropped as dropped:
                    self._context.counters.drop(dropped.reason)

    def _handed_on(self, octets: bytes, peer: Peer, now: float) -> None:
        if self._revocations is None:
            self._context.counters.drop("revocations-not-used")
            return
        try:
            self._revocations.learn(octets)
        except NotAuthorised as refused:
            self._context.counters[f"revocations-refused.{refused.reason}"] += 1
            return
        self.heed(peer.name, peer, now)

    def _is_spent(self, index: int) -> bool:
        """Whether the certificate with which `index` was put out is revoked."""
        serial = self._context.spent_certificates.get(index)
        if self._revocations is None or serial is None:
            return False
        return self._revocations.revoked(serial)

    def _is_revoked(self, peer: Peer) -> bool:
        """Whether the certificate by which `peer` proved itself, or one above it, is revoked."""
        if self._revocations is None or peer.proof is None:
            return False
        return any(
            self._revocations.revoked(each.serial, each.issuer) for each in peer.proof.chain[:-1]
        )
