"""From keys as they stand in files to security associations, checked against the configuration."""

from collections.abc import Iterable
from ipaddress import IPv6Address

from agents.config import ConfigError, HomeAgentConfig, PeerConfig
from agents.core.peer_associations import PeerAssociation, PeerAssociations
from agents.core.peers import Peer
from agents.core.replay_window import SidWindows
from agents.core.security_associations import SecurityAssociation
from agents.keys import KeyedAssociation, Transform


def make_peer(config: HomeAgentConfig, peer: PeerConfig, keys: Iterable[KeyedAssociation]) -> Peer:
    """Return the peer with its two SAs of `keys`; raise `ConfigError` if one is missing."""
    outbound = inbound = None
    for each in keys:
        if (each.source, each.destination) == (config.address, peer.address):
            outbound = each
        elif (each.source, each.destination) == (peer.address, config.address):
            inbound = each
    if outbound is None or inbound is None:
        raise ConfigError(
            f"{peer.key_file}: no security association between {config.address} and "
            f"{peer.address} in both directions; add them"
        )
    made = []
    for keyed in (outbound, inbound):
        if keyed.transform is not Transform.AES_128_GCM:
            raise ConfigError(f"{peer.key_file}: transform: home agents use aes-128-gcm")
        made.append(
            SecurityAssociation(
                spi=keyed.spi,
                home_address=IPv6Address(0),
                source=keyed.source,
                destination=keyed.destination,
                mode=keyed.mode,
                transform=keyed.transform,
                key=keyed.key,
                windows=SidWindows(),
            )
        )
    associations = PeerAssociations()
    associations.add(PeerAssociation(made[0], made[1]))
    return Peer(peer.name, peer.index, peer.address, associations)


def mobile_association(keyed: KeyedAssociation, config: HomeAgentConfig) -> SecurityAssociation:
    """Return a mobile node's SA; raise `ConfigError` for one that does not fit this HA (rule 4)."""
    inbound = keyed.destination == config.home_agent_address
    home_address = keyed.source if inbound else keyed.destination
    if not inbound and keyed.source != config.home_agent_address:
        raise ConfigError(
            f"key file: {keyed.source} → {keyed.destination}: neither end is the home agent "
            f"address {config.home_agent_address}; correct the selectors"
        )
    if inbound and keyed.spi >> 24 != config.index:
        raise ConfigError(
            f"key file: spi: {keyed.spi:#010x} is not of {config.name}'s range; its top octet "
            f"must be {config.index:#04x}"
        )
    if keyed.transform not in config.mode.transforms:
        raise ConfigError(
            f"key file: transform: {keyed.transform}, but mode {config.mode} uses "
            f"{' or '.join(config.mode.transforms)}; use the same mode everywhere"
        )
    return SecurityAssociation(
        spi=keyed.spi,
        home_address=home_address,
        source=keyed.source,
        destination=keyed.destination,
        mode=keyed.mode,
        transform=keyed.transform,
        key=keyed.key,
        soft_limit=config.sequence_soft_limit,
        limit=config.sequence_limit,
    )
