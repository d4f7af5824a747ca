"""The address plan, in one place.

All addresses are unique local addresses (RFC 4193), because RFC 4727 keeps the documentation
prefix out of experiments. The digits are those of the draft's figures: where the draft writes
192.168.1.0/24, this plan writes ``fd00:192:168:1::/64``, digits kept and read as hexadecimal.

Agents never import this module: what they need of it is in their configuration files.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

HOME_PREFIX = IPv6Network("fd00:192:168:1::/64")
"""The home network (HN): lives in the home agents' TUN devices, on no link."""

HOME_AGGREGATE = IPv6Network("fd00:192:168::/48")
"""What the other ASes see of the home network."""

HOME_AGENT_ADDRESS = HOME_PREFIX[0x254]
"""The one address that all home agents answer to (anycast)."""

INTERFACE_TOKEN = IPv6Address("::100")
"""The interface identifier that a mobile node takes on every visited link."""

HOME_AS = 1
HOME_ASES = (1, 2, 4, 5)
"""The ASes that can have home agents, in order; AS 3 is the one that has none and says it had."""

HIJACKER_AS = 3
TRANSIT_AS = 100
"""Figure 1's transit; Figure 2's are 101, 102, ..."""

MAX_HOME_AGENTS = 63
"""A home agent's index has six bits of the sender id, and 0 is kept."""


def home_prefix(number: int) -> IPv6Network:
    """Return the n-th home network, counted from 1: the draft's, then that of its §4.2."""
    return IPv6Network(f"fd00:192:{167 + number}:1::/64")


def home_aggregate(number: int) -> IPv6Network:
    """Return what the other ASes see of the n-th home network."""
    return IPv6Network(f"fd00:192:{167 + number}::/48")


def home_address(mobile_node: int = 1) -> IPv6Address:
    """Return the home address (HoA) of the n-th mobile node, counted from 1."""
    return HOME_PREFIX[0x100 + mobile_node - 1]


def as_prefix(asn: int) -> IPv6Network:
    """Return the /32 that an AS announces; its number's digits stand in the second group."""
    return IPv6Network(f"fd00:{asn}::/32")


def link_prefix(asn: int, link: str) -> IPv6Network:
    """Return the /64 of one link of an AS; ``link`` is a group of at most four hex digits."""
    return IPv6Network(f"fd00:{asn}:{link}::/64")


def visited_prefix(network: int) -> IPv6Network:
    """Return the prefix of the n-th visited network, counted from 1: fd00:10:10:<n>0::/64."""
    return IPv6Network(f"fd00:10:10:{network}0::/64")


def care_of_address(network: int, mobile_node: int = 1) -> IPv6Address:
    """Return the care-of address (CoA) that a mobile node forms in a visited network by SLAAC."""
    return visited_prefix(network)[int(INTERFACE_TOKEN) + mobile_node - 1]


def router_id(number: int) -> str:
    """Return the 32-bit router identifier of the n-th routing node, in dotted form."""
    return f"10.0.{number >> 8}.{number & 255}"
