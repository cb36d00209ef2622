"""Standard input."""

from __future__ import annotations

import os

from fluxguard.chunk import Chunk, Origin, Skipped
from fluxguard.sources.windows import windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def stdin(name: bytes, limit: int, fd: int = 0) -> Iterator[Chunk | Skipped]:
    """What comes in at `fd`, shown as `name`; what lies behind `limit` bytes is not read, and said to be so."""
    over = []

    def pieces() -> Iterator[bytes]:
        read = 0
        while piece := os.read(fd, 1 << 20):
            read += len(piece)
            if read > limit:
                over.append(piece)
                return
            yield piece

    yield from windows(pieces(), Origin("stdin", name))
    if over:
        yield Skipped(name, f"longer than the limit of {limit:,} bytes: the rest was not read")
