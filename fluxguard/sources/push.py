"""What a push brings: the content of every object, the names in trees, and the names of the refs."""

from __future__ import annotations

from fluxguard.chunk import WHOLE, Chunk, Origin, Skipped
from fluxguard.errors import GitError
from fluxguard.repo import objects
from fluxguard.sources import lfs
from fluxguard.sources.windows import windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from fluxguard.repo.objects import Opened
    from fluxguard.repo.outgoing import Lacking, Update

HOME = b"fluxloop"  # what lies in a folder of that name is looked at whatever it holds
_TREE = b"40000"
_LONGEST_TEXT = 64 << 20  # a commit, a tag or a tree


class Seen:
    """What a look at a push has come by.

    suspects: says whether anything may stand in bytes. commits: their ids, children first. homes: what trees name HOME:
    mode, name and hex id. cleared, bytes: objects that were cleared on the spot.
    """

    def __init__(self, suspects: Callable[[bytes], int]) -> None:
        self.suspects = suspects
        self.commits: list[str] = []
        self.homes: list[tuple[bytes, bytes, str]] = []
        self.cleared = 0
        self.bytes = 0

    def clears(self, data: bytes) -> bool:
        """Whether nothing can stand in it."""
        if self.suspects(data):
            return False
        self.cleared += 1
        self.bytes += len(data)
        return True

    def passes(self, id: str, kind: str, data: bytes) -> bool:
        """Takes notice of a commit, tree or tag, and says whether nothing can stand in it."""
        if kind == "tree":
            if HOME in data.lower():
                self.homes += [entry for entry in entries(data, id) if HOME in entry[1].lower()]
        elif kind == "commit":
            self.commits.append(id)
        return self.clears(data)


def ref_names(updates: Iterable[Update]) -> Iterator[Chunk]:
    """The names that refs will have at the receiving side."""
    for update in updates:
        if update.new:
            yield Chunk(update.name, Origin("ref-name", update.name))


def unread(lacking: Lacking) -> Iterator[Skipped]:
    """What can't be looked at, for it is not here."""
    for id in lacking.missing:
        yield Skipped(b"object " + id.encode(), "it is not in this repository (a partial clone?)", id)
    for id in lacking.cut:
        reason = (
            "the history ends here, for this is a shallow clone; get the rest with: git fetch --unshallow"
        )
        yield Skipped(b"commit " + id.encode(), reason, id)


def reader(ids: Sequence[str]) -> Callable[[int], bytes | None]:
    """What reads the blobs of this row by their number; None where one is to be come by in the ordinary way."""
    from fluxguard.repo import loose

    store = loose.folder() or ""
    zlib = loose.inflater(many=True)

    def read(number: int) -> bytes | None:
        data = loose.blob(store, ids[number], zlib)
        return None if data is None or lfs.is_pointer(data) else data

    return read


def contents(listed: Sequence[tuple[str, bytes]], limit: int, seen: Seen) -> Iterator[Chunk | Skipped]:
    """Everything that stands in these objects, each opened once. listed: hex id and path. limit: bytes of a blob."""
    paths = dict(listed)
    for opened in objects.fresh(list(paths)):
        yield from _opened(opened, paths[opened.id], limit, seen)


def _opened(opened: Opened, path: bytes, limit: int, seen: Seen) -> Iterator[Chunk | Skipped]:
    shown = path or b"object " + opened.id.encode()
    largest = limit if opened.kind == "blob" else _LONGEST_TEXT
    if opened.kind == "missing":
        yield Skipped(shown, "the object is missing or damaged", opened.id)
    elif opened.size > largest:
        yield Skipped(shown, f"larger than the limit of {largest:,} bytes", opened.id)
    else:
        try:
            if opened.kind == "blob" and opened.size > WHOLE:
                yield from windows(opened.pieces(), Origin("blob", path, opened.id))
            else:
                yield from _whole(opened, path, b"".join(opened.pieces()), seen, limit)
        except GitError:
            yield Skipped(shown, "the object is damaged", opened.id)


def _whole(opened: Opened, path: bytes, data: bytes, seen: Seen, limit: int) -> Iterator[Chunk | Skipped]:
    if opened.kind == "blob":
        yield Chunk(data, Origin("blob", path, opened.id))
        if lfs.is_pointer(data):
            yield from lfs.content(data, Origin("lfs-object", path, opened.id), limit)
    elif seen.passes(opened.id, opened.kind, data):
        return
    elif opened.kind == "tree":  # the names stand in it as they are
        yield from names(data, opened.id)
    else:
        head, _, message = data.partition(b"\n\n")
        yield Chunk(head, Origin(f"{opened.kind}-header", b"", opened.id))
        yield Chunk(message, Origin(f"{opened.kind}-message", b"", opened.id))


def names(data: bytes, id: str) -> Iterator[Chunk]:
    """The names in a tree."""
    for _, name, _ in entries(data, id):
        yield Chunk(name, Origin("path", name, id))


def entries(data: bytes, id: str) -> Iterator[tuple[bytes, bytes, str]]:
    """The entries of a tree with this id: mode, name, hex id. git has read it to its end already.

    Format: a row of `mode SP name NUL id`.
    """
    width = len(id) // 2
    at = 0
    while (nul := data.find(b"\0", at)) >= 0:
        mode, _, name = data[at:nul].partition(b" ")
        yield mode, name, data[nul + 1 : nul + 1 + width].hex()
        at = nul + 1 + width


def at_home(listed: Sequence[tuple[str, bytes]], seen: Seen) -> list[tuple[str, bytes]]:
    """The blobs of `listed` that lie in a place called HOME, too, but were listed elsewhere: hex id and that path.

    git lists a blob once, at one path of many.
    """
    paths = dict(listed)
    found: dict[str, bytes] = {}
    level = [(mode, name, id) for mode, name, id in seen.homes if id in paths]
    while level:
        found.update((id, path) for mode, path, id in level if mode != _TREE)
        trees = {id: path for mode, path, id in level if mode == _TREE}
        level = []
        for opened in objects.read(list(trees)):
            data = b"".join(opened.pieces()) if opened.kind == "tree" else b""
            inside = entries(data, opened.id)
            level += [(mode, trees[opened.id] + b"/" + name, id) for mode, name, id in inside if id in paths]
    return [(id, path) for id, path in found.items() if HOME not in paths[id].lower()]
