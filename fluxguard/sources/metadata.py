"""What a repository holds beside its objects: refs, reflogs, indexes, configuration, hooks, drafts, LFS objects."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterable, Iterator

from fluxguard.chunk import WHOLE, Chunk, Origin, Skipped
from fluxguard.errors import GitError
from fluxguard.repo import plain, run
from fluxguard.repo.gitdir import GitDir
from fluxguard.repo.refs import Ref
from fluxguard.repo.store import Store, id_width
from fluxguard.sources import worktree

_REBUILD = "make it anew: rm .git/index && git reset   (what was staged has to be added again)"
_SUBMODULE = b"160000"
_MOST_HOOKS = 1_000
_MOST_LINKED = 16  # folders, each in the other


def ref_names(refs: Iterable[Ref]) -> Iterator[Chunk]:
    """The name of every ref."""
    for ref in refs:
        yield Chunk(ref.name, Origin("ref-name", ref.name))


def names(repository: GitDir) -> tuple[list[tuple[bytes, bytes]], list[bytes], list[Skipped]]:
    """Every file of a git directory but its object store and the git directories inside it: the name to open, and to show.

    Also the names to show of folders with nothing in them, and what could not be read.
    """
    empty: list[bytes] = []
    skipped: list[Skipped] = []
    shown = os.fsencode(repository.name) + b"/"
    start = os.fsencode(repository.path)
    found = sorted(_below(repository.path, skipped, repository.tree, empty))
    listed = [(os.path.join(start, name), shown + name) for name in found]
    return listed, [shown + name for name in sorted(empty)], skipped


def files(repository: GitDir, listed: Iterable[tuple[bytes, bytes]], limit: int) -> Iterator[Chunk | Skipped]:
    """What stands in the files that `names` lists. Reflogs are `reflog`, objects of LFS `lfs-object`, all else `git-file`."""
    inside = len(os.fsencode(repository.name)) + 1
    for name, shown in listed:
        yield from _content(name, shown, limit, _kind(shown[inside:]))


def _content(name: bytes, shown: bytes, limit: int, kind: str = "git-file") -> Iterator[Chunk | Skipped]:
    """What stands in one of git's files. A link is read, and so is the file it leads to, for git follows it."""
    where = os.path.realpath(name) if os.path.islink(name) else name
    wrong = plain.complaint(os.fsdecode(where))
    if wrong and not os.path.isdir(where) and not _is_socket(where):
        yield Skipped(shown, f"{wrong}: it was not read")
    for one in dict.fromkeys((name, where)):
        for item in worktree.contents([(one, shown)], limit):
            if isinstance(item, Chunk):
                item.origin = Origin(kind, item.origin.path)
            yield item


def _is_socket(name: bytes) -> bool:
    """A socket, as the file system monitor of git has one, holds nothing."""
    try:
        return stat.S_ISSOCK(os.stat(name).st_mode)
    except OSError:
        return False


def _kind(name: bytes) -> str:
    if name.startswith(b"logs/"):
        return "reflog"
    if name.startswith(b"lfs/objects/"):
        return "lfs-object"
    return "git-file"


def _below(
    folder: str, skipped: list[Skipped], tree: str = "", empty: list[bytes] | None = None
) -> Iterator[bytes]:
    """Names of files, relative. Other git directories inside it (worktrees, modules) are members of their own.

    empty: takes in the names of folders with nothing in them.
    """
    start = os.fsencode(folder)
    pending = [b""]
    while pending:
        relative = pending.pop()
        try:
            entries = list(os.scandir(os.path.join(start, relative)))
        except OSError as error:
            skipped.append(
                Skipped(
                    os.path.join(start, relative), f"folder can't be read: {(error.strerror or '').lower()}"
                )
            )
            continue
        if empty is not None and not entries:
            empty.append(relative)
        for entry in entries:
            name = os.path.join(relative, entry.name)
            if not entry.is_dir(follow_symlinks=False):
                yield name
                if entry.is_symlink() and entry.is_dir() and name != b"objects":
                    yield from _linked(name, start, os.fsencode(tree), pending, skipped)
            elif not _is_elsewhere(name, entry.path):
                pending.append(name)


def _linked(
    name: bytes, start: bytes, tree: bytes, pending: list[bytes], skipped: list[Skipped]
) -> Iterator[bytes]:
    """A link to a folder: one that is shared with another git directory is gone into, as git does.

    Hooks may be anywhere; of their folder the files themselves are read. What lies in the working tree is read with that.
    """
    path = os.path.join(start, name)
    real = os.path.realpath(path) + b"/"
    own = os.path.realpath(start) + b"/"
    if (
        own.startswith(real)
        or real.startswith(own)
        or (tree and real.startswith(os.path.realpath(tree) + b"/"))
    ):
        return  # it has its own turn, or is in a circle
    if not plain.leads_away(os.fsdecode(path)) and name.count(b"/") < _MOST_LINKED:
        pending.append(name)
    elif name == b"hooks" and len(files := _files(path)) < _MOST_HOOKS:
        yield from (os.path.join(name, inner) for inner in files)
        inside = (os.path.join(path, inner) for inner in _folders(path))
        skipped += [Skipped(one, plain.AWAY) for one in inside]
    else:
        skipped.append(Skipped(path, plain.AWAY))


