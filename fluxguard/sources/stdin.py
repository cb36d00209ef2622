"""Standard input."""

from __future__ import annotations

import os

from fluxguard.chunk import Chunk, Origin, Skipped
from fluxguard.errors import FluxguardError
from fluxguard.sources.windows import windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def stdin(name: bytes, limit: int, fd: int = 0) -> Iterator[Chunk | Skipped]:
    """What comes in at `fd`, shown as `name`; what lies behind `limit` bytes is not read, and said to be so.

    Raises FluxguardError where it can't be read.
    """
    over = []

    def pieces() -> Iterator[bytes]:
        read = 0
        while piece := _read(fd):
            read += len(piece)
            if read > limit:
                over.append(piece)
                return
            yield piece

    yield from windows(pieces(), Origin("stdin", name))
    if over:
        yield Skipped(name, f"longer than the limit of {limit:,} bytes: the rest was not read")


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 20)
    except OSError as error:
        raise FluxguardError(
            f"Standard input can't be read: {(error.strerror or 'unknown error').lower()}.",
            "Hand it over: some-command | fluxguard scan --stdin",
        ) from None
