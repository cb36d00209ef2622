"""zlib streams of a known size, by the fastest library at hand; what they say of their size is not trusted."""

from __future__ import annotations

import importlib
import zlib
from typing import Any

try:
    library: Any = importlib.import_module("isal.isal_zlib")
except ImportError:  # the same result, more slowly
    library = zlib

decompress: Any = library.decompress
error: Any = library.error
_inflater: Any = library.decompressobj
TRUSTED = 1 << 16  # bytes; deflate makes at most a thousand out of one, so that less than this is no bomb


class Damaged(Exception):
    """The stream is broken, or not of the size that was said."""


def inflate(packed: memoryview, size: int) -> bytes:
    """The `size` bytes that `packed` holds. Raises Damaged."""
    try:
        if len(packed) < TRUSTED:
            data: bytes = decompress(packed, 15, size or 1)
        else:
            inflater = _inflater()
            data = inflater.decompress(packed, size + 1)
            if not inflater.eof:
                raise Damaged("it ends early, or is larger than it should be")
    except error:
        raise Damaged("its compressed data are damaged") from None
    if len(data) != size:
        raise Damaged("it is not of the size that it should have")
    return data
