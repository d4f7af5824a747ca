"""From a certificate to an anchor that is trusted (RFC 5280 §6.1, RFC 3779 §2.3)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv6Network

from agents.core.ike.certificates import Blocks, Certificate
from agents.core.ike.not_authorised import NotAuthorised
from agents.wire.address_blocks import AddressRange

MOST_AUTHORITIES = 4
"""Issuers above one certificate, the anchor included."""

MOST_SIGNATURES = 12
"""Signatures checked for one certificate: who is unproven chooses how many names agree."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A certificate whose chain holds: leaf first, anchor last; what it delegates to the leaf."""

    chain: tuple[Certificate, ...]
    ranges: tuple[AddressRange, ...]

    @property
    def leaf(self) -> Certificate:
        """Whose chain it is."""
        return self.chain[0]

    def delegates(self, prefix: IPv6Network) -> bool:
        """Whether the leaf's address blocks contain `prefix`."""
        return AddressRange.of(prefix).within(self.ranges)


def verify_chain(
    leaf: Certificate,
    presented: Iterable[Certificate],
    anchors: Sequence[Certificate],
    at: datetime,
) -> Verified:
    """Return the first chain from `leaf` over some of `presented` to an anchor that holds.

    Raises:
        NotAuthorised: `unknown-issuer` where no chain ends at an anchor; else what is wrong with
            the first one that does: `expired`, `not-yet-valid`, `not-an-authority`,
            `path-too-long`, `prefix-not-delegated`.
    """
    refusal = NotAuthorised("unknown-issuer", f"of {leaf}")
    found = False
    for chain in _chains((leaf,), tuple(presented), anchors, [MOST_SIGNATURES]):
        try:
            return _check(chain, at)
        except NotAuthorised as refused:
            refusal = refusal if found else refused
            found = True
    raise refusal


def _chains(
    chain: tuple[Certificate, ...],
    presented: tuple[Certificate, ...],
    anchors: Sequence[Certificate],
    left: list[int],
) -> Iterator[tuple[Certificate, ...]]:
    """Return chains whose signatures hold; an anchor counts as its own chain."""
    last = chain[-1]
    if any(each.octets == last.octets for each in anchors):
        yield chain
        return
    if len(chain) > MOST_AUTHORITIES:
        return
    for issuer in (*anchors, *presented):
        if last.issuer != issuer.subject or any(each.octets == issuer.octets for each in chain):
            continue
        if not left[0]:
            return
        left[0] -= 1
        if last.issued_by(issuer):
            yield from _chains((*chain, issuer), presented, anchors, left)


def _check(chain: tuple[Certificate, ...], at: datetime) -> Verified:
    for each in chain:
        each.check_validity(at)
    for below, issuer in enumerate(chain[1:]):
        if not (issuer.authority and issuer.signs_certificates):
            raise NotAuthorised("not-an-authority", str(issuer))
        if issuer.path_length is not None and below > issuer.path_length:
            raise NotAuthorised("path-too-long", str(issuer))
    return Verified(chain, _delegated(chain))


def _delegated(chain: tuple[Certificate, ...]) -> tuple[AddressRange, ...]:
    """Return the leaf's ranges; each certificate's lie within its issuer's (RFC 3779 §2.3).

    An anchor has to name its own. Who has no blocks has none to give either.
    """
    held: tuple[AddressRange, ...] = ()
    for depth, each in enumerate(reversed(chain)):
        match each.blocks:
            case None:
                held = ()
            case Blocks(ranges=None) if depth == 0:
                raise NotAuthorised("prefix-not-delegated", f"{each} inherits from nobody")
            case Blocks(ranges=None):
                pass
            case Blocks(ranges=tuple() as ranges):
                if depth and not all(one.within(held) for one in ranges):
                    raise NotAuthorised("prefix-not-delegated", f"to {each}")
                held = ranges
    return held
