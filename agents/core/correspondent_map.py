"""The CN → HA map as the mobile node holds it: where packets to a correspondent go (rule 11).

A protected Binding Acknowledgement brings the map whole; one without it takes it away. In
hardened mode an entry must name a home agent of the SID table, by its address there.
"""

from collections.abc import Iterable
from ipaddress import IPv6Address

from agents.core.mobile_senders import SidTable
from agents.core.outer_header import OuterHeader
from agents.core.replay_window import INCARNATION_BITS
from agents.wire import ipv6
from agents.wire.mobility_options import CorrespondentMap, MapEntry, MobilityOption


class HeldMap:
    """Entries of the newest acknowledgement, ready for packets from one care-of address."""

    def __init__(self, *, hardened: bool) -> None:
        self._hardened = hardened
        self._care_of: IPv6Address | None = None
        self.entries: tuple[MapEntry, ...] = ()
        self.refused = 0
        """Entries that did not fit the SID table."""
        self.routes: dict[bytes, tuple[int, OuterHeader]] = {}
        """A correspondent as it stands in packets → SID meant (0 in draft modes), outer header."""

    def install(self, options: Iterable[MobilityOption], table: SidTable | None) -> bool:
        """Take over what an acknowledgement says; return whether anything changed."""
        found = [each for each in options if isinstance(each, CorrespondentMap)]
        before = self.entries
        self.entries = tuple(
            entry for each in found for entry in each.entries if self._fits(entry, table or {})
        )
        if self.entries == before:
            return False
        self._prepare()
        return True

    def attach(self, care_of_address: IPv6Address) -> None:
        """Packets come from this address from now on."""
        self._care_of = care_of_address
        self._prepare()

    def _fits(self, entry: MapEntry, table: SidTable) -> bool:
        listed = table.get(entry.sid >> INCARNATION_BITS) == entry.address
        fits = listed if self._hardened else not entry.sid
        self.refused += not fits
        return fits

    def _prepare(self) -> None:
        self.routes = {}
        if self._care_of is None:
            return
        for entry in self.entries:
            header = OuterHeader(self._care_of, entry.address, ipv6.ESP)
            self.routes[entry.correspondent.packed] = entry.sid, header
