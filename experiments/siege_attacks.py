"""What the stranger sends: frames of each attack, varied from a few that scapy makes.

The stranger is a station on the visited link: it hears the mobile node's packets, so it knows
addresses and SPIs, and has recorded genuine Binding Updates; keys it has none.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from itertools import chain, cycle, islice

from experiments import hijack_forgeries as forgeries
from experiments.attacks import ETHERNET, load_scapy
from experiments.hijack_forgeries import Known

COUNT = 8192
"""Different frames of one attack; they are sent in turn."""

FAR = 1 << 24
"""Sequence numbers from here on are right of every window, so that the ICV has to be computed."""

SOURCES = 200
"""Addresses of its network that the stranger sends from."""

IKE_PORT = 500
_HEADER, _UDP = 40, 8
_SOURCE = slice(8, 24)
_SPI, _NUMBER, _IV = slice(0, 4), slice(4, 8), slice(8, 16)
_OPTIONS = 24
"""Octets of a Destination Options header with a Home Address option, or with ORIGIN_IP."""

_IKE_SPI, _KEY_AND_NONCE = slice(0, 8), 32


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the stranger needs to send: its own port, its neighbours, its addresses."""

    own: bytes
    router: bytes
    mobile: bytes
    """Link-layer addresses, 6 octets each."""

    addresses: Sequence[IPv6Address]
    home_agents: Mapping[str, IPv6Address]
    """Own addresses of the home agents."""

    updates: Sequence[bytes]
    """Genuine Binding Updates as whole packets."""


Make = Callable[[Known, Surroundings, random.Random], list[bytes]]


@dataclass(frozen=True, slots=True)
class Attack:
    """One kind of siege: how its packets are made, and to whom they go."""

    make: Make
    to_mobile: bool = False
    returns_cookies: bool = False


def varied(
    packet: bytes, chance: random.Random, *fields: slice, source: IPv6Address | None = None
) -> bytes:
    """Return a copy with random octets in some fields, and another source."""
    octets = bytearray(packet)
    for field in fields:
        octets[field] = chance.randbytes(field.stop - field.start)
    if source is not None:
        octets[_SOURCE] = source.packed
    return bytes(octets)


def _behind(field: slice, octets: int) -> slice:
    return slice(field.start + octets, field.stop + octets)


def _numbered(packet: bytes, esp: int, number: int, chance: random.Random) -> bytes:
    """Return a copy with another sequence number and a random counter in the IV (RFC 4106)."""
    octets = bytearray(packet)
    octets[_behind(_NUMBER, esp)] = number.to_bytes(4)
    counter = slice(esp + _IV.start + 2, esp + _IV.stop)
    octets[counter] = chance.randbytes(6)
    return bytes(octets)


def _updates_in_the_clear(known: Known, near: Surroundings, chance: random.Random) -> list[bytes]:
    made = forgeries.update(known, 1, None, near.addresses[0])
    return [varied(made, chance, source=each) for each in islice(cycle(near.addresses), COUNT)]


def _updates_with_bad_icv(known: Known, _: Surroundings, chance: random.Random) -> list[bytes]:
    made = forgeries.update(known, 1, FAR, known.care_of)
    return [_numbered(made, _HEADER + _OPTIONS, FAR + n, chance) for n in range(COUNT)]


def _updates_replayed(_: Known, near: Surroundings, __: random.Random) -> list[bytes]:
    return list(islice(cycle(near.updates), COUNT))


def ike_init(source: IPv6Address, destination: IPv6Address) -> bytes:
    """Return an IKE_SA_INIT that a home agent would answer, with a key exchange of nobody's."""
    load_scapy()
    from scapy.contrib import ikev2
    from scapy.layers.inet import UDP
    from scapy.layers.inet6 import IPv6

    transform = ikev2.IKEv2_Transform
    suite = (
        transform(next_payload=3, transform_type=1, transform_id=20, length=12, key_length=128)
        / transform(next_payload=3, transform_type=2, transform_id=5)
        / transform(next_payload=0, transform_type=4, transform_id=31)
    )
    proposal = ikev2.IKEv2_Proposal(next_payload=0, proposal=1, proto=1, trans_nb=3, trans=suite)
    message = (
        ikev2.IKEv2(
            init_SPI=bytes(range(1, 9)), resp_SPI=bytes(8), next_payload=33, exch_type=34,
            flags="Initiator",
        )
        / ikev2.IKEv2_SA(next_payload=34, prop=proposal)
        / ikev2.IKEv2_KE(next_payload=40, group=31, ke=bytes(range(32)))
        / ikev2.IKEv2_Nonce(next_payload=0, nonce=bytes(32))
    )  # fmt: skip
    way = IPv6(src=str(source), dst=str(destination)) / UDP(sport=IKE_PORT, dport=IKE_PORT)
    return bytes(way / message)


