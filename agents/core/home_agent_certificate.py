"""What the operator's authority says of a home agent: name, index, addresses, home prefixes."""

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from agents.config import MAX_HA_INDEX
from agents.core.ike.not_authorised import NotAuthorised
from agents.wire.ike.numbers import IdType

if TYPE_CHECKING:  # reading X.509 takes its time to import, and not everybody needs it
    from agents.core.ike.chains import Verified


@dataclass(frozen=True, slots=True)
class HomeAgentCertificate:
    """A home agent's certificate, its chain verified.

    Subject: CN is `name`, serialNumber is `index`. Of the addresses in subjectAltName those within
    `prefixes`, its IP address blocks, are home agent addresses; `address` is the one outside.
    `serial` is the certificate's number, `issuer` its issuer's name in DER: what a revocation list
    names it by.
    """

    name: str
    index: int
    address: IPv6Address
    prefixes: tuple[IPv6Network, ...]
    serial: int
    issuer: bytes = b""

    @classmethod
    def of(cls, verified: "Verified") -> "HomeAgentCertificate":
        """Read a verified certificate; raises `NotAuthorised` (`not-a-home-agent`)."""
        leaf = verified.leaf
        prefixes = tuple(each for one in verified.ranges for each in one.prefixes())
        digits = leaf.subject_number
        addresses = [
            IPv6Address(each.data) for each in leaf.identities if each.kind == IdType.IPV6_ADDR
        ]
        own = [each for each in addresses if not any(each in prefix for prefix in prefixes)]
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 2):
            raise NotAuthorised("not-a-home-agent", f"serialNumber of {leaf} is no index")
        if not 1 <= int(digits) <= MAX_HA_INDEX or not prefixes or len(own) != 1:
            raise NotAuthorised("not-a-home-agent", str(leaf))
        return cls(leaf.common_name, int(digits), own[0], prefixes, leaf.serial, leaf.issuer)
