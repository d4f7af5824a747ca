"""The outer header of tunnel packets: all that does not change, prepared once a binding."""

import struct
from ipaddress import IPv6Address

HOP_LIMIT = 64
_PREFIX = b"\x60\x00\x00\x00"
_LENGTH = struct.Struct("!H")


class OuterHeader:
    """IPv6 header and extension headers in front of ESP, without the payload length."""

    __slots__ = ("_extension_length", "_rest")

    def __init__(
        self,
        source: IPv6Address,
        destination: IPv6Address,
        next_header: int,
        extension: bytes = b"",
    ) -> None:
        """`next_header` names what `extension` begins with, or what follows if it is empty."""
        self._rest = (
            bytes((next_header, HOP_LIMIT)) + source.packed + destination.packed + extension
        )
        self._extension_length = len(extension)

    def wrap(self, payload: bytes) -> bytes:
        """Return the whole packet around `payload`."""
        length = _LENGTH.pack(self._extension_length + len(payload))
        return b"".join((_PREFIX, length, self._rest, payload))