def _files(folder: bytes) -> list[bytes]:
    """The names of the files in a folder; none where it can't be read."""
    return [entry.name for entry in _entries(folder) if not entry.is_dir()]


def _folders(folder: bytes) -> list[bytes]:
    return sorted(entry.name for entry in _entries(folder) if entry.is_dir())


def _entries(folder: bytes) -> list[os.DirEntry[bytes]]:
    try:
        return list(os.scandir(folder))
    except OSError:
        return []


def _is_elsewhere(name: bytes, path: bytes) -> bool:
    """Whether a folder is looked at in another way: as an object store, or as a git directory of its own."""
    if name == b"objects":
        return True
    inside = name.startswith((b"modules/", b"worktrees/"))
    return inside and os.path.lexists(os.path.join(path, b"HEAD"))


def store_files(objects: str, name: str, limit: int) -> Iterator[Chunk | Skipped]:
    """The text files of an object store (`info/alternates` and its like): names of other places, URLs."""
    folder = os.path.join(objects, "info")
    skipped: list[Skipped] = []
    for inner in sorted(_below(folder, skipped)) if os.path.isdir(folder) else ():
        shown = os.fsencode(name) + b"/objects/info/" + inner
        yield Chunk(inner, Origin("git-file", shown))
        yield from _content(os.path.join(os.fsencode(folder), inner), shown, limit)
    yield from skipped


def strays(store: Store, unseen: Iterable[str], limit: int) -> Iterator[Chunk | Skipped]:
    """Files in a folder of objects that are no objects: what git did not finish to write, packs that it does not see.

    unseen: names of what else could not be opened there.
    """
    shown = os.fsencode(store.name if os.path.isabs(store.name) else f".git/{store.name}") + b"/"
    packs = (os.path.basename(name) for name in unseen if name.endswith(".pack"))
    names = {*store.strays, *(os.path.join("pack", name) for name in packs)}
    for name in map(os.fsencode, sorted(store.empty)):
        yield Chunk(name, Origin("git-file", shown + name))
    for name in map(os.fsencode, sorted(names)):
        path = os.path.join(os.fsencode(store.path), name)
        yield Chunk(name, Origin("git-file", shown + name))
        if os.path.basename(name).startswith(b"tmp_obj_"):
            yield Chunk(_begun(path), Origin("git-file", shown + name))
        yield from _content(path, shown + name, limit)


def _begun(path: bytes) -> bytes:
    """As much of an unfinished loose object as is there."""
    data = worktree.plain(path, WHOLE) or b""
    inflater = zlib.decompressobj()
    try:
        return inflater.decompress(data, WHOLE)
    except zlib.error:
        return b""


def _damaged_indexes(repository: GitDir) -> Iterator[Skipped]:
    """Indexes whose checksum is wrong: git reads them all the same, and what was cut off is not missed."""
    names = [os.fsdecode(name) for name in _files(os.fsencode(repository.path))]
    for name in ("index", *sorted(name for name in names if name.startswith("sharedindex."))):
        if not _is_sound(os.path.join(repository.path, name), id_width(repository.common)):
            where = os.path.join(repository.name, name)
            yield Skipped(os.fsencode(where), "its checksum is wrong: it was cut off or changed; " + _REBUILD)


def _is_sound(path: str, width: int) -> bool:
    """Whether a file ends with the checksum of what is before it; zeros stand for none (`index.skipHash`)."""
    digest = (hashlib.sha256 if width == 32 else hashlib.sha1)(usedforsecurity=False)
    try:
        with open(path, "rb") as stream:
            left = os.fstat(stream.fileno()).st_size - width
            while left > 0 and (piece := stream.read(min(left, worktree.PIECE))):
                digest.update(piece)
                left -= len(piece)
            last = stream.read(width)
    except OSError:
        return True  # whoever lists it says so
    return left == 0 and last in (digest.digest(), bytes(width))


def index_names(repository: GitDir) -> Iterator[Chunk | Skipped]:
    """The paths in a git directory's index, in any version of its format."""
    if not os.path.lexists(repository.index):
        return
    shown = os.fsencode(repository.name) + b"/index"
    for name, wrong in plain.obstacles(repository.path, repository.common):
        said = wrong if name == "index" else f"{name}: {wrong}"
        yield Skipped(shown, f"git, which would list it, was not started here: {said}")
        return
    yield from _damaged_indexes(repository)
    try:
        raw = run.output(
            *("--git-dir=.", "--work-tree=."),  # wherever its configuration says that the working tree is
            *("ls-files", "--stage", "-z", "--full-name"),
            cwd=repository.path,
            isolated=True,
        )
    except GitError as error:
        yield Skipped(shown, f"the index can't be read: {error.what} {error.hint}".strip())
        return
    for entry in raw.split(b"\0"):
        head, _, path = entry.partition(b"\t")
        if path:
            mode, _, rest = head.partition(b" ")
            id = "" if mode == _SUBMODULE else rest[: rest.find(b" ")].decode("ascii", "replace")
            yield Chunk(path, Origin("index", path, id))
