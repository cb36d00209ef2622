"""gzip, bzip2, xz and zlib made anew: each stream that held the key is packed again, what stands around it stays."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

from fluxguard.respond.repacking.change import Change, must

_STEP = 1 << 16
_XZ = b"\xfd7zXZ\0"
_ZLIB = (b"x\x01", b"x\x9c", b"x\xda")  # as in detect.containers
_GIT_OBJECT = re.compile(rb"(?:blob|tree|commit|tag) [0-9]+\0")
_SUMMED, _EXTRA, _NAMED, _COMMENTED = 2, 4, 8, 16  # RFC 1952, 2.3.1: FHCRC, FEXTRA, FNAME, FCOMMENT


def of(data: bytes) -> Callable[[bytes, Change], bytes] | None:
    """What makes it anew, where it is a stream."""
    if data.startswith(b"\x1f\x8b\x08"):
        return _gzip
    if data[:3] == b"BZh" and data[4:10] == b"1AY&SY":
        return _bzip2
    if data.startswith(_XZ):
        return _xz
    return _zlib if data.startswith(_ZLIB) else None


def _unpacked(data: bytes, at: int, unpacker: Any) -> tuple[bytes, int]:
    """A stream's content, and where it ends. Raises: Inexact where it has no end."""
    parts = []
    while not unpacker.eof and at < len(data):
        piece = data[at : at + _STEP]
        parts.append(unpacker.decompress(piece))
        at += len(piece)
    must(unpacker.eof)
    return b"".join(parts), at - len(unpacker.unused_data)


def _gzip(data: bytes, change: Change) -> bytes:
    parts, contents, at = [], [], 0
    while data[at : at + 2] == b"\x1f\x8b":
        head = data[at : _behind_head(data, at)]
        content, end = _unpacked(data, at + len(head), zlib.decompressobj(-zlib.MAX_WBITS))
        fresh, name = change.content(content), _head(head, change)
        if fresh == content:
            parts += [name, data[at + len(head) : end + 8]]
        else:
            level = {2: 9, 4: 1}.get(head[8], 6)  # XFL
            packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
            sums = struct.pack("<2L", zlib.crc32(fresh), len(fresh) & 0xFFFFFFFF)
            parts += [name, packer.compress(fresh), packer.flush(), sums]
        contents.append(fresh)
        at = end + 8
    made = b"".join([*parts, data[at:]])
    must(gzip.decompress(made) == b"".join(contents))
    return made


def _behind_head(data: bytes, at: int) -> int:
    flags, end = data[at + 3], at + 10
    if flags & _EXTRA:
        end += 2 + int.from_bytes(data[end : end + 2], "little")
    for flag in (_NAMED, _COMMENTED):
        end = data.index(b"\0", end) + 1 if flags & flag else end
    return end + 2 * bool(flags & _SUMMED)


def _head(head: bytes, change: Change) -> bytes:
    """A header whose name or comment does not hold the key any more."""
    fresh = change.name(head)
    must(fresh == head or not head[3] & (_SUMMED | _EXTRA))
    return fresh


def _bzip2(data: bytes, change: Change) -> bytes:
    return _several(data, change, b"BZh", bz2.BZ2Decompressor, lambda fresh, head, _: bz2.compress(fresh, head[3] - 48), bz2.decompress)  # fmt: skip


def _xz(data: bytes, change: Change) -> bytes:
    def unpacker() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=256 << 20)

    def pack(fresh: bytes, _head: bytes, used: lzma.LZMADecompressor) -> bytes:
        return lzma.compress(fresh, lzma.FORMAT_XZ, used.check)

    return _several(data, change, _XZ, unpacker, pack, lzma.decompress)


def _several(
    data: bytes, change: Change, mark: bytes, unpacker: Callable[[], Any], pack: Callable[[bytes, bytes, Any], bytes],
    read: Callable[[bytes], bytes],
) -> bytes:  # fmt: skip
    """Streams one behind the other, and what fills up the last block."""
    parts, contents, at = [], [], 0
    while data.startswith(mark, at):
        used = unpacker()
        content, end = _unpacked(data, at, used)
        fresh = change.content(content)
        parts.append(data[at:end] if fresh == content else pack(fresh, data[at : at + 4], used))
        contents.append(fresh)
        at = end
    made = b"".join([*parts, data[at:]])
    must(not data[at:].strip(b"\0") and read(made) == b"".join(contents))
    return made


def _zlib(data: bytes, change: Change) -> bytes:
    content, end = _unpacked(data, 0, zlib.decompressobj())
    # An object of git's is called after its content: changed, it is none.
    must(end == len(data) and not _GIT_OBJECT.match(content))
    fresh = change.content(content)
    made = zlib.compress(fresh, {0: 1, 1: 3, 2: 6, 3: 9}[data[1] >> 6])
    must(zlib.decompress(made) == fresh)
    return made
