"""The configurations of one mobile node with several home addresses: a whole file for each.

Their order is the order of preference (`agents.core.home_choice`).
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from agents.config import ConfigError, MobileNodeConfig, load_mobile_node

_SHARED = ("name", "directory", "interfaces", "path_mtu", "egress_record")
"""One process, one set of visited links, one TUN size a path."""

_OWN = ("home_address", "home_agent_address", "tun")


def load_mobile_homes(paths: Sequence[Path]) -> tuple[MobileNodeConfig, ...]:
    """Read and check the configurations of one mobile node; raise `ConfigError`."""
    configs = [load_mobile_node(path) for path in paths]
    for path, config in zip(paths, configs, strict=True):
        if not config.interfaces:
            raise ConfigError(
                f"{path}: interfaces: none; name the interfaces to visited networks"
            )  # fmt: skip
    for (path, config), (other_path, other) in combinations(zip(paths, configs, strict=True), 2):
        for key in _SHARED:
            if getattr(config, key) != getattr(other, key):
                raise ConfigError(
                    f"{other_path}: {key}: another one than in {path}; "
                    "the homes of one mobile node share it"
                )
        for key in _OWN:
            if getattr(config, key) == getattr(other, key):
                raise ConfigError(
                    f"{other_path}: {key}: {getattr(other, key)} as in {path}; "
                    "every home needs its own"
                )
        if config.home_prefix.overlaps(other.home_prefix):
            raise ConfigError(
                f"{other_path}: home_prefix: {other.home_prefix} overlaps that in {path}; "
                "every home network has its own"
            )
    return tuple(configs)
