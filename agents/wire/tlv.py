"""Type-length-value options with Pad1 and PadN.

Destination options (RFC 8200 §4.2), mobility options (RFC 6275 §6.2.1) and the fields of
inter-HA messages have this form in common: type 8, length 8 (of the value), value; type 0 is a
single octet of padding, type 1 padding of any length.
"""

from collections.abc import Iterable, Iterator

from agents.wire.errors import Reason, WireError

PAD1 = 0
PADN = 1
HEAD = 2
MAX_VALUE = 255


def padding(length: int) -> bytes:
    """Return `length` (0 to 257) octets of padding."""
    if length < 2:
        return bytes(length)
    return bytes((PADN, length - 2)) + bytes(length - 2)


def walk(data: bytes, start: int, answer: bool = False) -> Iterator[tuple[int, int, bytes]]:
    """Yield (offset, type, value) of each option in `data[start:]`, without the padding.

    Raises:
        WireError: (`bad-option-length`) an option reaches beyond the data. `answer` sets the
            pointer for a Parameter Problem to the option's length field.
    """
    end = len(data)
    while start < end:
        kind = data[start]
        if kind == PAD1:
            start += 1
            continue
        following = start + 2 + data[start + 1] if start + 1 < end else end + 1
        if following > end:
            pointer = min(start + 1, end - 1) if answer else None
            raise WireError(
                Reason.OPTION_LENGTH, f"option {kind} reaches beyond its header", pointer
            )
        if kind != PADN:
            yield start, kind, data[start + 2 : following]
        start = following


def encode(kind: int, value: bytes) -> bytes:
    """Return one option.

    Raises:
        ValueError: the value is longer than 255 octets.
    """
    if len(value) > MAX_VALUE:
        raise ValueError(f"option {kind}: a value of {len(value)} octets, at most {MAX_VALUE} fit")
    return bytes((kind, len(value))) + value


def join(head: bytes, options: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Return `head` and the options behind it, padded to a multiple of 8 octets.

    Each option is (n, m, octets): it starts at an offset of the form n·x+m from the start of
    `head`.
    """
    parts = [head]
    length = len(head)
    for multiple, remainder, octets in options:
        gap = (remainder - length) % multiple
        parts += (padding(gap), octets)
        length += gap + len(octets)
    parts.append(padding(-length % 8))
    return b"".join(parts)
