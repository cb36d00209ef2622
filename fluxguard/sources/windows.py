"""Long content in windows that overlap, so that nothing is lost at a seam and memory stays bounded."""

from __future__ import annotations

from fluxguard.chunk import Chunk, Origin
from fluxguard.detect import triggers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WHOLE = 32 << 20  # up to this size a file is one chunk
PACKED = 128 << 20  # and up to this one an archive, which can't be opened in parts
OVERLAP = 64 << 10


def windows(pieces: Iterable[bytes], origin: Origin, base: bytes | None = None) -> Iterator[Chunk]:
    """Joins `pieces` into chunks of some 32 MiB; each after the first begins with the last 64 KiB of the one before."""
    held: list[bytes] = []
    size = 0
    start, line, column = 0, 1, 1
    most = 0
    for piece in pieces:
        most = most or (PACKED if triggers.head(piece[:512]) & triggers.PACKED else WHOLE)
        if size + len(piece) > most and size > OVERLAP:
            most = WHOLE
            data = b"".join(held)
            yield Chunk(data, origin, base, start, line, column, last=False)
            cut = len(data) - OVERLAP
            line, column = _advance(data, cut, line, column)
            start += cut
            held = [data[cut:]]
            size = OVERLAP
        held.append(piece)
        size += len(piece)
    yield Chunk(b"".join(held), origin, base, start, line, column)


def _advance(data: bytes, cut: int, line: int, column: int) -> tuple[int, int]:
    """Line and column of data[cut], given those of data[0]."""
    breaks = data.count(b"\n", 0, cut)
    if not breaks:
        return line, column + cut
    return line + breaks, cut - data.rfind(b"\n", 0, cut)
