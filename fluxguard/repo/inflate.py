"""zlib streams of a known size, by the fastest library at hand; what they say of their size is not trusted."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import cast

try:
    from isal import isal_zlib

    _error: tuple[type[Exception], ...] = (zlib.error, cast("type[Exception]", isal_zlib.error))
    _at_once: Callable[[memoryview, int, int], bytes] = isal_zlib.decompress
except ImportError:  # the same result, more slowly
    _error = (zlib.error,)
    _at_once = zlib.decompress

_TRUSTED = 1 << 16  # bytes; deflate makes at most a thousand out of one, so that less than this is no bomb


class Damaged(Exception):
    """The stream is broken, or not of the size that was said."""


def inflate(packed: memoryview, size: int) -> bytes:
    """The `size` bytes that `packed` holds. Raises Damaged."""
    try:
        data = _at_once(packed, 15, size or 1) if len(packed) < _TRUSTED else _bounded(packed, size)
    except _error:
        raise Damaged("its compressed data are damaged") from None
    if len(data) != size:
        raise Damaged("it is not of the size that it should have")
    return data


def _bounded(packed: memoryview, size: int) -> bytes:
    inflater = zlib.decompressobj()
    data = inflater.decompress(packed, size + 1)
    if not inflater.eof and len(data) <= size:
        raise zlib.error("it ends early")
    return data
