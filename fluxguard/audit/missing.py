"""What is named and not there, but for what a shallow or a partial clone left with its remote."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial

from fluxguard.audit.surroundings import Surroundings
from fluxguard.chunk import Skipped
from fluxguard.repo import refs
from fluxguard.repo.gitdir import GitDir
from fluxguard.sources import lfs

BRING = "bring it back from a remote that has it: git fetch --refetch"
_LFS = re.compile(rb"(?im)^[ \t]*\[[ \t]*lfs[ \t]*\]([^\[]*)")
_STORAGE = re.compile(rb"(?im)^[ \t]*storage[ \t]*=([^\0\r\n#;]+)")
_LFS_ELSEWHERE = (
    "the configuration has Git LFS keep its objects here (lfs.storage), outside of the repository; "
    "look at them with: fluxguard scan"
)
_FORGET = (
    "bring it back from a copy that has it, or, if it is gone for good, have git forget the entry: "
    "git reflog expire --stale-fix --expire=never --all"
)


class Cut:
    """What a shallow or partial clone left with its remote: it is missing by design, and said once.

    boundary: the commits of which git cut the parents off. left: how many other objects are with the remote.
    """

    def __init__(self, family: Iterable[GitDir], common: str) -> None:
        """By git's own account. common: the repository's git directory, which says whether it is a partial clone."""
        files = (refs.small_file(os.path.join(member.common, "shallow"), 64 << 20) for member in family)
        self.boundary = frozenset(id.decode("ascii", "replace") for file in files for id in file.split())
        self.promised = _is_partial(common)
        self.left = 0

    def covers(self, id: str, commit: Callable[[], bytes] = bytes, owner: str = "") -> bool:
        """Whether a missing object is one of those. commit: the content of the one that names it, `owner`."""
        if owner in self.boundary:
            from fluxguard.repo.graph import parse_commit

            cut = parse_commit(bytes.fromhex(owner), commit())
            if cut is not None and bytes.fromhex(id) in cut.parents:
                return True
        self.left += self.promised
        return self.promised

    def skipped(self) -> Iterator[Skipped]:
        """What a partial clone lacks; where all that is named is here, nothing is left to fetch."""
        if self.left:
            yield Skipped(
                b"partial clone",
                f"{self.left:,} objects that are named here were left with the remote; "
                "complete it with: git fetch --refetch --no-filter",
            )


class Beside:
    """What refs, reflogs and indexes name: objects that have to be there as well."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    @cached_property
    def ids(self) -> list[str]:
        """All that they name, in the order in which it was read."""
        around = self._around
        listed = [*(ref.id for ref in around.refs), *(id for _, id in around.logs), *around.indexed]
        return [id for id in listed if id]

    @cached_property
    def _logged(self) -> dict[str, bytes]:
        return {id: b"the reflog of " + name for name, id in reversed(self._around.logs)}

    @cached_property
    def _named(self) -> dict[str, bytes]:
        """Each with who names it. git removes none that an entry of a reflog names."""
        around = self._around
        named = self._logged | {ref.id: ref.name for ref in reversed(around.refs) if _is_kept(ref.name)}
        return named | {id: b"the index, for " + paths[0] for id, paths in around.indexed.items() if id}

    def missing(self, absent: Iterable[str], cut: Cut) -> Iterator[Skipped]:
        """Of what is absent that which they name, and which is not `cut` off."""
        for id in absent:
            if id in self._named and not cut.covers(id):
                name = self._named[id]
                mend = _FORGET if name == self._logged.get(id) else BRING
                yield missing(id, name.decode("utf-8", "backslashreplace"), mend)

    def place_of(self, id: str) -> bytes:
        """How to name an object to a person: its path in an index, where it has one."""
        paths = self._around.indexed.get(id)
        return paths[0] if paths else f"object {id}".encode()


def missing_objects(lost: Mapping[str, str], cut: Cut, content: Callable[[str], bytes]) -> Iterator[Skipped]:
    """Of the objects that others name those that are not `cut` off. lost: each with one that names it. content: of an object."""
    for id, owner in sorted(lost.items()):
        if not cut.covers(id, partial(content, owner), owner):
            yield missing(id, f"object {owner}")


def missing(id: str, owner: str, mend: str = BRING) -> Skipped:
    """An object that is not there. owner: who names it."""
    return Skipped(f"object {id}".encode(), f"it is not there, and {owner} names it; {mend}", id)


def unread_inside(unread: Iterable[tuple[str, str, str]], beside: Beside) -> Iterator[Skipped]:
    """What could not be looked at within objects: (id, where inside, why)."""
    for id, where, reason in unread:
        yield Skipped(beside.place_of(id), f"{reason} (in {where})" if where else reason, id)


def _is_kept(ref: bytes) -> bool:
    """Whether git keeps what a ref names. What ORIG_HEAD, MERGE_HEAD and their like name, `git gc` may remove."""
    name = ref.rpartition(b":")[2]
    return b"/" in name or name == b"HEAD"


def incomplete(family: Iterable[GitDir]) -> Iterator[Skipped]:
    """What of the history is cut off, by git's own account."""
    for common, name in {member.common: member.name for member in reversed(list(family))}.items():
        where = "" if name == ".git" or name.startswith("worktrees/") else f"{name}: "
        if refs.small_file(os.path.join(common, "shallow"), 1 << 20).strip():
            yield Skipped(
                f"{where}shallow clone".encode(),
                "the history ends where it was cut off; complete it with: git fetch --unshallow",
            )
        if folder := lfs_elsewhere(common):
            yield Skipped(os.fsencode(folder), _LFS_ELSEWHERE)
        if refs.small_file(os.path.join(common, "info", "grafts")).strip():
            yield Skipped(
                f"{where}info/grafts".encode(),
                "grafts hide parents of commits from git; make them replace refs: git replace --convert-graft-file",
            )


def away(family: Sequence[GitDir], pointers: Iterable[str]) -> Iterator[Skipped]:
    """The objects of Git LFS that pointers stand for, and that are not here. Where they are kept elsewhere, that is said already."""
    folders = {member.common for member in family}
    if any(map(lfs_elsewhere, folders)):
        return
    lacking = sum(
        not any(os.path.isfile(lfs.path_of(folder, name)) for folder in folders) for name in pointers
    )
    if lacking:
        yield Skipped(
            b"Git LFS",
            f"{lacking:,} of the files that pointers stand for are not here; bring them with: git lfs fetch --all",
        )


def lfs_elsewhere(common: str) -> str:
    """The folder outside of a git directory that its configuration has Git LFS keep its objects in; "" where there is none."""
    config = refs.small_file(os.path.join(common, "config"), 1 << 20)
    for section in _LFS.finditer(config):
        for match in _STORAGE.finditer(section[1]):
            folder = os.path.realpath(os.path.join(common, os.fsdecode(match[1].strip().strip(b'"'))))
            inside = os.path.commonpath([folder, os.path.realpath(common)]) == os.path.realpath(common)
            if not inside and os.path.isdir(folder):
                return folder
    return ""


def _is_partial(common: str) -> bool:
    config = refs.small_file(os.path.join(common, "config"), 1 << 20).lower()
    return b"partialclone" in config or b"promisor" in config or _promised(common)


def _promised(common: str) -> bool:
    try:
        names: Iterable[str] = os.listdir(os.path.join(common, "objects", "pack"))
    except OSError:
        return False
    return any(name.endswith(".promisor") for name in names)
