"""What the pre-commit framework names beside what is staged: `run --all-files`, `--files`, `--from-ref` and `--to-ref`.

Then it is not about one commit, but about what is there: as committed, as in the index, and as on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from fluxguard.chunk import Chunk, Origin, Skipped
from fluxguard.repo import index, loose, objects, run
from fluxguard.repo.index import Change
from fluxguard.sources import staged, worktree


def contents(
    names: Sequence[bytes], changed: Sequence[Change], revision: str, limit: int
) -> Iterator[Chunk | Skipped]:
    """Every version of the files at `names`, besides the staged ones, which are in `changed`.

    revision: a commit whose version counts, too; "" for none. Raises GitError where it can't be read.
    """
    entries = _committed(names, changed, revision)
    yield from staged.contents(entries, limit, kind="blob")
    yield from on_disk(names, limit, chain(entries, changed))


def history(start: str, end: str, limit: int) -> Iterator[Chunk | Skipped]:
    """Every version of every file that the commits from `start` (left out) to `end` bring, and those commits themselves.

    What one of them adds and a later one removes stands in the history all the same. Raises GitError where a commit is missing.
    """
    ids = run.output("rev-list", "--end-of-options", f"{start}..{end}").decode().split()
    raw = run.output(
        "log", "-z", "-m", "--raw", "--format=", "--no-abbrev", "--no-renames", "--root", "--no-ext-diff", "--no-textconv",
        "--ignore-submodules=none", "--end-of-options", f"{start}..{end}",
    )  # fmt: skip
    changes = {(change.path, change.id): change for change in index.parse_raw(raw)}
    yield from staged.contents(list(changes.values()), limit, kind="blob")
    for opened in objects.read(ids):
        if opened.kind != "commit":
            yield Skipped(b"commit " + opened.id.encode(), "the commit is missing or damaged", opened.id)
            continue
        header, _, message = b"".join(opened.pieces()).partition(b"\n\n")
        yield Chunk(header, Origin("commit-header", b"", opened.id))
        yield Chunk(message, Origin("commit-message", b"", opened.id))


def on_disk(names: Sequence[bytes], limit: int, read: Iterable[Change] = ()) -> Iterator[Chunk | Skipped]:
    """The names, and what stands in the files, without what was read already: `read` says which blobs at which paths."""
    for name in dict.fromkeys(names):
        yield Chunk(name, Origin("path", name))
    seen = {(entry.path, entry.id) for entry in read}
    for item in worktree.contents(((name, name) for name in names), limit):
        if isinstance(item, Skipped) or not _was_read(item, seen):
            yield item


def _was_read(chunk: Chunk, seen: set[tuple[bytes, str]]) -> bool:
    whole = not chunk.start and chunk.last
    return whole and (chunk.origin.path, loose.blob_id(chunk.data)) in seen


def unchanged(names: Sequence[bytes]) -> list[Change]:
    """The index entries at `names`, which are those at HEAD: files that a merge conflicted in, and left as they were."""
    wanted = set(names)
    return [
        Change("M", path, mode, id, mode, id)
        for mode, id, stage, path in index.tracked()
        if path in wanted and not stage
    ]


def _committed(names: Sequence[bytes], changed: Sequence[Change], revision: str) -> list[Change]:
    """The versions at HEAD and at `revision`. What is tracked, but gone from the disk, is never named: it counts, too."""
    wanted = set(names) | set(index.deleted())
    covered = {change.path for change in changed}
    found = [
        (path, mode, id)
        for mode, id, stage, path in index.tracked()
        if path in wanted and path not in covered and not stage
    ]
    found += [
        (change.path, change.base_mode, change.base)
        for change in changed
        if (change.path in wanted or change.status == "D") and not index.is_null(change.base)
    ]
    if revision:
        found += [(path, mode, id) for mode, id, path in index.tree_entries(revision, list(names))]
    return [Change("A", path, mode, id, "", "0") for path, mode, id in dict.fromkeys(found)]
