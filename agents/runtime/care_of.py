"""Movement detection: which care-of addresses are usable, from the kernel's own notifications."""

from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import NamedTuple

from agents.runtime.netlink import (
    ADDRESS_DAD_FAILED,
    ADDRESS_DEPRECATED,
    ADDRESS_OPTIMISTIC,
    ADDRESS_TENTATIVE,
    Address,
    Change,
    Link,
)


class Movement(NamedTuple):
    """A care-of address became usable, or no longer is."""

    address: IPv6Address
    interface: str
    usable: bool


class CareOfAddresses:
    """Global addresses on the given interfaces; usable while checked and the carrier is there."""

    def __init__(self, interfaces: Iterable[str]) -> None:
        self._names = tuple(interfaces)
        self._links: dict[int, Link] = {}
        self._flags: dict[tuple[int, IPv6Address], int] = {}
        self._usable: dict[IPv6Address, int] = {}

    def name(self, index: int) -> str | None:
        """Return the name of a visited interface, None for any other one."""
        link = self._links.get(index)
        return link.name if link is not None and link.name in self._names else None

    def update(self, changes: Iterable[Change]) -> list[Movement]:
        """Take notifications; return what changed, losses first, so that one moves, not two."""
        for change in changes:
            if isinstance(change, Link):
                self._update_link(change)
            elif isinstance(change, Address) and change.scope == 0:
                key = (change.interface, change.address)
                if change.gone:
                    self._flags.pop(key, None)
                else:
                    self._flags[key] = change.flags
        return self._compare()

    def replace(self, everything: Iterable[Change]) -> list[Movement]:
        """Take a whole dump in place of what was known."""
        self._links.clear()
        self._flags.clear()
        return self.update(everything)

    def _update_link(self, change: Link) -> None:
        if change.gone:
            self._links.pop(change.interface, None)
        else:
            self._links[change.interface] = change

    def _compare(self) -> list[Movement]:
        usable = {
            address: index
            for (index, address), flags in self._flags.items()
            if _checked(flags) and self.name(index) is not None and self._links[index].up
        }
        lost = [
            Movement(address, self.name(index) or "", False)
            for address, index in self._usable.items()
            if usable.get(address) != index
        ]
        found = [
            Movement(address, self.name(index) or "", True)
            for address, index in usable.items()
            if self._usable.get(address) != index
        ]
        self._usable = usable
        # The interface named first in the configuration comes last: the newest address is used.
        found.sort(key=lambda each: -self._names.index(each.interface))
        return lost + found


def _checked(flags: int) -> bool:
    """Has duplicate address detection passed, or may the address be used before (RFC 4429)?"""
    if flags & (ADDRESS_DAD_FAILED | ADDRESS_DEPRECATED):
        return False
    return not flags & ADDRESS_TENTATIVE or bool(flags & ADDRESS_OPTIMISTIC)
