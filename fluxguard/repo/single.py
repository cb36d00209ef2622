"""One object of a pack, by its id, without a look at the rest: for the few that are asked for when the pack is known.

Formats: gitformat-pack(5). The pack is no more trusted than elsewhere.
"""

from __future__ import annotations

import mmap
import os
import zlib

from fluxguard.repo import delta as deltas
from fluxguard.repo.forest import IN_MEMORY, TOO_LARGE
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.pack import DEEPEST, KINDS, OFS_DELTA, REF_DELTA, TOO_DEEP

_FAN = 256 * 4
_LONGEST = 9  # bytes of a size or a distance
_PIECE = 64 << 10


class Single:
    """The pack at `path` with its index. Raises OSError or ValueError where they can't be opened."""

    def __init__(self, path: str, width: int) -> None:
        self._width = width
        self._pack = _mapped(path)
        self._index = _mapped(path[: -len(".pack")] + ".idx")
        self._second = self._index[:8] == b"\xfftOc\0\0\0\2"
        self._fan = 8 if self._second else 0
        self._count = self._word(self._fan + _FAN - 4)
        self._row = width if self._second else 4 + width

    def _word(self, at: int, size: int = 4) -> int:
        return int.from_bytes(self._index[at : at + size], "big")

    def holds(self, id: bytes) -> bool:
        """Whether the index names an object."""
        try:
            self._offset(id)
        except KeyError:
            return False
        return True

    def content(self, id: bytes) -> tuple[str, bytes]:
        """Kind and content. Raises KeyError, and Damaged, also where it is too large for the memory."""
        at = self._offset(id)
        pending = []
        while True:
            kind, size, begin, base = self._head(at)
            if base is None:
                break
            pending.append((begin, size))
            if len(pending) > DEEPEST:
                raise Damaged(TOO_DEEP)
            at = base
        if kind not in KINDS:
            raise Damaged("its type is unknown")
        data = self._inflated(begin, size)
        for begin, size in reversed(pending):
            made = self._inflated(begin, size)
            if deltas.result_size(made) > IN_MEMORY:
                raise Damaged(TOO_LARGE)
            data = deltas.apply(data, made)
        return KINDS[kind], data

    def _offset(self, id: bytes) -> int:
        low = self._word(self._fan + 4 * id[0] - 4) if id[0] else 0
        high = min(self._word(self._fan + 4 * id[0]), self._count)
        start = self._fan + _FAN + (0 if self._second else 4)
        while low < high:
            middle = (low + high) // 2
            here = self._index[start + middle * self._row : start + middle * self._row + self._width]
            if here == id:
                return self._place(middle)
            low, high = (middle + 1, high) if here < id else (low, middle)
        raise KeyError(id.hex())

    def _place(self, row: int) -> int:
        start = self._fan + _FAN
        if not self._second:
            return self._word(start + row * self._row)
        table = start + self._count * (self._width + 4)
        near = self._word(table + 4 * row)
        if near < 1 << 31:
            return near
        return self._word(table + 4 * self._count + 8 * (near - (1 << 31)), 8)

    def _head(self, at: int) -> tuple[int, int, int, int | None]:
        """Type, size, where the compressed bytes begin, and where the base begins, if it is a delta."""
        first = self._byte(at)
        kind, size, shift, begin = first >> 4 & 7, first & 15, 4, at + 1
        while first & 128:
            first = self._byte(begin)
            size |= (first & 127) << shift
            shift += 7
            begin += 1
            if begin - at > _LONGEST:
                raise Damaged("its size is a lie")
        if kind == REF_DELTA:
            base = self._pack[begin : begin + self._width]
            try:
                return kind, size, begin + self._width, self._offset(base)
            except (KeyError, IndexError):
                raise Damaged("the object that it is a delta of is not in the pack") from None
        if kind == OFS_DELTA:
            return kind, size, *self._back(at, begin)
        return kind, size, begin, None

    def _back(self, at: int, begin: int) -> tuple[int, int]:
        byte = self._byte(begin)
        distance = byte & 127
        length = 1
        while byte & 128 and length < _LONGEST:
            byte = self._byte(begin + length)
            distance = (distance + 1) << 7 | byte & 127
            length += 1
        if not 0 < distance < at:
            raise Damaged("the object that it is a delta of is not in the pack")
        return begin + length, at - distance

    def _byte(self, at: int) -> int:
        if not 12 <= at < len(self._pack) - self._width:
            raise Damaged("it lies outside the pack")
        return self._pack[at]

    def _inflated(self, at: int, size: int) -> bytes:
        if size > IN_MEMORY:
            raise Damaged(TOO_LARGE)
        inflater = zlib.decompressobj()
        parts, left = [], size + 1
        try:
            while left > 0 and not inflater.eof:
                packed = inflater.unconsumed_tail
                if not packed:
                    packed = self._pack[at : at + _PIECE]
                    at += len(packed)
                    if not packed:
                        break
                part = inflater.decompress(packed, left)
                left -= len(part)
                parts.append(part)
        except zlib.error:
            raise Damaged("its compressed data are damaged") from None
        if left != 1 or not inflater.eof:
            raise Damaged("it is not of the size that it should have")
        return b"".join(parts)


def _mapped(path: str) -> mmap.mmap:
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(fd)
