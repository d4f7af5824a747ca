"""A TUN device with virtio headers and TCP segmentation offload.

The kernel deletes the device when its last descriptor is closed, however the process dies, and
with it every route that points there: the anycast route lives and dies with its agent.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Sequence
from typing import Final

from agents.runtime import offload

_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000
_TUNSETIFF: Final = 0x400454CA
_TUNSETOFFLOAD: Final = 0x400454D0
_TUN_F_CSUM: Final = 0x01
_TUN_F_TSO6: Final = 0x04
_TUN_F_TSO_ECN: Final = 0x08

_BUFFER: Final = 65536 + offload.VNET_HEADER.size + 64


class TunError(OSError):
    """A TUN device that cannot be had; the message is one line for a person."""


class TunGone(Exception):  # noqa: N818 - an event, as SystemExit is
    """The device was deleted under the agent's feet."""


class Tun:
    """One TUN device; reads and writes whole IPv6 packets and never blocks."""

    def __init__(self, name: str) -> None:
        """Create device `name`; raises `TunError` (errno kept)."""
        self.name = name
        self.descriptor = _open(name)
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._target = [self._buffer]
        self.refused = 0
        """Packets that the kernel would not take, and super-packets that could not be cut."""

    def read(self) -> list[bytes] | None:
        """Return the packets of one read, complete and cut to size; None if there is nothing.

        Raises `TunGone`.
        """
        try:
            length = os.readv(self.descriptor, self._target)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR):
                return None
            raise TunGone from error
        if self._buffer[0] == 0 and self._buffer[1] == 0:
            return [bytes(self._view[offload.VNET_HEADER.size : length])]
        try:
            return offload.split(self._view[:length])
        except offload.OffloadError:
            self.refused += 1
            return []

    def write(self, packets: Sequence[bytes]) -> None:
        """Write packets, merging what can be merged; the order within each flow is kept."""
        for buffers in offload.merge(packets):
            self._write(buffers)

    def write_each(self, packets: Sequence[bytes]) -> None:
        """Write packets one by one, where merging is known to be idle (tunnel packets)."""
        for packet in packets:
            self._write((offload.PLAIN, packet))

    def _write(self, buffers: Sequence[offload.Buffer]) -> None:
        try:
            os.writev(self.descriptor, buffers)
        except OSError:
            # The queue is full, the device is down, or the packet is not one: as on any wire,
            # it is lost.
            self.refused += 1

    def close(self) -> None:
        """Delete the device."""
        self._view.release()
        os.close(self.descriptor)


def _open(name: str) -> int:
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TunError(
            error.errno,
            f"/dev/net/tun: {error.strerror}; as an administrator: chmod 0666 /dev/net/tun",
        ) from error
    try:
        flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _TUN_F_CSUM | _TUN_F_TSO6 | _TUN_F_TSO_ECN)
    except OSError as error:
        os.close(descriptor)
        raise TunError(
            error.errno, f"TUN device {name}: {error.strerror}; is the name free and the node root?"
        ) from error
    return descriptor
