"""What a repository holds beside its objects: refs, reflogs, indexes, configuration, hooks, drafts, LFS objects."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator

from fluxguard.chunk import Chunk, Origin, Skipped
from fluxguard.errors import GitError
from fluxguard.repo import links, run
from fluxguard.repo.gitdir import GitDir
from fluxguard.repo.refs import Ref
from fluxguard.repo.store import Store
from fluxguard.sources import worktree
from fluxguard.sources.windows import WHOLE


def ref_names(refs: Iterable[Ref]) -> Iterator[Chunk]:
    """The name of every ref."""
    for ref in refs:
        yield Chunk(ref.name, Origin("ref-name", ref.name))


def names(repository: GitDir) -> tuple[list[tuple[bytes, bytes]], list[Skipped]]:
    """Every file of a git directory but its object store and the git directories inside it: the name to open, and to show."""
    skipped: list[Skipped] = []
    shown = os.fsencode(repository.name) + b"/"
    start = os.fsencode(repository.path)
    found = sorted(_below(repository.path, skipped))
    return [(os.path.join(start, name), shown + name) for name in found], skipped


def files(repository: GitDir, listed: Iterable[tuple[bytes, bytes]], limit: int) -> Iterator[Chunk | Skipped]:
    """What stands in the files that `names` lists. Reflogs are `reflog`, objects of LFS `lfs-object`, all else `git-file`."""
    inside = len(os.fsencode(repository.name)) + 1
    for name, shown in listed:
        kind = _kind(shown[inside:])
        for item in worktree.contents([(name, shown)], limit):
            if isinstance(item, Chunk):
                item.origin = Origin(kind, item.origin.path)
            yield item


def _kind(name: bytes) -> str:
    if name.startswith(b"logs/"):
        return "reflog"
    if name.startswith(b"lfs/objects/"):
        return "lfs-object"
    return "git-file"


def _below(folder: str, skipped: list[Skipped]) -> Iterator[bytes]:
    """Names of files, relative. Other git directories inside it (worktrees, modules) are members of their own."""
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
        for entry in entries:
            name = os.path.join(relative, entry.name)
            if not entry.is_dir(follow_symlinks=False):
                yield name
            elif not _is_elsewhere(name, entry.path):
                pending.append(name)


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
        for item in worktree.contents([(os.path.join(os.fsencode(folder), inner), shown)], limit):
            if isinstance(item, Chunk):
                item.origin = Origin("git-file", item.origin.path)
            yield item
    yield from skipped


def strays(store: Store, unseen: Iterable[str], limit: int) -> Iterator[Chunk | Skipped]:
    """Files in a folder of objects that are no objects: what git did not finish to write, packs that it does not see.

    unseen: names of what else could not be opened there.
    """
    shown = os.fsencode(store.name if os.path.isabs(store.name) else f".git/{store.name}") + b"/"
    packs = (os.path.basename(name) for name in unseen if name.endswith(".pack"))
    names = {*store.strays, *(os.path.join("pack", name) for name in packs)}
    for name in map(os.fsencode, sorted(names)):
        path = os.path.join(os.fsencode(store.path), name)
        yield Chunk(name, Origin("git-file", shown + name))
        if os.path.basename(name).startswith(b"tmp_obj_"):
            yield Chunk(_begun(path), Origin("git-file", shown + name))
        for item in worktree.contents([(path, shown + name)], limit):
            if isinstance(item, Chunk):
                item.origin = Origin("git-file", item.origin.path)
            yield item


def _begun(path: bytes) -> bytes:
    """As much of an unfinished loose object as is there."""
    data = worktree.plain(path, WHOLE) or b""
    inflater = zlib.decompressobj()
    try:
        return inflater.decompress(data, WHOLE)
    except zlib.error:
        return b""


def index_names(repository: GitDir) -> Iterator[Chunk | Skipped]:
    """The paths in a git directory's index, in any version of its format."""
    if not os.path.lexists(repository.index):
        return
    shown = os.fsencode(repository.name) + b"/index"
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
            id = "" if mode == links.SUBMODULE else rest[: rest.find(b" ")].decode("ascii", "replace")
            yield Chunk(path, Origin("index", path, id))
