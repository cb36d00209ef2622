"""What the next commit would contain: every changed file's content and name, and the branch's name."""

from __future__ import annotations

import os

from fluxguard.chunk import Chunk, Origin, Skipped
from fluxguard.errors import GitError
from fluxguard.repo import index, layout, loose, objects
from fluxguard.sources.windows import WHOLE, windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fluxguard.repo.index import Change


def contents(
    changed: list[Change], limit: int, cwd: str | None = None, kind: str = "staged"
) -> Iterator[Chunk | Skipped]:
    """Names and contents of the given changes, deletions left out; `limit` is the largest size that is read.

    Chunks carry no base: what stood there before is asked for only where something was found (see `base_of`).
    """
    for change in changed:
        if change.status != "D":
            yield Chunk(change.path, Origin("path", change.path, ""))
    yield from unmerged(changed)
    yield from read(blobs(changed), limit, cwd, kind)


def unmerged(changed: list[Change]) -> Iterator[Skipped]:
    """The paths that have no content yet."""
    for change in changed:
        if change.status == "U":
            yield Skipped(change.path, "unmerged: resolve the conflict and add the file")


def blobs(changed: list[Change]) -> dict[str, list[Change]]:
    """The contents that the changes bring, by id, each with its places."""
    wanted: dict[str, list[Change]] = {}
    for change in changed:
        if change.status not in ("D", "U") and change.mode != index.SUBMODULE:
            wanted.setdefault(change.id, []).append(change)
    return wanted


def read(
    wanted: dict[str, list[Change]], limit: int, cwd: str | None = None, kind: str = "staged"
) -> Iterator[Chunk | Skipped]:
    """The contents with these ids."""
    for opened in objects.read(list(wanted), cwd):
        yield from _blob(opened, wanted[opened.id], limit, kind)


def reader(ids: list[str]) -> Callable[[str], bytes | None] | None:
    """A way to the content of small loose objects without git; None where few of `ids` are."""
    store = loose.folder()
    if store is None or not loose.mostly(store, ids):
        return None
    tools = loose.Tools()
    return lambda id: loose.blob(store, id, tools)


def _blob(opened: objects.Opened, changed: list[Change], limit: int, kind: str) -> Iterator[Chunk | Skipped]:
    reason = ""
    noun = "staged object" if kind == "staged" else "committed object"
    if opened.kind == "missing":
        reason = f"the {noun} is missing or damaged"
    elif opened.size > limit:
        reason = f"larger than the limit of {limit:,} bytes"
    elif opened.size > WHOLE:
        # One pass for all the places: what is long is not held in memory.
        try:
            yield from windows(opened.pieces(), Origin(kind, changed[0].path, opened.id))
        except GitError:
            reason = f"the {noun} is damaged"
    else:
        try:
            data = b"".join(opened.pieces())
            for change in changed:
                yield Chunk(data, Origin(kind, change.path, opened.id))
        except GitError:
            reason = f"the {noun} is damaged"
    if reason:
        for change in changed:
            yield Skipped(change.path, reason, opened.id)


def branch_name(cwd: str | None = None) -> Iterator[Chunk]:
    """The name of the branch that the commit goes to."""
    name = layout.branch(cwd)
    if name:
        yield Chunk(name, Origin("ref-name", name))


_IDENTITY = (b"GIT_AUTHOR_NAME", b"GIT_AUTHOR_EMAIL", b"GIT_COMMITTER_NAME", b"GIT_COMMITTER_EMAIL")


def identity() -> Iterator[Chunk]:
    """Who will stand in the commit, as far as its hooks are told: the author, and a committer set in the environment."""
    told = b"\n".join([os.environb[name] for name in _IDENTITY if name in os.environb])
    if told:
        yield Chunk(told, Origin("commit-header"))


def base_of(changed: list[Change], cwd: str | None = None) -> dict[bytes, bytes]:
    """What stood at HEAD where the given changes are, by their path; renames are followed. Files without one are absent."""
    moved = index.renames(cwd) if any(change.status == "A" for change in changed) else {}
    wanted: dict[str, list[bytes]] = {}
    for change in changed:
        base = moved[change.path].base if change.path in moved else change.base
        if not index.is_null(base):
            wanted.setdefault(base, []).append(change.path)
    found: dict[bytes, bytes] = {}
    for opened in objects.read(list(wanted), cwd):
        if opened.kind != "blob" or opened.size > WHOLE:
            continue
        data = b"".join(opened.pieces())
        for path in wanted[opened.id]:
            found[path] = data
    return found
