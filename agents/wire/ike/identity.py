"""Who an end is: the content of IDi and IDr (RFC 7296 §3.5)."""

from dataclasses import dataclass
from ipaddress import IPv6Address

from agents.wire.errors import Reason, WireError
from agents.wire.ike.numbers import IdType

_TEXT = (IdType.FQDN, IdType.RFC822_ADDR)


@dataclass(frozen=True, slots=True)
class Identity:
    """A type and its octets; compared as a whole, letter for letter."""

    kind: int
    data: bytes

    @classmethod
    def of(cls, value: IPv6Address | str | bytes) -> "Identity":
        """Return ID_IPV6_ADDR of an address, ID_FQDN or ID_RFC822_ADDR of text, else ID_KEY_ID.

        Text that reads as an IPv6 address is one; text with an `@` inside is a mailbox.

        Raises:
            ValueError: the text is not ASCII.
        """
        if isinstance(value, bytes):
            return cls(IdType.KEY_ID, value)
        try:
            return cls(IdType.IPV6_ADDR, IPv6Address(value).packed)
        except ValueError:
            text = str(value)
            kind = IdType.RFC822_ADDR if "@" in text else IdType.FQDN
            return cls(kind, text.encode("ascii"))

    def __str__(self) -> str:
        if self.kind == IdType.IPV6_ADDR and len(self.data) == 16:
            return str(IPv6Address(self.data))
        if self.kind in _TEXT and self.data.isascii() and self.data.decode().isprintable():
            return self.data.decode()
        return f"id-{self.kind}:{self.data.hex()}"

    def serialize(self) -> bytes:
        """Return the payload's body; with an initial type it is what AUTH covers (§2.15)."""
        return bytes((self.kind, 0, 0, 0)) + self.data


def parse_identity(body: bytes) -> Identity:
    """Return the identity in a payload's body.

    Raises:
        WireError: `truncated`; `bad-field-value` for an address of a wrong length.
    """
    if len(body) < 4:
        raise WireError(Reason.TRUNCATED, f"an identification payload of {len(body)} octets")
    kind, data = body[0], body[4:]
    expected = {IdType.IPV6_ADDR: 16, IdType.IPV4_ADDR: 4}.get(kind)  # type: ignore[call-overload]
    if expected is not None and len(data) != expected:
        raise WireError(Reason.FIELD_VALUE, f"an identification address of {len(data)} octets")
    return Identity(kind, data)
