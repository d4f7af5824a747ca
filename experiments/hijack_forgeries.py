"""Packets in others' names, made with scapy by somebody who holds no key.

What a hijacker knows stands in the packets that it drew: addresses, the home address (in the Home
Address option), the SPIs towards the HAs. Those of the other direction, and sender ids, it would
have to guess; here it has them, so that keys are all that it lacks.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from experiments.attacks import load_scapy
from experiments.hijacker import ESP, HEADER, Drawn

ACCEPTED, LIFETIME_UNITS = 0, 1800
KEY_AND_SALT = 20
EXPERIMENTAL, SAID = 11, 18
"""Mobility Header type of messages between home agents; octets behind its six of header."""


@dataclass(frozen=True, slots=True)
class Known:
    """What forgeries are made of; the SPIs are those of signalling and payload, either way."""

    home_agent: IPv6Address
    home_address: IPv6Address
    care_of: IPv6Address
    correspondent: IPv6Address
    spi_ack: int
    spi_down: int
    spi_update: int
    spi_up: int
    sid: int
    """Sender id of a home agent that the MN listens to: the first two octets of the IV."""

    peers: tuple[IPv6Address, IPv6Address]
    """Own addresses of two home agents: in whose name, and to whom."""

    spi_peers: int


def answer(question: Drawn, payload: bytes) -> bytes:
    """Return a UDP answer to a packet in the clear, from whom it was meant for."""
    load_scapy()
    from scapy.layers.inet import UDP
    from scapy.layers.inet6 import IPv6
    from scapy.packet import Raw

    was: Any = IPv6(question.octets)
    back: Any = IPv6(src=was.dst, dst=was.src) / UDP(sport=was[UDP].dport, dport=was[UDP].sport)
    return bytes(back / Raw(payload))


def acknowledgement(known: Known, sequence: int, number: int | None) -> bytes:
    """Return a Binding Acknowledgement in the HA's name (RFC 6275 §6.1.8).

    In ESP with this sequence number, or, without one, in the clear.
    """
    load_scapy()
    from scapy.layers.inet6 import MIP6MH_BA, IPv6, IPv6ExtHdrRouting
    from scapy.packet import Raw

    message = MIP6MH_BA(status=ACCEPTED, seq=sequence, mhtime=LIFETIME_UNITS)
    way: Any = IPv6(src=str(known.home_agent), dst=str(known.care_of))
    way /= IPv6ExtHdrRouting(type=2, segleft=1, addresses=[str(known.home_address)])
    if number is None:
        return bytes(way / message)
    inner = IPv6(src=str(known.home_agent), dst=str(known.home_address)) / message
    way[IPv6ExtHdrRouting].nh = ESP
    return bytes(way / Raw(_esp(inner, known.spi_ack, known.sid, number)))


def update(known: Known, sequence: int, number: int | None, care_of: IPv6Address) -> bytes:
    """Return a Binding Update in the MN's name that would move it to `care_of` (§6.1.7).

    In ESP or in the clear, as :func:`acknowledgement`.
    """
    load_scapy()
    from scapy.layers.inet6 import (
        HAO,
        MIP6MH_BU,
        IPv6,
        IPv6ExtHdrDestOpt,
        MIP6OptAltCoA,
        PadN,
    )
    from scapy.packet import Raw

    message = MIP6MH_BU(
        flags="HA", seq=sequence, mhtime=LIFETIME_UNITS,
        options=[PadN(optdata=bytes(2)), MIP6OptAltCoA(acoa=str(care_of))],
    )  # fmt: skip
    way: Any = IPv6(src=str(care_of), dst=str(known.home_agent))
    way /= IPv6ExtHdrDestOpt(options=[HAO(hoa=str(known.home_address))])
    if number is None:
        return bytes(way / message)
    inner = IPv6(src=str(known.home_address), dst=str(known.home_agent)) / message
    way[IPv6ExtHdrDestOpt].nh = ESP
    return bytes(way / Raw(_esp(inner, known.spi_update, 0, number)))


def inter_ha(known: Known, number: int | None) -> bytes:
    """Return a message between home agents (RFC 5096), in the name of one to the other.

    In ESP or in the clear, as :func:`acknowledgement`. What it says nobody gets to read.
    """
    load_scapy()
    from scapy.layers.inet6 import IPv6, MIP6MH_Generic
    from scapy.packet import Raw

    source, destination = map(str, known.peers)
    whole: Any = IPv6(src=source, dst=destination)
    whole /= MIP6MH_Generic(mhtype=EXPERIMENTAL, msg=os.urandom(SAID))
    if number is None:
        return bytes(whole)
    header = IPv6(src=source, dst=destination, nh=ESP)
    return bytes(header / Raw(_esp(whole, known.spi_peers, known.sid, number)))


def tunnel_down(known: Known, spi: int | None, number: int, payload: bytes) -> bytes:
    """Return a packet of the CN to the MN in a packet of the HA; without `spi` in the clear."""
    inner = _payload(known.correspondent, known.home_address, payload)
    return _tunnel(known.home_agent, known.care_of, inner, spi, known.sid, number)


def tunnel_up(known: Known, number: int, payload: bytes) -> bytes:
    """Return a packet of the MN to the CN in a tunnel packet to the HA."""
    inner = _payload(known.home_address, known.correspondent, payload)
    return _tunnel(known.care_of, known.home_agent, inner, known.spi_up, 0, number)


def reflected(drawn: Drawn, known: Known) -> bytes:
    """Return a tunnel packet or Binding Update of the MN, sent back to it in the HA's name."""
    load_scapy()
    from scapy.layers.inet6 import IPv6
    from scapy.packet import Raw

    header = IPv6(src=str(known.home_agent), dst=str(known.care_of), nh=ESP)
    return bytes(header / Raw(drawn.esp()))


def _payload(source: IPv6Address, destination: IPv6Address, payload: bytes) -> Any:
    load_scapy()
    from scapy.layers.inet import UDP
    from scapy.layers.inet6 import IPv6
    from scapy.packet import Raw

    from experiments.replay_traffic import PORT

    way: Any = IPv6(src=str(source), dst=str(destination)) / UDP(sport=PORT, dport=PORT)
    return way / Raw(payload)


def _tunnel(
    source: IPv6Address, destination: IPv6Address, inner: Any, spi: int | None, sid: int,
    number: int,
) -> bytes:  # fmt: skip
    load_scapy()
    from scapy.layers.inet6 import IPv6

    outer = IPv6(src=str(source), dst=str(destination))
    if spi is None:
        return bytes(outer / inner)
    return _sealed(inner, spi, sid, number, tunnel_header=outer)


def _esp(inner: Any, spi: int, sid: int, number: int) -> bytes:
    """Return what stands behind the IPv6 header of a packet in transport mode."""
    return _sealed(inner, spi, sid, number)[HEADER:]


def _sealed(inner: Any, spi: int, sid: int, number: int, **mode: Any) -> bytes:
    """Return a packet in ESP with a key that nobody has; the IV is as the agents' (RFC 6054)."""
    from scapy.layers import ipsec

    association = ipsec.SecurityAssociation(
        ipsec.ESP, spi=spi, crypt_algo="AES-GCM", crypt_key=os.urandom(KEY_AND_SALT), **mode
    )
    iv = (sid << 48 | number).to_bytes(8)
    return bytes(association.encrypt(inner, seq_num=number, iv=iv))
