"""ESP on shared associations: which number and IV a sender uses, whose window a packet meets.

Hardened: IV = SID (16 bits) | counter (48 bits), window by SID (RFC 6054 §3; design §10, rule 3).
A mobile node, which is the only sender on its SA, names in the SID the home agent that it means,
with a counter for each (rule 11): so no nonce repeats either.
Draft: the same number for ESP and IV, so that nonces of several senders collide; window by
ORIGIN_IP (draft §3.1). draft-cbc: random IVs.
"""

import struct
from collections.abc import Callable, Hashable

from agents.core.counters import Dropped
from agents.core.security_associations import KEPT_BACK, SecurityAssociation
from agents.wire import esp
from agents.wire.errors import WireError
from agents.wire.transforms import Transform

CIPHERS = 4096
"""Cipher objects kept; an association holds only its raw key (design §7)."""

MAX_MEANT = 256
"""Home agents, each start of one counted, for which an SA keeps counters."""

_NUMBER = struct.Struct("!Q")
_HEAD = struct.Struct("!IIH")
_CBC_IV = 16

EgressRecord = Callable[[int, int, int], None]
"""Told (SPI, SID, counter) of every packet sealed, for the check of invariant I1."""


class EspProcessor:
    """Seals and opens ESP packets for one agent. `sid` None is draft mode."""

    def __init__(
        self,
        random_bytes: Callable[[int], bytes],
        sid: int | None,
        record: EgressRecord | None = None,
        near_end: Callable[[SecurityAssociation], object] | None = None,
    ) -> None:
        """`near_end` is told of every packet sealed beyond its SA's soft limit."""
        self._random_bytes = random_bytes
        self._sid = sid
        self._record = record
        self._near_end = near_end
        self._ciphers: dict[bytes, esp.Cipher] = {}

    def seal(
        self,
        association: SecurityAssociation,
        payload: bytes,
        next_header: int,
        kept_back: int = KEPT_BACK,
    ) -> bytes:
        """Return the ESP packet, from the SPI on. Raises `Dropped` if the SA cannot send.

        `kept_back` numbers at the end of the SA's range are left for what matters more (rule 1).
        """
        if association.silent:
            raise Dropped("silent-after-restart")
        if association.counter >= association.limit - kept_back:
            raise Dropped("sequence-exhausted")
        association.counter = number = association.counter + 1
        if number >= association.soft_limit and self._near_end is not None:
            self._near_end(association)
        return self._seal(association, number, self._sid, payload, next_header)

    def seal_for(
        self, association: SecurityAssociation, sid: int, payload: bytes, next_header: int
    ) -> bytes:
        """Return an ESP packet that is meant for the home agent `sid` alone (rule 11).

        Raises `Dropped` at the end of its numbers, or when there were too many of such SIDs: a
        counter that was forgotten would repeat nonces.
        """
        number = association.meant.get(sid, 0) + 1
        if number > association.limit:
            raise Dropped("sequence-exhausted")
        if number == 1 and len(association.meant) >= MAX_MEANT:
            raise Dropped("too-many-meant")
        association.meant[sid] = number
        return self._seal(association, number, sid, payload, next_header)

    def _seal(
        self,
        association: SecurityAssociation,
        number: int,
        sid: int | None,
        payload: bytes,
        next_header: int,
    ) -> bytes:
        if association.transform is Transform.AES_128_CBC_HMAC_SHA2_256:
            iv = self._random_bytes(_CBC_IV)
        elif sid is None:
            iv = _NUMBER.pack(number)
        else:
            iv = _NUMBER.pack(sid << 48 | number)
        if self._record is not None:
            self._record(association.spi, sid or 0, number)
        return self._cipher(association).seal(
            association.spi, number & 0xFFFFFFFF, iv, payload, next_header
        )

    def open(
        self, association: SecurityAssociation, packet: bytes, origin: Hashable = None
    ) -> tuple[bytes, int, Hashable]:
        """Return payload, next header and sender (SID or `origin`). Raises `Dropped`.

        `packet` begins with the SPI. Only an authentic packet moves a window or makes a new one
        (RFC 4303 §3.4.3).
        """
        if len(packet) < _HEAD.size:
            raise Dropped("esp-truncated")
        windows = association.windows
        _, number, sid = _HEAD.unpack_from(packet)
        sender: Hashable = sid if windows.by_sid else origin
        window = windows.find(sender)
        window.check(number)
        try:
            payload, next_header = self._cipher(association).open(packet)
        except WireError as error:
            raise Dropped(str(error.reason)) from error
        window.accept(number)
        windows.keep(sender, window)
        return payload, next_header, sender

    def _cipher(self, association: SecurityAssociation) -> esp.Cipher:
        cipher = self._ciphers.get(association.key)
        if cipher is None:
            if len(self._ciphers) >= CIPHERS:
                del self._ciphers[next(iter(self._ciphers))]
            cipher = esp.make_cipher(association.transform, association.key)
            self._ciphers[association.key] = cipher
        return cipher
