"""The SAs between two home agents: received on while they are held, one of them sent on.

With keys from a file there is one pair for ever. With IKEv2 a fresh pair may stand beside an older
one for a while, and both ends choose by the same observations which one they send on.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from agents.core.ike.sa import IkeSa
from agents.core.replay_window import INCARNATION_MASK
from agents.core.security_associations import SecurityAssociation

OVERLAP = 2.0
"""Seconds for which an SA that was replaced is received on at least, as in rule 9."""


@dataclass(slots=True, eq=False)
class PeerAssociation:
    """Both directions of an SA with a peer; `ike_sa` None: its keys come from a file."""

    outbound: SecurityAssociation
    inbound: SecurityAssociation
    ike_sa: IkeSa | None = None
    began_here: bool = True
    established: float = 0.0
    """When, by this HA's clock."""
    heard: float | None = None
    """When the last authentic packet came on it."""
    incarnation: int = 0
    """The highest incarnation of the peer in such a packet."""


class PeerAssociations:
    """All that are held with one peer."""

    def __init__(self) -> None:
        self._by_spi: dict[int, PeerAssociation] = {}
        self.revision = 0
        """Another one whenever an SA came or went."""
        self.sending: PeerAssociation | None = None

    def __iter__(self) -> Iterator[PeerAssociation]:
        """Go through them, old ones first."""
        return iter(tuple(self._by_spi.values()))

    def __len__(self) -> int:
        return len(self._by_spi)

    def find(self, spi: int) -> PeerAssociation | None:
        """Return the one on which a packet with that SPI arrived, or None."""
        return self._by_spi.get(spi)

    def add(self, association: PeerAssociation) -> None:
        """Hold a fresh one, and send on it if the peer is known to hold it, or if it is the only.

        Who answers IKE_AUTH cannot know whether its answer has arrived: it waits for a packet.
        """
        self._by_spi[association.inbound.spi] = association
        self.revision += 1
        if self.sending is None or association.began_here:
            self.sending = association

    def remove(self, association: PeerAssociation) -> None:
        """Hold it no more; the newest one left is sent on if that was this one."""
        self._by_spi.pop(association.inbound.spi, None)
        self.revision += 1
        if self.sending is association:
            self.sending = next(reversed(self._by_spi.values()), None)

    def heard(
        self, association: PeerAssociation, sender: Hashable, now: float, *, follow: bool
    ) -> None:
        """An authentic packet of SID `sender` came on `association`.

        The first one on an SA that the peer began shows that the peer holds it. After that the
        HA with the higher index follows the other (`follow`), so that both send on the same; not
        where a packet of an earlier life of the peer arrives late.
        """
        first = association.heard is None
        association.heard = now
        if isinstance(sender, int):
            association.incarnation = max(association.incarnation, sender & INCARNATION_MASK)
        sending = self.sending
        if sending is None or sending is association:
            return
        newer = association.established >= sending.established
        shown = first and newer and not association.began_here
        followed = (
            follow
            and association.incarnation >= sending.incarnation
            and now - sending.established >= OVERLAP
        )
        if shown or followed:
            self.sending = association

    def last_heard(self) -> float:
        """Return when the peer was last heard on any of them, or the last one was made; 0: never.

        Seconds.
        """
        times = [max(each.heard or 0.0, each.established) for each in self._by_spi.values()]
        return max(times, default=0.0)
