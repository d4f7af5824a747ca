"""What a mobile node shows of itself, ready for JSON; no keys (invariant I7)."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address

from agents.config import MobileNodeConfig
from agents.core.binding_update_list import HomeRegistration
from agents.core.mobile_registration import State
from agents.core.mobile_senders import Senders
from agents.core.security_associations import SecurityAssociation


def status(
    config: MobileNodeConfig,
    registration: HomeRegistration,
    addresses: Mapping[IPv6Address, str],
    known: Senders,
) -> dict[str, object]:
    """Return the whole in a few values; `addresses` are the care-of addresses by interface."""
    return {
        "name": config.name,
        "role": "mobile-node",
        "mode": str(config.mode),
        "state": str(registration.state),
        "bound": registration.bound,
        "home_address": str(config.home_address),
        "home_agent_address": str(config.home_agent_address),
        "care_of_address": _text(registration.care_of_address),
        "addresses": {str(each): interface for each, interface in addresses.items()},
        "multihomed": known.multihomed,
        "sid_table_version": known.version,
    }


def bindings(config: MobileNodeConfig, registration: HomeRegistration) -> list[dict[str, object]]:
    """Return the Binding Update List; `expires` in seconds of the engine's clock."""
    if registration.state is State.NONE:
        return []
    return [
        {
            "destination": str(config.home_agent_address),
            "home_address": str(config.home_address),
            "care_of_address": _text(registration.care_of_address),
            "state": str(registration.state),
            "sequence": registration.sequence,
            "expires": registration.expires,
            "outstanding": [each.sequence for each in registration.outstanding],
        }
    ]


def associations(held: Iterable[SecurityAssociation]) -> list[dict[str, object]]:
    """Return the SAs; `sent` is the number last used here."""
    return [
        {
            "spi": each.spi,
            "source": str(each.source),
            "destination": str(each.destination),
            "mode": str(each.mode),
            "transform": str(each.transform),
            "state": str(each.state),
            "generation": each.generation,
            "sent": each.counter,
        }
        for each in held
    ]


def senders(known: Senders) -> list[dict[str, object]]:
    """Return the home agents of the SID table."""
    table = known.table or {}
    return [{"index": index, "address": str(own)} for index, own in sorted(table.items())]


def _text(value: IPv6Address | None) -> str | None:
    return None if value is None else str(value)
