"""What a home agent asks of key management, and what it is told in return.

The seam between SAs as home agents share them and the protocol that agrees on keys (IKEv2). Without
one, keys come from files, and no SA can be renewed.
"""

from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Protocol

from agents.core.security_associations import SecurityAssociation
from agents.keys import KeyedAssociation


class KeyExchange(Protocol):
    """Agrees on fresh SAs with mobile nodes, and tells them of deleted ones."""

    def renew(
        self,
        home_address: IPv6Address,
        care_of_address: IPv6Address,
        now: float,
        *,
        alone: bool = False,
    ) -> None:
        """Begin to agree on a fresh set of SAs; `agreed` or `failed` follows, exactly one.

        `alone`: on a new IKE SA, whatever there is, and the mobile node is to drop all others, and
        all SAs that it held before (rule 13).
        """
        ...

    def delete(
        self,
        home_address: IPv6Address,
        associations: Sequence[SecurityAssociation],
        now: float,
    ) -> None:
        """Have the mobile node delete `associations`; `deleted` follows, in any outcome."""
        ...


class KeyExchangeUser(Protocol):
    """What key management reports to."""

    def agreed(
        self, home_address: IPv6Address, associations: Sequence[KeyedAssociation], now: float
    ) -> None:
        """Take the fresh set: the mobile node holds it, receives on it, does not yet send on it.

        SPIs towards the home agents are of this HA's range (design §10, rule 4).
        """
        ...

    def failed(self, home_address: IPv6Address, reason: str, now: float) -> None:
        """No fresh set came about; `reason` is a slug."""
        ...

    def deleted(
        self,
        home_address: IPv6Address,
        associations: Sequence[SecurityAssociation],
        now: float,
    ) -> None:
        """The mobile node sends on `associations` no more, or does not answer."""
        ...
