"""IPv6 addresses on the wire: 16 octets <-> `ipaddress.IPv6Address`."""

from functools import lru_cache
from ipaddress import IPv6Address

from agents.wire.errors import Reason, WireError

LENGTH = 16


@lru_cache(maxsize=4096)
def address(octets: bytes) -> IPv6Address:
    """Return the address in 16 octets; cached, since few addresses fill most packets."""
    return IPv6Address(octets)


@lru_cache(maxsize=4096)
def is_unicast_routable(candidate: IPv6Address) -> bool:
    """Tell whether the address may be a home, care-of or origin address (RFC 6275 §2.1)."""
    return not (
        candidate.is_unspecified
        or candidate.is_multicast
        or candidate.is_loopback
        or candidate.is_link_local
    )


def unicast_address(octets: bytes, what: str) -> IPv6Address:
    """Return the address in 16 octets.

    Raises:
        WireError: (`bad-address`) it is not unicast routable.
    """
    found = address(octets)
    if not is_unicast_routable(found):
        raise WireError(Reason.ADDRESS, f"{what} {found} is not a unicast routable address")
    return found
