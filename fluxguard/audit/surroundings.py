"""What a repository holds beside its objects: names of refs, reflogs, indexes, configuration, drafts, working trees."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

from fluxguard.chunk import Chunk, Skipped
from fluxguard.errors import BrokenRepository
from fluxguard.repo import gitdir, refs
from fluxguard.repo.gitdir import GitDir
from fluxguard.repo.refs import Ref
from fluxguard.scan import Scan
from fluxguard.sources import metadata, worktree

_LINE = re.compile(rb"(?m)^([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{40}|[0-9a-f]{64}) ")
_NO_TREE = (
    "the working tree that it belongs to is not there; if it was moved: git worktree repair, "
    "if it is gone for good: git worktree prune"
)
_LARGEST_LOG = 256 << 20
_TOGETHER = 4_000  # names


class Surroundings:
    """All of it, looked at when it is made.

    refs: of every git directory, those of submodules with the directory's name in front. logs: (name, hex id) of the
    entries of reflogs. indexed: blob id -> paths, in every index.
    """

    def __init__(self, family: list[GitDir], largest: int, scan: Scan) -> None:
        self.refs: list[Ref] = []
        self.logs: list[tuple[bytes, str]] = []
        self.indexed: dict[str, list[bytes]] = {}
        self.skipped: list[Skipped] = []
        for member in family:
            self._member(member, largest, scan)
        self._trees(family, largest, scan)

    def _member(self, member: GitDir, largest: int, scan: Scan) -> None:
        found, problems = refs.read(member)
        shown = os.fsencode(member.name) + b"/"
        self.skipped += [Skipped(shown + where, reason) for where, reason in problems]
        if member.path != member.common and not member.tree:
            self.skipped.append(Skipped(shown[:-1], _NO_TREE))
        prefix = b"" if member.name == ".git" else os.fsencode(member.name) + b":"
        if member.path == member.common:
            fresh = found
        else:  # a linked worktree shares the refs of its repository, but for its own HEAD and its like
            known = {ref.name for ref in self.refs}
            fresh = [ref for ref in found if not ref.name.startswith(b"refs/") or ref.name not in known]
        _ref_names(fresh, scan)
        self.refs += [Ref(prefix + ref.name, ref.id) for ref in fresh] if prefix else fresh
        listed, empty, skipped = metadata.names(member)
        self.skipped += skipped
        scan.names((*(shown for _, shown in listed), *empty), "git-file")
        scan.run(metadata.files(member, listed, largest))
        if member.path == member.common:
            scan.run(metadata.store_files(member.objects, member.name, largest))
        scan.run(self._index(member))
        self.logs += list(_log_entries(listed, member, prefix))

    def listed(self) -> tuple[tuple[bytes, str], ...]:
        """Name and id of each ref, in order."""
        return tuple(sorted(set(self.refs)))

    def _index(self, member: GitDir) -> Iterator[Chunk | Skipped]:
        for item in metadata.index_names(member):
            if isinstance(item, Chunk):
                self.indexed.setdefault(item.origin.object, []).append(item.origin.path)
            yield item

    def _trees(self, family: Iterable[GitDir], largest: int, scan: Scan) -> None:
        members = list(family)
        for tree in sorted({os.path.realpath(member.tree) for member in members if member.tree}):
            listing = worktree.Listing(tree, True)
            pairs, skipped = listing.files()
            self.skipped += skipped
            self.skipped += _strangers(tree, listing.nested, [name for name, _ in pairs], members)
            base = os.fsencode(tree) + b"/"
            listed = [(name, shown.removeprefix(base)) for name, shown in pairs]
            scan.names((shown for _, shown in listed), "file")
            scan.run(worktree.contents(listed, largest))


def _ref_names(refs: Sequence[Ref], scan: Scan) -> None:
    """Looks at the names of refs: hardly ever is there anything in one, so one look at some thousands of them clears them."""
    for start in range(0, len(refs), _TOGETHER):
        some = refs[start : start + _TOGETHER]
        names = [ref.name for ref in some]
        if scan.clears(names):
            scan.cleared(len(names), sum(map(len, names)))
        else:
            scan.run(metadata.ref_names(some))


def _strangers(
    tree: str, nested: Iterable[bytes], files: Iterable[bytes], family: Iterable[GitDir]
) -> Iterator[Skipped]:
    """Repositories inside a working tree that are neither submodules of this one nor its worktrees: clones, bare ones too."""
    ours = {os.path.realpath(member.common) for member in family}
    folders = {os.path.join(os.fsencode(tree), name) for name in nested}
    folders |= {os.path.dirname(name) for name in files if os.path.basename(name) in (b".git", b"HEAD")}
    for folder in sorted(folders - {os.fsencode(tree)}):
        path = os.fsdecode(folder)
        if gitdir.is_repository(path) and _store_of(path) not in ours:
            shown = os.path.relpath(folder, os.fsencode(tree))
            command = f"fluxguard audit {shlex.quote(path)}"
            yield Skipped(shown, f"a repository of its own, which was not audited; audit it with: {command}")


def _store_of(folder: str) -> str:
    """The git directory of a repository; "" where what says that it is one leads nowhere."""
    try:
        return gitdir.locate(folder).common
    except BrokenRepository:
        return ""


def _log_entries(
    listed: Iterable[tuple[bytes, bytes]], member: GitDir, prefix: bytes
) -> Iterator[tuple[bytes, str]]:
    """The ids in the reflogs, each with the log's name. listed: git's files, the name to open and to show."""
    start = os.fsencode(member.name) + b"/logs/"
    for path, shown in listed:
        if shown.startswith(start):
            for match in _LINE.finditer(refs.small_file(os.fsdecode(path), _LARGEST_LOG)):
                for id in match.groups():
                    if id.strip(b"0"):
                        yield prefix + shown.removeprefix(start), id.decode()
