"""What a source yields: bytes with their origin, or the reason why there are none.

Plain classes rather than dataclasses, which would cost the commit hook 20 ms of imports.
"""

from __future__ import annotations

WHOLE = 32 << 20  # bytes; up to this size a file is one chunk


class Origin:
    """Where bytes come from.

    kind: the contract's name for the kind of place (`file`, `staged`, `commit-message` ...).
    path: as git has it, bytes, `/` between the parts; empty where the place has no path.
    object: hex id of the blob, or "" where it is none.
    """

    __slots__ = ("kind", "object", "path")

    def __init__(self, kind: str, path: bytes = b"", object: str = "") -> None:
        self.kind = kind
        self.path = path
        self.object = object

    def __repr__(self) -> str:
        return f"Origin({self.kind!r}, {self.path!r}, {self.object!r})"


class Chunk:
    """Bytes to look at.

    data:    the bytes: a whole file, or one window of a long one.
    origin:  where they stand.
    base:    what stood at the same place before (the file at HEAD); None means that all of `data` is new.
    start, line, column: the place of data[0] in the whole, for a window: byte offset from 0, line and column from 1.
    last:    False where more windows of the same place follow.
    """

    __slots__ = ("base", "column", "data", "last", "line", "origin", "start")

    def __init__(
        self,
        data: bytes,
        origin: Origin,
        base: bytes | None = None,
        start: int = 0,
        line: int = 1,
        column: int = 1,
        last: bool = True,
    ) -> None:
        self.data = data
        self.origin = origin
        self.base = base
        self.start = start
        self.line = line
        self.column = column
        self.last = last

    def __repr__(self) -> str:
        return f"Chunk({len(self.data)} bytes at {self.start}, {self.origin!r})"


class Skipped:
    """Something that was not looked at, and why. It makes the report incomplete unless it was accepted.

    where: a path or the name of a place, as bytes; reason: a short sentence; object: the blob id, or "".
    """

    __slots__ = ("object", "reason", "where")

    def __init__(self, where: bytes, reason: str, object: str = "") -> None:
        self.where = where
        self.reason = reason
        self.object = object

    def __repr__(self) -> str:
        return f"Skipped({self.where!r}, {self.reason!r})"