def _ike_varied(packet: bytes, source: IPv6Address, chance: random.Random) -> bytes:
    """Return a copy with another SPI, nonce and source, and the checksum that goes with them."""
    ike = _HEADER + _UDP
    nonce = slice(len(packet) - _KEY_AND_NONCE, len(packet))
    octets = bytearray(varied(packet, chance, _behind(_IKE_SPI, ike), nonce, source=source))
    octets[_HEADER + 6 : _HEADER + 8] = bytes(2)
    pseudo = octets[_SOURCE.start : _HEADER] + octets[4:6].rjust(4, b"\0") + b"\0\0\0\x11"
    total = int.from_bytes(pseudo + octets[_HEADER:] + bytes(len(octets) % 2)) % 0xFFFF
    octets[_HEADER + 6 : _HEADER + 8] = (0xFFFF - total).to_bytes(2)
    return bytes(octets)


def _ike_inits(known: Known, near: Surroundings, chance: random.Random) -> list[bytes]:
    made = ike_init(near.addresses[0], known.home_agent)
    return [_ike_varied(made, each, chance) for each in islice(cycle(near.addresses), COUNT)]


def _unknown_spis(known: Known, near: Surroundings, chance: random.Random) -> list[bytes]:
    """Every other one lies in a home agent's range: that one might know it (rule 10)."""
    made = forgeries.tunnel_up(known, 1, b"")
    indexes = [*range(1, len(near.home_agents) + 1), *[0x70] * len(near.home_agents)]
    found = []
    for index in islice(cycle(indexes), COUNT):
        packet = bytearray(varied(made, chance, _behind(_SPI, _HEADER)))
        packet[_HEADER] = index
        found.append(bytes(packet))
    return found


def _bad_icvs(known: Known, _: Surroundings, chance: random.Random) -> list[bytes]:
    made = forgeries.tunnel_up(known, FAR, b"")
    return [_numbered(made, _HEADER, FAR + n, chance) for n in range(COUNT)]


def _to_the_mobile_node(known: Known, _: Surroundings, chance: random.Random) -> list[bytes]:
    """Bad ICVs on a known SPI, and unknown SPIs, in turn."""
    made = forgeries.tunnel_down(known, known.spi_down, FAR, b"")
    return [
        _numbered(made, _HEADER, FAR + n, chance)
        if n % 2
        else varied(made, chance, _behind(_SPI, _HEADER))
        for n in range(COUNT)
    ]


def _between_home_agents(known: Known, near: Surroundings, chance: random.Random) -> list[bytes]:
    """Messages to the home agents' own addresses, in the stranger's name and in a peer's; IKE."""
    found: list[bytes] = []
    own = list(near.home_agents.values())
    for target, peer in zip(own, own[1:] + own[:1], strict=True):
        for source in (near.addresses[0], peer):
            named = replace(known, peers=(source, target), spi_peers=0x01000001)
            sealed = forgeries.inter_ha(named, FAR)
            found += [varied(sealed, chance, _behind(_SPI, _HEADER)) for _ in range(COUNT // 12)]
            found += [forgeries.inter_ha(named, None)] * (COUNT // 24)
        made = ike_init(near.addresses[0], target)
        found += [_ike_varied(made, each, chance) for each in near.addresses]
    chance.shuffle(found)
    return found


def _everything(known: Known, near: Surroundings, chance: random.Random) -> list[bytes]:
    """All of the others that go to home agents, in turn."""
    single = [each for each in ATTACKS.values() if not each.to_mobile and each.make != _everything]
    made = [each.make(known, near, chance) for each in single]
    return list(islice(chain.from_iterable(zip(*map(cycle, made), strict=False)), 2 * COUNT))


ATTACKS: Mapping[str, Attack] = {
    "update-clear": Attack(_updates_in_the_clear),
    "update-bad-icv": Attack(_updates_with_bad_icv),
    "update-replayed": Attack(_updates_replayed),
    "ike-init": Attack(_ike_inits),
    "ike-cookie": Attack(_ike_inits, returns_cookies=True),
    "esp-unknown-spi": Attack(_unknown_spis),
    "esp-bad-icv": Attack(_bad_icvs),
    "esp-to-mn": Attack(_to_the_mobile_node, to_mobile=True),
    "inter-ha": Attack(_between_home_agents),
    "all": Attack(_everything, returns_cookies=True),
}
"""By the names of `data_siege.ATTACKS`."""


def frames(attack: Attack, known: Known, near: Surroundings, chance: random.Random) -> list[bytes]:
    """Return the Ethernet frames of an attack, as the stranger's port sends them."""
    head = (near.mobile if attack.to_mobile else near.router) + near.own + b"\x86\xdd"
    return [head + packet for packet in attack.make(known, near, chance)]


def mean_length(made: Iterable[bytes]) -> float:
    """Return the mean length of frames in octets, as the link's rate counts them."""
    lengths = [max(len(each), ETHERNET + _HEADER) for each in made]
    return sum(lengths) / len(lengths)
