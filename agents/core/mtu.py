"""How large an inner packet may be: what is configured, and what `path_mtu` makes of it."""

from typing import Final

from agents.config import Mode

_IPV6: Final = 40
_ORIGIN_IP: Final = 24
_ESP: Final = 8
_TRAILER: Final = 2
_TAG: Final = 16
_GCM_IV, _GCM_BLOCK = 8, 4
_CBC_IV, _CBC_BLOCK = 16, 16


def inner_mtu(path_mtu: int, mode: Mode) -> int:
    """Return the octets of the largest inner packet whose tunnel packet fits `path_mtu`.

    1402 for 1500 with AES-GCM. Room for ORIGIN_IP is always kept, so that switching it off, or
    another home agent, changes no size.
    """
    iv, block = (_CBC_IV, _CBC_BLOCK) if mode is Mode.DRAFT_CBC else (_GCM_IV, _GCM_BLOCK)
    room = path_mtu - _IPV6 - _ORIGIN_IP - _ESP - iv - _TAG
    return room // block * block - _TRAILER
