"""IP address blocks of a certificate (RFC 3779 §2): DER <-> ranges of IPv6 addresses.

Blocks of other address families are passed over: nothing here is delegated by them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Network, collapse_addresses

from agents.wire.errors import Reason, WireError

EXTENSION = "1.3.6.1.5.5.7.1.7"
"""id-pe-ipAddrBlocks."""

_IPV6 = b"\0\x02"
"""addressFamily: the AFI alone, any SAFI."""
_BITS = 128
_SEQUENCE, _BIT_STRING, _OCTET_STRING, _NULL = 0x30, 0x03, 0x04, 0x05


@dataclass(frozen=True, slots=True)
class AddressRange:
    """IPv6 addresses from `first` to `last`, both included, as numbers."""

    first: int
    last: int

    @classmethod
    def of(cls, prefix: IPv6Network) -> "AddressRange":
        """Return the addresses of a prefix."""
        return cls(int(prefix.network_address), int(prefix.broadcast_address))

    def within(self, ranges: Iterable["AddressRange"]) -> bool:
        """Whether ranges, merged as `parse_address_blocks` returns them, contain all of this."""
        return any(each.first <= self.first and self.last <= each.last for each in ranges)

    def prefixes(self) -> Iterator[IPv6Network]:
        """Return the fewest prefixes that are the same addresses."""
        first = self.first
        while first <= self.last:
            bits = min((first & -first).bit_length() - 1 if first else _BITS, _BITS)
            while first + (1 << bits) - 1 > self.last:
                bits -= 1
            yield IPv6Network((first, _BITS - bits))
            first += 1 << bits


def parse_address_blocks(der: bytes) -> tuple[AddressRange, ...] | None:
    """Return the IPv6 ranges, in order and merged, or None where they are the issuer's (`inherit`).

    Raises:
        WireError: `truncated`, `bad-field-value`.
    """
    found: tuple[AddressRange, ...] | None = ()
    seen = False
    for family in _elements(_only(der, _SEQUENCE), _SEQUENCE):
        identifier, choice = _take(family, _OCTET_STRING)
        if identifier != _IPV6:
            continue
        if seen:
            raise WireError(Reason.FIELD_VALUE, "an address family twice")
        seen = True
        if choice == bytes((_NULL, 0)):
            found = None
        else:
            found = _merged(_range(item) for item in _each(_only(choice, _SEQUENCE)))
    return found


def serialize_address_blocks(prefixes: Iterable[IPv6Network]) -> bytes:
    """Return the extension's value for IPv6 prefixes, in canonical form (RFC 3779 §2.2.3)."""
    blocks = b"".join(_prefix(each) for each in collapse_addresses(prefixes))
    family = _element(_OCTET_STRING, _IPV6) + _element(_SEQUENCE, blocks)
    return _element(_SEQUENCE, _element(_SEQUENCE, family))


def _prefix(prefix: IPv6Network) -> bytes:
    octets = -(-prefix.prefixlen // 8)
    unused = octets * 8 - prefix.prefixlen
    return _element(_BIT_STRING, bytes((unused,)) + prefix.network_address.packed[:octets])


def _range(item: tuple[int, bytes]) -> AddressRange:
    """Return an addressPrefix or an addressRange (§2.2.3.7)."""
    tag, content = item
    if tag == _BIT_STRING:
        found = AddressRange(_bound(content, ones=False), _bound(content, ones=True))
    elif tag == _SEQUENCE:
        low, rest = _take(content, _BIT_STRING)
        found = AddressRange(_bound(low, ones=False), _bound(_only(rest, _BIT_STRING), ones=True))
    else:
        raise WireError(Reason.FIELD_VALUE, f"an address block of tag {tag}")
    if found.first > found.last:
        raise WireError(Reason.FIELD_VALUE, "an address range that ends before it begins")
    return found


def _bound(bits: bytes, *, ones: bool) -> int:
    """Return the lowest or, with `ones`, highest address that begins with a BIT STRING."""
    if not bits or len(bits) > 1 + _BITS // 8 or bits[0] > 7 or (bits[0] and len(bits) == 1):
        raise WireError(Reason.FIELD_VALUE, "a bit string that is no part of an address")
    unused = _BITS - 8 * (len(bits) - 1) + bits[0]
    value = int.from_bytes(bits[1:]) >> bits[0] << unused
    return value | (1 << unused) - 1 if ones else value


def _merged(ranges: Iterable[AddressRange]) -> tuple[AddressRange, ...]:
    merged: list[AddressRange] = []
    for each in sorted(ranges, key=lambda each: each.first):
        if merged and each.first <= merged[-1].last + 1:
            merged[-1] = AddressRange(merged[-1].first, max(merged[-1].last, each.last))
        else:
            merged.append(each)
    return tuple(merged)


# The little of DER that this takes (X.690): definite lengths, tags of one octet.


def _element(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes(-(-length.bit_length() // 8))
    return bytes((tag, 0x80 | len(octets))) + octets + content


def _next(data: bytes) -> tuple[int, bytes, bytes]:
    """Return the tag and the content of the first element, and what follows it."""
    if len(data) < 2:
        raise WireError(Reason.TRUNCATED, "an element is cut")
    tag, length, offset = data[0], data[1], 2
    if length >= 0x80:
        count = length & 0x7F
        if not 1 <= count <= 2 or len(data) < 2 + count:
            raise WireError(Reason.FIELD_VALUE, "an element of a bad length")
        length, offset = int.from_bytes(data[2 : 2 + count]), 2 + count
    if offset + length > len(data):
        raise WireError(Reason.TRUNCATED, "an element is cut")
    return tag, data[offset : offset + length], data[offset + length :]


def _take(data: bytes, wanted: int) -> tuple[bytes, bytes]:
    tag, content, rest = _next(data)
    if tag != wanted:
        raise WireError(Reason.FIELD_VALUE, f"an element of tag {tag} in place of {wanted}")
    return content, rest


def _only(data: bytes, wanted: int) -> bytes:
    content, rest = _take(data, wanted)
    if rest:
        raise WireError(Reason.FIELD_VALUE, "octets behind the last element")
    return content


def _each(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        tag, content, data = _next(data)
        yield tag, content


def _elements(data: bytes, wanted: int) -> Iterator[bytes]:
    while data:
        content, data = _take(data, wanted)
        yield content
