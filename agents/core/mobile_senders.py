"""Who sent a packet on a shared SA, as the mobile node sees it: which replay window it meets.

Three rules, one class each; `choose_senders` picks. The cases D1 to D5 are decided here:

- `OneSender`: one window, ORIGIN_IP ignored. A mobile node that knows nothing of it (rule 7), and
  naive sharing, with ORIGIN_IP switched off.
- `OriginSenders` (draft §3.1): a window for each ORIGIN_IP, unauthenticated. Before the first
  acknowledgement the option is honoured where it is present; once M was clear it is ignored; once
  M was set a packet without it is dropped, since the one window beside would take replays. M that
  is cleared later does not join the windows again, for the same reason.
- `SidSenders` (hardened, design §10 rule 6): a window for each SID, which the ICV covers. M and
  ORIGIN_IP decide nothing. Before the first acknowledgement the ICV alone vouches for a SID;
  afterwards its index must be in the SID table, and an ORIGIN_IP, where there is one, must be the
  address that the table gives.
"""

from collections.abc import Hashable, Mapping
from ipaddress import IPv6Address
from typing import Protocol
from weakref import WeakSet

from agents.config import Mode
from agents.core.counters import Dropped
from agents.core.replay_window import (
    INCARNATION_BITS,
    INCARNATION_MASK,
    OriginWindows,
    SidWindows,
    SingleWindow,
    Windows,
)
from agents.keys import SaMode
from agents.wire.addresses import address, is_unicast_routable
from agents.wire.errors import Reason

_IV = 8
"""Where the IV begins in an ESP packet, and in it the SID."""

_INDEX_SHIFT = 2
"""The HA index is the upper 6 bits of the SID's first octet."""

SidTable = Mapping[int, IPv6Address]
"""The home agents that may send: HA index → its own address."""


class Senders(Protocol):
    """Tells the senders on one mobile node's inbound SAs apart."""

    multihomed: bool | None
    """The M bit of the newest acknowledgement; None before the first."""
    table: SidTable | None
    """The SID table in force."""
    version: int
    """Of the table in force; 0 without one."""

    def windows(self, mode: SaMode) -> Windows:
        """Return the empty windows for a new inbound SA."""
        ...

    def identify(self, origin: bytes | None, esp: bytes) -> Hashable:
        """Return what names the sender before the ICV is checked; raise `Dropped`.

        `origin` is what ORIGIN_IP holds, `esp` the packet from the SPI on.
        """
        ...

    def vouch(self, sender: Hashable, table: SidTable | None) -> None:
        """Raise `Dropped` if `sender` may not acknowledge; `table` is the one that it brings."""
        ...

    def learn(self, multihomed: bool, version: int, table: SidTable | None) -> bool:
        """Take over what an acknowledgement says; return whether the SID table changed."""
        ...

    def describe(self, sender: Hashable) -> tuple[str, int | None]:
        """Return the sender's own address as text ("" if not known) and its incarnation."""
        ...


class OneSender:
    """One window, whoever sends (RFC 4303)."""

    def __init__(self) -> None:
        self.multihomed: bool | None = None
        self.table: SidTable | None = None
        self.version = 0

    def windows(self, mode: SaMode) -> Windows:
        """See `Senders`."""
        return SingleWindow()

    def identify(self, origin: bytes | None, esp: bytes) -> Hashable:
        """See `Senders`."""
        return None

    def vouch(self, sender: Hashable, table: SidTable | None) -> None:
        """See `Senders`."""

    def learn(self, multihomed: bool, version: int, table: SidTable | None) -> bool:
        """See `Senders`."""
        self.multihomed = multihomed
        return False

    def describe(self, sender: Hashable) -> tuple[str, int | None]:
        """See `Senders`."""
        return "", None


class OriginSenders(OneSender):
    """Draft §3.1: ORIGIN_IP names the sender."""

    def __init__(self) -> None:
        super().__init__()
        self._required = False

    def windows(self, mode: SaMode) -> Windows:
        """See `Senders`."""
        return OriginWindows()

    def identify(self, origin: bytes | None, esp: bytes) -> Hashable:
        """See `Senders`."""
        if self.multihomed is False and not self._required:
            return None
        if origin is None:
            if self._required:
                raise Dropped("origin-missing")
            return None
        _check_address(origin)
        return origin

    def learn(self, multihomed: bool, version: int, table: SidTable | None) -> bool:
        """See `Senders`."""
        self._required = self._required or multihomed
        return super().learn(multihomed, version, table)

    def describe(self, sender: Hashable) -> tuple[str, int | None]:
        """See `Senders`."""
        return (str(address(sender)) if isinstance(sender, bytes) else ""), None


class SidSenders(OneSender):
    """Design §10, rules 3 and 6: the SID in the IV names the sender."""

    def __init__(self) -> None:
        super().__init__()
        self._packed: dict[int, bytes] = {}
        # Renewals come and go: windows of SAs that are gone shall not stay.
        self._tunnels: WeakSet[SidWindows] = WeakSet()

    def windows(self, mode: SaMode) -> Windows:
        """See `Senders`. Acknowledgements are judged by `vouch`, once they are read."""
        windows = SidWindows()
        if mode is SaMode.TUNNEL:
            windows.allowed = None if self.table is None else self.table.keys()
            self._tunnels.add(windows)
        return windows

    def identify(self, origin: bytes | None, esp: bytes) -> Hashable:
        """See `Senders`. The SID is read from the IV by whoever opens the packet."""
        if origin is not None and self.table is None:
            _check_address(origin)
        elif origin is not None and len(esp) > _IV:
            listed = self._packed.get(esp[_IV] >> _INDEX_SHIFT)
            if listed is not None and listed != origin:
                raise Dropped("origin-mismatch")
        return None

    def vouch(self, sender: Hashable, table: SidTable | None) -> None:
        """See `Senders`. The first acknowledgement is taken on its ICV alone (rule 6)."""
        assert isinstance(sender, int)
        index = sender >> INCARNATION_BITS
        if self.table is None or index in self.table or (table is not None and index in table):
            return
        raise Dropped("unknown-sid")

    def learn(self, multihomed: bool, version: int, table: SidTable | None) -> bool:
        """See `Senders`. The table of the newest acknowledgement is the one in force."""
        super().learn(multihomed, version, table)
        if table is None:
            return False
        changed = self.table is None or dict(self.table) != dict(table)
        self.table, self.version = dict(table), version
        self._packed = {index: each.packed for index, each in self.table.items()}
        for windows in self._tunnels:
            windows.allowed = self.table.keys()
        return changed

    def describe(self, sender: Hashable) -> tuple[str, int | None]:
        """See `Senders`."""
        assert isinstance(sender, int)
        own = (self.table or {}).get(sender >> INCARNATION_BITS)
        return ("" if own is None else str(own)), sender & INCARNATION_MASK


def choose_senders(mode: Mode, *, origin_option: bool, multi_sender: bool) -> Senders:
    """Return the rule for this configuration."""
    if not multi_sender:
        return OneSender()
    if mode is Mode.HARDENED:
        return SidSenders()
    return OriginSenders() if origin_option else OneSender()


def _check_address(origin: bytes) -> None:
    """Raise `Dropped` for what no home agent can have as its own address (case D4)."""
    if not is_unicast_routable(address(origin)):
        raise Dropped(Reason.ADDRESS)
