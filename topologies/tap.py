"""A TAP device that stands for one end of a link: opened here, then given to a node's namespace.

It is opened in this process's own namespace and moved: a descriptor opened inside the node's
would keep that namespace alive after its node. When the namespace goes, so does the device.
"""

from __future__ import annotations

import fcntl
import os
import struct

IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
TUNSETIFINDEX, TUNSETCARRIER = 0x400454DA, 0x400454E2
CSUM, TSO4, TSO6, TSO_ECN, USO4, USO6 = 0x01, 0x02, 0x04, 0x08, 0x20, 0x40
MERGED = (CSUM | TSO4 | TSO6 | TSO_ECN | USO4 | USO6, CSUM | TSO4 | TSO6 | TSO_ECN)
"""What may pass as one large frame, the best first: UDP too (kernel 6.2), TCP alone."""

FRAME_OCTETS = 65536 + 64
"""Room for the largest frame (a merged one) with its Ethernet and virtio headers."""


class TapError(Exception):
    """A TAP device that cannot be had; one line."""


def open_tap(name: str, index: int, *, merged: bool) -> int:
    """Return the non-blocking descriptor of a new TAP device without carrier.

    Frames have virtio headers, so that checksums left to the hardware and merged segments pass
    from one TAP to another as they are. ``merged`` False: the kernel cuts them to single packets.
    Raises TapError.
    """
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TapError(
            f"/dev/net/tun: {error.strerror}; as an administrator: chmod 0666 /dev/net/tun"
        ) from error
    try:
        flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
        fcntl.ioctl(descriptor, TUNSETIFINDEX, struct.pack("=I", index))
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        _offload(descriptor, merged)
        set_carrier(descriptor, on=False)
    except OSError as error:
        os.close(descriptor)
        raise TapError(f"TAP device {name}: {error.strerror}") from error
    return descriptor


def set_carrier(descriptor: int, *, on: bool) -> None:
    """Give the device carrier, or take it. Raises OSError when the device is gone."""
    fcntl.ioctl(descriptor, TUNSETCARRIER, struct.pack("=i", on))


def _offload(descriptor: int, merged: bool) -> None:
    for flags in (*(MERGED if merged else ()), CSUM):
        try:
            fcntl.ioctl(descriptor, TUNSETOFFLOAD, flags)
        except OSError:
            continue
        return
