"""A home agent's state as JSON-able values, for its control socket. Keys never leave here."""

from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.replay_window import SingleWindow
from agents.core.security_associations import SecurityAssociation


def status(context: Context) -> dict[str, object]:
    """Return who this is and how much it holds."""
    return {
        "name": context.config.name,
        "index": context.config.index,
        "mode": str(context.config.mode),
        "incarnation": context.incarnation,
        "bindings": sum(each.bound for each in context.cache),
        "sas": len(context.associations),
        "peers": {peer.name: str(peer.state) for peer in context.peers},
        "open_exchanges": len(context.exchanges),
    }


def bindings(context: Context, now: float) -> list[dict[str, object]]:
    """Return the binding cache."""
    names = {peer.index: peer.name for peer in context.peers}
    names[context.config.index] = context.config.name
    return [_binding(each, names, now) for each in context.cache]


def associations(context: Context) -> list[dict[str, object]]:
    """Return the SAs: what travels, and this HA's own numbers."""
    return [_association(each) for each in context.associations]


def peers(context: Context) -> list[dict[str, object]]:
    """Return the peers and how they are doing."""
    return [
        {
            "name": peer.name,
            "index": peer.index,
            "address": str(peer.address),
            "state": str(peer.state),
            "incarnation": peer.incarnation,
            "ready": peer.ready,
            "misses": peer.misses,
        }
        for peer in context.peers
    ]


def _binding(binding: Binding, names: dict[int, str], now: float) -> dict[str, object]:
    return {
        "home_address": str(binding.home_address),
        "care_of_address": str(binding.care_of_address),
        "state": str(binding.state),
        "sequence": binding.sequence,
        "remaining": round(max(0.0, binding.expires - now), 1),
        "registration": binding.registration,
        "primary": names.get(binding.primary, str(binding.primary)),
        "epoch": binding.epoch,
        "multi_sender": binding.multi_sender,
        "priority": binding.priority,
    }


def _association(association: SecurityAssociation) -> dict[str, object]:
    received = None
    if association.inbound and isinstance(association.windows, SingleWindow):
        received = association.windows.window.highest
    return {
        "home_address": str(association.home_address),
        "spi": f"{association.spi:#010x}",
        "direction": "in" if association.inbound else "out",
        "mode": str(association.mode),
        "transform": str(association.transform),
        "generation": association.generation,
        "state": str(association.state),
        "sent": association.counter,
        "received": received,
        "silent": association.silent,
    }
