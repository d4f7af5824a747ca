"""Configurations and keys of simulated home agents and mobile nodes, by index and number."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

from agents.config import HomeAgentConfig, MobileNodeConfig, PeerConfig
from agents.keys import KeyedAssociation, SaMode, Transform
from topologies import addressing

NOWHERE = Path("/nonexistent")
"""Engines read no files."""

MOBILE_SPI = 0x80 << 24
PairKeys = dict[int, dict[int, tuple[KeyedAssociation, ...]]]


def own_address(index: int) -> IPv6Address:
    """Return a home agent's own address."""
    return addressing.link_prefix(addressing.HOME_AS, str(index))[index]


def home_agent(index: int, members: Iterable[int], **options: object) -> HomeAgentConfig:
    """Return the configuration of one of the home agents `members`."""
    config = HomeAgentConfig(
        name=f"HA{index}",
        index=index,
        address=own_address(index),
        directory=NOWHERE,
        home_prefix=addressing.HOME_PREFIX,
        home_agent_address=addressing.HOME_AGENT_ADDRESS,
        peers=tuple(
            PeerConfig(f"HA{other}", other, own_address(other), NOWHERE)
            for other in members
            if other != index
        ),
    )
    return replace(config, **options)  # type: ignore[arg-type]


def mobile_node(number: int) -> MobileNodeConfig:
    """Return the configuration of a mobile node."""
    return MobileNodeConfig(
        name=f"mn{number}",
        home_address=addressing.home_address(number),
        home_agent_address=addressing.HOME_AGENT_ADDRESS,
        home_prefix=addressing.HOME_PREFIX,
        directory=NOWHERE,
        key_file=NOWHERE,
    )


def pair_keys(members: Iterable[int], chance: random.Random) -> PairKeys:
    """Return the two SAs of every pair of home agents, by index and peer's index."""
    indexes = list(members)
    keys: PairKeys = {index: {} for index in indexes}
    for one, other in itertools.combinations(indexes, 2):
        pair = tuple(
            KeyedAssociation(
                receiver << 24 | 0xFF0000 | sender,
                own_address(sender),
                own_address(receiver),
                SaMode.TRANSPORT,
                Transform.AES_128_GCM,
                chance.randbytes(Transform.AES_128_GCM.key_length),
            )
            for sender, receiver in ((one, other), (other, one))
        )
        keys[one][other] = keys[other][one] = pair
    return keys


def mobile_keys(
    number: int, generation: int, holder: int, transform: Transform, chance: random.Random
) -> tuple[KeyedAssociation, ...]:
    """Return a mobile node's four SAs: signalling and payload, both directions."""
    home, anycast = addressing.home_address(number), addressing.HOME_AGENT_ADDRESS
    low = number << 10 | generation << 1
    return tuple(
        KeyedAssociation(
            spi, source, destination, mode, transform, chance.randbytes(transform.key_length)
        )
        for bit, mode in enumerate((SaMode.TRANSPORT, SaMode.TUNNEL))
        for spi, source, destination in (
            (holder << 24 | low | bit, home, anycast),
            (MOBILE_SPI | low | bit, anycast, home),
        )
    )
