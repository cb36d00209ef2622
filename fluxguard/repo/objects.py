"""Objects by id, through one `git cat-file --batch`."""

from __future__ import annotations

from fluxguard.errors import GitError
from fluxguard.repo import loose, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

PIECE = 8 << 20  # how much of a large object is handed over at once


class Opened:
    """One object of a batch. What of it is not read is passed over when the next one is asked for.

    id: as it was asked for, whatever that was. kind: `blob`, `tree`, `commit`, `tag`, or `missing`.
    size: in bytes.
    """

    __slots__ = ("_left", "_running", "broken", "id", "kind", "size")

    def __init__(self, running: run.Running | None, id: str, kind: str, size: int) -> None:
        self._running = running
        self.broken = False
        self._left = size + 1 if kind != "missing" else 0  # git ends each object with a newline
        self.id = id
        self.kind = kind
        self.size = size

    def pieces(self) -> Iterator[bytes]:
        """The content, in pieces of at most 8 MiB. Raises GitError where git breaks off in the middle."""
        while self._running is not None and self._left > 1:
            want = min(PIECE, self._left - 1)
            data = self._running.read(want)
            self._left -= len(data)
            if len(data) < want:
                self._left, self.broken = 0, True
                raise GitError(f"Object {self.id} is damaged.", "Look at it with: git fsck --full")
            yield data
        if self._running is not None and self._left:
            self._running.read(1)
            self._left = 0

    def drain(self) -> bool:
        """Passes over what is left; False where git broke off."""
        try:
            for _ in self.pieces():
                pass
        except GitError:
            pass
        return not self.broken


class Held(Opened):
    """An object whose content is at hand."""

    __slots__ = ("_data",)

    def __init__(self, id: str, data: bytes, kind: str = "blob") -> None:
        super().__init__(None, id, kind, len(data))
        self._data = data

    def pieces(self) -> Iterator[bytes]:
        """The content, in one piece."""
        yield self._data


def read(ids: Sequence[str], cwd: str | None = None) -> Iterator[Opened]:
    """Opens each object, where there are few the small loose ones first. What git can't read has kind `missing`.

    ids: hex ids, or any name that git resolves (`HEAD:path` ...), none with a newline in it.
    A damaged object makes git give up the whole batch: it is named, and the others are asked for again.
    """
    left = list(ids)
    if cwd is None and len(left) <= loose.FEW:
        left = yield from _loose(left)
    while left:
        answered = 0
        for opened in _batch(left, cwd):
            answered += 1
            yield opened
        if answered < len(left):
            yield Opened(None, left[answered], "missing", 0)
        left = left[answered + 1 :]


def fresh(ids: Sequence[str]) -> Iterator[Opened]:
    """As `read`, for objects of all kinds of which most may be new: loose ones, which are quickly read without git."""
    store = loose.folder()
    left = list(ids)
    if store is not None and loose.mostly(store, left):
        zlib = loose.inflater(many=len(left) > loose.FEW)
        packed = []
        for id in left:
            found = loose.read(store, id, zlib)
            if found is None:
                packed.append(id)
            else:
                yield Held(id, found[1], found[0])
        left = packed
    yield from read(left)


def _loose(ids: list[str]) -> Generator[Opened, None, list[str]]:
    """Opens what can be read without git, and returns the ids of the rest."""
    store = loose.folder()
    if store is None or not ids:
        return ids
    left = []
    zlib = loose.inflater(many=False)
    for id in ids:
        data = loose.blob(store, id, zlib)
        if data is None:
            left.append(id)
        else:
            yield Held(id, data)
    return left


def _batch(ids: list[str], cwd: str | None) -> Iterator[Opened]:
    """One git process; ends early, after a damaged object."""
    asked = "\n".join(ids).encode("utf-8", "surrogateescape") + b"\n"
    running = run.start("cat-file", "--batch", "--buffer", cwd=cwd, stdin=asked)
    for id in ids:
        header = running.readline()
        if not header:
            break
        opened = _opened(running, id, header)
        yield opened
        if not opened.drain():
            break
    code, text = running.finish()
    if code and not is_damage(text):
        raise run.failure("cat-file", code, text)


def is_damage(text: str) -> bool:
    """Whether git's words are about one object, rather than about the whole repository."""
    return "not a git repository" not in text and "dubious ownership" not in text


def _opened(running: run.Running, id: str, header: bytes) -> Opened:
    fields = header.rsplit(b" ", 2)
    if len(fields) == 3 and fields[2].isdigit():
        return Opened(running, id, fields[1].decode("ascii", "replace"), int(fields[2]))
    return Opened(running, id, "missing", 0)
