"""NAT detection (RFC 7296 §2.23), used here to ask for ESP in UDP."""

from collections.abc import Iterable
from ipaddress import IPv6Address

from cryptography.hazmat.primitives import hashes

from agents.core.ike.sa import Route
from agents.wire.ike.header import Header
from agents.wire.ike.numbers import NotifyType
from agents.wire.ike.payloads import Notify, Payload

HASH_LENGTH = 20
_BOTH = {NotifyType.NAT_DETECTION_SOURCE_IP, NotifyType.NAT_DETECTION_DESTINATION_IP}


def detection(head: Header, route: Route, source: bytes) -> tuple[Notify, Notify]:
    """Return the two notifications of an IKE_SA_INIT message.

    `source`: 20 octets that stand for our own address. Random ones match nothing, so that the
    other end sees a NAT: UDP encapsulation is forced that way where there is none.
    """
    return (
        Notify(NotifyType.NAT_DETECTION_SOURCE_IP, source),
        Notify(
            NotifyType.NAT_DETECTION_DESTINATION_IP,
            _digest(head, route.remote, route.remote_port),
        ),
    )


def supported(payloads: Iterable[Payload]) -> bool:
    """Whether the other end can encapsulate: it sent both notifications.

    It has then seen ours, which show a NAT in front of this end.
    """
    kinds = {each.kind for each in payloads if isinstance(each, Notify)}
    return kinds >= _BOTH


def _digest(head: Header, address: IPv6Address, port: int) -> bytes:
    made = hashes.Hash(hashes.SHA1())  # what RFC 7296 §2.23 prescribes
    made.update(head.spi_initiator.to_bytes(8) + head.spi_responder.to_bytes(8))
    made.update(address.packed + port.to_bytes(2))
    return made.finalize()
