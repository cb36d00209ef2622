"""Deltas: applying them, and which stretches of their result are not simply copied.

Format: gitformat-pack(5), "Deltified representation": two sizes, then instructions to copy from the base or to insert.
"""

from __future__ import annotations

try:
    from dulwich._pack import apply_delta  # by itself, for dulwich.pack takes 60 ms to import
except ImportError:  # the same result, more slowly
    from dulwich.pack import apply_delta
from dulwich.errors import ApplyDeltaError

from fluxguard.repo.inflate import Damaged


def result_size(delta: bytes) -> int:
    """The size of what a delta makes. Raises Damaged where it does not say."""
    try:
        at = 0
        while delta[at] & 128:
            at += 1
        at += 1
        byte = delta[at]
        size = byte & 127
        shift = 7
        while byte & 128:
            at += 1
            byte = delta[at]
            size |= (byte & 127) << shift
            shift += 7
    except IndexError:
        raise Damaged("its delta is cut off") from None
    return size


def apply(base: bytes, delta: bytes) -> bytes:
    """What a delta makes of its base. Raises Damaged."""
    try:
        parts = apply_delta(base, delta)
    except ApplyDeltaError:
        raise Damaged("its delta does not fit its base") from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def novel(delta: bytes, result: bytes, overlap: int) -> list[bytes]:
    """The stretches of a delta's result that need a look where its base had one already.

    Whatever is at most `overlap` + 1 bytes long and stands in the result stands in the base as well, or whole in one of
    these stretches: they hold each inserted byte and each seam between two copies, with `overlap` bytes on either side.
    """
    at = _behind_sizes(delta)
    end = len(delta)
    stretches = []
    place = begin = stop = 0
    while at < end:
        code = delta[at]
        at += 1
        if place - overlap > stop:
            if stop > begin:
                stretches.append(result[begin:stop])
            begin = place - overlap
        if code & 128:
            at += _OPERANDS[code]
            stop = place + overlap if place else 0
            kind = code & 0x70
            if kind == 0x10:
                place += delta[at - 1] or 0x10000
            elif kind == 0x30:
                place += (delta[at - 2] | delta[at - 1] << 8) or 0x10000
            else:
                place += _copied(code, delta, at)
        else:
            at += code
            place += code
            stop = place + overlap
    if stop > begin:
        stretches.append(result[begin:stop])
    return stretches


def _behind_sizes(delta: bytes) -> int:
    at = 0
    while delta[at] & 128:
        at += 1
    at += 1
    while delta[at] & 128:
        at += 1
    return at + 1


_OPERANDS = [(code & 127).bit_count() for code in range(256)]


def _copied(code: int, delta: bytes, at: int) -> int:
    """How many bytes a copy instruction copies; its operands end at `at`, those of the size last."""
    size = 0
    for bit, shift in ((64, 16), (32, 8), (16, 0)):
        if code & bit:
            at -= 1
            size |= delta[at] << shift
    return size or 0x10000
