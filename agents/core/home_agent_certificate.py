"""What the operator's authority says of a home agent: name, index, addresses, home prefixes."""

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from cryptography import x509
from cryptography.x509.oid import NameOID

from agents.config import MAX_HA_INDEX
from agents.core.ike.certificates import NotAuthorised
from agents.core.ike.chains import Verified
from agents.wire.ike.numbers import IdType


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
    def of(cls, verified: Verified) -> "HomeAgentCertificate":
        """Read a verified certificate; raises `NotAuthorised` (`not-a-home-agent`)."""
        leaf = verified.leaf
        prefixes = tuple(each for one in verified.ranges for each in one.prefixes())
        name = _attribute(leaf.whole.subject, NameOID.COMMON_NAME)
        digits = _attribute(leaf.whole.subject, NameOID.SERIAL_NUMBER)
        addresses = [
            IPv6Address(each.data) for each in leaf.identities if each.kind == IdType.IPV6_ADDR
        ]
        own = [each for each in addresses if not any(each in prefix for prefix in prefixes)]
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 2):
            raise NotAuthorised("not-a-home-agent", f"serialNumber of {leaf} is no index")
        if not 1 <= int(digits) <= MAX_HA_INDEX or not prefixes or len(own) != 1:
            raise NotAuthorised("not-a-home-agent", str(leaf))
        return cls(name, int(digits), own[0], prefixes, leaf.serial, leaf.issuer)


def _attribute(subject: x509.Name, oid: x509.ObjectIdentifier) -> str:
    found = subject.get_attributes_for_oid(oid)
    value = found[0].value if len(found) == 1 else ""
    return value if isinstance(value, str) else ""
